# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps and restores on real servers: what goes in comes out, of one moment, into a new or an empty schema only."""

from __future__ import annotations

import os
import stat
import subprocess
import threading

import pytest
from mysql_harness import BIN, PASSWORD

from ansible_collections.kestra_community.dr.plugins.module_utils.core import files, manifest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError,
    DrError,
    RefusedError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import (
    connect,
    definitions,
    dump,
    inventory,
    pin,
    source,
    swap,
    target,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps

FULL_GRANTS = "SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON `{}`.*"


def content(server, database):
    found = inventory.read(server.admin(), database, label="x", with_content=True, with_counts=True)
    return found["content"], found["generated_timestamps"]


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_round_trip(server, second_server, small, take, give, compression):
    """Into another server, by an account of Kestra's own rights, on a server with GTIDs."""
    steps = Steps()
    dumped, component = take(server.login("kestra"), small, steps, compression=compression)
    assert list(steps.phases) == ["preflight", "pinned", "dumped", "finished"]
    manifest.validate_component("database", component, sealed=False)
    assert component["counts"][f"{small}.logs"] == 400 and component["counts"][f"{small}.service_instance"] == 0
    assert component["identity"]["server_uuid"] == server.sql("SELECT @@server_uuid")[0][0]
    assert component["newest"][f"{small}.logs"] == "2026-01-01T00:06:40.000000Z"
    path = os.path.join(dumped, component["files"][0]["path"])
    assert os.listdir(dumped) == [component["files"][0]["path"]]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and files.sha256_file(path) == component["files"][0]["sha256"]
    second_server.account("ALL ON `kestra_dr_trip`.*", name=f"restorer_{compression}")
    result = give(second_server.login(f"restorer_{compression}"), dumped, "kestra_dr_trip", component)
    assert (result["verdict"], result["depth"], result["differences"]) == ("verified", "counts", [])
    assert content(second_server, "kestra_dr_trip") == content(server, small)
    assert not target.marked(connect.connect(second_server.admin()), "kestra_dr_trip")
    listed = second_server.sql(
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'kestra_dr_trip'"
    )
    assert sorted(row[0] for row in listed) == ["PARSE_ISO8601_DATETIME", "PARSE_ISO8601_DURATION"]
    # It goes on counting where the dumped one would have.
    second_server.sql("INSERT INTO queues (type, `key`, value) VALUES (2, 'k', '{}')", "kestra_dr_trip")
    assert second_server.sql("SELECT MAX(`offset`) FROM queues", "kestra_dr_trip")[0][0] >= 151


def test_the_plain_dump_restores_by_hand(server, second_server, small, take):
    """The command of Kestra's documentation: mysql … < kestra.sql."""
    dumped, component = take(server.login("kestra"), small)
    second_server.database("byhand")
    with open(os.path.join(dumped, "database.sql"), "rb") as script:
        subprocess.run(
            [
                os.path.join(BIN or "/usr/bin", "mysql"),
                "--no-defaults",
                f"--socket={second_server.socket}",
                "--user=root",
                "byhand",
            ],
            stdin=script,
            check=True,
        )
    found = inventory.read(second_server.admin(), "byhand", label=small, with_counts=True, with_objects=True)
    assert found["counts"] == component["counts"]
    assert definitions.compare(component["objects"], found["objects"]) == []
    second_server.drop("byhand")


def test_the_moment_is_one_under_concurrent_writes(server, take, give):
    """Each writer moves a row from one table to the other in a transaction: any two moments would differ in a sum, and
    rows that come all the time make any two counts differ."""
    name = server.kestra({"logs": 3000, "settings": 1})
    server.sql("CREATE TABLE aaa (id INT PRIMARY KEY, n INT NOT NULL)", name)
    server.sql("CREATE TABLE zzz (id INT PRIMARY KEY, n INT NOT NULL)", name)
    server.sql("INSERT INTO aaa VALUES (1, 1000000)", name)
    server.sql("INSERT INTO zzz VALUES (1, 0)", name)
    stop, written = threading.Event(), [0, 0, 0]
    # The writers wait for each other at one row, and never all let its table go: a lock to read waits for ever by default.
    server.sql("SET GLOBAL max_write_lock_count = 16", name)

    def write(index):
        with connect.connect(server.login("kestra"), name) as session:
            while not stop.is_set():
                session.rows("BEGIN")
                session.rows("UPDATE aaa SET n = n - 1")
                session.rows("INSERT INTO settings (`key`, value) VALUES (%s, '1')", (f"{index}-{written[index]}",))
                session.rows("UPDATE zzz SET n = n + 1")
                session.rows("COMMIT")
                written[index] += 1

    writers = [threading.Thread(target=write, args=(index,)) for index in range(3)]
    for writer in writers:
        writer.start()
    try:
        for round_ in range(4):
            before = sum(written)
            dumped, component = take(server.login("kestra"), name)
            assert sum(written) > before, "nobody wrote meanwhile: this proves nothing"
            result = give(server.admin(), dumped, f"kestra_dr_moment{round_}", component)
            assert result["verdict"] == "verified"
            ((left,),) = server.sql("SELECT n FROM aaa", f"kestra_dr_moment{round_}")
            ((right,),) = server.sql("SELECT n FROM zzz", f"kestra_dr_moment{round_}")
            assert left + right == 1000000 and component["counts"][f"{name}.settings"] == right + 1
            assert component["locked_seconds"] > 0
    finally:
        stop.set()
        for writer in writers:
            writer.join()
        server.sql("SET GLOBAL max_write_lock_count = DEFAULT", name)
        server.drop(name)


def test_without_the_lock_the_moments_differ(server, monkeypatch, take):
    """The positive control of the test above."""
    name = server.kestra({"settings": 1})
    monkeypatch.setattr(pin.Pin, "_lock", lambda self, wanted: True)
    before = dump.arguments

    def disturbed(*given):
        # Between the snapshot of the counting session and mysqldump's.
        server.sql("INSERT INTO settings (`key`, value) VALUES ('between', '1')", name)
        return before(*given)

    monkeypatch.setattr(dump, "arguments", disturbed)
    with pytest.raises(DrError) as differs:
        take(server.admin(), name)
    assert differs.value.reason == "counts_differ"
    assert differs.value.detail["tables"] == {"settings": {"expected": 1, "found": 2}}
    server.drop(name)


def test_kestra_may_write_from_pinned_on(server, kestra, take):
    """And what it writes then is not in the dump."""

    def go(facts):
        server.sql("INSERT INTO settings (`key`, value) VALUES ('later', '1')", kestra, server.login("kestra"))

    assert take(server.login("kestra"), kestra, Steps(pinned=go))[1]["counts"][f"{kestra}.settings"] == 2


def test_a_transaction_that_does_not_end(server, kestra, take):
    with connect.connect(server.login("kestra"), kestra) as busy:
        busy.rows("BEGIN")
        busy.rows("INSERT INTO settings (`key`, value) VALUES ('open', '1')")
        with pytest.raises(RefusedError) as refused:
            take(server.admin(), kestra, lock_timeout=1.0)
        assert (
            refused.value.reason == "lock_timeout"
            and f"kestra (connection {busy.id}) at settings" in refused.value.message
        )
    take(server.admin(), kestra)


def test_only_a_new_or_an_empty_schema(server, small, take, give):
    dumped, component = take(server.admin(), small)
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), dumped, server.kestra(name="live"), component)
    assert refused.value.reason == "database_exists"
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), dumped, "live", component, create=False)
    assert refused.value.reason == "not_empty" and "table dashboards" in refused.value.message
    assert server.sql("SELECT COUNT(*) FROM logs", small) == [(400,)]
    server.database("vacant")
    account = server.account("ALL ON vacant.*")
    result = give(server.login(account), dumped, "vacant", component, create=False)
    assert result["verdict"] == "verified"


