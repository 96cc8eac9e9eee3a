# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ids are unique enough, sort by time, and are safe in paths."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import ids

MOMENT = datetime(2026, 11, 23, 0, 15, tzinfo=timezone.utc)


def test_the_form():
    assert ids.new_id(MOMENT, lambda count: "a1b2c3") == "20261123T001500Z-a1b2c3"


def test_another_zone_gives_the_same_id():
    there = MOMENT.astimezone(timezone(timedelta(hours=-5)))
    assert ids.new_id(there, lambda count: "a1b2c3") == "20261123T001500Z-a1b2c3"


def test_two_in_one_second_differ():
    assert len({ids.new_id(MOMENT) for _n in range(50)}) > 45


def test_own_ids_are_ids():
    assert all(ids.is_id(ids.new_id()) for _n in range(50))


@pytest.mark.parametrize("text", [
    None, 7, "", "latest", "20261123T001500Z-a1b2c3/", "../20261123T001500Z-a1b2c3", "20261123T001500Z-A1B2C3",
    "20261123T001500Z-a1b2c3\n", "20261123T001500Z-a1b2c34"])
def test_others_are_not(text):
    assert not ids.is_id(text)
