#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists the recovery points of an instance."""
from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point_info
short_description: List recovery points and what they are worth
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Lists the sealed recovery points of an instance, newest first, each with its verdict and how deep it was verified.
  - With O(rebuild=true), first restores the directories of recovery points that the repository knows and the vault
    directory does not. What is damaged in the repository is told as a warning and keeps nobody from the other recovery
    points; where the newest copy of a directory is damaged, an older one is taken, which lacks the verifications after it.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.restic
attributes:
  check_mode:
    support: full
    details: With O(rebuild=true), tells in RV(missing) what would be restored.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  id:
    description:
      - Only this recovery point, with its manifest. V(latest) and V(latest_verified) name one by what it is; V(latest) passes
        over points of no more than a metadata archive as long as there is a whole one.
    type: str
  rebuild:
    description: Restore missing recovery point directories from the repository. Needs O(repository).
    type: bool
    default: false
  repository:
    description: Location of the restic repository as restic takes it. Only used with O(rebuild=true).
    type: str
    required: false
"""

EXAMPLES = r"""
- name: List recovery points
  kestra_community.dr.recovery_point_info:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
  register: known

- name: Choose the newest one that passed its verification
  kestra_community.dr.recovery_point_info:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    id: latest_verified
  register: chosen

- name: Get a lost vault directory back from the repository
  kestra_community.dr.recovery_point_info:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    rebuild: true
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
"""

RETURN = r"""
recovery_points:
  description: Sealed recovery points, newest first.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Its id.
      type: str
    created:
      description: When it was opened, UTC.
      type: str
    sealed:
      description: When it was sealed, UTC.
      type: str
    mode:
      description: Consistency, V(offline), V(pinned), V(drained) or V(live).
      type: str
    self_contained:
      description: Whether everything it needs is in the vault.
      type: bool
    elsewhere:
      description: What the vault does not hold, with C(component), C(system), and of indices C(snapshot) and C(uuid).
      type: list
      elements: dict
    components:
      description: By name, where each component is held, its engine and its size in bytes.
      type: dict
    bytes:
      description: Sum of the components' sizes.
      type: int
    kestra_version:
      description: Version of Kestra, if it was known.
      type: str
    verdict:
      description: V(verified), V(unverified) (with the depth that passed), V(differs) or V(failed).
      type: str
    depth:
      description: Depth of the verification the verdict rests on.
      type: str
    verified_at:
      description: When that verification ended, UTC.
      type: str
    pruning:
      description: Whether its removal has begun; such a recovery point cannot be used.
      type: bool
    error:
      description: Why it cannot be read, or null.
      type: dict
    directory:
      description: Where its manifest lies.
      type: str
manifest:
  description: The manifest of the recovery point given by O(id).
  type: dict
  returned: when O(id) is given
open:
  description: Unsealed recovery points. They exist for nobody but the run that holds the lock.
  type: list
  elements: dict
  returned: success
undo_points:
  description: What the journals of undo points say, newest first. One that cannot be read has the C(state) V(unreadable), and C(error).
  type: list
  elements: dict
  returned: success
lock:
  description: Who holds the instance, or null.
  type: dict
  returned: success
missing:
  description: Ids that were in the repository and not in the vault directory.
  type: list
  elements: str
  returned: when O(rebuild=true)
restored:
  description: Ids whose directories were restored.
  type: list
  elements: str
  returned: when O(rebuild=true)
older_points:
  description: Restored ones whose newest copy is damaged, with C(id), C(time) of the copy taken, C(msg) and C(reason).
  type: list
  elements: dict
  returned: when O(rebuild=true)
failed_points:
  description: Those that could not be restored, with C(id), C(msg), C(reason), and C(damaged), whether they never will be.
  type: list
  elements: dict
  returned: when O(rebuild=true)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import lock, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import catalog, options, ship
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def spoils(failed, wanted, known):
    """The first of the points that could not be restored without which there is no answer, or None. Pure.

    wanted: an id, latest, latest_verified or None. known: ids in the vault. The other points are of use without a damaged
    one; but while it may still come, nobody knows which is the latest.
    """
    for item in failed:
        if not known or item["id"] == wanted or (not item["damaged"] and wanted in ("latest", "latest_verified")):
            return item
    return None


def rebuild(module, vault, redactor):
    restic = Restic(options.from_options(module.params), redactor)
    missing = ship.missing_points(vault, ship.own_snapshots(vault, restic))
    if module.check_mode or not missing:
        return {"changed": bool(missing), "missing": missing, "restored": [], "older_points": [], "failed_points": []}
    done = ship.rebuild(vault, restic)
    for item in done["older"]:
        module.warn(redactor.scrub(
            f"{item['id']} was restored as it was shipped at {item['time']}; later verifications of it are lost, because "
            f"the newest copy is damaged: {item['msg']}"))
    for item in done["failed"]:
        module.warn(redactor.scrub(f"{item['id']} could not be restored from the repository: {item['msg']}"))
    bad = spoils(done["failed"], module.params["id"], vault.sealed_ids())
    if bad:
        raise IntegrityError(
            f"{bad['id']} could not be restored from the repository: {bad['msg']}", reason=bad["reason"],
            hint=None if bad["damaged"] else "Run again, or name the recovery point by its id.",
            detail={"failed": done["failed"]})
    return {"changed": bool(done["restored"]), "missing": missing, "restored": done["restored"],
            "older_points": done["older"], "failed_points": done["failed"]}


def main():
    spec = dict(catalog.argument_spec(), **options.argument_spec())
    spec.update(id={"type": "str"}, rebuild={"type": "bool", "default": False}, repository={"type": "str"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE,
                           required_if=[("rebuild", True, ("repository",))])
    redactor = Redactor()

    def body(module):
        vault = catalog.Catalog(module.params["vault"], module.params["instance"])
        result = rebuild(module, vault, redactor) if module.params["rebuild"] else {"changed": False}
        if not (module.params["rebuild"] and module.check_mode):
            vault.check_vault()
        lines = vault.summaries()
        if module.params["id"]:
            lines = [catalog.choose(lines, module.params["id"], vault.instance)]
            result["manifest"] = vault.manifest(lines[0]["id"])
        return dict(result, recovery_points=lines, open=[vault.open_line(point) for point in vault.open_ids()],
                    undo_points=vault.undo_points(), lock=lock.read(vault.lock))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
