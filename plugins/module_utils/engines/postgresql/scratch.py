# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private PostgreSQL server that lives as long as one restore test: own directory, Unix socket only, no network.

It is started as our child, so it ends with us; the directory of one whose owner was killed is swept by the next.
"""
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time

from ...core import proc
from ...core.errors import DrError, ToolError
from .. import throwaway
from . import connect, versions

PREFIX = "kestra-dr-pg-"
_SUPERUSER = "kestra_dr"

# Nothing here has to survive a crash, so nothing waits for the disk.
_SETTINGS = {
    "listen_addresses": "''", "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",
    "wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "'4GB'", "shared_buffers": "'256MB'",
    "maintenance_work_mem": "'256MB'", "autovacuum": "off", "max_connections": "40", "logging_collector": "off",
    "unix_socket_permissions": "0700", "timezone": "'UTC'", "log_timezone": "'UTC'"}


def pick(major, bin_dir=None) -> versions.Client:
    """Server programs of this major or newer, the nearest. Raises ToolError when none are installed."""
    found = [item for item in versions.find_server_programs(bin_dir) if item.major >= major]
    if not found:
        raise ToolError(f"No PostgreSQL server of version {major} or newer is installed on this host.",
                        reason="tool_missing",
                        hint=f"Install postgresql-{major} here, or name a scratch server by the login options.")
    return min(found, key=lambda item: (item.major, -item.version[1]))


def sweep(base) -> list:
    """Ends and removes scratch servers whose owner is dead. Returns their directories."""
    return throwaway.sweep(base, PREFIX, _end_orphan)


def _end_orphan(directory) -> None:
    """Ends a postmaster that outlived its owner, known by its pid file and the directory on its command line."""
    data = os.path.join(directory, "data")
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="ascii") as handle:
            pid = int(handle.readline())
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            if os.fsencode(data) not in handle.read().split(b"\0"):
                return
        os.kill(pid, signal.SIGQUIT)
        until = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
            time.sleep(0.1)
    except (OSError, ValueError):
        return


@contextlib.contextmanager
def server(*, major=0, base=None, user=None, bin_dir=None, settings=None, timeout=60.0):
    """Yields a connect.Login of a superuser on a fresh server; stops and removes it at the end.

    major: at least this version. base: directory to live below (None: the system's temporary directory). user: account
    to run it as when we are root. settings: {name: value as in postgresql.conf}, over the scratch defaults.
    Raises ToolError.
    """
    base = base or tempfile.gettempdir()
    programs = pick(major, bin_dir)
    account = throwaway.unprivileged_user(("postgres", "nobody"), user)
    with throwaway.directories(base, PREFIX, account, _end_orphan) as (data, sockets):
        proc.run([programs.program("initdb"), f"--pgdata={data}", f"--username={_SUPERUSER}", "--auth=trust",
                  "--encoding=UTF8", "--no-locale", "--no-sync"], user=account, timeout=timeout, cwd="/")
        login = connect.Login(user=_SUPERUSER, host=sockets)
        with _running(programs, data, sockets, account, settings, login, timeout):
            yield login


@contextlib.contextmanager
def _running(programs, data, sockets, account, settings, login, timeout):
    values = dict(_SETTINGS, unix_socket_directories=f"'{sockets}'", **(settings or {}))
    argv = [programs.program("postgres"), "-D", data]
    for name, value in values.items():
        argv += ["-c", f"{name}={value.strip(chr(39))}"]
    process = proc._start(argv, env=None, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=account)
    tail = proc._Tail(process.stderr)
    try:
        until = time.monotonic() + timeout
        while True:
            if process.poll() is not None:
                raise ToolError("The scratch server did not start: " + (tail.text().splitlines() or ["no message"])[-1],
                                reason="scratch_failed", detail={"stderr_tail": tail.text()})
            try:
                connect.connect(login, application="kestra_dr scratch").close()
                break
            except DrError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            proc.kill_tree(process)
