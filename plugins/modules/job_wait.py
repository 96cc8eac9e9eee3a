#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for a detached step."""
from __future__ import annotations

DOCUMENTATION = r"""
module: job_wait
short_description: Wait for a detached step, showing its progress
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Long steps are started with C(async) and C(poll=0) and a O(job_dir). This module waits until such a step has ended
    or has reached a phase, shows what it is doing, and fails with the step's own error if it failed or died.
  - Several steps that run beside each other can be waited for at once with O(jobs).
  - While it waits, the lock of the instance is renewed.
extends_documentation_fragment:
  - kestra_community.dr.attributes
attributes:
  check_mode:
    support: full
    details: Does not wait for a step that was never started, because check mode starts none.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  job_dir:
    description: The directory given to the step as C(job_dir). Either this or O(jobs) is required.
    type: path
  jobs:
    description: Steps to wait for together, in place of O(job_dir).
    type: list
    elements: dict
    suboptions:
      name:
        description: What the step is called in RV(steps).
        type: str
        required: true
      job_dir:
        description: As O(job_dir).
        type: path
        required: true
      results_file:
        description: As O(results_file).
        type: path
  until:
    description: Wait for this. V(finished), or the name of a phase of the step.
    type: str
    default: finished
  timeout:
    description: Seconds to wait. Without it there is no limit.
    type: float
  on_timeout:
    description:
      - What to do when O(timeout) has passed. V(fail) leaves the step running, V(abort) ends it first.
    type: str
    choices: [fail, abort]
    default: fail
  results_file:
    description:
      - RV(ignore:results_file) of the task that started the step. With it, a step that died before it wrote its first
        word is noticed, and what an earlier run left in O(job_dir) is not taken for the present one.
    type: path
  lock:
    description: The lock to renew.
    type: dict
    suboptions:
      path:
        description: C(lock.json) in the instance's directory of the vault.
        type: path
        required: true
      run_id:
        description: Id of this run.
        type: str
        required: true
      ttl:
        description: Seconds after which the lock counts as abandoned unless it was renewed.
        type: int
        default: 900
  slice:
    description:
      - Return after so many seconds although nothing is decided yet, with RV(reached=false).
      - Set by the module's action plugin, which asks again and shows progress in between.
    type: float
"""

EXAMPLES = r"""
- name: Dump the database, detached
  kestra_community.dr.postgresql_dump:
    dest: /var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3/staging/database
    config:
      files: [/etc/kestra/application.yml]
    job_dir: /var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3/jobs/dump
  async: 86400
  poll: 0
  register: dump

- name: Wait until the snapshot is pinned
  kestra_community.dr.job_wait:
    job_dir: /var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3/jobs/dump
    results_file: "{{ dump.results_file }}"
    until: pinned
    timeout: 120
    on_timeout: abort

- name: Wait for the dump
  kestra_community.dr.job_wait:
    job_dir: /var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3/jobs/dump
    results_file: "{{ dump.results_file }}"
  register: dumped

- name: Wait for two steps that run beside each other
  kestra_community.dr.job_wait:
    jobs:
      - name: database
        job_dir: /var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3/jobs/dump
      - name: storage
        job_dir: /var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3/jobs/storage
  register: copied
"""

RETURN = r"""
finished:
  description: Whether the step has ended (well; otherwise this module fails).
  type: bool
  returned: with O(job_dir)
reached:
  description: Whether what was waited for has happened.
  type: bool
  returned: success
phase:
  description: The phase the step is in, or was in last.
  type: str
  returned: with O(job_dir)
phases:
  description: The phases entered so far, each with the time C(at) and its C(facts).
  type: dict
  returned: with O(job_dir)
result:
  description: The result of the step, once it has ended.
  type: dict
  returned: with O(job_dir)
steps:
  description: The result of each step by its name, once all have ended.
  type: dict
  returned: with O(jobs)
progress:
  description: How far the phase is, as C(done), C(total), C(unit), C(rate), C(eta_seconds) and C(message). Of several
    steps, that of the first one which still runs.
  type: dict
  returned: success
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, lock, waiting, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import StateError

POLL = 0.2


def give_up(params, waiting_for):
    ended = [params["on_timeout"] == "abort" and jobs.abort(job["job_dir"]) for job in waiting_for]
    until = "finished" if params["until"] == waiting.FINISHED else f"in the phase {params['until']}"
    where = " and ".join(job["job_dir"] for job in waiting_for)
    raise StateError(
        f"The step in {where} was not {until} in time" + (" and was ended." if any(ended) else "."),
        reason="job_timeout", hint="It was ended; run again with more time." if any(ended) else "It may still be running.",
        detail={"aborted": any(ended), "until": params["until"]})


def look(params, asked, check_mode):
    """(what waiting.outcome() says of a step, whether nothing more is to be waited for)."""
    results = waiting.read_results(asked["results_file"]) if asked["results_file"] else None
    job = waiting.look(asked["job_dir"])
    kind = waiting.judge(job, results, params["until"])
    never_started = check_mode and kind == waiting.PENDING and not os.path.exists(asked["job_dir"])
    return waiting.outcome(job, results, kind), kind == waiting.REACHED or never_started


def together(asked, outcomes):
    """What is returned of several steps."""
    running = [outcome for outcome in outcomes if not outcome["reached"]]
    return {"reached": not running, "steps": {job["name"]: outcome["result"] for job, outcome in zip(asked, outcomes)},
            "progress": running[0]["progress"] if running else None}


def body(module):
    params = module.params
    asked = params["jobs"] or [{"job_dir": params["job_dir"], "results_file": params["results_file"]}]
    if params["lock"] and not module.check_mode:
        lock.renew(params["lock"]["path"], run_id=params["lock"]["run_id"], ttl=params["lock"]["ttl"])
    started = time.monotonic()
    while True:
        seen = [look(params, job, module.check_mode) for job in asked]
        elapsed = time.monotonic() - started
        if all(done for _outcome, done in seen) or (params["slice"] is not None and elapsed >= params["slice"]):
            outcomes = [outcome for outcome, _done in seen]
            return dict(together(asked, outcomes) if params["jobs"] else outcomes[0], changed=False)
        if params["timeout"] is not None and elapsed >= params["timeout"]:
            give_up(params, [job for job, (_outcome, done) in zip(asked, seen) if not done])
        time.sleep(POLL)


def main():
    module = AnsibleModule(
        argument_spec={
            "job_dir": {"type": "path"},
            "jobs": {"type": "list", "elements": "dict", "options": {
                "name": {"type": "str", "required": True}, "job_dir": {"type": "path", "required": True},
                "results_file": {"type": "path"}}},
            "until": {"type": "str", "default": "finished"},
            "timeout": {"type": "float"},
            "on_timeout": {"type": "str", "choices": ["fail", "abort"], "default": "fail"},
            "results_file": {"type": "path"},
            "lock": {"type": "dict", "options": {
                "path": {"type": "path", "required": True}, "run_id": {"type": "str", "required": True},
                "ttl": {"type": "int", "default": 900}}},
            "slice": {"type": "float"},
        },
        supports_check_mode=True, required_one_of=[("job_dir", "jobs")],
        mutually_exclusive=[("job_dir", "jobs"), ("results_file", "jobs")])
    wiring.run(module, body)


if __name__ == "__main__":
    main()
