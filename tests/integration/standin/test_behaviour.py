# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in runs: schedules, work in flight, outgoing calls, health, several processes, its start and its end."""
from __future__ import annotations

import calendar
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

STANDIN = Path(__file__).resolve().parents[3] / "roles" / "lab" / "files" / "standin"
BOTH = pytest.mark.parametrize("standin", ["postgresql", pytest.param("mysql", marks=pytest.mark.full(
    "what the stand-in does, on MySQL (here: its contract, its filling, what differs)"))], indirect=True)
MYSQL = pytest.mark.parametrize("standin", ["mysql"], indirect=True)

HELLO = """\
id: hello
namespace: company.team
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: hello
"""

SLEEP = """\
id: sleeper
namespace: company.team
inputs:
  - id: duration
    type: STRING
    defaults: PT30S
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: "{{ inputs.duration }}"
  - id: after
    type: io.kestra.plugin.core.kv.Set
    key: slept
    value: "{{ taskrun.startDate }}"
"""


def every(name, interval, extra=""):
    return """\
id: %s
namespace: company.team
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "{{ trigger.date }}"
triggers:
  - id: tick
    type: io.kestra.plugin.core.trigger.Schedule
    every: %s
%s""" % (name, interval, extra)


def scheduled(standin, flow):
    date = standin.server.at("trigger.variables.date")
    return [row[0] for row in standin.rows("SELECT " + date + " FROM executions WHERE flow_id = %s ORDER BY 1", (flow,))]


# schedules ----------------------------------------------------------------------------------------------------------

@BOTH
def test_missed_schedules_are_replayed(standin, waiting):
    """ALL is the default: after a stop every missed date gets its execution; LAST gets one; NONE none."""
    standin.start()
    standin.flow(every("all", "PT1S"))
    standin.flow(every("last", "PT1S", "    recoverMissedSchedules: LAST\n"))
    standin.flow(every("none", "PT1S", "    recoverMissedSchedules: NONE\n"))
    waiting(lambda: all(scheduled(standin, flow) for flow in ("all", "last", "none")), 10)
    assert standin.end()[0] == 143
    stopped = time.time()
    before = {flow: len(scheduled(standin, flow)) for flow in ("all", "last", "none")}
    time.sleep(5)
    assert {flow: len(scheduled(standin, flow)) for flow in before} == before, "nothing fires while it is down"
    starting = time.time()
    standin.start()

    def during(flow):
        dates = [calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) for text in scheduled(standin, flow)]
        return len([date for date in dates if stopped < date < int(starting)])
    waiting(lambda: during("all") >= 4, 15, standin.log)
    waiting(lambda: len(scheduled(standin, "none")) > before["none"], 10)
    assert during("last") <= 1
    assert during("none") == 0


def test_cron_of_every_minute_has_its_next_date_on_the_minute(standin, waiting):
    standin.start()
    standin.flow(every("minute", "PT1S").replace("    every: PT1S\n", '    cron: "* * * * *"\n'))
    found = waiting(lambda: standin.rows("SELECT extract(second FROM next_execution_date) = 0,"
                                         " next_execution_date - now() < interval '61 s' FROM triggers"), 5)
    assert found == [(True, True)]


@pytest.mark.parametrize("cron", ["* * *", "99 * * * *", "a b c d e"])
def test_a_bad_cron_is_refused(standin, cron):
    standin.start()
    source = every("bad", "PT1S").replace("    every: PT1S\n", '    cron: "%s"\n' % cron)
    assert standin.call("POST", "/api/v1/flows", source.encode())[0] == 422


# work in flight -----------------------------------------------------------------------------------------------------

@BOTH
def test_work_in_flight_is_resumed_after_kill(standin, waiting):
    standin.start("first")
    standin.flow(SLEEP, "first")
    found = standin.execute("company.team", "sleeper", {"duration": "PT3S"}, wait=False, name="first")
    waiting(lambda: standin.rows('SELECT "key" FROM worker_job_running'), 5)
    standin.end("first", signal.SIGKILL)
    assert standin.states() == {"RUNNING": 1}
    assert standin.rows("SELECT count(*) FROM service_instance WHERE state = 'RUNNING'") == [(5,)]
    standin.start("second")
    waiting(lambda: standin.states() == {"SUCCESS": 1}, 25, lambda: standin.log("second"))
    assert "Re-emitting WorkerTask for execution '%s'" % found["id"] in standin.log("second")
    assert standin.rows("SELECT count(*) FROM worker_job_running") == [(0,)]
    assert standin.get("namespaces/company.team/kv/slept", "second")["type"] == "STRING"


