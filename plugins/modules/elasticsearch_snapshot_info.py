#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What snapshots a repository holds, and which of them are usable."""
from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_snapshot_info
short_description: List the snapshots of an Elasticsearch repository, and which are usable
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Lists the snapshots of a repository with their state, indices, shards and failures.
  - A snapshot is usable only with the state C(SUCCESS), no failed shard, and no data streams. This reads what the repository says
    of itself; whether all of its files are whole only a restore shows.
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
  repository:
    description: Name of the registered repository.
    type: str
    required: true
  snapshot:
    description: Only this snapshot. It need not exist.
    type: str
seealso:
  - module: kestra_community.dr.elasticsearch_snapshot
"""

EXAMPLES = r"""
- name: Look at what there is
  kestra_community.dr.elasticsearch_snapshot_info:
    repository: kestra
    config:
      files: [/etc/kestra/application.yml]
  register: found

- name: Show those that cannot be restored
  ansible.builtin.debug:
    msg: "{{ found.snapshots | rejectattr('usable') | map(attribute='name') }}"
"""

RETURN = r"""
repository:
  description: The repository as it is registered.
  type: dict
  returned: success
  sample: {name: kestra, type: fs, readonly: false, uuid: 4LHxj0v3TqCpbOo4wWPlNA, settings: {location: /mnt/snapshots/kestra}}
snapshots:
  description: The snapshots, oldest first.
  type: list
  elements: dict
  returned: success
  sample:
    - name: 20261123t001500z-a1b2c3
      uuid: J1ZkYx3oQ2u1mCqg0oYb9w
      state: SUCCESS
      usable: true
      ours: true
      staged: false
      server_version: "8.19.21"
      indices: [kestra_executions, kestra_flows]
      shards: {total: 2, successful: 2, failed: 0}
      failures: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import catalog, connect, options, snapshot


def main():
    spec = dict(options.argument_spec(), repository={"type": "str", "required": True}, snapshot={"type": "str"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        repository, name = module.params["repository"], module.params["snapshot"]
        with connect.connect(options.of_module(module, redactor).login) as cluster:
            described = snapshot.described(cluster, repository)
            known = catalog.everything(cluster, repository)
        told = [catalog.told(item) for item in known if name in (None, item["snapshot"])]
        return facts.trust(module, {"changed": False, "repository": described, "snapshots": told})

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