def test_odd_names_and_everything_a_schema_can_hold(server, take, give):
    name = server.database("odd ``name` --".replace("`", "``").replace("````", "``"))
    quoted = "`" + name.replace("`", "``") + "`"
    server.drop(name)
    server.sql(f"CREATE DATABASE {quoted}")
    with connect.connect(server.admin(), name) as session:
        session.rows(
            "CREATE TABLE `t), (` (`a;` INT AUTO_INCREMENT PRIMARY KEY, `select` TEXT, `INSERT INTO x VALUES (` BLOB)"
        )
        session.rows(
            "INSERT INTO `t), (` VALUES (1, %s, %s), (7, NULL, '')", ("'), (\\'; -- \n/*!", b"\x00'\"\\\n\r\x1a);")
        )
        session.rows("CREATE TABLE copy LIKE `t), (`")
        session.rows(
            "CREATE TABLE Mixed (n DECIMAL(20, 5), d DATE, e ENUM('a,b', 'it''s'), b BIT(9), g GEOMETRY, PRIMARY KEY (n))"
        )
        session.rows(
            "INSERT INTO Mixed VALUES (-1.5, '2026-01-01', 'it''s', b'100000001', ST_GeomFromText('POINT(1 2)'))"
        )
        session.rows("CREATE VIEW v AS SELECT `a;` FROM `t), (`")
        session.rows(
            "CREATE TRIGGER tr BEFORE INSERT ON `t), (` FOR EACH ROW BEGIN INSERT INTO copy VALUES (NEW.`a;`, '; x', 0); END"
        )
        session.rows("CREATE PROCEDURE p() BEGIN SELECT 'a;;b'; END")
        session.rows("CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DISABLE DO BEGIN DELETE FROM copy; END")
    dumped, component = take(server.admin(), name)
    result = give(server.admin(), dumped, "kestra_dr_odd", component)
    assert result["verdict"] == "verified", result["differences"]
    assert "The database has events" in result["warnings"][-1] and result["warnings"][-1].endswith(": ev.")
    assert content(server, name) == content(server, "kestra_dr_odd")
    assert server.sql("SELECT COUNT(*) FROM copy", "kestra_dr_odd") == [(0,)], "a trigger fired during the restore"
    found = inventory.read(server.admin(), "kestra_dr_odd", with_objects=True)["objects"]
    assert [len(found[kind]) for kind in definitions.KINDS] == [3, 1, 1, 1, 1]
    server.sql(f"DROP DATABASE {quoted}")


