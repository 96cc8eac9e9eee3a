# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of Kestra's indices: taken, followed by its status, and judged."""
from __future__ import annotations

import time
from dataclasses import dataclass

from ...core import clock, manifest
from ...core.errors import RefusedError, StateError
from . import catalog, clients, inventory, names, repository
from .patience import Patience


@dataclass(frozen=True)
class Options:
    """repository, snapshot: names. quiet: refuse when documents change while shards begin. stall_timeout: seconds without
    any progress before the snapshot is given up. staged: it is copied elsewhere, and need not stay."""

    repository: str
    snapshot: str
    quiet: bool = True
    stall_timeout: float = 300.0
    staged: bool = False


def preflight(cluster, prefix, options) -> dict:
    """What a snapshot needs and finds: {repository, indices, counts, size_bytes, leftover, …}. Raises RefusedError."""
    found = inventory.read(cluster, prefix, with_objects=True)
    inventory.require_plain(dict(found, outside=found["aliases_outside"]))
    if not found["exists"]:
        raise RefusedError(f"The cluster {cluster.identity['cluster_name']} has no index that begins with {prefix}.",
                           reason="no_indices", hint="Check index_prefix and the cluster: an empty snapshot would protect nothing.")
    broken = {name: item["unassigned"] for name, item in found["health"].items() if item["unassigned"]}
    if broken:
        name, shards = next(iter(broken.items()))
        raise RefusedError(
            f"Primary shards have no node, so a snapshot would be partial: {name}[{shards[0]}]"
            + (f" and others of {len(broken)} indices." if len(broken) > 1 else "."), reason="shards_unassigned",
            hint="See GET _cluster/allocation/explain for what keeps them.", detail={"indices": broken})
    place = described(cluster, options.repository)
    if place["readonly"]:
        raise RefusedError(f"The repository {options.repository} is read-only here.", reason="repository_readonly",
                           hint="Take snapshots on the cluster that owns it.")
    existing = catalog.found(cluster, options.repository, options.snapshot)
    return dict(found, repository=place, leftover=require_free(existing, options))


def described(cluster, name) -> dict:
    """A registered repository: {name, type, settings, readonly, uuid}. Raises ConnectError when there is none."""
    item = cluster.get(names.repository_path(name), doing=f"reading the repository {name}")[name]
    found = {"name": name, "type": item["type"], "settings": item.get("settings") or {}, "uuid": item.get("uuid")}
    return dict(found, readonly=repository.is_readonly(found))


def require_free(existing, options) -> bool:
    """True when an attempt of ours that came to nothing has the name. Raises RefusedError when it is taken. Pure."""
    if existing is None:
        return False
    if existing["state"] == "IN_PROGRESS":
        raise RefusedError(f"A snapshot of the name {options.snapshot} is being taken.", reason="snapshot_running",
                           hint="Wait until it has ended, or choose another name.", detail=catalog.told(existing))
    if existing["state"] == "SUCCESS" or not catalog.ours(existing):
        raise RefusedError(f"The repository {options.repository} has a snapshot {options.snapshot} already.",
                           reason="snapshot_exists", detail=catalog.told(existing),
                           hint="Choose another name. An existing snapshot is never replaced.")
    return True


def take(cluster, prefix, options, progress) -> dict:
    """Takes a snapshot and returns the component of the manifest. progress: core.jobs.Progress; phases: preflight, started,
    pinned (every shard has begun: what Kestra writes from now on does not show), taken, finished.

    Raises DrError; a snapshot that came to nothing is deleted.
    """
    started = time.monotonic()
    progress.phase("preflight")
    found = preflight(cluster, prefix, options)
    if found["leftover"]:
        catalog.delete(cluster, options.repository, options.snapshot)
    writes = inventory.writes(cluster, prefix)
    before = inventory.counts(cluster, found["indices"])
    path = names.repository_path(options.repository, options.snapshot)
    cluster.begin("PUT", path, body=request(found["indices"], cluster.identity["cluster_uuid"], options.staged),
                  doing=f"starting the snapshot {options.snapshot}")
    progress.phase("started", snapshot=options.snapshot, indices=len(found["indices"]))
    try:
        snapshot, pinned = follow(cluster, options, progress,
                                  lambda: _pinned(cluster, prefix, before, writes, options, progress))
        catalog.require_usable(snapshot, found["indices"])
    except BaseException:
        _abandon(cluster, options)
        raise
    progress.phase("taken", snapshot=options.snapshot)
    # A new repository gets its uuid with its first snapshot.
    result = component(found, described(cluster, options.repository), snapshot, pinned, cluster.login.hosts)
    result["seconds"] = round(time.monotonic() - started, 3)
    progress.phase("finished", snapshot=options.snapshot)
    return result


