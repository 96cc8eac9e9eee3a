# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times sort and round-trip; a process is only alive when pid, start and boot all match."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError


def test_times_round_trip_and_sort_as_texts():
    base = datetime(2026, 11, 23, 0, 15, tzinfo=timezone.utc)
    moments = [base + timedelta(microseconds=step) for step in (0, 1, 999999, 1000000, 86400 * 10**6)]
    texts = [clock.utc_text(moment) for moment in moments]
    assert texts == sorted(texts)
    assert [clock.parse_utc(text) for text in texts] == moments


def test_other_zones_become_utc():
    moment = datetime(2026, 11, 23, 1, 15, tzinfo=timezone(timedelta(hours=1)))
    assert clock.utc_text(moment) == "2026-11-23T00:15:00.000000Z"


def test_whole_seconds_are_read():
    assert clock.parse_utc("2026-11-23T00:15:00Z").second == 0


@pytest.mark.parametrize("text", ["", "2026-11-23", "2026-11-23T00:15:00+01:00", None, 7])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError):
        clock.parse_utc(text)


def test_this_process_is_alive():
    assert clock.process_alive(os.getpid(), clock.process_start(os.getpid()), clock.boot_id())


@pytest.mark.parametrize("change", ["pid", "start", "boot"])
def test_a_reused_pid_or_another_boot_is_not_the_same_process(change):
    who = {"pid": os.getpid(), "start": clock.process_start(os.getpid()), "boot": clock.boot_id()}
    who[change] = None if change == "pid" else "0" if change == "boot" else who["start"] + 1
    assert not clock.process_alive(**who)


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    start = clock.process_start(child.pid)
    deadline = time.monotonic() + 10
    while clock.process_alive(child.pid, start, clock.boot_id()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert clock.process_start(child.pid) == start  # still in the table, not yet reaped
    assert not clock.process_alive(child.pid, start, clock.boot_id())
    child.wait()
    assert clock.process_start(child.pid) is None


def test_descendants_are_found_parents_first():
    child = subprocess.Popen(["sh", "-c", "sleep 30 & echo ready; wait"], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        below = clock.descendants(os.getpid())
        assert below.index(child.pid) < below.index(clock.descendants(child.pid)[0])
    finally:
        for pid in clock.descendants(child.pid):
            os.kill(pid, 9)
        child.wait()