def test_parallel_and_single_stream_come_to_the_same(server, big, take, give):
    dumped, component = take(server.admin(), big)
    for jobs in (1, 4):
        result = give(server.admin(), dumped, f"kestra_dr_jobs{jobs}", component, jobs=jobs)
        assert result["verdict"] == "verified" and result["jobs"] == jobs
        assert content(server, f"kestra_dr_jobs{jobs}") == content(server, big)


def test_rows_left_out_on_request(server, small, take, give):
    dumped, component = take(server.admin(), small, exclude_table_data=("logs", f"{small}.queues"))
    assert component["counts"][f"{small}.logs"] == 0 and component["excluded_table_data"] == {
        f"{small}.logs": 400,
        f"{small}.queues": 150,
    }
    assert give(server.admin(), dumped, "kestra_dr_without", component)["verdict"] == "verified"
    with pytest.raises(RefusedError) as refused:
        take(server.admin(), small, exclude_table_data=("nothing",))
    assert refused.value.reason == "table_missing"


def test_a_difference_is_found(server, small, take, give):
    dumped, component = take(server.admin(), small)
    component["counts"][f"{small}.logs"] += 1
    component["objects"]["routines"].pop("PARSE_ISO8601_DURATION")
    component["generated_timestamps"]["logs.timestamp"]["sum"] = "1"
    result = give(server.admin(), dumped, "kestra_dr_differs", component)
    assert result["verdict"] == "differs" and {(item["kind"], item["name"]) for item in result["differences"]} == {
        ("counts", f"{small}.logs"),
        ("routines", "PARSE_ISO8601_DURATION"),
        ("generated_timestamps", "logs.timestamp"),
    }
    # It stays marked, and the next attempt replaces it.
    component = dict(component, counts=dict(component["counts"], **{f"{small}.logs": 400}))
    assert give(server.admin(), dumped, "kestra_dr_differs", component)["verdict"] == "differs"


