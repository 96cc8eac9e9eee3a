#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes databases of this collection's own making."""
from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_database
short_description: Remove a MySQL database this collection has made or set aside
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Drops the result of a restore that is not needed any more (C(kestra_dr_*)), or the replaced database of an undo
    point (C(kestra_dr_undo_*), C(*_undo_<run id>)). Every other name is refused.
  - A database somebody is connected to is refused, and the session named.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.mysql
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: The database to remove. O(database) is not used by this module.
    type: str
    required: true
  state:
    description: V(absent) is all there is. Databases are made by M(kestra_community.dr.mysql_restore).
    type: str
    choices: [absent]
    default: absent
"""

EXAMPLES = r"""
- name: Remove what a rehearsal has left
  kestra_community.dr.mysql_database:
    name: kestra_dr_20261123t001500z_a1b2c3
    state: absent
    login_unix_socket: /run/mysqld/mysqld.sock
    login_user: root
"""

RETURN = r"""
database:
  description: The database.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import options, swap


def main():
    spec = dict(options.argument_spec(), name={"type": "str", "required": True},
                state={"type": "str", "choices": ["absent"], "default": "absent"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        name = module.params["name"]
        result = swap.drop(options.of_module(module, redactor).login, name, only_look=module.check_mode)
        before = f"database {name}\n" if result["changed"] else ""
        return facts.trust(module, dict(result, diff={"before": before, "after": ""}))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
