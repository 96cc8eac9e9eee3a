# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local copy of a bucket."""
from __future__ import annotations

import hashlib
import os

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import listing
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.store import Store


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "copy")
    found.make()
    return found


def put(store, key, content):
    with store.writing(key) as file:
        file.write(content)
        sha256, md5 = file.keep()
    return Entry(key, len(content), "tag", "2026-11-23T00:15:00.000000Z", None, sha256, md5)


def files(store):
    return sorted(name for _directory, _names, names in os.walk(store.path) for name in names)


def test_a_content_lies_under_its_digest(store):
    entry = put(store, "a", b"content")
    assert entry.sha256 == hashlib.sha256(b"content").hexdigest() and entry.md5 == hashlib.md5(b"content").hexdigest()
    with open(store.content(entry.sha256), "rb") as handle:
        assert handle.read() == b"content"
    assert os.stat(store.content(entry.sha256)).st_mode & 0o777 == 0o600
    assert store.has(entry) and not store.has(entry._replace(size=6)) and not store.has(entry._replace(sha256="0" * 64))
    assert not store.has(entry._replace(sha256=None))


def test_nothing_has_no_file(store):
    entry = put(store, "a", b"")
    assert store.has(entry) and files(store) == ["kestra-dr-objects"]


def test_what_failed_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError), store.writing("a") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert files(store) == ["kestra-dr-objects"]


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(RefusedError) as caught:
        Store(tmp_path).make()
    assert caught.value.reason == "not_a_copy"
    with pytest.raises(StateError):
        Store(tmp_path).require()


def test_only_what_the_list_names_stays(store):
    one, two, empty = put(store, "1", b"one"), put(store, "2", b"two"), put(store, "3", b"")
    listing.write(store.list, [two, empty])
    assert store.finish() == {"files": 1, "bytes": 3}
    assert not store.has(one) and store.has(two)
    assert store.finish() == {"files": 0, "bytes": 0}


def test_what_a_cut_copy_had_is_known_to_the_next(store):
    one, two, three = (put(store, str(number), str(number).encode()) for number in (1, 2, 3))
    listing.write(store.list, [one, three])
    newer = two._replace(key="1", etag="newer")
    passing = store.noting([newer, two._replace(sha256=None), three])
    assert next(passing) == newer and next(passing).sha256 is None and next(passing) == three
    passing.close()
    with open(os.path.join(store.path, "partial.jsonl"), "a", encoding="ascii") as handle:
        handle.write(listing.encode(three._replace(key="4"))[:20])  # torn
    store.settle()
    known = list(store.known())
    assert [(entry.key, entry.etag, bool(entry.sha256)) for entry in known] == [
        ("1", "newer", True), ("2", "tag", False), ("3", "tag", True)]
    store.settle()
    assert list(store.known()) == known


@pytest.mark.parametrize("left", [b"\0" * 40 + b"\n", b'{"k": "2"}\n', b"\xff\n", b"[]\n", b""],
                         ids=["zeros", "no entry", "no text", "no object", "torn"])
def test_what_a_power_failure_spoilt_of_a_cut_copy_is_only_forgotten(store, left):
    one, two, three = (put(store, str(number), str(number).encode()) for number in (1, 2, 3))
    with open(os.path.join(store.path, "partial.jsonl"), "wb") as handle:
        handle.write(listing.encode(one).encode() + b"\n" + left + listing.encode(three).encode()[:20])
    store.settle()
    assert list(store.known()) == [one] and store.has(two)


def test_files_that_were_being_written_are_swept(store):
    with open(os.path.join(store.path, "new", "7"), "wb") as handle:
        handle.write(b"half")
    store.make()
    assert files(store) == ["kestra-dr-objects"]
