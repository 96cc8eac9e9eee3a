#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of a restic repository."""
from __future__ import annotations

DOCUMENTATION = r"""
module: restic_check
short_description: Check a restic repository
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Checks that the structure of a repository is whole, and on request that its data can be read and is what was
    written.
  - Without reading data a damaged file of the repository is not found; such a check is no verification of a recovery
    point.
  - Fails with the ids of damaged packs.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.restic
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Only proves that the repository opens.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  read_data:
    description: Read all data.
    type: bool
    default: false
  read_data_subset:
    description:
      - Read a part of the data, as V(1/7) (the first of seven equal parts, by turns all of it), V(10%) or V(500M)
        (random).
    type: str
"""

EXAMPLES = r"""
- name: Check the structure
  kestra_community.dr.restic_check:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic

- name: Read a seventh of the data each day of the week
  kestra_community.dr.restic_check:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    read_data_subset: "{{ (now(utc=true).isoweekday()) ~ '/7' }}"
"""

RETURN = r"""
repository:
  description: Location of the repository, its password masked.
  type: str
  returned: success
read_data:
  description: Whether all data was read.
  type: bool
  returned: success
subset:
  description: The part of the data that was read, or null.
  type: str
  returned: success
snapshots:
  description: Number of snapshots checked.
  type: int
  returned: success
packs:
  description: Number of packs read.
  type: int
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(read_data={"type": "bool", "default": False}, read_data_subset={"type": "str"})
    module = AnsibleModule(
        argument_spec=spec, supports_check_mode=True, required_one_of=options.REQUIRED_ONE_OF,
        mutually_exclusive=options.MUTUALLY_EXCLUSIVE + [("read_data", "read_data_subset")])
    redactor = Redactor()

    def body(module):
        read_data, subset = module.params["read_data"], module.params["read_data_subset"]
        restic = Restic(options.of_module(module.params, module.no_log_values), redactor)
        where = {"changed": False, "repository": restic.repository.display}
        if module.check_mode:
            restic.config()
            return dict(where, read_data=False, subset=None, snapshots=0, packs=0, seconds=0.0, reattached=False)

        def work(progress):
            progress.phase("checking")
            return restic.check(read_data, subset, on_progress=progress.update)

        question = dict(restic.repository.fingerprint(), read_data=read_data, subset=subset)
        job = jobs.Job(module.params["job_dir"], "restic_check", jobs.fingerprint_of(question), redactor)
        return dict(job.run(work), **where)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
