# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about clients, privileges, dumps, restores and connections that need no server."""

from __future__ import annotations

import dataclasses
import os

import pytest
import yaml

from ansible_collections.kestra_community.dr.plugins.doc_fragments.mysql import ModuleDocFragment
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    ConnectError,
    IntegrityError,
    RefusedError,
    StateError,
    ToolError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import (
    connect,
    definitions,
    dump,
    inventory,
    load,
    names,
    options,
    pin,
    privileges,
    restore,
    script,
    source,
    swap,
    target,
    versions,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql.versions import Client

# -- names ------------------------------------------------------------------------------------------------------------


def test_names():
    assert names.display("kestra", "flows") == "kestra.flows"
    assert names.display("my-db", "a`b") == "`my-db`.`a``b`" and names.quoted("a`b") == "`a``b`"
    assert names.unquoted(b"`a``b`") == "a`b"


# -- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,version,vendor",
    [
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", (9, 7, 4), "MySQL"),
        ("mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", (8, 0, 36), "MySQL"),
        ("mysqldump  Ver 8.0.35-27 for Linux on x86_64 (Percona Server (GPL), Release '27')", (8, 0, 35), "MySQL"),
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for linux-glibc2.12 (x86_64)", (5, 7, 44), "MySQL"),
        ("mysqldump  Ver 10.19 Distrib 10.11.14-MariaDB, for debian-linux-gnu (x86_64)", (10, 11, 14), "MariaDB"),
        ("mysqldump from 11.8.3-MariaDB, client 10.19 for debian-linux-gnu (x86_64)", (11, 8, 3), "MariaDB"),
        ("8.4.6", (8, 4, 6), "MySQL"),
        ("8.0.mysql_aurora.3.05.2", (8, 0, 0), "MySQL"),
    ],
)
def test_versions(text, version, vendor):
    assert versions.parse(text) == version and versions.vendor(text) == vendor


def test_unreadable_versions():
    with pytest.raises(ToolError):
        versions.parse("no version here")


MARIA = Client("/usr/bin/mysqldump", (11, 8, 3), "MariaDB")


def client(*version):
    return Client("/opt/" + ".".join(map(str, version)), version)


@pytest.mark.parametrize(
    "clients,server,picked",
    [
        ([client(8, 0, 36), client(8, 4, 1), client(9, 7, 4)], (8, 0, 40), (8, 0, 36)),
        ([client(8, 4, 1), client(8, 4, 6), client(9, 7, 4)], (8, 4, 2), (8, 4, 6)),
        ([MARIA, client(9, 7, 4)], (8, 0, 40), (9, 7, 4)),
    ],
)
def test_the_nearest_client_that_is_not_older(clients, server, picked):
    assert versions.pick(clients, server).version == picked


@pytest.mark.parametrize(
    "clients,reason,word",
    [
        ([MARIA], "client_vendor", "MariaDB's mysqldump 11.8.3"),
        ([client(8, 0, 36), MARIA], "client_too_old", "8.0.36"),
        ([], "tool_missing", "No mysqldump"),
    ],
)
def test_no_client_fits(clients, reason, word):
    with pytest.raises(RefusedError) as refused:
        versions.pick(clients, (9, 0, 0))
    assert refused.value.reason == reason and word in refused.value.message and refused.value.hint


@pytest.mark.parametrize(
    "before,after", [((8, 0, 40), (8, 0, 11)), ((8, 0, 40), (8, 4, 0)), ((8, 4, 6), (9, 0, 0)), ((9, 1, 0), (9, 7, 4))]
)
def test_forward_only(before, after):
    versions.require_restorable(before, after)
    if before[:2] != after[:2]:
        with pytest.raises(RefusedError) as refused:
            versions.require_restorable(after, before)
        assert refused.value.reason == "target_too_old"


# -- privileges -------------------------------------------------------------------------------------------------------


def grants(*lines):
    return privileges.of_lines(lines)


