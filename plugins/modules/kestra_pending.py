#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Executions that had not ended are killed, or killed and run again."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_pending
short_description: Kill or replay the executions that were under way at a recovery point
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Where Kestra's queue is in Kafka, executions that were under way when the recovery point was taken are there after a restore, but
    nothing moves them. This ends them through Kestra's API, and where it is asked to, runs them again.
  - Only executions of O(recorded) that have not ended are touched. Kestra is asked for the state of each first.
  - >-
    V(replay) may do work twice. What an execution had done when the recovery point was taken, and what it did after that moment, is done
    again: a mail is sent again, a row is inserted again. Use it where tasks can be repeated.
  - Kestra's own restart is not used, since it takes no execution that is under way.
  - Fails when not all could be done, with C(became), C(not_done) and C(by_hand), the commands that are left to do, in C(detail).
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.kestra_api
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
    details: Asks for the states and says what it would do.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: What has ended is left alone, so nothing is replayed a second time.
options:
  action:
    description:
      - V(kill) kills them. Subflows are killed where they are in O(recorded) themselves, as they are when they were under way.
      - V(replay) kills them and, once they are, makes a new execution of each from its first task, with its inputs and its revision of the
        flow. It has an id of its own. One that waits for a person (V(PAUSED), V(BREAKPOINT)) is left as it is.
    type: str
    choices: [kill, replay]
    required: true
  recorded:
    description: Executions as the manifest of a recovery point lists them (C(in_flight.executions)).
    type: list
    elements: dict
    required: true
  tenant:
    description: The tenant of those executions that name none. Default is none.
  timeout:
    description: Seconds to wait until those that are killed have ended.
    type: float
    default: 120.0
  interval:
    description: Seconds between two questions.
    type: float
    default: 2.0
seealso:
  - module: kestra_community.dr.elasticsearch_pending_info
  - module: kestra_community.dr.kestra_restore_queue
"""

EXAMPLES = r"""
- name: What would be killed
  kestra_community.dr.kestra_pending:
    action: kill
    recorded: "{{ manifest.in_flight.executions }}"
    config:
      files: [/etc/kestra/application.yml]
  check_mode: true
  register: planned

- name: Run again what was under way
  kestra_community.dr.kestra_pending:
    action: replay
    recorded: "{{ manifest.in_flight.executions }}"
    config:
      files: [/etc/kestra/application.yml]
  register: pending
"""

RETURN = r"""
became:
  description:
    - What became of each recorded execution. C(was) is its state in the manifest, C(found) that before anything was done, C(now) that at
      the end, null for one that is not there.
    - C(action) is O(action), or null where it is not meant for that execution; C(done) whether it was done, C(new_id) the new execution,
      and C(why) says why nothing was done.
  type: list
  elements: dict
  returned: success
  sample:
    - {id: 4Nn2PbTqoBGHyTVHhFmqAO, namespace: company.team, flow: load, tenant: main, was: RUNNING, found: RUNNING, now: KILLED,
       action: replay, done: true, new_id: 2dS7r1oWJvU3mBq0LkYcXe, why: null}
stuck:
  description: Ids of the recorded executions that have not ended now.
  type: list
  elements: str
  returned: success
lost:
  description: Ids of the recorded executions that are not there.
  type: list
  elements: str
  returned: success
not_done:
  description: Ids of those that O(action) is meant for and that it was not done to. Empty on success.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import client, options, pending

ARGUMENT_SPEC = {
    **options.API_SPEC,
    "action": {"type": "str", "choices": [pending.KILL, pending.REPLAY], "required": True},
    "recorded": {"type": "list", "elements": "dict", "required": True},
    "timeout": {"type": "float", "default": 120.0},
    "interval": {"type": "float", "default": 2.0},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        params = module.params
        pending.check(params["recorded"])
        asking = client.Client(options.api_settings(module, redactor))
        work = pending.Resolver(asking, params["action"], params["timeout"], params["interval"])
        return work.run(params["recorded"], module.check_mode)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
