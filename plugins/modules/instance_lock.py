#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes or gives back the lock of an instance."""
from __future__ import annotations

DOCUMENTATION = r"""
module: instance_lock
short_description: Take or give back the lock of an instance
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - One flow at a time works on an instance. The lock is a file in the vault that every controller sees, with an owner and a time to live.
  - A rerun with the same O(lock.run_id) enters again. An expired lock is taken over; a live one only with O(lock.take_over).
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.vault.lock
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  lock:
    required: true
  state:
    description:
      - V(present) takes the lock or renews it, V(absent) gives it back.
    type: str
    choices: [present, absent]
    default: present
  flow:
    description:
      - What the run does, for the message another run gets.
    type: str
    default: backup
  recovery_point:
    description:
      - Id of the recovery point that the run works on.
    type: str
"""

EXAMPLES = r"""
- name: Take the lock of the instance
  kestra_community.dr.instance_lock:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    flow: restore
    lock:
      run_id: 20261123T001500Z-a1b2c3
      owner: alice@controller

- name: Give it back
  kestra_community.dr.instance_lock:
    state: absent
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    lock:
      run_id: 20261123T001500Z-a1b2c3
      owner: alice@controller
"""

RETURN = r"""
path:
  description: The lock file.
  type: str
  returned: success
how:
  description: How the lock was got, V(free), V(ours), V(expired) or V(taken_over).
  type: str
  returned: state=present
previous:
  description: Who held it before, when it was expired or taken over.
  type: dict
  returned: state=present
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import lock, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import (
    Catalog,
    argument_spec,
    lock_argument_spec,
)


def body(module):
    params = module.params
    asked = params["lock"]
    path = Catalog(params["vault"], params["instance"]).lock
    if params["state"] == "absent":
        held = lock.read(path)
        ours = held is not None and held["run_id"] == asked["run_id"]
        if ours and not module.check_mode:
            lock.release(path, run_id=asked["run_id"])
        return {"changed": ours, "path": path}
    if module.check_mode:
        how = lock.decide(lock.read(path), asked["run_id"], datetime.now(timezone.utc), asked["take_over"])
        return {"changed": how != lock.OURS, "path": path, "how": how, "previous": None}
    taken = lock.acquire(path, run_id=asked["run_id"], flow=params["flow"], owner=asked["owner"], ttl=asked["ttl"],
                         recovery_point=params["recovery_point"], take_over=asked["take_over"])
    return {"changed": taken["how"] != lock.OURS, "path": path, "how": taken["how"], "previous": taken["previous"]}


def main():
    spec = dict(
        argument_spec(), **lock_argument_spec(),
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        flow={"type": "str", "default": "backup"},
        recovery_point={"type": "str"})
    spec["lock"]["required"] = True
    wiring.run(AnsibleModule(argument_spec=spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
