#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kestra's MySQL database is and holds."""
from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_inventory_info
short_description: Describe Kestra's MySQL database
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Returns identity, size and contents of a database, and what the connecting account lacks to dump all of it.
  - On request also exact row counts, digests of all definitions, and a digest of all rows.
  - A database that does not exist is no error.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.mysql
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  counts:
    description: Count the rows of every table, exactly.
    type: bool
    default: false
  objects:
    description: Return digests of all definitions, and the next values of counters.
    type: bool
    default: false
  content:
    description: Return a digest of all rows of every table. It reads everything.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at the database Kestra's configuration names
  kestra_community.dr.mysql_inventory_info:
    counts: true
    config:
      files: [/etc/kestra/application.yml]
  register: found

- name: Refuse to go on when something cannot be read
  ansible.builtin.assert:
    that: found.privileges_missing | length == 0
"""

RETURN = r"""
exists:
  description: Whether the database exists and this account may see it.
  type: bool
  returned: success
user:
  description: The connecting account.
  type: str
  returned: success
  sample: kestra@%
can_create_database:
  description: Whether it may create databases of any name.
  type: bool
  returned: success
server_version:
  description: Version of the server.
  type: str
  returned: success
  sample: "8.4.6"
databases:
  description: The databases this account sees, each with name, size and whether it is one of this collection's own.
  type: list
  elements: dict
  returned: success
  sample: [{name: kestra, bytes: 276824064, ours: false}]
identity:
  description: What tells this database from every other one, and how it was created.
  type: dict
  returned: when the database exists
  sample:
    server_uuid: 812a101d-e92f-11f1-9129-02fc00000001
    database: kestra
    server_version: "8.4.6"
    version_comment: MySQL Community Server - GPL
    character_set: utf8mb4
    collation: utf8mb4_unicode_ci
    lower_case_table_names: 0
size_bytes:
  description: Size of its tables and indexes, as the server estimates it.
  type: int
  returned: when the database exists
empty:
  description: Whether it holds nothing.
  type: bool
  returned: when the database exists
contents:
  description: The first things it holds.
  type: list
  elements: str
  returned: when the database exists
  sample: [table flows]
tables:
  description: Its tables.
  type: list
  elements: str
  returned: when the database exists
  sample: [kestra.flows]
privileges_missing:
  description: What the connecting account may not read, in words.
  type: list
  elements: str
  returned: when the database exists
  sample: ["schema kestra (TRIGGER, EVENT)"]
time_zones:
  description: Whether the server knows time zones by name, which Kestra needs.
  type: bool
  returned: when the database exists
counts:
  description: Rows of every table.
  type: dict
  returned: with O(counts)
generated_timestamps:
  description: Number and sum of the values of generated columns of times.
  type: dict
  returned: with O(counts)
objects:
  description: Digests of all definitions by kind and name, and counters with their next values.
  type: dict
  returned: with O(objects)
content:
  description: A digest of all rows by table, independent of their order.
  type: dict
  returned: with O(content)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import inventory, options


def describe(place, params):
    """The module's result."""
    database = place.require_database()
    try:
        found = inventory.read(place.login, database, with_counts=params["counts"], with_objects=params["objects"],
                               with_content=params["content"])
    except ConnectError as exc:
        if exc.reason != "database_missing":
            raise
        return {"exists": False, **inventory.server(place.login)}
    found["privileges_missing"] = [f"{item['kind']} {item['object']} ({', '.join(item['missing'])})"
                                   for item in found["privileges_missing"]]
    return {"exists": True, "server_version": found["identity"]["server_version"], **found}


def main():
    flag = {"type": "bool", "default": False}
    spec = dict(options.argument_spec(), counts=flag, objects=flag, content=flag)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        return facts.trust(module, dict(describe(options.of_module(module, redactor), module.params), changed=False))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
