# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private MySQL server that lives as long as one restore test: own directory, Unix socket only, no network."""
from __future__ import annotations

import contextlib
import os
import signal
import tempfile

from ...core import proc
from ...core.errors import ToolError
from .. import throwaway
from . import connect, versions

PREFIX = "kestra-dr-my-"

# Nothing here has to survive a crash, so nothing waits for the disk; and nothing happens by itself.
_SETTINGS = {
    "skip-networking": "ON", "mysqlx": "OFF", "skip-log-bin": "ON", "secure-file-priv": "NULL", "event-scheduler": "OFF",
    "innodb-flush-log-at-trx-commit": "0", "innodb-doublewrite": "OFF", "innodb-buffer-pool-size": "256M",
    "innodb-redo-log-capacity": "512M", "max-allowed-packet": "1G", "max-connections": "40", "default-time-zone": "+00:00"}

# The one zone Kestra's generated columns name. All of them take mysql_tzinfo_to_sql and seconds.
_UTC = ("INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (1, 'N')",
        "INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('UTC', 1)",
        "INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 0, 0, 'UTC')")


def pick(version, bin_dir=None) -> versions.Client:
    """A server program of this release or newer, the nearest. Raises ToolError when there is none."""
    found = [item for item in versions.find_servers(bin_dir) if item.version[:2] >= version[:2]]
    if not found:
        raise ToolError(f"No MySQL server of version {version[0]}.{version[1]} or newer is installed on this host.",
                        reason="tool_missing",
                        hint="Install it here (mysql-server-core), or name a scratch server by the login options.")
    return min(found, key=lambda item: item.version)


def sweep(base) -> list:
    """Ends and removes scratch servers whose owner is dead. Returns their directories."""
    return throwaway.sweep(base, PREFIX, _end_orphan)


def _end_orphan(directory) -> None:
    data = os.path.join(directory, "data")
    throwaway.end_orphan(os.path.join(data, "pid"), f"--datadir={data}", signal.SIGKILL)


@contextlib.contextmanager
def server(*, version=(0, 0, 0), base=None, user=None, bin_dir=None, settings=None, timeout=120.0):
    """Yields a connect.Login of root on a fresh server; stops and removes it at the end.

    version: at least this release. base: directory to live below (None: the system's temporary directory). user: account
    to run it as when we are root. settings: {option: value} of mysqld, over the scratch defaults. Raises ToolError.
    """
    base = base or tempfile.gettempdir()
    program = pick(version, bin_dir)
    account = throwaway.unprivileged_user(("mysql", "nobody"), user)
    with throwaway.directories(base, PREFIX, account, _end_orphan) as (data, sockets):
        argv = arguments(program, data, sockets, account, settings)
        proc.run(argv + ["--initialize-insecure"], timeout=timeout, cwd="/")
        login = connect.Login(user="root", socket=os.path.join(sockets, "mysql"))
        with throwaway.running(argv, account=None, timeout=timeout,
                               ping=lambda: connect.connect(login, application="kestra_dr scratch").close()):
            with connect.connect(login) as session:
                for statement in _UTC:
                    session.rows(statement)
            yield login


def arguments(program, data, sockets, account, settings=None) -> list:
    """The command line of mysqld. It gives up root by itself. Pure."""
    argv = [program.path, "--no-defaults", f"--datadir={data}", f"--socket={os.path.join(sockets, 'mysql')}",
            f"--pid-file={os.path.join(data, 'pid')}",
            f"--tmpdir={sockets}"]  # TMPDIR may be closed to its account
    if account:
        argv.append(f"--user={account}")
    return argv + [f"--{name}={value}" for name, value in dict(_SETTINGS, **(settings or {})).items()]
