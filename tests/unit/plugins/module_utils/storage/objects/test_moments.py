# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of an object was there at a moment."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.moments import Version, absent, pick, second

PIN = "2026-11-23T00:15:10.000000Z"


def at(seconds, fraction=0):
    return f"2026-11-23T00:15:{seconds:02}.{fraction:06}Z"


def version(key, text, number, latest=False):
    return Version(key, text, latest, Entry(key, 1, "tag", text, str(number)))


def deletion(key, text, latest=False):
    return Version(key, text, latest, None)


def picked(*pages, moment=PIN):
    return [(entry.key, entry.version) for entry in pick(pages, moment)]


def test_now_is_what_is_latest():
    page = [version("a", at(5), 2, True), version("a", at(1), 1), version("b", at(1), 1), deletion("b", at(2), True)]
    assert picked((page, None), moment=None) == [("a", "2")]


def test_what_was_written_later_is_passed_over():
    page = [version("a", at(12), 3, True), version("a", at(11), 2), version("a", at(9), 1), version("new", at(11), 1, True)]
    assert picked((page, None)) == [("a", "1")]


def test_the_newest_of_before_the_moment_counts():
    page = [version("a", at(12), 4, True), version("a", at(9), 3), version("a", at(8), 2), version("a", at(7), 1)]
    assert picked((page, None)) == [("a", "3")]


def test_a_deletion_before_the_moment_counts_and_one_after_it_does_not():
    page = [version("a", at(5), 1), version("b", at(5), 1), version("c", at(11), 2, True), version("c", at(5), 1),
            deletion("a", at(6), True), deletion("b", at(11), True), deletion("c", at(6))]
    assert picked((page, None)) == [("b", "1")]


def test_the_whole_second_of_the_moment_counts():
    """Some servers cut their times to seconds, some do not: the server's own clock is told in seconds."""
    assert picked(([version("a", at(10, 900000), 1, True)], None)) == [("a", "1")]
    assert picked(([version("a", at(11), 1, True)], None)) == []
    assert second(at(10, 900000)) == second("2026-11-23T00:15:10Z")


def test_what_is_there_now_beats_what_is_of_the_same_second():
    page = [version("a", at(9), 1), deletion("a", at(9), True), version("b", at(9), 2, True), version("b", at(9), 1)]
    assert picked((page, None)) == [("b", "2")]


def test_of_one_second_before_later_work_a_version_beats_a_deletion():
    page = [version("a", at(12), 3, True), version("a", at(9), 2), version("a", at(9), 1), deletion("a", at(9))]
    assert picked((page, None)) == [("a", "2")]


def test_a_deletion_of_which_nobody_tells_when_it_was():
    def page(written):
        newest = version("a", written, 2)
        return [newest._replace(latest=True, entry=None, told=False), newest, version("a", at(1), 1)]

    assert picked((page(at(5)), None), moment=None) == []
    # It came after the newest version, and that after the moment.
    assert picked((page(at(12)), None)) == [("a", "1")]
    with pytest.raises(RefusedError) as caught:
        picked((page(at(5)), None))
    assert caught.value.reason == "moment_unknown" and " a " in caught.value.message


def test_a_mark_without_versions_counts_as_there():
    """MinIO keeps none of them: whether it was there before it was written anew cannot be told."""
    mark = Entry("a/", 0, "tag", at(12), "null")
    assert picked(([Version("a/", at(12), True, mark)], None)) == [("a/", "null")]
    assert picked(([Version("a/", at(12), True, mark._replace(version="v2")), version("a/", at(9), 1)], None)) == [("a/", "1")]
    assert picked(([Version("a", at(12), True, mark._replace(key="a"))], None)) == []


def test_versions_of_one_key_on_several_pages():
    first = ([version("a", at(3), 1, True), version("b", at(12), 5, True)], "b")
    second_page = ([version("b", at(11), 4), version("b", at(11), 3)], "b")
    third = ([version("b", at(9), 2), version("b", at(8), 1), version("c", at(1), 1, True)], None)
    assert picked(first, second_page, third) == [("a", "1"), ("b", "2"), ("c", "1")]


def test_a_version_that_is_repeated_on_the_next_page():
    first = ([version("a", at(12), 2, True)], "a")
    assert picked(first, ([version("a", at(12), 2, True), version("a", at(9), 1)], None)) == [("a", "1")]


def test_nothing_is_held_but_the_key_that_goes_on():
    def pages():
        for number in range(100):
            yield [version(f"{number:03}{letter}", at(1), 1, True) for letter in "ab"], f"{number:03}b"

    found = pick(pages(), PIN)
    assert next(found).key == "000a"
    assert len(found.gi_frame.f_locals["held"]) <= 2


def test_versions_that_are_not_there_any_more():
    def listed(key, number, tag="tag", size=1):
        return Entry(key, size, tag, at(1), number)

    entries = [listed("a", "1"), listed("a/b", "1"), listed("b", "2"), listed("b-", "null"), listed("c", "null"),
               listed("d/", "null", size=0), listed("e", "9"), listed("f", "1")]
    pages = [([version("a", at(9), 2, True), version("a", at(1), 1), version("a/b", at(1), 1), deletion("b", at(9), True)], "b"),
             ([version("b", at(1), 1), version("f", at(1), 11), Version("b-", at(1), True, listed("b-", "null")),
               Version("c", at(1), True, listed("c", "null", "other"))], None)]
    assert [entry.key for entry in absent(sorted(entries, key=lambda entry: entry.path.replace(b"/", b"\0")), pages)] == [
        "b", "c", "e", "f"]


def test_what_got_a_versions_name_after_it_was_listed():
    listed = [Entry("a", 1, "0x1", at(1), "null"), Entry("b", 1, "0x2", at(1), "null")]
    pages = [([version("a", at(9), 2, True), Version("a", at(1), False, Entry("a", 1, "0x1", at(1), "1")), version("b", at(9), 1, True)], None)]
    assert [entry.key for entry in absent(listed, pages)] == ["a", "b"]
    assert [entry.key for entry in absent(listed, pages, named_later=True)] == ["b"]
