# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real private MySQL servers, as an unprivileged user, on loopback and a Unix socket in a temporary directory."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import kestra_mysql_rows

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import connect, versions
from ansible_collections.kestra_community.dr.tests.integration import module_runs

# The password every test account has: with all that quoting can get wrong.
PASSWORD = "p'\"%@: \\ü$x#;"
run_module = functools.partial(module_runs.run_module, PASSWORD)
BIG = {"flows": 5, "executions": 100, "logs": 12000, "queues": 500, "task_outputs": 10}
FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"

# MySQL's own programs, where they are not the distribution's (scripts/lib/mysql.sh).
BIN = os.environ.get("KESTRA_DR_TEST_MYSQL_BIN")

_UTC = (
    "INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (1, 'N')",
    "INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('UTC', 1)",
    "INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 0, 0, 'UTC')",
)


def account():
    """The unprivileged account to run servers as; None for our own."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("no unprivileged account")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of its own, with a binary log and GTIDs, as they are by default. Its administrator is root."""

    _numbers = itertools.count(1)

    def __init__(self, base, *, template=None, time_zones=True, **settings):
        self.program = versions.find_servers(BIN)[0]
        self.base = Path(tempfile.mkdtemp(prefix="kdr-my-", dir=base))
        self.base.chmod(0o711)
        self.data, self.sockets = self.base / "data", self.base / "s"
        self.port = free_port()
        self.process = None
        self.log = self.base / "log"
        self._user = account()
        self._settings = settings
        self._time_zones = time_zones
        self.sockets.mkdir(0o700)
        if template is None:
            self.data.mkdir(0o700)
            self._own()
            self._run("--initialize-insecure")
        else:
            subprocess.run(["cp", "-a", str(template.data), str(self.data)], check=True)
            # A copy is another server.
            (self.data / "auto.cnf").unlink(missing_ok=True)
            self._own()

    def _own(self):
        if self._user:
            owner = f"{self._user.pw_uid}:{self._user.pw_gid}"
            subprocess.run(["chown", "-R", owner, str(self.data), str(self.sockets)], check=True)

    def _argv(self):
        settings = {
            "datadir": self.data,
            "socket": self.sockets / "mysql",
            "pid-file": self.data / "pid",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "mysqlx": "OFF",
            "secure-file-priv": "NULL",
            "innodb-buffer-pool-size": "64M",
            "innodb-redo-log-capacity": "64M",
            # Not 0: what was committed must outlive the server's being killed.
            "innodb-flush-log-at-trx-commit": "2",
            "innodb-doublewrite": "OFF",
            "sync-binlog": "0",
            "log-bin-trust-function-creators": "1",
            "max-connections": "60",
            **{name.replace("_", "-"): value for name, value in self._settings.items()},
        }
        argv = [self.program.path, "--no-defaults"] + [f"--{name}={value}" for name, value in settings.items()]
        # Started as root it reads its programs wherever they are, and gives up root by itself.
        return argv + ([f"--user={self._user.pw_name}"] if self._user else [])

    def _run(self, *arguments):
        done = subprocess.run([*self._argv(), *arguments], capture_output=True, text=True, check=False, cwd="/")
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self._argv(), stdout=log, stderr=log, cwd="/")
        until = time.monotonic() + 120
        while True:
            try:
                connect.connect(self.admin()).close()
                break
            except connect.ConnectError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(self.log.read_text(errors="replace")[-3000:]) from None
                time.sleep(0.1)
        if self._time_zones and not self.sql("SELECT 1 FROM mysql.time_zone_name"):
            for statement in _UTC:
                self.sql(statement)
        return self

    def stop(self, how=signal.SIGTERM):
        """SIGTERM: in order. SIGKILL: as when it is killed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def destroy(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.base, ignore_errors=True)

    @property
    def socket(self):
        return str(self.sockets / "mysql")

    def admin(self):
        """The administrator, through the socket."""
        return connect.Login(user="root", socket=self.socket)

    def login(self, user, **how):
        """An account through loopback, with its password."""
        return connect.Login(**{"user": user, "password": PASSWORD, "host": "127.0.0.1", "port": self.port, **how})

    def sql(self, statement, database=None, login=None, arguments=None):
        """Runs one statement; its rows."""
        with connect.connect(login or self.admin(), database) as session:
            return session.rows(statement, arguments)

    def account(self, *grants, name=None, plugin=None):
        """An account with the test password. grants: like "SELECT ON kestra.*"."""
        name = name or f"account{next(self._numbers)}"
        with connect.connect(self.admin()) as session:
            how = f" WITH {plugin}" if plugin else ""
            session.rows(f"CREATE USER `{name}`@'%%' IDENTIFIED{how} BY %s", (PASSWORD,))
            for grant in grants:
                session.rows(f"GRANT {grant} TO `{name}`@'%'")
        return name

    def database(self, name=None):
        """An empty schema."""
        name = name or f"db{next(self._numbers)}"
        self.sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        return name

    def kestra(self, rows=None, *, name=None):
        """A filled Kestra database of the account kestra."""
        if not self.sql("SELECT 1 FROM mysql.user WHERE user = 'kestra'"):
            self.account(name="kestra")
        name = self.database(name)
        self.sql(f"GRANT ALL ON `{name}`.* TO kestra@'%'")
        with connect.connect(self.login("kestra"), name) as session:
            kestra_mysql_rows.create(session)
            kestra_mysql_rows.fill(session, rows)
        return name

    def drop(self, name):
        self.sql(f"DROP DATABASE IF EXISTS `{name}`")
