# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump as something to restore from: proved whole before any server is touched.

With a manifest by size and sha256; without one, a kestra.sql somebody made by hand, by reading all of it.
"""
from __future__ import annotations

import contextlib
import gzip
import os
import subprocess
import zlib
from dataclasses import dataclass

from ...core.child import Child
from ...core.errors import IntegrityError, RefusedError, StateError, ToolError
from .. import unfinished
from . import inventory, script, versions

_MAGIC = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip"))
_ENDINGS = (".sql", ".sql.zst", ".sql.gz")


@dataclass
class Source:
    """A dump that was found whole. expected: the manifest's component, or what the dump itself tells."""

    path: str
    compression: str
    expected: dict
    server_version: tuple
    warnings: list
    audited: bool

    @property
    def bytes(self) -> int:
        """Its size as it lies there."""
        return os.path.getsize(self.path)


def detect(source) -> tuple:
    """(path of the file, compression) of a dump or the directory that holds it. Raises StateError, IntegrityError."""
    path = source
    if os.path.isdir(source):
        found = sorted(name for name in os.listdir(source) if name.endswith(_ENDINGS))
        if len(found) != 1:
            raise IntegrityError(f"The directory {source} holds {len(found)} files that could be a dump by mysqldump.",
                                 reason="not_a_dump", hint="Expected is one *.sql, *.sql.zst or *.sql.gz; name the file.")
        path = os.path.join(source, found[0])
    if not os.path.isfile(path):
        raise StateError(f"There is no dump at {source}.", reason="not_found", hint="Check the path.")
    with open(path, "rb") as handle:
        head = handle.read(4)
    return path, next((name for magic, name in _MAGIC if head.startswith(magic)), "none")


class Position:
    """How many bytes of the file have been read."""

    def __init__(self):
        self.bytes = 0


@contextlib.contextmanager
def blocks(path, compression, position=None):
    """Yields an iterator of the script's bytes in blocks. position.bytes follows the file as it lies there.

    The iterator raises IntegrityError when the compressed file is cut or changed.
    """
    position = position or Position()
    if compression == "zstd":
        with Child(["zstd", "-dcq", "--", path], stdout=subprocess.PIPE) as child:
            yield _zstd(child, path, position)
        return
    with open(path, "rb") as raw:
        yield _read(raw, position) if compression == "none" else _gzip(raw, position)


def _read(handle, position):
    while True:
        block = handle.read(script.CHUNK)
        if not block:
            return
        position.bytes += len(block)
        yield block


def _gzip(raw, position):
    try:
        with gzip.open(raw) as handle:
            while True:
                block = handle.read(script.CHUNK)
                position.bytes = raw.tell()
                if not block:
                    return
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise script.damaged("it cannot be decompressed") from None


def _zstd(child, path, position):
    size, given = os.path.getsize(path), 0
    while True:
        block = child.stdout.read1(script.CHUNK)
        if not block:
            break
        given += len(block)
        position.bytes = min(size, given // 5)  # nobody tells how far zstd has read; an estimate for the progress
        yield block
    position.bytes = size
    try:
        child.check()
    except ToolError as exc:
        raise script.damaged(f"it cannot be decompressed ({exc.detail.get('stderr_tail', '').strip()})") from None


def audit(path, compression, on_bytes=None) -> script.Facts:
    """Reads a whole dump and tells what it holds. Raises IntegrityError for a cut or damaged one, RefusedError for one
    that does more than mysqldump's scripts do."""
    facts, position, seen = script.Facts(), Position(), 0
    reader = facts.reader()
    with blocks(path, compression, position) as found:
        for block in found:
            reader.feed(block)
            if on_bytes:
                on_bytes(position.bytes - seen)
                seen = position.bytes
    reader.finish()
    facts.finish()
    return facts


def inspect(source, expected=None, *, progress=None) -> Source:
    """Proves a dump whole without touching any server. expected: the manifest's component, None for a foreign dump.

    Raises IntegrityError for a dump that is cut, changed or incomplete, StateError when there is none.
    """
    if expected is not None:
        directory = source if os.path.isdir(source) else os.path.dirname(source)
        unfinished.verify_files(directory, expected["files"], progress)
        path, compression = detect(source)
        return Source(path, compression, expected, versions.parse(expected["identity"]["server_version"]), [], False)
    path, compression = detect(source)
    total, done = os.path.getsize(path), [0]

    def advance(count):
        done[0] += count
        if progress:
            progress.update(done[0], total, message="reading the dump")

    facts = audit(path, compression, advance)
    told = facts.headers.get("server") or facts.headers["dump"][1:]
    return Source(path, compression, from_audit(facts), versions.parse(told[0]), warnings_of(facts), True)


def from_audit(facts) -> dict:
    """What a foreign dump tells of itself, in the form of a manifest's component; definitions are unknown. Pure."""
    database = facts.databases[0] if facts.databases else (facts.headers.get("database") or ("",))[0] or "kestra"
    told = facts.headers.get("server") or facts.headers["dump"][1:]
    return {"engine": "mysql", "format": "sql", "foreign": True, "uncounted": facts.uncounted,
            "counts": inventory.qualified(database, facts.counts), "names": facts.objects,
            "objects": {"auto_increment": facts.auto_increment}, "generated_timestamps": None,
            "identity": {"server_uuid": None, "database": database, "character_set": None, "collation": None,
                         "server_version": versions.text_of(versions.parse(told[0]))},
            "time_zones": facts.time_zones, "longest_statement": facts.longest, "definers": facts.definers}


def warnings_of(facts) -> list:
    """What deserves a look in a dump somebody else made. Pure. Raises RefusedError for one of several databases."""
    warnings = []
    if len(facts.databases) > 1:
        raise RefusedError("The dump is of several databases: " + ", ".join(facts.databases) + ".",
                           reason="dump_unsupported", hint="Make it again, of one database at a time.")
    if facts.databases:
        warnings.append(f"The dump creates and uses the database {facts.databases[0]} by itself; that is left out.")
    if facts.gtid:
        warnings.append("The dump sets GTID_PURGED, which fails on any server that has transactions of its own; that is "
                        "left out (make dumps with --set-gtid-purged=OFF).")
    if "routines" not in facts.sections:
        warnings.append("The dump was made without --routines: Kestra's functions PARSE_ISO8601_DURATION and "
                        "PARSE_ISO8601_DATETIME are missing, and a later migration of Kestra may fail without them.")
    if "events" not in facts.sections:
        warnings.append("The dump was made without --events.")
    if facts.headers["dump"][0] == "MariaDB":
        warnings.append("The dump was made by MariaDB's mysqldump, which does not know all of MySQL's definitions.")
    if facts.uncounted:
        warnings.append("Some rows could not be counted: " + ", ".join(facts.uncounted) + ".")
    return warnings
