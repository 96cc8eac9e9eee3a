# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about dumps, restores, connections and options that need no server."""

from __future__ import annotations

import dataclasses
import os

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core import child
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    RefusedError,
    ToolError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts, heartbeats
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import (
    archive,
    connect,
    dump,
    options,
    pin,
    restore,
    source,
    split,
    swap,
    target,
    work,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.inventory import (
    Relation,
    privileges_missing,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.versions import Client

PG15, PG17 = Client("/pg15", (15, 18)), Client("/pg17", (17, 2))


# -- dump -------------------------------------------------------------------------------------------------------------


def test_arguments_of_pg_dump():
    chosen = dump.Options(jobs=3, schemas=('odd "schema',))
    assert dump.arguments(PG15, chosen, "0003-1", ['"public"."logs"'], "/d/dump") == [
        "/pg15/pg_dump",
        "--format=d",
        "--file=/d/dump",
        "--snapshot=0003-1",
        "--no-password",
        "--lock-wait-timeout=10000",
        "--jobs=3",
        "--compress=0",
        '--schema="odd ""schema"',
        '--exclude-table-data="public"."logs"',
    ]
    assert "--no-owner" in dump.arguments(PG15, dump.Options(format="plain"), "1", [], "/d")
    tar = dump.arguments(PG15, dump.Options(format="tar", jobs=8), "1", [], "/d")
    assert not [item for item in tar if item.startswith(("--jobs", "--compress"))]


def test_jobs():
    assert dump.Options().workers(cores=2) == 2 and dump.Options().workers(cores=64) == 4
    assert dump.Options(jobs=9).workers(cores=2) == 9 and dump.Options(format="tar", jobs=9).workers(cores=2) == 1
    assert target.Options("x").workers(cores=64) == 8 and target.Options("x", jobs=1).workers(cores=64) == 1


def relation(table, schema="public", kind="r", usable=True, readable=True, hidden=False):
    return Relation(1, schema, table, kind, usable, readable, hidden)


def test_exact_tables():
    found = [relation("logs"), relation("logs", "other"), relation("Odd name"), relation("v", kind="v")]
    assert [item.name for item in pin.exact(["logs"], found)] == ["public.logs", "other.logs"]
    assert [item.name for item in pin.exact(["public.logs", '"Odd name"'], found)] == [
        "public.logs",
        'public."Odd name"',
    ]
    for unknown in ("v", "public.nothing", "l%"):
        with pytest.raises(RefusedError):
            pin.exact([unknown], found)


def test_privileges_missing():
    found = [
        relation("a"),
        relation("b", readable=False),
        relation("c", hidden=True),
        relation("v", kind="v", readable=False),
        relation("s", kind="S", readable=False),
        relation("d", "closed", usable=False),
    ]
    assert [(item["kind"], item["object"], len(item["missing"])) for item in privileges_missing(found)] == [
        ("table", "public.b", 1),
        ("table", "public.c", 1),
        ("sequence", "public.s", 1),
        ("table", "closed.d", 1),
    ]


def test_space():
    plan = dump.Plan(PG15, "k", "15.18", 1000, 400, 1)
    dump.require_space(plan, "/d", 0.4)
    dump.require_space(plan, "/d", 0)
    with pytest.raises(RefusedError) as refused:
        dump.require_space(plan, "/d", 0.5)
    assert refused.value.reason == "disk_full" and refused.value.detail["estimated_bytes"] == 1000


def test_strays_are_described():
    assert dump.describe_timezone({"timezone": "UTC", "timezone_strays": {}}) == []
    assert "7 rows" in dump.describe_timezone({"timezone": "UTC", "timezone_strays": {"public.e.start_date": 7}})[0]


# -- restore ----------------------------------------------------------------------------------------------------------


def entry(description, tag, namespace=""):
    return archive.Entry(1, False, tag, description, 2, "", "", namespace, "", ())


@pytest.mark.parametrize(
    "item,left_out",
    [
        (entry("SCHEMA", "public"), True),
        (entry("COMMENT", "SCHEMA public"), True),
        (entry("COMMENT", "EXTENSION pgcrypto"), True),
        (entry("SCHEMA", "other"), False),
        (entry("COMMENT", "TABLE public", "public"), False),
        (entry("EXTENSION", "pgcrypto"), False),
        (entry("TABLE", "public", "public"), False),
        (entry("COMMENT", 'TABLE "EXTENSION x"', "public"), False),
    ],
)
def test_entries_left_out(item, left_out):
    assert work.skipped(item) is left_out


def test_arguments_of_pg_restore():
    found = source.Source("directory", "/d", {}, None, (15, 1), (15, 1), [], False)
    argv = work.arguments(PG15, found, target.Options("a=b"), role="kestra", listed="/l", section="data", jobs=2)
    assert argv[0] == "/pg15/pg_restore" and argv[1].endswith("dbname='a=b'")
    assert {"--no-owner", "--no-privileges", "--role=kestra", "--section=data", "--jobs=2", "--use-list=/l"} <= set(
        argv
    )
    tar = work.arguments(
        PG15,
        dataclasses.replace(found, format="tar"),
        target.Options("x", privileges=True),
        role=None,
        listed="/l",
        jobs=4,
    )
    assert not [item for item in tar if item.startswith(("--jobs", "--no-privileges", "--role"))]


@pytest.mark.parametrize(
    "sizes,streams,share,chosen",
    [
        ({1: 90 << 20, 2: 9 << 20, 3: 1 << 20}, 2, 0.2, [1]),
        ({1: 50 << 20, 2: 50 << 20}, 2, 0.2, [1, 2]),
        ({1: 90 << 20}, 1, 0.2, []),
        ({1: 90 << 20}, 2, 0, []),
        ({1: 1 << 20}, 2, 0.2, []),
        ({}, 2, 0.2, []),
        ({1: 0}, 2, 0.2, []),
    ],
)
def test_choice_of_big_tables(sizes, streams, share, chosen):
    assert split.choose(sizes, streams, share) == chosen


TIMEOUT = (
    'pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"\n'
    "Command was: SET transaction_timeout = 0;\n"
)
# Two workers at once.
MIXED = TIMEOUT.replace("pg_restore: error: ", "pg_restore: pg_restore: error: error: ") + TIMEOUT.replace("pg_restore: error: ", "")


@pytest.mark.parametrize(
    "text,only",
    [
        (TIMEOUT + "pg_restore: warning: errors ignored on restore: 1", True),
        (TIMEOUT * 4 + "pg_restore: warning: errors ignored on restore: 2", True),
        (MIXED + "pg_restore: warning: errors ignored on restore: 2", True),
        (MIXED + "pg_restore: error: other\npg_restore: warning: errors ignored on restore: 3", False),
        (TIMEOUT + "pg_restore: error: other\npg_restore: warning: errors ignored on restore: 2", False),
        (TIMEOUT + "pg_restore: warning: errors ignored on restore: 2", False),
        (TIMEOUT, False),
        ("", False),
    ],
)
def test_errors_that_are_none(text, only):
    assert work.only_transaction_timeout({"stderr_tail": text}) is only


def test_judgement():
    found = {"counts": {"public.a": 1}, "objects": {"sequences": {}}, "generated_timestamps": {}}
    expected = {"counts": {"public.a": 1}, "objects": None, "generated_timestamps": None}
    assert restore.judge(expected, found) == {
        "verdict": "verified",
        "depth": "counts",
        "counts": {"public.a": 1},
        "differences": [],
    }
    lost = restore.judge(dict(expected, counts={"public.a": 2, "public.b": 0}), found)
    assert lost["verdict"] == "differs" and [item["name"] for item in lost["differences"]] == ["public.a", "public.b"]
    assert restore.judge(dict(expected, counts={}), found)["verdict"] == "differs"


def test_judgement_of_foreign_dumps():
    found = {
        "counts": {"public.a": 1, "public.none": 0},
        "objects": {"sequences": {"s": {"last_value": 1, "is_called": True}}},
        "generated_timestamps": {},
    }
    foreign = {
        "foreign": True,
        "counts": {"public.a": 1},
        "uncounted": [],
        "generated_timestamps": None,
        "objects": {"sequences": {"s": {"last_value": 1, "is_called": True}}},
    }
    assert restore.judge(foreign, found)["verdict"] == "verified"
    assert restore.judge(dict(foreign, counts={}), found)["verdict"] == "differs"
    assert restore.judge(dict(foreign, counts={}, uncounted=["x"]), found)["verdict"] == "unverified"
    assert (
        restore.judge(dict(foreign, objects={"sequences": {"s": {"last_value": 2, "is_called": True}}}), found)[
            "verdict"
        ]
        == "differs"
    )


def test_create_statement():
    identity = {
        "encoding": "UTF8",
        "collate": "de_DE.UTF-8",
        "ctype": "de_DE.UTF-8",
        "locale_provider": "c",
        "locale": None,
    }
    assert swap.create_statement("a", "o", identity, None, 150000) == (
        "CREATE DATABASE \"a\" TEMPLATE template0 OWNER \"o\" ENCODING 'UTF8' LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'de_DE.UTF-8' "
        "LOCALE_PROVIDER libc"
    )
    assert swap.create_statement("a", None, identity, "C'", 150000).endswith(
        "ENCODING 'UTF8' LC_COLLATE 'C''' LC_CTYPE 'C'''"
    )
    icu = dict(identity, locale_provider="i", locale="de")
    assert swap.create_statement("a", None, icu, None, 150000).endswith("LOCALE_PROVIDER icu ICU_LOCALE 'de'")
    assert "PROVIDER" not in swap.create_statement("a", None, icu, None, 140000)
    assert swap.create_statement("a", None, {}, None, 150000) == 'CREATE DATABASE "a" TEMPLATE template0'


# -- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password,line", [("x", "*:*:*:*:x\n"), ("a:b\\c", "*:*:*:*:a\\:b\\\\c\n"), (" 'ü% ", "*:*:*:*: 'ü% \n")]
)
def test_pass_line(password, line):
    assert connect.pass_line(password) == line


@pytest.mark.parametrize("password", ["a\nb", "a\r", "a\0"])
def test_passwords_a_file_cannot_hold(password):
    with pytest.raises(ConfigError) as refused:
        connect.pass_line(password)
    assert password not in str(refused.value.to_result())


LOGIN = connect.Login(
    user="kestra", host="db1", port=5433, password="pässword:1", ssl_mode="verify-full", ssl_root_cert="/ca"
)


def test_the_environment_of_children(monkeypatch):
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    monkeypatch.setenv("PGPASSWORD", "stale")
    with connect.client_environment(LOGIN, "a=b", timezone="Asia/Tokyo", settings={"work_mem": "1 MB"}) as env:
        assert env["PGSERVICE"] is None and env["PGPASSWORD"] is None
        assert (env["PGHOST"], env["PGPORT"], env["PGUSER"], env["PGDATABASE"]) == ("db1", "5433", "kestra", "a=b")
        assert (env["PGTZ"], env["PGOPTIONS"], env["PGSSLMODE"]) == ("Asia/Tokyo", "-c work_mem=1\\ MB", "verify-full")
        assert not [value for value in env.values() if value and "pässword" in value]
        path = env["PGPASSFILE"]
        with open(path, encoding="utf-8") as handle:
            assert handle.read() == "*:*:*:*:pässword\\:1\n"
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert not os.path.exists(path)


def test_no_password_shows():
    assert "pässword" not in repr(LOGIN) and "password" not in connect.Login(**vars(LOGIN)).parameters("x")
    assert connect.conninfo("it's \\ x").endswith("dbname='it\\'s \\\\ x'")


@pytest.mark.parametrize(
    "text,reason",
    [
        ('FATAL:  password authentication failed for user "kestra"', "login_refused"),
        ('FATAL:  role "x" does not exist', "login_refused"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', "login_refused"),
        ('FATAL:  database "x" does not exist', "database_missing"),
        ("SSL error: certificate verify failed", "tls"),
        ("FATAL:  the database system is starting up", "not_ready"),
        ("FATAL:  sorry, too many clients already", "too_many_connections"),
        ("Connection refused", "unreachable"),
        ("timeout expired", "unreachable"),
    ],
)
def test_what_libpq_says(text, reason):
    error = connect.connect_error(LOGIN, "kestra", f"connection failed: {text}")
    assert error.reason == reason and "db1:5433" in error.message and "kestra" in str(error.to_result())


# -- options ----------------------------------------------------------------------------------------------------------


def params(**given):
    return dict({name: spec.get("default") for name, spec in options.argument_spec().items()}, **given)


KESTRA = {
    "driver": "postgresql",
    "host": "db1",
    "port": 5433,
    "name": "kestra",
    "schema": "app",
    "user": "kestra",
    "password": "secret",
    "ssl_mode": "require",
    "ssl_root_cert": None,
    "ssl_cert": None,
    "ssl_key": None,
    "target_session_attrs": "read-write",
}


def test_everything_from_kestras_configuration():
    place = options.resolve(params(), KESTRA)
    assert (place.login.host, place.login.port, place.login.user, place.login.password) == (
        "db1",
        5433,
        "kestra",
        "secret",
    )
    assert (place.database, place.schema, place.user, place.login.ssl_mode) == ("kestra", "app", "kestra", "require")
    assert place.login.target_session_attrs == "read-write" and place.login.maintenance == "postgres"


def test_options_win(tmp_path):
    file = tmp_path / "password"
    file.write_text(" p@ss \n")
    place = options.resolve(
        params(login_user="postgres", login_password_file=str(file), login_host="db2", database="other"), KESTRA
    )
    assert (place.login.host, place.login.port, place.login.user, place.login.password) == (
        "db2",
        5432,
        "postgres",
        " p@ss ",
    )
    assert place.database == "other" and place.user == "kestra" and place.login.target_session_attrs is None


def test_kestras_password_is_for_kestras_user_only():
    assert options.resolve(params(login_user="postgres"), KESTRA).login.password is None


def test_nothing_given():
    place = options.resolve(params())
    assert (place.login.user, place.login.host, place.login.port, place.schema) == (
        "postgres",
        "localhost",
        5432,
        "public",
    )
    with pytest.raises(ConfigError):
        place.require_database()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"\n"])
