#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files into a restic repository."""
from __future__ import annotations

DOCUMENTATION = r"""
module: restic_backup
short_description: Back up files with restic, all of them or none
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Takes one snapshot of the given paths.
  - A missing source, a source that is a symbolic link and a file that cannot be read are failures in every version of
    restic, and no snapshot of half the files is left behind.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.restic
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Reads the sources and tells how much would be added; the repository is not changed.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Takes a new snapshot each time, unless O(job_dir) holds the result of the same backup.
options:
  paths:
    description:
      - Files and directories to back up. Relative ones need O(base_dir) and lie in the snapshot under their relative
        names, so that a restore does not depend on where the source was.
    type: list
    elements: str
  base_dir:
    description: Directory that relative paths start from.
    type: path
  files_from:
    description: File with the names of what to back up, instead of O(paths).
    type: path
  files_from_format:
    description:
      - How O(files_from) is written. V(verbatim) has one name per line; V(raw) has names that each end with a NUL
        byte and so can hold any name; V(pattern) has one shell pattern per line, of which restic skips those that
        match nothing.
    type: str
    choices: [verbatim, raw, pattern]
    default: verbatim
  tags:
    description: Tags of the snapshot.
    type: list
    elements: str
    default: []
  host:
    description:
      - Host name to store. restic compares with the last snapshot of the same host and paths, so keep it the same
        when the worker host changes.
    type: str
  excludes:
    description: Patterns of files to leave out, as restic's C(--exclude) takes them.
    type: list
    elements: str
    default: []
  parent:
    description: Id of the snapshot to compare with, when it is not the last one of the same host and paths.
    type: str
  one_file_system:
    description: Leave out what is mounted below the paths.
    type: bool
    default: false
  vanished:
    description:
      - What to do when a file is gone between the reading of its directory and the reading of the file, as happens
        while Kestra works.
      - With V(fail) the backup fails; with V(report) the names are returned. restic 0.18.1 and newer report no such
        files; M(kestra_community.dr.storage_inventory_info) finds them in any version.
    type: str
    choices: [fail, report]
    default: fail
  look_up:
    description:
      - Ask the repository for the whole snapshot afterwards, which opens it once more.
      - >-
        Without, RV(parent) is not known and RV(snapshot) may be the beginning of the id (before restic 0.17);
        O(kestra_community.dr.recovery_point#module:state=sealed) looks all of a recovery point up at once.
    type: bool
    default: true
seealso:
  - module: kestra_community.dr.restic_restore
  - module: kestra_community.dr.storage_inventory_info
"""

EXAMPLES = r"""
- name: Back up Kestra's storage
  kestra_community.dr.restic_backup:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    base_dir: /app
    paths: [storage]
    host: kestra-dr-kestra
    tags:
      - kestra-dr
      - instance=kestra
      - point=20261123T001500Z-a1b2c3
      - component=storage
    job_dir: /var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3/jobs/storage
  register: storage

- name: Back up what a list names
  kestra_community.dr.restic_backup:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    files_from: /run/kestra-dr/files
"""

RETURN = r"""
snapshot:
  description: Whole id of the snapshot; null in check mode.
  type: str
  returned: success
parent:
  description: Id of the snapshot it was compared with. Null means that every file was read again.
  type: str
  returned: success
paths:
  description: What was backed up.
  type: list
  elements: str
  returned: success
snapshot_paths:
  description: Where each of RV(paths) lies in the snapshot.
  type: list
  elements: str
  returned: success
  sample: [/storage]
tags:
  description: Tags of the snapshot.
  type: list
  elements: str
  returned: success
host:
  description: Host of the snapshot.
  type: str
  returned: success
files:
  description: Numbers of files C(new), C(changed) and C(unmodified) against the parent.
  type: dict
  returned: success
directories:
  description: Numbers of directories C(new), C(changed) and C(unmodified) against the parent.
  type: dict
  returned: success
files_total:
  description: Number of files in the snapshot.
  type: int
  returned: success
bytes_total:
  description: Size of the files in the snapshot.
  type: int
  returned: success
bytes_added:
  description: Size of the data that was new to the repository.
  type: int
  returned: success
bytes_stored:
  description: Size of that data as stored, compressed. Null before restic 0.17, which does not tell.
  type: int
  returned: success
vanished:
  description: C(count) and C(examples) of the files that vanished while they were read.
  type: dict
  returned: success
seconds:
  description: How long restic worked.
  type: float
  returned: success
repository_exists:
  description: Whether the repository exists; in check mode it may still have to be made.
  type: bool
  returned: success
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import (
    Restic, check_listed_sources, check_sources)

OPTIONS = ("files_from", "files_from_format", "base_dir", "tags", "host", "excludes", "parent", "one_file_system",
           "vanished", "look_up")


def rehearse(restic, params, paths, arguments):
    """What a backup would add. Without a repository only the sources can be checked."""
    if restic.exists():
        found = restic.backup(paths, dry_run=True, **arguments)
        return dict(found, changed=True, repository_exists=True, reattached=False)
    if paths:
        check_sources(paths, params["base_dir"])
    else:
        check_listed_sources(params["files_from"], params["files_from_format"], params["base_dir"])
    return {"changed": True, "snapshot": None, "paths": paths, "repository_exists": False, "reattached": False}


def main():
    strings = {"type": "list", "elements": "str"}
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        paths=strings, base_dir={"type": "path"}, files_from={"type": "path"},
        files_from_format={"type": "str", "choices": ["verbatim", "raw", "pattern"], "default": "verbatim"},
        tags=dict(strings, default=[]), host={"type": "str"}, excludes=dict(strings, default=[]),
        parent={"type": "str"}, one_file_system={"type": "bool", "default": False},
        vanished={"type": "str", "choices": ["fail", "report"], "default": "fail"},
        look_up={"type": "bool", "default": True})
    module = AnsibleModule(
        argument_spec=spec, supports_check_mode=True,
        mutually_exclusive=options.MUTUALLY_EXCLUSIVE + [("paths", "files_from")],
        required_one_of=options.REQUIRED_ONE_OF + [("paths", "files_from")])
    redactor = Redactor()

    def body(module):
        restic = Restic(options.of_module(module.params, module.no_log_values), redactor)
        arguments = {name: module.params[name] for name in OPTIONS}
        paths = module.params["paths"] or []
        if module.check_mode:
            return rehearse(restic, module.params, paths, arguments)

        def work(progress):
            progress.phase("backing_up")
            return restic.backup(paths, on_progress=progress.update, **arguments)

        question = dict(restic.repository.fingerprint(), paths=paths, **arguments)
        job = jobs.Job(module.params["job_dir"], "restic_backup", jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        return dict(result, changed=not result["reattached"], repository_exists=True)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