def test_work_in_flight_runs_again_on_a_restored_copy(standin, postgres, waiting):
    """The positive control of every test that fences a restored instance: copied while it runs, it goes on."""
    standin.start("first")
    standin.flow(SLEEP, "first")
    standin.flow(every("tick", "PT1S"), "first")
    found = standin.execute("company.team", "sleeper", {"duration": "PT2S"}, wait=False, name="first")
    uuid = standin.get("configs", "first")["uuid"]
    waiting(lambda: standin.rows("SELECT key FROM worker_job_running WHERE value #>> '{task,id}' = 'wait'"), 5)
    dump = str(postgres.directory / "copy.dump")
    address = ["--host", str(postgres.directory), "--port", str(postgres.port), "--username", "postgres"]
    postgres.run("pg_dump", *address, "--format=custom", "--file", dump, standin.database)
    standin.end("first", signal.SIGKILL)
    with postgres.admin() as connection:
        connection.execute("DROP DATABASE %s WITH (FORCE)" % standin.database)
        connection.execute("CREATE DATABASE %s OWNER kestra" % standin.database)
    postgres.run("pg_restore", *address, "--no-owner", "--role=kestra", "--exit-on-error",
                 "--dbname", standin.database, dump)
    before = len(scheduled(standin, "tick"))
    assert standin.states("id = '%s'" % found["id"]) == {"RUNNING": 1}
    standin.start("second")
    waiting(lambda: standin.states("id = '%s'" % found["id"]) == {"SUCCESS": 1}, 25, lambda: standin.log("second"))
    waiting(lambda: len(scheduled(standin, "tick")) > before, 10)
    assert standin.get("configs", "second")["uuid"] == uuid


def test_a_paused_execution_is_resumed_by_another_server(standin, waiting):
    standin.start("first")
    standin.flow(HELLO.replace("id: hello", "id: pauses").replace(
        "tasks:\n", "tasks:\n  - id: hold\n    type: io.kestra.plugin.core.flow.Pause\n"), "first")
    found = standin.execute("company.team", "pauses", wait=False, name="first")
    waiting(lambda: standin.states() == {"PAUSED": 1}, 5)
    standin.end("first")
    standin.start("second")
    assert standin.call("POST", "/api/v1/executions/%s/resume" % found["id"], name="second")[0] == 204
    waiting(lambda: standin.states() == {"SUCCESS": 1}, 5, lambda: standin.log("second"))


@BOTH
def test_retries_errors_and_concurrency(standin, waiting):
    standin.start()
    standin.flow("""\
id: fails
namespace: company.team
tasks:
  - id: boom
    type: io.kestra.plugin.core.execution.Fail
    retry: {type: constant, interval: PT1S, maxAttempt: 2}
errors:
  - id: onerr
    type: io.kestra.plugin.core.log.Log
    level: ERROR
    message: failed as asked
""")
    found = standin.execute("company.team", "fails")
    assert found["state"]["current"] == "FAILED"
    assert [(run["taskId"], run["state"]["current"], len(run["attempts"])) for run in found["taskRunList"]] == [
        ("boom", "FAILED", 2), ("onerr", "SUCCESS", 1)]
    standin.flow(SLEEP.replace("id: sleeper", "id: single") + "concurrency: {limit: 1}\n")
    for _number in range(2):
        standin.execute("company.team", "single", {"duration": "PT1S"}, wait=False)
    waiting(lambda: standin.states("flow_id = 'single'").get("QUEUED") == 1, 5)
    assert standin.rows("SELECT count(*) FROM execution_queued") == [(1,)]
    waiting(lambda: standin.states("flow_id = 'single'") == {"SUCCESS": 2}, 10, standin.log)
    assert standin.rows("SELECT count(*) FROM execution_queued") == [(0,)]


