# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing recovery points: the only place where anything a sealed manifest names is deleted.

Each point: marker in its directory, snapshots forgotten (the manifest's first, so that a rebuild never brings back a
hollow point), what other systems hold for it deleted there, directory away by one rename, deleted. Killed anywhere, the
next prune goes on where it stopped.
"""
from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta, timezone

from ..core import clock
from ..core import manifest as manifests
from ..core.errors import DrError, RefusedError
from ..core.files import fsync_dir, write_json
from . import in_use, retention
from .catalog import Catalog
from .points import tag_value
from .restic_output import utc
from .ship import MANIFEST, own_snapshots, shipped

# Snapshots of a backup that runs elsewhere on the same repository look like orphans until it seals.
ORPHAN_AGE = timedelta(hours=24)


def decide(catalog: Catalog, policy, now) -> dict:
    """retention.plan for the instance, plus "unfinished": points an earlier prune began to remove."""
    lines = catalog.summaries()
    unfinished = [line["id"] for line in lines if line["pruning"]]
    return dict(retention.plan([line for line in lines if not line["pruning"]], policy, now), unfinished=unfinished)


def orphans(catalog: Catalog, snapshots, now) -> list:
    """Snapshots of the instance that belong to no point: aborted or swept backups, or a prune that was cut short.

    One whose point was sealed somewhere (it has a manifest snapshot) is none, even when the vault directory is lost;
    nor is one younger than ORPHAN_AGE. Pure but for the listing of the vault's directories.
    """
    known = set(catalog.sealed_ids()) | set(catalog.open_ids())
    known |= set(shipped(snapshots))
    return [snapshot["id"] for snapshot in snapshots
            if tag_value(snapshot["tags"], "point") and tag_value(snapshot["tags"], "point") not in known
            and now - utc(snapshot["time"]) > ORPHAN_AGE]


def prune(catalog: Catalog, policy, restic, *, still_ours, now=None, on_progress=None, outside=None) -> dict:
    """Applies the policy. The caller holds the instance lock; still_ours() raises when it was lost.

    outside: what reaches the components that other systems hold (see outside.Snapshots). A point with one that cannot be
    reached stays whole for the next prune.

    Returns {"removed": [ids], "kept": {id: reasons}, "finished": [ids of half-done removals], "orphans": [snapshot
    ids], "warnings": [texts]}. A point that somebody reads stays for the next prune. Raises RefusedError rather than
    touch the newest verified point.
    """
    now = now or datetime.now(timezone.utc)
    plan = decide(catalog, policy, now)
    snapshots = own_snapshots(catalog, restic)
    stray = orphans(catalog, snapshots, now)
    going = plan["unfinished"] + plan["remove"]
    read, unreached = [], {}
    for point in catalog.removing_ids():
        shutil.rmtree(catalog.below("removing", point))
    if going or stray or os.path.exists(catalog.prune_marker):
        write_json(catalog.prune_marker, {"schema": 1, "started": clock.utc_now(), "points": going})
        for done, point in enumerate(going):
            if on_progress:
                on_progress(done, len(going), f"removing {point}", "points")
            still_ours()
            _guard(catalog, point)
            with in_use.removing(catalog, point) as free:
                if free:
                    try:
                        _remove(catalog, point, snapshots, restic, outside)
                    except _UnreachedError as exc:
                        unreached[point] = exc.message
                else:
                    read.append(point)
        if stray:
            restic.forget(stray)
        restic.prune(on_progress)
        os.unlink(catalog.prune_marker)
    kept = {**{point: ["being verified"] for point in read}, **{point: ["its snapshot is out of reach"] for point in unreached}}
    return {"removed": [point for point in plan["remove"] if point not in kept],
            "kept": dict(plan["keep"], **kept),
            "finished": [point for point in plan["unfinished"] if point not in kept], "orphans": stray,
            "warnings": plan["warnings"] + [f"{point} is being verified; the next prune removes it." for point in read]
            + [f"{point} stays, because what it holds outside the vault is out of reach: {why}" for point, why in unreached.items()]}


class _UnreachedError(DrError):
    """What another system holds for a point cannot be deleted there now. Nothing was touched."""


def _guard(catalog, point) -> None:
    """The last look before anything is deleted, at the vault as it is now."""
    lines = [line for line in catalog.summaries() if not line["pruning"]]
    verified = [line["id"] for line in lines if line["verdict"] == retention.VERIFIED]
    unfinished = point not in [line["id"] for line in lines]
    if not unfinished and (not verified or point == verified[0]):
        raise RefusedError(
            f"{point} is the last verified recovery point, or none is verified; nothing more is removed.",
            reason="last_verified",
        )


def _remove(catalog, point, snapshots, restic, outside) -> None:
    directory = catalog.point_dir(point)
    mine = [snapshot for snapshot in snapshots if tag_value(snapshot["tags"], "point") == point]
    manifest = [item["id"] for item in mine if tag_value(item["tags"], "component") == MANIFEST]
    data = [item["id"] for item in mine if tag_value(item["tags"], "component") != MANIFEST]
    held = _held_outside(catalog, point)
    shared = _named_elsewhere(catalog, point) & {*manifest, *data, *(component["snapshot_uuid"] for component in held)}
    if shared:
        raise RefusedError(f"Another sealed manifest names a snapshot of {point}; it is not removed.",
                           reason="snapshot_shared", detail={"snapshots": sorted(shared)})
    for component in held:
        try:
            outside.require(component)
        except DrError as exc:
            raise _UnreachedError(exc.message, reason=exc.reason, hint=exc.hint) from None
    marker = os.path.join(directory, "pruning.json")
    if not os.path.exists(marker):
        write_json(marker, {"schema": 1, "started": clock.utc_now(), "snapshots": manifest + data})
    if manifest:
        restic.forget(manifest)
    for component in held:
        outside.delete(component)
    if data:
        restic.forget(data)
    os.makedirs(catalog.below("removing"), mode=0o700, exist_ok=True)
    os.rename(directory, catalog.below("removing", point))
    fsync_dir(catalog.below("points"))
    shutil.rmtree(catalog.below("removing", point))


def _named_elsewhere(catalog, point) -> set:
    named = set()
    for other in catalog.sealed_ids():
        if other != point:
            try:
                components = catalog.manifest(other)["components"].values()
            except DrError:
                continue  # its snapshots carry its own point tag, so none of them is in this point's list
            named |= {component.get("snapshot") for component in components}
            named |= {component.get("snapshot_uuid") for component in components if manifests.is_outside(component)}
    return named - {None}


def _held_outside(catalog, point) -> list:
    """The components of a point that other systems hold. Of one whose manifest cannot be read nothing is known."""
    try:
        components = catalog.manifest(point)["components"].values()
    except DrError:
        return []
    return [component for component in components if manifests.is_outside(component)]
