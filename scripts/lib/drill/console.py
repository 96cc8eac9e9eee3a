# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees: a line per finished step with the time since the start; on a terminal the step under way too."""
from __future__ import annotations

import shutil
import sys
import time


def span(seconds) -> str:
    """Seconds as a person reads them: 0.4 s, 12.3 s, 2 min 5 s, 1 h 3 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(round(seconds)), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count) -> str:
    """Bytes as a person reads them (binary units)."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


class Console:
    """Prints steps. started: monotonic seconds of the start of the whole command."""

    def __init__(self, stream=None, started=None):
        self.stream = stream or sys.stdout
        self.started = time.monotonic() if started is None else started
        self._live = self.stream.isatty()
        self._shown = False

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        return f"[{minutes:2d}:{seconds:02d}]"

    def _clear(self) -> None:
        if self._shown:
            self.stream.write("\r\x1b[2K")
            self._shown = False

    def line(self, text="") -> None:
        """A line without a clock."""
        self._clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def step(self, text) -> None:
        """A finished step."""
        self.line(f"{self._clock()} {text}")

    def working(self, text) -> None:
        """The step under way, on a terminal only; replaced by the next line."""
        if self._live:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"{self._clock()} ... {text}"[:width])
            self.stream.flush()
            self._shown = True
