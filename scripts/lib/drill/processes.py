# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that a drill started, known by pid, start time and boot, or by the mark in their environment."""
from __future__ import annotations

import os
import signal
import subprocess
import time

from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock

MARK = "KESTRA_DR_DRILL"


def identity(pid) -> dict:
    """What recognises a process later: its number alone may be another's by then."""
    return {"pid": pid, "start": clock.process_start(pid), "boot": clock.boot_id()}


def alive(known) -> bool:
    """Whether the process that identity() described still runs."""
    return bool(known) and clock.process_alive(known.get("pid"), known.get("start"), known.get("boot"))


def _environment(pid) -> list:
    try:
        with open(f"/proc/{pid}/environ", "rb") as handle:
            return handle.read().split(b"\0")
    except OSError:
        return []


def _namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def marked(mark) -> list:
    """Identities of the living processes that carry this mark, ourselves and our ancestors left out.

    The mark names the lab directory, so it is given by this program alone; a process inherits it and keeps it for life,
    also one that left its session, as detached steps do. In a container the same name is another directory: its
    processes are not ours.
    """
    wanted = f"{MARK}={mark}".encode()
    here, ours, pid = _namespace("self"), set(), os.getpid()
    while pid > 1:
        ours.add(pid)
        pid = _parent(pid)
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in ours and wanted in _environment(name) and _namespace(name) == here:
            known = identity(int(name))
            if alive(known):
                found.append(known)
    return found


def _parent(pid) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            return int(handle.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def end(known, sig=signal.SIGTERM) -> None:
    """Sends a signal to a process if it still is the one we know."""
    if alive(known):
        try:
            os.kill(known["pid"], sig)
        except ProcessLookupError:
            pass


def end_all(known, grace=10.0) -> int:
    """Ends processes: SIGTERM, then SIGKILL after grace seconds. Returns how many were alive."""
    living = [one for one in known if alive(one)]
    for one in living:
        end(one)
    deadline = time.monotonic() + grace
    while any(alive(one) for one in living) and time.monotonic() < deadline:
        time.sleep(0.1)
    for one in living:
        end(one, signal.SIGKILL)
    return len(living)


def start_detached(argv, *, log, cwd, env) -> dict:
    """Starts a program in a session of its own, output appended to log. Returns its identity."""
    with open(log, "ab") as out:
        child = subprocess.Popen(  # pylint: disable=consider-using-with
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env, start_new_session=True
        )
    return identity(child.pid)
