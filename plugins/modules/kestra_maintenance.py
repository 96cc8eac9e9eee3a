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
seconds:
  description: How long sending and waiting took.
  returned: success
  type: float
  sample: 4.2
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import client, maintenance, options

ARGUMENT_SPEC = {
    **options.API_SPEC,
    "state": {"type": "str", "choices": ["entered", "left"], "default": "entered"},
    "wait": {"type": "bool", "default": True},
    "drained": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 300.0},
    "interval": {"type": "float", "default": 2.0},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        params, started = module.params, time.monotonic()
        entered = params["state"] == "entered"
        mode = maintenance.Maintenance(client.Client(options.api_settings(module, redactor)))
        mode.check()
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
