# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the archives of pg_dump without pg_restore: what is in them, where, and how large.

The layout is that of PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c (WriteHead, WriteToc) and of the three writers
beside it. Every length is checked against what is left, so a damaged file ends in an IntegrityError, never in a hang
or in a giant allocation.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from ...core.errors import IntegrityError, StateError
from . import names

MAGIC = b"PGDMP"
# Archive versions whose layout is known: 1.14 is PostgreSQL 12, 1.15 is 16, 1.16 is 17 and 18.
OLDEST, NEWEST = (1, 14), (1, 16)

# The format byte; the directory writer says "tar" too, so that a directory can be made a tar (pg_backup_directory.c).
_FORMAT_BYTE = {"custom": 1, "tar": 3, "directory": 3}
_METHODS = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}
SUFFIXES = {"none": "", "gzip": ".gz", "lz4": ".lz4", "zstd": ".zst"}

_OFFSET_SET, _NO_DATA = 2, 3
_SETVAL = re.compile(r"setval\('(?:[^']|'')+', (-?\d+), (true|false)\)")

TAR_BLOCK = 512


def damaged(message, **detail) -> IntegrityError:
    """The error for an archive that is cut, changed, or not what it says it is."""
    return IntegrityError(f"The dump is damaged or incomplete: {message}.", reason="dump_damaged",
                          hint="Nothing was restored from it. Use another recovery point, or another copy of the file.",
                          detail=detail)


@dataclass
class Entry:
    """One entry of a table of contents. file: its member (tar, directory); offset: its place (custom)."""

    dump_id: int
    has_data: bool
    tag: str
    description: str
    section: int
    definition: str
    copy: str
    namespace: str
    owner: str
    dependencies: tuple
    file: str | None = None
    offset: int | None = None

    @property
    def is_table_data(self) -> bool:
        return self.description == "TABLE DATA"

    @property
    def name(self) -> str:
        """schema.name as manifests write it."""
        return names.display(self.namespace, self.tag) if self.namespace else names.display(self.tag)


@dataclass
class Toc:
    """A table of contents. server_version, dump_version: texts such as "15.18 (Debian …)". end: bytes read."""

    format: str
    version: tuple
    compression: str
    database: str
    server_version: str
    dump_version: str
    entries: list = field(default_factory=list)
    end: int = 0

    @property
    def encoding(self) -> str:
        """The client encoding of its data, e.g. UTF8."""
        for entry in self.entries:
            if entry.description == "ENCODING":
                found = re.search(r"client_encoding = '([^']+)'", entry.definition)
                if found:
                    return found.group(1)
        raise damaged("its table of contents names no encoding")

    def table_data(self) -> list:
        """The entries that carry rows of tables."""
        return [entry for entry in self.entries if entry.is_table_data]

    def sequences(self) -> dict:
        """{name: {last_value, is_called}} as a restore will set them."""
        found = {}
        for entry in self.entries:
            if entry.description == "SEQUENCE SET":
                value = _SETVAL.search(entry.definition)
                if not value:
                    raise damaged(f"the value of the sequence {entry.name} cannot be read")
                found[entry.name] = {"last_value": int(value.group(1)), "is_called": value.group(2) == "true"}
        return found


class Reader:
    """Integers and texts as the archiver writes them, from a binary file; never past limit bytes."""

    def __init__(self, handle, limit):
        self._handle = handle
        self._left = limit
        self.taken = 0
        self.int_size = 4
        self.offset_size = 8

    def raw(self, size) -> bytes:
        if size > self._left:
            raise damaged("it ends in the middle of its table of contents")
        data = self._handle.read(size)
        if len(data) != size:
            raise damaged("it ends in the middle of its table of contents")
        self._left -= size
        self.taken += size
        return data

    def byte(self) -> int:
        return self.raw(1)[0]

    def integer(self) -> int:
        sign = self.byte()
        value = int.from_bytes(self.raw(self.int_size), "little")
        return -value if sign else value

    def text(self):
        """A str, or None for the archiver's NULL."""
        size = self.integer()
        if size < 0:
            return None
        return self.raw(size).decode("utf-8", "surrogateescape")

    def offset(self):
        """(state, value) of a place in a custom archive."""
        return self.byte(), int.from_bytes(self.raw(self.offset_size), "little")


def read_toc(handle, limit, kind) -> Toc:
    """Reads header and table of contents. limit: bytes available. kind: how it lies there. Raises IntegrityError."""
    reader = Reader(handle, limit)
    toc = _head(reader, kind)
    count = reader.integer()
    if count < 0 or count > limit:
        raise damaged("its table of contents gives an impossible number of entries")
    toc.entries = [_entry(reader, toc) for index in range(count)]
    ids = [entry.dump_id for entry in toc.entries]
    if len(set(ids)) != len(ids):
        raise damaged("its table of contents holds the same entry twice")
    toc.end = reader.taken
    return toc


