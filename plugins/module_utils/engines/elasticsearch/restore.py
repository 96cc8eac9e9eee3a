# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot brought back: beside the live indices under other names, or in their place.

Nothing of the cluster is touched before the snapshot is known to be whole and to fit this cluster.
"""
from __future__ import annotations

from dataclasses import dataclass

from ...core.clock import Laps
from ...core.errors import IntegrityError, RefusedError
from . import catalog, clients, inventory, landing, marks, names, repository, space, versions


@dataclass(frozen=True)
class Options:
    """repository, snapshot: names. copies: the set to restore to (None: in place). delete_existing: in place, delete the
    live indices first. stall_timeout: seconds without any movement before it is given up."""

    repository: str
    snapshot: str
    copies: str | None = None
    delete_existing: bool = False
    stall_timeout: float = 300.0

    @property
    def set_prefix(self) -> str:
        """What stands before every restored index."""
        return names.copies(self.copies) if self.copies else ""


def preflight(cluster, prefix, options, expected) -> dict:
    """Everything that can be known before it begins: {indices, standing, bytes, server_version}. Raises DrError.

    standing: indices that have to go first.
    """
    if expected is not None:
        # The other product may not even be able to list it.
        versions.require_product(expected["identity"].get("product", clients.ELASTICSEARCH), cluster.identity)
    snapshot = catalog.found(cluster, options.repository, options.snapshot)
    if snapshot is None:
        raise RefusedError(f"The repository {options.repository} has no snapshot {options.snapshot}.", reason="snapshot_missing",
                           hint="Look at what there is: elasticsearch_snapshot_info.")
    catalog.require_usable(snapshot, expected and expected["indices"])
    require_same(snapshot, expected)
    require_only_read(cluster, options.repository, snapshot)
    versions.require_restorable(snapshot, cluster.identity)
    indices = sorted(snapshot["indices"])
    strange = [name for name in indices if not name.startswith(prefix)]
    if strange:
        raise RefusedError(f"The snapshot holds {strange[0]}, which does not begin with {prefix}.",
                           reason="strange_indices", detail={"indices": strange[:50]},
                           hint="Check index_prefix. Snapshots of a whole cluster are not restored here.")
    names.require_lengths(options.set_prefix, indices)
    found = inventory.listed(cluster, options.set_prefix + prefix)
    if options.copies is None:
        # Closed indices are in the way like any others, and go by name like them.
        inventory.require_plain(dict(found, closed=[]))
    standing = found["indices"]
    if standing and options.copies is None and not options.delete_existing:
        raise RefusedError(
            f"The cluster has {len(standing)} indices that begin with {prefix}, such as {standing[0]}.", reason="not_empty",
            hint="Restore beside them and swap, which keeps a way back; or delete_existing: true deletes exactly these.",
            detail={"indices": standing})
    size = size_of(cluster, options)
    space.require(cluster, size, freed=standing)
    return {"indices": indices, "standing": standing, "bytes": size, "server_version": cluster.identity["server_version"]}


def require_same(snapshot, expected) -> None:
    """Refuses a snapshot that has the name of the recovery point's, but is another one. Pure."""
    if expected is not None and snapshot["uuid"] != expected["snapshot_uuid"]:
        raise IntegrityError(
            f"The snapshot {snapshot['snapshot']} is not that of the recovery point: its uuid is {snapshot['uuid']}, not "
            f"{expected['snapshot_uuid']}.", reason="snapshot_differs",
            hint="Somebody deleted it and took another of the same name, or this is another repository.")


def require_only_read(cluster, name, snapshot) -> None:
    """Refuses to restore another cluster's snapshot through a registration that could write beside that cluster."""
    if catalog.of_others([snapshot], cluster.identity["cluster_uuid"]):
        repository.require_readonly(name, repository.read(cluster, name))


def size_of(cluster, options) -> int:
    """Bytes of all files of the snapshot."""
    status = cluster.get(names.repository_path(options.repository, options.snapshot, "_status"),
                         doing=f"sizing the snapshot {options.snapshot}")
    return status["snapshots"][0]["stats"]["total"]["size_in_bytes"]


def request(indices, set_prefix) -> dict:
    """The body of the request that restores. Aliases of copies come later, under names of their own. Pure."""
    body = {"indices": list(indices), "include_global_state": False, "ignore_unavailable": False,
            "partial": False, "include_aliases": not set_prefix}
    if set_prefix:
        body.update(rename_pattern="(.+)", rename_replacement=set_prefix + "$1")
    return body


def restore(cluster, prefix, options, progress, expected=None) -> dict:
    """Restores and compares. Returns {indices, verdict, depth, counts, differences, bytes, seconds, server_version, deleted}.

    expected: the manifest's component. progress: core.jobs.Progress; phases: preflight, deleting, restoring, verifying,
    finished. Raises DrError; copies that came to nothing are deleted, those that differ are kept for a look.
    """
    watch = Laps()
    progress.phase("preflight")
    plan = preflight(cluster, prefix, options, expected)
    watch.lap("preflight")
    if plan["standing"]:
        progress.phase("deleting", indices=plan["standing"])
        landing.delete(cluster, plan["standing"])
        watch.lap("deleting")
    target = [options.set_prefix + name for name in plan["indices"]]
    progress.phase("restoring", indices=len(target))
    try:
        _bring(cluster, prefix, options, plan["indices"], target, progress)
    except Exception:
        if options.copies:
            # A restore that cannot end keeps the cluster red and the repository busy.
            _sweep(cluster, target)
        raise
    watch.lap("restoring")
    if options.copies and expected is not None:
        give_aliases(cluster, expected["objects"]["aliases"], options.set_prefix)
    progress.phase("verifying")
    found = inventory.read(cluster, prefix, of_copies=options.set_prefix, with_counts=True, with_objects=True)
    result = landing.judge(expected, found)
    watch.lap("verifying")
    if options.copies and result["verdict"] != "differs":
        marks.write(cluster, target, marks.whole(options.copies, len(target)))
    result.update(indices=target, deleted=plan["standing"], bytes=plan["bytes"], server_version=plan["server_version"],
                  seconds=watch.laps)
    progress.phase("finished", verdict=result["verdict"])
    return result


def _bring(cluster, prefix, options, indices, target, progress) -> None:
    cluster.begin("POST", names.repository_path(options.repository, options.snapshot, "_restore"),
                  body=request(indices, options.set_prefix), doing=f"starting the restore of {options.snapshot}")
    landing.await_started(cluster, options.set_prefix + prefix, target, options.stall_timeout, progress,
                          f"restoring {options.snapshot}")


def _sweep(cluster, indices) -> None:
    try:
        landing.delete(cluster, indices)
    except Exception:  # the error that led here is the one to tell; the next attempt sweeps
        return


def give_aliases(cluster, by_index, set_prefix="") -> None:
    """Gives indices the aliases of a component, all at once. set_prefix: before the names of both."""
    actions = alias_actions(by_index, set_prefix)
    if actions:
        cluster.request("POST", "/_aliases", body={"actions": actions}, doing="setting the aliases")


def alias_actions(by_index, set_prefix="") -> list:
    """The actions that give these aliases. by_index: {index: {alias: how}}. Pure."""
    return [{"add": dict(how, index=set_prefix + index, alias=set_prefix + alias)}
            for index, aliases in sorted(by_index.items()) for alias, how in sorted(aliases.items())]
