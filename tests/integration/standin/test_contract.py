# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's tables, rows and files are those recorded from a real Kestra 0.21."""
from __future__ import annotations

import csv
import json
import re
import time
from decimal import Decimal
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "kestra-0.21"
BOTH = pytest.mark.parametrize("standin", ["postgresql", "mysql"], indirect=True)
MYSQL = pytest.mark.parametrize("standin", ["mysql"], indirect=True)

COLUMNS = """
SELECT table_name, column_name,
  CASE WHEN data_type = 'USER-DEFINED' THEN 'enum ' || udt_name
       WHEN character_maximum_length IS NOT NULL THEN data_type || '(' || character_maximum_length || ')'
       ELSE data_type END,
  is_nullable, is_generated
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"""

HELLO = """\
id: hello
namespace: company.team
labels:
  team: data
  env: test
inputs:
  - id: who
    type: STRING
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "hello {{ inputs.who }}"
  - id: ret
    type: io.kestra.plugin.core.debug.Return
    format: "{{ task.id }} {{ taskrun.startDate }}"
outputs:
  - id: said
    type: STRING
    value: "{{ outputs.ret.value }}"
"""

TICK = """\
id: tick
namespace: company.team.ops
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "{{ trigger.date }}"
triggers:
  - id: cron
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "* * * * * *"
    withSeconds: true
"""

SLEEP = """\
id: sleeper
namespace: company.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT30S
"""


def shape(value, path=""):
    """The structure of a document: keys and types all the way down; texts also by kind (date, id, URI)."""
    if isinstance(value, dict):
        return {key: shape(one, path + "." + key) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one, path + "[]") for one in value]
    if isinstance(value, str):
        if re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", value):
            return "date"
        if value.startswith("kestra:///"):
            return "uri " + re.sub(r"[0-9A-Za-z]{19,22}", "ID", re.sub(r"\d{14,20}", "NUMBER", value))
        if re.match(r"^[0-9A-Za-z]{19,22}$", value):
            return "id"
        return "text"
    if isinstance(value, Decimal):
        return "decimal %d" % -value.as_tuple().exponent
    return type(value).__name__


def outline(standin, document):
    """The shape of a document; on MySQL without digits, since numbers are doubles in its JSON."""
    if standin.server.engine == "mysql":
        document = json.loads(json.dumps(document, default=float))
    return shape(document)


def recorded_documents(table):
    with open(FIXTURES / "rows.jsonl", encoding="utf-8") as handle:
        lines = [json.loads(line, parse_float=Decimal) for line in handle]
    return [line for line in lines if line["table"] == table]


def test_columns_are_the_recorded_ones(standin):
    standin.start()
    with open(FIXTURES / "columns-postgresql.tsv", encoding="utf-8") as handle:
        expected = [tuple(row) for row in list(csv.reader(handle, delimiter="\t"))[1:]]
    assert [tuple(row) for row in standin.rows(COLUMNS)] == expected


def test_other_objects_are_as_many_as_recorded(standin):
    standin.start()
    counts = standin.rows("""
        SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
               (SELECT count(*) FROM pg_type WHERE typtype = 'e' AND typnamespace = 'public'::regnamespace),
               (SELECT count(*) FROM pg_class WHERE relkind = 'S'),
               (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal),
               (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)""")[0]
    assert counts == (9, 3, 1, 1, 19)
    keys = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'queues'::regclass AND contype = 'p'"
    assert standin.rows(keys) == [(0,)]
    assert standin.rows("SELECT count(*) > 20, bool_and(success) FROM flyway_schema_history") == [(True, True)]
    gin = standin.rows("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%USING gin (fulltext)%'")
    assert gin == [(5,)], "flows, templates, executions, logs, dashboards have a GIN index on fulltext"