# effects on the world -----------------------------------------------------------------------------------------------

def test_the_outgoing_call_is_made(standin):
    """The positive control of every test that shows a fenced instance calling nobody."""
    calls = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            calls.append((self.path, body, self.headers["X-From"]))
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, format, *args):
            """Quiet."""

    listener = http.server.HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        standin.start()
        standin.flow("""\
id: caller
namespace: company.team
tasks:
  - id: call
    type: io.kestra.plugin.core.http.Request
    method: POST
    uri: http://127.0.0.1:%d/hook
    headers: {X-From: "{{ flow.id }}"}
    body: "execution {{ execution.id }}"
""" % listener.server_address[1])
        found = standin.execute("company.team", "caller")
    finally:
        listener.shutdown()
        listener.server_close()
    assert found["state"]["current"] == "SUCCESS", standin.log()
    assert calls == [("/hook", "execution " + found["id"], "caller")]
    assert found["taskRunList"][0]["outputs"]["body"] == "done"


def test_secrets_come_from_the_environment(standin):
    standin.start(environ={"SECRET_TOKEN": "aHVudGVyMg=="})
    standin.flow(HELLO.replace("message: hello", "message: \"{{ secret('TOKEN') }}\""))
    assert standin.execute("company.team", "hello")["state"]["current"] == "SUCCESS"


# HTTP ---------------------------------------------------------------------------------------------------------------

@BOTH
def test_files_keys_and_namespace_files_through_the_api(standin):
    standin.start()
    standin.flow("""\
id: stores
namespace: company.team
inputs:
  - id: payload
    type: FILE
tasks:
  - id: keep
    type: io.kestra.plugin.core.storage.Write
    content: "{{ read(inputs.payload) }}"
""")
    found = standin.execute("company.team", "stores", {"payload": ("a b.txt", b"\x00line\n")})
    uri = found["inputs"]["payload"]
    status, body = standin.call("GET", "/api/v1/executions/%s/file?path=%s" % (found["id"], uri))
    assert (status, body) == (200, b"\x00line\n")
    assert standin.call("GET", "/api/v1/executions/%s/file?path=kestra:///company/team/other" % found["id"])[0] == 422
    assert standin.call("PUT", "/api/v1/namespaces/company.team/kv/limits", b'{"max": 3}', {"ttl": "PT1H"})[0] == 200
    assert standin.get("namespaces/company.team/kv/limits") == {"type": "JSON", "value": {"max": 3}}
    side = standin.storage / "company" / "team" / "_kv" / "limits.ion.metadata"
    assert re.match(r'^\{expirationDate:"20', side.read_text())
    boundary = b"xyz"
    body = b'--xyz\r\nContent-Disposition: form-data; name="fileContent"; filename="f"\r\n\r\nhello\r\n--xyz--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=" + boundary.decode()}
    assert standin.call("POST", "/api/v1/namespaces/company.team/files?path=/a%20b/c%20d.txt", body, kind)[0] == 200
    assert standin.call("POST", "/api/v1/namespaces/company.team/files/directory?path=/empty", b"")[0] == 200
    files = standin.storage / "company" / "team" / "_files"
    assert (files / "a+b" / "c+d.txt").read_bytes() == b"hello", "a blank is stored as +"
    assert list((files / "empty").iterdir()) == []
    assert standin.get("namespaces/company.team/files?path=/a%20b/c%20d.txt") == b"hello"
    assert standin.get("executions/search?size=1")["total"] == 1
    assert standin.call("DELETE", "/api/v1/executions/" + found["id"])[0] == 204
    assert standin.get("executions/search")["total"] == 0
    assert not (standin.storage / "company" / "team" / "stores" / "executions" / found["id"]).exists()


