# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""undo_point on a real PostgreSQL server and real directories: there, back, refused, killed, finished."""
from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.connect import Login
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import directories, undo_point
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.databases import PostgresqlStore
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names
from lifecycle_harness import ModuleFailed, free_port, run_module

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")

ID = "20261123T001500Z-a1b2c3"
# Names as a real server may have them, quoting included.
LIVE = 'Kestra "prod"'
REPLACEMENT = "kestra_dr_20261123t001500z_a1b2c3"
UNDO = LIVE + "_undo_20261123t001500z_a1b2c3"
FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"


class Server:
    """A private server on a socket; root lets nobody run it."""

    def __init__(self, directory: Path, binaries: Path):
        self.directory, self.binaries, self.port = directory, binaries, free_port()
        self.as_user = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self.as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)

    def run(self, *argv):
        subprocess.run([str(self.binaries / argv[0]), *argv[1:]], check=True, cwd=self.directory, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, **self.as_user)

    def start(self):
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", f"-p {self.port} -k {self.directory} -h '' -c fsync=off", "start")

    def kill(self):
        self.run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def connect(self, database="postgres"):
        return psycopg.connect(host=str(self.directory), port=self.port, user="postgres", dbname=database, autocommit=True)

    def databases(self):
        with self.connect() as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
            return {row[0] for row in rows}


@pytest.fixture(scope="module")
def server():
    found = shutil.which("initdb")
    places = ([Path(found).resolve().parent] if found else []) + sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    binaries = next((place for place in places if (place / "postgres").exists()), None)
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries on this machine")
    directory = Path(tempfile.mkdtemp(prefix="kestra-dr-swap-"))
    directory.chmod(0o755)
    server = Server(directory, binaries)
    try:
        server.run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        server.start()
        yield server
        server.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Place:
    """One instance: two databases and two directories that know whether they are the old or the new ones."""

    def __init__(self, server, base: Path):
        self.server, self.base = server, base
        self.storage = base / "storage"
        self.vault = base / "vault"
        with server.connect() as connection:
            for name in server.databases():
                connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))
            for name in (LIVE, REPLACEMENT):
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        for name, which in ((LIVE, "old"), (REPLACEMENT, "new")):
            with server.connect(name) as connection:
                connection.execute("CREATE TABLE which AS SELECT %s::text AS which" % psycopg.sql.Literal(which).as_string(connection))
        for path, which in ((self.storage, "old"), (base / "storage.new", "new")):
            path.mkdir()
            (path / "which").write_text(which)

    def call(self, state, check=False, names=True, **more):
        args = {"state": state, "id": ID, "vault": str(self.vault), "instance": "kestra", "database": LIVE,
                "login_unix_socket": str(self.server.directory), "login_port": self.server.port, "login_user": "postgres",
                "_ansible_diff": True}
        if names:
            args.update(database_pair={"replacement": REPLACEMENT}, recovery_point="20261122T001500Z-ffffff",
                        storage_pair={"live": str(self.storage), "replacement": str(self.base / "storage.new")})
        return run_module("undo_point", dict(args, **more), check)

    def look(self):
        with self.server.connect(LIVE) as connection:
            return connection.execute("SELECT which FROM which").fetchone()[0], (self.storage / "which").read_text()

    def directories(self):
        return sorted(path.name for path in self.base.iterdir() if path.name.startswith("storage"))

    def ensure(self, state, tick=None):
        """The module's body in this process."""
        login = Login(user="postgres", host=str(self.server.directory), port=self.server.port)
        names = {"database": Names(LIVE, REPLACEMENT, UNDO),
                 "storage": Names(str(self.storage), str(self.base / "storage.new"), str(self.base / "storage.undo"))}
        stores = {"database": PostgresqlStore(login), "storage": directories.DirectoryStore()}
        if tick:
            real = stores["database"].rename

            def counted(pairs):
                tick()
                real(pairs)
                tick()

            stores["database"].rename = counted
        return undo_point.ensure(state, str(self.vault / "kestra" / "undo"), ID, names, stores, {"instance": "kestra"})


@pytest.fixture
def place(server, tmp_path):
    return Place(server, tmp_path)