def test_bad_password_files(tmp_path, content):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        options.resolve(params(login_password_file=str(path)))
    assert refused.value.reason == "password_file"


class Module:
    def __init__(self, *secrets):
        self.no_log_values = set(secrets)
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def test_facts_stay_whole():
    """A password that is also a name must not damage the manifest."""
    module, redactor = Module("kestra", "beef", "longsecret"), facts.FactRedactor("kestra", "beef", "longsecret")
    trusted = facts.trust(module, {"database": "kestra", "sha256": "00beef00"})
    assert module.no_log_values == {"longsecret"} and len(module.warnings) == 1
    scrubbed = redactor.scrub({"component": trusted, "msg": "kestra longsecret"})
    assert scrubbed == {"component": {"database": "kestra", "sha256": "00beef00"}, "msg": "******** ********"}


# -- activity ---------------------------------------------------------------------------------------------------------


def session(user, ours=False, application="x"):
    return {
        "pid": 1,
        "user": user,
        "application": application,
        "client": None,
        "state": "idle",
        "since": None,
        "ours": ours,
    }


@pytest.mark.parametrize(
    "found,beats,quiet",
    [
        ([], [], True),
        ([session("kestra")], [], False),
        ([session("kestra", ours=True)], [], True),
        ([session("dba")], [], True),
        ([], [{"id": "a"}], False),
    ],
)
def test_quiet(found, beats, quiet):
    assert heartbeats.judge(found, beats, "kestra")["quiet"] is quiet


