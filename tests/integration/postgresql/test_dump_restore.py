# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dump and restore on real servers: what comes back is what was there, in every format, for every kind of role."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError,
    RefusedError,
    ToolError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import (
    audit,
    connect,
    inventory,
    split,
    swap,
    versions,
    work,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps

FORMATS = ["directory", "custom", "tar", "plain"]


def content(login, database):
    return inventory.read(login, database, with_counts=True, with_objects=True, with_content=True)


def assert_same(left, right):
    for key in ("counts", "objects", "generated_timestamps", "content"):
        assert left[key] == right[key], key


@pytest.mark.parametrize("form", FORMATS)
def test_round_trip(server, kestra, take, give, form):
    source, component = take(server.admin(), kestra, format=form)
    manifest.validate_component("database", component, sealed=False)
    assert component["counts"]["public.logs"] == 400 and component["timezone"] == "UTC"
    result = give(server.admin(), source, "kestra_dr_round", component, owner="kestra")
    try:
        assert (result["verdict"], result["depth"], result["differences"]) == ("verified", "counts", [])
        assert result["counts"] == component["counts"]
        assert_same(content(server.admin(), kestra), content(server.admin(), "kestra_dr_round"))
        owners = server.sql(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
            "kestra_dr_round",
        )
        assert owners == [("kestra",)]
        assert server.sql("SELECT last_value, is_called FROM queues_offset_seq", "kestra_dr_round") == [(150, True)]
    finally:
        server.drop("kestra_dr_round")


@pytest.mark.parametrize("form,method", [("directory", "gzip"), ("custom", "gzip"), ("custom", "none")])
def test_compressions(server, kestra, take, give, form, method):
    source, component = take(
        server.admin(), kestra, format=form, compression=method, level=1 if method == "gzip" else None
    )
    assert audit.audit(source)["counts"] == component["counts"]
    assert give(server.admin(), source, "kestra_dr_comp", component)["verdict"] == "verified"
    server.drop("kestra_dr_comp")


@pytest.mark.parametrize("form", ["directory", "custom", "tar"])
def test_several_streams_load_exactly_the_same(server, take, give, form, monkeypatch):
    monkeypatch.setattr(split, "SMALLEST", 1000)
    name = server.kestra({"flows": 3, "executions": 20, "logs": 5000, "queues": 100})
    try:
        source, component = take(server.admin(), name, format=form)
        before = content(server.admin(), name)
        for share, expected in ((0.2, ["public.logs"]), (0, [])):
            result = give(
                server.admin(), source, "kestra_dr_split", component, owner="kestra", jobs=3, split_share=share
            )
            assert result["split_tables"] == expected and result["verdict"] == "verified"
            assert_same(before, content(server.admin(), "kestra_dr_split"))
            server.drop("kestra_dr_split")
    finally:
        server.drop(name)


def test_a_dump_beside_changes_is_one_moment(server, kestra, take, give):
    """Rows written, changed and removed after the pin do not show; neither does a table created then."""

    def change(facts):
        assert facts["snapshot"] and facts["tables"] > 15
        server.sql(
            "DELETE FROM executions; UPDATE flows SET source_code = 'changed'; CREATE TABLE late (a int); "
            "INSERT INTO queues (type, key, value) SELECT type, key, value FROM queues",
            kestra,
        )

    before = content(server.admin(), kestra)
    source, component = take(server.admin(), kestra, Steps(pinned=change))
    assert component["counts"] == before["counts"] and component["counts"]["public.executions"] == 60
    result = give(server.admin(), source, "kestra_dr_moment", component)
    assert result["verdict"] == "verified"
    assert content(server.admin(), "kestra_dr_moment")["content"] == before["content"]
    server.drop("kestra_dr_moment")


def test_tables_cannot_be_altered_under_the_dump(server, kestra, take):
    blocked = []

    def alter(facts):
        with connect.connect(server.admin(), kestra) as connection:
            connection.execute("SET lock_timeout = '200ms'")
            try:
                connection.execute("ALTER TABLE public.flows ADD COLUMN x int")
            except connect.driver().errors.LockNotAvailable:
                blocked.append(True)

    # One process: the workers of a parallel dump give up rather than queue up behind an ALTER that waits.
    take(server.admin(), kestra, Steps(pinned=alter), format="custom")
    assert blocked


def test_no_rows_anywhere_is_no_alarm(server, take, give):
    name = server.kestra({})
    for form in FORMATS:
        source, component = take(server.admin(), name, format=form)
        assert set(component["counts"].values()) == {0} and component["bytes"] > 0
        assert give(server.admin(), source, "kestra_dr_none", component)["verdict"] == "verified"
        server.drop("kestra_dr_none")
        assert give(server.admin(), source, "kestra_dr_none")["verdict"] == "verified"
        server.drop("kestra_dr_none")
    server.drop(name)


def test_a_database_without_tables(server, take, give):
    name = server.database()
    source, component = take(server.admin(), name)
    assert component["counts"] == {}
    assert give(server.admin(), source, "kestra_dr_void", component)["verdict"] == "verified"
    server.drop("kestra_dr_void")
    server.drop(name)


ODD = """
CREATE SCHEMA "odd schema"; CREATE TABLE "odd schema"."a.b" (x int); INSERT INTO "odd schema"."a.b" VALUES (1), (2);
CREATE TABLE "new
line" (x text); INSERT INTO "new
line" VALUES (E'a\\nb\\tc\\\\'), (NULL), ('\\.'), ('');
CREATE TABLE "quote""d" (x int); CREATE TABLE "100%" (x int); INSERT INTO "100%" VALUES (1);
CREATE TABLE "ключ" (x int); CREATE TABLE "SELECT" (x serial); INSERT INTO "SELECT" DEFAULT VALUES;
CREATE TABLE nocolumns (); INSERT INTO nocolumns DEFAULT VALUES;
CREATE TABLE parent (k int, v text) PARTITION BY LIST (k); CREATE TABLE part1 PARTITION OF parent FOR VALUES IN (1);
INSERT INTO parent VALUES (1, 'x'); CREATE TABLE base (a int); CREATE TABLE child (b int) INHERITS (base);
INSERT INTO base VALUES (1); INSERT INTO child VALUES (2, 3);
CREATE TABLE checked (state varchar(20) CHECK (state IN ('A', 'B')), n numeric DEFAULT (1 + 2) * 3);
CREATE VIEW seen AS SELECT state FROM checked WHERE state IN ('A', 'B'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text); CREATE UNLOGGED TABLE unlogged (x int); INSERT INTO unlogged VALUES (1);
CREATE FUNCTION tricky() RETURNS text LANGUAGE sql AS $f$ SELECT E'COPY x FROM stdin;\\n\\\\.\\n' $f$;
CREATE TABLE refers (x int PRIMARY KEY, y int REFERENCES refers (x)); INSERT INTO refers VALUES (1, 1);
ALTER TABLE checked ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON checked USING (state = 'A');
COMMENT ON TABLE checked IS 'it''s \\ a comment';
"""


@pytest.mark.parametrize("form", FORMATS)
def test_odd_names_and_definitions(server, take, give, form, monkeypatch):
    monkeypatch.setattr(split, "SMALLEST", 1)
    name = server.database()
    with connect.connect(server.admin(), name) as connection:
        connection.execute("SET search_path = public")
        connection.execute(ODD)
    try:
        source, component = take(server.admin(), name, format=form)
        assert component["counts"]['"odd schema"."a.b"'] == 2 and component["counts"]['public."new\nline"'] == 4
        assert component["counts"]["public.base"] == 1 and component["counts"]["public.part1"] == 1
        assert audit.audit(source)["counts"] == component["counts"]
        for share in (0, 0.01):
            result = give(server.admin(), source, "kestra_dr_odd", component, split_share=share, jobs=2)
            assert result["verdict"] == "verified", result["differences"]
            assert_same(content(server.admin(), name), content(server.admin(), "kestra_dr_odd"))
            server.drop("kestra_dr_odd")
    finally:
        server.drop(name)


def test_differences_are_found(server, kestra, take, give):
    source, component = take(server.admin(), kestra)
    component["counts"]["public.flows"] += 1
    component["objects"]["functions"].pop("public.fulltext_index(text)")
    component["objects"]["indexes"]["public.flows_fulltext"] = "0" * 64
    component["objects"]["sequences"]["public.queues_offset_seq"]["last_value"] = 7
    component["generated_timestamps"]["public.executions.start_date"]["sum"] = "1"
    result = give(server.admin(), source, "kestra_dr_differs", component)
    assert result["verdict"] == "differs"
    assert {(item["kind"], item["name"]) for item in result["differences"]} == {
        ("counts", "public.flows"),
        ("functions", "public.fulltext_index(text)"),
        ("indexes", "public.flows_fulltext"),
        ("sequences", "public.queues_offset_seq"),
        ("generated_timestamps", "public.executions.start_date"),
    }
    # It was not proved, so the next attempt may replace it.
    assert give(server.admin(), source, "kestra_dr_differs", component)["verdict"] == "differs"
    server.drop("kestra_dr_differs")


def test_a_difference_in_an_empty_database_can_be_tried_again(server, kestra, take, give):
    source, component = take(server.admin(), kestra)
    name = server.database()
    right = component["counts"]["public.flows"]
    component["counts"]["public.flows"] = 99
    assert give(server.admin(), source, name, component, create=False)["verdict"] == "differs"
    component["counts"]["public.flows"] = right
    assert give(server.admin(), source, name, component, create=False)["verdict"] == "verified"
    with pytest.raises(RefusedError):
        give(server.admin(), source, name, component, create=False)
    server.drop(name)


# -- the time zone trap -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Europe/Berlin", "America/St_Johns"])
def test_the_zone_is_found_and_used(server, take, give, zone):
    name = server.kestra({"executions": 400}, timezone=zone)
    try:
        source, component = take(server.admin(), name)
        assert component["timezone_strays"] == {}
        stored = server.sql("SELECT sum(hashtext(start_date::text)) FROM executions", name)
        result = give(server.admin(), source, "kestra_dr_zone", component)
        assert result["verdict"] == "verified" and result["timezone"] == component["timezone"]
        assert server.sql("SELECT sum(hashtext(start_date::text)) FROM executions", "kestra_dr_zone") == stored
        server.drop("kestra_dr_zone")
        wrong = give(server.admin(), source, "kestra_dr_zone", component, timezone="Pacific/Auckland")
        assert {item["kind"] for item in wrong["differences"]} == {"generated_timestamps"}
        server.drop("kestra_dr_zone")
    finally:
        server.drop(name)


def test_rows_of_two_zones_are_reported_and_no_false_alarm(server, take, give):
    name = server.kestra({"executions": 100}, timezone="Asia/Tokyo")
    try:
        with connect.connect(server.admin(), name) as connection:
            connection.execute("SET timezone = 'America/Lima'")
            connection.execute(
                "UPDATE public.executions SET value = value WHERE ctid IN (SELECT ctid FROM public.executions LIMIT 7)"
            )
        source, component = take(server.admin(), name)
        assert server.sql(f"SELECT now() AT TIME ZONE '{component['timezone']}' = now() AT TIME ZONE 'Asia/Tokyo'") == [
            (True,)
        ]
        assert component["timezone_strays"]["public.executions.start_date"] == 7
        assert give(server.admin(), source, "kestra_dr_two", component)["verdict"] == "verified"
        server.drop("kestra_dr_two")
    finally:
        server.drop(name)


# -- roles ------------------------------------------------------------------------------------------------------------


def test_kestras_own_role_dumps_and_restores_over_tls_into_an_empty_database(tls_server, take, give):
    """As on a managed service: no SUPERUSER, no CREATEDB, TLS with an own certificate authority."""
    name = tls_server.kestra(owner="kestra")
    target = tls_server.database("kestra")
    login = tls_server.login("kestra")
    with connect.connect(login, name) as connection:
        assert connection.execute(
            "SELECT ssl, current_setting('is_superuser') FROM pg_catalog.pg_stat_ssl "
            "WHERE pid = pg_catalog.pg_backend_pid()"
        ).fetchone() == (True, "off")
    before = content(login, name)
    assert before["can_create_database"] is False and before["privileges_missing"] == []
    for form in FORMATS:
        source, component = take(login, name, format=form)
        result = give(login, source, target, component, create=False)
        assert result["verdict"] == "verified", form
        assert_same(before, content(login, target))
        tls_server.drop(target)
        target = tls_server.database("kestra", target)
    with pytest.raises(RefusedError) as refused:
        give(login, source, "kestra_dr_new", component)
    assert refused.value.reason == "privileges_missing" and "create: false" in str(refused.value.to_result()["msg"])


def test_tls_is_checked(tls_server, certificates):
    if not tls_server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'kestra'"):
        tls_server.role("kestra")
    with pytest.raises(ConnectError) as refused:
        connect.connect(tls_server.login("kestra", tls=certificates["foreign"]), "postgres")
    assert refused.value.reason == "tls"


def test_a_public_schema_one_may_not_create_in_is_refused_before(server, kestra, take, give):
    source, component = take(server.admin(), kestra)
    stranger, name = server.role(), server.database()
    with pytest.raises(RefusedError) as refused:
        give(server.login(stranger), source, name, component, create=False)
    assert refused.value.reason == "privileges_missing" and "GRANT CREATE ON SCHEMA public" in refused.value.hint
    assert inventory.read(server.admin(), name)["empty"]
    server.sql(f"GRANT CREATE ON SCHEMA public TO {stranger}", name)
    assert give(server.login(stranger), source, name, component, create=False)["verdict"] == "verified"
    server.drop(name)


def test_a_role_with_createdb_restores_for_a_role_it_is_member_of(server, kestra, take, give):
    source, component = take(server.admin(), kestra)
    operator = server.role(options="LOGIN CREATEDB")
    with pytest.raises(RefusedError) as refused:
        give(server.login(operator), source, "kestra_dr_member", component, owner="kestra")
    assert refused.value.reason == "privileges_missing"
    server.sql(f"GRANT kestra TO {operator}")
    for form in ("directory", "plain"):
        source, component = take(server.admin(), kestra, format=form)
        result = give(server.login(operator), source, "kestra_dr_member", component, owner="kestra")
        assert result["verdict"] == "verified"
        assert server.sql(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'", "kestra_dr_member"
        ) == [("kestra",)]
        assert swap.drop(server.login(operator), "kestra_dr_member")["changed"]


def test_a_missing_owner_is_created_with_its_password(server, kestra, take, give):
    from postgresql_harness import PASSWORD

    source, component = take(server.admin(), kestra)
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), source, "kestra_dr_owner", component, owner="newcomer")
    assert refused.value.reason == "role_missing"
    give(server.admin(), source, "kestra_dr_owner", component, owner="newcomer", owner_password=PASSWORD)
    with connect.connect(server.login("newcomer"), "kestra_dr_owner") as connection:
        assert connection.execute("SELECT count(*) FROM public.flows").fetchone() == (5,)
    server.drop("kestra_dr_owner")


