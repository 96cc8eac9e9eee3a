# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kestra database to test with: the layout of kestra_0_21.sql, filled with rows of the shape Kestra writes."""

from __future__ import annotations

from pathlib import Path

LAYOUT = Path(__file__).with_name("kestra_0_21.sql")

# Made on the server, so that ten thousands of rows take seconds. The texts hold what COPY has to escape.
_FILL = {
    "flows": """
        INSERT INTO flows (key, value, source_code)
        SELECT 'company.team_f' || i || '_1', jsonb_build_object('id', 'f' || i, 'namespace', 'company.team', 'revision', 1,
               'deleted', false, 'tasks', jsonb_build_array(jsonb_build_object('id', 'log', 'message', E'tab\\there'))),
               E'id: f' || i || E'\\nnamespace: company.team\\ntasks:\\n  - id: log\\n    message: "back\\\\slash é"\\n'
          FROM generate_series(1, %(n)s) i""",
    "executions": """
        INSERT INTO executions (key, value)
        SELECT md5('e' || i), jsonb_build_object('id', md5('e' || i), 'namespace', 'company.team', 'flowId', 'f' || i %% 7,
               'deleted', false, 'labels', jsonb_build_array(jsonb_build_object('key', 'n', 'value', i::text)),
               'state', jsonb_build_object('current', 'SUCCESS', 'duration', 1.5,
                   'startDate', to_char(timestamp '2026-01-01' + i * interval '37 minutes', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                   'endDate', to_char(timestamp '2026-01-01 00:01' + i * interval '37 minutes', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
          FROM generate_series(1, %(n)s) i""",
    "logs": """
        INSERT INTO logs (key, value)
        SELECT substr(md5('l' || i), 1, 22), jsonb_build_object('namespace', 'company.team.ops', 'flowId', 'every_minute',
               'taskId', 'log', 'executionId', md5('e' || i %% 5000), 'taskRunId', md5('t' || i), 'attemptNumber', 0,
               'level', 'INFO', 'deleted', false, 'thread', 'worker_' || i %% 8,
               'timestamp', to_char(timestamp '2026-01-01' + i * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
               'message', 'Processed row ' || i || E' of\\nfile kestra:///company/team/' || md5('f' || i)
                          || ' in ' || i %% 977 || E' ms\\t' || md5('x' || i) || ' ' || md5('y' || i))
          FROM generate_series(1, %(n)s) i""",
    "metrics": """
        INSERT INTO metrics (key, value)
        SELECT substr(md5('m' || i), 1, 22), jsonb_build_object('namespace', 'company.team', 'flowId', 'f1', 'taskId', 't',
               'executionId', md5('e' || i), 'taskRunId', md5('t' || i), 'name', 'length', 'type', 'counter', 'value', i,
               'deleted', false, 'timestamp', '2026-01-01T00:00:00Z')
          FROM generate_series(1, %(n)s) i""",
    "queues": """
        INSERT INTO queues (type, key, value, updated)
        SELECT 'io.kestra.core.models.executions.LogEntry', md5('q' || i), jsonb_build_object('n', i, 't', E'a\\\\b'),
               timestamptz '2026-01-01' + i * interval '1 second'
          FROM generate_series(1, %(n)s) i""",
    "triggers": """
        INSERT INTO triggers (key, value)
        SELECT 'company.team_f' || i || '_t', jsonb_build_object('namespace', 'company.team', 'flowId', 'f' || i,
               'triggerId', 't', 'nextExecutionDate', '2026-06-01T00:00:00Z')
          FROM generate_series(1, %(n)s) i""",
    "settings": """
        INSERT INTO settings (key, value)
        SELECT CASE i WHEN 1 THEN 'instance.uuid' ELSE 's' || i END, to_jsonb(md5('s' || i))
          FROM generate_series(1, %(n)s) i""",
}

SMALL = {"flows": 5, "executions": 60, "logs": 400, "metrics": 20, "queues": 150, "triggers": 5, "settings": 2}
BUSY = {"flows": 20, "executions": 500, "logs": 40000, "metrics": 500, "queues": 3000, "triggers": 20, "settings": 2}


def create(connection) -> None:
    """The layout. connection: psycopg, autocommit, as the owner."""
    connection.execute("SET search_path = public")
    connection.execute(LAYOUT.read_text(encoding="utf-8"))


def fill(connection, rows=None, timezone="UTC") -> None:
    """Adds rows. rows: {table: number}. timezone: of the session that writes them, as Kestra's JVM would have it."""
    connection.execute("SET search_path = public")
    connection.execute(f"SET timezone = '{timezone}'")
    for table, number in (SMALL if rows is None else rows).items():
        connection.execute(_FILL[table], {"n": number})


def heartbeat(connection, service="a", state="RUNNING", age=0.0, kind="EXECUTOR") -> None:
    """A row in service_instance, as a Kestra server keeps one. age: seconds since its last update."""
    connection.execute(
        """
        INSERT INTO public.service_instance (key, value)
        SELECT %(id)s::varchar, jsonb_build_object('id', %(id)s::varchar, 'type', %(kind)s::text, 'state', %(state)s::text,
               'createdAt', to_char((now() - interval '1 hour') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'updatedAt', to_char((now() - %(age)s * interval '1 second') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'server', jsonb_build_object('id', 's', 'hostname', 'kestra-1', 'type', 'STANDALONE'))
        ON CONFLICT (key) DO UPDATE SET value = excluded.value""",
        {"id": service, "kind": kind, "state": state, "age": age},
    )
