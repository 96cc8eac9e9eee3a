# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree compared with what it should be, as two sorted streams: each entry is looked at once, memory stays flat."""
from __future__ import annotations

import os
import time

from . import listing, pinned
from .drift import Tally
from .listing import Entry
from .local import Inventory

# In this order: the first that differs is the one to tell.
_ASPECTS = (
    ("type", lambda entry: entry.type),
    ("size", lambda entry: entry.size),
    ("target", lambda entry: entry.target),
    ("content", lambda entry: entry.sha256),
    ("mode", lambda entry: None if entry.type == "l" else entry.mode),
    ("owner", lambda entry: (entry.uid, entry.gid)),
    ("mtime", lambda entry: entry.mtime_ns),
)


def difference(expected: Entry, found: Entry, ignore=()):
    """The first aspect in which two entries of one path differ, by name (type ... mtime), or None.

    content is only compared when both have a digest. The mode of a symbolic link means nothing on Linux.
    """
    for name, value in _ASPECTS:
        if name in ignore or (name == "mtime" and expected.drift == "times"):
            continue
        if name == "content" and not (expected.sha256 and found.sha256):
            continue
        if value(expected) != value(found):
            return name
    return None


def compare(expected, found, ignore=()) -> dict:
    """Compares two sorted streams of entries, each read once.

    Entries of expected that are marked as drifted may be anything, and are counted as such. Result:
    {verdict: "equal"|"differs", entries, compared_digests, drifted, differences, counts: {missing, unexpected, type,
    size, target, content, mode, owner, mtime}, examples: {kind: [path]}}.
    """
    tally = Tally("missing", "unexpected", *(name for name, _value in _ASPECTS))
    entries = digests = drifted = 0
    for wanted, seen in listing.merged(expected, found):
        if wanted is not None and wanted.drift not in (None, "times"):
            drifted += 1
            continue
        if wanted is None:
            tally.add("unexpected", seen.path)
            continue
        entries += 1
        if seen is None:
            tally.add("missing", wanted.path)
            continue
        digests += bool(wanted.sha256 and seen.sha256)
        kind = difference(wanted, seen, ignore)
        if kind:
            tally.add(kind, wanted.path)
    total = sum(tally.counts.values())
    return {"verdict": "differs" if total else "equal", "entries": entries, "compared_digests": digests,
            "drifted": drifted, "differences": total, "counts": tally.counts, "examples": tally.examples()}


def compare_tree(list_path, root, *, digests=True, ignore=None, settled=False, on_progress=None) -> dict:
    """Compares the tree below root with a list of it.

    digests: also read every file and compare its sha256 where the list has one. ignore: aspects left out; by default
    the owner, unless run as root (nobody else can give files away). settled: what was held at the pin is back in its place.
    Result as compare().
    """
    return checked_tree(list_path, root, digests=digests, ignore=ignore, settled=settled, on_progress=on_progress)["comparison"]


def checked_tree(list_path, root, *, digests=True, ignore=None, settled=False, on_progress=None) -> dict:
    """compare_tree together with the inventory it is made from: the result of local.take, with comparison."""
    started = time.monotonic()
    inventory = Inventory(root, digests=digests, on_progress=on_progress)
    expected = pinned.settled(listing.read(list_path)) if settled else listing.read(list_path)
    found = compare(expected, inventory.entries(), default_ignore() if ignore is None else ignore)
    return dict(inventory.result(), root=os.fspath(root), list=None, comparison=found,
                seconds=time.monotonic() - started)


def default_ignore() -> tuple:
    """Aspects that a copy made by this user cannot keep."""
    return () if os.geteuid() == 0 else ("owner",)