def test_privileges_of_others_on_request(server, kestra, take, give):
    reader = server.role("a reader")
    server.sql(f'GRANT SELECT ON flows TO "{reader}"', kestra)
    for form in ("directory", "custom"):
        source, component = take(server.admin(), kestra, format=form)
        assert component["grantees"] == [reader]
        for wanted in (False, True):
            result = give(server.admin(), source, "kestra_dr_acl", component, privileges=wanted)
            granted = server.sql(f"SELECT has_table_privilege('{reader}', 'public.flows', 'SELECT')", "kestra_dr_acl")
            assert granted == [(wanted,)] and bool(result["warnings"]) is not wanted
            server.drop("kestra_dr_acl")


def test_settings_and_locale_of_the_database_come_back(server, take, give):
    name = server.kestra({"flows": 1})
    server.sql(
        f"ALTER DATABASE {name} SET work_mem = '17MB'; ALTER DATABASE {name} SET search_path = \"$user\", public"
    )
    source, component = take(server.admin(), name)
    give(server.admin(), source, "kestra_dr_settings", component)
    with connect.connect(server.admin(), "kestra_dr_settings") as connection:
        assert inventory.database_settings(connection) == component["settings"]
        assert len(component["settings"]) == 2
        assert inventory.identity(connection)["collate"] == component["identity"]["collate"]
    server.drop("kestra_dr_settings")
    component["identity"].update(collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8")
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), source, "kestra_dr_settings", component)
    assert refused.value.reason == "locale_missing"
    assert give(server.admin(), source, "kestra_dr_settings", component, locale="C")["verdict"] == "verified"
    server.drop("kestra_dr_settings")
    server.drop(name)


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_never_over_existing_data(server, kestra, take, give):
    source, component = take(server.admin(), kestra)
    before = content(server.admin(), kestra)
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), source, kestra, component)
    assert refused.value.reason == "database_exists"
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), source, kestra, component, create=False)
    assert refused.value.reason == "not_empty" and "public.log_level" in refused.value.message
    assert_same(before, content(server.admin(), kestra))