def _head(reader, kind) -> Toc:
    if reader.raw(5) != MAGIC:
        raise damaged("it does not start as an archive of pg_dump does")
    version = tuple(reader.raw(3))
    if version[:2] < OLDEST or version[:2] > NEWEST:
        raise IntegrityError(
            f"The dump has archive version {version[0]}.{version[1]}; known are 1.14 to 1.16 (PostgreSQL 12 to 18).",
            reason="archive_version", hint="Use a newer version of this collection.", detail={"version": list(version)})
    reader.int_size, reader.offset_size = reader.byte(), reader.byte()
    if not 4 <= reader.int_size <= 8 or not 4 <= reader.offset_size <= 8:
        raise damaged("its header gives impossible sizes")
    if reader.byte() != _FORMAT_BYTE[kind]:
        raise damaged(f"its header does not say what a {kind} dump's header says")
    if version[:2] >= (1, 15):
        method = _METHODS.get(reader.byte())
        if method is None:
            raise damaged("its header names an unknown compression")
    else:
        method = "none" if reader.integer() == 0 else "gzip"
    for _unused in range(7):  # the time it was made
        reader.integer()
    database, server, writer = reader.text(), reader.text(), reader.text()
    if server is None or writer is None:
        raise damaged("its header names no version")
    return Toc(kind, version, "none" if kind == "tar" else method, database or "", server, writer)


def _entry(reader, toc) -> Entry:
    dump_id = reader.integer()
    has_data = reader.integer() != 0
    reader.text()  # oid of the catalogue
    reader.text()  # oid of the object
    tag, description = reader.text() or "", reader.text() or ""
    section = reader.integer()
    definition = reader.text() or ""
    reader.text()  # how to drop it
    copy = reader.text() or ""
    namespace = reader.text() or ""
    reader.text()  # tablespace
    reader.text()  # table access method
    if toc.version[:2] >= (1, 16):
        reader.integer()  # relkind
    owner = reader.text() or ""
    reader.text()  # with oids
    dependencies = []
    while True:
        item = reader.text()
        if item is None:
            break
        dependencies.append(item)
    entry = Entry(dump_id, has_data, tag, description, section, definition, copy, namespace, owner, tuple(dependencies))
    if toc.format == "custom":
        state, offset = reader.offset()
        if state == _OFFSET_SET:
            entry.offset = offset
        elif state == _NO_DATA:
            entry.has_data = False
    else:
        entry.file = reader.text() or None
    return entry


