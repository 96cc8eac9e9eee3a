# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket compared with a list."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.compare import compare, difference, same_content
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry

MD5 = "0" * 31 + "1"
OTHER = "0" * 31 + "2"
EXPECTED = Entry("a", 3, "tag-of-then", "2026-11-23T00:15:00.000000Z", "v1", "a" * 64, MD5, {"ContentType": "x/y"}, {"m": "n"})
FOUND = Entry("a", 3, MD5, "2026-11-24T00:15:00.000000Z", "v9")


@pytest.mark.parametrize(("found", "md5_tags", "same"), [
    (FOUND, True, True), (FOUND._replace(etag="tag-of-then"), False, True), (FOUND._replace(etag=OTHER), True, False),
    (FOUND._replace(etag=OTHER), False, None), (FOUND._replace(etag=OTHER + "-3"), True, None),
    (FOUND._replace(etag="odd"), True, None), (FOUND._replace(etag="odd", sha256="a" * 64), True, True),
    (FOUND._replace(sha256="b" * 64), True, False), (FOUND._replace(etag="0x8DC", md5=MD5), False, True),
    (FOUND._replace(etag="0x8DC", md5=OTHER), False, False), (FOUND._replace(etag="0x8DC"), False, None)])
def test_what_tags_tell_of_contents(found, md5_tags, same):
    assert same_content(EXPECTED, found, md5_tags) is same


@pytest.mark.parametrize(("change", "aspect"), [
    ({}, None), ({"size": 4}, "size"), ({"etag": OTHER}, "content"), ({"etag": OTHER + "-2"}, None),
    ({"headers": {"ContentType": "x/y"}, "metadata": {"m": "n"}}, None), ({"headers": {}}, "headers"),
    ({"headers": {"ContentType": "x/z"}}, "headers"), ({"metadata": {"m": "o"}}, "metadata"), ({"metadata": {}}, "metadata")])
def test_the_first_aspect_that_differs(change, aspect):
    assert difference(EXPECTED, FOUND._replace(**change)) == aspect


def test_two_streams():
    def entries(*keys, of=FOUND):
        return [of._replace(key=key) for key in keys]

    expected = entries("a", "b", "c", "d", of=EXPECTED) + [EXPECTED._replace(key="e", drift="deleted"),
                                                           EXPECTED._replace(key="f", drift="changed")]
    found = [FOUND, FOUND._replace(key="b", size=9), FOUND._replace(key="d", etag="odd"), *entries("e", "f", "g")]
    result = compare(expected, found)
    assert result["verdict"] == "differs" and result["entries"] == 5 and result["drifted"] == 1
    assert result["counts"] == {"missing": 1, "unexpected": 1, "size": 1, "content": 0, "headers": 0, "metadata": 0}
    assert result["differences"] == 2 and result["compared_digests"] == 2
    assert result["examples"] == {"missing": ["c"], "unexpected": ["g"], "size": ["b"]}


def test_unexpected_objects_make_no_difference():
    assert compare([], [FOUND])["verdict"] == "equal" and compare([EXPECTED], [])["verdict"] == "differs"
