# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swaps database and storage together, back again, and removes what was replaced.

A store has kind, identities(names), possible(names) (could these names ever be renamed into each other), check(names)
(can they be now), rename(pairs) and remove(name, identity); the rest is the same for all. Whatever kills us, a rerun
looks at what lies under the names, and goes on to the side that it is asked for.

Storage goes first, the database last: its renames are one transaction, so it is the point at which the swap counts, and
a storage rename is taken back without asking any server. (Of a bucket it is the server that is asked; see buckets.py.)
"""
from __future__ import annotations

import contextlib

from ..core.errors import DrError, RefusedError, StateError, from_os_error
from .journal import Journal, only_one
from .position import BETWEEN, NEW, OLD, Pair, idle_name, renames, side

# Target side -> (state on the way, state at the end).
_STATES = {NEW: ("swapping", "swapped"), OLD: ("reverting", "reverted")}
_ORDER = ("storage", "database")


class UndoPoint:
    """One undo point. stores: {kind: store} for the halves that this swap has; journal: a Journal."""

    def __init__(self, journal: Journal, stores: dict):
        self.journal = journal
        self.stores = stores

    # What lies there

    def pairs(self) -> dict:
        return {kind: Pair.from_journal(kept) for kind, kept in self.journal.data["stores"].items()}

    def sides(self) -> dict:
        """{kind: OLD, BETWEEN or NEW}. Raises StateError when something is not of this swap."""
        return {kind: side(pair, self.stores[kind].identities(pair.names), kind) for kind, pair in self.pairs().items()}

    def possible(self, names: dict) -> dict:
        """What lies under the names {kind: {name: identity}}. Refuses names that no swap could work with, also when the
        replacement is still to be made."""
        if not names:
            raise RefusedError("There is neither a database nor a storage to swap.", reason="nothing_to_swap")
        found = {}
        for kind, wanted in names.items():
            if len(set(wanted.all())) != 3:
                raise RefusedError(f"The three names of the {kind} must differ.", reason="same_names",
                                   detail={"names": list(wanted.all())})
            self.stores[kind].possible(wanted)
            found[kind] = self.stores[kind].identities(wanted)
            if found[kind][wanted.undo] is not None:
                raise RefusedError(f"The {kind} {wanted.undo}, under which the live one is to be kept, exists already.",
                                   reason="undo_exists", hint="Give another name for undo, or remove what is there.",
                                   detail={"name": wanted.undo})
        return found

    def plan(self, names: dict) -> dict:
        """Pairs for a first swap {kind: Pair}, everything checked and nothing touched. names: {kind: Names}."""
        pairs = {}
        for kind, found in self.possible(names).items():
            wanted = names[kind]
            if found[wanted.replacement] is None:
                raise RefusedError(f"There is no {kind} {wanted.replacement} to swap in.", reason="replacement_missing",
                                   detail={"name": wanted.replacement})
            self.stores[kind].check(wanted)
            pairs[kind] = Pair(wanted, found[wanted.live], found[wanted.replacement])
        return pairs

    def same_names(self, names: dict) -> None:
        """Refuses to go on with other names than the journal has. names: {kind: Names}."""
        pairs = self.pairs()
        for kind, wanted in names.items():
            kept = pairs[kind].names if kind in pairs else None
            if wanted != kept:
                raise RefusedError(f"Undo point {self.journal.id} was begun with another {kind} than this call names.",
                                   reason="undo_point_differs",
                                   detail={"journal": kept and kept.all(), "asked": wanted.all()},
                                   hint="Leave the names out to go on with those of the journal, or use a new id.")

    # The verbs

    def begin(self, pairs: dict, facts: dict) -> None:
        """Writes the journal of a planned swap. facts: instance, run_id, recovery_point, places."""
        stores = {kind: pair.to_journal() for kind, pair in pairs.items()}
        self.journal.begin(dict(facts, state="swapping", stores=stores))

    def converge(self, target: str) -> bool:
        """Brings every store to target (OLD or NEW). Returns whether anything moved.

        When a step fails, every store is brought back to the other side, and StateError (reason rolled_back) tells the
        cause; when that fails too, reason half_swapped says which store is where.
        """
        pairs, before = self.pairs(), self.sides()
        going, arrived = _STATES[target]
        if self.journal.data["state"] == "removing":
            raise StateError(f"Undo point {self.journal.id} is being removed; there is nothing left to swap.",
                             reason="removing", hint="Finish its removal (state: absent).")
        if set(before.values()) == {target}:
            if self.journal.data["state"] != arrived:
                self.journal.state(arrived)
            return False
        if len(set(before.values())) == 1 and BETWEEN not in before.values():
            for kind in pairs:  # nothing is touched yet, so a refusal leaves everything as it is
                self.stores[kind].check(pairs[kind].names)
        self.journal.state(going)
        try:
            for kind in _ORDER:
                if kind in pairs:
                    self._move(kind, pairs[kind], target)
        except (DrError, OSError) as exc:
            self._roll_back(pairs, target, exc if isinstance(exc, DrError) else from_os_error(exc, "swapping"))
        self.journal.state(arrived)
        return True

    def _move(self, kind, pair, target, note=None) -> None:
        store, note = self.stores[kind], note or self.journal.step
        steps = renames(pair, side(pair, store.identities(pair.names), kind), target)
        if not steps:
            return
        text = ", ".join(f"{source} -> {new}" for source, new in steps)
        note(kind, text, "begin")
        store.rename(steps)
        note(kind, text, "done")

    def _roll_back(self, pairs, target, cause: DrError):
        """Brings every store back to where a swap to target began; always raises.

        The journal is only told where it can be: on a full disk the way back is not given up for it, since a rerun
        goes by what lies under the names.
        """
        origin = OLD if target == NEW else NEW
        error = {"reason": cause.reason, "msg": str(cause)}

        def tell(write, *args):
            with contextlib.suppress(OSError):
                write(*args)

        try:
            tell(self.journal.state, _STATES[origin][0], error)
            for kind in reversed(_ORDER):
                if kind in pairs:
                    self._move(kind, pairs[kind], origin, lambda *args: tell(self.journal.step, *args))
            tell(self.journal.state, _STATES[origin][1], error)
        except (DrError, OSError) as exc:
            second = exc if isinstance(exc, DrError) else from_os_error(exc, "taking the swap back")
            raise StateError(
                f"The swap failed ({cause.message}) and could not be taken back ({second.message}). Database "
                "and storage do not belong together now; Kestra must not start.", reason="half_swapped",
                hint="Remove the cause, then run the same step again: it goes on from here.",
                detail={"cause": cause.to_result(), "roll_back": second.to_result(),
                        "journal": self.journal.path}) from exc
        raise StateError(
            f"The swap failed and was taken back; database and storage are as before. {cause.message}",
            reason="rolled_back", hint=cause.hint,
            detail={"cause": cause.to_result(), "journal": self.journal.path}) from cause

    def doomed(self) -> dict:
        """What a removal would remove: {kind: name or None}. Raises RefusedError while the swap is half done."""
        if self.journal.data["state"] == "removing":
            # Written down before the first one went, for what is left cannot tell any more.
            return self.journal.data["doomed"]
        sides = self.sides()
        if len(set(sides.values())) != 1 or BETWEEN in sides.values():
            raise RefusedError("Database and storage are not on the same side of the swap; nothing is removed.",
                               reason="half_swapped", hint="Finish the swap, or take it back, first.",
                               detail={"sides": sides})
        return {kind: idle_name(pair, sides[kind]) for kind, pair in self.pairs().items()}

    def remove(self) -> dict:
        """Removes the half of each pair that is not live, and the journal: {kind: name or None}."""
        doomed, pairs = self.doomed(), self.pairs()
        if self.journal.data["state"] != "removing":
            self.journal.data["doomed"] = doomed
            self.journal.state("removing")
        for kind in _ORDER:
            name = doomed.get(kind)
            if name is None:
                continue
            pair = pairs[kind]
            self.journal.step(kind, f"remove {name}", "begin")
            self.stores[kind].remove(name, pair.old if name == pair.names.undo else pair.new)
            self.journal.step(kind, f"remove {name}", "done")
        self.journal.remove()
        return doomed


def _kept(pairs, where) -> dict:
    """What a result tells of each half."""
    found = {"database": None, "storage": None}
    for kind, pair in pairs.items():
        found[kind] = dict(zip(("live", "replacement", "undo"), pair.names.all()), kept=idle_name(pair, where))
    return found


def _picture(pairs, where) -> str:
    """Which name holds what, for --diff."""
    lines = []
    for kind, pair in sorted(pairs.items()):
        before, restored = ("the one from before", "the restored one")
        held = {pair.names.live: before if where == OLD else restored}
        held[idle_name(pair, where)] = restored if where == OLD else before
        if where == OLD and pair.old is None:
            del held[pair.names.live]
        lines += [f"{kind} {name}: {what}" for name, what in sorted(held.items(), key=str) if name is not None]
    return "\n".join(lines) + "\n"


def ensure(state, directory, point, names, stores, facts, *, confirm=None, check_mode=False) -> dict:
    """The module's body: brings the undo point to swapped, reverted or absent, or checks that it is possible.

    directory: of the journals. names: {kind: Names} as asked for (empty: those of the journal). stores: {kind: store}.
    facts: for the journal. Raises DrError.
    """
    journal = Journal(directory, point)
    if state == "possible":
        if journal.data is None:
            UndoPoint(journal, stores).possible(names)
        return _nothing(journal, state)
    if state == "absent":
        return _absent(UndoPoint(journal, stores), confirm, check_mode)
    target = NEW if state == "swapped" else OLD
    with contextlib.nullcontext() if check_mode else only_one(directory):
        journal = Journal(directory, point)
        undo = UndoPoint(journal, stores)
        fresh = journal.data is None
        if fresh and target == OLD:
            raise StateError(f"There is no undo point {point}.", reason="no_such_undo_point",
                             hint="The list playbook names those that exist.")
        if fresh:
            pairs = undo.plan(names)
            changed, resumed = True, False
        else:
            undo.same_names(names)
            pairs = undo.pairs()
            resumed = journal.data["state"] in ("swapping", "reverting")
            changed = set(undo.sides().values()) != {target}
        before = _picture(pairs, OLD if target == NEW else NEW) if changed else _picture(pairs, target)
        if not check_mode:
            if fresh:
                undo.begin(pairs, facts)
            undo.converge(target)
    return dict(_kept(pairs, target), changed=changed, id=point, state=state, journal=journal.path, resumed=resumed,
                diff={"before": before, "after": _picture(pairs, target)})


def _nothing(journal, state) -> dict:
    """The result of a call that changed nothing."""
    return {"changed": False, "id": journal.id, "state": state, "journal": journal.path, "resumed": False,
            "database": None, "storage": None, "diff": {"before": "", "after": ""}}


def _absent(undo, confirm, check_mode) -> dict:
    journal = undo.journal
    result = dict(_nothing(journal, "absent"), removed={})
    if journal.data is None:
        return result
    doomed = undo.doomed()
    named = ", ".join(name for name in doomed.values() if name) or "nothing but its journal"
    if confirm != journal.id:
        raise RefusedError(f"Undo point {journal.id} is not removed without its id typed again.",
                           reason="not_confirmed",
                           hint=f"It would remove {named}. To do it, set confirm to {journal.id}.")
    result.update(changed=True, removed=doomed, resumed=journal.data["state"] == "removing",
                  diff={"before": "".join(f"{name}\n" for name in doomed.values() if name), "after": ""})
    if not check_mode:
        with only_one(journal.directory):
            undo.remove()
    return result
