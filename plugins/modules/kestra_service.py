#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops and starts Kestra on a host so that it always comes back, or stays down for a stated reason."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_service
short_description: Stop and start Kestra on a host without ever losing it
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Stops Kestra for a while and brings it back as it was found. Runs on each Kestra host.
  - >-
    What was found is remembered on the host, and before anything is stopped a dead-man is armed there: at the deadline it starts Kestra again,
    whatever became of the controller, the ssh session or this module. When a start was declared unsafe (O(state=held)) it leaves Kestra down
    and writes the reason to the file C(HELD).
  - >-
    With root on a host that runs systemd the dead-man is a persistent unit C(kestra-dr-dead-man-<instance>.service) and survives a reboot.
    Elsewhere it is a detached process; after a reboot of such a host the next O(state=stopped) or O(state=renewed) arms it again.
  - The record C(<state_dir>/<instance>/lifecycle.json) is also the lock of the host. Another run is refused until it is gone or taken over.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.lifecycle
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=renewed) sets the deadline anew at every call.
options:
  state:
    description:
      - V(query) tells how Kestra is, who holds it, and what would stand in the way of a stop (RV(problems), RV(locked)).
      - V(stopped) remembers, arms the dead-man, stops, and waits until Kestra is down.
      - V(held) declares a start unsafe. Nobody starts Kestra any more, not even the dead-man or, with systemd, anybody else. Refused while Kestra
        runs and after the dead-man has started it.
      - V(released) takes that back and gives the dead-man a fresh deadline. It does not start Kestra.
      - V(renewed) sets the deadline anew, O(dead_man_seconds) from now.
      - V(started) starts Kestra if it was found running (or O(always)), waits until it is healthy, disarms the dead-man and forgets the record.
    type: str
    choices: [query, stopped, held, released, renewed, started]
    default: query
  instance:
    description: Name of the instance, which is the name of its inventory group.
    type: str
    required: true
  state_dir:
    description: Where record, dead-man and C(HELD) are kept, in a directory of the instance's name.
    type: path
    default: /var/lib/kestra-dr
  run_id:
    description: Id of this run. The same id enters again. Needed for every state but V(query), which tells in RV(locked) how it stands.
    type: str
  flow:
    description: What the run does, for the message another run gets.
    type: str
    default: manual
  owner:
    description: Who runs it and from where, for the message another run gets.
    type: str
    default: unknown
  recovery_point:
    description: Id of the recovery point that the run works on, for the same message.
    type: str
  take_over:
    description: Id of a run that is certainly dead and whose record is taken over. What that run found is inherited.
    type: str
  dead_man_seconds:
    description: Seconds from now to the deadline at which the dead-man acts.
    type: int
    default: 900
  hold_reason:
    description:
      - Why a start is not safe. Needed for O(state=held).
      - With O(state=stopped) Kestra is held from the stop on.
    type: str
  timeout:
    description: Seconds that the stop or the start may take. By default 330 to stop and 300 to start.
    type: int
  always:
    description: Start Kestra although it was not running when the run began.
    type: bool
    default: false
  management_url:
    description:
      - Address of Kestra's management port as this host sees it, for example V(http://localhost:8081). Its C(/health) has to say C(UP).
      - Without it the service manager's word has to do, and RV(health.status) is C(not_run).
    type: str
  management_user:
    description: User for the management port, when C(endpoints.all.basic-auth) is set.
    type: str
  management_password:
    description: Password for the management port.
    type: str
  validate_certs:
    description: Check the certificate of an C(https) management port.
    type: bool
    default: true
  ca_path:
    description: File with the certificate of the authority to trust.
    type: path
  termination_grace_period:
    description: Kestra's C(kestra.server.termination-grace-period) in seconds. Limits that are shorter are warned about.
    type: int
    default: 300
notes:
  - That nothing of Kestra writes any more is proved at the data, with M(kestra_community.dr.postgresql_activity_info).
  - A command that starts Kestra outside of this collection cannot be blocked with O(manager=command); let it look for the C(HELD) file.
seealso:
  - module: kestra_community.dr.undo_point
"""

EXAMPLES = r"""
- name: How is Kestra, and could it be stopped?
  kestra_community.dr.kestra_service:
    instance: kestra
    unit: kestra.service

- name: Stop it for a backup, for 15 minutes at most
  kestra_community.dr.kestra_service:
    state: stopped
    instance: kestra
    run_id: 20261123T001500Z-a1b2c3
    flow: backup
    owner: alice@controller
    dead_man_seconds: 900

- name: Start it again if it was running, and wait until it is healthy
  kestra_community.dr.kestra_service:
    state: started
    instance: kestra
    run_id: 20261123T001500Z-a1b2c3
    management_url: http://localhost:8081

- name: A start is not safe while the database is being swapped
  kestra_community.dr.kestra_service:
    state: held
    instance: kestra
    run_id: 20261123T001500Z-a1b2c3
    hold_reason: database and storage are being swapped

