# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking again and again, and noticing when nothing moves any more."""
from __future__ import annotations

import time

from ...core.errors import ConnectError

# Reasons of a question that may have an answer a little later: a node went, a master is being elected.
_PASSING = ("unreachable", "timeout", "not_ready")


class Patience:
    """How long to wait for something that can be asked for.

    stall: seconds without any movement before it is given up. lost: seconds without an answer.
    """

    def __init__(self, stall, lost=60.0, longest=1.0):
        self.stall, self.lost, self._longest = stall, lost, longest
        self._pause = 0.05
        self._mark, self._moved, self._heard = None, time.monotonic(), time.monotonic()

    def ask(self, question):
        """question()'s answer, or None when there is none right now. Raises its error when there was none for too long."""
        try:
            answer = question()
        except ConnectError as exc:
            if exc.reason not in _PASSING or time.monotonic() - self._heard > self.lost:
                raise
            return None
        self._heard = time.monotonic()
        return answer

    def stalled(self, mark) -> bool:
        """Whether this mark of how far it is has not changed for too long."""
        if mark != self._mark:
            self._mark, self._moved = mark, time.monotonic()
        return time.monotonic() - self._moved > self.stall

    def pause(self) -> None:
        """Waits a little, longer each time, so that what is quick is seen quickly."""
        time.sleep(self._pause)
        self._pause = min(self._longest, self._pause * 1.5)
