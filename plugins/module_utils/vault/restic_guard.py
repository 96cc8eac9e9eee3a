# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots belong to sealed recovery points, and so may only go by recovery_point_prune."""
from __future__ import annotations

import os

from ..core.errors import ConfigError, DrError, RefusedError
from .catalog import Catalog


def tag_of(snapshot: dict, name: str):
    """The value of a tag name=value of a snapshot, or None."""
    for tag in snapshot["tags"]:
        if tag.startswith(name + "="):
            return tag[len(name) + 1:]
    return None


def sealed_in_vault(vault) -> tuple:
    """({snapshot id: point that names it}, {sealed point ids}) of every instance in a vault directory.

    A manifest that cannot be read guards by its id alone: the tags of its snapshots name it. Raises ConfigError when
    there is no such directory, because a guard that looks into the wrong place guards nothing.
    """
    if not os.path.isdir(vault):
        raise ConfigError(f"There is no vault directory {vault}.", reason="vault_missing",
                          hint="Give the directory that holds the recovery points' manifests.")
    named, points = {}, set()
    for instance in sorted(os.listdir(vault)):
        if not os.path.isdir(os.path.join(vault, instance)):
            continue
        catalog = Catalog(vault, instance)
        for point in catalog.sealed_ids():
            points.add(point)
            try:
                components = catalog.manifest(point)["components"]
            except DrError:
                continue
            named.update({component["snapshot"]: point for component in components.values()
                          if component.get("snapshot")})
    return named, points


def sealed_in_repository(snapshots) -> set:
    """Ids of the points whose manifest is in the repository: sealed, even where their directory is lost. Pure."""
    return {tag_of(snapshot, "point") for snapshot in snapshots if tag_of(snapshot, "component") == "manifest"}


def guarded(going, named: dict, points: set) -> dict:
    """{snapshot id: sealed point} of those among the snapshots going that a sealed point names or marks. Pure."""
    found = {}
    for snapshot in going:
        point = named.get(snapshot["id"]) or tag_of(snapshot, "point")
        if snapshot["id"] in named or point in points:
            found[snapshot["id"]] = point
    return found


def check(going, everything, vault) -> None:
    """Raises RefusedError when one of the snapshots going belongs to a sealed point, by the vault or the repository."""
    named, points = sealed_in_vault(vault)
    held = guarded(going, named, points | sealed_in_repository(everything))
    if held:
        snapshot, point = sorted(held.items())[0]
        raise RefusedError(
            f"{len(held)} of {len(going)} snapshots belong to sealed recovery points, for example {snapshot[:8]} to "
            f"{point}. Nothing was removed.", reason="snapshot_sealed",
            hint="Sealed recovery points are removed by recovery_point_prune only.", detail={"snapshots": held})
