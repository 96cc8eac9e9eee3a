# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kestra database on MySQL to test with: the kinds of columns Kestra has there, and rows of the shape it writes."""

from __future__ import annotations

import re

_TIME = "%Y-%m-%dT%H:%i:%s.%fZ"
_STATES = ("CREATED", "RUNNING", "PAUSED", "RESTARTED", "KILLING", "SUCCESS", "WARNING", "FAILED", "KILLED")
_LEVELS = ("ERROR", "WARN", "INFO", "DEBUG", "TRACE")
_SUFFIX = " ENGINE InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"


def _generated(name, kind, expression, null=False):
    return f"`{name}` {kind} GENERATED ALWAYS AS ({expression}) STORED" + ("" if null else " NOT NULL")


def _text(name, path, size=150, null=False):
    return _generated(name, f"VARCHAR({size})", f"value ->> '$.{path}'", null)


def _enum(name, path, values):
    return _generated(name, "ENUM(" + ", ".join(f"'{value}'" for value in values) + ")", f"value ->> '$.{path}'")


def _time(name, path, null=False):
    return _generated(name, "DATETIME(6)", f"STR_TO_DATE(value ->> '$.{path}', '{_TIME}')", null)


def _zoned(name, path):
    """A time with any offset, turned to UTC by the server's time zone tables."""
    text = f"value ->> '$.{path}'"
    return _generated(
        name,
        "DATETIME(6)",
        f"IF(RIGHT({text}, 1) = 'Z', STR_TO_DATE({text}, '{_TIME}'), CONVERT_TZ(STR_TO_DATE(SUBSTRING({text}, 1, "
        f"LENGTH({text}) - 6), '%Y-%m-%dT%H:%i:%s.%f'), RIGHT({text}, 6), 'UTC'))",
    )


_DELETED = _generated("deleted", "BOOL", "value ->> '$.deleted' = 'true'")
_TENANT = _text("tenant_id", "tenantId", 250, null=True)

TABLES = {
    "flows": (
        _DELETED,
        _text("id", "id", 100),
        _text("namespace", "namespace"),
        _generated("revision", "INT UNSIGNED", "value ->> '$.revision'"),
        _TENANT,
        "`source_code` TEXT NOT NULL",
        "FULLTEXT ix_fulltext (namespace, id)",
        "FULLTEXT ix_source_code (source_code)",
        "INDEX ix_namespace (deleted, tenant_id, namespace)",
    ),
    "executions": (
        _DELETED,
        _text("id", "id", 100),
        _text("namespace", "namespace"),
        _text("flow_id", "flowId"),
        _enum("state_current", "state.current", _STATES),
        _generated("state_duration", "BIGINT", "value ->> '$.state.duration' * 1000"),
        _time("start_date", "state.startDate"),
        _time("end_date", "state.endDate", null=True),
        _TENANT,
        "INDEX ix_start_date (deleted, tenant_id, start_date)",
        "FULLTEXT ix_fulltext (namespace, flow_id, id)",
    ),
    "logs": (
        _text("namespace", "namespace"),
        _text("flow_id", "flowId"),
        _text("task_id", "taskId", null=True),
        _text("execution_id", "executionId", null=True),
        _text("taskrun_id", "taskRunId", null=True),
        _generated(
            "attempt_number", "INT", "IF(value ->> '$.attemptNumber' = 'null', NULL, value ->> '$.attemptNumber')", True
        ),
        _generated("message", "TEXT", "value ->> '$.message'", True),
        _text("thread", "thread", null=True),
        _enum("level", "level", _LEVELS),
        _time("timestamp", "timestamp"),
        _TENANT,
        "INDEX ix_execution_id (execution_id)",
        "INDEX ix_timestamp (timestamp)",
        "INDEX ix_tenant_namespace_timestamp (tenant_id, namespace, timestamp, level)",
        "FULLTEXT ix_fulltext (namespace, flow_id, task_id, execution_id, taskrun_id, message, thread)",
    ),
    "metrics": (
        _text("namespace", "namespace"),
        _text("flow_id", "flowId"),
        _text("metric_name", "name", null=True),
        _time("timestamp", "timestamp"),
        _generated("metric_value", "FLOAT", "value ->> '$.value'"),
    ),
    "triggers": (
        _text("namespace", "namespace"),
        _text("flow_id", "flowId"),
        _text("trigger_id", "triggerId"),
        _time("next_execution_date", "nextExecutionDate", null=True),
    ),
    "multipleconditions": (_text("namespace", "namespace"), _zoned("start_date", "start"), _zoned("end_date", "end")),
    "settings": (),
    "service_instance": (
        _text("service_id", "id", 36),
        _text("service_type", "type", 36),
        _text("state", "state", 36),
        _time("created_at", "createdAt"),
        _time("updated_at", "updatedAt"),
    ),
    "dashboards": (
        "`source_code` TEXT NOT NULL",
        "`created` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "`updated` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
    ),
}

