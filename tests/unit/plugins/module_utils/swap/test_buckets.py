# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which directories are there tells which side of the swap is in the bucket."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.options import Place
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import buckets
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import (
    BETWEEN,
    NEW,
    OLD,
    Names,
    Pair,
    renames,
    side,
)

NAMES = Names("http://s3/kestra", "/undo/1.restored", "/undo/1.objects")
PAIR = Pair(NAMES, 1, 2)


@pytest.mark.parametrize("there, where", [
    ({NAMES.replacement}, OLD), ({NAMES.replacement, NAMES.undo}, BETWEEN), ({NAMES.undo}, NEW)])
def test_the_side(there, where):
    assert side(PAIR, buckets.found(NAMES, there.__contains__), "storage") == where


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("there", [{NAMES.replacement}, {NAMES.replacement, NAMES.undo}, {NAMES.undo}])
def test_the_steps_lead_there_by_writing_down_and_putting_in(there, target):
    """A step out of the bucket makes a directory, a step into it takes one away: each leaves a side that is known."""
    there = set(there)
    for source, to in renames(PAIR, side(PAIR, buckets.found(NAMES, there.__contains__), "storage"), target):
        if source == NAMES.live:
            assert to not in there
            there.add(to)
        else:
            there.remove(source)
        assert side(PAIR, buckets.found(NAMES, there.__contains__), "storage") in (OLD, BETWEEN, NEW)
    assert side(PAIR, buckets.found(NAMES, there.__contains__), "storage") == target


@pytest.mark.parametrize("place, name", [
    (Place("kestra", "http://s3:9000"), "http://s3:9000/kestra"),
    (Place("kestra", "http://s3:9000", prefix="prod/"), "http://s3:9000/kestra/prod"),
    (Place("kestra", region="eu-west-1"), "Amazon S3 (eu-west-1)/kestra")])
def test_the_name_of_a_bucket(place, name):
    assert buckets.live_name(place) == name
