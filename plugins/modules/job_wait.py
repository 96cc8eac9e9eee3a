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
    description: The directory given to the step as C(job_dir).
    type: path
    required: true
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
"""

RETURN = r"""
finished:
  description: Whether the step has ended (well; otherwise this module fails).
  type: bool
  returned: success
reached:
  description: Whether what was waited for has happened.
  type: bool
  returned: success
phase:
  description: The phase the step is in, or was in last.
  type: str
  returned: success
phases:
  description: The phases entered so far, each with the time C(at) and its C(facts).
  type: dict
  returned: success
result:
  description: The result of the step, once it has ended.
  type: dict
  returned: success
progress:
  description: How far the phase is, as C(done), C(total), C(unit), C(rate), C(eta_seconds) and C(message).
  type: dict
  returned: success
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, lock, waiting, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import StateError

POLL = 0.2


def give_up(params, waited_for):
    ended = params["on_timeout"] == "abort" and jobs.abort(params["job_dir"])
    raise StateError(
        f"The step in {params['job_dir']} was not {waited_for} in time" + (" and was ended." if ended else "."),
        reason="job_timeout", hint="It was ended; run again with more time." if ended else "It may still be running.",
        detail={"aborted": bool(ended), "until": params["until"]})


def body(module):
    params = module.params
    if params["lock"] and not module.check_mode:
        lock.renew(params["lock"]["path"], run_id=params["lock"]["run_id"], ttl=params["lock"]["ttl"])
    started = time.monotonic()
    while True:
        results = waiting.read_results(params["results_file"]) if params["results_file"] else None
        job = waiting.look(params["job_dir"])
        kind = waiting.judge(job, results, params["until"])
        elapsed = time.monotonic() - started
        never_started = module.check_mode and kind == waiting.PENDING and not os.path.exists(params["job_dir"])
        if kind == waiting.REACHED or never_started or (params["slice"] is not None and elapsed >= params["slice"]):
            return dict(waiting.outcome(job, results, kind), changed=False)
        if params["timeout"] is not None and elapsed >= params["timeout"]:
            give_up(params, "finished" if params["until"] == waiting.FINISHED else f"in the phase {params['until']}")
        time.sleep(POLL)


def main():
    module = AnsibleModule(
        argument_spec={
            "job_dir": {"type": "path", "required": True},
            "until": {"type": "str", "default": "finished"},
            "timeout": {"type": "float"},
            "on_timeout": {"type": "str", "choices": ["fail", "abort"], "default": "fail"},
            "results_file": {"type": "path"},
            "lock": {"type": "dict", "options": {
                "path": {"type": "path", "required": True}, "run_id": {"type": "str", "required": True},
                "ttl": {"type": "int", "default": 900}}},
            "slice": {"type": "float"},
        },
        supports_check_mode=True)
    wiring.run(module, body)


if __name__ == "__main__":
    main()
