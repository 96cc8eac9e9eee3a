# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting rows in COPY data, and finding them in a stream."""

from __future__ import annotations

import io
import random

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.rows import RowCounter, copy_blocks


def count(data, sizes=(1 << 20,)):
    counter = RowCounter("t")
    stream, turn = io.BytesIO(data), 0
    while True:
        block = stream.read(sizes[turn % len(sizes)])
        if not block:
            return counter.rows()
        counter.feed(block)
        turn += 1


@pytest.mark.parametrize("rows", [b"", b"1\n", b"1\n2\n", b"\\N\t\n", b"\\\\.\n", b"x\\.\n"])
@pytest.mark.parametrize("sizes", [(1,), (3, 1), (1 << 20,)])
def test_count(rows, sizes):
    assert count(rows + b"\\.\n\n\n", sizes) == rows.count(b"\n")


@pytest.mark.parametrize(
    "data", [b"", b"1\n", b"1\n\\.\n", b"1\n\\.\n\n", b"1\\.\n\n\n", b"\\.\n\n\nx", b"1\n\\.\n\n\n\n"]
)
def test_wrong_ends(data):
    with pytest.raises(IntegrityError):
        count(data)


HEAD = b"--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n\n"
STATEMENT = b'COPY public."a\nb" (x) FROM stdin;\n'
FOOT = b"\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n"


class Pieces:
    """A stream that hands out pieces of odd sizes."""

    def __init__(self, data, seed):
        self._stream, self._dice = io.BytesIO(data), random.Random(seed)

    def read(self, size):
        return self._stream.read(self._dice.randint(1, min(size, 50)))


@pytest.mark.parametrize("rows", [b"", b"1\n", b"a\\nb\n\\\\.\n" * 40, b"x" * 500 + b"\n", b"\n\n", b"\\.x\n"])
@pytest.mark.parametrize("seed", range(8))
def test_blocks_are_the_rows(rows, seed):
    stream = Pieces(HEAD + STATEMENT + rows + FOOT, seed)
    blocks = list(copy_blocks(stream.read, STATEMENT, "t"))
    assert b"".join(blocks) == rows
    assert all(block.endswith(b"\n") for block in blocks)
    assert stream.read(10) == b""  # read to the end, so that the writer can end too


def test_statement_at_the_very_start():
    assert b"".join(copy_blocks(io.BytesIO(STATEMENT + b"1\n" + FOOT).read, STATEMENT, "t")) == b"1\n"


@pytest.mark.parametrize(
    "data",
    [b"", HEAD, HEAD + STATEMENT[:-1], HEAD + STATEMENT, HEAD + STATEMENT + b"1\n", HEAD + STATEMENT + b"1\n\\."],
)
def test_cut_streams(data):
    with pytest.raises(IntegrityError):
        list(copy_blocks(io.BytesIO(data).read, STATEMENT, "t"))