def test_grants():
    found = grants(
        "GRANT USAGE ON *.* TO `u`@`%`",
        "GRANT SHOW_ROUTINE ON *.* TO `u`@`%`",
        "GRANT SELECT, LOCK TABLES ON `kes\\_tra`.* TO `u`@`%` WITH GRANT OPTION",
        "GRANT ALL PRIVILEGES ON `wild%`.* TO `u`@`%`",
        "GRANT SELECT, INSERT (`a`, `b`) ON `other`.`t` TO `u`@`%`",
        "GRANT `role`@`%` TO `u`@`%`",
        "GRANT PROXY ON ``@`` TO `u`@`%`",
        "GRANT EXECUTE ON FUNCTION `other`.`f` TO `u`@`%`",
    )
    assert found.on("kes_tra", "SELECT") and found.on("kes_tra", "LOCK TABLES") and not found.on("kesXtra", "SELECT")
    assert found.on("wilderness", "TRIGGER") and not found.on("mild", "TRIGGER")
    assert found.on("other", "SELECT", "t") and not found.on("other", "INSERT", "t") and not found.on("other", "SELECT")
    assert found.globally("SHOW_ROUTINE") and not found.globally("SUPER")


def test_all_and_partial_revokes():
    found = grants(
        "GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION", "REVOKE SELECT ON `kestra`.* FROM `root`@`%`"
    )
    assert found.globally("SUPER") and found.on("any", "SELECT") and not found.on("kestra", "SELECT")


FULL = "GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON `kestra`.* TO `u`@`%`"


@pytest.mark.parametrize(
    "lines,routines,missing",
    [
        (("GRANT ALL PRIVILEGES ON `kestra`.* TO `u`@`%`",), [("FUNCTION", "f", 1)], []),
        ((FULL, "GRANT SHOW_ROUTINE ON *.* TO `u`@`%`"), [("FUNCTION", "f", 1)], []),
        ((FULL, "GRANT SELECT ON *.* TO `u`@`%`"), [("FUNCTION", "f", 1)], []),
        ((FULL,), [], ["SHOW_ROUTINE"]),
        (("GRANT ALL PRIVILEGES ON `kestra`.* TO `u`@`%`",), [("FUNCTION", "f", 0)], ["SHOW_ROUTINE"]),
        ((FULL.replace(", EVENT", ""), "GRANT SHOW_ROUTINE ON *.* TO `u`@`%`"), [], ["EVENT"]),
        (
            (
                FULL.replace("SELECT, ", ""),
                "GRANT SHOW_ROUTINE ON *.* TO `u`@`%`",
                "GRANT SELECT ON `kestra`.`flows` TO `u`@`%`",
            ),
            [],
            ["SELECT"],
        ),
    ],
)
def test_missing_for_a_dump(lines, routines, missing):
    found = privileges.missing_for_dump(grants(*lines), "kestra", ["flows"], ["v"], routines)
    assert sum((item["missing"] for item in found), []) == missing
    if missing:
        with pytest.raises(RefusedError) as refused:
            privileges.require_for_dump(found, "u@%")
        assert refused.value.reason == "privileges_missing" and missing[0] in refused.value.message
    else:
        privileges.require_for_dump(found, "u@%")


