# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket out to the local copy: only what is not there yet is read, each object as it was at the pin."""
from __future__ import annotations

import os
import threading
import time

from ...core import space
from ...core.errors import DrError
from ..drift import Tally
from ..listing import merged
from . import failures, listing
from .moments import second
from .parallel import in_turn

_SHOWN_EVERY = 100


def versioned(entry) -> bool:
    """Whether an entry names a version, which never changes ("null" is overwritten)."""
    return entry.version not in (None, "null")


def same(known, pinned) -> bool:
    """Whether what is known of an object is surely the pinned one: the same version, or where there are none the same entity
    tag and time."""
    if known is None or known.sha256 is None or known.size != pinned.size or known.etag != pinned.etag:
        return False
    if versioned(known) or versioned(pinned):
        return known.version == pinned.version
    return second(known.modified) == second(pinned.modified)


class Copy:
    """One copy of a bucket. pin: the list of what to copy. on_progress as jobs.Progress.update."""

    def __init__(self, bucket, store, pin, on_progress=None):
        self._bucket, self._store, self._pin = bucket, store, pin
        self._on_progress = on_progress
        self._guard = threading.Lock()
        self._done = 0
        self._plan: dict = {}
        self._drift = Tally("deleted", "changed")
        self._totals = {"objects": 0, "markers": 0, "bytes": 0, "fetched_objects": 0, "fetched_bytes": 0}

    def plan(self) -> dict:
        """What there is to read: {objects, bytes}."""
        found = {"objects": 0, "bytes": 0}
        for pinned, known in self._pairs():
            if known is None:
                found["objects"] += 1
                found["bytes"] += pinned.size
        self._plan = found
        return found

    def _pairs(self):
        """(pinned, what is known of it and has its content, or None)."""
        for pinned, known in merged(listing.read(self._pin), self._store.known()):
            if pinned is not None:
                yield pinned, known if same(known, pinned) and self._store.has(known) else None

    def run(self, dest, last=True) -> dict:
        """Copies and writes the list to dest and into the copy. Raises RefusedError (disk_full) before it begins.

        last: another one follows if not, which finds this one's contents; nothing that is there already goes.
        """
        started = time.monotonic()
        self._store.make()
        self._store.settle()
        plan = self.plan()
        space.require(space.by_file_system([{"path": self._store.path, "bytes": plan["bytes"], "what": "the objects"}]))
        entries = in_turn(enumerate(self._pairs()), self._one, self._bucket.place.parallel)
        written = listing.write(dest, self._store.noting(self._counted(entries)))
        removed = {"files": 0, "bytes": 0}
        if last:
            listing.write(self._store.list, listing.read(dest))
            removed = self._store.finish()
        return dict(self._totals, plan=plan, list=dict(written, path=os.fspath(dest)), drift=self._result_of_drift(),
                    removed=removed, seconds=time.monotonic() - started)

    def _one(self, numbered):
        number, (pinned, known) = numbered
        if known is not None:
            about = pinned if pinned.headers else known
            return pinned, pinned._replace(sha256=known.sha256, md5=known.md5, headers=about.headers, metadata=about.metadata)
        try:
            return pinned, self._read(number, pinned, same=True)
        except DrError as exc:
            if exc.reason not in (failures.GONE, failures.CHANGED):
                raise
            if exc.reason == failures.CHANGED:
                return pinned, self._read_changed(number, pinned)
        return pinned, pinned._replace(drift="deleted")

    def _read_changed(self, number, pinned):
        """What is there now in place of what was listed."""
        try:
            return self._read(number, pinned, same=False)._replace(drift="changed")
        except DrError as exc:
            if exc.reason != failures.GONE:
                raise
            return pinned._replace(drift="deleted")

    def _read(self, number, pinned, *, same):
        with self._store.writing(str(number)) as content:
            def sink(block):
                content.write(block)
                self._read_bytes(len(block))

            found = self._bucket.read(pinned, sink, same=same)
            sha256, md5 = content.keep()
        with self._guard:
            self._totals["fetched_objects"] += 1
            self._totals["fetched_bytes"] += found.size
        # Written anew with the same content: what came with it may be of after the pin. A mark has no content to be written.
        anew = found.type == "f" and not versioned(pinned) and second(found.modified) != second(pinned.modified)
        drift = "changed" if anew else None
        return found._replace(sha256=sha256, md5=md5, drift=drift)

    def _counted(self, results):
        for pinned, entry in results:
            if entry.drift:
                self._drift.add(entry.drift, entry.path)
            if entry.drift != "deleted":
                self._totals["markers" if entry.type == "d" else "objects"] += 1
                self._totals["bytes"] += entry.size
            if (self._totals["objects"] + self._totals["markers"]) % _SHOWN_EVERY == 0:
                self._report()
            yield entry

    def _result_of_drift(self) -> dict:
        return dict(self._drift.counts, examples=self._drift.examples())

    def _read_bytes(self, count) -> None:
        with self._guard:
            self._done += count
        self._report()

    def _report(self) -> None:
        if self._on_progress:
            self._on_progress(self._done, self._plan["bytes"] or None,
                              f"{self._totals['objects'] + self._totals['markers']} objects")
