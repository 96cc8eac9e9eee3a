# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of Kestra's indices put in the live ones' place; what they replace is kept as another set of copies.

An index cannot be renamed: it is cloned, which links its files where they lie, and the old one deleted by its name. How
far a swap is, is written on the set that is kept (marks.py): a rerun after a kill goes on from there.
"""
from __future__ import annotations

from dataclasses import dataclass

from ...core.clock import Laps
from ...core.errors import IntegrityError, RefusedError
from . import connect, inventory, landing, marks, names, restore


@dataclass(frozen=True)
class Options:
    """copies: the set to put in place. undo: the set the replaced indices become."""

    copies: str
    undo: str
    stall_timeout: float = 300.0

    @property
    def copies_prefix(self) -> str:
        return names.copies(self.copies)

    @property
    def undo_prefix(self) -> str:
        return names.copies(self.undo)


def preflight(cluster, prefix, options, expected) -> dict:
    """What would be swapped: {copies, live, undo, stage}. Raises RefusedError, IntegrityError."""
    if options.copies_prefix == options.undo_prefix:
        raise RefusedError("The set to put in place and the set to keep have the same name.", reason="bad_name")
    copies = inventory.listed(cluster, options.copies_prefix + prefix)
    live = inventory.listed(cluster, prefix)
    undo = inventory.listed(cluster, options.undo_prefix + prefix)
    inventory.require_plain(live)
    kept = marks.read(cluster, options.undo_prefix + prefix)
    stage = stage_of(kept, options)
    held = [name[len(options.copies_prefix):] for name in copies["indices"]]
    names.require_lengths(options.undo_prefix, live["indices"])
    if stage != marks.SWAPPED:
        if not held:
            raise RefusedError(f"There are no copies of the set {options.copies}.", reason="copies_missing",
                               hint="Restore beside first: elasticsearch_restore with mode: beside.")
        if not marks.is_whole(options.copies, marks.read(cluster, options.copies_prefix + prefix)):
            raise RefusedError(f"The set {options.copies} is not whole: its restore did not end well, or a part of it is gone.",
                               reason="copies_incomplete", hint="Restore beside again.", detail={"indices": held})
        found = inventory.read(cluster, prefix, of_copies=options.copies_prefix, with_counts=True, with_objects=True)
        landing.require_equal(landing.judge(expected, found), "The copies are not put in place. Restore beside again.")
    if stage is None and any(kept.values()):
        raise RefusedError(f"There is a set {options.undo} already.", reason="undo_exists",
                           hint="Choose another name for what is kept.", detail={"indices": undo["indices"]})
    return {"copies": held, "live": live["indices"], "undo": undo["indices"], "stage": stage}


def stage_of(kept, options):
    """How far the swap is by what the kept set says: None, kept or swapped. kept: of marks.read(). Pure."""
    for stage in (marks.SWAPPED, marks.KEPT):
        if any(marks.stage(options.undo, stage, options.copies) in found for found in kept.values()):
            return stage
    return None


def swap(cluster, prefix, options, progress, expected=None) -> dict:
    """Puts the copies in place. Returns {indices, kept, deleted, counts, seconds, already}.

    progress: core.jobs.Progress; phases: preflight, keeping, swapping, finished. When the copies cannot be put in place
    the replaced indices come back by themselves. Raises DrError.
    """
    watch = Laps()
    progress.phase("preflight")
    plan = preflight(cluster, prefix, options, expected)
    watch.lap("preflight")
    if plan["stage"] == marks.SWAPPED:
        landing.delete(cluster, [options.copies_prefix + name for name in plan["copies"]])
        return _result(cluster, prefix, options, watch, progress, already=True)
    if plan["stage"] is None:
        progress.phase("keeping", indices=plan["live"])
        _keep(cluster, prefix, options, plan, progress)
        watch.lap("keeping")
    progress.phase("swapping", indices=plan["copies"])
    try:
        sources = [options.copies_prefix + name for name in plan["copies"]]
        _put(cluster, prefix, options, sources, options.copies_prefix, progress)
    except Exception as exc:
        _put_back(cluster, prefix, options, progress, exc)
        raise
    # Without anything replaced there is nothing to write on, nor to lose.
    kept = inventory.listed(cluster, options.undo_prefix + prefix)["indices"]
    marks.write(cluster, kept, marks.stage(options.undo, marks.SWAPPED, options.copies))
    watch.lap("swapping")
    landing.delete(cluster, [options.copies_prefix + name for name in plan["copies"]])
    return _result(cluster, prefix, options, watch, progress, already=False)


def _result(cluster, prefix, options, watch, progress, already) -> dict:
    found = inventory.read(cluster, prefix, with_counts=True)
    kept = inventory.listed(cluster, options.undo_prefix + prefix)["indices"]
    progress.phase("finished", kept=kept)
    replaced = [name[len(options.undo_prefix):] for name in kept]
    return {"indices": found["indices"], "kept": kept, "deleted": replaced, "counts": found["counts"],
            "seconds": watch.laps, "already": already}


def _keep(cluster, prefix, options, plan, progress) -> None:
    """Clones the live indices into the set that is kept, under aliases of that set. The live ones take no more writes."""
    landing.delete(cluster, plan["undo"])
    if not plan["live"]:
        return
    try:
        _clone(cluster, prefix, plan["live"], "", options.undo_prefix, options, progress)
        aliases = inventory.definitions(cluster, prefix)["aliases"]
        restore.give_aliases(cluster, aliases, options.undo_prefix)
        _require_same(cluster, prefix, "", options.undo_prefix)
    except Exception:
        # Nothing was replaced yet: Kestra has to be able to go on with what it has.
        for name in plan["live"]:
            _block_writes(cluster, name, None)
        raise
    kept = [options.undo_prefix + name for name in plan["live"]]
    marks.write(cluster, kept, marks.whole(options.undo, len(kept)), marks.stage(options.undo, marks.KEPT, options.copies))


def _clone(cluster, prefix, sources, strip, add, options, progress) -> None:
    """Clones indices under the name without strip and with add, and waits until every shard has started."""
    target = [add + name[len(strip):] for name in sources]
    replicas = inventory.definitions(cluster, strip + prefix, strip)["replicas"]
    for source, name in zip(sources, target):
        # An index that takes writes cannot be cloned, and its clone takes none either.
        _block_writes(cluster, source, True)
        cluster.request("PUT", connect.path_of(source, "_clone", name), params={"wait_for_active_shards": "0"},
                        body={"settings": replicas[source[len(strip):]]}, doing=f"cloning {source} to {name}")
    landing.await_started(cluster, add + prefix, target, options.stall_timeout, progress, "cloning")


def _block_writes(cluster, index, value) -> None:
    cluster.request("PUT", connect.path_of(index, "_settings"), body={"index.blocks.write": value},
                    doing=f"setting whether {index} takes writes")


def _put(cluster, prefix, options, sources, set_prefix, progress) -> None:
    """Deletes what is live and clones a set into its place, with its aliases under their own names again."""
    # Only a part may be there, after a kill; all of it is in the set that is kept.
    landing.delete(cluster, inventory.listed(cluster, prefix)["indices"])
    _clone(cluster, prefix, sources, set_prefix, "", options, progress)
    restore.give_aliases(cluster, inventory.definitions(cluster, set_prefix + prefix, set_prefix)["aliases"])
    _require_same(cluster, prefix, set_prefix, "")
    for name in sources:
        _block_writes(cluster, name[len(set_prefix):], None)


def _require_same(cluster, prefix, one, other) -> None:
    """Raises IntegrityError when two sets differ in names, documents, mappings, settings or aliases."""
    left, right = (inventory.read(cluster, prefix, of_copies=start, with_counts=True, with_objects=True)
                   for start in (one, other))
    result = landing.judge({"counts": left["counts"], "objects": left["objects"]}, right)
    if result["verdict"] == "differs":
        first = result["differences"][0]
        raise IntegrityError(f"A clone differs: {first['kind']} {first['name']}, expected {first['expected']}, found "
                             f"{first['found']}.", reason="clone_differs", detail={"differences": result["differences"][:50]})


def _put_back(cluster, prefix, options, progress, error) -> None:
    """Brings the replaced indices back. When that fails too, says so beside the first error."""
    kept = inventory.listed(cluster, options.undo_prefix + prefix)["indices"]
    if not kept:
        return
    try:
        _put(cluster, prefix, options, kept, options.undo_prefix, progress)
    except Exception as exc:
        raise IntegrityError(f"The swap failed ({error}), and the replaced indices did not come back by themselves ({exc}).",
                             reason="swap_broken", hint=f"They are whole under names that begin with {options.undo_prefix}. Do not "
                             "start Kestra; free what is in the way and run the swap again, or swap that set back.",
                             detail={"kept": kept}) from None
    landing.delete(cluster, kept)