- name: Kestra without systemd
  kestra_community.dr.kestra_service:
    state: stopped
    instance: kestra
    run_id: 20261123T001500Z-a1b2c3
    manager: command
    commands:
      start: /opt/kestra/ctl start
      stop: /opt/kestra/ctl stop
      status: /opt/kestra/ctl status
    log_file: /var/log/kestra.log
"""

RETURN = r"""
instance:
  description: Name of the instance.
  type: str
  returned: success
manager:
  description: The manager that was used.
  type: str
  returned: success
status:
  description: >-
    How Kestra is at the end: C(active) (something of it runs, starts or is stopping), C(running), C(failed), C(enabled) (null where the manager
    does not know) and C(detail) in the manager's words. Null when the manager cannot tell, see RV(problems).
  type: dict
  returned: success
found:
  description: How Kestra was when the run began.
  type: dict
  returned: state=stopped and state=started
record:
  description: What the host remembers, with C(run_id), C(flow), C(owner), C(since), C(found), C(safe_to_start), C(reason), C(stopped_at), C(deadline).
  type: dict
  returned: success
previous:
  description: The record that was there before, when this call replaced or removed it.
  type: dict
  returned: state=stopped and state=started
held:
  description: Path and text of the C(HELD) file, or null.
  type: dict
  returned: success
dead_man:
  description: C(how) it lives on this host (V(unit) or V(process)), whether it is C(armed), and C(fired) when it has acted.
  type: dict
  returned: success
dead_man_fired:
  description: What the dead-man did before this call, or null.
  type: dict
  returned: state=started
disturbed:
  description: >-
    Why Kestra was not down from the stop until this call: the dead-man started it, or somebody else, or a reboot of its host. Null when it was
    down. A recovery point that counted on a stopped Kestra cannot be trusted then.
  type: str
  returned: state=started
started:
  description: Whether this call started Kestra.
  type: bool
  returned: state=started
health:
  description: What Kestra says of itself. Null when Kestra is not meant to run.
  type: dict
  returned: state=started and state=query
  contains:
    status:
      description: V(UP), V(not_run) when nobody could be asked, or what Kestra said.
      type: str
    error:
      description: Why it is not V(UP).
      type: str
problems:
  description: What makes stopping and starting impossible.
  type: list
  elements: str
  returned: state=query
locked:
  description: The message (C(msg), C(hint), C(detail)) with which this O(run_id) would be refused, because another run holds the host. Else null.
  type: dict
  returned: state=query
seconds:
  description: How long the stop or the start took.
  type: float
  returned: state=stopped and state=started
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_managers as managers
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.lifecycle_health import probe

STOP_TIMEOUT = 330
START_TIMEOUT = 300


def body(module):
    params = module.params
    life = lifecycle.Lifecycle(managers.make(params), params["state_dir"], params["instance"], health=probe(params),
                               check_mode=module.check_mode)
    run = lifecycle.Run(params["run_id"], params["flow"], params["owner"], params["recovery_point"], params["take_over"])
    state, timeout, seconds = params["state"], params["timeout"], params["dead_man_seconds"]
    if state == "query":
        result = life.query(stop_timeout=timeout or STOP_TIMEOUT, grace_period=params["termination_grace_period"],
                            run=run if params["run_id"] else None)
    elif state == "stopped":
        result = life.stopped(run, timeout=timeout or STOP_TIMEOUT, dead_man_seconds=seconds, hold_reason=params["hold_reason"])
    elif state == "held":
        result = life.held(run, params["hold_reason"])
    elif state == "released":
        result = life.released(run, dead_man_seconds=seconds)
    elif state == "renewed":
        result = life.renewed(run, dead_man_seconds=seconds)
    else:
        result = life.started(run, timeout=timeout or START_TIMEOUT, always=params["always"])
    for text in result.pop("warnings"):
        module.warn(text)
    return result


def main():
    spec = dict(
        managers.MANAGER_SPEC,
        state={"type": "str", "choices": ["query", "stopped", "held", "released", "renewed", "started"], "default": "query"},
        instance={"type": "str", "required": True},
        state_dir={"type": "path", "default": "/var/lib/kestra-dr"},
        run_id={"type": "str"},
        flow={"type": "str", "default": "manual"},
        owner={"type": "str", "default": "unknown"},
        recovery_point={"type": "str"},
        take_over={"type": "str"},
        dead_man_seconds={"type": "int", "default": 900},
        hold_reason={"type": "str"},
        timeout={"type": "int"},
        always={"type": "bool", "default": False},
        management_url={"type": "str"},
        management_user={"type": "str"},
        management_password={"type": "str", "no_log": True},
        validate_certs={"type": "bool", "default": True},
        ca_path={"type": "path"},
        termination_grace_period={"type": "int", "default": 300})
    needs_run = [("state", state, ["run_id"]) for state in ("stopped", "released", "renewed", "started")]
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True,
                           required_if=needs_run + [("state", "held", ["run_id", "hold_reason"])])
    wiring.run(module, body, Redactor(module.params["management_password"]))


if __name__ == "__main__":
    main()
