#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a report."""
from __future__ import annotations

DOCUMENTATION = r"""
module: report_write
short_description: Write the report of a run
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Writes the representations of one report beside each other, each whole or not at all, with mode 0600.
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
  directory:
    description: Where reports are kept. It is made with mode 0700 where it is missing.
    type: path
    required: true
  name:
    description: Name of the report, the file name without its end.
    type: str
    required: true
  content:
    description: What C(NAME.json) holds.
    type: dict
    required: true
  page:
    description: Text of C(NAME.html).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the report of a backup
  kestra_community.dr.report_write:
    directory: /var/lib/kestra-dr/vault/kestra/reports
    name: 20261123T001500Z-a1b2c3
    content:
      kind: backup
      outcome: ok
    page: "<!DOCTYPE html><title>backup ok</title>"
"""

RETURN = r"""
files:
  description: The files of the report.
  type: list
  elements: str
  returned: success
  sample:
    - /var/lib/kestra-dr/vault/kestra/reports/20261123T001500Z-a1b2c3.json
    - /var/lib/kestra-dr/vault/kestra/reports/20261123T001500Z-a1b2c3.html
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import files, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError


def holds(path, text):
    """Whether a file has this text already."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read() == text
    except FileNotFoundError:
        return False


def body(module):
    params = module.params
    if os.path.basename(params["name"]) != params["name"] or params["name"] in ("", ".", ".."):
        raise ConfigError(f"{params['name']!r} is no name of a file.", reason="name_invalid")
    base = os.path.join(params["directory"], params["name"])
    wanted = {f"{base}.json": json.dumps(params["content"], indent=2, ensure_ascii=False) + "\n", f"{base}.html": params["page"]}
    changed = [path for path, text in wanted.items() if not holds(path, text)]
    if changed and not module.check_mode:
        os.makedirs(params["directory"], mode=0o700, exist_ok=True)
        for path in changed:
            files.atomic_write(path, wanted[path])
    return {"changed": bool(changed), "files": list(wanted)}


def main():
    module = AnsibleModule(
        argument_spec={"directory": {"type": "path", "required": True}, "name": {"type": "str", "required": True},
                       "content": {"type": "dict", "required": True}, "page": {"type": "str", "required": True}},
        supports_check_mode=True)
    wiring.run(module, body)


if __name__ == "__main__":
    main()
