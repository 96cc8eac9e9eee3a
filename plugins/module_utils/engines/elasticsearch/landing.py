# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every way of bringing indices back does: wait until each shard has started, remove by name, and compare."""
from __future__ import annotations

from ...core.errors import IntegrityError, StateError
from ...core.manifest import compare_counts
from . import connect, inventory
from .patience import Patience


def delete(cluster, indices) -> None:
    """Deletes indices, each by its own name: a wildcard could take more than was meant, and is refused by default."""
    for name in indices:
        cluster.request("DELETE", connect.path_of(name), doing=f"deleting the index {name}", missing=True,
                        params={"expand_wildcards": "none"})


def failures(rows) -> list:
    """Primary shards that were tried and failed, as texts. rows: of _cat/shards. Pure."""
    return [f"{row['index']}[{row['shard']}]: {row.get('unassigned.details') or row['unassigned.reason']}"[:600]
            for row in rows if row["prirep"] == "p" and row["state"] == "UNASSIGNED"
            and row.get("unassigned.reason") == "ALLOCATION_FAILED"]


def await_started(cluster, start, indices, stall, progress, doing) -> None:
    """Waits until every primary shard of the indices has started, and no replica is on its way.

    start: how all their names begin. Raises IntegrityError when a shard failed, StateError when nothing moves.
    """
    patience, wanted = Patience(stall), set(indices)
    columns = "index,shard,prirep,state,unassigned.reason,unassigned.details"
    while True:
        rows = patience.ask(lambda: cluster.get(connect.path_of("_cat", "shards", start + "*"), doing=doing,
                                                params={"format": "json", "h": columns}))
        if rows is not None:
            rows = [row for row in rows if row["index"] in wanted]
            failed = failures(rows)
            if failed:
                raise IntegrityError(f"A shard failed while {doing}: {failed[0]}.", reason="shard_failed",
                                     hint="Its files are missing or damaged in the repository, or its node is.",
                                     detail={"failures": failed[:20]})
            if whole(rows, wanted):
                return
            done, total = moved(patience.ask(lambda: _recovery(cluster, start, doing)) or {}, wanted)
            progress.update(done, total, message=f"{_started(rows)} of {len(rows)} shards")
            row = forlorn(rows)
            given_up, reason = why(cluster, row) if row else (False, "")
            if given_up:
                raise StateError(f"{row['index']}[{row['shard']}] gets no node while {doing}: {reason}", reason="no_node",
                                 hint="Free what keeps the nodes from taking it, then run again.")
            if patience.stalled((done, _started(rows))):
                # Such a shard may still come: its node may be on its way back with it.
                what = f": {row['index']}[{row['shard']}] has no node: {reason}" if row else "."
                raise StateError(f"Nothing has moved for {stall:g} s while {doing}{what}", reason="stalled",
                                 hint="See GET _cat/recovery and GET _cluster/allocation/explain for what goes on.")
        patience.pause()


def whole(rows, wanted) -> bool:
    """Whether all primaries of the wanted indices have started and nothing is on its way. rows: of _cat/shards. Pure."""
    primaries = [row for row in rows if row["prirep"] == "p"]
    return {row["index"] for row in primaries} == wanted and all(row["state"] == "STARTED" for row in primaries) \
        and all(row["state"] in ("STARTED", "UNASSIGNED") for row in rows)


def moved(recovery, wanted) -> tuple:
    """(bytes recovered, bytes in all) of the wanted indices' primaries. recovery: of _recovery. Pure."""
    done = total = 0
    for index, item in recovery.items():
        for shard in item["shards"] if index in wanted else ():
            if shard["primary"]:
                done += shard["index"]["size"]["recovered_in_bytes"]
                total += shard["index"]["size"]["total_in_bytes"]
    return done, total


def _started(rows) -> int:
    return sum(row["state"] == "STARTED" for row in rows)


def _recovery(cluster, start, doing):
    return cluster.get(connect.path_of(start + "*", "_recovery"), params=inventory.ALL, doing=doing)


def forlorn(rows):
    """The first primary shard that has no node while none is on its way, or None. rows: of _cat/shards. Pure."""
    waiting = [row for row in rows if row["state"] == "UNASSIGNED" and row["prirep"] == "p"]
    return waiting[0] if waiting and not any(row["state"] == "INITIALIZING" for row in rows) else None


def why(cluster, row) -> tuple:
    """(whether the cluster has given the shard up, why it has no node). row: of _cat/shards."""
    answer = cluster.request("POST", "/_cluster/allocation/explain", doing="asking why a shard has no node",
                             body={"index": row["index"], "shard": int(row["shard"]), "primary": True}, missing=True)
    return reasons(answer or {})


def reasons(answer) -> tuple:
    """See why(). answer: of _cluster/allocation/explain. Pure."""
    said = {item["decider"]: item["explanation"] for node in answer.get("node_allocation_decisions") or ()
            for item in node.get("deciders") or () if item["decision"] == "NO"}
    # It only repeats that there was no node, and ends the restore.
    given_up = said.pop("restore_in_progress", None)
    return given_up is not None, "; ".join(said.values()) or given_up or answer.get("allocate_explanation") or "no reason given"


def judge(expected, found) -> dict:
    """Compares a manifest's component with an inventory. Pure. Returns {verdict, depth, counts, differences}.

    expected: None when there is no manifest: nothing can be compared then.
    """
    if expected is None:
        return {"verdict": "unverified", "depth": None, "counts": found["counts"], "differences": []}
    uncounted = set(expected.get("uncounted") or ())
    known = {name: number for name, number in found["counts"].items() if name not in uncounted}
    differences = [dict(item, kind="counts") for item in compare_counts(expected["counts"], known)]
    if uncounted - set(found["counts"]):
        differences += [{"kind": "counts", "name": name, "expected": "some", "found": None}
                        for name in sorted(uncounted - set(found["counts"]))]
    for kind in ("mappings", "settings", "aliases", "replicas"):
        left, right = expected["objects"][kind], found["objects"][kind]
        differences += [{"kind": kind, "name": name, "expected": left.get(name), "found": right.get(name)}
                        for name in sorted(set(left) | set(right)) if left.get(name) != right.get(name)]
    complete = not uncounted
    return {"verdict": "differs" if differences else "verified" if complete else "unverified",
            "depth": "counts" if complete else "structure", "counts": found["counts"], "differences": differences}


def require_equal(result, what) -> None:
    """Raises IntegrityError for a result of judge() that differs. what: what differs, and what became of it."""
    if result["verdict"] != "differs":
        return
    first = result["differences"][0]
    more = f" (and {len(result['differences']) - 1} more)" if len(result["differences"]) > 1 else ""
    raise IntegrityError(f"The restored indices differ from the snapshot's: {first['kind']} {first['name']}, expected "
                         f"{first['expected']}, found {first['found']}{more}.", reason="restore_differs", hint=what,
                         detail={"differences": result["differences"][:50]})
