#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens, fills, seals or aborts a recovery point."""
from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point
short_description: Open, fill, seal or abort a recovery point
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - A recovery point begins open, gets its components one by one, and exists for everybody once it is sealed.
  - Sealing checks every component first, then writes manifest and lists by one rename. A backup killed anywhere leaves
    a whole point or none.
  - Runs on the worker host, where the vault directory is.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.vault.lock
  - kestra_community.dr.restic
attributes:
  check_mode:
    support: full
    details: Looks at the lock, the components and the repository, and writes nothing.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: V(open) without O(id) makes one recovery point for each O(lock.run_id). Everything else can be repeated.
options:
  state:
    description:
      - V(open) takes the lock of the instance, sweeps what dead runs left open, and makes a new recovery point, or goes
        on with the one given by O(id) or opened before by the same O(lock.run_id).
      - V(component) records a component of an open recovery point.
      - V(sealed) records what O(record) holds, checks everything, seals, and backs the manifest up to the repository.
      - V(aborted) ends the jobs of an open recovery point and removes it. Snapshots already made are removed by a later
        M(kestra_community.dr.recovery_point_prune).
    type: str
    choices: [open, component, sealed, aborted]
    required: true
  id:
    description: Id of the recovery point. Required unless O(state=open).
    type: str
  flow:
    description: Name of the flow that takes the lock.
    type: str
    default: backup
  component:
    description: Name of the component to record.
    type: str
    choices: [database, storage, metadata, config, search, queue]
  facts:
    description: The component as it will stand in the manifest.
    type: dict
  components:
    description:
      - Names of the components the recovery point must consist of when it is sealed, no more and no less.
      - Without it, whatever was recorded is sealed.
    type: list
    elements: str
  record:
    description: Components to record before the recovery point is sealed, by their names, each as O(facts).
    type: dict
    default: {}
  manifest:
    description:
      - Sections of the manifest only the flow knows, as C(instance), C(kestra), C(tools), C(consistency),
        C(in_flight) and C(timings).
      - C(consistency.mode) is required to seal.
    type: dict
    default: {}
  repository:
    description: Location of the restic repository as restic takes it. Required for O(state=sealed).
    type: str
    required: false
"""

EXAMPLES = r"""
- name: Open a recovery point
  kestra_community.dr.recovery_point:
    state: open
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    lock:
      run_id: 20261123T001500Z-a1b2c3
      owner: alice@controller
  register: point

- name: Record the dumped and stored database
  kestra_community.dr.recovery_point:
    state: component
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    id: "{{ point.id }}"
    component: database
    facts: "{{ dump.component | combine({'snapshot': stored.snapshot, 'path': '/database'}) }}"
    lock:
      run_id: 20261123T001500Z-a1b2c3
      owner: alice@controller

- name: Seal it
  kestra_community.dr.recovery_point:
    state: sealed
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    id: "{{ point.id }}"
    components: [database, storage]
    record:
      storage: "{{ storage }}"
    manifest:
      consistency:
        mode: pinned
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    lock:
      run_id: 20261123T001500Z-a1b2c3
      owner: alice@controller
"""

RETURN = r"""
id:
  description: Id of the recovery point.
  type: str
  returned: success
directory:
  description: Where it lies, below C(open) or, once sealed, below C(points).
  type: str
  returned: success
staging:
  description:
    - Directory for the files of components before they are in the repository; one subdirectory for each component.
  type: str
  returned: state=open
jobs:
  description: Directory for the job directories of the run's steps.
  type: str
  returned: state=open
lists:
  description: Directory for the long lists that are sealed beside the manifest.
  type: str
  returned: state=open
created:
  description: When it was opened, UTC.
  type: str
  returned: state=open and not in check mode
swept:
  description: Ids of unsealed recovery points of dead runs that were removed.
  type: list
  elements: str
  returned: state=open
reattached:
  description: Whether an open recovery point was gone on with.
  type: bool
  returned: state=open
lock:
  description: How the lock was got, and who held it before when it had expired or was taken over.
  type: dict
  returned: state=open
  sample: {how: free, previous: null}
checks:
  description: What was checked before the seal, with C(pass) or C(not_run). Empty when the point was sealed before.
  type: list
  elements: dict
  returned: state=sealed
digest:
  description: SHA-256 of the manifest.
  type: str
  returned: state=sealed
manifest_snapshot:
  description: The snapshot that holds the manifest in the repository.
  type: str
  returned: state=sealed and not in check mode
manifest:
  description: The sealed manifest.
  type: dict
  returned: state=sealed
