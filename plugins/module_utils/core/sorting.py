# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any number of lines in sorted order with little memory: sorted runs of them wait in files of a private directory."""
from __future__ import annotations

import contextlib
import heapq
import os


class Sorter:
    """Takes lines, then gives them back sorted, as often as asked. limit: lines held in memory."""

    def __init__(self, directory, limit=100_000):
        self._directory = directory
        self._limit = limit
        self._held: list = []
        self._runs: list = []

    def add(self, line: str) -> None:
        """Takes a line: ASCII, without a newline."""
        self._held.append(line + "\n")
        if len(self._held) >= self._limit:
            path = os.path.join(self._directory, f"run{len(self._runs)}")
            with open(path, "w", encoding="ascii") as handle:
                handle.writelines(sorted(self._held))
            self._runs.append(path)
            self._held.clear()

    def __iter__(self):
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(open(path, encoding="ascii")) for path in self._runs]
            for line in heapq.merge(*runs, sorted(self._held)):
                yield line[:-1]