def test_there_back_and_gone(place):
    result = place.call("swapped", check=True)
    assert result["changed"] and place.look() == ("old", "old") and not place.vault.exists()
    result = place.call("swapped")
    assert result["changed"] and place.look() == ("new", "new")
    assert result["database"] == {"live": LIVE, "replacement": REPLACEMENT, "undo": UNDO, "kept": UNDO}
    assert result["storage"]["kept"] == f"{place.storage}.kestra-dr-undo-{ID}"
    assert "the restored one" in result["diff"]["after"]
    assert not place.call("swapped")["changed"] and not place.call("swapped", names=False)["changed"]
    assert place.call("reverted", names=False)["changed"] and place.look() == ("old", "old")
    assert place.server.databases() == {LIVE, REPLACEMENT} and place.directories() == ["storage", "storage.new"]
    assert place.call("swapped", names=False)["changed"] and place.look() == ("new", "new")
    with pytest.raises(ModuleFailed) as caught:
        place.call("absent", names=False, confirm="20261123T001500Z-ffffff")
    assert caught.value.result["reason"] == "not_confirmed" and UNDO in place.server.databases()
    assert place.call("absent", names=False, confirm=ID)["removed"]["database"] == UNDO
    assert place.server.databases() == {LIVE} and place.directories() == ["storage"] and place.look() == ("new", "new")
    assert not place.call("absent", names=False, confirm=ID)["changed"]


def test_a_session_on_either_database_refuses_before_anything(place):
    for name in (LIVE, REPLACEMENT):
        with place.server.connect(name) as connection:
            connection.execute("SET application_name = 'psql of alice'")
            for check in (True, False):
                with pytest.raises(ModuleFailed) as caught:
                    place.call("swapped", check=check)
                assert caught.value.result["reason"] == "database_in_use" and "psql of alice" in caught.value.result["msg"]
        assert place.look() == ("old", "old") and place.directories() == ["storage", "storage.new"]


def test_a_database_that_does_not_exist_is_refused(place):
    with pytest.raises(ModuleFailed) as caught:
        place.call("swapped", database_pair={"replacement": "kestra_dr_nothing"})
    assert caught.value.result["reason"] == "replacement_missing" and place.directories() == ["storage", "storage.new"]


def test_a_lost_database_and_a_lost_storage_are_put_in_place(place):
    with place.server.connect() as connection:
        connection.execute(psycopg.sql.SQL("DROP DATABASE {}").format(psycopg.sql.Identifier(LIVE)))
    shutil.rmtree(place.storage)
    result = place.call("swapped")
    assert place.look() == ("new", "new") and result["database"]["kept"] is None and result["storage"]["kept"] is None


def test_a_server_that_goes_away_in_the_middle_is_told_and_a_rerun_finishes(place):
    killed = []

    def tick():
        if not killed:
            killed.append(True)
            place.server.kill()

    try:
        with pytest.raises(Exception) as caught:
            place.ensure("swapped", tick)
    finally:
        place.server.start()
    # Nobody can ask the server whether the databases were renamed: that is said, not guessed, and a rerun finishes.
    assert caught.value.reason == "half_swapped"
    assert place.ensure("swapped")["resumed"] and place.look() == ("new", "new")


def test_the_storage_is_taken_back_when_the_database_refuses(place):
    session = []

    def tick():
        if not session:
            session.append(place.server.connect(LIVE))

    with pytest.raises(Exception) as caught:
        place.ensure("swapped", tick)
    assert caught.value.reason == "rolled_back" and caught.value.detail["cause"]["reason"] == "database_in_use"
    session[0].close()
    assert place.look() == ("old", "old") and place.directories() == ["storage", "storage.new"]
    place.ensure("swapped")
    assert place.look() == ("new", "new")


class Effects:
    """Counts effects, before and after each, and kills this process at one of them."""

    def __init__(self, at=None):
        self.at, self.count = at, 0

    def tick(self):
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def everywhere(self):
        for name in ("rename", "fsync"):
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, function):
        def counted(*args, **more):
            self.tick()
            result = function(*args, **more)
            self.tick()
            return result
        return counted


def in_child(work) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(3)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("first, then, expected", [
    ("swapped", "swapped", ("new", "new")), ("reverted", "reverted", ("old", "old")), ("reverted", "swapped", ("new", "new"))])
def test_kill_9_and_a_rerun_end_on_one_side(server, tmp_path, first, then, expected):
    def prepared(name):
        base = tmp_path / name
        base.mkdir()
        place = Place(server, base)
        if first == "reverted":
            place.ensure("swapped")
        return place

    def killed(place, effects):
        effects.everywhere()
        place.ensure(first, effects.tick)

    place, (reader, writer) = prepared("count"), os.pipe()

    def count():
        effects = Effects()
        killed(place, effects)
        os.write(writer, str(effects.count).encode())

    assert in_child(count) == 0
    os.close(writer)
    with os.fdopen(reader) as handle:
        total = int(handle.read())
    assert total > 20
    for at in range(1, total + 1, 1 if FULL else 6):
        place = prepared(str(at))
        status = in_child(lambda place=place, at=at: killed(place, Effects(at)))
        assert os.WIFSIGNALED(status), at
        place.ensure(then)
        assert place.look() == expected, at
        assert len(place.server.databases()) == 2 and len(place.directories()) == 2, at
