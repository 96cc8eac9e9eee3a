# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of a bucket in the repository against the sealed list."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import listing as files
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import listing
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import verify_objects

DIGESTS = [f"{number:02x}" * 32 for number in (1, 9, 0xa0, 0xff)]


def entry(key, sha256, size=3, drift=None):
    return listing.Entry(key, size, "tag", "2026-11-23T00:15:00.000000Z", sha256=sha256, md5="0" * 32, drift=drift)


def node(path, sha256):
    return files.Entry(path.encode(), "f", 3, 0o600, 0, 0, 0, sha256=sha256)


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "list"
    listing.write(path, [
        entry("a", DIGESTS[0]), entry("b", DIGESTS[1]), entry("c", DIGESTS[0]), entry("d", DIGESTS[2]),
        entry("e", None, drift="deleted"), entry("f/", "e" * 64, 0), entry("g", DIGESTS[3], drift="changed")])
    return path


def component(**change):
    return {"list": {"sha256": "l" * 64, "entries": 7}, "drift": {"deleted": 1}, "objects": 5, "markers": 1, "bytes": 15, **change}


def snapshot(digests, beside="l" * 64):
    found = [files.Entry(b"01", "d", 0, 0o700, 0, 0, 0)]
    found += [node(f"{name[:2]}/{name}", content) for name, content in digests]
    return [*found, node("kestra-dr-objects", "m" * 64), node("list.jsonl.gz", beside)]


def test_the_list_adds_up(sealed):
    expected, found = verify_objects.counted(sealed, component())
    assert expected == found
    for change in ({"objects": 4}, {"markers": 0}, {"bytes": 14}, {"drift": {"deleted": 0}}):
        expected, found = verify_objects.counted(sealed, component(**change))
        assert expected != found


def test_a_copy_that_is_whole(sealed):
    expected, found = verify_objects.content(sealed, component(), snapshot([(name, name) for name in DIGESTS]))
    assert expected == found == {"contents": 4, "list": "l" * 64, "differences": {}}


@pytest.mark.parametrize(("digests", "differences"), [
    ([(name, name) for name in DIGESTS[1:]], {"missing": DIGESTS[:1]}),
    ([(name, name) for name in DIGESTS[:-1]], {"missing": DIGESTS[-1:]}),
    ([], {"missing": DIGESTS}),
    ([(name, name if name != DIGESTS[2] else DIGESTS[1]) for name in DIGESTS], {"damaged": [DIGESTS[2]]}),
    ([(name, name) for name in sorted([*DIGESTS, "7" * 64])], {"unexpected": ["7" * 64]})])
def test_a_copy_that_is_not(sealed, digests, differences):
    expected, found = verify_objects.content(sealed, component(), snapshot(digests))
    assert expected != found and found["differences"] == differences


def test_another_list_beside_the_contents(sealed):
    whole = [(name, name) for name in DIGESTS]
    for beside in ("x" * 64, None):
        expected, found = verify_objects.content(sealed, component(), snapshot(whole, beside))
        assert expected != found and found["differences"] == {}