def detect(path) -> tuple:
    """(format, path) of a dump: a directory made by -Fd, a file in another format, or a directory with one such file.

    Raises StateError when there is nothing, IntegrityError for an empty file and for what is no dump.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, "toc.dat")):
            return "directory", path
        inside = [os.path.join(path, name) for name in FILE_NAMES.values()]
        inside = [name for name in inside if os.path.isfile(name)]
        if len(inside) == 1:
            return detect(inside[0])
        raise StateError(f"There is no dump in the directory {path}.", reason="not_found",
                         hint=f"Expected is toc.dat, or one of {', '.join(sorted(FILE_NAMES.values()))}.")
    if not os.path.isfile(path):
        raise StateError(f"There is no dump at {path}.", reason="not_found", hint="Check the path.")
    with open(path, "rb") as handle:
        head = handle.read(TAR_BLOCK)
    if not head:
        raise damaged("the file is empty")
    if head.startswith(MAGIC):
        return "custom", path
    if head[257:262] == b"ustar":
        return "tar", path
    if head[:2] == b"\x1f\x8b" or head[:4] in (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"):
        raise IntegrityError(f"{path} is compressed as a whole.", reason="compressed_file",
                             hint="Decompress it (gzip -d, zstd -d, lz4 -d) and give the result.")
    if b"\0" in head:
        raise damaged("the file is no dump in any format of pg_dump")
    return "plain", path


# The names this collection gives to dumps that are one file.
FILE_NAMES = {"custom": "database.dump", "tar": "database.tar", "plain": "database.sql"}


@dataclass
class Member:
    """One file inside a tar: where its content begins and how long it is."""

    name: str
    offset: int
    size: int


def tar_members(path) -> list:
    """The members of a tar as pg_dump writes it, in order. Raises IntegrityError for anything cut, changed or added."""
    size = os.path.getsize(path)
    members = []
    with open(path, "rb") as handle:
        while True:
            header = handle.read(TAR_BLOCK)
            if len(header) < TAR_BLOCK:
                raise damaged("the tar has no end-of-archive marker", offset=handle.tell())
            if header == bytes(TAR_BLOCK):
                _tar_end(handle)
                break
            member = _tar_header(header, handle.tell())
            padded = -(-member.size // TAR_BLOCK) * TAR_BLOCK
            if member.offset + padded > size:
                raise damaged(f"the tar ends inside its member {member.name}", member=member.name)
            handle.seek(member.offset + member.size)
            if handle.read(padded - member.size).strip(b"\0"):
                raise damaged(f"the padding after the tar's member {member.name} is not empty", member=member.name)
            members.append(member)
    found = [member.name for member in members]
    if len(set(found)) != len(found):
        raise damaged("the tar holds a member twice")
    return members


def _tar_end(handle) -> None:
    if handle.read(TAR_BLOCK) != bytes(TAR_BLOCK):
        raise damaged("the tar's end-of-archive marker is incomplete", offset=handle.tell())
    while True:
        rest = handle.read(1 << 20)
        if not rest:
            return
        if rest.strip(b"\0"):
            raise damaged("something follows the tar's end-of-archive marker")


def _tar_header(header, offset) -> Member:
    if header[257:262] != b"ustar":
        raise damaged("a header inside the tar is not valid", offset=offset)
    stated = _octal(header[148:156], offset)
    if stated != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise damaged("the checksum of a header inside the tar is wrong", offset=offset)
    if header[124] & 0x80:  # base 256, for members of 8 GiB and more
        size = int.from_bytes(header[125:136], "big")
    else:
        size = _octal(header[124:136], offset)
    name = header[:100].rstrip(b"\0").decode("utf-8", "surrogateescape")
    if not re.fullmatch(r"[A-Za-z0-9_.]+", name):
        raise damaged("the tar holds a member that pg_dump does not write", member=name)
    return Member(name, offset, size)


def _octal(field_bytes, offset) -> int:
    try:
        return int(field_bytes.strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise damaged("a number in a header inside the tar is not valid", offset=offset) from None


def open_toc(dump_format, path) -> Toc:
    """The table of contents of a custom, directory or tar dump. Raises IntegrityError, StateError."""
    if dump_format == "directory":
        target, start, limit = os.path.join(path, "toc.dat"), 0, None
    elif dump_format == "tar":
        members = {member.name: member for member in tar_members(path)}
        if "toc.dat" not in members:
            raise damaged("the tar has no table of contents")
        target, start, limit = path, members["toc.dat"].offset, members["toc.dat"].size
    else:
        target, start, limit = path, 0, None
    try:
        with open(target, "rb") as handle:
            handle.seek(start)
            toc = read_toc(handle, os.path.getsize(target) if limit is None else limit, dump_format)
            if dump_format != "custom" and toc.end != (os.path.getsize(target) if limit is None else limit):
                raise damaged("something follows its table of contents")
            return toc
    except FileNotFoundError:
        raise StateError(f"There is no dump at {path}.", reason="not_found") from None


def data_file(path, entry, compression) -> str:
    """The path of an entry's data in a directory dump. Raises IntegrityError when it is missing.

    The table of contents names it without the suffix of its compression.
    """
    if entry.file is None or "/" in entry.file:
        raise damaged(f"the data of {entry.name} has no file")
    for suffix in (SUFFIXES[compression], "", ".gz", ".lz4", ".zst"):
        target = os.path.join(path, entry.file + suffix)
        if os.path.isfile(target):
            return target
    raise damaged(f"the file {entry.file} with the rows of {entry.name} is missing", file=entry.file, table=entry.name)


def data_sizes(toc, path) -> dict:
    """{dump id: bytes it takes in the archive} for the tables' data, to find the big ones. Approximate in custom."""
    entries = [entry for entry in toc.table_data() if entry.has_data]
    if toc.format == "directory":
        return {entry.dump_id: os.path.getsize(data_file(path, entry, toc.compression)) for entry in entries}
    if toc.format == "tar":
        members = {member.name: member.size for member in tar_members(path)}
        return {entry.dump_id: members.get(entry.file, 0) for entry in entries}
    # A custom archive written to a pipe has no offsets; then nothing is known to be big.
    starts = sorted(entry.offset for entry in toc.entries if entry.offset is not None)
    following = dict(zip(starts, starts[1:] + [os.path.getsize(path)]))
    return {entry.dump_id: following[entry.offset] - entry.offset for entry in entries if entry.offset is not None}