@MYSQL
def test_mysql_has_the_recorded_tables_and_columns_too(standin):
    """Besides what each database does in its own way: full-text search and the consumers of a message."""
    standin.start()
    with open(FIXTURES / "columns-postgresql.tsv", encoding="utf-8") as handle:
        recorded = {tuple(row[:2]) for row in list(csv.reader(handle, delimiter="\t"))[1:]}
    found = {tuple(row) for row in standin.rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = database()")}
    assert {name for _table, name in recorded - found} == {"fulltext"} | {
        "consumer_" + one for one in ("indexer", "executor", "worker", "scheduler", "flow_topology")}
    assert found - recorded == {("queues", "consumers"), ("logs", "message"), ("logs", "thread")}
    kinds = dict(standin.rows(
        "SELECT column_name, max(data_type) FROM information_schema.columns WHERE table_schema = database()"
        " GROUP BY column_name HAVING count(DISTINCT data_type) = 1"))
    assert (kinds["value"], kinds["consumers"], kinds["level"], kinds["deleted"]) == ("json", "set", "enum", "tinyint")
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = database() AND "
    assert standin.rows(columns + "extra = 'STORED GENERATED'")[0][0] > 70
    assert standin.rows("SELECT count(DISTINCT table_name, index_name) FROM information_schema.statistics"
                        " WHERE table_schema = database() AND index_type = 'FULLTEXT'") == [(7,)]
    routines = "SELECT routine_name, definer FROM information_schema.routines WHERE routine_schema = database()"
    assert dict(standin.rows(routines)) == {
        "PARSE_ISO8601_DATETIME": "kestra@%", "PARSE_ISO8601_DURATION": "kestra@%"}
    assert standin.rows("SELECT PARSE_ISO8601_DURATION('P1DT2H3M4.2S'),"
                        " CAST(PARSE_ISO8601_DATETIME('2026-01-02T03:04:05.000+02:00') AS char)") == [
        (93784, "2026-01-02 01:04:05")]
    assert standin.rows("SELECT count(*) > 15, sum(success) = count(*) FROM flyway_schema_history") == [(1, 1)]


@BOTH
def test_flows_are_stored_as_recorded(standin):
    standin.start()
    for line in recorded_documents("flows"):
        standin.flow(line["source_code"])
        stored = standin.documents("flows", "id = '%s'" % line["value"]["id"])
        assert stored == [line["value"]]
        assert outline(standin, stored[0]) == outline(standin, line["value"])
        assert standin.rows('SELECT "key", source_code FROM flows WHERE id = %s', (line["value"]["id"],)) == [
            ("company.team_%s_1" % line["value"]["id"], line["source_code"])]


@BOTH
def test_execution_with_files_has_the_recorded_shape(standin):
    standin.start()
    source = next(line for line in recorded_documents("flows") if line["value"]["id"] == "files")["source_code"]
    standin.flow(source)
    found = standin.execute("company.team", "files", {"payload": ("numbers.txt", b"1\n2\n3\n4\n5\n")})
    assert found["state"]["current"] == "SUCCESS", standin.log()
    stored = standin.documents("executions", "id = '%s'" % found["id"])[0]
    recorded = recorded_documents("executions")[0]["value"]
    assert recorded["flowId"] == "files"
    assert outline(standin, stored) == outline(standin, recorded)
    # The files behind it lie where the recorded ones lay.
    base = standin.storage / "company" / "team"
    run = {one["taskId"]: one for one in stored["taskRunList"]}
    parts = sorted((base / "files" / "executions" / found["id"] / "tasks" / "split" / run["split"]["id"]).iterdir())
    assert sorted(part.read_bytes() for part in parts) == [b"1\n2\n", b"3\n4\n", b"5\n"]
    assert (base / "_kv" / "last_files_run.ion").read_text() == '"%s"' % found["id"]
    assert (base / "_kv" / "last_files_run.ion.metadata").exists()
    assert (base / "_kv" / "files_states_tasks-states_default.ion").exists()
    assert (base / "_files" / "runs" / (found["id"] + ".txt")).read_bytes() == b"1\n2\n3\n4\n5\n"


@BOTH
def test_execution_without_files_has_the_recorded_shape(standin):
    standin.start()
    standin.flow(HELLO)
    found = standin.execute("company.team", "hello", {"who": "n93"}, query="&labels=batch:1")
    stored = standin.documents("executions", "id = '%s'" % found["id"])[0]
    recorded = recorded_documents("executions")[1]["value"]
    assert recorded["flowId"] == "hello"
    assert outline(standin, stored) == outline(standin, recorded)
    assert [(one["key"]) for one in stored["labels"]] == [one["key"] for one in recorded["labels"]]


@BOTH
def test_logs_metrics_and_triggers_have_the_recorded_shape(standin, waiting):
    standin.start()
    standin.flow(TICK)
    standin.flow(HELLO)
    standin.execute("company.team", "hello", {"who": "x"})
    waiting(lambda: standin.documents("logs", "flow_id = 'tick'"), 10, standin.log)
    log = standin.documents("logs", "flow_id = 'tick'")[0]
    assert outline(standin, log) == outline(standin, recorded_documents("logs")[0]["value"])
    assert re.match(r"^worker_\d+$", log["thread"])
    metric = waiting(lambda: standin.documents("metrics", "metric_name = 'length'"), 10)[0]
    recorded = recorded_documents("metrics")[0]["value"]
    assert dict(outline(standin, metric), tags={}) == dict(outline(standin, recorded), tags={})
    assert metric["tags"].keys() == recorded["tags"].keys()

    def at_rest():
        found = standin.documents("triggers", "execution_id IS NULL AND trigger_id = 'cron'")
        return found if found and "updatedDate" not in found[0] else None
    trigger = waiting(at_rest, 10)[0]
    assert outline(standin, trigger) == outline(standin, recorded_documents("triggers")[0]["value"])
    assert standin.rows('SELECT "key" FROM triggers') == [("company.team.ops_tick_cron",)]


@BOTH
def test_executor_state_has_the_recorded_shape_and_goes_with_its_execution(standin, waiting):
    standin.start()
    standin.flow(SLEEP)
    found = standin.execute("company.team", "sleeper", wait=False)
    state = waiting(lambda: standin.documents("executorstate"), 5)[0]
    assert outline(standin, state) == outline(standin, recorded_documents("executorstate")[0]["value"])
    waiting(lambda: standin.states() == {"RUNNING": 1}, 5)
    job = waiting(lambda: standin.documents("worker_job_running"), 5)[0]
    assert job["taskRun"]["executionId"] == found["id"] and job["workerInstance"]["workerUuid"]
    assert standin.call("DELETE", "/api/v1/executions/%s/kill" % found["id"])[0] == 202
    waiting(lambda: standin.states() == {"KILLED": 1}, 5)
    assert standin.documents("executorstate") == []
    assert standin.documents("worker_job_running") == []


@BOTH
def test_service_instances_live_and_end_as_recorded(standin, waiting):
    standin.start("first")
    assert {row[0] for row in standin.rows("SELECT service_type FROM service_instance WHERE state = 'RUNNING'")} == {
        "EXECUTOR", "SCHEDULER", "WORKER", "INDEXER", "WEBSERVER"}
    beats = {}

    def moving():
        now = dict(standin.rows('SELECT "key", updated_at FROM service_instance'))
        beats.update({key: beats.get(key, set()) | {value} for key, value in now.items()})
        return all(len(seen) > 1 for seen in beats.values())
    waiting(moving, 5)
    standin.end("first")
    standin.start("second")
    waiting(lambda: standin.rows("SELECT count(*) FROM service_instance WHERE state = 'EMPTY'") == [(5,)], 10)
    ended = standin.documents("service_instance", "service_type = 'SCHEDULER' AND state = 'EMPTY'")[0]
    recorded = recorded_documents("service_instance")[0]["value"]
    assert outline(standin, ended) == outline(standin, recorded)
    assert [(one["state"], one["value"]) for one in ended["events"]] == [
        (one["state"], one["value"]) for one in recorded["events"]]


@BOTH
def test_queue_rows_carry_consumer_flags_and_move_after_the_last_execution(standin):
    standin.start()
    standin.flow(HELLO)
    time.sleep(3)
    standin.execute("company.team", "hello", {"who": "x"})
    flags = "SELECT %s FROM queues" % ", ".join("count(CASE WHEN %s THEN 1 END)" % standin.server.seen(one)
                                                for one in ("indexer", "executor", "worker", "scheduler"))
    first = standin.rows(flags)[0]
    time.sleep(4)
    last = standin.rows(flags)[0]
    assert last[0] > first[0], "the indexer comes seconds later"
    assert all(count > 0 for count in last)
    if standin.server.engine == "postgresql":
        last_offset = 'SELECT max("offset") = (SELECT last_value FROM queues_offset_seq) FROM queues'
        assert standin.rows(last_offset) == [(True,)]
