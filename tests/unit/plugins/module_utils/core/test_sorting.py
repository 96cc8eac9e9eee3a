# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sorting with little memory gives what sorting in memory gives."""
from __future__ import annotations

import os
import random

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.sorting import Sorter


@pytest.mark.parametrize("number, limit, runs", [(0, 3, 0), (2, 3, 0), (3, 3, 1), (10, 3, 3), (1000, 7, 4 + 14), (32 * 32 + 33, 1, 1 + 1 + 1)])
def test_as_in_memory(tmp_path, number, limit, runs):
    chance = random.Random(number)
    lines = [f"{chance.randrange(500):x} {chance.randrange(9)}" for _n in range(number)]
    found = Sorter(tmp_path, limit)
    for line in lines:
        found.add(line)
    assert list(found) == sorted(lines) == list(found)
    assert len(os.listdir(tmp_path)) == runs


def test_few_files_are_open(tmp_path):
    found = Sorter(tmp_path, 1)
    for number in range(5000):
        found.add(f"{4999 - number:04}")
    before = len(os.listdir("/proc/self/fd"))
    lines = iter(found)
    assert next(lines) == "0000"
    # 5000 is 4 · 32² + 28 · 32 + 8.
    assert len(os.listdir("/proc/self/fd")) - before == 4 + 28 + 8
    assert list(lines) == [f"{number:04}" for number in range(1, 5000)]
