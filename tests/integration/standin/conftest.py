# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL and MySQL servers for the session, a database and stand-in processes per test."""
from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from decimal import Decimal
from pathlib import Path

import pytest

psycopg = pytest.importorskip("psycopg", reason="the stand-in needs psycopg")
sql = pytest.importorskip("psycopg.sql")
yaml = pytest.importorskip("yaml", reason="the stand-in needs PyYAML")

HERE = Path(__file__).resolve()
STANDIN = HERE.parents[3] / "roles" / "lab" / "files" / "standin"
FIXTURES = HERE.parents[2] / "fixtures" / "kestra-0.21"
PASSWORD = "p@ss w%rd:'ü"


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def binaries():
    """The directory with initdb and postgres of the newest server there is, or None."""
    found = shutil.which("initdb")
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    candidates += [Path(found).resolve().parent] if found else []
    needed = ("postgres", "initdb", "pg_ctl", "pg_dump", "pg_restore")
    return next((path for path in candidates if all((path / name).exists() for name in needed)), None)


class Postgres:
    """A private server; root cannot run one, so root lets nobody run it."""

    # What differs in the tests' own questions.
    engine, kind, text = "postgresql", "postgres", "value::text"
    everyone = ("consumer_indexer AND consumer_executor AND consumer_worker AND consumer_scheduler AND"
                " consumer_flow_topology")

    def __init__(self, directory, where):
        self.directory, self.where, self.programs = Path(directory), where, str(where)
        self.port = free_port()
        self.user = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(directory, account.pw_uid, account.pw_gid)

    def run(self, *argv):
        subprocess.run([str(self.where / argv[0]), *argv[1:]], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, cwd=self.directory, **self.user)

    def create(self):
        self.run("initdb", "-D", str(self.directory / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8", "--no-sync")
        with open(self.directory / "data" / "pg_hba.conf", "w", encoding="utf-8") as handle:
            handle.write("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.start()
        with self.admin() as connection:
            connection.execute(sql.SQL("CREATE ROLE kestra LOGIN PASSWORD {}").format(PASSWORD))

    def start(self):
        options = "-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200" % (
            self.port, self.directory)
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-l", str(self.directory / "log"), "-w",
                 "-o", options, "start")

    def stop(self):
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-w", "-m", "immediate", "stop")

    def admin(self, database="postgres"):
        return psycopg.connect(host=str(self.directory), port=self.port, user="postgres", dbname=database,
                               autocommit=True)

    def make(self, database):
        with self.admin() as connection:
            connection.execute("CREATE DATABASE %s OWNER kestra" % database)

    def drop(self, database):
        with self.admin() as connection:
            connection.execute("DROP DATABASE IF EXISTS %s WITH (FORCE)" % database)

    def rows(self, database, statement, arguments=None):
        with self.admin(database) as connection:
            return connection.execute(statement, arguments).fetchall()

    @staticmethod
    def at(path):
        return "value #>> '{%s}'" % path.replace(".", ",")

    @staticmethod
    def seen(consumer):
        return "consumer_" + consumer

    def sessions(self, database):
        return self.rows("postgres", "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'kestra'"
                                     " AND datname = %s", (database,))


class MySql:
    """A private server of the MySQL tests."""

    engine, kind, text = "mysql", "mysql", "value"
    everyone = "coalesce(consumers, '') = 'indexer,executor,worker,scheduler,flow_topology'"

    def __init__(self, server, connect, programs):
        self.server, self.connect, self.programs, self.port = server, connect, programs, server.port
        self.start, self.stop = server.start, lambda: server.stop(signal.SIGKILL)
        server.start()
        server.sql("CREATE USER kestra@'%%' IDENTIFIED BY %s", arguments=(PASSWORD,))

    def make(self, database):
        self.server.sql("CREATE DATABASE " + database)
        self.server.sql("GRANT ALL ON %s.* TO kestra@'%%'" % database)

    def drop(self, database):
        self.server.drop(database)

    def session(self, database):
        found = self.connect.connect(self.server.admin(), database)
        found.rows("SET SESSION sql_mode = 'ANSI_QUOTES'")
        return found

    def rows(self, database, statement, arguments=None):
        with self.session(database) as session:
            return session.rows(statement, arguments)

    @staticmethod
    def at(path):
        return "value ->> '$.%s'" % path

    @staticmethod
    def seen(consumer):
        return "find_in_set('%s', consumers) > 0" % consumer

    def sessions(self, database):
        return self.rows("mysql", "SELECT DISTINCT a.attr_value FROM performance_schema.processlist p JOIN"
                                  " performance_schema.session_connect_attrs a ON a.processlist_id = p.id AND"
                                  " a.attr_name = 'program_name' WHERE p.user = 'kestra' AND p.db = %s", (database,))


@pytest.fixture(scope="session")
def mysql():
    sys.path.insert(0, str(HERE.parents[1] / "mysql"))
    harness = pytest.importorskip("mysql_harness", reason="its libraries are missing")
    if not harness.versions.find_servers(harness.BIN):
        pytest.skip("no MySQL server on this machine, and none in KESTRA_DR_TEST_MYSQL_BIN")
    directory = tempfile.mkdtemp(prefix="kestra-standin-my-")
    os.chmod(directory, 0o711)
    server = harness.Server(directory)
    try:
        yield MySql(server, harness.connect, harness.BIN)
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres():
    where = binaries()
    if where is None:
        pytest.skip("no PostgreSQL server binaries on this machine")
    directory = tempfile.mkdtemp(prefix="kestra-standin-pg-")
    os.chmod(directory, 0o755)
    server = Postgres(directory, where)
    try:
        server.create()
        yield server
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Standin:
    """Stand-in processes that share one database and one storage."""

    def __init__(self, server, directory):
        self.server, self.directory = server, Path(directory)
        self.database = "k_" + uuid.uuid4().hex[:12]
        self.storage = self.directory / "storage"
        self.processes, self.ports = {}, {}
        server.make(self.database)

    def configuration(self, **server):
        settings = {"terminationGracePeriod": "2s", "liveness": {
            "interval": "1s", "timeout": "2s", "initialDelay": "0s", "heartbeatInterval": "500ms"}}
        settings.update(server)
        kind = self.server.kind
        return {
            "datasources": {kind: {
                "url": "jdbc:%s://127.0.0.1:%d/%s" % (self.server.engine, self.server.port, self.database),
                "username": "kestra", "password": "${STANDIN_TEST_PASSWORD}"}},
            "kestra": {"repository": {"type": kind}, "queue": {"type": kind}, "server": settings,
                       "storage": {"type": "local", "local": {"base-path": str(self.storage)}}},
            "micronaut": {"server": {"host": "127.0.0.1"}},
        }

    def start(self, name="main", role="standalone", configuration=None, wait=True, environ=None, options=()):
        api, management = free_port(), free_port()
        document = configuration or self.configuration()
        document.setdefault("endpoints", {}).setdefault("all", {})["port"] = management
        path = self.directory / (name + ".yml")
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        log = open(self.directory / (name + ".log"), "ab")
        environment = dict(os.environ, KESTRA_STANDIN_PYTHON=sys.executable, STANDIN_TEST_PASSWORD=PASSWORD, TZ="UTC")
        environment.update(environ or {})
        self.processes[name] = subprocess.Popen(
            [str(STANDIN / "kestra-standin"), "server", role, "--config", str(path), "--port", str(api), *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        log.close()
        self.ports[name] = (api, management)
        if wait:
            until(lambda: self.health(name)[0] == 200, 20, lambda: self.log(name))
        return self.processes[name]

    def log(self, name="main"):
        return (self.directory / (name + ".log")).read_text(encoding="utf-8", errors="replace")[-4000:]

    def end(self, name="main", number=signal.SIGTERM):
        """Send a signal and wait: (exit code, seconds)."""
        process = self.processes.pop(name)
        began = time.monotonic()
        process.send_signal(number)
        process.wait(30)
        return process.returncode, time.monotonic() - began

    def call(self, method, path, body=None, headers=None, name="main", management=False):
        """(status, body) of an HTTP call; JSON is parsed."""
        address = "http://127.0.0.1:%d%s" % (self.ports[name][1 if management else 0], path)
        request = urllib.request.Request(address, data=body, method=method, headers=headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=320) as answer:
                status, kind, text = answer.status, answer.headers.get("Content-Type"), answer.read()
        except urllib.error.HTTPError as error:
            status, kind, text = error.code, error.headers.get("Content-Type"), error.read()
        except OSError:
            return 0, None
        return status, json.loads(text) if kind == "application/json" and text else text

    def health(self, name="main", path="/health"):
        return self.call("GET", path, name=name, management=True)

    def get(self, path, name="main"):
        status, body = self.call("GET", "/api/v1/" + path, name=name)
        assert status == 200, (status, body, self.log(name))
        return body

    def flow(self, source, name="main"):
        status, body = self.call("POST", "/api/v1/flows", source.encode(), {"Content-Type": "application/x-yaml"}, name)
        assert status == 200, (status, body)
        return body

    def execute(self, namespace, flow, fields=None, wait=True, name="main", query=""):
        """Start a flow; fields are text or (file name, bytes)."""
        boundary = uuid.uuid4().hex
        parts = []
        for key, value in (fields or {}).items():
            file, content = value if isinstance(value, tuple) else (None, value.encode())
            parts.append(b"--%s\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n" % (
                boundary.encode(), key.encode(), b'; filename="%s"' % file.encode() if file else b"", content))
        body = b"".join(parts) + b"--%s--\r\n" % boundary.encode()
        status, found = self.call(
            "POST", "/api/v1/executions/%s/%s?wait=%s%s" % (namespace, flow, "true" if wait else "false", query),
            body, {"Content-Type": "multipart/form-data; boundary=" + boundary}, name)
        assert status == 200, (status, found)
        return found

    def rows(self, statement, arguments=None):
        return self.server.rows(self.database, statement, arguments)

    def documents(self, table, where="true"):
        """Documents of a table, with the digits of their numbers."""
        return [json.loads(text, parse_float=Decimal) for (text,) in self.rows(
            "SELECT %s FROM %s WHERE %s" % (self.server.text, table, where))]

    def states(self, where="true"):
        return {row[0]: row[1] for row in self.rows(
            "SELECT state_current, count(*) FROM executions WHERE %s GROUP BY 1" % where)}

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait(10)


def until(condition, seconds, explain=lambda: ""):
    """Wait for a condition; its value."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError("still waiting after %s s: %s" % (seconds, explain()))
        time.sleep(0.05)


@pytest.fixture
def standin(request, tmp_path):
    """On PostgreSQL, unless a test is parametrised with the names of databases."""
    server = request.getfixturevalue("mysql" if getattr(request, "param", "postgresql") == "mysql" else "postgres")
    one = Standin(server, tmp_path)
    try:
        yield one
    finally:
        one.close()
        with contextlib.suppress(Exception):
            # The test may have ended the server.
            server.drop(one.database)


@pytest.fixture
def recorded():
    """{table: [recorded line]} of a real Kestra 0.21."""
    found = {}
    with open(FIXTURES / "rows.jsonl", encoding="utf-8") as handle:
        for line in handle:
            document = json.loads(line)
            found.setdefault(document["table"], []).append(document)
    return found


@pytest.fixture
def waiting():
    return until
