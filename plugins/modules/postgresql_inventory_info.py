#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kestra's PostgreSQL database is and holds."""
from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_inventory_info
short_description: Describe Kestra's PostgreSQL database
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Returns identity, size and contents of a database, what the connecting role may do, and what it lacks to dump
    everything.
  - On request also exact row counts, digests of all definitions, the time zone rows were written in, and a digest of
    all rows.
  - A database that does not exist is no error.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.postgresql
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
    description: Return digests of all definitions, and the values of sequences.
    type: bool
    default: false
  timezones:
    description: Find the time zone that generated times were written in.
    type: bool
    default: false
  content:
    description: Return a digest of all rows of every table. It reads everything.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at the database Kestra's configuration names
  kestra_community.dr.postgresql_inventory_info:
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
  description: Whether the database exists.
  type: bool
  returned: success
user:
  description: The connecting role.
  type: str
  returned: success
superuser:
  description: Whether it is a superuser.
  type: bool
  returned: success
can_create_database:
  description: Whether it may create databases.
  type: bool
  returned: success
server_version:
  description: Version of the server.
  type: str
  returned: success
  sample: "15.18"
databases:
  description: The databases of the server, each with name, oid, owner, size and whether it is one of this
    collection's own.
  type: list
  elements: dict
  returned: success
  sample: [{name: kestra, oid: 16384, owner: kestra, bytes: 276824064, ours: false}]
identity:
  description: What tells this database from every other one, and how it was created.
  type: dict
  returned: when the database exists
  sample:
    system_identifier: "7711155429201047172"
    database: kestra
    database_oid: 16384
    server_version: "15.18"
    encoding: UTF8
    collate: C.UTF-8
    ctype: C.UTF-8
    locale_provider: c
    locale: null
    owner: kestra
size_bytes:
  description: Size of the database on disk.
  type: int
  returned: when the database exists
data_directory:
  description: Where the server keeps its data, when that is on this host and can be looked at; else null.
  type: str
  returned: success
empty:
  description: Whether it holds nothing but what every new database holds.
  type: bool
  returned: when the database exists
contents:
  description: The first things it holds.
  type: list
  elements: str
  returned: when the database exists
  sample: [table public.flows]
tables:
  description: Its tables.
  type: list
  elements: str
  returned: when the database exists
privileges_missing:
  description: What the connecting role may not read, in words.
  type: list
  elements: str
  returned: when the database exists
  sample: ["table public.flows (SELECT)"]
counts:
  description: Rows of every table.
  type: dict
  returned: with O(counts)
objects:
  description: Digests of all definitions by kind and name, and sequences with their values.
  type: dict
  returned: with O(objects)
generated_timestamps:
  description: Number and sum of the values of generated columns that depend on the time zone.
  type: dict
  returned: with O(objects)
timezone:
  description: The time zone a restore has to use.
  type: str
  returned: with O(timezones)
timezone_strays:
  description: Columns with rows written in some other time zone, and how many.
  type: dict
  returned: with O(timezones)
content:
  description: A digest of all rows by table, independent of their order.
  type: dict
  returned: with O(content)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import inventory, options


def describe(place, params):
    """The module's result."""
    database = place.require_database()
    try:
        found = inventory.read(place.login, database, with_counts=params["counts"], with_objects=params["objects"],
                               with_timezone=params["timezones"], with_content=params["content"])
    except ConnectError as exc:
        if exc.reason != "database_missing":
            raise
        return {"exists": False, **inventory.server(place.login)}
    role = found.pop("role")
    found["privileges_missing"] = [f"{item['kind']} {item['object']} ({', '.join(item['missing'])})"
                                   for item in found["privileges_missing"]]
    return {"exists": True, "user": role["name"], "superuser": role["superuser"],
            "server_version": found["identity"]["server_version"], **found}


def main():
    flag = {"type": "bool", "default": False}
    spec = dict(options.argument_spec(), counts=flag, objects=flag, timezones=flag, content=flag)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        return facts.trust(module, dict(describe(options.of_module(module, redactor), module.params), changed=False))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
