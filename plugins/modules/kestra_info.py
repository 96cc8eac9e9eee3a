#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_info
short_description: Ask a running Kestra for health, version, identity, counts and running work
version_added: 1.0.0
description:
  - Asks Kestra's management port and web API, across the differences from 0.19 to 2.x.
  - A Kestra that is down, or an API that refuses the login, is no failure, unless O(required) is set. Facts that could
    not be had are null and named in RV(not_run) with the reason.
  - The counts are what the API shows, which in some versions hides certain executions. They are not the row counts of
    the database.
options:
  counts:
    description: Whether flows, executions, namespaces, triggers and KV entries are counted and running work is listed.
    type: bool
    default: true
  max_in_flight:
    description: List at most this many unfinished executions. Their total is exact all the same.
    type: int
    default: 100
  wait_idle:
    description:
      - Wait until no execution runs before anything else is asked, for so many seconds at most. That executions still run
        then is no failure; see RV(idle).
      - Nothing keeps Kestra from starting new ones meanwhile, so on a busy instance the wait only lets those end that run.
    type: int
    default: 0
  required:
    description: Fail when Kestra's identity (version and instance uuid) cannot be had.
    type: bool
    default: false
extends_documentation_fragment:
  - kestra_community.dr.kestra_api
  - kestra_community.dr.kestra_config
  - kestra_community.dr.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is ever changed.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: kestra_community.dr.kestra_config_info
  - module: kestra_community.dr.kestra_maintenance
author:
  - Kestra community DR contributors (@kestra-community)
"""

EXAMPLES = r"""
- name: Give what runs ten minutes to end
  kestra_community.dr.kestra_info:
    wait_idle: 600
    config:
      unit: kestra

- name: Ask the Kestra on this host, with addresses and login from its own configuration
  kestra_community.dr.kestra_info:
    config:
      unit: kestra
  register: kestra

- name: Ask another one with an API token, and insist on an answer
  kestra_community.dr.kestra_info:
    api_url: https://kestra.example.org
    management_url: https://kestra.example.org:8081
    api_token: "{{ vault_kestra_token }}"
    required: true
"""

RETURN = r"""
facts:
  description: V(api) when Kestra told its version or its uuid, V(not_run) when it told neither.
  returned: success
  type: str
  sample: api
health:
  description: C(status) V(UP) or V(DOWN) as Kestra's management port says, null when it does not answer; C(url).
  returned: success
  type: dict
  sample: {status: UP, url: "http://localhost:8081"}
version:
  description: Kestra's version.
  returned: success
  type: str
  sample: 0.21.0
commit:
  description: The commit Kestra was built from.
  returned: success
  type: str
  sample: 3f2a1b0
edition:
  description: V(OSS) or V(EE).
  returned: success
  type: str
  sample: OSS
uuid:
  description: >-
    The instance uuid, which lives in the database. Equal before and after a restore means the right database.
  returned: success
  type: str
  sample: 6f1XnVc1kEUw0mPr5p3Yqd
url:
  description: C(kestra.url) as Kestra reports it.
  returned: success
  type: str
  sample: null
tenants:
  description: The tenants asked. One null entry stands for an instance without tenants.
  returned: success
  type: list
  sample: [main]
counts:
  description: Sums over all tenants asked. C(executions) has C(total) and C(by_state).
  returned: success
  type: dict
  sample:
    {flows: 12, namespaces: 3, triggers: 4, kv: 7, executions: {total: 271, by_state: {SUCCESS: 269, RUNNING: 2}}}
counts_by_tenant:
  description: The same for each tenant; the empty name stands for no tenant.
  returned: success
  type: dict
  sample: {}
in_flight:
  description: Unfinished executions, their exact total and whether the list was cut.
  returned: success
  type: dict
  sample:
    {total: 1, truncated: false,
     executions: [{id: 4Nn2PbTqoBGHyTVHhFmqAO, namespace: company.team, flow: load, state: RUNNING}]}
idle:
  description:
    - What the wait came to. C(running) executions still held a worker after C(seconds); null when Kestra did not tell, with
      the reason in C(not_run).
  returned: with O(wait_idle)
  type: dict
  sample: {running: 0, seconds: 41.2, not_run: null}
maintenance:
  description: Whether Kestra is in maintenance mode (Enterprise Edition).
  returned: success
  type: bool
  sample: null
not_run:
  description: Facts that could not be had, each with the reason.
  returned: success
  type: dict
  sample: {maintenance: Open-source Kestra has no maintenance mode.}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import client, info, options

ARGUMENT_SPEC = {
    **options.API_SPEC,
    "counts": {"type": "bool", "default": True},
    "max_in_flight": {"type": "int", "default": 100},
    "wait_idle": {"type": "int", "default": 0},
    "required": {"type": "bool", "default": False},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        asking, seconds = client.Client(options.api_settings(module, redactor)), module.params["wait_idle"]
        waited = {"idle": info.wait_idle(asking, seconds)} if seconds > 0 else {}
        facts = info.gather(asking, counts=module.params["counts"], max_in_flight=module.params["max_in_flight"]).to_result()
        if module.params["required"] and (facts["version"] is None or facts["uuid"] is None):
            missing = facts["not_run"].get("uuid") or facts["not_run"].get("version")
            raise ConnectError(f"Kestra's identity cannot be had: {missing}", reason="api_required",
                               detail={"not_run": facts["not_run"]})
        return {"changed": False, **facts, **waited}

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
