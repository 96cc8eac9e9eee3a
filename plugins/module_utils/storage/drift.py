# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed in a storage between two lists of it. Pure."""
from __future__ import annotations

from . import listing, part
from .listing import LATER, PINNED, Entry

_EXAMPLES = 20


class Tally:
    """Counts by kind, with the first paths of each kind."""

    def __init__(self, *kinds):
        self.counts = dict.fromkeys(kinds, 0)
        self._examples: dict = {kind: [] for kind in kinds}

    def add(self, kind: str, path: bytes) -> None:
        self.counts[kind] += 1
        if len(self._examples[kind]) < _EXAMPLES:
            self._examples[kind].append(listing.shown(path))

    def examples(self) -> dict:
        return {kind: paths for kind, paths in self._examples.items() if paths}


def drift_of(earlier: Entry | None, later: Entry | None):
    """What happened to an entry between two lists: "deleted", "changed", "added", "times" or None.

    "times" is a directory in which something came or went: its own change says nothing that its entries do not.
    """
    if later is None:
        return "deleted"
    if earlier is None:
        return "added"
    if earlier.type != later.type or (earlier.mode, earlier.uid, earlier.gid) != (later.mode, later.uid, later.gid):
        return "changed"
    if earlier.target != later.target or earlier.size != later.size:
        return "changed"
    if earlier.sha256 and later.sha256 and earlier.sha256 != later.sha256:
        return "changed"
    same_times = (earlier.mtime_ns, earlier.ctime_ns) == (later.mtime_ns, later.ctime_ns)
    if later.type == "d":
        return None if same_times else "times"
    return None if same_times else "changed"


class Drift:
    """Judges pairs of an earlier and a later list, and counts. held: the mutable part was held when the earlier one was made."""

    def __init__(self, held=False):
        self._held = held
        self._tally = Tally("deleted", "changed", "added", *((PINNED, LATER) if held else ()))

    def judge(self, earlier: Entry | None, later: Entry | None) -> Entry:
        """The entry for the later list, marked with its drift."""
        entry = later if later is not None else earlier
        kind = drift_of(earlier, later)
        if later is not None and later.drift == "changed":
            kind = kind if kind == "added" else "changed"
        if self._held and kind is not None:
            entry, kind = self._as_held(earlier, entry, kind)
        if kind in self._tally.counts:
            self._tally.add(kind, entry.path)
        return entry if kind is None else entry._replace(drift=kind)

    @staticmethod
    def _as_held(earlier, entry, kind):
        # A directory above it, too: without it nothing in it can come back.
        above = earlier is not None and earlier.type == "d" and not part.of_execution(entry.path)
        if kind in ("deleted", "changed") and (above or part.mutable(entry.path)):
            return earlier, PINNED
        return entry, LATER if kind == "added" and part.mutable(entry.path) else kind

    def result(self) -> dict:
        """{deleted, changed, added, examples: {kind: [path]}}, with what was held also pinned and later."""
        return dict(self._tally.counts, examples=self._tally.examples())