def test_a_finished_restore_is_not_dropped_by_the_next(server, kestra, take, give):
    source, component = take(server.admin(), kestra)
    give(server.admin(), source, "kestra_dr_kept", component)
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), source, "kestra_dr_kept", component)
    assert refused.value.reason == "database_exists"
    server.drop("kestra_dr_kept")


@pytest.mark.parametrize(
    "what,statement",
    [
        ("view", "CREATE VIEW v AS SELECT 1"),
        ("function", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        ("type", "CREATE TYPE t AS ENUM ('a')"),
        ("schema", "CREATE SCHEMA s"),
        ("sequence", "CREATE SEQUENCE q"),
        ("large objects", "SELECT lo_create(0)"),
    ],
)
def test_what_makes_a_database_not_empty(server, what, statement):
    name = server.database()
    assert inventory.read(server.admin(), name)["empty"]
    server.sql(statement, name)
    found = inventory.read(server.admin(), name)
    assert not found["empty"] and what in found["contents"][0]
    server.drop(name)


def test_privileges_are_checked_before(server, kestra, take):
    reader = server.role()
    server.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}; REVOKE SELECT ON logs FROM {reader}", kestra)
    with pytest.raises(RefusedError) as refused:
        take(server.login(reader), kestra)
    assert refused.value.reason == "privileges_missing"
    assert [item["object"] for item in refused.value.detail["missing"]] == ["public.logs", "public.queues_offset_seq"]
    server.sql(
        f"GRANT SELECT ON logs TO {reader}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {reader}; "
        "ALTER TABLE flows ENABLE ROW LEVEL SECURITY",
        kestra,
    )
    with pytest.raises(RefusedError) as refused:
        take(server.login(reader), kestra)
    assert "row level security" in refused.value.message and "public.flows" in refused.value.message
    server.sql("ALTER TABLE flows DISABLE ROW LEVEL SECURITY", kestra)
    source, component = take(server.login(reader), kestra)
    assert component["counts"]["public.logs"] == 400


