#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a snapshot beside the live indices, puts such copies in their place, or restores in place."""
from __future__ import annotations

DOCUMENTATION = r"""
module: elasticsearch_restore
short_description: Restore a snapshot of Kestra's Elasticsearch indices, and compare
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Refuses before anything is touched what would fail or go wrong in the middle. A snapshot that is not whole, not that of the
    recovery point, or of a newer version; nodes without room for it; data streams.
  - With O(mode=beside) the indices are restored under other names, C(kdr-SET-INDEX), while Kestra runs. With O(mode=swap) such copies
    are put in the live indices' place, by links to their files, and the replaced indices are kept as the set O(undo). With
    O(mode=in_place) the indices are restored under their own names.
  - Waits until every shard has started. Then all documents are counted, and mappings, settings and aliases compared. It fails
    when anything differs.
  - Indices are deleted each by its name, never by a wildcard, so it works with C(action.destructive_requires_name).
  - Swap and restore in place need Kestra stopped, and keep it so until they have succeeded. Kestra creates empty indices when it
    starts without any.
  - A failed swap brings the replaced indices back by itself. One that was killed is finished by running it again with the same
    options.
  - To undo a swap, swap again with O(copies) being the set that O(undo) named. A set stays until O(mode=absent) removes it.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.elasticsearch
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Connects, checks the snapshot, the copies and the cluster, and returns which indices would go and come.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: A swap that is done is not done again, nor is a set removed twice. The other modes restore anew, unless O(job_dir) holds the result of a finished
      run with the same options.
options:
  mode:
    description:
      - What to do.
      - V(absent) deletes the set O(copies), each index by its name. It needs O(confirm), and refuses a set that a swap which was cut
        needs yet, and any while there are no live indices.
    type: str
    choices: [beside, swap, in_place, absent]
    default: beside
  repository:
    description: Name of the registered repository. Only with O(mode=beside) and O(mode=in_place).
    type: str
  snapshot:
    description: Name of the snapshot. Only with O(mode=beside) and O(mode=in_place).
    type: str
  copies:
    description:
      - With O(mode=beside), the name of the set to restore to, such as the id of the recovery point. A set of that name is replaced.
      - With O(mode=swap), the set to put in place.
      - With O(mode=absent), the set to remove.
    type: str
  undo:
    description: With O(mode=swap), the name of the set that the replaced indices become.
    type: str
  confirm:
    description: The set O(copies) once more, for O(mode=absent).
    type: str
  component:
    description: The component C(search) of the recovery point's manifest, to compare with. Without it nothing can be compared.
    type: dict
  manifest:
    description: The manifest file of the recovery point, in place of O(component).
    type: path
  delete_existing:
    description:
      - With O(mode=in_place), delete the indices of Kestra's prefix first. There is no way back; O(mode=swap) keeps one.
    type: bool
    default: false
  stall_timeout:
    description: Seconds without any movement before a restore or a clone is given up.
    type: float
    default: 300.0
seealso:
  - module: kestra_community.dr.elasticsearch_snapshot
  - module: kestra_community.dr.elasticsearch_inventory_info
"""

EXAMPLES = r"""
- name: Restore a recovery point beside the live indices
  kestra_community.dr.elasticsearch_restore:
    repository: kestra
    snapshot: 20261123t001500z-a1b2c3
    copies: 20261123t001500z-a1b2c3
    manifest: /var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3/manifest.json
    config:
      files: [/etc/kestra/application.yml]

- name: Put it in place, Kestra being stopped
  kestra_community.dr.elasticsearch_restore:
    mode: swap
    copies: 20261123t001500z-a1b2c3
    undo: undo-20261123t001500z-a1b2c3
    manifest: /var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3/manifest.json
    config:
      files: [/etc/kestra/application.yml]

- name: It was the right one, and the replaced indices are not needed any more
  kestra_community.dr.elasticsearch_restore:
    mode: absent
    copies: undo-20261123t001500z-a1b2c3
    confirm: undo-20261123t001500z-a1b2c3
    config:
      files: [/etc/kestra/application.yml]

- name: Restore into a new cluster
  kestra_community.dr.elasticsearch_restore:
    mode: in_place
    repository: kestra
    snapshot: 20261123t001500z-a1b2c3
    login_hosts: [https://new1.example.com:9200, https://new2.example.com:9200]
    login_api_key_file: /etc/kestra-dr/elasticsearch.key
    ca_path: /etc/kestra-dr/ca.pem
"""

