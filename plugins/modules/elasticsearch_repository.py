#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registers a repository of snapshots and verifies it on every node."""
from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_repository
short_description: Register an Elasticsearch snapshot repository, verified on all nodes
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Registers a repository for snapshots, changes its settings, or removes its registration. Snapshots that lie in it are never
    touched.
  - Has every node that holds data or may become master reach the repository; when it fails this, everything is left as it was.
  - A registered name is never pointed to another place, unless it is for reading only.
  - Two clusters that write to one repository destroy it. Register it with O(readonly=true) everywhere but on the cluster that
    takes the snapshots; a repository with snapshots of another cluster, taken by this collection, is refused otherwise.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.elasticsearch
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: partial
    details: A repository that is not registered yet cannot be verified.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the repository.
    type: str
    required: true
  state:
    description: Whether it is to be registered.
    type: str
    choices: [present, absent]
    default: present
  type:
    description: What kind of place it is. V(s3) needs the module repository-s3, which Elasticsearch brings along.
    type: str
    choices: [fs, s3, url]
    default: fs
  location:
    description: With O(type=fs), the directory, the same mount on every node and below C(path.repo).
    type: str
  url:
    description: With O(type=url), where the repository is read from; the nodes have to allow it. Always read-only.
    type: str
  bucket:
    description: With O(type=s3), the bucket.
    type: str
  base_path:
    description: With O(type=s3), the path in the bucket.
    type: str
  client:
    description: With O(type=s3), the name of the client settings in the nodes' keystores, where the credentials are.
    type: str
  readonly:
    description: Register it for reading only.
    type: bool
    default: false
  take_over:
    description:
      - Write to a repository that another cluster has written to. Only when that one is gone for good, as after a disaster.
    type: bool
    default: false
  apart:
    description:
      - Warn when the repository shares its host or its account with the cluster. For one whose snapshots stay in it as recovery points.
    type: bool
    default: false
  settings:
    description: Further settings, such as C(compress) or C(max_restore_bytes_per_sec). Credentials are refused.
    type: dict
    default: {}
seealso:
  - module: kestra_community.dr.elasticsearch_snapshot
"""

EXAMPLES = r"""
- name: A repository on a mount of all nodes
  kestra_community.dr.elasticsearch_repository:
    name: kestra
    location: /mnt/snapshots/kestra
    config:
      files: [/etc/kestra/application.yml]

- name: The same for a rehearsal on another cluster
  kestra_community.dr.elasticsearch_repository:
    name: kestra
    location: /mnt/snapshots/kestra
    readonly: true
    login_hosts: [https://rehearsal.example.com:9200]
    login_api_key_file: /etc/kestra-dr/rehearsal.key
    ca_path: /etc/kestra-dr/ca.pem
"""

RETURN = r"""
repository:
  description: The repository as it is registered, in check mode as it would be; none when it is absent.
  type: dict
  returned: success
  sample: {name: kestra, type: fs, settings: {location: /mnt/snapshots/kestra}, uuid: 4LHxj0v3TqCpbOo4wWPlNA}
nodes:
  description: Names of the nodes the repository was verified on.
  type: list
  elements: str
  returned: when it is registered
  sample: [es1, es2]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect, options, repository

PLACE = ("location", "url", "bucket", "base_path", "client", "readonly", "settings")


def register(module, cluster, name, current):
    """The result for state present."""
    kind = module.params["type"]
    settings = repository.wanted(kind, **{option: module.params[option] for option in PLACE})
    repository.require_movable(current, kind, settings)
    changed = repository.differs(current, kind, settings)
    if module.check_mode and current is None:
        return changed, {"name": name, "type": kind, "settings": settings, "uuid": None}, []
    if changed and not module.check_mode:
        repository.put(cluster, name, kind, settings)
    try:
        nodes = repository.verify(cluster, name)
        if changed and "readonly" not in settings and kind != "url" and not module.params["take_over"]:
            repository.require_alone(cluster, name)
    except Exception:
        # As it was.
        if current is None:
            repository.remove(cluster, name)
        elif changed and not module.check_mode:
            repository.put(cluster, name, current["type"], current["settings"])
        raise
    found = repository.read(cluster, name)
    return changed, dict(found, name=name, settings=settings), nodes


def warnings(cluster, after):
    """What the repository shares with the cluster."""
    nodes = cluster.get("/_nodes", params={"filter_path": "nodes.*.name,nodes.*.host,nodes.*.ip"}, doing="listing the nodes")["nodes"]
    return repository.shared(after["type"], after["settings"], nodes)


def main():
    spec = dict(options.argument_spec(), name={"type": "str", "required": True},
                state={"type": "str", "choices": ["present", "absent"], "default": "present"},
                type={"type": "str", "choices": ["fs", "s3", "url"], "default": "fs"}, location={"type": "str"}, url={"type": "str"},
                bucket={"type": "str"}, base_path={"type": "str"}, client={"type": "str"}, readonly={"type": "bool", "default": False},
                take_over={"type": "bool", "default": False}, apart={"type": "bool", "default": False},
                settings={"type": "dict", "default": {}})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        name = module.params["name"]
        with connect.connect(options.of_module(module, redactor).login) as cluster:
            current = repository.read(cluster, name)
            if module.params["state"] == "present":
                changed, after, nodes = register(module, cluster, name, current)
                told = warnings(cluster, after) if module.params["apart"] else []
            else:
                told = []
                changed, after, nodes = current is not None, None, []
                if changed and not module.check_mode:
                    repository.remove(cluster, name)
        diff = {"before": current or {}, "after": after and {key: after[key] for key in ("type", "settings", "uuid")} or {}}
        return facts.trust(module, {"changed": changed, "repository": after, "nodes": nodes, "diff": diff, "warnings": told})

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
