# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of a storage: exact for any name, whole or refused."""
from __future__ import annotations

import gzip
import random

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import sha256_file
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import listing
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.listing import Entry

NAMES = [
    b"plain",
    b"with space",
    b"nl\nname",
    b"bad\xff\xfe",
    "äß€".encode(),
    b'quote"\\',
    b"a-b",
    b"a",
    b"a.metadata",
    b"\x01",
]


def entry(path, **changes):
    return Entry(path, "f", 1, 0o644, 0, 0, 1577836800123456789)._replace(**changes)


def sorted_entries(paths):
    return [entry(path) for path in sorted(paths, key=listing.key)]


@pytest.mark.parametrize("one", [
    entry(b"a"), entry(b"bad\xff/nl\n", sha256="ab" * 32, ctime_ns=1), entry(b"d", type="d", size=0, drift="times"),
    entry("äß".encode(), type="l", target=b"to\xfe"), entry(b"l", type="l", target=b"../x", drift="deleted"),
    entry(b"huge", size=2**63, mtime_ns=-1, uid=2**32 - 2),
])
def test_a_line_holds_an_entry_exactly(one):
    line = listing.encode(one)
    assert "\n" not in line and line.isascii()
    assert listing.decode(line) == one


def test_children_come_right_after_their_directory():
    paths = [b"a", b"a-b", b"a/x", b"a.b", b"a/x/y", b"b", b"a/\xff", b"a b"]
    assert sorted(paths, key=listing.key) == [b"a", b"a/x", b"a/x/y", b"a/\xff", b"a b", b"a-b", b"a.b", b"b"]


def test_written_and_read_back(tmp_path):
    entries = sorted_entries(NAMES + [b"a/" + name for name in NAMES])
    done = listing.write(tmp_path / "list.gz", iter(entries))
    assert list(listing.read(tmp_path / "list.gz")) == entries
    assert done == {"entries": len(entries), "sha256": sha256_file(tmp_path / "list.gz")}
    again = listing.write(tmp_path / "again.gz", iter(entries))
    assert again == done, "equal trees have equal lists"


def test_an_empty_storage_has_an_empty_list(tmp_path):
    assert listing.write(tmp_path / "l", [])["entries"] == 0
    assert list(listing.read(tmp_path / "l")) == []


def test_a_failed_walk_leaves_no_list(tmp_path):
    def broken():
        yield entry(b"a")
        raise OSError(5, "io")

    with pytest.raises(OSError):
        listing.write(tmp_path / "list.gz", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_cut_list_is_refused_at_every_length(tmp_path):
    path = tmp_path / "list.gz"
    listing.write(path, sorted_entries(b"%04d" % number for number in range(40)))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError) as caught:
            found = list(listing.read(path))
            assert length == 0 and found == []  # an empty file reads as an empty gzip
            raise IntegrityError("empty", reason="storage_list_malformed")
        assert caught.value.reason == "storage_list_malformed"


def test_a_changed_bit_never_reads_as_another_list(tmp_path):
    path = tmp_path / "list.gz"
    entries = sorted_entries(b"%04d" % number for number in range(40))
    listing.write(path, entries)
    whole = bytearray(path.read_bytes())
    chance = random.Random(7)
    for _round in range(200):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        damaged = bytearray(whole)
        damaged[place] ^= bit
        path.write_bytes(bytes(damaged))
        try:
            assert list(listing.read(path)) == entries  # a bit of the header that means nothing
        except IntegrityError as exc:
            assert exc.reason == "storage_list_malformed"


@pytest.mark.parametrize("lines", [
    ['{"p":"b","t":"f","s":1,"m":1,"u":0,"g":0,"n":0}', '{"p":"a","t":"f","s":1,"m":1,"u":0,"g":0,"n":0}'],
    ['{"p":"a","t":"f","s":1,"m":1,"u":0,"g":0,"n":0}'] * 2, ['{"p":"/a","t":"f","s":1,"m":1,"u":0,"g":0,"n":0}'],
    ['{"p":"../a","t":"f","s":1,"m":1,"u":0,"g":0,"n":0}'], ['{"p":"a","t":"x","s":1,"m":1,"u":0,"g":0,"n":0}'],
    ['{"p":"a","t":"f"}'], ["[]"], ["no json"], ['{"b":"%%%","t":"f","s":1,"m":1,"u":0,"g":0,"n":0}'],
    ['{"p":"a","t":"f","s":1,"m":1,"u":0,"g":0,"n":0,"d":"odd"}'],
])
def test_a_malformed_list_is_refused(tmp_path, lines):
    path = tmp_path / "list.gz"
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode()))
    with pytest.raises(IntegrityError) as caught:
        list(listing.read(path))
    assert caught.value.reason == "storage_list_malformed"


def test_a_missing_list_is_told_apart(tmp_path):
    with pytest.raises(IntegrityError) as caught:
        list(listing.read(tmp_path / "none"))
    assert caught.value.reason == "storage_list_missing"


def test_merging_pairs_equal_paths_and_keeps_the_order():
    chance = random.Random(3)
    for _round in range(50):
        paths = [b"/".join(chance.choice(NAMES) for _depth in range(chance.randint(1, 3))) for _count in range(12)]
        left, right = set(chance.sample(paths, 8)), set(chance.sample(paths, 8))
        pairs = list(listing.merged(sorted_entries(left), sorted_entries(right)))
        assert [one.path for one, _other in pairs if one] == sorted(left, key=listing.key)
        assert [other.path for _one, other in pairs if other] == sorted(right, key=listing.key)
        assert {one.path for one, other in pairs if one and other} == left & right
        assert all(one.path == other.path for one, other in pairs if one and other)


@pytest.mark.parametrize("path, text", [(b"a b", "a b"), (b"nl\nname", "nl\\nname"), (b"bad\xff", "bad\\udcff")])
def test_paths_for_people_are_one_line(path, text):
    assert listing.shown(path) == text
