#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes recovery points by a policy."""
from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point_prune
short_description: Remove recovery points by a policy, never the last verified one
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Keeps what the rules ask for and removes the rest, manifests and data. The only thing that deletes what a sealed
    manifest names.
  - The newest verified recovery point is always kept. While none is verified, nothing sealed is removed and the module
    warns.
  - Recovery points with verdict C(differs) or C(failed) take no place from good ones.
  - A snapshot of Elasticsearch that stays in its repository goes with its recovery point. It is found by its uuid. While the
    cluster cannot be reached, or may only read the repository, the recovery point stays, with a warning.
  - Also removes snapshots older than a day that belong to no recovery point, as aborted backups leave them, and
    finishes a removal that was cut short.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.vault.lock
  - kestra_community.dr.restic
  - kestra_community.dr.job
  - kestra_community.dr.elasticsearch
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the recovery points before and after.
  idempotent:
    support: full
options:
  login_hosts:
    description:
      - Only for recovery points whose snapshots stay in a repository of Elasticsearch, the hosts of the cluster that takes them.
        Default is what O(config) says, else those in the manifest.
    type: list
    elements: str
  policy:
    description:
      - What to keep. A recovery point stays if any rule wants it. Without any rule nothing is removed.
    type: dict
    required: true
    suboptions:
      keep_last:
        description: So many of the newest.
        type: int
      keep_daily:
        description: The newest of each of so many days (UTC) that have one.
        type: int
      keep_weekly:
        description: The newest of each of so many ISO weeks that have one.
        type: int
      keep_monthly:
        description: The newest of each of so many months that have one.
        type: int
      keep_within_days:
        description: All that are not older than so many days before the newest one.
        type: int
"""

EXAMPLES = r"""
- name: Keep a week of days, a month of weeks, a year of months
  kestra_community.dr.recovery_point_prune:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    policy:
      keep_last: 3
      keep_daily: 7
      keep_weekly: 4
      keep_monthly: 12
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    lock:
      run_id: 20261123T001500Z-a1b2c3
      owner: alice@controller
"""

RETURN = r"""
removed:
  description: Ids removed by the policy.
  type: list
  elements: str
  returned: success
kept:
  description: Ids kept, each with the reasons.
  type: dict
  returned: success
  sample: {20261123T001500Z-a1b2c3: [last 1 of 3, last verified]}
finished:
  description: Ids whose removal an earlier run had begun.
  type: list
  elements: str
  returned: success
orphans:
  description: Snapshots removed because no recovery point owns them.
  type: list
  elements: str
  returned: success
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, lock, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import options as elasticsearch
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import catalog, options, outside, prune, retention, ship
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def diff(vault, gone):
    lines = [f"{line['id']}  {line['verdict']}" for line in vault.summaries()]
    after = [line for line in lines if line.split(" ")[0] not in gone]
    return {"before_header": "recovery points", "after_header": "recovery points",
            "before": "".join(f"{line}\n" for line in lines), "after": "".join(f"{line}\n" for line in after)}


def main():
    spec = dict(
        catalog.argument_spec(), **catalog.lock_argument_spec(), **options.argument_spec(), **jobs.argument_spec(),
        **elasticsearch.argument_spec()
    )
    spec["policy"] = {"type": "dict", "required": True, "options": {
        "keep_last": {"type": "int"}, "keep_daily": {"type": "int"}, "keep_weekly": {"type": "int"},
        "keep_monthly": {"type": "int"}, "keep_within_days": {"type": "int"}}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE + elasticsearch.MUTUALLY_EXCLUSIVE,
                           required_one_of=options.REQUIRED_ONE_OF)
    redactor = Redactor()

    def body(module):
        policy, held = module.params["policy"], module.params["lock"]
        for rule in retention.RULES:
            if (policy[rule] or 0) < 0:
                raise ConfigError(f"{rule} must not be negative.", reason="bad_policy")
        vault = catalog.Catalog(module.params["vault"], module.params["instance"])
        vault.check_vault()
        restic = Restic(options.from_options(module.params), redactor)
        held_outside = outside.Snapshots(
            lambda component: elasticsearch.of_module(module, redactor, endpoint=component["endpoint"]).login)
        now = datetime.now(timezone.utc)
        plan = prune.decide(vault, policy, now)
        changes = diff(vault, set(plan["remove"] + plan["unfinished"]))
        if module.check_mode:
            lock.decide(lock.read(vault.lock), held["run_id"], now, held["take_over"])
            result = {
                "removed": plan["remove"],
                "kept": plan["keep"],
                "finished": plan["unfinished"],
                "orphans": prune.orphans(vault, ship.own_snapshots(vault, restic), now),
                "warnings": plan["warnings"],
            }
        else:
            taken = lock.acquire(vault.lock, run_id=held["run_id"], flow="prune", owner=held["owner"], ttl=held["ttl"],
                                 take_over=held["take_over"])
            try:
                job = jobs.Job(
                    module.params["job_dir"], "prune", jobs.fingerprint_of([held["run_id"], policy]), redactor
                )
                with lock.keeping(vault.lock, run_id=held["run_id"], ttl=held["ttl"]) as still_ours:
                    result = job.run(lambda progress: prune.prune(
                        vault, policy, restic, still_ours=still_ours, now=now, on_progress=progress.update,
                        outside=held_outside))
            finally:
                if taken["how"] != lock.OURS:
                    lock.release(vault.lock, run_id=held["run_id"])
        changed = bool(result["removed"] or result["finished"] or result["orphans"])
        return dict(result, changed=changed, diff=changes)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
