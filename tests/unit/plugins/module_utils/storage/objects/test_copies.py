# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions of the copy out and of the copy in, and the work on many objects at once."""
from __future__ import annotations

import hashlib
import threading
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import copy_in
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.copy_out import same
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.parallel import in_turn

PINNED = Entry("a", 3, "tag", "2026-11-23T00:15:00.000000Z", "v1")
KNOWN = PINNED._replace(sha256="a" * 64)


@pytest.mark.parametrize(("known", "pinned", "is_same"), [
    (KNOWN, PINNED, True),
    (KNOWN._replace(modified="2020-01-01T00:00:00.000000Z"), PINNED, True),  # a version never changes
    (KNOWN._replace(version="v0"), PINNED, False),
    (KNOWN._replace(etag="other"), PINNED, False),
    (KNOWN._replace(size=4), PINNED, False),
    (KNOWN._replace(sha256=None), PINNED, False),
    (None, PINNED, False),
    (KNOWN._replace(version=None), PINNED._replace(version=None), True),
    (KNOWN._replace(version=None), PINNED._replace(version="null"), True),  # versioning was switched on since
    (KNOWN._replace(version=None), PINNED, False),
    (KNOWN._replace(version="null"), PINNED._replace(version="null", modified="2026-11-23T00:15:01.000000Z"), False),
    (KNOWN._replace(version=None), PINNED._replace(version=None, modified="2026-11-23T00:15:00.900000Z"), True)])
def test_when_an_object_is_surely_the_same(known, pinned, is_same):
    assert same(known, pinned) is is_same


@pytest.mark.parametrize("size", [1, 64 << 20, (64 << 20) + 1, 700 << 30, 5 << 40])
def test_parts_cover_an_object_and_are_not_too_many(size):
    found = list(copy_in.parts(size))
    assert len(found) <= 10_000 and [number for number, _offset, _length in found] == list(range(1, len(found) + 1))
    assert sum(length for _number, _offset, length in found) == size
    assert all(offset == (number - 1) * copy_in.part_size(size) for number, offset, _length in found)


def test_the_tag_of_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(copy_in, "PART", 1 << 20)
    content = bytes(range(256)) * 4096 * 2 + b"rest"
    path = tmp_path / "x"
    path.write_bytes(content)
    pieces = [content[:1 << 20], content[1 << 20:2 << 20], content[2 << 20:]]
    md5s = list(copy_in.digests(path, len(content)))
    assert md5s == [hashlib.md5(piece).digest() for piece in pieces]
    assert copy_in.tag_of_parts(md5s) == hashlib.md5(b"".join(md5s)).hexdigest() + "-3"
    path.write_bytes(content[:-1])
    with pytest.raises(StateError):
        list(copy_in.digests(path, len(content)))


def test_results_come_in_order_whatever_is_done_first():
    def work(number):
        time.sleep(0.02 if number % 7 == 0 else 0)
        return number * 2

    assert list(in_turn(range(200), work, 4)) == [number * 2 for number in range(200)]


def test_few_items_are_held():
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number

    results = in_turn(items(), lambda number: number, 2)
    for _each in range(10):
        next(results)
    assert len(taken) <= 10 + 2 * 16
    results.close()


def test_the_first_failure_ends_it_and_nothing_more_is_begun():
    begun, guard = [], threading.Lock()

    def work(number):
        with guard:
            begun.append(number)
        if number == 5:
            raise StateError("no")
        time.sleep(0.001)
        return number

    with pytest.raises(StateError):
        list(in_turn(range(10_000), work, 2))
    assert len(begun) < 60
