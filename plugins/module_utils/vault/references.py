# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does every file that the database names lie in the storage? Both read once, as sorted streams: memory stays flat.

What is missing is told apart by what Kestra itself deletes:

lost       needed and not there, and nothing explains it. Work that goes on after a restore needs its files whatever
           became of them before. The only one that is a difference.
purged     nothing is left of the execution the file belongs to, and who names it has ended: PurgeExecutions without
           its rows, or files deleted with an execution whose files another one names.
deleted    a result in the database says so (Delete, PurgeCurrentExecutionFiles, whose result names the directory of
           the execution itself), or what names it is marked as deleted.
changeable no file of an execution: namespace files, keys, states and caches change under executions that have ended.
mentioned  a URI in a text, a source, a log or a message of a queue.

If not one of the files needed is there, purged ones are lost: that is no storage of this database.
"""
from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import NamedTuple

from ..core.sorting import Sorter
from ..kestra.references import DELETED, REFERENCE, UNFINISHED, execution_of, named
from ..storage import listing
from ..storage.sampling import sampled

EXAMPLES = 20
LOST, PURGED, DELETED_BY_KESTRA, CHANGEABLE, MENTIONED = KINDS = (
    "lost", "purged", "deleted", "changeable", "mentioned")
_AGES = ((1, "up to a day"), (7, "up to a week"), (30, "up to 30 days"), (365, "up to a year"))


def age(date: str, until: str) -> str:
    """How old something was at a time, in words. Both ISO 8601. Pure."""
    try:
        days = (_moment(until) - _moment(date)).total_seconds() / 86400
    except ValueError:
        return "unknown"
    return next((words for limit, words in _AGES if days <= limit), "older")


def _moment(text) -> datetime:
    # Python 3.10 reads neither a Z nor the nine digits Kestra may write.
    text = text.replace("Z", "+00:00")
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


class _Names(NamedTuple):
    """All that names one path."""

    path: bytes
    flags: int
    date: str
    owner: str


class References:
    """Reads the rows of a restored database, then looks the files up in the list of the storage.

    directory: where sorted runs may lie. created: when the recovery point was made. percent, seed: look at a part
    only, always the same one for a seed; orphans cannot be told then.
    """

    def __init__(self, directory, *, created, percent=100, seed=""):
        self._sorter = Sorter(directory)
        self._created, self._percent, self._seed = created, percent, seed
        self._rows: Counter = Counter()

    def read(self, rows) -> None:
        """rows: (table, {column: text}) of every row that holds kestra.references.NEEDLE."""
        for table, row in rows:
            self._rows[table] += 1
            for item in named(table, row):
                # The name of a directory says that Kestra deleted what was in it.
                if execution_of(item.path) == item.path or sampled(item.path, self._percent, self._seed):
                    date = "".join(item.date.split()) or "-"
                    self._sorter.add(f"{listing.key(item.path).hex()} {item.flags} {_ascii(date)} {_ascii(item.owner)}")

    def _names(self):
        last = None
        for line in self._sorter:
            path, flags, date, owner = line.split(" ", 3)
            date = "" if date == "-" else date
            if last is None or last[0] != path:
                if last is not None:
                    yield _unpacked(*last)
                last = (path, int(flags), date, owner)
            else:
                # Sorted, so that the first date is not the least of all only if it was not known.
                last = (path, last[1] | int(flags), min(filter(None, (last[2], date)), default=""), owner)
        if last is not None:
            yield _unpacked(*last)

    def judge(self, entries) -> dict:
        """entries: of the storage's list, in its order.

        Returns {"rows" {table: n}, "named", "opened", "missing" {kind: n}, "first" {kind: [path]}, "by_age",
        "by_namespace", "by_flow" (of the missing ones that are needed, at most 20 each), "gone_since_pin",
        "orphans" {files, bytes} or None, "percent", "seed"}.
        """
        tally = _Tally(self._created)
        group = _Group(None)
        for name, entry in listing.merged(self._names(), entries):
            path = (name or entry).path
            directory = execution_of(path)
            if directory != group.directory:
                group.close(tally)
                group = _Group(directory)
            group.take(name, entry, tally)
        group.close(tally)
        result = tally.result()
        whole = self._percent >= 100
        result.update(rows=dict(sorted(self._rows.items())), percent=self._percent, seed=None if whole else self._seed)
        if not whole:
            result["orphans"] = None
        return result


class _Group:
    """The files of one execution, or others in a row (directory None). What is missing is judged at its end."""

    def __init__(self, directory):
        self.directory = directory
        self._left = self._purged = False
        self._missing: Counter = Counter()
        self._paths: dict = {}
        self._since_pin = 0

    def take(self, name, entry, tally) -> None:
        """name, entry: of one path, either may be None."""
        there = entry is not None and entry.drift not in listing.ABSENT
        if name is not None and self.directory == name.path:
            self._purged = self._purged or bool(name.flags & REFERENCE)
            return
        if there and entry.type != "d" and self.directory is not None:
            self._left = True
            if name is None and entry.drift != "added" and not entry.path.endswith(b".metadata"):
                tally.orphan(entry)
        if name is None:
            return
        if there:
            tally.opened(name)
            return
        what = (name.flags, tally.age(name.date), name.owner)
        self._missing[what] += 1
        paths = self._paths.setdefault(name.flags, [])
        if len(paths) < EXAMPLES:
            paths.append(name.path)
        self._since_pin += entry is not None

    def close(self, tally) -> None:
        """Tells what is missing."""
        for (flags, old, owner), number in self._missing.items():
            tally.missing(self.kind(flags), number, old, owner)
        for flags, paths in self._paths.items():
            tally.examples(self.kind(flags), paths)
        tally.gone_since_pin += self._since_pin

    def kind(self, flags) -> str:
        """What a missing file is."""
        if not flags & REFERENCE:
            return MENTIONED
        if flags & DELETED or self._purged:
            return DELETED_BY_KESTRA
        if self.directory is None:
            return CHANGEABLE
        return LOST if flags & UNFINISHED or self._left else PURGED


class _Tally:
    def __init__(self, created):
        self._created = created
        self._named = self._opened = 0
        self._missing = dict.fromkeys(KINDS, 0)
        self._first: dict = {kind: [] for kind in KINDS}
        self._by: dict = {key: Counter() for key in ("age", "namespace", "flow")}
        self._orphans = {"files": 0, "bytes": 0}
        self.gone_since_pin = 0

    def age(self, date) -> str:
        return age(date, self._created)

    def opened(self, name) -> None:
        if name.flags & REFERENCE:
            self._named += 1
            self._opened += 1

    def missing(self, kind, number, old, owner) -> None:
        self._missing[kind] += number
        if kind != MENTIONED:
            self._named += number
            self._by["age"][old] += number
            self._by["namespace"][owner.partition("/")[0] or "none"] += number
            self._by["flow"][owner or "none"] += number

    def examples(self, kind, paths) -> None:
        room = EXAMPLES - len(self._first[kind])
        self._first[kind] += [listing.shown(path) for path in paths[:room]]

    def orphan(self, entry) -> None:
        self._orphans["files"] += 1
        self._orphans["bytes"] += entry.size

    def result(self) -> dict:
        if self._missing[PURGED] and not self._opened:
            self._missing[LOST] += self._missing[PURGED]
            self._first[LOST] = (self._first[LOST] + self._first[PURGED])[:EXAMPLES]
            self._missing[PURGED], self._first[PURGED] = 0, []
        return {"named": self._named, "opened": self._opened, "missing": dict(self._missing),
                "first": {kind: paths for kind, paths in self._first.items() if paths},
                **{f"by_{key}": dict(found.most_common(EXAMPLES)) for key, found in self._by.items()},
                "gone_since_pin": self.gone_since_pin, "orphans": self._orphans}


def _unpacked(path, flags, date, owner) -> _Names:
    return _Names(bytes.fromhex(path).replace(b"\0", b"/"), flags, date, owner.encode().decode("unicode_escape"))


def _ascii(text) -> str:
    """In ASCII and on one line, to be undone by unicode_escape."""
    return text.encode("unicode_escape").decode("ascii")


def summary(found) -> str:
    """What was found, for people. found: of References.judge."""
    missing = found["missing"]
    notes = [f"{missing[kind]} {words}" for kind, words in (
        (LOST, "LOST"), (PURGED, "purged with their execution"), (DELETED_BY_KESTRA, "deleted by Kestra"),
        (CHANGEABLE, "other files no longer there")) if missing[kind]]
    if found["orphans"] and found["orphans"]["files"]:
        notes.append(f"{found['orphans']['files']} files no row names")
    part = "" if found["percent"] >= 100 else f" of a sample of {found['percent']} % (seed {found['seed']})"
    there = f"{found['opened']} of {found['named']} files named are there{part}"
    return "; ".join([there] + ([", ".join(notes)] if notes else []))
