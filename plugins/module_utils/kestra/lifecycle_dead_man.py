# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead-man: brings Kestra back at the deadline when nobody else did. Run as: python3 -I dead_man.py DIRECTORY

This file is copied to the Kestra host and runs there alone: no controller, no ssh session, no collection, nothing but
the standard library of Python 3.9 or later. It follows DIRECTORY/lifecycle.json, written by the kestra_service module:

- no record: nobody holds Kestra down; it ends.
- deadline not reached: it waits and looks again every second, so a changed deadline needs no new dead-man.
- deadline reached, safe_to_start true, Kestra was found running: it starts Kestra and records dead_man_fired.
- deadline reached, safe_to_start anything but true: it leaves Kestra down and writes DIRECTORY/HELD with the reason.

Two advisory locks, which the kernel drops when their holder dies: lifecycle.lock is held for every look at and change
of the record, dead_man.lock for as long as a dead-man lives. It lets go of dead_man.lock while it still holds
lifecycle.lock, so whoever sees dead_man.lock taken while holding lifecycle.lock knows that the record will be followed.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone

RECORD = "lifecycle.json"
HELD = "HELD"
STATE_LOCK = "lifecycle.lock"
ALIVE_LOCK = "dead_man.lock"
PROGRAM = "dead_man.py"
LOG = "dead_man.log"
# Starts tried before it gives up, and the seconds between them grow with each: 15, 30, ... in all about 11 minutes.
ATTEMPTS = 10
PAUSE = 15.0
POLL = 1.0
START_TIMEOUT = 300.0
# Seconds in which a start that returned without an error has to show in the status.
SETTLE = 60.0
OUTPUT_TAIL = 4 << 10


def utc_text(seconds: float) -> str:
    """Seconds since the epoch as 2026-11-23T00:15:00.123456Z."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_seconds(text: str) -> float:
    """The reverse of utc_text. Raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()


