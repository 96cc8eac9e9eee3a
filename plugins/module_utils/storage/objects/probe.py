# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long an object takes from the source of a replication into its target: one is written, waited for, and removed."""
from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta

from ...core import clock
from ...core.errors import DrError
from .listing import PROBES, Entry

_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
# What an earlier run left, or what came into the target after it had gone, is removed when it is so old.
_LEFT_FOR = timedelta(hours=1)


def measure(source, target, limit: float, server_time: str) -> dict:
    """{seconds: until it was in the target, None when it was not there within the limit, limit, replica: whether the target says
    that it is one, None when nobody tells, left: why something of it could not be removed, or None}. server_time: of inventory.about() of the source."""
    left = _sweep((source, target), clock.utc_text(clock.parse_utc(server_time) - _LEFT_FOR))
    name = uuid.uuid4().hex
    here, there = source.below(PROBES + name), target.below(PROBES + name)
    content = os.urandom(64)
    try:
        begun = time.monotonic()
        here.put(Entry("", len(content), "", ""), content)
        arrived, seconds = _arrived(there, len(content), begun, limit)
        replica = None if arrived is None or not there.marks_replicas else there.replicated(arrived) == "REPLICA"
    finally:
        left = _remove((here, there)) or left
    return {"seconds": seconds, "limit": limit, "replica": replica, "left": left}


def _arrived(there, size, begun, limit):
    pause = _PAUSE
    while True:
        # A listing: a server may answer a question for one object out of the bucket at the other side.
        found = next((version.entry for page, _next in there.version_pages() for version in page
                      if version.entry and version.entry.size == size), None)
        seconds = time.monotonic() - begun
        if found:
            return found, round(seconds, 3)
        if seconds >= limit:
            return None, None
        time.sleep(min(pause, limit - seconds))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _sweep(sides, before):
    return _remove([side.below(PROBES) for side in sides], before)


def _remove(sides, before=None):
    left = None
    for side in sides:
        try:
            side.delete_versions(before)
        except DrError as exc:
            left = exc.message
    return left