# -- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exc,reason",
    [
        (Exception(1045, "Access denied for user 'u'@'h' (using password: YES)"), "login_refused"),
        (Exception(1049, "Unknown database 'x'"), "database_missing"),
        (Exception(2003, "Can't connect to MySQL server on 'h' ([Errno 111] Connection refused)"), "unreachable"),
        (Exception(2003, "Can't connect ([SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "tls"),
        (Exception(1040, "Too many connections"), "too_many_connections"),
        (RuntimeError("'cryptography' package is required for sha256_password"), "tls"),
        (OSError("No such file"), "unreachable"),
    ],
)
def test_connect_errors(exc, reason):
    found = connect.connect_error(connect.Login(user="u", host="h", password="sesame"), "x", exc)
    assert found.reason == reason and "sesame" not in str(found.to_result())


@pytest.mark.parametrize(
    "number,reason",
    [
        (1205, "lock_timeout"),
        (2013, "connection_lost"),
        (0, "connection_lost"),
        (1227, "privileges_missing"),
        (1064, "query_failed"),
    ],
)
def test_query_errors(number, reason):
    found = connect.query_error(Exception(number, "text"), "looking")
    assert isinstance(found, ConnectError) and found.reason == reason


def test_option_file():
    login = connect.Login(
        user="u", host="db", port=3307, password="a\"b\\c#d\n; 'e", ssl_mode="verify_ca", ssl_ca="/ca.pem"
    )
    assert connect.option_file(login).splitlines() == [
        "[client]",
        'user = "u"',
        'password = "a\\"b\\\\c#d\\n; \'e"',
        'host = "db"',
        'port = "3307"',
        'protocol = "tcp"',
        'ssl-mode = "VERIFY_CA"',
        'ssl-ca = "/ca.pem"',
        'loose-init-command = "SET SESSION lock_wait_timeout = 60"',
    ]
    assert 'socket = "/s"\nprotocol = "socket"\n' in connect.option_file(connect.Login(user="u", socket="/s"))
    assert "get-server-public-key" in connect.option_file(connect.Login(user="u", ssl_mode="disabled"))
    with pytest.raises(ConfigError):
        connect.option_file(connect.Login(user="u", password="a\0b"))
    assert 'a"b' not in repr(login)


def test_the_environment_of_children(monkeypatch):
    monkeypatch.setenv("MYSQL_PWD", "from outside")
    monkeypatch.setenv("MYSQL_HOST", "elsewhere")
    with connect.client_options(connect.Login(user="u", password="sesame")) as (argument, env):
        assert env["MYSQL_PWD"] is None and env["MYSQL_HOST"] is None
        path = argument.partition("=")[2]
        assert argument.startswith("--defaults-file=") and os.stat(path).st_mode & 0o777 == 0o600
        with open(path, encoding="utf-8") as handle:
            assert "sesame" in handle.read()
        assert "sesame" not in argument + str(env)
    assert not os.path.exists(path)


# -- options ----------------------------------------------------------------------------------------------------------


def test_documented_as_specified():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    specified = {name: spec for name, spec in options.argument_spec().items() if name != "config"}
    assert set(documented) == set(specified)


def params(**given):
    return dict({name: spec.get("default") for name, spec in options.argument_spec().items()}, **given)


KESTRA = {
    "driver": "mysql",
    "host": "a,b",
    "hosts": [["a", 3306], ["b", 3307]],
    "port": "3306,3307",
    "name": "kestra",
    "user": "kestra",
    "password": "sesame",
    "ssl_mode": "required",
}


def test_resolve_from_kestras_configuration():
    place = options.resolve(params(), KESTRA)
    assert (place.login.user, place.login.password, place.login.host, place.login.port, place.login.ssl_mode) == (
        "kestra",
        "sesame",
        "a",
        3306,
        "required",
    )
    assert (place.require_database(), place.user) == ("kestra", "kestra")
    assert options.resolve(params(login_user="root"), KESTRA).login.password is None
    other = options.resolve(params(login_host="c", database="x"), KESTRA)
    assert (other.login.host, other.login.port, other.database) == ("c", 3306, "x")
    local = options.resolve(params(login_unix_socket="/s"), KESTRA).login
    assert local.socket == "/s" and local.place == "/s"


def test_resolve_without_configuration(tmp_path):
    (tmp_path / "password").write_text("sesame\n")
    place = options.resolve(params(login_password_file=str(tmp_path / "password")))
    assert (place.login.user, place.login.host, place.login.port, place.login.password) == (
        "root",
        "localhost",
        3306,
        "sesame",
    )
    with pytest.raises(ConfigError):
        place.require_database()


# -- dump -------------------------------------------------------------------------------------------------------------


def test_arguments_of_mysqldump():
    argv = dump.arguments(client(9, 7, 4), "-odd", "--defaults-file=/f")
    assert argv[:2] == ["/opt/9.7.4", "--defaults-file=/f"] and argv[-2:] == ["--", "-odd"]
    assert {
        "--single-transaction",
        "--quick",
        "--routines",
        "--triggers",
        "--events",
        "--hex-blob",
        "--set-gtid-purged=OFF",
        "--no-tablespaces",
    } < set(argv)


def test_excluded():
    found = [inventory.Table("flows", "InnoDB", 1, 1), inventory.Table("a.b", "InnoDB", 1, 1)]
    assert dump.excluded(["kestra.flows", "a.b", "`flows`"], found) == ["flows", "a.b", "flows"]
    with pytest.raises(RefusedError):
        dump.excluded(["none"], found)


def test_space():
    plan = dump.Plan(client(9, 7, 4), "kestra", "9.7.4", 100, 99, [])
    dump.require_space(plan, "/d", 0)
    with pytest.raises(RefusedError) as refused:
        dump.require_space(plan, "/d", 1.0)
    assert refused.value.reason == "disk_full" and refused.value.detail["estimated_bytes"] == 100


def test_counts_of_a_dump():
    facts = script.Facts(counts={"a": 1, "b": 0})
    dump.require_counts({"a": 1, "b": 0}, facts)
    for expected in ({"a": 2, "b": 0}, {"a": 1, "b": 0, "c": 0}):
        with pytest.raises(IntegrityError) as differs:
            dump.require_counts(expected, facts)
        assert differs.value.reason == "counts_differ"
    facts.uncounted.append("a")
    with pytest.raises(IntegrityError):
        dump.require_counts({"a": 1, "b": 0}, facts)


@pytest.mark.parametrize("kind", definitions.KINDS)
def test_objects_of_a_dump(kind):
    objects = {item: {"x": "digest"} for item in definitions.KINDS}
    facts = script.Facts(objects={item: ["x"] for item in definitions.KINDS})
    dump.require_objects(objects, facts)
    facts.objects[kind] = []
    with pytest.raises(IntegrityError) as lacks:
        dump.require_objects(objects, facts)
    assert lacks.value.reason == "dump_incomplete" and "lacks " + kind[:-1] in lacks.value.message
    facts.objects[kind] = ["x", "y"]
    with pytest.raises(IntegrityError):
        dump.require_objects(objects, facts)


@pytest.mark.parametrize(
    "text,reason",
    [
        (
            "mysqldump: Error 1412: Table definition has changed, please retry transaction when dumping table `t` at row: 0",
            "schema_changing",
        ),
        (
            "mysqldump: Error 2013: Lost connection to MySQL server during query when dumping table `t` at row: 5",
            "connection_lost",
        ),
        ("mysqldump: Got error: 1045: Access denied for user 'u'@'h' when trying to connect", "privileges_missing"),
        (
            "mysqldump: Couldn't execute 'show events': Access denied for user 'u'@'%' to database 'd' (1044)",
            "privileges_missing",
        ),
        (
            "mysqldump: Couldn't execute 'SHOW CREATE FUNCTION `f`': FUNCTION f does not exist (1305)\nmore",
            "schema_changing",
        ),
        ("mysqldump: Error in field count for table: `triggers` !  Aborting.", "schema_changing"),
        ("mysqldump: Couldn't execute 'SHOW CREATE TABLE `t`': Lock wait timeout exceeded (1205)", "lock_timeout"),
        ("mysqldump: Error 1030: Got error 28", "tool_failed"),
        ("killed", "tool_failed"),
    ],
)
def test_errors_of_mysqldump(text, reason):
    failed = ToolError("mysqldump failed.", detail={"stderr_tail": text, "argv0": "mysqldump"})
    assert dump.explain(failed).reason == reason


def test_engines_without_snapshots():
    pin.require_snapshots([inventory.Table("a", "InnoDB", 1, 1)])
    with pytest.raises(RefusedError) as refused:
        pin.require_snapshots([inventory.Table("a", "MyISAM", 1, 1)])
    assert refused.value.reason == "engine_unsupported"


# -- definitions ------------------------------------------------------------------------------------------------------

CREATE = (
    "CREATE TABLE `t` (\n  `a` int NOT NULL AUTO_INCREMENT,\n  `b` enum('x') COLLATE utf8mb4_unicode_ci\n) ENGINE=InnoDB "
    "AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
)


def test_tables_that_are_printed_differently():
    plain = definitions.table_text(CREATE)
    for other in (
        CREATE.replace("AUTO_INCREMENT=3 ", ""),
        CREATE.replace("=3", "=9"),
        CREATE.replace("enum('x')", "enum('x') CHARACTER SET utf8mb4"),
        CREATE.replace(" COLLATE utf8mb4_unicode_ci\n", "\n"),
    ):
        assert definitions.table_text(other) == plain
    for other in (
        CREATE.replace("NOT NULL AUTO_INCREMENT", "NOT NULL"),
        CREATE.replace(" COLLATE utf8mb4_unicode_ci\n", " COLLATE utf8mb4_bin\n"),
    ):
        assert definitions.table_text(other) != plain


def test_compare_definitions():
    left = {"tables": {"a": "1", "b": "2"}, "routines": {"f": "3"}, "auto_increment": {"a": 5}}
    assert definitions.compare(left, dict(left, auto_increment={"a": 7})) == []
    right = {"tables": {"a": "9"}, "routines": {"f": "3"}, "views": {"v": "4"}, "auto_increment": {"a": 4}}
    assert [(item["kind"], item["name"]) for item in definitions.compare(left, right)] == [
        ("tables", "a"),
        ("tables", "b"),
        ("views", "v"),
        ("auto_increment", "a"),
    ]
    assert [item["name"] for item in definitions.compare(left, right, same_release=False)] == ["b", "v", "a"]


# -- restore ----------------------------------------------------------------------------------------------------------

EXPECTED = {
    "counts": {"kestra.a": 1},
    "identity": {"database": "kestra"},
    "objects": {"tables": {"a": "1"}},
    "generated_timestamps": {"a.t": {"rows": 1, "sum": "5"}},
}
FOUND = {
    "counts": {"kestra.a": 1},
    "objects": {"tables": {"a": "1"}},
    "generated_timestamps": {"a.t": {"rows": 1, "sum": "5"}},
}


@pytest.mark.parametrize(
    "changed,kinds",
    [
        ({}, []),
        ({"counts": {"kestra.a": 2}}, ["counts"]),
        ({"objects": {"tables": {"a": "2"}}}, ["tables"]),
        ({"generated_timestamps": {"a.t": {"rows": 1, "sum": "6"}}}, ["generated_timestamps"]),
    ],
)
def test_judge(changed, kinds):
    found = restore.judge(EXPECTED, dict(FOUND, **changed))
    assert [item["kind"] for item in found["differences"]] == kinds
    assert found["verdict"] == ("differs" if kinds else "verified") and found["depth"] == "counts"


def test_judge_a_foreign_dump():
    facts = script.Facts(counts={"a": 1}, headers={"dump": ("MySQL", "8.0.36"), "database": ("kestra",)}, complete=True)
    facts.objects["tables"].append("a")
    expected = source.from_audit(facts)
    assert expected["identity"] == {
        "server_uuid": None,
        "database": "kestra",
        "character_set": None,
        "collation": None,
        "server_version": "8.0.36",
    }
    assert restore.judge(expected, FOUND)["verdict"] == "verified"
    assert restore.judge(expected, dict(FOUND, objects={"tables": {}}))["verdict"] == "differs"
    facts.uncounted.append("a")
    partly = restore.judge(source.from_audit(facts), dict(FOUND, counts={"kestra.a": 7}))
    assert (partly["verdict"], partly["depth"]) == ("unverified", "structure")


def test_warnings_of_a_foreign_dump():
    facts = script.Facts(headers={"dump": ("MariaDB", "10.11.14")}, gtid=True, databases=["kestra"], uncounted=["t"])
    assert len(source.warnings_of(facts)) == 6
    whole = script.Facts(headers={"dump": ("MySQL", "9.7.4")}, sections=["routines", "events"])
    assert source.warnings_of(whole) == []
    with pytest.raises(RefusedError):
        source.warnings_of(dataclasses.replace(facts, databases=["a", "b"]))


@pytest.mark.parametrize(
    "longest,limit,wanted",
    [(100, 101, None), (100, 100, 1 << 20), (5 << 20, 4 << 20, 8 << 20), ((1 << 30) - 5, 1 << 26, 1 << 30)],
)
def test_packets(longest, limit, wanted):
    if wanted is None:
        target.require_packet(longest, str(limit))
        return
    with pytest.raises(RefusedError) as refused:
        target.require_packet(longest, limit)
    assert refused.value.reason == "packet_too_small" and f"= {wanted}," in refused.value.hint


def test_writable():
    target.require_writable((0, 0))
    for row in ((1, 0), (1, 1)):
        with pytest.raises(RefusedError) as refused:
            target.require_writable(row)
        assert refused.value.reason == "read_only"


def test_create_statement():
    assert target.create_statement("a`b", {"character_set": "utf8mb4", "collation": "utf8mb4_bin"}) == (
        "CREATE DATABASE `a``b` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
    assert target.create_statement("a", {"character_set": None, "collation": None}) == "CREATE DATABASE `a`"


def test_workers():
    assert [target.Options("x").workers(cores) for cores in (1, 2, 64)] == [1, 2, 4]
    assert target.Options("x", jobs=9).workers() == 9


@pytest.mark.parametrize(
    "number,text,reason",
    [
        (1062, "Duplicate entry 'sesame' for key 'PRIMARY'", "restore_failed"),
        (1153, "Got a packet bigger than 'max_allowed_packet' bytes", "packet_too_small"),
        (1114, "The table 't' is full", "disk_full"),
        (1419, "You do not have the SUPER privilege and binary logging is enabled", "privileges_missing"),
        (3105, "The value specified for generated column 'x' is not allowed.", "generated_columns"),
        (2013, "Lost connection to MySQL server during query (timed out)", "hung"),
        (2013, "Lost connection to MySQL server during query", "connection_lost"),
    ],
)
def test_errors_of_a_restore(number, text, reason):
    statement = script.Statement("insert", "t", b"INSERT INTO `t` VALUES ('sesame')", 1)
    found = load.explain(Exception(number, text), statement)
    assert found.reason == reason and "sesame" not in str(found.to_result())


# -- swap -------------------------------------------------------------------------------------------------------------


def test_one_statement_moves_all():
    held = {"kestra": swap.Held(["a", "b`"]), "new": swap.Held(["a"])}
    moved = swap.moves([("kestra", "undo"), ("new", "kestra")], held)
    assert swap.rename_statement(moved) == (
        "RENAME TABLE `kestra`.`a` TO `undo`.`a`, `kestra`.`b``` TO `undo`.`b```, `new`.`a` TO `kestra`.`a`"
    )


def test_possible_renames():
    found = {"kestra": 11, "new": 11, "kestra_dr_left": 0, "empty": 0}
    swap.require_possible([("kestra", "empty")], found)
    swap.require_possible([("kestra", "undo"), ("new", "kestra")], found)
    swap.require_possible([("kestra", "kestra_dr_left")], found)
    for renames, reason in (
        ([("none", "x")], "database_missing"),
        ([("new", "kestra")], "database_exists"),
        ([("kestra", "undo"), ("new", "undo")], "database_exists"),
    ):
        with pytest.raises(StateError) as refused:
            swap.require_possible(renames, found)
        assert refused.value.reason == reason


def test_definitions_that_mean_the_same():
    one = swap.Definition(
        "FUNCTION", "f", "CREATE DEFINER=`a`@`b` FUNCTION `f`() x", "STRICT", "utf8mb4", "utf8mb4_bin"
    )
    assert one.same(dataclasses.replace(one, statement="CREATE DEFINER=`c`@`%` FUNCTION `f`() x"))
    for other in (
        None,
        dataclasses.replace(one, sql_mode=""),
        dataclasses.replace(one, statement="CREATE FUNCTION `f`() y"),
    ):
        assert not one.same(other)