@pytest.mark.parametrize("plugin", ["caching_sha2_password", None])
@pytest.mark.parametrize("how", [{"ssl_mode": "disabled"}, {}, {"ssl_mode": "required"}])
def test_ways_in(server, small, take, plugin, how):
    """The password has all that quoting can get wrong, for PyMySQL and in mysqldump's option file."""
    user = server.account(FULL_GRANTS.format(small), "SHOW_ROUTINE ON *.*", plugin=plugin)
    assert take(server.login(user, **how), small)[1]["counts"][f"{small}.logs"] == 400


def test_tls_is_checked(server, small, take):
    user = server.account(FULL_GRANTS.format(small), "SHOW_ROUTINE ON *.*")
    ca = str(server.data / "ca.pem")
    take(server.login(user, ssl_mode="verify_ca", ssl_ca=ca), small)
    with pytest.raises(ConnectError) as refused:
        # The server's own certificate names no host.
        take(server.login(user, ssl_mode="verify_identity", ssl_ca=ca), small)
    assert refused.value.reason == "tls"


def test_logins_that_fail(server, small):
    for login, database, reason in (
        (server.login("kestra", password="wrong"), small, "login_refused"),
        (server.login("nobody_here"), small, "login_refused"),
        (server.login("kestra"), "mysql", "login_refused"),
        (server.admin(), "missing", "database_missing"),
        (server.login("kestra", port=1), small, "unreachable"),
    ):
        with pytest.raises(ConnectError) as refused:
            connect.connect(login, database)
        assert refused.value.reason == reason and PASSWORD not in str(refused.value.to_result())


def test_nothing_is_dumped_over_something(server, small, take, tmp_path):
    (tmp_path / "dump1").mkdir()
    with pytest.raises(StateError) as refused:
        take(server.admin(), small)
    assert refused.value.reason == "dest_exists"


# -- swap -------------------------------------------------------------------------------------------------------------


def test_swap_and_back(server, small, take, give):
    """Kestra's JDBC URL and its grants stay as they are."""
    live = server.kestra(name="live_swap")
    server.sql("INSERT INTO settings (`key`, value) VALUES ('old', '1')", live)
    dumped, component = take(server.admin(), small)
    give(server.admin(), dumped, "kestra_dr_new", component)
    old, new = content(server, live), content(server, "kestra_dr_new")
    undo = "live_swap_undo_20261123t001500z_a1b2c3"
    swap.rename(server.admin(), [(live, undo), ("kestra_dr_new", live)])
    assert (content(server, undo), content(server, live)) == (old, new)
    found = server.sql("SELECT PARSE_ISO8601_DATETIME('2026-01-01T00:00:00.0Z')", live, server.login("kestra"))
    assert found[0][0].year == 2026
    assert "kestra_dr_new" not in [row[0] for row in server.sql("SHOW DATABASES")]
    swap.rename(server.admin(), [(live, "kestra_dr_new"), (undo, live)])
    assert content(server, live) == old and content(server, "kestra_dr_new") == new
    server.drop(live)


