# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is Kestra at work, and private servers for a restore test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import kestra_mysql_rows
import pytest
from mysql_harness import BIN

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import heartbeats, standstill
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import (
    activity,
    connect,
    dump,
    scratch,
    target,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql.engine import MySQL
from ansible_collections.kestra_community.dr.tests.integration.module_runs import COLLECTIONS, Steps


def read(server, name, within=30.0, login=None):
    return activity.read(login or server.admin(), name, kestra_user="kestra", within=within)


def test_sessions(server, kestra):
    assert read(server, kestra)["quiet"]
    with connect.connect(server.login("kestra"), kestra, application="MySQL Connector/J"):
        # Kestra's own account sees its own sessions without the privilege PROCESS.
        for login in (server.admin(), server.login("kestra")):
            found = read(server, kestra, login=login)
            assert not found["quiet"] and [item["user"] for item in found["kestra_sessions"]] == ["kestra"]
        assert "kestra (pid" in heartbeats.summary(found) and "MySQL Connector/J" in heartbeats.summary(found)
    with connect.connect(server.admin(), kestra, application="monitoring"):
        found = read(server, kestra)
        assert found["quiet"] and [item["user"] for item in found["other_sessions"]] == ["root"]
    with connect.connect(server.login("kestra"), kestra):
        assert read(server, kestra, login=server.login("kestra"))["quiet"], "ours is not Kestra's"


WORK = {
    "executions": "DELETE FROM executions LIMIT 1",
    "task runs": "UPDATE executions SET value = JSON_SET(value, '$.state.current', 'RUNNING') WHERE state_current = 'SUCCESS' LIMIT 1",
    "logs": "DELETE FROM logs LIMIT 1", "metrics": "DELETE FROM metrics LIMIT 1"}
BESIDE = (
    "INSERT INTO executions (`key`, value) SELECT 'new', JSON_SET(value, '$.state.current', 'CREATED') FROM executions LIMIT 1",
    "INSERT INTO queues (type, `key`, value) SELECT type, 'new', value FROM queues LIMIT 1",
    "UPDATE triggers SET value = JSON_SET(value, '$.nextExecutionDate', '2026-07-01T00:00:00Z')")


def test_work_is_told_from_what_goes_on_in_maintenance_mode(server, kestra):
    with connect.connect(server.admin(), kestra) as session:
        for what, statement in WORK.items():
            before = activity.look(session, kestra)
            session.rows(statement)
            found = standstill.compare(before, activity.look(session, kestra), 1)
            assert what in found["advanced"], (what, found)
        before = activity.look(session, kestra)
        for statement in BESIDE:
            session.rows(statement)
        kestra_mysql_rows.heartbeat(session, "a")
        found = standstill.compare(before, activity.look(session, kestra), 1)
    assert found["still"] and found["went_on"] == {"created": 1, "messages": True, "triggers": True, "heartbeats": True}, found
    assert activity.observe(server.admin(), kestra, 0.1)["still"]


def test_heartbeats(server, kestra):
    with connect.connect(server.admin(), kestra) as session:
        kestra_mysql_rows.heartbeat(session, "old", age=100)
        kestra_mysql_rows.heartbeat(session, "ended", state="TERMINATED_GRACEFULLY")
        assert read(server, kestra)["quiet"]
        kestra_mysql_rows.heartbeat(session, "fresh", age=2)
    found = read(server, kestra)
    assert not found["quiet"] and [item["id"] for item in found["heartbeats"]] == ["fresh"]
    assert found["heartbeats"][0]["host"] == "kestra-1" and 1.9 < found["heartbeats"][0]["age_seconds"] < 15
    assert read(server, kestra, within=1.0)["quiet"]


def test_a_schema_without_kestra(server):
    name = server.database()
    assert read(server, name) == {"quiet": True, "kestra_sessions": [], "other_sessions": [], "heartbeats": []}
    server.drop(name)


def test_dump_check_and_restore_into_a_scratch_server(server, small, base, tmp_path):
    engine = MySQL(server.login("kestra"), small)
    component = engine.dump(str(tmp_path / "dump"), dump.Options(bin_dir=BIN), Steps())
    assert engine.check(str(tmp_path / "dump"), component)["counts"] == component["counts"]
    with engine.scratch(component, base=str(base), bin_dir=BIN) as private:
        assert private.restore(str(tmp_path / "dump"), target.Options("kestra_dr_scratch"), Steps(), component)[
            "verdict"
        ] == ("verified")
        with connect.connect(private.login) as session:
            assert session.row("SELECT @@skip_networking, @@event_scheduler, @@log_bin") == (1, "OFF", 0)
            assert session.value("SELECT @@server_uuid") != component["identity"]["server_uuid"]
        assert private.drop("kestra_dr_scratch")["changed"]
        assert scratch.sweep(str(base)) == []  # ours lives
    assert [name for name in os.listdir(base) if name.startswith(scratch.PREFIX)] == []


def test_what_a_killed_owner_left_is_swept(base):
    code = (
        f"import sys, time; sys.path.insert(0, {COLLECTIONS!r})\n"
        "from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import scratch\n"
        f"with scratch.server(base={str(base)!r}, bin_dir={BIN!r}) as login:\n    print(login.socket, flush=True)\n    time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    path = owner.stdout.readline().strip()
    connect.connect(connect.Login(user="root", socket=path)).close()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    directory = os.path.dirname(os.path.dirname(path))
    assert scratch.sweep(str(base)) == [directory] and not os.path.exists(directory)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            connect.connect(connect.Login(user="root", socket=path)).close()
        except Exception:
            return
        time.sleep(0.1)
    raise AssertionError("the server still runs")


def test_scratch_servers_that_cannot_be(base):
    with pytest.raises(ToolError) as refused, scratch.server(base=str(base), bin_dir=BIN, version=(99, 0, 0)):
        pass
    assert refused.value.reason == "tool_missing"
    with pytest.raises(ToolError) as refused, scratch.server(
        base=str(base), bin_dir=BIN, settings={"no-such-option": "1"}
    ):
        pass
    assert [name for name in os.listdir(base) if name.startswith(scratch.PREFIX)] == []