@BOTH
def test_searches_count(standin, waiting):
    standin.start()
    standin.flow(HELLO)
    standin.flow(SLEEP)
    for _number in range(12):
        standin.execute("company.team", "hello", wait=False)
    waiting(lambda: standin.states() == {"SUCCESS": 12}, 10, standin.log)
    standin.execute("company.team", "sleeper", wait=False)
    waiting(lambda: standin.states().get("RUNNING") == 1, 5)
    found = standin.get("executions/search?size=5&page=3")
    assert found["total"] == 13 and len(found["results"]) == 3
    assert standin.get("executions/search?state=RUNNING&state=CREATED")["total"] == 1
    assert standin.get("executions/search?state=SUCCESS&namespace=company")["total"] == 12
    assert standin.get("executions/search?filters[state][IN]=SUCCESS,RUNNING&flowId=sleeper")["total"] == 1
    assert standin.get("executions/search?startDate=2020-01-01T00:00:00Z")["total"] == 13
    assert standin.get("executions/search?startDate=2100-01-01T00:00:00Z")["total"] == 0
    assert standin.get("flows/search")["total"] == 2
    assert standin.get("flows/search?q=sleep")["total"] == 1
    assert standin.get("namespaces/search")["total"] == 2
    assert standin.get("triggers/search")["total"] == 0
    waiting(lambda: standin.get("logs/search?size=1")["total"] == 12, 10)
    assert standin.get("dashboards")["total"] == 0
    assert standin.call("GET", "/api/v1/executions/search?size=0")[0] == 422
    source = SLEEP.replace("PT30S", "PT31S")
    assert standin.call("PUT", "/api/v1/flows/company.team/sleeper", source.encode())[1]["revision"] == 2
    assert standin.get("flows/company.team/sleeper?source=true")["source"] == source
    assert standin.get("flows/company.team/sleeper?revision=1")["revision"] == 1


@BOTH
def test_the_uuid_is_made_on_first_ask_and_stays(standin):
    standin.start()
    assert standin.rows("SELECT count(*) FROM settings") == [(0,)]
    first = standin.get("configs")
    assert re.match(r"^[0-9A-Za-z]{18,22}$", first["uuid"])
    assert "stand-in" in first["standIn"] and first["version"].startswith("0.21.")
    assert "edition" not in first
    standin.end()
    standin.start()
    assert standin.get("configs")["uuid"] == first["uuid"]


@pytest.mark.parametrize("path", [
    "/api/v1/instance/maintenance/status", "/api/v1/cluster/maintenance/enter", "/api/v1/unknown/flows/search",
    "/nothing"])
def test_what_open_source_has_not_is_404(standin, path):
    standin.start()
    assert standin.call("POST" if path.endswith("enter") else "GET", path)[0] == 404


def test_basic_authentication(standin):
    settings = standin.configuration(basicAuth={"enabled": True, "username": "admin@example.org", "password": "s:cret"})
    standin.start(configuration=settings)
    assert standin.call("GET", "/api/v1/flows/search")[0] == 401
    wrong = {"Authorization": "Basic YWRtaW46YWRtaW4="}
    assert standin.call("GET", "/api/v1/flows/search", headers=wrong)[0] == 401
    right = {"Authorization": "Basic YWRtaW5AZXhhbXBsZS5vcmc6czpjcmV0"}
    assert standin.call("GET", "/api/v1/flows/search", headers=right)[0] == 200
    assert standin.call("GET", "/api/v1/configs")[0] == 200, "open before 2.0"


def test_newer_versions_have_a_tenant(standin):
    standin.start(environ={"KESTRA_STANDIN_VERSION": "1.0.4"})
    assert standin.get("configs")["edition"] == "OSS"
    standin.flow(HELLO)
    found = standin.execute("company.team", "hello")
    assert found["tenantId"] == "main"
    assert standin.get("main/executions/search")["total"] == 1
    assert standin.call("PUT", "/api/v1/main/namespaces/company.team/kv/a", b"1")[0] == 200
    assert (standin.storage / "main" / "company" / "team" / "_kv" / "a.ion").exists()
    assert standin.rows("SELECT DISTINCT tenant_id FROM executions") == [("main",)]


# the life of a server -----------------------------------------------------------------------------------------------

