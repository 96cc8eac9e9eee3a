# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of a storage tree: one JSON line per entry, gzip, in the order of a sorted walk, read and written as a stream.

A line: {"p": path below the root, "t": "f"|"d"|"l", "s": size, "m": mode, "u": uid, "g": gid, "n": mtime in ns,
"c": ctime in ns, "h": sha256 of a file, "l": target of a symbolic link, "d": drift}. A path or target that is not
UTF-8 stands base64-encoded in "b" or "k" instead of "p" or "l". Empty members are left out.
"d" says that the entry was not the same before and after the storage was copied: "deleted", "changed" or "added", and
for a directory "times". What a copy holds of such an entry is not known. "pinned" and "later" say the same of the mutable
part, which was held at the pin (see pinned): the one is listed as it was then and comes back so, the other came after it
and does not.
"""
from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import NamedTuple

from ..core.errors import IntegrityError
from ..core.files import AtomicFile, HashingWriter

TYPES = ("f", "d", "l")
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
PINNED, LATER = "pinned", "later"
DRIFTS = ("deleted", "changed", "added", "times", PINNED, LATER)
# What is listed and not in the tree as it comes back.
ABSENT = ("deleted", LATER)


class Entry(NamedTuple):
    """One file, directory or symbolic link. path and target: bytes; times: nanoseconds since the epoch."""

    path: bytes
    type: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int | None = None
    sha256: str | None = None
    target: bytes | None = None
    drift: str | None = None


def key(path: bytes) -> bytes:
    """What lists are sorted by: a directory comes before what it holds, and what it holds before its next sibling.

    No name holds a NUL, and NUL sorts before every byte of a name.
    """
    return path.replace(b"/", b"\0")


def shown(path: bytes) -> str:
    """A path for people: readable, unambiguous, one line."""
    text = path.decode("utf-8", "surrogateescape")
    return text if text.isprintable() else ascii(text)[1:-1]


def encode(entry: Entry) -> str:
    """The line of an entry, without the newline."""
    record: dict = {"t": entry.type, "s": entry.size, "m": entry.mode, "u": entry.uid, "g": entry.gid,
                    "n": entry.mtime_ns}
    _put(record, "p", "b", entry.path)
    if entry.target is not None:
        _put(record, "l", "k", entry.target)
    for name, value in (("c", entry.ctime_ns), ("h", entry.sha256), ("d", entry.drift)):
        if value is not None:
            record[name] = value
    return _ENCODE(record)


def decode(line: str) -> Entry:
    """The entry of a line. Raises ValueError, KeyError or TypeError for a line that is none."""
    record = json.loads(line)
    entry = Entry(_get(record, "p", "b"), record["t"], record["s"], record["m"], record["u"], record["g"], record["n"],
                  record.get("c"), record.get("h"), _get(record, "l", "k") if "l" in record or "k" in record else None,
                  record.get("d"))
    if entry.type not in TYPES or not entry.path or entry.path.startswith(b"/") or b"\0" in entry.path:
        raise ValueError("not an entry")
    if b".." in entry.path.split(b"/"):
        raise ValueError("leaves the tree")
    if entry.drift is not None and entry.drift not in DRIFTS:
        raise ValueError("unknown drift")
    return entry


def _put(record, plain, encoded, raw: bytes):
    try:
        record[plain] = raw.decode("utf-8")
    except UnicodeDecodeError:
        record[encoded] = base64.b64encode(raw).decode("ascii")


def _get(record, plain, encoded) -> bytes:
    if encoded in record:
        return base64.b64decode(record[encoded], validate=True)
    return record[plain].encode("utf-8")


def write(path, entries, form=encode) -> dict:
    """Writes sorted entries atomically and returns {sha256, entries}: the digest is that of the compressed file.

    form: what makes a line of an entry.
    """
    count = 0
    with AtomicFile(path) as handle:
        hashing = HashingWriter(handle)
        with gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=hashing, mtime=0) as packed:
            for entry in entries:
                packed.write(form(entry).encode("ascii") + b"\n")
                count += 1
    return {"sha256": hashing.sha256, "entries": count}


def read(path, form=decode):
    """Yields the entries of a list. Raises IntegrityError (storage_list_malformed) when it is cut, damaged or unsorted.

    The end of a gzip file carries a checksum: a list that is read to its end is whole. form: what makes an entry of a line.
    """
    number, last = 0, None
    try:
        with gzip.open(path, "rb") as handle:
            for number, line in enumerate(handle, 1):
                entry = form(line.decode("ascii"))
                here = key(entry.path)
                if last is not None and here <= last:
                    raise ValueError("not sorted")
                last = here
                yield entry
    except FileNotFoundError:
        raise IntegrityError(f"There is no list of the storage at {path}.", reason="storage_list_missing") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise IntegrityError(f"The list of the storage {path} is damaged after entry {number}: {exc}.",
                             reason="storage_list_malformed", detail={"path": str(path), "entry": number}) from None


def merged(left, right):
    """Pairs of two sorted lists by path: (left or None, right or None), in order."""
    left, right = iter(left), iter(right)
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        if two is None or (one is not None and key(one.path) < key(two.path)):
            yield one, None
            one = next(left, None)
        elif one is None or key(two.path) < key(one.path):
            yield None, two
            two = next(right, None)
        else:
            yield one, two
            one, two = next(left, None), next(right, None)