def test_excluded_rows_are_excluded_and_said(server, kestra, take, give):
    source, component = take(server.admin(), kestra, exclude_table_data=("logs", "public.metrics"))
    assert component["counts"]["public.logs"] == 0 and component["excluded_table_data"] == {
        "public.logs": 400,
        "public.metrics": 20,
    }
    assert give(server.admin(), source, "kestra_dr_slim", component)["verdict"] == "verified"
    server.drop("kestra_dr_slim")
    with pytest.raises(RefusedError) as refused:
        take(server.admin(), kestra, exclude_table_data=("nothing",))
    assert refused.value.reason == "table_missing"


def test_one_schema_only(server, take, give):
    name = server.kestra({"flows": 2})
    server.sql("CREATE SCHEMA other; CREATE TABLE other.secret (a int)", name)
    source, component = take(server.admin(), name, schemas=("public",))
    assert not [table for table in component["counts"] if table.startswith("other.")]
    assert give(server.admin(), source, "kestra_dr_schema", component)["verdict"] == "verified"
    server.drop("kestra_dr_schema")
    server.drop(name)


# -- by hand ----------------------------------------------------------------------------------------------------------


def by_hand(server, program, *arguments):
    client = versions.pick(versions.find_clients(), server.programs.major)
    env = dict(os.environ, PGHOST=str(server.sockets), PGPORT=str(server.port), PGUSER="admin")
    return subprocess.run([client.program(program), *arguments], env=env, check=True, capture_output=True)


