# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time and the identity of processes: UTC texts, boot id, and whether a recorded process still is the same one."""
from __future__ import annotations

import os
import time
from datetime import datetime, timezone

from .errors import ConfigError


def utc_text(moment: datetime) -> str:
    """An aware datetime as "2026-11-23T00:15:00.123456Z" (always six digits, so texts sort as times do)."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_now() -> str:
    """Now, as utc_text gives it."""
    return utc_text(datetime.now(timezone.utc))


def parse_utc(text: str) -> datetime:
    """The aware datetime of a text in utc_text's form; the fraction may be missing. Raises ConfigError."""
    for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=timezone.utc)
        except (TypeError, ValueError):
            continue
    raise ConfigError(f"{text!r} is not a UTC time like 2026-11-23T00:15:00.123456Z.", reason="bad_time")


def boot_id() -> str:
    """The kernel's id of this boot (proc(5), /proc/sys/kernel/random/boot_id)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()


def _stat_fields(pid: int):
    """State and the later fields of /proc/<pid>/stat, or None. The name in parentheses may hold spaces and ")"."""
    try:
        with open(f"/proc/{int(pid)}/stat", "rb") as handle:
            return handle.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None


def process_start(pid: int):
    """When the process started, in clock ticks since boot (proc(5) field 22), or None when there is none."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def process_alive(pid, start, boot) -> bool:
    """Whether the recorded process (pid, start ticks, boot id) still runs. A reused pid or a zombie does not count."""
    if not pid or boot != boot_id():
        return False
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] not in (b"Z", b"X") and int(fields[19]) == start


def descendants(pid: int) -> list:
    """Pids of all living descendants of a process, parents first."""
    children: dict = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat_fields(int(name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found.extend(below)
        queue.extend(below)
    return found


class Laps:
    """How long each phase of a step took."""

    def __init__(self):
        self.laps: dict = {}
        self._last = time.monotonic()

    def lap(self, name) -> None:
        """Ends a phase."""
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
