#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshots of a restic repository."""
from __future__ import annotations

DOCUMENTATION = r"""
module: restic_snapshot_info
short_description: List snapshots of a restic repository
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Lists snapshots, oldest first, with the same keys for every version of restic.
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
  snapshots:
    description: Only these, by their ids or beginnings of at least eight digits. One that does not exist is an error.
    type: list
    elements: str
    default: []
  tags:
    description: Only snapshots that carry all of these tags.
    type: list
    elements: str
    default: []
  host:
    description: Only snapshots of this host.
    type: str
  sizes:
    description: Also tell how much a restore of each snapshot writes. Reads all directories of the snapshots.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: List what belongs to one recovery point
  kestra_community.dr.restic_snapshot_info:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    tags:
      - kestra-dr
      - point=20261123T001500Z-a1b2c3
  register: parts
"""

RETURN = r"""
snapshots:
  description: The snapshots, oldest first.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Whole id.
      type: str
    short_id:
      description: First eight digits of the id.
      type: str
    time:
      description: When it was started.
      type: str
    host:
      description: Host it was taken for.
      type: str
    user:
      description: User who took it.
      type: str
    paths:
      description: Absolute paths of the sources.
      type: list
    tags:
      description: Its tags.
      type: list
    parent:
      description: Id of the snapshot it was compared with, or null.
      type: str
    tree:
      description: Id of its root directory; equal trees hold equal files.
      type: str
    program_version:
      description: restic that took it, or null before 0.16.
      type: str
    summary:
      description: What restic counted, or null before 0.17.
      type: dict
    restore_size:
      description: Bytes and files that a restore writes.
      type: dict
      returned: when O(sizes=true)
repository:
  description: Location of the repository, its password masked.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def listed(restic, params):
    """The snapshots the options ask for."""
    wanted = [restic.snapshot(snapshot)["id"] for snapshot in params["snapshots"]]
    found = restic.snapshots(params["tags"], host=params["host"])
    if wanted:
        found = [item for item in found if item["id"] in wanted]
    if params["sizes"]:
        for item in found:
            size = restic.stats(item["id"], "restore-size")
            item["restore_size"] = {"bytes": size["bytes"], "files": size["files"]}
    return found


def main():
    strings = {"type": "list", "elements": "str", "default": []}
    spec = dict(options.argument_spec(), snapshots=strings, tags=strings, host={"type": "str"},
                sizes={"type": "bool", "default": False})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE,
                           required_one_of=options.REQUIRED_ONE_OF)
    redactor = Redactor()

    def body(module):
        restic = Restic(options.of_module(module.params, module.no_log_values), redactor)
        return {"changed": False, "repository": restic.repository.display, "snapshots": listed(restic, module.params)}

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