"""

import os
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, ids, lock, manifest, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import catalog, options, points, ship
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def open_point(module, vault):
    params, held = module.params, module.params["lock"]
    point = params["id"] and catalog.checked(params["id"])
    if module.check_mode:
        how = lock.decide(lock.read(vault.lock), held["run_id"], datetime.now(timezone.utc), held["take_over"])
        known = point in vault.open_ids()
        where = points.paths(vault, point or ids.new_id())
        return dict(where, changed=not known, swept=points.dead(vault, point), reattached=known,
                    lock={"how": how, "previous": None})
    points.make_vault(vault)
    taken = lock.acquire(vault.lock, run_id=held["run_id"], flow=params["flow"], owner=held["owner"], ttl=held["ttl"],
                         recovery_point=point, take_over=held["take_over"])
    opened = points.open_point(vault, run_id=held["run_id"], point=point)
    lock.renew(vault.lock, run_id=held["run_id"], ttl=held["ttl"], recovery_point=opened["id"])
    return dict(opened, changed=not opened["reattached"] or bool(opened["swept"]),
                lock={"how": taken["how"], "previous": taken["previous"]})


def add_component(module, vault):
    params = module.params
    where = {"id": params["id"], "directory": vault.open_dir(params["id"])}
    if module.check_mode:
        manifest.validate_component(params["component"], params["facts"], sealed=False)
        return dict(where, changed=True)
    _keep_lock(module, vault)
    return dict(where, changed=points.add_component(vault, params["id"], params["component"], params["facts"]))


def seal(module, vault, redactor):
    params, point = module.params, params_id(module)
    restic = Restic(options.from_options(params), redactor)
    snapshots = ship.own_snapshots(vault, restic)
    where = {"id": point, "directory": vault.point_dir(point)}
    fresh = not vault.is_sealed(point)
    sealed, checks = None, []
    if fresh:
        lock.check(vault.lock, run_id=params["lock"]["run_id"])
        for name, facts in params["record"].items():
            manifest.validate_component(name, facts, sealed=False)
            if not module.check_mode:
                points.add_component(vault, point, name, facts)
        if module.check_mode and params["record"]:  # what is not recorded cannot be checked further
            return dict(where, changed=True, checks=[], manifest=None, digest=None)
        if not module.check_mode:
            points.whole_ids(vault, point, [item["id"] for item in snapshots])
        checks = points.check_before_seal(vault, point, params["components"],
                                          {item["id"]: item["tags"] for item in snapshots})
        sealed = points.build_manifest(vault, point, params["manifest"], sealed=clock.utc_now())
        if module.check_mode:
            return dict(
                where, changed=True, checks=checks, manifest=sealed, digest=manifest.digest(manifest.dumps(sealed))
            )
    before = ship.shipped(snapshots).get(point)
    shipped = before and before[-1]
    if not module.check_mode:
        _keep_lock(module, vault)
        points.seal(vault, point, sealed)
        shipped = shipped or {"id": ship.ship(vault, point, restic)}
    return dict(
        where,
        changed=fresh,
        checks=checks,
        manifest=vault.manifest(point),
        digest=vault.manifest_digest(point),
        manifest_snapshot=shipped and shipped["id"],
    )


def abort(module, vault):
    point = params_id(module)
    where = {"id": point, "directory": vault.open_dir(point)}
    there = os.path.isdir(vault.open_dir(point)) and not vault.is_sealed(point)
    if there and not module.check_mode:
        # Asked, not renewed: nothing can be written where the vault is full, and this is what makes room there.
        lock.check(vault.lock, run_id=module.params["lock"]["run_id"])
    if not module.check_mode:
        there = points.abort(vault, point)
    return dict(where, changed=there)


def params_id(module):
    return catalog.checked(module.params["id"])


def _keep_lock(module, vault):
    held = module.params["lock"]
    lock.renew(vault.lock, run_id=held["run_id"], ttl=held["ttl"])


def main():
    spec = dict(catalog.argument_spec(), **catalog.lock_argument_spec(), **options.argument_spec())
    spec.update(
        state={"type": "str", "required": True, "choices": ["open", "component", "sealed", "aborted"]},
        id={"type": "str"}, flow={"type": "str", "default": "backup"},
        component={"type": "str", "choices": list(manifest.COMPONENTS)}, facts={"type": "dict"},
        components={"type": "list", "elements": "str"}, record={"type": "dict", "default": {}},
        manifest={"type": "dict", "default": {}},
        repository={"type": "str"})
    module = AnsibleModule(
        argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE,
        required_if=[("state", "component", ("id", "component", "facts")), ("state", "sealed", ("id", "repository")),
                     ("state", "aborted", ("id",))])
    redactor = Redactor()

    def body(module):
        vault = catalog.Catalog(module.params["vault"], module.params["instance"])
        state = module.params["state"]
        if state == "open":
            return open_point(module, vault)
        if state == "component":
            return add_component(module, vault)
        if state == "sealed":
            return seal(module, vault, redactor)
        return abort(module, vault)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