def request(indices, cluster_uuid, staged=False) -> dict:
    """The body of the request that starts a snapshot. Pure."""
    return {"indices": list(indices), "include_global_state": False, "ignore_unavailable": False,
            "partial": False, "metadata": {"taken_by": catalog.OWNER, "cluster_uuid": cluster_uuid, "staged": staged}}


def _abandon(cluster, options) -> None:
    """Removes what came to nothing, as far as the cluster answers; the next attempt sweeps it otherwise."""
    try:
        catalog.delete(cluster, options.repository, options.snapshot)
    except Exception:  # the error that led here is the one to tell
        return


def begun(status) -> bool:
    """Whether every shard of a snapshot has its commit: what is written later is not in it. Pure.

    A shard is INIT until its node holds the commit it copies (IndexShardSnapshotStatus). One whose node has not said
    anything yet, or that waits for another snapshot, is told as STARTED too, but without a node
    (TransportSnapshotsStatusAction).
    """
    shards = [shard for index in status["indices"].values() for shard in index["shards"].values()]
    return bool(shards) and len(shards) == status["shards_stats"]["total"] and all(
        shard["stage"] in ("FINALIZE", "DONE", "FAILURE") or shard["stage"] == "STARTED" and shard.get("node")
        for shard in shards)


def follow(cluster, options, progress, on_pinned):
    """Polls the status until the snapshot lies in the repository; it, and what on_pinned() returned.

    Raises StateError when nothing moves.
    """
    path = names.repository_path(options.repository, options.snapshot, "_status")
    patience, pinned, reached = Patience(options.stall_timeout), None, False
    while True:
        answer = patience.ask(lambda: cluster.get(path, doing=f"following the snapshot {options.snapshot}"))
        if answer is not None:
            status = answer["snapshots"][0]
            if not reached and (begun(status) or status["state"] == "SUCCESS"):
                pinned, reached = on_pinned(), True
            size, shards = status["stats"], status["shards_stats"]
            # When all is done only the whole is told.
            done = size["incremental"] if shards["done"] == shards["total"] else size.get("processed") or {}
            progress.update(done.get("size_in_bytes", 0), size["incremental"]["size_in_bytes"],
                            message=f"{shards['done']} of {shards['total']} shards")
            if status["state"] not in ("INIT", "STARTED"):
                # All shards are done; the repository may still be learning of it.
                snapshot = patience.ask(lambda: catalog.found(cluster, options.repository, options.snapshot))
                if snapshot is not None and snapshot["state"] != "IN_PROGRESS":
                    return snapshot, pinned
            if patience.stalled([status["state"], shards, done.get("size_in_bytes"), done.get("file_count")]):
                raise StateError(f"The snapshot {options.snapshot} has not moved for {options.stall_timeout:g} s.",
                                 reason="stalled", hint="See the cluster's log; the snapshot was ended.")
        patience.pause()


def _pinned(cluster, prefix, counts, writes, options, progress) -> dict:
    """The counts that are surely the snapshot's: of indices that nobody wrote to from before the count until every shard
    had begun. counts, writes: of then."""
    moved = written(writes, inventory.writes(cluster, prefix))
    if moved and options.quiet:
        raise StateError(f"Somebody wrote to {moved[0]} while the snapshot began"
                         + (f", and to {len(moved) - 1} other indices." if len(moved) > 1 else "."), reason="not_quiet",
                         hint="Stop Kestra first, or use quiet: false for a snapshot whose documents are not counted.",
                         detail={"indices": moved})
    progress.phase("pinned", snapshot=options.snapshot, indices=len(counts))
    return {"counts": {name: number for name, number in counts.items() if name not in moved},
            "uncounted": [name for name in moved if name in counts], "at": clock.utc_now()}


def written(before, after) -> list:
    """The indices that were written to, made or deleted in between. Both of inventory.writes(). Pure."""
    return sorted(name for name in set(before) | set(after) if before.get(name) != after.get(name))


def component(found, place, snapshot, pinned, hosts) -> dict:
    """What the manifest of a recovery point holds about Elasticsearch. hosts: URLs of the cluster. Pure."""
    return {
        "held": "external", "engine": "elasticsearch", "strategy": manifest.SNAPSHOT,
        "system": f"the repository {place['name']} ({place['type']}) of "
                  f"{clients.TITLES[found['identity']['product']]} at {', '.join(hosts)}",
        "endpoint": list(hosts), "repository": {key: place[key] for key in ("name", "type", "uuid", "settings")},
        "snapshot_name": snapshot["snapshot"], "snapshot_uuid": snapshot["uuid"],
        "identity": found["identity"], "indices": found["indices"],
        "counts": pinned["counts"], "uncounted": pinned["uncounted"],
        "pinned": pinned["at"], "objects": found["objects"], "bytes": found["size_bytes"],
        "shards": snapshot["shards"]["total"]}
