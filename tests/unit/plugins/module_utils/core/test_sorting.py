# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sorting with little memory gives what sorting in memory gives."""
from __future__ import annotations

import os
import random

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.sorting import Sorter


@pytest.mark.parametrize("number, limit, runs", [(0, 3, 0), (2, 3, 0), (3, 3, 1), (10, 3, 3), (1000, 7, 142)])
def test_as_in_memory(tmp_path, number, limit, runs):
    chance = random.Random(number)
    lines = [f"{chance.randrange(500):x} {chance.randrange(9)}" for _n in range(number)]
    found = Sorter(tmp_path, limit)
    for line in lines:
        found.add(line)
    assert list(found) == sorted(lines) == list(found)
    assert len(os.listdir(tmp_path)) == runs