RETURN = r"""
indices:
  description: The indices that were restored or put in place, in check mode those that would be.
  type: list
  elements: str
  returned: success
deleted:
  description: The indices that went first or were removed, in check mode those that would go.
  type: list
  elements: str
  returned: success
verdict:
  description: V(verified) when everything was compared and equal, V(unverified) when there was nothing to compare with.
  type: str
  returned: success, O(mode=beside) and O(mode=in_place), not in check mode
  sample: verified
depth:
  description: How deep the comparison went, V(counts) or V(structure); none when there was nothing to compare with.
  type: str
  returned: success, O(mode=beside) and O(mode=in_place), not in check mode
counts:
  description: Documents by index, under the names they have in the snapshot.
  type: dict
  returned: success, not in check mode
  sample: {kestra_flows: 12}
kept:
  description: The replaced indices, under the names they now have.
  type: list
  elements: str
  returned: success, O(mode=swap), not in check mode
bytes:
  description: Size of the snapshot.
  type: int
  returned: success, O(mode=beside) and O(mode=in_place)
server_version:
  description: Version of the cluster.
  type: str
  returned: success, O(mode=beside) and O(mode=in_place)
seconds:
  description: How long each phase took.
  type: dict
  returned: success, not in check mode
  sample: {preflight: 0.1, restoring: 12.0, verifying: 0.4}
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import components, facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect, landing, options, restore, sets, swap

NEEDED = [("mode", "beside", ("repository", "snapshot", "copies")), ("mode", "in_place", ("repository", "snapshot")),
          ("mode", "swap", ("copies", "undo")), ("mode", "absent", ("copies", "confirm"))]
DIFFERENT = {"beside": "The copies are kept for a look and replaced by the next attempt. Do not put them in place.",
             "in_place": "Do not start Kestra on them; restore again, or from another recovery point."}


def chosen_options(params):
    """restore.Options or swap.Options from the module's parameters."""
    if params["mode"] == "swap":
        return swap.Options(**{name: params[name] for name in ("copies", "undo", "stall_timeout")})
    return restore.Options(copies=params["copies"] if params["mode"] == "beside" else None,
                           **{name: params[name] for name in ("repository", "snapshot", "delete_existing", "stall_timeout")})


def rehearse(cluster, prefix, mode, chosen, component):
    """The result of check mode."""
    if mode == "swap":
        plan = swap.preflight(cluster, prefix, chosen, component)
        return {"changed": plan["stage"] != "swapped", "indices": plan["copies"], "deleted": plan["live"]}
    plan = restore.preflight(cluster, prefix, chosen, component)
    return {"changed": True, "indices": [chosen.set_prefix + name for name in plan["indices"]], "deleted": plan["standing"],
            "bytes": plan["bytes"], "server_version": plan["server_version"]}


def perform(cluster, prefix, mode, chosen, component, progress):
    """The result of the step itself."""
    if mode == "swap":
        return swap.swap(cluster, prefix, chosen, progress, component)
    result = restore.restore(cluster, prefix, chosen, progress, component)
    landing.require_equal(result, DIFFERENT[mode])
    return result


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        mode={"type": "str", "choices": ["beside", "swap", "in_place", "absent"], "default": "beside"}, repository={"type": "str"},
        snapshot={"type": "str"}, copies={"type": "str"}, undo={"type": "str"}, confirm={"type": "str"}, component={"type": "dict"},
        manifest={"type": "path"},
        delete_existing={"type": "bool", "default": False}, stall_timeout={"type": "float", "default": 300.0})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, required_if=NEEDED,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE + [("component", "manifest")])
    redactor = facts.FactRedactor()

    def body(module):
        place, mode = options.of_module(module, redactor), module.params["mode"]
        if mode == "absent":
            with connect.connect(place.login) as cluster:
                return facts.trust(module, sets.remove(cluster, place.prefix, module.params["copies"], module.params["confirm"], module.check_mode))
        component = components.expected(module.params, "search")
        chosen = chosen_options(module.params)
        if module.check_mode:
            with connect.connect(place.login) as cluster:
                return facts.trust(module, rehearse(cluster, place.prefix, mode, chosen, component))

        def work(progress):
            with connect.connect(place.login) as cluster:
                return facts.trust(module, perform(cluster, place.prefix, mode, chosen, component, progress))

        question = dict(place.fingerprint(), mode=mode, component=component, options=vars(chosen))
        job = jobs.Job(module.params["job_dir"], "elasticsearch_restore", jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        return facts.trust(module, dict(result, changed=not (result["reattached"] or result.get("already"))))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
