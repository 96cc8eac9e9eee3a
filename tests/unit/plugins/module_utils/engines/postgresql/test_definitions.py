# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions compared loosely where the server prints them differently, and exactly where it does not."""

from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.definitions import compare, loose


@pytest.mark.parametrize(
    "left,right",
    [
        (
            "CHECK (((state)::text = ANY ((ARRAY['A'::character varying, 'B'::character varying])::text[])))",
            "CHECK (((state)::text = ANY (ARRAY[('A'::character varying)::text, ('B'::character varying)::text])))",
        ),
        ("(a + b)", "a + b"),
        ("x::timestamp without time zone", "x"),
        ("x::numeric(10, 2)[]", "x"),
        ("x::public.mood", "x"),
    ],
)
def test_equal(left, right):
    assert loose(left) == loose(right)


@pytest.mark.parametrize(
    "left,right",
    [
        ("'a b'", "'ab'"),
        ("'(x)'", "'x'"),
        ("'a'::text", "'b'::text"),
        ('"A b"', '"Ab"'),
        ("a > 1", "a >= 1"),
        ("'it''s ::x'", "'it''s'"),
    ],
)
def test_different(left, right):
    assert loose(left) != loose(right)


def test_nothing_stays_nothing():
    assert loose(None) is None


WHOLE = {
    "tables": {"public.t": "1"},
    "constraints": {},
    "indexes": {"public.i": "2"},
    "triggers": {},
    "functions": {},
    "types": {},
    "extensions": {"pgcrypto": "1.3"},
    "sequences": {"public.s": {"last_value": 1, "is_called": True, "definition": "3"}},
}


def changed(**kinds):
    return {kind: kinds.get(kind, value) for kind, value in WHOLE.items()}


def test_same():
    assert compare(WHOLE, WHOLE) == []


@pytest.mark.parametrize(
    "other,kind",
    [
        (changed(tables={"public.t": "9"}), "tables"),
        (changed(tables={}), "tables"),
        (changed(indexes={"public.i": "2", "public.j": "2"}), "indexes"),
        (changed(extensions={}), "extensions"),
        (changed(sequences={}), "sequences"),
        (changed(sequences={"public.s": {"last_value": 2, "is_called": True, "definition": "3"}}), "sequences"),
        (changed(sequences={"public.s": {"last_value": 1, "is_called": False, "definition": "3"}}), "sequences"),
        (changed(sequences={"public.s": {"last_value": 1, "is_called": True, "definition": "4"}}), "sequences"),
    ],
)
def test_differences(other, kind):
    assert [item["kind"] for item in compare(WHOLE, other)] == [kind]
    assert [item["kind"] for item in compare(other, WHOLE)] == [kind]


def test_versions_of_extensions_are_the_targets_own():
    assert compare(WHOLE, changed(extensions={"pgcrypto": "1.4"})) == []


def test_between_majors_only_names_are_compared():
    other = changed(
        tables={"public.t": "9"},
        indexes={},
        sequences={"public.s": {"last_value": 1, "is_called": True, "definition": "4"}},
    )
    assert [item["kind"] for item in compare(WHOLE, other, same_major=False)] == ["indexes"]
