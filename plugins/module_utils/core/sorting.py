# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any number of lines in sorted order with little memory: sorted runs of them wait in files of a private directory."""
from __future__ import annotations

import contextlib
import heapq
import itertools
import os

# Runs that become one: each is open while lines are given back, with its buffers, and a process may open only so many.
_TOGETHER = 32


class Sorter:
    """Takes lines, then gives them back sorted, as often as asked. limit: lines held in memory."""

    def __init__(self, directory, limit=100_000):
        self._directory = directory
        self._limit = limit
        self._held: list = []
        # By how often what is in a run was written, each list shorter than _TOGETHER.
        self._runs: list = []
        self._written = 0

    def add(self, line: str) -> None:
        """Takes a line: ASCII, without a newline."""
        self._held.append(line + "\n")
        if len(self._held) >= self._limit:
            self._write(sorted(self._held), 0)
            self._held.clear()

    def _write(self, lines, level) -> None:
        path = os.path.join(self._directory, f"run{self._written}")
        self._written += 1
        with open(path, "w", encoding="ascii") as handle:
            handle.writelines(lines)
        if level == len(self._runs):
            self._runs.append([])
        self._runs[level].append(path)
        if len(self._runs[level]) == _TOGETHER:
            merged, self._runs[level] = self._runs[level], []
            with _opened(merged) as runs:
                self._write(heapq.merge(*runs), level + 1)
            for path in merged:
                os.unlink(path)

    def __iter__(self):
        with _opened(itertools.chain(*self._runs)) as runs:
            for line in heapq.merge(*runs, sorted(self._held)):
                yield line[:-1]


@contextlib.contextmanager
def _opened(paths):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open(path, encoding="ascii")) for path in paths]
