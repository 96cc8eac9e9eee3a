#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kafka is and holds of Kestra's."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_inventory_info
short_description: Describe Kestra's topics and consumer groups in Kafka
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Returns the identity of a Kafka cluster, Kestra's topics with the ends of their partitions, and Kestra's consumer groups
    with who is in them. A Kestra that lives is in its groups.
  - With O(cluster_id) it tells whether this is the Kafka a recovery point was taken with.
  - Nothing of Kafka is backed up. What it holds beside the repository is the work under way, which belongs to one
    cluster and one life of it. After a restore M(kestra_community.dr.kestra_restore_queue) fills it anew.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.kafka
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  cluster_id:
    description: Id of the cluster a recovery point was taken with.
    type: str
seealso:
  - module: kestra_community.dr.kestra_restore_queue
"""

EXAMPLES = r"""
- name: Look at the Kafka that Kestra's configuration names
  kestra_community.dr.kafka_inventory_info:
    cluster_id: "{{ manifest.components.queue.cluster_id }}"
    config:
      files: [/etc/kestra/application.yml]
  register: queue

- name: Go on only when no Kestra server is there
  ansible.builtin.assert:
    that: queue.alive | length == 0
"""

RETURN = r"""
cluster_id:
  description: Id of the cluster.
  type: str
  returned: success
  sample: PiI-ret1SQu3ebNtLzG1Mg
new:
  description:
    - Whether this is another cluster than O(cluster_id); without it, whether the cluster holds nothing of Kestra's. Null when
      nothing tells.
  type: bool
  returned: success
brokers:
  description: Number of brokers.
  type: int
  returned: success
topics:
  description:
    - Kestra's topics by name. C(begin) and C(end) are offsets by partition; C(records) is what lies between, of which
      compaction has taken some away.
  type: dict
  returned: success
  sample:
    kestra_flow: {id: 4d763ff3-67f3-4821-9c72-c133f6f6d9e3, partitions: 2, replicas: 3, begin: [0, 0], end: [4, 7],
                  records: 11, may_delete: true}
groups:
  description:
    - Kestra's consumer groups with their members. C(behind) is how many records of a topic the group has yet to take. While the
      indexer's is not zero, the indices lack something.
  type: list
  elements: dict
  returned: success
  sample: [{name: kestra_executor, state: STABLE, members: [{client: kestra-1, host: 10.0.0.7}], behind: {kestra_execution: 0}}]
alive:
  description: Names of the groups somebody is in.
  type: list
  elements: str
  returned: success
  sample: [kestra_executor]
component:
  description: What the manifest of a recovery point holds about the queue.
  type: dict
  returned: success
  sample: {held: external, engine: kafka, strategy: rebuild, system: "kafka1.example.org:9092",
           cluster_id: PiI-ret1SQu3ebNtLzG1Mg, topic_prefix: kestra_, topics: {kestra_flow: [4, 7]}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.kafka import connect, inventory, options

ARGUMENT_SPEC = dict(options.argument_spec(), cluster_id={"type": "str"})


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        place = options.of_module(module, redactor)
        with connect.session(place.login) as session:
            found = inventory.read(session, place.topics, place.consumers)
        return facts.trust(module, dict(
            found, changed=False, new=inventory.is_new(found, module.params["cluster_id"]),
            alive=[group["name"] for group in inventory.alive(found["groups"])],
            component=inventory.component(found, place)))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
