#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in Kestra's local storage."""
from __future__ import annotations

DOCUMENTATION = r"""
module: storage_inventory_info
short_description: List a local storage of Kestra with digests, and compare it
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Walks a directory tree in sorted order, counts what is there, and on request writes a list of it with a digest of
    every file.
  - Compares the tree with an earlier list, to find what changed while it was copied, or with the list of a recovery
    point, to prove that a restored tree is what it was.
  - Memory does not grow with the number of entries. File names may hold any byte.
  - Symbolic links that leave the tree or cannot be copied exactly, and special files, are refused.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: O(dest) is not written.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: Root of the tree. A symbolic link is refused; give its target.
    type: path
    required: true
  dest:
    description:
      - File to write the list to, one JSON object per line, compressed with gzip.
      - Each has the path below the root C(p) (or C(b), base64, when it is not UTF-8), the type C(t) (C(f), C(d) or
        C(l)), size C(s), mode C(m), owner C(u), group C(g), modification time in nanoseconds C(n), change time C(c),
        sha256 C(h), target of a symbolic link C(l) (or C(k)), and drift C(d) when O(compare) found any.
    type: path
  hash:
    description: Read every file and list its sha256.
    type: bool
    default: false
  reuse:
    description:
      - Earlier list of the same tree. Files whose size, modification time and change time are unchanged keep its
        digests.
    type: path
  compare:
    description:
      - Earlier list of the same tree, taken before it was copied. What is not the same any more is counted in
        RV(drift) and marked in O(dest), because nobody can tell which state the copy holds.
    type: path
  part:
    description:
      - V(mutable) lists only the few files that Kestra writes again, which are namespace files, keys, states and messages of
        queues, and the directories above them. It takes as long as there are namespaces and flows, however many executions.
    type: str
    choices: [all, mutable]
    default: all
  hold:
    description: With O(part=mutable), a tar to write with the contents of what is listed, whose digests the list then has.
    type: path
  mutable:
    description: Earlier list of the mutable part. It stands in the place of what is there of it now.
    type: path
  held:
    description:
      - The tar that O(hold) wrote for the list of the mutable part that O(compare) has. What of it is not the same any more is
        listed as it was held, and what came later is marked as such.
    type: path
  keep:
    description:
      - A tar to write with what of O(held) is not the same any more. M(kestra_community.dr.restic_restore) puts it in its place.
    type: path
  expect:
    description:
      - List that the tree must equal, usually that of a recovery point. Digests are compared with O(hash=true).
        Entries marked with drift may be anything.
    type: path
seealso:
  - module: kestra_community.dr.restic_backup
"""

EXAMPLES = r"""
- name: List the storage at the moment the database is pinned
  kestra_community.dr.storage_inventory_info:
    path: /app/storage
    dest: /run/kestra-dr/pinned.jsonl.gz

- name: List it after the copy, with digests, and mark what changed meanwhile
  kestra_community.dr.storage_inventory_info:
    path: /app/storage
    dest: /run/kestra-dr/storage.jsonl.gz
    hash: true
    compare: /run/kestra-dr/pinned.jsonl.gz
  register: storage

- name: Hold what Kestra writes again, while it is stopped
  kestra_community.dr.storage_inventory_info:
    path: /app/storage
    part: mutable
    dest: /run/kestra-dr/mutable.jsonl.gz
    hold: /run/kestra-dr/mutable.tar

- name: List everything else once Kestra runs again, before the copy
  kestra_community.dr.storage_inventory_info:
    path: /app/storage
    mutable: /run/kestra-dr/mutable.jsonl.gz
    dest: /run/kestra-dr/pinned.jsonl.gz

- name: After the copy, keep what it does not have as it was then
  kestra_community.dr.storage_inventory_info:
    path: /app/storage
    dest: /run/kestra-dr/storage.jsonl.gz
    hash: true
    compare: /run/kestra-dr/pinned.jsonl.gz
    held: /run/kestra-dr/mutable.tar
    keep: /run/kestra-dr/storage-kept.tar

- name: Prove that a restored storage is what was backed up
  kestra_community.dr.storage_inventory_info:
    path: /app/storage.restored
    hash: true
    expect: /var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3/storage.jsonl.gz
  register: comparison
  failed_when: comparison.comparison.verdict != 'equal'
"""

