#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots that nobody needs."""
from __future__ import annotations

DOCUMENTATION = r"""
module: restic_forget
short_description: Remove snapshots that belong to no sealed recovery point
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Removes snapshots by id or by tags.
  - Refuses, and removes nothing, when one of them belongs to a sealed recovery point. That is told by the manifests
    in the vault directory and, for those whose directory is lost, by the manifests in the repository. Sealed recovery
    points are removed by M(kestra_community.dr.recovery_point_prune) only.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.restic
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the snapshots that go.
  idempotent:
    support: full
options:
  snapshots:
    description: Whole ids of the snapshots. One that does not exist any more is no error.
    type: list
    elements: str
  tags:
    description: Remove the snapshots that carry all of these tags.
    type: list
    elements: str
  vault:
    description: The vault directory, whose manifests say what must stay.
    type: path
    required: true
  prune:
    description: Also remove the data that no snapshot needs any more.
    type: bool
    default: false
seealso:
  - module: kestra_community.dr.recovery_point_prune
"""

EXAMPLES = r"""
- name: Remove what an aborted recovery point left in the repository
  kestra_community.dr.restic_forget:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    vault: /var/lib/kestra-dr/vault
    tags:
      - kestra-dr
      - point=20261123T001500Z-a1b2c3
"""

RETURN = r"""
removed:
  description: Ids of the snapshots that were removed, or would be in check mode.
  type: list
  elements: str
  returned: success
absent:
  description: Those of O(snapshots) that were not there.
  type: list
  elements: str
  returned: success
pruned:
  description: Whether data was removed too.
  type: bool
  returned: success
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options, restic_guard
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic_output import is_full_id


def chosen(everything, params):
    """(snapshots that go, ids that are absent)."""
    if params["tags"] is not None:
        wanted = set(params["tags"])
        return [item for item in everything if wanted <= set(item["tags"])], []
    there = {item["id"]: item for item in everything}
    return ([there[snapshot] for snapshot in params["snapshots"] if snapshot in there],
            [snapshot for snapshot in params["snapshots"] if snapshot not in there])


def lines(snapshots):
    return "".join(f"{item['id']}  {item['time']}  {' '.join(item['tags'])}\n" for item in snapshots)


def main():
    strings = {"type": "list", "elements": "str"}
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(snapshots=strings, tags=strings, vault={"type": "path", "required": True},
                prune={"type": "bool", "default": False})
    module = AnsibleModule(
        argument_spec=spec, supports_check_mode=True,
        mutually_exclusive=options.MUTUALLY_EXCLUSIVE + [("snapshots", "tags")],
        required_one_of=options.REQUIRED_ONE_OF + [("snapshots", "tags")])
    redactor = Redactor()

    def body(module):
        params = module.params
        if params["tags"] == []:
            raise ConfigError("An empty list of tags would mean every snapshot; name at least one.",
                              reason="bad_option")
        for snapshot in params["snapshots"] or []:
            if not is_full_id(snapshot):
                raise ConfigError(f"{snapshot!r} is not a whole snapshot id (64 hex digits).", reason="bad_snapshot_id")
        restic = Restic(options.of_module(params, module.no_log_values), redactor)
        everything = restic.snapshots()
        going, absent = chosen(everything, params)
        restic_guard.check(going, everything, params["vault"])
        result = {"changed": bool(going), "removed": [item["id"] for item in going], "absent": absent, "pruned": False,
                  "reattached": False, "diff": {"before": lines(going), "after": "", "before_header": "snapshots",
                                                "after_header": "snapshots"}}
        if module.check_mode or not (going or params["prune"]):
            return result
        # What goes was listed and guarded just now, so it is part of the question a finished job answers.
        question = dict(restic.repository.fingerprint(), ids=result["removed"], prune=params["prune"])
        job = jobs.Job(params["job_dir"], "restic_forget", jobs.fingerprint_of(question), redactor)
        done = job.run(lambda progress: restic.forget(result["removed"], params["prune"], progress.update))
        return dict(result, pruned=done["pruned"], reattached=done["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