_QUEUES = (
    "CREATE TABLE queues (`offset` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, `type` ENUM('io.kestra.core.models.executions."
    "LogEntry', 'io.kestra.core.models.flows.Flow') NOT NULL, `key` VARCHAR(250) NOT NULL, `value` JSON NOT NULL, "
    "`consumers` SET('indexer', 'executor', 'worker'), `updated` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "
    "INDEX ix_type__consumers (type, consumers, offset))" + _SUFFIX
)
_OUTPUTS = (
    "CREATE TABLE task_outputs (`key` VARCHAR(250) PRIMARY KEY, `execution_id` VARCHAR(150) NOT NULL, `value` LONGBLOB, "
    "`uri` VARCHAR(250))" + _SUFFIX
)
_FUNCTIONS = (
    "CREATE FUNCTION PARSE_ISO8601_DURATION(duration VARCHAR(20)) RETURNS bigint LANGUAGE SQL CONTAINS SQL DETERMINISTIC "
    "BEGIN RETURN CASE WHEN duration LIKE 'PT%S' THEN TO_SECONDS(STR_TO_DATE(duration, 'PT%sS.%f')) END; END",
    "CREATE FUNCTION PARSE_ISO8601_DATETIME(date VARCHAR(50)) RETURNS datetime LANGUAGE SQL CONTAINS SQL DETERMINISTIC "
    "BEGIN RETURN IF(RIGHT(date, 1) = 'Z', STR_TO_DATE(date, '%Y-%m-%dT%H:%i:%s.%fZ'), NULL); END",
)

_NUMBERS = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %(n)s) SELECT i FROM n) s"
_AT = "DATE_FORMAT(TIMESTAMP('2026-01-01') + INTERVAL i {step}, '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ')"

# <e> stands for 32 hex digits that depend on the row: MySQL 9.7 has no MD5 of its own.
_HASH = r"LEFT(SHA2(CONCAT('\1', i), 256), 32)"