RETURN = r"""
root:
  description: Root of the tree.
  type: str
  returned: success
entries:
  description: Number of files, directories and symbolic links below the root.
  type: int
  returned: success
files:
  description: Number of files.
  type: int
  returned: success
directories:
  description: Number of directories.
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
hashed_files:
  description: Number of files read for their digests.
  type: int
  returned: success
hashed_bytes:
  description: Bytes read for digests.
  type: int
  returned: success
reused_files:
  description: Number of digests taken from O(reuse).
  type: int
  returned: success
list:
  description: C(path), C(sha256) and C(entries) of the list; null when none was written.
  type: dict
  returned: success
drift:
  description:
    - Numbers of entries C(deleted), C(changed) and C(added) since O(compare), with C(examples) of each. With O(held) also
      C(pinned), what is kept as it was, and C(later), what does not come back.
  type: dict
  returned: when O(compare) is given
kept:
  description: C(path), C(sha256) and C(entries) of O(keep).
  type: dict
  returned: when O(keep) is given, not in check mode
comparison:
  description: How the tree compares with O(expect).
  type: dict
  returned: when O(expect) is given
  contains:
    verdict:
      description: V(equal) or V(differs).
      type: str
    entries:
      description: Number of entries compared.
      type: int
    compared_digests:
      description: Number of files compared by digest.
      type: int
    drifted:
      description: Number of entries left out because they changed while they were copied.
      type: int
    differences:
      description: Number of differences.
      type: int
    counts:
      description:
        - Differences by kind, which are C(missing), C(unexpected), C(type), C(size), C(target), C(content), C(mode),
          C(owner), C(mtime).
      type: dict
    examples:
      description: Some paths of each kind.
      type: dict
seconds:
  description: How long it took.
  type: float
  returned: success
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import compare, local, part, pinned

OPTIONS = ("path", "dest", "hash", "reuse", "compare", "expect", "part", "hold", "mutable", "held", "keep")


def inventory(params, check_mode, progress):
    """Totals and list, or with expect the comparison."""
    progress.phase("walking")
    if params["expect"]:
        return compare.checked_tree(params["expect"], params["path"], digests=params["hash"],
                                    on_progress=progress.update)
    found = local.take(params["path"], None if check_mode else params["dest"], digests=params["hash"],
                       reuse=params["reuse"], compare=params["compare"], what=params["part"],
                       hold=None if check_mode else params["hold"], mutable=params["mutable"], held=bool(params["held"]),
                       on_progress=progress.update)
    if params["keep"] and not check_mode:
        progress.phase("keeping")
        found["kept"] = pinned.keep(params["held"], params["dest"], params["keep"])
    return found


def main():
    spec = dict(jobs.argument_spec(), path={"type": "path", "required": True}, dest={"type": "path"},
                hash={"type": "bool", "default": False}, reuse={"type": "path"}, compare={"type": "path"},
                expect={"type": "path"}, part={"type": "str", "choices": list(part.PARTS), "default": part.ALL},
                hold={"type": "path"}, mutable={"type": "path"}, held={"type": "path"}, keep={"type": "path"})
    module = AnsibleModule(
        argument_spec=spec, supports_check_mode=True, required_together=[("held", "keep")],
        required_by={"keep": ["compare", "dest"], "hold": ["dest"]},
        mutually_exclusive=[("expect", "dest"), ("expect", "reuse"), ("expect", "compare"), ("hold", "mutable"),
                            ("hold", "compare"), ("hold", "hash"), ("mutable", "compare")])

    def body(module):
        question = {name: module.params[name] for name in OPTIONS}
        job = jobs.Job(None if module.check_mode else module.params["job_dir"], "storage_inventory",
                       jobs.fingerprint_of(question))
        return dict(job.run(lambda progress: inventory(module.params, module.check_mode, progress)), changed=False)

    wiring.run(module, body)


if __name__ == "__main__":
    main()