def test_the_documented_commands_restore_our_tar(server, kestra, take):
    source, component = take(server.admin(), kestra, format="tar")
    name = server.database()
    by_hand(server, "pg_restore", "-d", name, os.path.join(source, "database.tar"))
    assert inventory.read(server.admin(), name, with_counts=True)["counts"] == component["counts"]
    server.drop(name)


@pytest.mark.parametrize("letter", ["t", "c", "d", "p"])
def test_a_dump_made_by_hand_is_imported(server, kestra, give, tmp_path, letter):
    source = tmp_path / "kestra.tar"
    by_hand(server, "pg_dump", "-F", letter, "-f", str(source), kestra)
    before = content(server.admin(), kestra)
    result = give(server.admin(), str(source), "kestra_dr_import", owner="kestra")
    assert result["verdict"] == "verified" and result["audited"] and result["counts"] == before["counts"]
    assert_same(before, content(server.admin(), "kestra_dr_import"))
    assert any("time zone" in warning for warning in result["warnings"])
    server.drop("kestra_dr_import")


def test_insert_statements_are_imported_but_not_called_verified(server, kestra, give, tmp_path):
    for letter in ("p", "c"):
        source = tmp_path / f"inserts.{letter}"
        by_hand(server, "pg_dump", "--inserts", "-F", letter, "-f", str(source), kestra)
        result = give(server.admin(), str(source), "kestra_dr_inserts")
        assert result["verdict"] == "unverified" and result["counts"]["public.logs"] == 400
        server.drop("kestra_dr_inserts")


