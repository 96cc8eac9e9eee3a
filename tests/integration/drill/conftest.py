# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kestra of somebody's own: a real PostgreSQL server, a configuration file, and an executable (the stand-in)."""
from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

psycopg = pytest.importorskip("psycopg", reason="the drill needs psycopg")
sql = pytest.importorskip("psycopg.sql")
yaml = pytest.importorskip("yaml", reason="the drill needs PyYAML")

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
PASSWORD = "p@ss w%rd:'ü"


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def binaries():
    """The directory of the newest server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: -float(path.parents[1].name))
    return found[0].parent if found else None


class Postgres:
    """A private server on loopback; root lets nobody run it, because root may not."""

    def __init__(self, directory, where):
        self.directory, self.where, self.port = Path(directory), where, free_port()
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
        (self.directory / "data" / "pg_hba.conf").write_text(
            "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n", "utf-8")
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-l", str(self.directory / "log"), "-w", "-o",
                 f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c fsync=off", "start")

    def stop(self):
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-w", "-m", "immediate", "stop")

    def admin(self, database="postgres"):
        return psycopg.connect(host=str(self.directory), port=self.port, user="postgres", dbname=database,
                               autocommit=True)


@pytest.fixture(scope="session")
def postgres():
    where = binaries()
    if where is None:
        pytest.skip("no PostgreSQL server binaries on this machine")
    directory = tempfile.mkdtemp(prefix="kestra-drill-pg-")
    os.chmod(directory, 0o755)
    server = Postgres(directory, where)
    try:
        server.create()
        yield server
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Own:
    """Somebody's Kestra: role and database, storage directory, configuration, executable. Not running."""

    def __init__(self, server, directory, createdb=True):
        self.postgres, self.directory = server, Path(directory)
        name = uuid.uuid4().hex[:8]
        self.role, self.database = f"kestra_{name}", f"shop_{name}"
        with server.admin() as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                sql.Identifier(self.role), sql.SQL("CREATEDB" if createdb else ""), PASSWORD))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(self.database), sql.Identifier(self.role)))
        self.storage = self.directory / "data" / "storage"
        self.storage.mkdir(parents=True)
        self.config = self.directory / "application.yml"
        self.api, self.management = free_port(), free_port()
        self.write_config()
        self.executable = self.directory / "kestra"
        self.write_executable()

    def write_config(self, **more):
        document = {
            "datasources": {"postgres": {
                "url": f"jdbc:postgresql://127.0.0.1:{self.postgres.port}/{self.database}",
                "username": self.role, "password": "${DRILL_TEST_PASSWORD}"}},
            "kestra": {
                "repository": {"type": "postgres"}, "queue": {"type": "postgres"},
                "server": {"terminationGracePeriod": "5s", **more},
                "storage": {"type": "local", "local": {"base-path": str(self.storage)}}},
            "micronaut": {"server": {"host": "127.0.0.1", "port": self.api}},
            "endpoints": {"all": {"port": self.management}},
        }
        self.config.write_text(yaml.safe_dump(document), "utf-8")

    def write_executable(self, line='"$standin" "$@"'):
        """A wrapper that does not exec, as a hand-made one often does not."""
        standin = ROOT / "roles" / "lab" / "files" / "standin" / "kestra-standin"
        self.executable.write_text(
            f"#!/bin/sh\nexport KESTRA_STANDIN_PYTHON='{sys.executable}'\nstandin='{standin}'\n{line}\n", "utf-8")
        self.executable.chmod(self.executable.stat().st_mode | stat.S_IXUSR)

    def environment(self):
        return dict(os.environ, DRILL_TEST_PASSWORD=PASSWORD, TZ="UTC")


@pytest.fixture
def own(postgres, tmp_path):
    return Own(postgres, tmp_path)


@pytest.fixture
def collections(tmp_path):
    """The checkout where Python and Ansible look for a collection."""
    base = tmp_path / "collections"
    link = base / "ansible_collections" / "kestra_community" / "dr"
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT)
    return base


def until(condition, seconds=20, what=lambda: ""):
    """Waits for a condition; fails with what() when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
