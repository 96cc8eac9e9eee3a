# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows in the text form of COPY: counting them, and finding them in a stream. Pure.

In this form a newline inside a value is written as two characters, so every newline byte ends a row (PostgreSQL
documentation, COPY, "Text Format"). pg_dump ends the rows of a table with a line "\\." and two empty lines.
"""
from __future__ import annotations

from .archive import damaged

CHUNK = 1 << 20
END = b"\\.\n"
TRAILER = END + b"\n\n"


class RowCounter:
    """Counts the rows of one table's data as it lies in an archive, and checks that it ends as pg_dump ends it."""

    def __init__(self, table):
        self._table = table
        self._newlines = 0
        self._tail = b""

    def feed(self, block) -> None:
        """Takes the next bytes."""
        self._newlines += block.count(b"\n")
        self._tail = (self._tail + block[-len(TRAILER) - 1:])[-len(TRAILER) - 1:]

    def rows(self) -> int:
        """The number of rows. Raises IntegrityError when the end is not the end pg_dump writes."""
        if self._tail not in (TRAILER, b"\n" + TRAILER):
            raise damaged(f"the rows of {self._table} do not end as they should", table=self._table)
        return self._newlines - TRAILER.count(b"\n")


def copy_blocks(read, statement, table):
    """Yields the rows between a COPY statement and its end, in blocks of whole rows.

    read(n): the next bytes of a script as pg_restore writes it, b"" at its end. statement: the COPY line as bytes,
    with its newline. Reads the script to its end. Raises IntegrityError when statement or end is missing.
    """
    buffer = bytearray()
    _skip_to(read, buffer, b"\n" + statement, table)
    searched = 0
    while True:
        if buffer.startswith(END):
            break
        # The buffer always begins at a row; what was searched before need not be searched again.
        end = buffer.find(b"\n" + END, max(0, searched - len(END)))
        if end >= 0:
            yield bytes(buffer[:end + 1])
            break
        whole = buffer.rfind(b"\n", searched) + 1
        if whole:
            yield bytes(buffer[:whole])
            del buffer[:whole]
        searched = len(buffer)
        block = read(CHUNK)
        if not block:
            raise damaged(f"the rows of {table} end too early", table=table)
        buffer += block
    while read(CHUNK):
        pass


def _skip_to(read, buffer, marker, table) -> None:
    buffer += b"\n"
    while True:
        at = buffer.find(marker)
        if at >= 0:
            del buffer[:at + len(marker)]
            return
        del buffer[:-len(marker)]
        block = read(CHUNK)
        if not block:
            raise damaged(f"the rows of {table} are not where the table of contents says", table=table)
        buffer += block
