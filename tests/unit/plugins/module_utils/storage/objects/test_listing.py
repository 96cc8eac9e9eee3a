# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of a bucket."""
from __future__ import annotations

import gzip

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import listing
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry

FULL = Entry("main/ü \n\U0001f600", 3, "tag", "2026-11-23T00:15:00.000000Z", "v1", "a" * 64, "b" * 32,
             {"ContentType": "text/plain"}, {"description": "ä"}, "changed")
PLAIN = Entry("main/a/", 0, "tag", "2026-11-23T00:15:00.000000Z")


@pytest.mark.parametrize("entry", [FULL, PLAIN, PLAIN._replace(key=""), PLAIN._replace(key="/x//../y")])
def test_an_entry_comes_back_from_its_line(entry):
    line = listing.encode(entry)
    assert line.isascii() and "\n" not in line and listing.decode(line) == entry


@pytest.mark.parametrize("change", [
    {"h": "../../etc/passwd"}, {"h": "A" * 64}, {"s": -1}, {"s": "3"}, {"k": "a\0b"}, {"d": "odd"}])
def test_a_line_that_is_none(change):
    import json

    record = dict(json.loads(listing.encode(FULL)), **change)
    with pytest.raises((ValueError, TypeError)):
        listing.decode(json.dumps(record))


def test_marks_of_directories_are_told_from_objects():
    assert [entry.type for entry in (FULL, PLAIN, PLAIN._replace(key=""))] == ["f", "d", "d"]


def test_any_order_of_the_server_becomes_that_of_the_list(tmp_path):
    keys = ["b", "a/b", "a-b", "a", "a/", "", "\U0001f600", "\uffff", "a/b/c", "A", "/a"]
    found = [entry.key for entry in listing.in_order(PLAIN._replace(key=key) for key in keys)]
    assert found == sorted(keys, key=lambda key: key.encode().replace(b"/", b"\0"))
    listing.write(tmp_path / "list", (PLAIN._replace(key=key) for key in found))
    assert [entry.key for entry in listing.read(tmp_path / "list")] == found


def test_keys_of_before_0_23_are_what_the_database_names(tmp_path):
    """All of them with a slash more, or in part, or twice when a move was not finished: then the one without it is Kestra's."""
    for keys, named in (
            (["/", "/a-b", "/a/", "/a/b"], ["", "a/", "a/b", "a-b"]),
            (["", "/", "/a-b", "/a/b", "a", "a/b"], ["", "a", "a/b", "a-b"]),
            (["", "a", "b"], ["", "a", "b"])):
        entries = [PLAIN._replace(key=key, size=key.startswith("/")) for key in keys]
        listing.write(tmp_path / "list", listing.in_order(entries))
        found = list(listing.read_as_named(tmp_path / "list"))
        assert [entry.key for entry in found] == named
        assert [bool(entry.size) for entry in found] == [key not in keys for key in named]


def test_more_than_fits_into_memory_is_sorted_too(monkeypatch):
    monkeypatch.setattr(listing, "HELD", 7)
    keys = [f"{number * 37 % 100:02}" for number in range(100)]
    assert [entry.key for entry in listing.in_order(PLAIN._replace(key=key) for key in keys)] == sorted(keys)


def test_an_object_that_the_server_repeats_is_listed_once():
    assert [entry.key for entry in listing.in_order([PLAIN, PLAIN._replace(key="z"), PLAIN])] == ["main/a/", "z"]


@pytest.mark.parametrize("key", ["a\0b", "a\ufffdb"])
def test_a_key_that_the_server_could_not_spell_is_refused(key):
    with pytest.raises(RefusedError) as caught:
        list(listing.in_order([PLAIN._replace(key=key)]))
    assert caught.value.reason == "storage_not_portable"


def test_a_cut_or_unsorted_list_is_no_list(tmp_path):
    path = tmp_path / "list"
    listing.write(path, [PLAIN._replace(key=str(number)) for number in range(10)])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IntegrityError):
        list(listing.read(path))
    with gzip.open(path, "wb") as handle:
        for key in ("b", "a"):
            handle.write(listing.encode(PLAIN._replace(key=key)).encode() + b"\n")
    with pytest.raises(IntegrityError):
        list(listing.read(path))


def test_digests_are_told_once_and_sorted(monkeypatch):
    monkeypatch.setattr(listing, "HELD", 3)
    entries = [FULL._replace(key=str(number), sha256=f"{number % 4:064}") for number in range(20)]
    entries += [PLAIN, FULL._replace(key="empty", size=0, sha256="e" * 64)]
    assert list(listing.by_digest(entries)) == [f"{number:064}" for number in range(4)]
