#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_maintenance
short_description: Enter or leave Kestra's maintenance mode (Enterprise Edition)
version_added: 1.0.0
description:
  - Enters or leaves the maintenance mode of Kestra's Enterprise Edition (since 0.21) and waits until every service
    follows and, if asked, until nothing runs.
  - The open-source edition has no maintenance mode. The module says so and what to use instead, and changes nothing.
  - Maintenance mode is a drain, not a freeze. Executors and workers take nothing new, but web server and scheduler go
    on and the database is still written to.
  - A database dumped in maintenance mode may restore an instance that is still in it; leave it after a restore.
  - With O(dead_man) the module remembers on the host it runs on how the mode was found, and arms a dead-man there first, as
    M(kestra_community.dr.kestra_service) does before a stop. At the deadline it leaves the mode, whatever became of the controller.
requirements:
  - A user with the permission to manage the instance (Superadmin, called Instance Owner since 2.0).
options:
  state:
    description: What is wanted.
    type: str
    choices: [entered, left]
    default: entered
  wait:
    description: Whether to wait until every service follows.
    type: bool
    default: true
  drained:
    description: With O(state=entered), wait as well until no execution runs.
    type: bool
    default: false
  timeout:
    description: Seconds to wait at most.
    type: float
    default: 300.0
  interval:
    description: Seconds between two questions.
    type: float
    default: 2.0
  dead_man:
    description:
      - Enter the mode for a while only. With O(state=left), of the same run, it is left unless Kestra was in it before.
      - The login to Kestra is kept in a file of mode 0600 in O(dead_man.state_dir) meanwhile.
    type: dict
    suboptions:
      instance:
        description: Name of the instance, which is the name of its inventory group.
        type: str
        required: true
      state_dir:
        description: Where the record and the dead-man are kept, in a directory of the instance's name.
        type: path
        default: /var/lib/kestra-dr
      run_id:
        description: Id of this run. The same id enters again.
        type: str
        required: true
      flow:
        description: What the run does, for the message another run gets.
        type: str
        default: manual
      owner:
        description: Who runs it and from where, for the same message.
        type: str
        default: unknown
      recovery_point:
        description: Id of the recovery point that the run works on, for the same message.
        type: str
      take_over:
        description: Id of a run that is certainly dead and whose record is taken over.
        type: str
      seconds:
        description: Seconds from now to the deadline.
        type: int
        default: 900
extends_documentation_fragment:
  - kestra_community.dr.kestra_api
  - kestra_community.dr.kestra_config
  - kestra_community.dr.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Before 1.x some versions do not report the mode; it is then sent again and reported as changed.
seealso:
  - module: kestra_community.dr.kestra_info
author:
  - Kestra community DR contributors (@kestra-community)
"""

EXAMPLES = r"""
- name: Enter maintenance mode and wait until nothing runs any more
  kestra_community.dr.kestra_maintenance:
    state: entered
    drained: true
    timeout: 900
    config:
      unit: kestra
    api_token: "{{ vault_kestra_token }}"

- name: Enter it for 15 minutes at most
  kestra_community.dr.kestra_maintenance:
    state: entered
    config:
      unit: kestra
    dead_man:
      instance: kestra
      run_id: 20261123T001500Z-a1b2c3

- name: Leave it again
  kestra_community.dr.kestra_maintenance:
    state: left
    api_url: https://kestra.example.org
    api_token: "{{ vault_kestra_token }}"
"""

RETURN = r"""
maintenance:
  description:
    - The mode at the end. C(active) and C(ready) (every service follows) are null where Kestra does not say.
    - C(services) counts per type, C(waiting) names services that do not follow, C(running) executions that still run.
  returned: success
  type: dict
  sample:
    {active: true, ready: true, services: {EXECUTOR: {total: 1, in_maintenance: 1}}, waiting: [], running: 0}
path:
  description: The path variant that took the request; null when nothing was sent.
  returned: success
  type: str
  sample: /api/v1/instance/maintenance/enter
record:
  description: What the host remembers, without the commands of the dead-man; null once it is forgotten.
  returned: with O(dead_man)
  type: dict
found:
  description: How Kestra was when the run began; C(active) means that it took work.
  returned: with O(dead_man)
  type: dict
disturbed:
  description: Why Kestra was not in maintenance mode from O(state=entered) until this call, or null.
  returned: with O(dead_man) and O(state=left)
  type: str
seconds:
  description: How long sending and waiting took.
  returned: success
  type: float
  sample: 4.2
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import (
    client,
    lifecycle,
    lifecycle_arming,
    lifecycle_maintenance,
    maintenance,
    options,
)

ARGUMENT_SPEC = {
    **options.API_SPEC,
    "state": {"type": "str", "choices": ["entered", "left"], "default": "entered"},
    "wait": {"type": "bool", "default": True},
    "drained": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 300.0},
    "interval": {"type": "float", "default": 2.0},
    "dead_man": {"type": "dict", "options": {
        "instance": {"type": "str", "required": True},
        "state_dir": {"type": "path", "default": "/var/lib/kestra-dr"},
        "run_id": {"type": "str", "required": True},
        "flow": {"type": "str", "default": "manual"},
        "owner": {"type": "str", "default": "unknown"},
        "recovery_point": {"type": "str"},
        "take_over": {"type": "str"},
        "seconds": {"type": "int", "default": 900},
    }},
}


def with_dead_man(module, mode, asking):
    """Enters or leaves by way of the record on this host; what Lifecycle returns."""
    params, who = module.params, module.params["dead_man"]
    directory = os.path.join(os.path.abspath(who["state_dir"]), who["instance"])
    keeper = lifecycle_maintenance.WayOut(lifecycle_arming.make(directory, who["instance"]), directory, asking, mode.paths)
    manager = lifecycle_maintenance.MaintenanceManager(mode, directory, params["interval"], params["drained"])
    life = lifecycle.Lifecycle(manager, who["state_dir"], who["instance"], keeper=keeper, check_mode=module.check_mode,
                               health=lambda: {"status": lifecycle.UP, "error": None})
    run = lifecycle.Run(who["run_id"], who["flow"], who["owner"], who["recovery_point"], who["take_over"])
    if params["state"] == "entered":
        found = life.stopped(run, timeout=params["timeout"], dead_man_seconds=who["seconds"])
    else:
        found = life.started(run, timeout=params["timeout"])
    for text in found.pop("warnings"):
        module.warn(text)
    return {name: found.get(name) for name in ("changed", "record", "found", "disturbed")}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        params, started = module.params, time.monotonic()
        entered = params["state"] == "entered"
        asking = client.Client(options.api_settings(module, redactor))
        mode = maintenance.Maintenance(asking)
        mode.check()
        if params["dead_man"]:
            result = with_dead_man(module, mode, asking)
            status = mode.status() if module.check_mode or not (entered and params["wait"]) else mode.wait(
                True, timeout=params["timeout"], interval=params["interval"], drained=params["drained"])
            return dict(result, maintenance=status.to_result(), path=None, seconds=round(time.monotonic() - started, 3))
        status, path = mode.status(), None
        changed = status.active is not entered
        if changed and not module.check_mode:
            path = mode.send("enter" if entered else "exit")
            status = mode.status()
        if params["wait"] and not module.check_mode:
            status = mode.wait(entered, timeout=params["timeout"], interval=params["interval"],
                               drained=params["drained"])
        return {"changed": changed, "maintenance": status.to_result(), "path": path,
                "seconds": round(time.monotonic() - started, 3)}

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
