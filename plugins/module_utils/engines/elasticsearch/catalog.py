# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots as they lie in a repository: found, told, judged, removed."""
from __future__ import annotations

from ...core.errors import ConnectError, IntegrityError, RefusedError, StateError
from . import names
from .patience import Patience

# How a snapshot says that this collection took it.
OWNER = "kestra_community.dr"

_DELETING = 600  # seconds


def found(cluster, repository, name) -> dict | None:
    """What the repository says of a snapshot, or None. Raises ConnectError when the repository is not there."""
    answer = cluster.get(names.repository_path(repository, name), params={"ignore_unavailable": "true"},
                         doing=f"reading the snapshot {name}")
    known = answer.get("snapshots") or []
    return known[0] if known else None


def everything(cluster, repository) -> list:
    """All snapshots of a repository, oldest first."""
    answer = cluster.get(names.repository_path(repository, action="_all"), params={"ignore_unavailable": "true"},
                         doing=f"listing the repository {repository}")
    return sorted(answer.get("snapshots") or [], key=lambda item: item.get("start_time_in_millis") or 0)


def ours(snapshot) -> bool:
    """Whether this collection took it. Pure."""
    return (snapshot.get("metadata") or {}).get("taken_by") == OWNER


def told(snapshot) -> dict:
    """A snapshot as the modules return it. Pure."""
    shards = snapshot.get("shards") or {}
    return {"name": snapshot["snapshot"], "uuid": snapshot.get("uuid"), "state": snapshot["state"],
            "server_version": snapshot.get("version"), "indices": sorted(snapshot.get("indices") or []),
            "data_streams": sorted(snapshot.get("data_streams") or []),
            "global_state": bool(snapshot.get("include_global_state")), "ours": ours(snapshot),
            "staged": ours(snapshot) and snapshot["metadata"].get("staged") is True,
            "started": snapshot.get("start_time"), "finished": snapshot.get("end_time"),
            "shards": {key: shards.get(key, 0) for key in ("total", "successful", "failed")},
            "failures": [f"{item.get('index')}[{item.get('shard_id')}]: {item.get('reason')}"[:500]
                         for item in (snapshot.get("failures") or [])[:20]],
            "usable": not problems(snapshot)}


def problems(snapshot, indices=None) -> list:
    """Why a snapshot is no recovery point, as sentences; [] when it is one. indices: exactly those it has to hold. Pure."""
    found_problems = []
    state, shards = snapshot.get("state"), snapshot.get("shards") or {}
    if state != "SUCCESS":
        found_problems.append(f"its state is {state}")
    if shards.get("failed") or shards.get("successful") != shards.get("total"):
        failed = shards.get("failed") or shards.get("total", 0) - shards.get("successful", 0)
        found_problems.append(f"{failed} of its {shards.get('total', 0)} shards failed")
    if snapshot.get("failures") and not shards.get("failed"):
        found_problems.append(f"it lists {len(snapshot['failures'])} failures")
    if snapshot.get("data_streams"):
        found_problems.append("it holds data streams")
    if indices is not None:
        held = set(snapshot.get("indices") or ())
        lacks, more = sorted(set(indices) - held), sorted(held - set(indices))
        if lacks:
            found_problems.append(f"it lacks {', '.join(lacks[:5])}")
        if more:
            found_problems.append(f"it holds {', '.join(more[:5])}, which was not asked for")
    return found_problems


def require_usable(snapshot, indices=None) -> None:
    """Raises IntegrityError for a snapshot that is no recovery point. Pure."""
    wrong = problems(snapshot, indices)
    if wrong:
        failures = told(snapshot)["failures"]
        more = f" ({failures[0]})" if failures else ""
        reason = {"PARTIAL": "snapshot_partial", "FAILED": "snapshot_failed", "IN_PROGRESS": "snapshot_running",
                  "INCOMPATIBLE": "snapshot_incompatible"}.get(snapshot.get("state"), "snapshot_incomplete")
        raise IntegrityError(f"The snapshot {snapshot['snapshot']} is not usable: {'; '.join(wrong)}{more}.", reason=reason,
                             hint="Do not restore it. See GET _cluster/allocation/explain for shards without a node, "
                             "then take another.", detail=told(snapshot))


def delete(cluster, repository, name) -> None:
    """Removes a snapshot, also one that is being taken, and waits until it is gone."""
    try:
        cluster.request("DELETE", names.repository_path(repository, name), doing=f"deleting the snapshot {name}",
                        missing=True)
        return
    except ConnectError as exc:
        if exc.reason != "timeout":
            raise
    # The cluster goes on with it: one that is being taken ends first, and a big repository takes its time.
    patience = Patience(_DELETING)
    while True:
        left = patience.ask(lambda: [found(cluster, repository, name)])
        if left == [None]:
            return
        if patience.stalled(left and left[0]["state"]):
            raise StateError(f"The snapshot {name} is still there after {_DELETING} s.", reason="stalled",
                             hint="Wait until GET _snapshot/_status shows nothing, then run again.")
        patience.pause()


def of_others(snapshots, cluster_uuid) -> list:
    """Names of those of this collection's snapshots that another cluster has taken. Pure."""
    return [item["snapshot"] for item in snapshots
            if ours(item) and item["metadata"].get("cluster_uuid") not in (None, cluster_uuid)]


def require_ours(snapshot) -> None:
    """Refuses to delete what somebody else took. Pure."""
    if not ours(snapshot):
        raise RefusedError(f"The snapshot {snapshot['snapshot']} was not taken by this collection.", reason="not_ours",
                           hint="Nothing was deleted. Delete it by hand if that is meant.")
