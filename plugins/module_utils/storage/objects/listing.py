# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of a bucket: one JSON line per object, gzip, sorted, read and written as a stream.

A line: {"k": key below the prefix, "s": size, "e": entity tag, "t": when it was written, "v": version id, "h": sha256,
"m": md5, "c": headers, "u": user metadata, "d": drift}. Empty members are left out. A list taken at the pin has no digests, and
no headers and metadata unless the server lists them; they come when the objects are read.
"d" says that the object was not the same when it was to be copied: "deleted" (there is no copy of it) or "changed"
(what is listed is the copy, which is younger than the pin).
"""
from __future__ import annotations

import json
import os
import re
import tempfile
from typing import NamedTuple

from ...core.errors import RefusedError
from ...core.sorting import Sorter
from .. import listing

DRIFTS = ("deleted", "changed")
# Below the prefix of Kestra's storage: what probe.py writes for a moment. No tenant's name begins with a dot.
PROBES = ".kestra-dr-probe/"
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Lines held in memory while a list is sorted.
HELD = 20_000


class Entry(NamedTuple):
    """One object. key: below the prefix; modified: UTC text; version: "null" is the one a bucket had before versioning,
    None where there are no versions. headers: {boto3's name: text}."""

    key: str
    size: int
    etag: str
    modified: str
    version: str | None = None
    sha256: str | None = None
    md5: str | None = None
    headers: dict | None = None
    metadata: dict | None = None
    drift: str | None = None

    @property
    def path(self) -> bytes:
        """What lists are sorted and merged by."""
        return self.key.encode("utf-8", "surrogatepass")

    @property
    def type(self) -> str:
        """As in the list of a directory tree: "d" for the mark of a directory, also for that of the prefix."""
        return "f" if self.key and not self.key.endswith("/") else "d"


_NAMES = {"s": "size", "e": "etag", "t": "modified", "v": "version", "h": "sha256", "m": "md5", "c": "headers",
          "u": "metadata", "d": "drift"}
_NEEDED = ("s", "e", "t")


def encode(entry: Entry) -> str:
    """The line of an object, without the newline."""
    record = {short: getattr(entry, name) for short, name in _NAMES.items()}
    record = {short: value for short, value in record.items() if short in _NEEDED or value}
    return _ENCODE(dict(record, k=entry.key))


def decode(line: str) -> Entry:
    """The object of a line. Raises ValueError, KeyError or TypeError for a line that is none."""
    record = json.loads(line)
    values = {name: record[short] if short in _NEEDED else record.get(short) for short, name in _NAMES.items()}
    entry = Entry(key=record["k"], **values)
    if "\0" in entry.key or not isinstance(entry.size, int) or entry.size < 0:
        raise ValueError("not an entry")
    # A digest becomes a file name.
    if entry.sha256 is not None and not _SHA256.fullmatch(entry.sha256):
        raise ValueError("not a digest")
    if entry.drift is not None and entry.drift not in DRIFTS:
        raise ValueError("unknown drift")
    return entry


def write(path, entries) -> dict:
    """As storage.listing.write."""
    return listing.write(path, entries, encode)


def read(path):
    """As storage.listing.read."""
    return listing.read(path, decode)


def read_as_named(path):
    """As read, by the keys that the database names: before Kestra 0.23 all began with a slash more, and some may be left of then."""
    slashed = (entry._replace(key=entry.key[1:]) for entry in read(path) if entry.key.startswith("/"))
    others = (entry for entry in read(path) if not entry.key.startswith("/"))
    return (now or before for now, before in listing.merged(others, slashed))


def in_order(entries, directory=None):
    """Yields Kestra's entries sorted as lists are, whatever the order the server gives them in; directory: for sorted runs.

    Raises RefusedError for keys that no list can hold.
    """
    with tempfile.TemporaryDirectory(prefix="kestra-dr-objects-", dir=directory) as runs:
        sorter = Sorter(runs, HELD)
        for entry in entries:
            if entry.key.startswith(PROBES):
                continue
            check_key(entry.key)
            sorter.add(f"{listing.key(entry.path).hex()} {encode(entry)}")
        last = None
        for line in sorter:
            here, _blank, rest = line.partition(" ")
            if here != last:  # some servers repeat an object where one page ends and the next begins
                yield decode(rest)
            last = here


def check_key(key: str) -> None:
    """Raises RefusedError for a key that would not come back: it holds a NUL, or the server could not spell it."""
    if "\0" in key or "\ufffd" in key:
        raise RefusedError(
            f"The key {listing.shown(key.encode('utf-8', 'surrogatepass'))} holds a character that the server cannot list.",
            reason="storage_not_portable", hint="A copy would lose this object. Rename it.")


def by_digest(entries, directory=None):
    """Yields the sha256 of all entries that have one, sorted, each once."""
    with tempfile.TemporaryDirectory(prefix="kestra-dr-digests-", dir=directory) as runs:
        sorter, last = Sorter(os.fspath(runs), HELD), None
        for entry in entries:
            if entry.sha256 and entry.size:
                sorter.add(entry.sha256)
        for digest in sorter:
            if digest != last:
                yield digest
            last = digest
