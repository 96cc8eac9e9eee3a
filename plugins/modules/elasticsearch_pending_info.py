#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Executions that had not ended, and what became of them."""
from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_pending_info
short_description: List Kestra's executions that have not ended, from its Elasticsearch indices
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Lists every execution that has not ended by id, flow and state, whether Kestra runs or not.
  - Where Kestra's queue is in Kafka, that is what a restore into a new Kafka does not bring back. The executions stay in the
    state they are in, and do not go on by themselves. Taken at the time of a backup, the list tells what was under way.
  - With O(recorded), the list of a recovery point, it tells what became of each of them since.
  - Kestra writes its indices from Kafka a little later than things happen. What M(kestra_community.dr.kafka_inventory_info)
    calls C(behind) of the indexer's group is not in the list yet.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.elasticsearch
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  recorded:
    description: Executions as the manifest of a recovery point lists them (C(in_flight.executions)).
    type: list
    elements: dict
  limit:
    description: List at most this many; the total is exact all the same.
    type: int
seealso:
  - module: kestra_community.dr.kestra_info
  - module: kestra_community.dr.kestra_pending
  - module: kestra_community.dr.kestra_restore_queue
"""

EXAMPLES = r"""
- name: What is under way
  kestra_community.dr.elasticsearch_pending_info:
    config:
      files: [/etc/kestra/application.yml]
  register: pending

- name: What became of it after a restore
  kestra_community.dr.elasticsearch_pending_info:
    recorded: "{{ manifest.in_flight.executions }}"
    config:
      files: [/etc/kestra/application.yml]
  register: after
"""

RETURN = r"""
in_flight:
  description: Executions that have not ended, their exact total and whether the list was cut, as the manifest holds them.
  type: dict
  returned: success
  sample:
    {total: 1, truncated: false,
     executions: [{id: 4Nn2PbTqoBGHyTVHhFmqAO, namespace: company.team, flow: load, state: RUNNING, tenant: main}]}
became:
  description: What each recorded execution is now. C(now) is null for one that is not there.
  type: list
  elements: dict
  returned: with O(recorded)
  sample:
    - {id: 4Nn2PbTqoBGHyTVHhFmqAO, namespace: company.team, flow: load, tenant: main, was: RUNNING, now: SUCCESS}
stuck:
  description: Ids of the recorded executions that have not ended now.
  type: list
  elements: str
  returned: with O(recorded)
lost:
  description: Ids of the recorded executions that are not there.
  type: list
  elements: str
  returned: with O(recorded)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect, options, pending
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import pending as kestra_pending

ARGUMENT_SPEC = dict(options.argument_spec(), recorded={"type": "list", "elements": "dict"}, limit={"type": "int"})


def describe(place, recorded, limit):
    """The module's result."""
    kestra_pending.check(recorded)
    with connect.connect(place.login) as cluster:
        result = {"in_flight": pending.read(cluster, place.prefix, limit)}
        if recorded is not None:
            now = pending.states(cluster, place.prefix, [item["id"] for item in recorded])
            result["became"] = pending.became(recorded, now)
            result["stuck"] = [item["id"] for item in pending.stuck(result["became"])]
            result["lost"] = [item["id"] for item in result["became"] if item["now"] is None]
    return result


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        place, params = options.of_module(module, redactor), module.params
        return facts.trust(module, dict(describe(place, params["recorded"], params["limit"]), changed=False))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
