# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of this machine, from proc(5): a base system has no ps."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """What the tests ask of a process."""

    parent: int
    session: int
    arguments: list


def processes() -> dict:
    """{pid: Process} of what runs now."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            _state, parent, _group, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found[int(pid)] = Process(int(parent), int(session), arguments)
    return found