@BOTH
def test_health_follows_the_database_and_the_server_survives(standin, waiting):
    standin.start()
    for path in ("/health", "/health/readiness", "/health/liveness"):
        status, body = standin.health(path=path)
        assert (status, body["status"]) == (200, "UP")
    standin.flow(SLEEP)
    standin.execute("company.team", "sleeper", {"duration": "PT4S"}, wait=False)
    waiting(lambda: standin.states() == {"RUNNING": 1}, 5)
    standin.server.stop()
    try:
        waiting(lambda: standin.health()[0] == 503, 10)
        assert standin.health()[1]["status"] == "DOWN"
        assert standin.health(path="/health/liveness")[0] == 200
        assert standin.call("GET", "/api/v1/flows/search")[0] == 500
        time.sleep(3)
        assert standin.processes["main"].poll() is None
    finally:
        standin.server.start()
    waiting(lambda: standin.health()[0] == 200, 15, standin.log)
    waiting(lambda: standin.states() == {"SUCCESS": 1}, 15, standin.log)
    assert standin.rows("SELECT DISTINCT state FROM service_instance") == [("RUNNING",)]


def test_components_on_several_hosts_work_together(standin, waiting):
    """Executor, scheduler, two workers and webserver as separate processes that share only database and storage."""
    for role in ("executor", "scheduler", "worker", "webserver"):
        standin.start(role, role)
    standin.start("worker2", "worker")
    assert standin.call("GET", "/api/v1/flows/search", name="executor")[0] == 0, "only the webserver has an API"
    standin.flow(HELLO, "webserver")
    standin.flow(SLEEP, "webserver")
    standin.flow(every("tick", "PT1S"), "webserver")
    for _number in range(10):
        standin.execute("company.team", "hello", wait=False, name="webserver")
    for _number in range(12):
        standin.execute("company.team", "sleeper", {"duration": "PT2S"}, wait=False, name="webserver")
    waiting(lambda: standin.states("flow_id <> 'tick'") == {"SUCCESS": 22}, 20, lambda: standin.log("executor"))
    waiting(lambda: len(scheduled(standin, "tick")) >= 2, 10)
    waiting(lambda: standin.get("logs/search?size=1&flowId=hello", "webserver")["total"] == 10, 10)
    kinds = dict(standin.rows("SELECT service_type, count(*) FROM service_instance WHERE state = 'RUNNING' GROUP BY 1"))
    assert kinds == {"EXECUTOR": 1, "SCHEDULER": 1, "WORKER": 2, "WEBSERVER": 1, "INDEXER": 1}
    assert {row[0] for row in standin.rows("SELECT value #>> '{server,type}' FROM service_instance")} == {"SERVER"}
    # Without an executor an execution waits in the queue, and is picked up when one comes back.
    standin.end("executor")
    standin.execute("company.team", "hello", wait=False, name="webserver")
    time.sleep(1)
    assert standin.states("flow_id = 'hello'") == {"SUCCESS": 10, "CREATED": 1}
    standin.start("executor", "executor")
    waiting(lambda: standin.states("flow_id = 'hello'") == {"SUCCESS": 11}, 10)


@BOTH
def test_two_executors_run_every_task_once(standin, waiting):
    standin.start("one")
    standin.start("two")
    standin.flow(HELLO, "one")
    for number in range(60):
        standin.execute("company.team", "hello", wait=False, name="one" if number % 2 else "two")
    waiting(lambda: standin.states() == {"SUCCESS": 60}, 30, lambda: standin.log("one"))
    assert {(len(one["taskRunList"]), len(one["taskRunList"][0]["attempts"]))
            for one in standin.documents("executions")} == {(1, 1)}
    waiting(lambda: standin.rows("SELECT count(*) FROM logs") == [(60,)], 10)


def test_sigterm_ends_at_once_when_idle(standin):
    standin.start()
    code, seconds = standin.end()
    assert code == 143
    assert seconds < 4
    assert {row[0] for row in standin.rows("SELECT state FROM service_instance")} == {"TERMINATED_GRACEFULLY"}