def boot_id() -> str:
    """The kernel's id of this boot (proc(5))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()


def boot_seconds() -> float:
    """Seconds since boot, suspension included: not moved by a change of the wall clock (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def seconds_left(record: dict, now: float, since_boot: float, boot: str) -> float:
    """Seconds to the record's deadline: by the boot clock within one boot, by the wall clock after a reboot."""
    if record.get("boot_id") == boot and isinstance(record.get("deadline_since_boot"), (int, float)):
        return record["deadline_since_boot"] - since_boot
    return utc_seconds(record["deadline"]) - now


def left(record: dict) -> float:
    """seconds_left by the clocks of this host."""
    return seconds_left(record, time.time(), boot_seconds(), boot_id())


def settled(record: dict) -> bool:
    """Whether the dead-man has already done with this record what there was to do."""
    fired = record.get("dead_man_fired")
    return bool(fired) and fired.get("outcome") != "starting"


def decide(record: dict) -> str:
    """What the deadline means for a record: "start", "hold" or "nothing" (Kestra was down when we came)."""
    if record.get("safe_to_start") is not True:
        return "hold"
    return "start" if (record.get("found") or {}).get("active") else "nothing"


def held_text(record: dict, reason: str, now: str) -> str:
    """The HELD file: for the person who wonders why Kestra does not start."""
    lines = [
        f"Kestra instance {record.get('instance')} is held down on this host since {now}.",
        f"Reason: {reason}",
        f"Run: {record.get('run_id')} ({record.get('flow')}) of {record.get('owner')}",
    ]
    if record.get("recovery_point"):
        lines.append(f"Recovery point: {record['recovery_point']}")
    lines += [
        "Kestra must not start before its database and storage belong together again: run the flow named above again,",
        "or the undo playbook. To release the hold after checking both by hand:",
        f"  ansible <hosts of the instance> -b -m kestra_community.dr.kestra_service -a 'state=released "
        f"instance={record.get('instance')} run_id={record.get('run_id')}'",
    ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def locked(path: str, blocking: bool = True):
    """Holds an advisory lock on path. Raises BlockingIOError when not blocking and somebody holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        yield fd
    finally:
        os.close(fd)


def alive(directory: str) -> bool:
    """Whether a dead-man lives. Its answer holds only while the caller holds lifecycle.lock."""
    path = os.path.join(directory, ALIVE_LOCK)
    if not os.path.exists(path):
        return False
    try:
        with locked(path, blocking=False):
            return False
    except BlockingIOError:
        return True


def write(path: str, text: str, mode: int = 0o600) -> None:
    """Replaces path durably in one step."""
    part = path + ".part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as handle:
        os.fchmod(fd, mode)
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(part, path)
    sync_directory(os.path.dirname(path))


def sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def hold(directory: str, record: dict, reason: str) -> None:
    """Writes HELD, readable by whoever wonders, also by a start command that is not root's."""
    write(os.path.join(directory, HELD), held_text(record, reason, utc_text(time.time())), 0o644)


def load(directory: str):
    """The record, or None. Raises ValueError when it is there but no record."""
    try:
        with open(os.path.join(directory, RECORD), encoding="utf-8") as handle:
            record = json.load(handle)
    except FileNotFoundError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("deadline"), str):
        raise ValueError("no record")
    utc_seconds(record["deadline"])
    return record


def save(directory: str, record: dict) -> None:
    """Writes the record."""
    write(os.path.join(directory, RECORD), json.dumps(record, sort_keys=True, indent=2) + "\n")


def command(argv, timeout: float, env=None):
    """Runs a service command: (exit code, end of its output). 127 missing, 126 not executable, 124 timed out.

    Its output goes to a file, not to a pipe: a server that the command leaves behind would keep a pipe open for ever.
    It gets a session of its own, so that what it starts does not end with the one who called.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/",
                                       env=dict(os.environ, **(env or {})), start_new_session=True)
        except FileNotFoundError:
            return 127, f"{argv[0]}: not found"
        except OSError as exc:
            return 126, f"{argv[0]}: {exc.strerror}"
        try:
            rc = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            rc = 124
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - OUTPUT_TAIL))
        return rc, output.read().decode("utf-8", "replace").strip()


def say(text: str) -> None:
    """One line to stderr: the journal, or dead_man.log."""
    sys.stderr.write(f"{utc_text(time.time())} kestra-dr dead-man: {text}\n")
    sys.stderr.flush()


def start_kestra(record: dict):
    """Starts Kestra as its manager would: (outcome "started" or "failed", text)."""
    commands = record["commands"]
    environment = commands.get("environment")

    def status():
        return command(commands["status"], START_TIMEOUT, environment)

    # A stop that was asked for but not seen to end may still be under way: a server that is shutting down looks
    # running, and would be gone a moment after it was taken for started.
    patience = record.get("stop_patience", 0) if record.get("phase") == "stopping" else 0
    end = time.monotonic() + patience
    while status()[0] == 0:
        if time.monotonic() >= end:
            return "started", "Kestra was running already."
        time.sleep(POLL)
    rc, output = command(commands["start"], START_TIMEOUT, environment)
    if rc != 0:
        return "failed", f"{commands['start'][0]} ended with {rc}: {output}"
    end = time.monotonic() + SETTLE
    while True:
        rc, output = status()
        if rc == 0:
            return "started", "Kestra was started."
        if time.monotonic() >= end:
            return "failed", f"Kestra does not run {SETTLE:g} s after its start: {output}"
        time.sleep(POLL)


def try_save(directory: str, record: dict) -> None:
    """A full disk must not keep Kestra down: what cannot be recorded is said."""
    try:
        save(directory, record)
    except OSError as exc:
        say(f"{RECORD} cannot be written: {exc.strerror}")


def forget(record: dict) -> None:
    """Removes what only the way back needed, such as a login."""
    for path in record["commands"].get("forget", ()):
        with contextlib.suppress(OSError):
            os.unlink(path)


def look(directory: str):
    """One look at the record, under its lock: (what to do, record). What to do: "end", "wait" or "start"."""
    try:
        record = load(directory)
    except ValueError:
        # Written by rename only, so this is damage. What it said is lost; a start could be the wrong thing.
        broken = {"instance": os.path.basename(directory), "run_id": None, "flow": None, "owner": None}
        hold(directory, broken, f"{RECORD} in this directory cannot be read.")
        say(f"{RECORD} cannot be read; Kestra stays down, see {HELD}")
        return "end", None
    if record is None or settled(record):
        return "end", record
    if left(record) > 0:
        return "wait", record
    action = decide(record)
    now = utc_text(time.time())
    fired = record.setdefault("dead_man_fired", {"at": now, "attempts": 0})
    fired["action"] = action
    if action == "hold":
        reason = record.get("reason") or f"The {record.get('flow')} did not end and did not say that a start is safe."
        if not os.path.lexists(os.path.join(directory, HELD)):
            hold(directory, record, reason)
        fired.update(outcome="held", detail=reason)
    elif action == "nothing":
        fired.update(outcome="nothing", detail="Kestra was not running when the run began; it was left so.")
    else:
        fired.update(outcome="starting", attempts=fired["attempts"] + 1)
        fired.pop("ended", None)
    try_save(directory, record)
    say(f"deadline {record['deadline']} of run {record.get('run_id')} reached: {fired['outcome']}")
    return ("start" if action == "start" else "end"), record


def watch(directory: str) -> int:
    """Follows the record to its end. Returns the exit code: 0, or 1 when Kestra could not be started."""
    state_lock = os.path.join(directory, STATE_LOCK)
    attempts = 0
    with contextlib.ExitStack() as life:
        life.enter_context(locked(os.path.join(directory, ALIVE_LOCK)))
        while True:
            with locked(state_lock):
                step, record = look(directory)
                if step == "end":
                    life.close()
                    return 0
            if step == "wait":
                time.sleep(min(POLL, max(left(record), 0.01)))
                continue
            attempts += 1
            outcome, text = start_kestra(record)
            again = outcome == "failed" and max(attempts, record["dead_man_fired"]["attempts"]) < ATTEMPTS
            say(text)
            with locked(state_lock):
                current = load(directory)
                if current and current.get("run_id") == record.get("run_id"):
                    current["dead_man_fired"] = dict(record["dead_man_fired"], outcome="starting" if again else outcome,
                                                     detail=text, ended=utc_text(time.time()))
                    try_save(directory, current)
                if outcome == "started":
                    forget(record)
                if not again:
                    life.close()
                    return 0 if outcome == "started" else 1
            time.sleep(PAUSE * attempts)


def main(argv) -> int:
    """The command line."""
    if len(argv) != 2 or not os.path.isdir(argv[1]):
        sys.stderr.write("usage: dead_man.py DIRECTORY\n")
        return 2
    return watch(os.path.abspath(argv[1]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