def test_summary():
    assert heartbeats.summary(heartbeats.judge([], [], "kestra")) == "Nobody is at work on the database."
    text = heartbeats.summary(
        heartbeats.judge(
            [session("kestra"), session("dba", application=None)],
            [{"id": "a", "type": "WORKER", "host": None, "state": "RUNNING", "age_seconds": 1.6}],
            "kestra",
        )
    )
    assert "kestra (pid 1, x)" in text and "WORKER on unknown host (RUNNING, 2 s ago)" in text and "dba" in text


@pytest.mark.parametrize(
    "text,message",
    [
        (
            "pg_dump: error: query failed: ERROR:  canceling statement\npg_dump: detail: Query was: LOCK",
            "pg_dump failed: query failed: ERROR:  canceling statement.",
        ),
        ('psql:<stdin>:35: ERROR:  must be member of role "x"', 'pg_dump failed: must be member of role "x".'),
        ("odd\n", "fallback"),
        ("", "fallback"),
    ],
)
def test_the_line_that_tells(text, message):
    error = ToolError("fallback", detail={"argv0": "/pg15/pg_dump", "stderr_tail": text})
    assert child.first_error(error) == message


@pytest.mark.parametrize("text", [
    "pg_restore: error: could not execute query: SSL SYSCALL error: EOF detected",
    "pg_restore: error: error returned by PQputCopyData: server closed the connection unexpectedly",
    "pg_restore: error: could not execute query: FATAL:  terminating connection due to administrator command",
])
def test_a_server_that_is_gone_is_called_so(text):
    found = work.explain(ToolError("It failed.", reason="tool_failed", detail={"argv0": "/usr/bin/pg_restore", "stderr_tail": text}))
    assert found.reason == "connection_lost" and "went away" in found.hint
    asked = connect.query_error(Exception("consuming input failed: SSL error: unexpected eof while reading"), "counting rows")
    assert asked.reason == "connection_lost" and asked.message.startswith("The server went away while counting rows: ")
