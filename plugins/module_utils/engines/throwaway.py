# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What private servers have in common that live as long as one restore test: an account, a directory, a socket.

Each is started as our child, so it ends with us; the directory of one whose owner was killed is swept by the next.
"""
from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from ..core import clock, files, proc
from ..core.errors import DrError, IntegrityError, StateError, ToolError

OWNER = "owner.json"
# A Unix socket's path is limited to 107 bytes (sys/un.h); the name in it takes 16.
_LONGEST = 90


def unprivileged_user(candidates, preferred=None):
    """The account to run a server as: None for our own. Servers refuse to run as root. Raises ToolError."""
    if os.geteuid() != 0:
        return None
    for name in [preferred] if preferred else candidates:
        with contextlib.suppress(KeyError):
            if pwd.getpwnam(name).pw_uid != 0:
                return name
    raise ToolError(f"There is no unprivileged user {preferred or ' or '.join(candidates)} to run a scratch server as.",
                    reason="user_missing", hint="Create one, or name one by scratch_user.")


def sweep(base, prefix, end_orphan) -> list:
    """Ends and removes servers whose owner is dead. Returns their directories.

    end_orphan(directory): ends a server that outlived its owner.
    """
    swept = []
    for name in sorted(os.listdir(base)):
        directory = os.path.join(base, name)
        if not name.startswith(prefix) or not os.path.isdir(directory) or os.stat(directory).st_uid != os.geteuid():
            continue
        try:
            owner = files.read_json(os.path.join(directory, OWNER))
        except (StateError, IntegrityError):
            # Its owner may be just about to write it; an old one was killed before it could.
            if time.time() - os.stat(directory).st_mtime < 60:
                continue
            owner = {}
        if clock.process_alive(owner.get("pid"), owner.get("pid_start"), owner.get("boot_id")):
            continue
        end_orphan(directory)
        shutil.rmtree(directory, ignore_errors=True)
        swept.append(directory)
    return swept


@contextlib.contextmanager
def directories(base, prefix, account, end_orphan):
    """Yields (data, sockets): two directories of account's, removed at the end. Sweeps those of dead owners first."""
    sweep(base, prefix, end_orphan)
    directory = tempfile.mkdtemp(prefix=prefix, dir=base)
    try:
        pid = os.getpid()
        files.write_json(os.path.join(directory, OWNER), {"pid": pid, "pid_start": clock.process_start(pid),
                                                          "boot_id": clock.boot_id(), "started": clock.utc_now()})
        # Ours to list and sweep, the server's to enter.
        os.chmod(directory, 0o711)
        data, sockets = os.path.join(directory, "data"), _socket_directory(directory, prefix)
        try:
            for path in (data, sockets):
                os.makedirs(path, 0o700, exist_ok=True)
                if account:
                    entry = pwd.getpwnam(account)
                    os.chown(path, entry.pw_uid, entry.pw_gid)
            yield data, sockets
        finally:
            shutil.rmtree(sockets, ignore_errors=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _socket_directory(directory, prefix) -> str:
    inside = os.path.join(directory, "s")
    if len(os.fsencode(inside)) <= _LONGEST:
        return inside
    return tempfile.mkdtemp(prefix=prefix, dir="/tmp")


def end_orphan(pid_file, argument, number) -> None:
    """Ends a server that outlived its owner, by signal number; known by its pid file and one of its arguments (text)."""
    try:
        with open(pid_file, encoding="ascii") as handle:
            pid = int(handle.readline())
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            if os.fsencode(argument) not in handle.read().split(b"\0"):
                return
        os.kill(pid, number)
        until = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
            time.sleep(0.1)
    except (OSError, ValueError):
        return


@contextlib.contextmanager
def running(argv, *, account, ping, timeout, stop=signal.SIGTERM, patience=30):
    """Runs a server for the length of the body, from its first answer on. ping(): raises DrError until it answers.

    timeout, patience: seconds for the start and for the end asked for by the signal stop. Raises ToolError.
    """
    process = proc.start(argv, env=None, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=account)
    tail = proc.Tail(process.stderr)
    try:
        until = time.monotonic() + timeout
        while True:
            if process.poll() is not None:
                raise ToolError("The scratch server did not start: " + (tail.text().splitlines() or ["no message"])[-1],
                                reason="scratch_failed", detail={"stderr_tail": tail.text()})
            try:
                ping()
                break
            except DrError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
        yield
    finally:
        if process.poll() is None:
            process.send_signal(stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        if process.poll() is None:
            proc.kill_tree(process)
