# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this dump whole? Answered from the file alone, for dumps with and without a manifest.

pg_restore does not answer it: on a tar cut anywhere it returns 0 with rows missing, or never returns (measured with
15.18: 20 of 39 cuts returned 0, 19 hung, none failed); pg_restore -l reads the table of contents only.
What cannot be found without digests: a changed byte inside the uncompressed rows of a table.
"""
from __future__ import annotations

import gzip
import os
import zlib

from ...core.errors import ToolError
from . import archive, plain
from .archive import damaged
from .decode import entry_rows
from .rows import CHUNK, RowCounter

_DATA, _BLOBS = 1, 3


def audit(path, *, client=None, on_bytes=None) -> dict:
    """Reads a whole dump of any format and counts its rows. Raises IntegrityError for a cut or damaged one.

    path: the dump, or the directory holding it. client: versions.Client, needed for lz4 and zstd only.
    on_bytes(n): progress. Returns {format, path, bytes, database, server_version, dump_version, encoding, compression,
    counts {table: rows}, uncounted [tables whose rows are INSERT statements], empty_tables [tables without data in it],
    sequences, warnings}, and for scripts what plain.audit() adds.
    """
    dump_format, path = archive.detect(path)
    report = {"format": dump_format, "path": path, "bytes": total_bytes(path), "database": None, "compression": "none",
              "uncounted": [], "empty_tables": [], "warnings": []}
    if dump_format == "plain":
        found = plain.audit(path, on_bytes)
        if found.pop("inserts"):
            report["uncounted"].append("INSERT statements")
        report.update(found)
    else:
        toc = archive.open_toc(dump_format, path)
        counts = {"directory": _directory, "tar": _tar, "custom": _custom}[dump_format](toc, path, client, on_bytes)
        _from_toc(report, toc, counts)
    if report["uncounted"]:
        report["warnings"].append("Some rows are INSERT statements and were not counted: "
                                  + ", ".join(report["uncounted"]) + ".")
    return report


def total_bytes(path) -> int:
    """Size of a file, or of all files in a directory."""
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(path, name)) for name in os.listdir(path))


def _from_toc(report, toc, counts) -> None:
    report.update(database=toc.database, server_version=toc.server_version, dump_version=toc.dump_version,
                  encoding=toc.encoding, compression=toc.compression, sequences=toc.sequences(), counts={})
    for entry in toc.table_data():
        rows = counts.get(entry.dump_id)
        if rows is None:
            report["uncounted"].append(entry.name)
        else:
            report["counts"][entry.name] = rows
    filled = {entry.name for entry in toc.table_data()}
    for entry in toc.entries:
        # A partitioned table has no rows of its own.
        if entry.description == "TABLE" and entry.name not in filled and "\nPARTITION BY " not in entry.definition:
            report["empty_tables"].append(entry.name)
            report["counts"][entry.name] = 0
    if report["empty_tables"]:
        report["warnings"].append("The dump holds no rows, only the definition, of: "
                                  + ", ".join(report["empty_tables"]) + ".")


def _counter(entry):
    """Counts rows of an entry; None when they are INSERT statements."""
    return RowCounter(entry.name) if entry.copy else None


def _with_data(toc) -> list:
    return [entry for entry in toc.table_data() if entry.has_data]


def _directory(toc, path, client, on_bytes) -> dict:
    counts = {}
    for entry in _with_data(toc):
        target = archive.data_file(path, entry, toc.compression)
        if target.endswith((".lz4", ".zst")):
            counts[entry.dump_id] = _decoded(client, path, toc, entry, on_bytes)
            continue
        opener = gzip.open if target.endswith(".gz") else open
        counter = _counter(entry)
        try:
            with opener(target, "rb") as handle:
                _count(iter(lambda: handle.read(CHUNK), b""), counter, on_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise damaged(f"the file {os.path.basename(target)} with the rows of {entry.name} cannot be decompressed",
                          table=entry.name, file=os.path.basename(target)) from None
        counts[entry.dump_id] = counter.rows() if counter else None
    _large_objects(toc, path)
    return counts


def _large_objects(toc, path) -> None:
    """The lists of large objects in a directory name further files; each must be there."""
    for entry in toc.entries:
        if entry.description not in ("BLOBS", "LARGE OBJECTS") or not entry.has_data:
            continue
        listing = archive.data_file(path, entry, "none")
        with open(listing, encoding="ascii", errors="replace") as handle:
            for line in handle:
                unused, space, name = line.rstrip("\n").partition(" ")
                wanted = [os.path.join(path, name + suffix) for suffix in archive.SUFFIXES.values()]
                if not space or "/" in name or not any(os.path.isfile(item) for item in wanted):
                    raise damaged("a large object is missing", file=name)


def _count(blocks, counter, on_bytes) -> None:
    for block in blocks:
        if counter:
            counter.feed(block)
        if on_bytes:
            on_bytes(len(block))


def _tar(toc, path, client, on_bytes) -> dict:
    members = {member.name: member for member in archive.tar_members(path)}
    expected = {"toc.dat", "restore.sql"} | {entry.file for entry in toc.entries if entry.has_data and entry.file}
    missing = sorted(expected - set(members))
    if missing:
        raise damaged(f"the tar lacks its member {missing[0]}", members=missing)
    large_objects = any(entry.description in ("BLOBS", "LARGE OBJECTS") for entry in toc.entries)
    added = sorted(name for name in set(members) - expected if not (large_objects and name.startswith("blob")))
    if added:
        raise damaged(f"the tar holds {added[0]}, which its table of contents does not name", members=added)
    counts = {}
    with open(path, "rb") as handle:
        for entry in _with_data(toc):
            member, counter = members[entry.file], _counter(entry)
            handle.seek(member.offset)
            _count(_limited(handle, member.size), counter, on_bytes)
            counts[entry.dump_id] = counter.rows() if counter else None
    return counts


def _limited(handle, size):
    while size:
        block = handle.read(min(size, CHUNK))
        if not block:
            raise damaged("the file became shorter while it was read")
        size -= len(block)
        yield block


def _custom(toc, path, client, on_bytes) -> dict:
    """Walks the data blocks from the table of contents to the end of the file (pg_backup_custom.c)."""
    wanted = {entry.dump_id: entry for entry in toc.entries if entry.has_data}
    counts, seen = {}, set()
    size = os.path.getsize(path)
    with open(path, "rb") as handle:
        # The table of contents is read again to learn its integer sizes.
        handle.seek(8)
        int_size, offset_size = handle.read(1)[0], handle.read(1)[0]
        handle.seek(toc.end)
        while handle.tell() < size:
            start = handle.tell()
            reader = archive.Reader(handle, size - start)
            reader.int_size, reader.offset_size = int_size, offset_size
            kind, dump_id = reader.byte(), reader.integer()
            entry = wanted.get(dump_id)
            if kind not in (_DATA, _BLOBS) or entry is None or dump_id in seen:
                raise damaged("a block of data is not one its table of contents names", offset=start)
            if entry.offset is not None and entry.offset != start:
                raise damaged(f"the rows of {entry.name} are not where the table of contents says", offset=start)
            seen.add(dump_id)
            if kind == _BLOBS:
                while reader.integer() != 0:
                    _count(_decompressed(_chunks(reader), toc, entry), None, on_bytes)
                continue
            counter = _counter(entry) if entry.is_table_data else None
            _count(_decompressed(_chunks(reader), toc, entry), counter, on_bytes)
            if counter and toc.compression in ("none", "gzip"):
                counts[dump_id] = counter.rows()
    missing = sorted(set(wanted) - seen)
    if missing:
        raise damaged(f"the rows of {wanted[missing[0]].name} are missing", table=wanted[missing[0]].name)
    if toc.compression in ("lz4", "zstd"):
        for entry in _with_data(toc):
            counts[entry.dump_id] = _decoded(client, path, toc, entry, None)
    return counts


def _chunks(reader):
    while True:
        size = reader.integer()
        if size == 0:
            return
        if size < 0:
            raise damaged("a block of data has an impossible length")
        yield reader.raw(size)


def _decompressed(chunks, toc, entry):
    if toc.compression != "gzip":
        yield from chunks
        return
    inflate, some = zlib.decompressobj(), False
    try:
        for chunk in chunks:
            some = True
            yield inflate.decompress(chunk)
        yield inflate.flush()
    except zlib.error:
        raise damaged(f"the rows of {entry.name} cannot be decompressed", table=entry.name) from None
    if some and (not inflate.eof or inflate.unused_data):
        raise damaged(f"the compressed rows of {entry.name} do not end as they should", table=entry.name)


def _decoded(client, path, toc, entry, on_bytes) -> int | None:
    """Counts rows through pg_restore, for compressions Python does not know. It writes to a pipe, not to a server."""
    if not entry.copy:
        return None
    if client is None:
        raise ToolError(f"The dump is compressed with {toc.compression}: a PostgreSQL client is needed to read it.",
                        reason="tool_missing", hint="Install postgresql-client, or give bin_dir.")
    rows = 0
    with entry_rows(client, path, toc, entry) as blocks:
        for block in blocks:
            rows += block.count(b"\n")
            if on_bytes:
                on_bytes(len(block))
    return rows
