#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kestra's indices, or copies of them, hold."""
from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_inventory_info
short_description: What Kestra's Elasticsearch indices hold
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Tells which cluster this is, which indices of Kestra's prefix it has, their sizes and health, and what this collection does not
    take along, which are data streams, closed indices, and aliases that also lead elsewhere.
  - With O(copies) it tells the same of a set of copies that a restore beside or a swap has left.
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
  copies:
    description: Look at this set of copies in place of the live indices. Names are returned without the set's prefix.
    type: str
  counts:
    description: Count the documents of every index exactly. This refreshes the indices.
    type: bool
    default: false
  objects:
    description: Return digests of mappings, settings and templates, and the aliases.
    type: bool
    default: false
seealso:
  - module: kestra_community.dr.elasticsearch_snapshot
"""

EXAMPLES = r"""
- name: Look at Kestra's indices
  kestra_community.dr.elasticsearch_inventory_info:
    counts: true
    config:
      files: [/etc/kestra/application.yml]
"""

RETURN = r"""
exists:
  description: Whether there is any index of the prefix.
  type: bool
  returned: success
identity:
  description: Which cluster it is. Its C(product) is V(elasticsearch) or V(opensearch).
  type: dict
  returned: success
  sample:
    product: elasticsearch
    cluster_uuid: YxcilbHTTdGxTN9p4sy78A
    cluster_name: kestra
    server_version: "8.19.21"
    index_prefix: kestra_
indices:
  description: The names of the indices.
  type: list
  elements: str
  returned: success
size_bytes:
  description: Bytes of all primary shards.
  type: int
  returned: success
sizes:
  description: Bytes of the primary shards by index.
  type: dict
  returned: success
health:
  description: Status, shards, replicas, and primary shards without a node, by index.
  type: dict
  returned: success
  sample: {kestra_flows: {status: green, shards: 1, replicas: 1, unassigned: []}}
data_streams:
  description: Data streams of the prefix, which are not covered.
  type: list
  elements: str
  returned: success
closed:
  description: Closed indices of the prefix, which are not covered.
  type: list
  elements: str
  returned: success
aliases_outside:
  description: Aliases of the prefix that also lead to other indices, and these.
  type: dict
  returned: success
counts:
  description: Documents by index.
  type: dict
  returned: with O(counts)
  sample: {kestra_flows: 12}
objects:
  description: Digests of mappings and settings and the aliases by index, and digests of index templates by name.
  type: dict
  returned: with O(objects)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect, inventory, names, options


def main():
    flag = {"type": "bool", "default": False}
    spec = dict(options.argument_spec(), copies={"type": "str"}, counts=flag, objects=flag)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        place, params = options.of_module(module, redactor), module.params
        of_copies = names.copies(params["copies"]) if params["copies"] else ""
        with connect.connect(place.login) as cluster:
            found = inventory.read(cluster, place.prefix, of_copies=of_copies, with_counts=params["counts"],
                                   with_objects=params["objects"])
        return facts.trust(module, dict(found, changed=False))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
