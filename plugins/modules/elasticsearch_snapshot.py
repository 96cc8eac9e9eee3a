#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a snapshot of Kestra's indices, or deletes one of its own."""
from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_snapshot
short_description: Take a snapshot of Kestra's Elasticsearch indices, and judge it
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Takes a snapshot of the indices of Kestra's prefix, each by its name, with their aliases and without the cluster's global state.
  - Starts it and asks for its status until it has ended, so no request is long. As soon as the phase C(pinned) is reached every
    shard has begun from a commit of its own, and Kestra may run again. Its changes do not show in the snapshot.
  - Documents are counted before the snapshot. When anything was written until every shard has begun it fails, unless
    O(quiet=false).
  - It is a success only with the state C(SUCCESS), no failed shard and exactly the indices that were asked for. Anything else is
    a failure, and such a snapshot is deleted.
  - Data streams, which Kestra does not use, closed indices, and primary shards without a node are refused before it begins.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.elasticsearch
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Connects, checks the indices, the repository and the name, and returns the plan.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: A name that is taken is refused, unless O(job_dir) holds the result of a finished run with the same options.
options:
  repository:
    description: Name of the registered repository.
    type: str
    required: true
  snapshot:
    description: Name of the snapshot, in lower case, such as the id of the recovery point.
    type: str
    required: true
  state:
    description:
      - V(absent) deletes the snapshot, also one that is still being taken. One that this collection did not take is refused.
    type: str
    choices: [present, absent]
    default: present
  quiet:
    description: Fail when somebody writes while the snapshot begins. With V(false) the indices written to are not counted.
    type: bool
    default: true
  staged:
    description:
      - Mark it as one that is copied elsewhere, so that nobody misses it when a newer one is there. C(staged) in
        M(kestra_community.dr.elasticsearch_snapshot_info) tells it.
    type: bool
    default: false
  stall_timeout:
    description: Seconds without any progress before the snapshot is given up.
    type: float
    default: 300.0
seealso:
  - module: kestra_community.dr.elasticsearch_repository
  - module: kestra_community.dr.elasticsearch_snapshot_info
  - module: kestra_community.dr.elasticsearch_restore
  - module: kestra_community.dr.job_wait
"""

EXAMPLES = r"""
- name: Take a snapshot of what Kestra's configuration names
  kestra_community.dr.elasticsearch_snapshot:
    repository: kestra
    snapshot: 20261123t001500z-a1b2c3
    config:
      files: [/etc/kestra/application.yml]

- name: Delete it
  kestra_community.dr.elasticsearch_snapshot:
    repository: kestra
    snapshot: 20261123t001500z-a1b2c3
    state: absent
    login_hosts: [https://es1.example.com:9200]
    login_user: backup
    login_password_file: /etc/kestra-dr/elasticsearch.password
"""

RETURN = r"""
component:
  description:
    - What the manifest of a recovery point holds about Elasticsearch. The repository, name and uuid of the snapshot, identity of
      the cluster, exact counts of documents, digests of mappings and settings, aliases, templates.
  type: dict
  returned: success, O(state=present), not in check mode
  sample:
    engine: elasticsearch
    held: external
    endpoint: [https://es1.example.com:9200]
    repository: {name: kestra, type: fs, settings: {location: /mnt/snapshots/kestra}, uuid: 4LHxj0v3TqCpbOo4wWPlNA}
    identity:
      product: elasticsearch
      cluster_uuid: YxcilbHTTdGxTN9p4sy78A
      cluster_name: kestra
      server_version: "8.19.21"
      index_prefix: kestra_
    snapshot_name: 20261123t001500z-a1b2c3
    snapshot_uuid: J1ZkYx3oQ2u1mCqg0oYb9w
    indices: [kestra_executions, kestra_flows]
    counts: {kestra_executions: 1200, kestra_flows: 12}
    uncounted: []
plan:
  description: What was found before the snapshot.
  type: dict
  returned: success, O(state=present), in check mode
  sample: {indices: [kestra_executions, kestra_flows], size_bytes: 61413, repository: {name: kestra, type: fs}, leftover: false}
seconds:
  description: How long the snapshot took.
  type: float
  returned: success, O(state=present), not in check mode
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, O(state=present), not in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import catalog, connect, options, snapshot


def remove(module, cluster, chosen):
    """The result for state absent."""
    existing = catalog.found(cluster, chosen.repository, chosen.snapshot)
    if existing is None:
        return {"changed": False}
    catalog.require_ours(existing)
    if not module.check_mode:
        catalog.delete(cluster, chosen.repository, chosen.snapshot)
    return {"changed": True}


def plan_of(cluster, prefix, chosen):
    """The result in check mode."""
    found = snapshot.preflight(cluster, prefix, chosen)
    return {"changed": True, "plan": {key: found[key] for key in ("identity", "indices", "size_bytes", "repository", "leftover")}}


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        repository={"type": "str", "required": True}, snapshot={"type": "str", "required": True},
        state={"type": "str", "choices": ["present", "absent"], "default": "present"}, quiet={"type": "bool", "default": True},
        staged={"type": "bool", "default": False}, stall_timeout={"type": "float", "default": 300.0})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        place = options.of_module(module, redactor)
        chosen = snapshot.Options(**{name: module.params[name] for name in ("repository", "snapshot", "quiet", "stall_timeout", "staged")})
        if module.params["state"] == "absent" or module.check_mode:
            with connect.connect(place.login) as cluster:
                if module.params["state"] == "absent":
                    return remove(module, cluster, chosen)
                return facts.trust(module, plan_of(cluster, place.prefix, chosen))

        def work(progress):
            with connect.connect(place.login) as cluster:
                component = snapshot.take(cluster, place.prefix, chosen, progress)
            return {"component": facts.trust(module, component), "seconds": component["seconds"]}

        question = dict(place.fingerprint(), options=vars(chosen))
        job = jobs.Job(module.params["job_dir"], "elasticsearch_snapshot", jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        result["component"] = facts.trust(module, result["component"])
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
