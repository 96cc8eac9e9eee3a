# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a swap stands is read from identities, and every way from every place leads to the side that is asked for."""
from __future__ import annotations

import itertools

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import (
    BETWEEN,
    NEW,
    OLD,
    Names,
    Pair,
    idle_name,
    renames,
    side,
)

NAMES = Names("live", "replacement", "undo")
BOTH = Pair(NAMES, 1, 2)
FRESH = Pair(NAMES, None, 2)  # the live one was lost


def found(live, replacement, undo):
    return {"live": live, "replacement": replacement, "undo": undo}


@pytest.mark.parametrize("pair, there, expected", [
    (BOTH, found(1, 2, None), OLD), (BOTH, found(None, 2, 1), BETWEEN), (BOTH, found(2, None, 1), NEW),
    (FRESH, found(None, 2, None), OLD), (FRESH, found(2, None, None), NEW)])
def test_the_places_of_a_swap(pair, there, expected):
    assert side(pair, there, "database") == expected


@pytest.mark.parametrize("pair", [BOTH, FRESH])
def test_every_other_place_is_refused(pair):
    known = {(pair.old, pair.new, None), (pair.new, None, pair.old)} | ({(None, pair.new, pair.old)} if pair.old else set())
    others = 0
    for there in itertools.product((None, 1, 2, 3), repeat=3):
        if there not in known:
            others += 1
            with pytest.raises(StateError) as caught:
                side(pair, found(*there), "storage")
            assert caught.value.reason == "swap_state" and "nothing was changed" in caught.value.hint
    assert others == 64 - len(known)


def test_a_new_directory_under_the_old_name_is_seen():
    # Kestra makes its storage directory at start; the name alone would look like the time before the swap
    with pytest.raises(StateError) as caught:
        side(BOTH, found(3, 2, 1), "storage")
    assert "live is something else" in str(caught.value) and "undo is the one from before" in str(caught.value)


@pytest.mark.parametrize("pair, start", [(BOTH, found(1, 2, None)), (BOTH, found(None, 2, 1)), (BOTH, found(2, None, 1)),
                                         (FRESH, found(None, 2, None)), (FRESH, found(2, None, None))])
@pytest.mark.parametrize("target", [OLD, NEW])
def test_renames_lead_to_the_target_and_lose_nothing(pair, start, target):
    there = dict(start)
    for source, name in renames(pair, side(pair, there, "storage"), target):
        assert there[source] is not None and there[name] is None
        there[name], there[source] = there[source], None
        side(pair, there, "storage")  # no step passes through an unknown place
    assert side(pair, there, "storage") == target
    assert sorted(filter(None, there.values())) == sorted(filter(None, start.values()))


def test_the_half_that_is_not_live():
    assert idle_name(BOTH, NEW) == "undo" and idle_name(BOTH, OLD) == "replacement"
    assert idle_name(FRESH, NEW) is None and idle_name(FRESH, OLD) == "replacement"


def test_a_pair_round_trips_through_the_journal():
    for pair in (BOTH, FRESH):
        assert Pair.from_journal(pair.to_journal()) == pair