def test_sigterm_waits_for_tasks_within_the_grace_period(standin, waiting):
    standin.start(configuration=standin.configuration(terminationGracePeriod="10s"))
    standin.flow(SLEEP)
    standin.execute("company.team", "sleeper", {"duration": "PT3S"}, wait=False)
    waiting(lambda: standin.rows('SELECT "key" FROM worker_job_running'), 5)
    code, seconds = standin.end()
    assert code == 143 and 1.5 < seconds < 8
    assert standin.rows("SELECT state FROM service_instance WHERE service_type = 'WORKER'") == [
        ("TERMINATED_GRACEFULLY",)]
    # The worker's word waits in the queue for the next executor.
    assert standin.states() == {"RUNNING": 1}
    standin.start()
    waiting(lambda: standin.states() == {"SUCCESS": 1}, 10)


def test_sigterm_leaves_long_tasks_after_the_grace_period(standin, waiting):
    standin.start()
    standin.flow(SLEEP)
    standin.execute("company.team", "sleeper", wait=False)
    waiting(lambda: standin.rows('SELECT "key" FROM worker_job_running'), 5)
    code, seconds = standin.end()
    assert code == 143 and 2 <= seconds < 6, "grace period is 2 s"
    assert standin.rows("SELECT state FROM service_instance WHERE service_type = 'WORKER'") == [("TERMINATED_FORCED",)]
    assert standin.rows("SELECT count(*) FROM worker_job_running") == [(1,)]
    standin.start()
    taken = ("SELECT count(*) FROM worker_job_running WHERE worker_uuid IN"
             " (SELECT service_id FROM service_instance WHERE state = 'RUNNING')")
    waiting(lambda: standin.rows(taken) == [(1,)], 15, standin.log)


@BOTH
def test_it_has_sessions_while_it_runs(standin, waiting):
    """Whoever proves that it is stopped looks for them."""
    standin.start()
    for _look in range(10):
        assert standin.server.sessions(standin.database) == [("kestra-standin",)]
        time.sleep(0.1)
    standin.end()
    waiting(lambda: not standin.server.sessions(standin.database), 5)


@BOTH
def test_several_servers_may_migrate_at_once(standin, waiting):
    for name in ("a", "b", "c"):
        standin.start(name, wait=False)
    for name in ("a", "b", "c"):
        waiting(lambda name=name: standin.health(name)[0] == 200, 30, lambda name=name: standin.log(name))
    assert standin.rows("SELECT count(*) = count(DISTINCT version) FROM flyway_schema_history") == [(True,)]


@BOTH
def test_a_newer_version_migrates_and_an_older_one_starts_all_the_same(standin):
    steps = "SELECT count(*), max(installed_rank) FROM flyway_schema_history"
    standin.start()
    first = standin.rows(steps)[0]
    standin.end()
    standin.start(environ={"KESTRA_STANDIN_VERSION": "0.22.1"})
    assert standin.rows(steps)[0] == (first[0] + 1, first[1] + 1)
    standin.end()
    standin.start()
    assert standin.rows(steps)[0] == (first[0] + 1, first[1] + 1)
    assert "newer than the latest available migration" in standin.log()


def test_it_starts_while_another_session_pins_all_tables(standin, postgres):
    standin.start()
    standin.end()
    with postgres.admin(standin.database) as other, other.transaction():
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for (table,) in other.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            other.execute("LOCK TABLE %s IN ACCESS SHARE MODE" % table)
        standin.start()
        standin.flow(HELLO)
        assert standin.execute("company.team", "hello")["state"]["current"] == "SUCCESS"


@MYSQL
def test_it_starts_and_waits_while_another_session_reads_and_locks(standin, waiting):
    """A snapshot of all tables, as a dump holds it, is in nobody's way; a locked row is waited for."""
    standin.start()
    standin.flow(SLEEP)
    found = standin.execute("company.team", "sleeper", {"duration": "PT1S"}, wait=False)
    waiting(lambda: standin.states() == {"RUNNING": 1}, 5)
    with standin.server.session(standin.database) as other:
        other.rows("SET SESSION transaction_isolation = 'REPEATABLE-READ'")
        other.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        for (table,) in other.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = database()"):
            other.rows("SELECT count(*) FROM " + table)
        other.rows('SELECT id FROM executions WHERE "key" = %s FOR UPDATE', (found["id"],))
        standin.start("second")
        standin.flow(HELLO, "second")
        assert standin.execute("company.team", "hello", wait=False)["state"]["current"] == "CREATED"
        time.sleep(3)
        assert standin.states("flow_id = 'sleeper'") == {"RUNNING": 1}
        assert standin.health()[0] == 200
    waiting(lambda: standin.states() == {"SUCCESS": 2}, 10, standin.log)


