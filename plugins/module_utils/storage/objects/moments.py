# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of each object was there at a moment, from pages of a version listing. Pure.

Times are compared by whole seconds: that is how finely servers tell them, some of them cut, some not.
"""
from __future__ import annotations

import os
import tempfile
from typing import NamedTuple

from ...core.errors import RefusedError
from ...core.sorting import Sorter
from .. import listing as files
from . import listing
from .listing import Entry


class Version(NamedTuple):
    """One version of an object, or its deletion (entry None). latest: whether it is the one that is there now.

    told: False for a deletion of which is only known that it was after modified.
    """

    key: str
    modified: str
    latest: bool
    entry: Entry | None
    told: bool = True


def second(text: str) -> str:
    """A UTC text without its fraction: texts of one second are equal, and sort as times do."""
    return text[:19]


def better(best: Version | None, found: Version, moment: str | None) -> Version | None:
    """Of two versions of one key the one that was there at the moment (None: now); best may be None.

    A version beats a deletion of the same second, and the mark of a directory that the server keeps no versions of counts as
    there: an object too many is harmless, one too few is a loss. Raises RefusedError where nobody can tell.
    """
    if moment is None:
        return found if found.latest else best
    if not found.told and second(found.modified) <= second(moment):
        raise RefusedError(f"Nobody can tell whether {files.shown(os.fsencode(found.key))} was there at {moment}: it has been deleted, and the "
                           "server does not say when.", reason="moment_unknown", hint="List the bucket while Kestra is stopped instead.")
    if second(found.modified) > second(moment):
        return found if best is None and found.entry is not None and unversioned_mark(found.entry) else best
    if best is None or found.latest:
        return found
    if best.latest:
        return best
    mine, other = (second(version.modified) for version in (best, found))
    if mine != other:
        return found if other > mine else best
    # Of one second the newer version comes first.
    return found if best.entry is None and found.entry is not None else best


def unversioned_mark(entry: Entry) -> bool:
    """Whether it is the mark of a directory in a bucket whose server keeps versions, but not of these."""
    return entry.type == "d" and entry.size == 0 and entry.version == "null"


def absent(entries, pages, named_later=False):
    """Yields the entries, of a sorted list, whose version is not in the pages. Marks without versions do not count.

    named_later: what had no version yet when it was listed has got one since; it is known by its tag.
    """
    with tempfile.TemporaryDirectory(prefix="kestra-dr-versions-") as runs:
        sorter = Sorter(runs, listing.HELD)
        for versions, _next_key in pages:
            for version in versions:
                if version.entry is not None:
                    sorter.add(_identity(version.entry))
                    if named_later:
                        sorter.add(_identity(version.entry._replace(version="null")))
        there = iter(sorter)
        line = next(there, None)
        for entry in entries:
            here = _key(entry) + " "
            while line is not None and line < here:
                line = next(there, None)
            found = unversioned_mark(entry)
            while line is not None and line.startswith(here):
                found = found or line == _identity(entry)
                line = next(there, None)
            if not found:
                yield entry


def _key(entry) -> str:
    return files.key(entry.path).hex()


def _identity(entry) -> str:
    # The version "null" is overwritten: only with its tag it is what was listed.
    tag = "" if entry.version not in (None, "null") else entry.etag
    return f"{_key(entry)} {ascii(entry.version or 'null')} {ascii(tag)}"


def pick(pages, moment: str | None = None):
    """Yields the entries that were there at the moment.

    pages: (versions, next key) of each page; the versions of one key come newest first, deletions apart from the others;
    next key: the one that may go on in the next page, None at the end.
    """
    held: dict = {}
    for versions, next_key in pages:
        for version in versions:
            held[version.key] = better(held.get(version.key), version, moment)
        for key in [key for key in held if key != next_key]:
            found = held.pop(key)
            if found is not None and found.entry is not None:
                yield found.entry
    for found in held.values():
        if found is not None and found.entry is not None:
            yield found.entry