# Made on the server, so that ten thousands of rows take seconds. The texts hold what mysqldump has to escape.
_FILL = {
    "flows": """
        INSERT INTO flows (`key`, value, source_code)
        SELECT CONCAT('company.team_f', i, '_1'), JSON_OBJECT('id', CONCAT('f', i), 'namespace', 'company.team', 'revision', 1,
               'deleted', CAST('false' AS JSON), 'tasks', JSON_ARRAY(JSON_OBJECT('id', 'log', 'message', 'tab\\there'))),
               CONCAT('id: f', i, '\\n  - message: "back\\\\\\\\slash é), (\\' ;\\n') FROM """,
    "executions": """
        INSERT INTO executions (`key`, value)
        SELECT <e>, JSON_OBJECT('id', <e>, 'namespace', 'company.team', 'flowId',
               CONCAT('f', i %% 7), 'deleted', CAST('false' AS JSON), 'state', JSON_OBJECT('current', 'SUCCESS', 'duration', 1.5,
               'startDate', """
    + _AT.format(step="HOUR")
    + ", 'endDate', "
    + _AT.format(step="HOUR")
    + """)) FROM """,
    "logs": """
        INSERT INTO logs (`key`, value)
        SELECT LEFT(<l>, 22), JSON_OBJECT('namespace', 'company.team.ops', 'flowId', 'every_minute',
               'taskId', 'log', 'executionId', <e>, 'taskRunId', <t>, 'attemptNumber', 0,
               'level', 'INFO', 'thread', CONCAT('worker_', i %% 8), 'timestamp', """
    + _AT.format(step="SECOND")
    + """,
               'message', CONCAT('Processed row ', i, ' of\\nit\\'s "file" kestra:///company/team/', <f>,
                                 ' in ', i %% 977, ' ms\\t', <x>, ' ', <y>)) FROM """,
    "metrics": """
        INSERT INTO metrics (`key`, value)
        SELECT LEFT(<m>, 22), JSON_OBJECT('namespace', 'company.team', 'flowId', 'f1', 'name', 'length',
               'value', i / 3e0, 'timestamp', '2026-01-01T00:00:00.000000Z') FROM """,
    "queues": """
        INSERT INTO queues (type, `key`, value, consumers, updated)
        SELECT 'io.kestra.core.models.executions.LogEntry', <q>, JSON_OBJECT('n', i, 't', 'a\\\\\\\\b'),
               IF(i %% 2, 'indexer,worker', NULL), TIMESTAMP('2026-01-01') + INTERVAL i SECOND FROM """,
    "triggers": """
        INSERT INTO triggers (`key`, value)
        SELECT CONCAT('company.team_f', i, '_t'), JSON_OBJECT('namespace', 'company.team', 'flowId', CONCAT('f', i),
               'triggerId', 't', 'nextExecutionDate', '2026-06-01T00:00:00.000000Z') FROM """,
    "multipleconditions": """
        INSERT INTO multipleconditions (`key`, value)
        SELECT CONCAT('c', i), JSON_OBJECT('namespace', 'company.team', 'start', '2026-03-01T10:00:00.000+02:00',
               'end', '2026-03-02T10:00:00.000000Z') FROM """,
    "settings": """
        INSERT INTO settings (`key`, value)
        SELECT IF(i = 1, 'instance.uuid', CONCAT('s', i)), JSON_QUOTE(<s>) FROM """,
    "task_outputs": """
        INSERT INTO task_outputs (`key`, execution_id, value)
        SELECT CONCAT('o', i), <e>, IF(i = 1, NULL, UNHEX(CONCAT('00ff0a0d1a5c2722', SHA2(i, 256)))) FROM """,
}

SMALL = {
    "flows": 5,
    "executions": 60,
    "logs": 400,
    "metrics": 20,
    "queues": 150,
    "triggers": 5,
    "multipleconditions": 3,
    "settings": 2,
    "task_outputs": 4,
}


def create(session) -> None:
    """The layout. session: connect.Session in the schema, of an account that may create functions."""
    for name, columns in TABLES.items():
        parts = ("`key` VARCHAR(250) NOT NULL PRIMARY KEY", "`value` JSON NOT NULL", *columns)
        session.rows(f"CREATE TABLE {name} (" + ", ".join(parts) + ")" + _SUFFIX)
    for statement in (_QUEUES, _OUTPUTS, *_FUNCTIONS):
        session.rows(statement)


def fill(session, rows=None) -> None:
    """Adds rows. rows: {table: number}."""
    session.rows("SET SESSION cte_max_recursion_depth = 10000000, sql_mode = 'STRICT_TRANS_TABLES'")
    for table, number in (SMALL if rows is None else rows).items():
        session.rows(re.sub(r"<(\w)>", _HASH, _FILL[table]) + _NUMBERS, {"n": number})


def heartbeat(session, service="a", state="RUNNING", age=0.0, kind="EXECUTOR") -> None:
    """A row in service_instance, as a Kestra server keeps one. age: seconds since its last update."""
    session.rows(
        "REPLACE INTO service_instance (`key`, value) SELECT %s, JSON_OBJECT('id', %s, 'type', %s, 'state', %s, 'createdAt', "
        "'2026-01-01T00:00:00.000000Z', 'updatedAt', DATE_FORMAT(UTC_TIMESTAMP(6) - INTERVAL %s MICROSECOND, "
        "'%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ'), 'server', JSON_OBJECT('id', 's', 'hostname', 'kestra-1', 'type', 'STANDALONE'))",
        (service, service, kind, state, int(age * 1000000)),
    )