def test_flows_are_loaded_from_a_directory(standin):
    directory = standin.directory / "flows"
    directory.mkdir()
    (directory / "hello.yml").write_text(HELLO, encoding="utf-8")
    (directory / "bad.yml").write_text("id: bad", encoding="utf-8")
    (directory / "notes.txt").write_text("not a flow", encoding="utf-8")
    for revision, source in ((1, HELLO), (1, HELLO), (2, HELLO + "description: again\n")):
        (directory / "hello.yml").write_text(source, encoding="utf-8")
        standin.start(options=("--flow-path", str(directory)))
        assert standin.get("flows/search")["total"] == 1
        assert standin.get("flows/company.team/hello")["revision"] == revision
        standin.end()
    assert "Unable to load the flow bad.yml" in standin.log()


def test_the_start_can_be_slow(standin):
    settings = standin.configuration()
    settings["kestra"]["standin"] = {"start-delay": "3s"}
    began = time.monotonic()
    standin.start(configuration=settings)
    assert time.monotonic() - began >= 3


# the command line ---------------------------------------------------------------------------------------------------

def command(*arguments, program="kestra-standin", timeout=30, **environ):
    return subprocess.run([str(STANDIN / program), *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=timeout,
                          env=dict(os.environ, KESTRA_STANDIN_PYTHON=sys.executable, **environ))


def test_version_names_the_stand_in():
    found = command("--version", KESTRA_STANDIN_VERSION="0.22.3")
    assert found.returncode == 0
    assert found.stdout.splitlines()[0] == "0.22.3" and "stand-in" in found.stdout


@pytest.mark.parametrize("arguments", [
    ["nonsense"], ["server", "nonsense"], ["server"], [], ["server", "standalone", "--nope"]])
def test_bad_usage_ends_with_2(arguments):
    assert command(*arguments).returncode == 2


@BOTH
def test_configuration_from_the_environment_and_migrate(standin):
    kind = standin.server.kind
    text = """
datasources.%s.url: jdbc:%s://127.0.0.1:${DB_PORT:1}/%s
datasources.%s.username: kestra
kestra: {repository: {type: %s}, queue: {type: %s}}
""" % (kind, standin.server.engine, standin.database, kind, kind, kind)
    from_text = dict(KESTRA_CONFIGURATION=text, DB_PORT=str(standin.server.port), HOME="/nonexistent")
    wrong = command("sys", "database", "migrate", **from_text)
    assert wrong.returncode == 1 and "password" in wrong.stderr
    from_text["DATASOURCES_%s_PASSWORD" % kind.upper()] = "p@ss w%rd:'ü"
    right = command("sys", "database", "migrate", **from_text)
    assert right.returncode == 0, right.stderr
    assert "Successfully run the database schema migration." in right.stdout


@pytest.mark.parametrize("text, said", [
    ("kestra: [", "not YAML"), ("a", "not a map"), ("kestra: {queue: {type: postgres}}", "kestra.repository.type"),
    ("kestra: {repository: {type: h2}, queue: {type: h2}}", "h2"),
    ("kestra: {repository: {type: postgres}, queue: {type: postgres}}", "datasources.postgres.url"),
    ("kestra: {repository: {type: mysql}, queue: {type: mysql}}", "datasources.mysql.url"),
    ("kestra: {repository: {type: mysql}, queue: {type: postgres}}", "queue postgres"),
    ("kestra: {repository: {type: postgres}, storage: {type: s3}}", "s3")])
def test_wrong_configuration_is_refused(text, said):
    found = command("server", "standalone", KESTRA_CONFIGURATION=text, HOME="/nonexistent")
    assert found.returncode == 1 and said in found.stderr
