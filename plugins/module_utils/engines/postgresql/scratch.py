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
import tempfile

from ...core import proc
from ...core.errors import ToolError
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
    data = os.path.join(directory, "data")
    throwaway.end_orphan(os.path.join(data, "postmaster.pid"), data, signal.SIGQUIT)


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
        with throwaway.running(_arguments(programs, data, sockets, settings), account=account, timeout=timeout,
                               ping=lambda: connect.connect(login, application="kestra_dr scratch").close(),
                               stop=signal.SIGINT, patience=10):  # fast shutdown: sessions are ended
            yield login


def _arguments(programs, data, sockets, settings) -> list:
    argv = [programs.program("postgres"), "-D", data]
    for name, value in dict(_SETTINGS, unix_socket_directories=f"'{sockets}'", **(settings or {})).items():
        argv += ["-c", f"{name}={value.strip(chr(39))}"]
    return argv
