# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real private PostgreSQL servers, as an unprivileged user, on loopback and a Unix socket in a temporary directory."""

from __future__ import annotations

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

import kestra_rows

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import connect, versions
from ansible_collections.kestra_community.dr.tests.integration import module_runs

# The password every test role has: with all that quoting can get wrong.
PASSWORD = "p'\"%@: \\ü$x"
run_module = functools.partial(module_runs.run_module, PASSWORD)
BIG = {"flows": 5, "executions": 100, "logs": 6000, "queues": 500}
FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"


# The server under test, where several are installed: the newest, or the one in this directory.
SERVER_BIN = os.environ.get("KESTRA_DR_TEST_PG_BIN")


def account():
    """The unprivileged account to run servers as; None for our own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged account")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of its own. Its superuser is admin; passwords are asked for on loopback only."""

    _numbers = itertools.count(1)

    def __init__(self, base, *, tls=None, template=None):
        self.programs = versions.find_server_programs(SERVER_BIN)[-1]
        self.base = Path(tempfile.mkdtemp(prefix="kdr-test-pg-", dir=base))
        self.base.chmod(0o711)
        self.data, self.sockets = self.base / "data", self.base / "s"
        self.port = free_port()
        self.tls = tls
        self.process = None
        self.log = self.base / "log"
        self._user = account()
        self.sockets.mkdir(0o700)
        if template is None:
            self.data.mkdir(0o700)
            self._own()
            self._run("initdb", "-D", self.data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        else:
            subprocess.run(["cp", "-a", str(template.data), str(self.data)], check=True)
            self._own()
        hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        if tls:
            hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nhostnossl all all 127.0.0.1/32 reject\n"
            for source, target in ((tls["cert"], "server.crt"), (tls["key"], "server.key")):
                shutil.copy(source, self.data / target)
                os.chmod(self.data / target, 0o600)
        (self.data / "pg_hba.conf").write_text(hba)
        self._own()

    def _own(self):
        if self._user:
            subprocess.run(
                ["chown", "-R", f"{self._user.pw_uid}:{self._user.pw_gid}", str(self.data), str(self.sockets)],
                check=True,
            )

    def _as_user(self):
        if not self._user:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, program, *arguments):
        subprocess.run(
            [self.programs.program(program), *map(str, arguments)],
            check=True,
            capture_output=True,
            cwd="/",
            **self._as_user(),
        )

    def start(self):
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.sockets,
            "fsync": "off",
            "max_connections": 60,
            "shared_buffers": "64MB",
            "max_wal_size": "2GB",
            "log_min_messages": "log",
            "timezone": "UTC",
        }
        if self.tls:
            settings["ssl"] = "on"
        argv = [self.programs.program("postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd="/", **self._as_user())
        until = time.monotonic() + 60
        while True:
            try:
                connect.connect(self.admin()).close()
                return self
            except connect.ConnectError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(self.log.read_text(errors="replace")[-3000:]) from None
                time.sleep(0.05)

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast. SIGQUIT: immediate, as when it is killed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def destroy(self):
        self.stop()
        shutil.rmtree(self.base, ignore_errors=True)

    def admin(self):
        """The superuser, through the socket."""
        return connect.Login(user="admin", host=str(self.sockets), port=self.port)

    def login(self, user, *, password=PASSWORD, tls=None):
        """A role through loopback, with its password."""
        extra = {}
        if self.tls:
            extra = {"ssl_mode": "verify-full", "ssl_root_cert": self.tls["ca"] if tls is None else tls}
        return connect.Login(
            user=user, password=password, host="localhost" if self.tls else "127.0.0.1", port=self.port, **extra
        )

    def sql(self, statement, database=None, login=None):
        """Runs one statement; rows if it has any."""
        with connect.connect(login or self.admin(), database) as connection:
            connection.execute("SET search_path = public")
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def role(self, name=None, options="LOGIN"):
        """A role with the test password."""
        name = name or f"role{next(self._numbers)}"
        with connect.connect(self.admin()) as connection:
            hashed = connection.pgconn.encrypt_password(PASSWORD.encode(), name.encode(), b"scram-sha-256").decode()
            connection.execute(f"CREATE ROLE \"{name}\" {options} PASSWORD '{hashed}'")
        return name

    def database(self, owner="admin", name=None):
        """An empty database."""
        name = name or f"db{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" OWNER "{owner}" TEMPLATE template0')
        return name

    def kestra(self, rows=None, *, owner="kestra", timezone="UTC", name=None):
        """A filled Kestra database owned by a role."""
        if not self.sql(f"SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = '{owner}'"):
            self.role(owner)
        name = self.database(owner, name)
        login = connect.Login(user=owner, host=str(self.sockets), port=self.port)
        with connect.connect(login, name) as connection:
            kestra_rows.create(connection)
            kestra_rows.fill(connection, rows, timezone)
        return name

    def copy(self, template, name=None):
        """A database like another one; faster than filling it again."""
        name = name or f"db{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY OWNER kestra')
        return name

    def drop(self, name):
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