def test_a_script_with_psql_commands_is_not_run(server, kestra, give, tmp_path):
    source, mark = tmp_path / "kestra.sql", tmp_path / "mark"
    by_hand(server, "pg_dump", "-F", "p", "-f", str(source), kestra)
    text = source.read_text()
    for evil in (f"\\! touch {mark}\n", f"SELECT 1 \\! touch {mark}\n", f"SELECT 1 \\g |touch {mark}\n"):
        source.write_text(
            text.replace("SET client_min_messages = warning;\n", "SET client_min_messages = warning;\n" + evil)
        )
        with pytest.raises(RefusedError) as refused:
            give(server.admin(), str(source), "kestra_dr_evil")
        assert refused.value.reason == "psql_command"
    assert not mark.exists() and "kestra_dr_evil" not in str(server.sql("SELECT datname FROM pg_database"))


def newer_clients(server):
    """Clients of PostgreSQL 17 or newer, installed or given; skips where there are none or the server is as new."""
    places = [None] + [os.environ[name] for name in ("KESTRA_DR_TEST_PG_NEWER_BIN",) if os.environ.get(name)]
    found = [client for place in places for client in versions.find_clients(place) if client.major >= 17 > server.programs.major]
    return found or pytest.skip("needs client programs of PostgreSQL 17 or newer beside an older server")


@pytest.mark.parametrize("form", FORMATS)
def test_a_much_newer_client(server, kestra, take, give, form):
    """pg_restore 17 and newer set a parameter that older servers do not know, and take that for an error."""
    newer = newer_clients(server)
    source, component = take(server.admin(), kestra, format=form, bin_dir=newer[0].directory)
    assert component["tools"]["pg_dump"] == newer[0].text
    result = give(server.admin(), source, "kestra_dr_newer", component, owner="kestra", bin_dir=newer[0].directory)
    assert result["verdict"] == "verified" and result["client"] == newer[0].text
    server.drop("kestra_dr_newer")


def test_errors_that_count_with_a_much_newer_client(server, kestra, take, give, monkeypatch):
    newer = newer_clients(server)
    source, component = take(server.admin(), kestra, bin_dir=newer[0].directory)
    monkeypatch.setattr(work, "skipped", lambda entry: entry.description == "TYPE")
    with pytest.raises(ToolError) as failed:
        give(server.admin(), source, "kestra_dr_newer", component, bin_dir=newer[0].directory)
    assert "does not exist" in failed.value.message
    server.drop("kestra_dr_newer")
