#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restic repository that exists and opens."""
from __future__ import annotations

DOCUMENTATION = r"""
module: restic_repository
short_description: Make sure that a restic repository exists and opens
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Opens a restic repository with its password and, if there is none, makes one.
  - A wrong password, an unreachable server and a missing repository are told apart for every version of restic from
    0.14 on.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.restic
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  create:
    description:
      - Make the repository when there is none. With V(false) a missing repository is an error, which is what a
        restore wants.
    type: bool
    default: true
  remove_stale_locks:
    description:
      - Remove locks whose process is provably gone, either because it was not refreshed for 30 minutes or because it
        belongs to this host and there is no such process any more. Never removes others.
    type: bool
    default: false
seealso:
  - module: kestra_community.dr.restic_check
"""

EXAMPLES = r"""
- name: Make sure that the repository exists
  kestra_community.dr.restic_repository:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic

- name: Prove before a restore that the repository is there and opens
  kestra_community.dr.restic_repository:
    repository: s3:https://s3.example.com/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    repository_environment_file: /etc/kestra-dr/s3.env
    create: false
"""

RETURN = r"""
repository:
  description: Location of the repository, its password masked.
  type: str
  returned: success
exists:
  description: Whether the repository exists now.
  type: bool
  returned: success
repository_id:
  description: Id of the repository.
  type: str
  returned: when it exists
format_version:
  description: Version of the repository's format.
  type: int
  returned: when it exists
restic_version:
  description: Version of the restic program.
  type: str
  returned: success
  sample: 0.14.0
locks:
  description: Locks in the repository, each with C(id), C(host), C(pid), C(user), C(time), C(exclusive) and C(stale).
  type: list
  elements: dict
  returned: with O(remove_stale_locks) when it exists
locks_removed:
  description: How many stale locks were removed.
  type: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def ensure(restic, params, check_mode):
    """The result of the module; makes the repository unless check_mode."""
    result = {"changed": False, "repository": restic.repository.display, "restic_version": restic.version_text(),
              "exists": True, "locks_removed": 0}
    config = restic.config_if_exists()
    if config is None:
        if not params["create"]:
            raise ConnectError(f"There is no restic repository at {restic.repository.display}.",
                               reason="repository_missing", hint="Check the location and that its disk is mounted.")
        result["changed"] = True
        if check_mode:
            return dict(result, exists=False)
        config = restic.init()
    result.update(repository_id=config["id"], format_version=config["version"])
    if not params["remove_stale_locks"]:
        return result
    result["locks"] = restic.locks()
    if any(lock["stale"] for lock in result["locks"]):
        result["changed"] = True
        if not check_mode:
            result["locks_removed"] = restic.unlock()
            result["locks"] = restic.locks()
    return result


def main():
    spec = dict(options.argument_spec(), create={"type": "bool", "default": True},
                remove_stale_locks={"type": "bool", "default": False})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE,
                           required_one_of=options.REQUIRED_ONE_OF)
    redactor = Redactor()

    def body(module):
        restic = Restic(options.of_module(module.params, module.no_log_values), redactor)
        return ensure(restic, module.params, module.check_mode)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