def test_swap_is_all_or_none(server):
    """One RENAME TABLE: when its last table cannot move, the first has not."""
    first, second = server.kestra(name="first_swap"), server.kestra(name="second_swap")
    with connect.connect(server.admin(), first) as session:
        held = {name: swap.read(session, name) for name in (first, second)}
        held[second].tables.append("no_such_table")
        before = content(server, first), content(server, second)
        session.rows("CREATE DATABASE first_undo")
        with pytest.raises(connect.driver().Error):
            session.rows(swap.rename_statement(swap.moves([(first, "first_undo"), (second, first)], held)))
    assert (content(server, first), content(server, second)) == before
    for name in (first, second, "first_undo"):
        server.drop(name)


def test_swap_moves_what_is_no_table(server):
    name = server.database("holder")
    with connect.connect(server.admin(), name) as session:
        session.rows("CREATE TABLE t (a INT PRIMARY KEY)")
        session.rows("CREATE TABLE log (a INT)")
        session.rows("CREATE VIEW v AS SELECT a FROM t")
        session.rows("CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.a)")
        session.rows("CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM log")
        session.rows("CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x + 1")
        before = definitions.read(session, name)
    swap.rename(server.admin(), [(name, "holder_new")])
    assert "holder" not in [row[0] for row in server.sql("SHOW DATABASES")]
    with connect.connect(server.admin(), "holder_new") as session:
        assert definitions.compare(before, definitions.read(session, "holder_new")) == []
        session.rows("INSERT INTO t VALUES (1)")
        assert session.rows("SELECT * FROM log") == [(1,)] and session.value("SELECT f(a) FROM v") == 2
    server.drop("holder_new")


@pytest.mark.parametrize("before", [True, False])
def test_a_swap_that_died_is_completed_by_the_next(server, monkeypatch, before):
    """Before its one statement nothing has changed; after it only functions may be missing."""
    live, new, undo = (
        server.kestra(name="died"),
        server.kestra({"flows": 1}, name="kestra_dr_died"),
        "kestra_dr_undo_died",
    )
    server.sql("DROP FUNCTION PARSE_ISO8601_DATETIME", new)
    server.sql("CREATE FUNCTION PARSE_ISO8601_DATETIME(x INT) RETURNS INT DETERMINISTIC RETURN 1", new)
    contents = content(server, live), content(server, new)
    with connect.connect(server.admin(), live) as one, connect.connect(server.admin(), new) as other:
        objects = definitions.read(one, live), definitions.read(other, new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap, "rename_statement" if before else "_complete", lambda *unused: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            swap.rename(server.admin(), [(live, undo), (new, live)])
    if before:
        assert (content(server, live), content(server, new)) == contents
        swap.rename(server.admin(), [(live, undo), (new, live)])
    # On, or back: each ends with everything where it belongs.
    swap.rename(server.admin(), [(live, new), (undo, live)])
    assert (content(server, live), content(server, new)) == contents
    with connect.connect(server.admin(), live) as one, connect.connect(server.admin(), new) as other:
        found = definitions.read(one, live), definitions.read(other, new)
    assert definitions.compare(objects[0], found[0]) == []
    # What the killed run could not move any more is replaced by what the schema it took the place of had.
    assert set(found[1]["routines"]) == set(objects[1]["routines"])
    assert undo not in [row[0] for row in server.sql("SHOW DATABASES")]
    for name in (live, new):
        server.drop(name)


def test_swap_refuses_what_is_in_use(server):
    name = server.kestra(name="used")
    with connect.connect(server.login("kestra"), name):
        with pytest.raises(RefusedError) as refused:
            swap.rename(server.admin(), [(name, "unused_name")])
        assert refused.value.reason == "database_in_use" and "kestra (pid" in refused.value.message
    with pytest.raises(StateError) as refused:
        swap.rename(server.admin(), [(name, "mysql")])
    assert refused.value.reason == "database_exists"
    with pytest.raises(RefusedError) as refused:
        swap.drop(server.admin(), name)
    assert refused.value.reason == "not_ours"
    server.drop(name)


def test_detecting_a_dump(tmp_path):
    with pytest.raises(StateError):
        source.detect(str(tmp_path / "missing"))
