# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the swap of one pair stands, and which renames bring it to the side that is wanted. Pure.

A pair has three names: live, replacement, undo. What lies under them is told by identities that a rename does not
change (a database's oid, a directory's inode), never by the names alone: somebody may have made a new one meanwhile.

    OLD       live = old,     replacement = new, undo = -
    BETWEEN   live = -,       replacement = new, undo = old     (only where two renames are not one step)
    NEW       live = new,     replacement = -,   undo = old

Reverting is the way back on the same names, so the restored pair ends under the replacement's name and is never lost.
A live one that did not exist (old is None) is no obstacle: its replacement takes the name.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass

from ..core.errors import StateError

OLD, BETWEEN, NEW = "old", "between", "new"


@dataclass(frozen=True)
class Names:
    """The three names of a pair."""

    live: str
    replacement: str
    undo: str

    def all(self) -> tuple:
        return (self.live, self.replacement, self.undo)


@dataclass(frozen=True)
class Pair:
    """A pair as it was when the swap was planned. old: identity of the live one, or None; new: of its replacement."""

    names: Names
    old: int | None
    new: int

    def to_journal(self) -> dict:
        return dict(asdict(self.names), old=self.old, new=self.new)

    @classmethod
    def from_journal(cls, kept: dict) -> Pair:
        return cls(Names(kept["live"], kept["replacement"], kept["undo"]), kept["old"], kept["new"])


def side(pair: Pair, found: dict, what: str) -> str:
    """OLD, BETWEEN or NEW. found: {name: identity or None}; what: "database" or "storage", for the message.

    Raises StateError for anything else: then somebody else has been at work, and guessing could lose data.
    """
    live, replacement, undo = (found.get(name) for name in pair.names.all())
    known = {(pair.old, pair.new, None): OLD, (pair.new, None, pair.old): NEW}
    if pair.old is not None:
        known[(None, pair.new, pair.old)] = BETWEEN
    try:
        return known[(live, replacement, undo)]
    except KeyError:
        pass
    meaning = {None: "missing", pair.new: "the restored one"}
    if pair.old is not None:
        meaning[pair.old] = "the one from before"
    raise StateError(
        f"The {what} is not as this swap leaves it: " + ", ".join(
            f"{name} is {meaning.get(identity, 'something else')}"
            for name, identity in zip(pair.names.all(), (live, replacement, undo))) + ".",
        reason="swap_state",
        hint="Somebody else renamed, removed or made one of them; nothing was changed. Look at them first.",
        detail={"names": asdict(pair.names), "found": {name: found.get(name) for name in pair.names.all()}})


def renames(pair: Pair, where: str, target: str) -> list:
    """The renames [(from, to)] that lead from where to target (OLD or NEW), in their order."""
    names = pair.names
    if where == target:
        return []
    if target == NEW:
        aside = [] if pair.old is None or where == BETWEEN else [(names.live, names.undo)]
        return aside + [(names.replacement, names.live)]
    aside = [] if where == BETWEEN else [(names.live, names.replacement)]
    return aside + ([] if pair.old is None else [(names.undo, names.live)])


def idle_name(pair: Pair, where: str):
    """The name of the half that is not live on a side, or None when there is none."""
    if where == NEW:
        return None if pair.old is None else pair.names.undo
    return pair.names.replacement
