# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's local storage as it lies on disk: a sorted walk in flat memory, with digests.

Names are bytes all the way. Files come and go while Kestra works: what vanishes during the walk is left out.
"""
from __future__ import annotations

import hashlib
import heapq
import itertools
import os
import stat
import tempfile
import time

from ..core.errors import ConfigError, RefusedError
from ..core.files import CHUNK
from . import listing, part, pinned
from .drift import Drift
from .listing import Entry

# Names of one directory that are held in memory; more go to sorted runs on disk.
NAMES_IN_MEMORY = 100_000
_EXAMPLES = 10
_RUN_BLOCK = 1 << 16
# Time stamps of files move in steps of the kernel's tick (up to 10 ms): a younger change may hide a later one.
_TICK_NS = 30_000_000


class Refusals:
    """What must not be in the storage, all counted, some named: links that cannot be copied, and special files."""

    def __init__(self):
        self.counts = {"symlinks": 0, "special": 0}
        self.examples: list = []

    def add(self, kind: str, path: bytes, why: str) -> None:
        self.counts[kind] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"path": listing.shown(path), "why": why})

    def raise_for(self, root) -> None:
        """Raises RefusedError when there was anything."""
        if not any(self.counts.values()):
            return
        first = self.examples[0]
        raise RefusedError(
            f"The storage {root} holds {self.counts['symlinks']} symbolic links that cannot be copied and "
            f"{self.counts['special']} special files; the first is {first['path']} ({first['why']}).",
            reason="storage_not_portable",
            hint="A copy would lose what they stand for. Remove them, or put the data itself into the storage.",
            detail=dict(self.counts, examples=self.examples))


def sorted_names(directory: bytes, in_memory=None):
    """Yields the names in a directory, sorted by bytes, never holding more than in_memory of them."""
    limit = in_memory or NAMES_IN_MEMORY
    names, runs = [], []
    try:
        with os.scandir(directory) as found:
            for item in found:
                names.append(item.name)
                if len(names) >= limit:
                    runs.append(_run(names))
                    names = []
        names.sort()
        yield from heapq.merge(names, *(_names_of(run) for run in runs)) if runs else names
    finally:
        for run in runs:
            run.close()


def _run(names):
    names.sort()
    handle = tempfile.TemporaryFile(prefix="kestra-dr-names-")
    handle.write(b"\0".join(names))
    handle.seek(0)
    return handle


def _names_of(handle):
    rest = b""
    for block in iter(lambda: handle.read(_RUN_BLOCK), b""):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
    if rest:
        yield rest


def walk(root, refusals: Refusals | None = None, what=part.ALL):
    """Yields an Entry, without digest, for everything below root in the order of listing.key.

    what: part.MUTABLE is that part and the directories above it; no directory of an execution is read.
    refusals collects what must not be there; without it such things raise at once. Raises ConfigError when root is no
    directory. An unreadable directory raises PermissionError: a list with holes is none.
    """
    base = os.fsencode(root)
    if not os.path.isdir(base) or os.path.islink(base):
        raise ConfigError(f"{root} is not a directory (a symbolic link must be given as its target).",
                          reason="storage_missing", detail={"path": os.fspath(root)})
    real = os.path.realpath(base)
    strict = refusals is None
    refused = Refusals() if refusals is None else refusals
    stack = [(b"", sorted_names(base))]
    try:
        while stack:
            above, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            path = above + name
            if what == part.MUTABLE and part.of_execution(path):
                continue
            entry = _entry(base, real, path, refused)
            if strict:
                refused.raise_for(root)
            if entry is None:
                continue
            if entry.type == "d":
                names = _opened(os.path.join(base, path), what == part.MUTABLE and part.of_executions(path))
                if names is None:
                    continue
                stack.append((path + b"/", names))
            if what == part.ALL or entry.type == "d" or part.mutable(path):
                yield entry
    finally:
        for _above, names in stack:
            names.close()


def _opened(directory: bytes, executions=False):
    """The names in a directory, or None when it is gone. The first one is fetched here, to see that.

    executions: it may hold those of a flow, which are left out.
    """
    names = _beside_executions(directory) if executions else sorted_names(directory)
    try:
        first = next(names, None)
    except FileNotFoundError:
        return None
    return _chained(first, names)


def _beside_executions(directory: bytes):
    with os.scandir(directory) as found:
        holds = any(part.is_id(item.name) for item in itertools.islice(found, len(part.SURE) + 1))
    if holds:
        yield from (name for name in sorted(part.SURE) if os.path.lexists(os.path.join(directory, name)))
    else:
        yield from sorted_names(directory)


def _chained(first, names):
    if first is not None:
        yield first
        yield from names


def _entry(base: bytes, real: bytes, path: bytes, refused: Refusals):
    whole = os.path.join(base, path)
    try:
        status = os.lstat(whole)
        target = os.readlink(whole) if stat.S_ISLNK(status.st_mode) else None
    except FileNotFoundError:
        return None
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind, size = "f", status.st_size
    elif stat.S_ISDIR(mode):
        kind, size = "d", 0
    elif target is not None:
        kind, size = "l", 0
        if leaves(real, path, target):
            refused.add("symlinks", path, "leads out of it, to " + listing.shown(target))
        elif not _is_utf8(target):
            # restic before 0.16 stores another target (seen with 0.14: a replacement character for each such byte)
            refused.add("symlinks", path, "its target is not UTF-8, which not every restic keeps")
    else:
        refused.add("special", path, "is neither file, directory nor symbolic link")
        return None
    return Entry(path, kind, size, stat.S_IMODE(mode), status.st_uid, status.st_gid, status.st_mtime_ns,
                 status.st_ctime_ns, None, target)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def leaves(real: bytes, path: bytes, target: bytes) -> bool:
    """Whether a link at path below the real root leads out of the tree, as written or as the system follows it.

    An absolute target always does: it would lead from the restored tree into the live one.
    """
    if target.startswith(b"/"):
        return True
    written = os.path.normpath(os.path.join(os.path.dirname(path), target))
    followed = os.path.realpath(os.path.join(real, path))
    return written == b".." or written.startswith(b"../") or not (followed + b"/").startswith(real.rstrip(b"/") + b"/")


def digest(root, entry: Entry, on_bytes=None) -> Entry | None:
    """entry with the sha256 of its content and the status that belongs to it; None when it is gone or no file any more.

    A file that changes while it is read is read once more; if it changes again it has no digest and is marked.
    """
    whole = os.path.join(os.fsencode(root), entry.path)
    for _attempt in range(2):
        try:
            handle = os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            if not os.path.lexists(whole) or os.path.islink(whole):
                return None
            raise
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                return None
            hashed = hashlib.sha256()
            wanted = min(CHUNK, before.st_size + 1)  # a small file needs no large buffer
            for block in iter(lambda handle=handle, wanted=wanted: os.read(handle, wanted), b""):
                hashed.update(block)
                if on_bytes:
                    on_bytes(len(block))
            after = _settled(handle)
        finally:
            os.close(handle)
        rested = (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (after.st_size, after.st_mtime_ns,
                                                                              after.st_ctime_ns)
        found = Entry(entry.path, "f", after.st_size, stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid,
                      after.st_mtime_ns, after.st_ctime_ns, hashed.hexdigest() if rested else None, None,
                      None if rested else "changed")
        if rested:
            break
    return found


def _settled(handle) -> os.stat_result:
    """The status of a file once any further change would show in its ctime."""
    status = os.fstat(handle)
    young = _TICK_NS - (time.time_ns() - status.st_ctime_ns)
    if not 0 < young <= _TICK_NS:
        return status
    time.sleep(young / 1e9)
    return os.fstat(handle)


def unchanged(earlier: Entry, entry: Entry) -> bool:
    """Whether a file is surely the same, so that its digest may be reused: nobody can set the ctime."""
    return (entry.type == earlier.type == "f" and entry.ctime_ns is not None
            and (entry.size, entry.mtime_ns, entry.ctime_ns) == (earlier.size, earlier.mtime_ns, earlier.ctime_ns))


class Inventory:
    """Takes the inventory of a tree in one pass. on_progress as jobs.Progress.update.

    reuse: an earlier list of the same tree; the digests of unchanged files come from it.
    compare: an earlier list; what differs from it is counted as drift and marked in the entries.
    what: part.MUTABLE takes only that part. hold: then a tar in which its contents are held (see pinned).
    mutable: a list of the mutable part, in the place of what is there now. held: compare has it so, from a tar like hold.
    """

    def __init__(self, root, *, digests=False, reuse=None, compare=None, what=part.ALL, hold=None, mutable=None, held=False,
                 on_progress=None):
        self._root = root
        self._digests = digests
        self._reuse = reuse
        self._what, self._hold, self._mutable = what, hold, mutable
        self._on_progress = on_progress
        self._hashed = self._reused = self._hashed_bytes = 0
        self._totals = {"entries": 0, "files": 0, "directories": 0, "symlinks": 0, "bytes": 0}
        self._drift = Drift(held) if compare else None
        self._compare = compare
        self._refusals = Refusals()

    def entries(self):
        """The entries, sorted. With compare also those that are gone, marked as deleted and not counted in result()."""
        for earlier, entry in self._against_compare():
            if self._drift is not None:
                entry = self._drift.judge(earlier, entry)
            if entry.drift not in listing.ABSENT:
                self._count(entry)
            yield entry
        self._refusals.raise_for(self._root)

    def result(self) -> dict:
        """Totals, once entries() has been read to its end."""
        found = dict(self._totals, hashed_files=self._hashed, hashed_bytes=self._hashed_bytes,
                     reused_files=self._reused)
        if self._drift is not None:
            found["drift"] = self._drift.result()
        return found

    def _against_compare(self):
        current = self._with_digests()
        if self._drift is None:
            return ((None, entry) for entry in current)
        return listing.merged((item for item in listing.read(self._compare) if item.drift != "deleted"), current)

    def _with_digests(self):
        found = walk(self._root, self._refusals, self._what)
        if self._hold:
            found = pinned.hold(self._root, found, self._hold)
        if self._mutable:
            found = pinned.replaced(found, listing.read(self._mutable))
        if not self._digests:
            yield from found
            return
        known = listing.read(self._reuse) if self._reuse else ()
        for earlier, entry in listing.merged(known, found):
            if entry is None:
                continue
            if entry.type == "f" and earlier is not None and earlier.sha256 and unchanged(earlier, entry):
                self._reused += 1
                entry = entry._replace(sha256=earlier.sha256)
            elif entry.type == "f":
                entry = digest(self._root, entry, self._on_bytes)
                if entry is None:
                    continue
                self._hashed += 1
            yield entry

    def _on_bytes(self, count):
        self._hashed_bytes += count
        self._report()

    def _count(self, entry: Entry):
        self._totals["entries"] += 1
        self._totals[{"f": "files", "d": "directories", "l": "symlinks"}[entry.type]] += 1
        self._totals["bytes"] += entry.size
        if self._totals["entries"] % 1000 == 0:
            self._report()

    def _report(self):
        if self._on_progress:
            self._on_progress(self._hashed_bytes if self._digests else self._totals["entries"], None,
                              f"{self._totals['entries']} entries", "bytes" if self._digests else "entries")


def take(root, dest=None, **options) -> dict:
    """The inventory of a tree, written to dest when given: Inventory's result with root, seconds and, then, list.

    list: {path, sha256, entries}. options are those of Inventory.
    """
    started = time.monotonic()
    inventory = Inventory(root, **options)
    written = None
    if dest is not None:
        written = dict(listing.write(dest, inventory.entries()), path=os.fspath(dest))
    else:
        for _entry_ in inventory.entries():
            pass
    return dict(inventory.result(), root=os.fspath(root), list=written, seconds=time.monotonic() - started)
