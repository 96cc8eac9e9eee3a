# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at work, databases that change names, and servers that live for one test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import kestra_rows
import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, StateError, ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import heartbeats, standstill
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import (
    activity,
    connect,
    inventory,
    scratch,
    swap,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.databases import PostgresqlStore
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names
from ansible_collections.kestra_community.dr.tests.integration.module_runs import COLLECTIONS


def look(server, name, within=10.0):
    return activity.read(server.admin(), name, kestra_user="kestra", within=within)


def soon_quiet(server, name, within=10.0):
    """A session that has just been closed may show for a moment more."""
    end = time.monotonic() + 20
    while not look(server, name, within)["quiet"] and time.monotonic() < end:
        time.sleep(0.1)
    return look(server, name, within)["quiet"]


def test_quiet_is_what_the_data_say(server):
    name = server.kestra({})
    assert soon_quiet(server, name)
    kestra = connect.Login(user="kestra", host=str(server.sockets), port=server.port)
    with connect.connect(kestra, name, application="PostgreSQL JDBC Driver") as connection:
        found = look(server, name)
        assert not found["quiet"] and found["kestra_sessions"][0]["application"] == "PostgreSQL JDBC Driver"
        assert "PostgreSQL JDBC Driver" in heartbeats.summary(found)
        kestra_rows.heartbeat(connection, "a", "RUNNING", age=1)
        kestra_rows.heartbeat(connection, "b", "RUNNING", age=3600)
        kestra_rows.heartbeat(connection, "c", "TERMINATED_GRACEFULLY", age=1)
    assert soon_quiet(server, name, within=0.001)
    found = look(server, name, within=60)
    assert not found["quiet"] and [item["id"] for item in found["heartbeats"]] == ["a"]
    assert found["heartbeats"][0]["host"] == "kestra-1" and found["heartbeats"][0]["age_seconds"] < 60
    # Our own sessions as Kestra's role, and other people's, do not count as Kestra.
    server.sql("DELETE FROM service_instance", name)
    with connect.connect(kestra, name), connect.connect(server.admin(), name, application="psql"):
        own = activity.read(kestra, name, kestra_user="kestra")
        assert own["quiet"] and own["kestra_sessions"] == []
        assert [item["application"] for item in own["other_sessions"]] in ([None], ["psql"])
    server.drop(name)


def test_a_database_without_kestra_is_quiet(server):
    name = server.database()
    assert look(server, name)["quiet"]
    server.drop(name)


WORK = {
    "executions": "DELETE FROM executions WHERE key = (SELECT min(key) FROM executions)",
    "task runs": "UPDATE executions SET value = jsonb_set(value, '{taskRunList}', '[1]') WHERE state_current = 'RUNNING'",
    "jobs of workers": "INSERT INTO worker_job_running (key, value) VALUES ('t', '{\"workerInstance\": {\"workerUuid\": \"w\"}}')",
    "logs": "INSERT INTO logs (key, value) SELECT 'x', value FROM logs LIMIT 1",
    "metrics": "DELETE FROM metrics WHERE key = (SELECT min(key) FROM metrics)"}
BESIDE = """
    INSERT INTO executions (key, value) SELECT 'new', jsonb_set(value, '{state,current}', '"CREATED"') FROM executions LIMIT 1;
    INSERT INTO queues (type, key, value) SELECT type, 'new', value FROM queues LIMIT 1;
    UPDATE triggers SET value = jsonb_set(value, '{nextExecutionDate}', '"2026-07-01T00:00:00Z"')"""


def test_work_is_told_from_what_goes_on_in_maintenance_mode(server):
    name = server.kestra(kestra_rows.SMALL)
    with connect.connect(server.admin(), name) as connection:
        connection.execute("SET search_path = public")
        connection.execute("UPDATE executions SET value = jsonb_set(value, '{state,current}', '\"RUNNING\"') WHERE key IN "
                           "(SELECT key FROM executions ORDER BY key DESC LIMIT 3)")
        for what, statement in WORK.items():
            before = activity.look(connection, "public")
            connection.execute(statement)
            found = standstill.compare(before, activity.look(connection, "public"), 1)
            assert what in found["advanced"], what
        before = activity.look(connection, "public")
        connection.execute(BESIDE)
        kestra_rows.heartbeat(connection, "a")
        found = standstill.compare(before, activity.look(connection, "public"), 1)
    assert found["still"] and found["went_on"] == {"created": 1, "messages": True, "triggers": True, "heartbeats": True}
    assert activity.observe(server.admin(), name, 0.1)["still"]
    server.drop(name)
    empty = server.database()
    assert activity.observe(server.admin(), empty, 0.1)["still"], "no Kestra, no work"
    server.drop(empty)


def test_swap_and_back(server):
    live, new = server.database(name="live one"), server.database(name="kestra_dr_new")
    with connect.connect(server.admin()) as connection:
        oids = swap.existing(connection)
        swap.rename(server.admin(), [(live, "kestra_dr_undo_1"), (new, live)])
        assert (
            swap.existing(connection)[live] == oids[new] and swap.existing(connection)["kestra_dr_undo_1"] == oids[live]
        )
        swap.rename(server.admin(), [(live, new), ("kestra_dr_undo_1", live)])
        assert swap.existing(connection) == oids
    for name in (live, new):
        server.drop(name)


def test_swap_is_all_or_nothing(server):
    live, new, taken = server.database(), server.database(), server.database()
    with pytest.raises(StateError) as refused:
        swap.rename(server.admin(), [(live, "kestra_dr_undo_2"), (new, taken)])
    assert refused.value.reason == "database_exists"
    with connect.connect(server.admin()) as connection:
        assert {live, new, taken} <= set(swap.existing(connection))
        assert "kestra_dr_undo_2" not in swap.existing(connection)
    for name in (live, new, taken):
        server.drop(name)


def test_swap_refuses_sessions_and_names_them(server):
    if not server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'kestra'"):
        server.role("kestra")
    live, new = server.database("kestra"), server.database("kestra")
    kestra = connect.Login(user="kestra", host=str(server.sockets), port=server.port)
    with connect.connect(kestra, live, application="Kestra pool") as connection:
        with pytest.raises(RefusedError) as refused:
            swap.rename(server.admin(), [(live, "kestra_dr_undo_3"), (new, live)])
        assert refused.value.reason == "database_in_use" and "Kestra pool" in refused.value.message
        connection.execute("BEGIN")
        with pytest.raises(RefusedError):  # busy, not idle
            swap.rename(server.admin(), [(live, "kestra_dr_undo_3")], terminate_idle_of="kestra")
        connection.execute("ROLLBACK")
        with pytest.raises(RefusedError):  # idle, but of another role
            swap.rename(server.admin(), [(live, "kestra_dr_undo_3")], terminate_idle_of="somebody")
        swap.rename(server.admin(), [(live, "kestra_dr_undo_3"), (new, live)], terminate_idle_of="kestra")
    for name in (live, "kestra_dr_undo_3"):
        server.drop(name)


def test_swap_needs_its_privileges_before(server):
    role, live = server.role(), server.database()
    with pytest.raises(RefusedError) as refused:
        swap.rename(server.login(role), [(live, "kestra_dr_undo_4")])
    assert refused.value.reason == "privileges_missing" and live in refused.value.message
    wanted = Names(live, "kestra_dr_new_4", "kestra_dr_undo_4")
    with pytest.raises(RefusedError) as refused:  # and already when only asked, with no replacement there yet
        PostgresqlStore(server.login(role)).possible(wanted)
    assert refused.value.reason == "privileges_missing"
    PostgresqlStore(server.admin()).possible(wanted)
    server.drop(live)


def test_the_data_directory_is_told_where_it_can_be_looked_at(server):
    role = server.role()
    found = inventory.server(server.admin())["data_directory"]
    assert found is not None and os.path.exists(os.path.join(found, "PG_VERSION"))
    assert inventory.server(server.login(role))["data_directory"] is None


def test_drop_takes_only_what_is_ours(server):
    name = server.database(name="precious")
    for other in (name, "postgres", "template1", "kestra_undo_1"):
        with pytest.raises(RefusedError) as refused:
            swap.drop(server.admin(), other)
        assert refused.value.reason == "not_ours"
    ours = server.database(name="precious_undo_20261123t001500z_a1b2c3")
    with connect.connect(server.admin(), ours, application="psql"), pytest.raises(RefusedError) as refused:
        swap.drop(server.admin(), ours)
    assert refused.value.reason == "database_in_use"
    assert swap.drop(server.admin(), ours, only_look=True)["changed"]
    assert swap.drop(server.admin(), ours)["changed"] and not swap.drop(server.admin(), ours)["changed"]
    server.drop(name)


def test_scratch_server(base):
    with scratch.server(base=str(base)) as login:
        directory = os.path.dirname(login.host)
        with connect.connect(login) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            assert connection.execute("SELECT current_setting('is_superuser')").fetchone() == ("on",)
        pid = int(open(os.path.join(directory, "data", "postmaster.pid"), encoding="ascii").readline())
        assert os.stat(f"/proc/{pid}").st_uid != 0
        assert oct(os.stat(login.host).st_mode & 0o777) == "0o700"
        assert scratch.sweep(str(base)) == []  # ours lives
    assert not os.path.exists(directory) and not os.path.exists(f"/proc/{pid}")


def test_scratch_server_ends_after_a_failure(base):
    with pytest.raises(ZeroDivisionError), scratch.server(base=str(base)) as login:
        directory = os.path.dirname(login.host)
        raise ZeroDivisionError
    assert not os.path.exists(directory)


def test_scratch_server_of_a_killed_owner_is_swept(base):
    code = (
        f"import sys, time; sys.path.insert(0, {COLLECTIONS!r})\n"
        "from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import scratch\n"
        f"with scratch.server(base={str(base)!r}) as login:\n    print(login.host, flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    directory = os.path.dirname(process.stdout.readline().strip())
    pid = int(open(os.path.join(directory, "data", "postmaster.pid"), encoding="ascii").readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{pid}"), "the server outlived its owner"
    assert scratch.sweep(str(base)) == [directory] and not os.path.exists(directory)


def test_scratch_server_says_what_is_missing(base, tmp_path):
    with pytest.raises(ToolError) as refused, scratch.server(base=str(base), major=99):
        pass
    assert refused.value.reason == "tool_missing"
    with pytest.raises(ToolError) as refused, scratch.server(base=str(base), settings={"shared_buffers": "nonsense"}):
        pass
    assert refused.value.reason == "scratch_failed" and "shared_buffers" in refused.value.message
    assert [name for name in os.listdir(base) if name.startswith(scratch.PREFIX)] == []
