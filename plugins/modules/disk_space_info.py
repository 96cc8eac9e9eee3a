#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on file systems."""
from __future__ import annotations

DOCUMENTATION = r"""
module: disk_space_info
short_description: Refuse a plan for which a file system has no room
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Adds up what is going to be written to each file system, whatever the paths are called, and fails when one of them has less free.
extends_documentation_fragment:
  - kestra_community.dr.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  needs:
    description:
      - What is going to be written.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where. It need not exist yet.
        type: path
        required: true
      bytes:
        description: How much, in bytes.
        type: int
        required: true
      what:
        description: What it is, for the message.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Is there room for the restored storage and the fetched dump?
  kestra_community.dr.disk_space_info:
    needs:
      - path: /app/storage.kestra-dr-new
        bytes: 1073741824
        what: the storage
      - path: /var/lib/kestra-dr/vault
        bytes: 536870912
        what: the dump
"""

RETURN = r"""
file_systems:
  description: Each file system that takes something.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: A path on it.
      type: str
    free_bytes:
      description: What an ordinary user may still write.
      type: int
    needed_bytes:
      description: What is going to be written.
      type: int
    what:
      description: What that is.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import space, wiring


def body(module):
    found = space.by_file_system(module.params["needs"])
    space.require(found)
    return {"changed": False, "file_systems": found}


def main():
    need = {"path": {"type": "path", "required": True}, "bytes": {"type": "int", "required": True},
            "what": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec={"needs": {"type": "list", "elements": "dict", "required": True, "options": need}},
                           supports_check_mode=True)
    wiring.run(module, body)


if __name__ == "__main__":
    main()
