#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One path of a snapshot back to disk."""
from __future__ import annotations

DOCUMENTATION = r"""
module: restic_restore
short_description: Restore one path of a restic snapshot exactly, or nothing at all
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Restores a path of a snapshot so that it lies directly at the target, with owners, modes, times and empty
    directories.
  - Works beside the target under a hidden name, compares every entry with the snapshot, and moves the result into
    place by one rename. What is already there is never written over.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.restic
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Checks the snapshot, the target and the free space, and tells how much would be restored.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Refuses a target with content, unless O(job_dir) tells that it is the result of the same restore.
options:
  snapshot:
    description: Id of the snapshot, whole or its beginning of at least eight digits.
    type: str
    required: true
  path:
    description: Path in the snapshot. V(/) is all of it.
    type: str
    default: /
  target:
    description:
      - Where the path is to lie. It must not exist, or be an empty directory. Its parent directory must exist.
      - A mount point is filled instead of renamed.
    type: path
    required: true
  verify:
    description: Let restic read the restored files back and compare them with its digests.
    type: bool
    default: true
  list:
    description:
      - List of a storage, as M(kestra_community.dr.storage_inventory_info) writes it. The restored tree must equal
        it, with the digest of every file, before it is moved into place.
    type: path
  kept:
    description:
      - What was held of that storage at the pin and the snapshot does not have so, as
        M(kestra_community.dr.storage_inventory_info) keeps it. It is put in its place before the comparison.
    type: path
seealso:
  - module: kestra_community.dr.restic_backup
"""

EXAMPLES = r"""
- name: Restore Kestra's storage beside the live one
  kestra_community.dr.restic_restore:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    snapshot: 5df0cc2c0c5d1e4ea5e8b3a2d1c8a7c6b5a4938271605f4e3d2c1b0a99887766
    path: /storage
    target: /app/storage.restored
    list: /var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3/storage.jsonl.gz
    job_dir: /var/lib/kestra-dr/jobs/restore-storage
"""

RETURN = r"""
snapshot:
  description: Whole id of the snapshot.
  type: str
  returned: success
path:
  description: Path in the snapshot.
  type: str
  returned: success
target:
  description: Where it lies now.
  type: str
  returned: success
files:
  description: Number of files.
  type: int
  returned: success
directories:
  description: Number of directories below the path.
  type: int
  returned: success
symlinks:
  description: Number of symbolic links.
  type: int
  returned: success
bytes:
  description: Size of the files.
  type: int
  returned: success
verified:
  description: Whether restic read the content back.
  type: bool
  returned: success
compared:
  description:
    - How the tree compares with O(list), with C(verdict), C(entries), C(compared_digests) and C(drifted). Null
      without O(list).
  type: dict
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options, restic_restore
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def plan(restic, params):
    """What a restore would bring, once everything that can be checked before was checked."""
    snapshot = restic.snapshot(params["snapshot"])["id"]
    restic_restore.check_target(params["target"])
    size = restic_restore.measure(restic, snapshot, params["path"])
    restic_restore.check_space(params["target"], size)
    return {"changed": True, "snapshot": snapshot, "path": params["path"], "target": params["target"],
            "files": size["files"], "directories": size["directories"], "symlinks": size["symlinks"],
            "bytes": size["bytes"], "verified": False, "compared": None, "seconds": 0.0, "reattached": False}


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(snapshot={"type": "str", "required": True}, path={"type": "str", "default": "/"},
                target={"type": "path", "required": True}, verify={"type": "bool", "default": True},
                list={"type": "path"}, kept={"type": "path"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE,
                           required_one_of=options.REQUIRED_ONE_OF, required_by={"kept": ["list"]})
    redactor = Redactor()

    def body(module):
        params = module.params
        restic = Restic(options.of_module(params, module.no_log_values), redactor)
        if module.check_mode:
            return plan(restic, params)
        receipt = os.path.join(params["job_dir"], "restored.json") if params["job_dir"] else None
        question = {name: params[name] for name in ("snapshot", "path", "target", "verify", "list", "kept")}
        job = jobs.Job(params["job_dir"], "restic_restore",
                       jobs.fingerprint_of(dict(question, **restic.repository.fingerprint())), redactor)
        result = job.run(lambda progress: restic_restore.restore_path(
            restic, params["snapshot"], params["path"], params["target"], verify=params["verify"],
            expect=params["list"], kept=params["kept"], receipt=receipt, on_phase=progress.phase, on_progress=progress.update))
        return dict(result, changed=result["changed"] and not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
