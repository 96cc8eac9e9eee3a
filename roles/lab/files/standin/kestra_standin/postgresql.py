# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in says to PostgreSQL in its own way: Kestra 0.21's table layout, its migrations, and statements.

The layout is described by data (which JSON path feeds which generated column) and the statements are made from that.
"""
from __future__ import annotations

import contextlib

import psycopg
from psycopg import sql
from psycopg.types.json import set_json_loads

from . import NAME, values
from .database import CONSUMERS, CORE, BaseStore, BaseWork

ENUMS = {
    "state_type": ("CREATED RUNNING PAUSED RESTARTED KILLING SUCCESS WARNING FAILED KILLED"
                   " CANCELLED QUEUED RETRYING RETRIED SKIPPED").split(),
    "log_level": "ERROR WARN INFO DEBUG TRACE".split(),
    "queue_type": ["io.kestra.core." + name for name in (
        "models.executions.Execution", "models.flows.FlowWithSource", "models.templates.Template",
        "models.executions.ExecutionKilled", "runners.WorkerJob", "runners.WorkerTaskResult", "runners.WorkerInstance",
        "runners.WorkerTaskRunning", "models.executions.LogEntry", "models.triggers.Trigger",
        "models.executions.MetricEntry", "runners.WorkerTriggerResult", "runners.SubflowExecutionResult")],
}

# SQL-standard bodies: what they call is bound when they are created, so a dump names it with its schema.
FUNCTIONS = """
CREATE FUNCTION fulltext_replace(text, text) RETURNS text LANGUAGE sql IMMUTABLE STRICT
  RETURN btrim(array_to_string(ARRAY(
    SELECT DISTINCT word FROM regexp_split_to_table($1, '[^a-zA-Z0-9]') AS word WHERE word <> ''), $2), $2);
CREATE FUNCTION fulltext_index(text) RETURNS tsvector LANGUAGE sql IMMUTABLE STRICT
  RETURN to_tsvector('simple'::regconfig, fulltext_replace($1, ' ')) || to_tsvector('simple'::regconfig, $1);
CREATE FUNCTION fulltext_search(text) RETURNS tsquery LANGUAGE sql IMMUTABLE STRICT
  RETURN CASE fulltext_replace($1, '') WHEN '' THEN ''::tsquery
    ELSE to_tsquery('simple'::regconfig, fulltext_replace($1, ':* & ') || ':*') END;
CREATE FUNCTION state_fromtext(text) RETURNS state_type LANGUAGE sql IMMUTABLE RETURN $1::state_type;
CREATE FUNCTION loglevel_fromtext(text) RETURNS log_level LANGUAGE sql IMMUTABLE RETURN $1::log_level;
CREATE FUNCTION parse_iso8601_datetime(text) RETURNS timestamptz LANGUAGE sql IMMUTABLE RETURN $1::timestamptz;
CREATE FUNCTION parse_iso8601_timestamp(text) RETURNS integer LANGUAGE sql IMMUTABLE
  RETURN extract(epoch FROM $1::timestamptz)::integer;
CREATE FUNCTION parse_iso8601_duration(text) RETURNS interval LANGUAGE sql IMMUTABLE RETURN $1::interval;
CREATE FUNCTION update_updated_datetime() RETURNS trigger LANGUAGE plpgsql AS
  $body$ BEGIN NEW.updated := now(); RETURN NEW; END $body$;
"""

TENANT = "tenant_id:250?=tenantId"
FULLTEXT = "fulltext:tsvector?="

# name:type[?]=path. A number is the length of a varchar, ? allows null, the path leads into the JSON document.
# The order is the order of the columns. Types with a function: state, level, time (timestamptz), local (timestamp).
TABLES = {
    "flows": (
        "deleted:bool=deleted id:100=id namespace:150=namespace revision:int=revision"
        " fulltext:tsvector?=namespace,id source_code:text " + TENANT),
    "templates": (
        "deleted:bool=deleted id:100=id namespace:150=namespace fulltext:tsvector?=namespace,id " + TENANT),
    "executions": (
        "deleted:bool=deleted namespace:150=namespace flow_id:150=flowId state_current:state=state.current"
        " state_duration:millis=state.duration start_date:local=state.startDate end_date:local?=state.endDate"
        " fulltext:tsvector?=namespace,flowId,id id:150=id " + TENANT +
        " trigger_execution_id:150?=trigger.variables.executionId"),
    "triggers": (
        "namespace:150=namespace flow_id:150=flowId trigger_id:150=triggerId execution_id:150?=executionId"
        " fulltext:tsvector?=namespace,flowId,triggerId,executionId? " + TENANT +
        " next_execution_date:time?=nextExecutionDate worker_id:250?=workerId"),
    "logs": (
        "deleted:bool=deleted namespace:150=namespace flow_id:150=flowId task_id:150?=taskId"
        " execution_id:150?=executionId taskrun_id:150?=taskRunId attempt_number:int?=attemptNumber"
        " trigger_id:150?=triggerId level:level=level timestamp:time=timestamp " + TENANT +
        " fulltext:tsvector?=namespace,flowId,taskId?,executionId?,taskRunId?,triggerId?,message?,thread?"),
    "metrics": (
        "deleted:bool=deleted namespace:150=namespace flow_id:150=flowId task_id:150=taskId"
        " execution_id:150=executionId taskrun_id:150=taskRunId metric_name:150=name timestamp:time=timestamp"
        " metric_value:float8=value " + TENANT),
    "multipleconditions": (
        "namespace:150=namespace flow_id:150=flowId condition_id:150=conditionId start_date:time=start"
        " end_date:time=end " + TENANT),
    "executorstate": "",
    "executordelayed": "date:time=date",
    "settings": "",
    "flow_topologies": (
        "source_namespace:150=source.namespace source_id:150=source.id relation:100=relation"
        " destination_namespace:150=destination.namespace destination_id:150=destination.id"
        " source_tenant_id:250?=source.tenantId destination_tenant_id:250?=destination.tenantId"),
    "worker_job_running": "worker_uuid:36=workerInstance.workerUuid",
    "execution_queued": TENANT + " namespace:150=namespace flow_id:150=flowId date:time=date",
    "subflow_executions": "",
    "service_instance": (
        "service_id:36=id service_type:36=type state:36=state created_at:time=createdAt updated_at:time=updatedAt"),
    "dashboards": (
        TENANT + " deleted:bool=deleted id:100=id title:250=title description:text?=description"
        " fulltext:tsvector?=title source_code:text created:stamp updated:stamp"),
    "sla_monitor": "execution_id:150=executionId sla_id:150=slaId deadline:time=deadline",
}

QUEUES = """
CREATE TABLE queues (
  "offset" serial NOT NULL,
  type queue_type NOT NULL,
  key varchar(250) NOT NULL,
  value jsonb NOT NULL,
  updated timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  consumer_indexer boolean DEFAULT false,
  consumer_executor boolean DEFAULT false,
  consumer_worker boolean DEFAULT false,
  consumer_scheduler boolean DEFAULT false,
  consumer_flow_topology boolean DEFAULT false,
  consumer_group varchar(250)
);
CREATE TRIGGER queues_updated BEFORE UPDATE ON queues FOR EACH ROW EXECUTE FUNCTION update_updated_datetime();
"""

INDEXES = {
    "queues": [
        "offset=hash:offset", "type__offset=type,offset", "updated=updated"] + [
        "type__consumer_%s=type,consumer_%s,offset when consumer_%s = false" % (who, who, who)
        for who in ("flow_topology", "indexer", "executor", "worker", "scheduler")],
    "flows": ["namespace=deleted,tenant_id,namespace",
              "namespace__id__revision=deleted,tenant_id,namespace,id,revision", "fulltext=gin:fulltext",
              "source_code=gin:(fulltext_index(source_code))", "labels=gin:((value -> 'labels'))"],
    "templates": ["namespace=deleted,tenant_id,namespace", "namespace__id=deleted,tenant_id,namespace,id",
                  "fulltext=gin:fulltext"],
    "executions": ["%s=deleted,tenant_id,%s" % (name, name) for name in (
        "namespace", "flow_id", "state_current", "start_date", "end_date", "state_duration",
        "trigger_execution_id")] + [
        "fulltext=gin:fulltext", "labels=gin:((value -> 'labels'))"],
    "triggers": ["execution_id=execution_id", "tenant=tenant_id"],
    "logs": ["execution_id=deleted,execution_id", "execution_id__task_id=deleted,execution_id,task_id",
             "execution_id__taskrun_id=deleted,execution_id,taskrun_id", "fulltext=gin:fulltext",
             "namespace_flow=deleted,tenant_id,timestamp,level,namespace,flow_id"],
    "metrics": ["flow_id=deleted,tenant_id,namespace,flow_id", "execution_id=deleted,execution_id",
                "timestamp=deleted,tenant_id,timestamp"],
    "multipleconditions": ["flow__condition=tenant_id,namespace,flow_id,condition_id",
                           "start_date__end_date=tenant_id,start_date,end_date"],
    "executordelayed": ["date=date"],
    "flow_topologies": [
        "destination=destination_tenant_id,destination_namespace,destination_id",
        "destination__source=destination_tenant_id,destination_namespace,destination_id,"
        "source_tenant_id,source_namespace,source_id"],
    "worker_job_running": ["worker_uuid=worker_uuid"],
    "execution_queued": ["flow=tenant_id,namespace,flow_id"],
    "dashboards": ["tenant=deleted,tenant_id", "id=id,deleted,tenant_id", "fulltext=gin:fulltext"],
    "sla_monitor": ["deadline=deadline", "execution_id=execution_id"],
}

HISTORY_TABLE = """
CREATE TABLE IF NOT EXISTS flyway_schema_history (
  installed_rank integer NOT NULL CONSTRAINT flyway_schema_history_pk PRIMARY KEY,
  version varchar(50),
  description varchar(200) NOT NULL,
  type varchar(20) NOT NULL,
  script varchar(1000) NOT NULL,
  checksum integer,
  installed_by varchar(100) NOT NULL,
  installed_on timestamp NOT NULL DEFAULT now(),
  execution_time integer NOT NULL,
  success boolean NOT NULL
);
CREATE INDEX IF NOT EXISTS flyway_schema_history_s_idx ON flyway_schema_history (success);
"""

_TYPES = {"time": "timestamptz", "local": "timestamp", "state": "state_type", "level": "log_level", "millis": "bigint"}
_CASTS = {
    "bool": "(%s)::bool", "int": "(%s)::int", "float8": "(%s)::float8", "text": "%s",
    "time": "parse_iso8601_datetime(%s)", "local": "parse_iso8601_datetime(%s)",
    "state": "state_fromtext(%s)", "level": "loglevel_fromtext(%s)",
    "millis": "extract(milliseconds FROM parse_iso8601_duration(%s))",
}


def _reach(path):
    parts = path.split(".")
    return "value ->> '%s'" % parts[0] if len(parts) == 1 else "value #>> '{%s}'" % ",".join(parts)


def _column(text):
    name, _colon, rest = text.partition(":")
    kind, _equals, path = rest.partition("=")
    null = kind.endswith("?")
    kind = kind.rstrip("?")
    if kind == "stamp":
        return "%s timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP" % name
    column = "%s %s%s" % (name, "varchar(%s)" % kind if kind.isdigit() else _TYPES.get(kind, kind),
                          "" if null else " NOT NULL")
    if not path:
        return column
    if kind == "tsvector":
        parts = []
        for one in path.split(","):
            parts.append("fulltext_index(coalesce(%s, ''))" % _reach(one[:-1]) if one.endswith("?")
                         else "fulltext_index(%s)" % _reach(one))
        expression = " || ".join(parts)
    else:
        expression = _CASTS.get(kind, "%s") % _reach(path)
    return "%s GENERATED ALWAYS AS (%s) STORED" % (column, expression)


def table_statement(table):
    """CREATE TABLE of one of Kestra's key/value tables."""
    columns = ["key varchar(%d) NOT NULL PRIMARY KEY" % (30 if table in ("logs", "metrics") else 250),
               "value jsonb NOT NULL"]
    columns += [_column(one) for one in TABLES[table].split()]
    return "CREATE TABLE %s (\n  %s\n);" % (table, ",\n  ".join(columns))


def index_statements(table):
    """CREATE INDEX of every index of the table."""
    found = []
    for text in INDEXES.get(table, ()):
        name, _equals, rest = text.partition("=")
        columns, _when, condition = rest.partition(" when ")
        method, colon, listed = columns.partition(":")
        if not colon or method not in ("gin", "hash"):
            method, listed = "btree", columns
        if not listed.startswith("("):
            listed = ", ".join('"%s"' % one for one in listed.split(","))
        found.append("CREATE INDEX %s_%s ON %s USING %s (%s)%s;" % (
            table, name, table, method, listed, " WHERE " + condition if condition else ""))
    return found


def _whole(*tables):
    return "\n".join("\n".join([table_statement(table)] + index_statements(table)) for table in tables)


def migrations(version):
    """[(version, description, statements)] of the schema for a (major, minor) of Kestra.

    Kestra reached this layout in many small steps. The steps that only changed what an earlier one made are folded
    into that one here; they keep their line in the history.
    """
    enums = "\n".join("CREATE TYPE %s AS ENUM (%s);" % (name, ", ".join("'%s'" % one for one in entries))
                      for name, entries in ENUMS.items())
    first = "\n".join([enums, FUNCTIONS, QUEUES] + index_statements("queues") + [_whole(
        "flows", "templates", "executions", "triggers", "logs", "multipleconditions", "executorstate",
        "executordelayed", "settings", "flow_topologies", "metrics")])
    steps = [
        ("1.1", "initial", first),
        ("1.2", "worker heartbeat", _whole("worker_job_running")),
        ("1.4", "postgres-queues-pkey", ""),
        ("1.5", "multitenant", ""),
        ("1.6", "execution queued", _whole("execution_queued")),
        ("1.7", "execution cancelled", ""),
        ("1.9", "execution queued", ""),
        ("1.11", "execution parentid", ""),
        ("1.12", "execution triggerid", ""),
        ("1.13", "subflow executions", _whole("subflow_executions")),
        ("1.14", "log fulltext", ""),
        ("1.15", "trigger store next date", ""),
        ("1.17", "service instance", _whole("service_instance")),
        ("1.18", "retry revamp", ""),
        ("1.19", "retry flow", ""),
        ("1.20", "drop worker instance", ""),
        ("1.21", "trigger worker id", ""),
        ("1.22", "flow with source", ""),
        ("1.23", "dashboard", _whole("dashboards")),
        ("1.24", "sla monitor", _whole("sla_monitor")),
        ("1.26", "skipped", ""),
        ("1.27", "escape fulltext", ""),
    ]
    if version >= (0, 22):
        steps.append(("1.28", "cluster event", "ALTER TYPE queue_type ADD VALUE IF NOT EXISTS"
                                               " 'io.kestra.core.server.ClusterEvent';"))
    return steps


MIGRATION_LOCK = 7086214103


class Work(BaseWork):
    """The statements, inside one transaction."""

    HAS_TRIGGERS = "value ? 'triggers'"
    LATEST_FLOWS = (
        "(SELECT DISTINCT ON (namespace, id) namespace, id, revision, deleted, value, source_code, fulltext FROM flows"
        " ORDER BY namespace, id, revision DESC) AS latest")

    def run(self, text, arguments=None):
        """Run a statement; its cursor."""
        return self.connection.execute(text, arguments)

    @contextlib.contextmanager
    def savepoint(self):
        """A nested transaction, so that one bad message does not undo its neighbours."""
        with self.connection.transaction():
            yield

    def stand_still(self):
        """First in a transaction: it sees the database as it is now, whatever others commit meanwhile."""
        self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    @staticmethod
    def mentions(text):
        """(condition, arguments) for flows with the words of a text."""
        return "fulltext @@ fulltext_search(%s)", [text]

    # documents -------------------------------------------------------------------------------------------------

    def put(self, table, key, value, **extra):
        """Insert or replace a document; extra are the columns that are not generated (source_code)."""
        columns = ["key", "value"] + sorted(extra)
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (key) DO UPDATE SET {}").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.Placeholder() for _column in columns),
            sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(one)) for one in columns[1:]))
        self.connection.execute(statement, [key, values.dumps(value)] + [extra[one] for one in sorted(extra)])

    def add(self, table, key, value):
        """Insert a document unless its key exists; True when it was inserted."""
        statement = sql.SQL("INSERT INTO {} (key, value) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING").format(
            sql.Identifier(table))
        return self.connection.execute(statement, (key, values.dumps(value))).rowcount == 1

    def add_many(self, table, documents):
        """Insert (key, document) pairs in one go."""
        statement = sql.SQL("INSERT INTO {} (key, value) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING").format(
            sql.Identifier(table))
        with self.connection.cursor() as cursor:
            cursor.executemany(statement, self.pairs(documents))

    def remove(self, table, where, arguments):
        """Delete rows under a condition; returns how many."""
        return self.run("DELETE FROM " + table + " WHERE " + where, arguments).rowcount

    def claim(self, table, where, arguments, order, limit):
        """[(key, document)] of the first rows nobody has locked, locked."""
        return self.documents(table, where, arguments, "ORDER BY %s LIMIT %d FOR UPDATE SKIP LOCKED" % (order, limit))

    def load(self, table, columns, rows):
        """COPY rows (lists of text) into a table; returns how many."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)))
        count, block, size = 0, [], 0
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                line = "\t".join(text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
                                 for text in row) + "\n"
                block.append(line)
                size += len(line)
                count += 1
                if size > 1 << 18:
                    copy.write("".join(block))
                    block, size = [], 0
            copy.write("".join(block))
        return count

    # queues ----------------------------------------------------------------------------------------------------

    def emit(self, kind, key, value, group=None):
        """Put a message into the queue. kind is the class name below io.kestra.core."""
        self.connection.execute(
            "INSERT INTO queues (type, key, value, consumer_group) VALUES (%s::text::queue_type, %s, %s, %s)",
            (CORE + kind, key, values.dumps(value), group))

    def poll(self, consumer, kinds, limit, older_than=0.0):
        """[(offset, kind, key, value)] not yet seen by the consumer, locked against the consumer's other processes."""
        flag = sql.Identifier("consumer_" + consumer)
        statement = sql.SQL(
            'SELECT "offset", type::text, key, value FROM queues WHERE type = ANY(%s::text[]::queue_type[])'
            ' AND {flag} = false AND updated <= clock_timestamp() - make_interval(secs => %s)'
            ' ORDER BY "offset" LIMIT %s FOR UPDATE SKIP LOCKED').format(flag=flag)
        found = self.rows(statement, ([CORE + kind for kind in kinds], float(older_than), limit))
        return [(offset, kind[len(CORE):], key, value) for offset, kind, key, value in found]

    def consumed(self, consumer, offsets):
        """Mark messages as seen by the consumer."""
        self.connection.execute(
            sql.SQL('UPDATE queues SET {} = true WHERE "offset" = ANY(%s)').format(
                sql.Identifier("consumer_" + consumer)), (list(offsets),))

    def purge_queue(self, retention):
        """Delete messages older than so many seconds; returns how many."""
        return self.remove("queues", "updated < clock_timestamp() - make_interval(secs => %s)", (float(retention),))


class Store(BaseStore):
    """The database of one stand-in process.

    settings: host, port, database, user, password, schema (or None), ssl (dict of libpq options), timezone.
    """

    engine = "postgresql"
    errors = (psycopg.Error,)
    work = Work
    migrations = staticmethod(migrations)
    HISTORY_TABLE, USER = HISTORY_TABLE, "current_user"
    KEY, DOCUMENT, NOW = "key", "jsonb", "clock_timestamp()"
    # What a message has that everyone has seen.
    CONSUMED = {"consumer_" + one: "t" for one in CONSUMERS}

    # the dialect -----------------------------------------------------------------------------------------------

    @staticmethod
    def text(path):
        """The text at a path of the document."""
        return _reach(path)

    @staticmethod
    def among(column, entries):
        """(condition, arguments): a column is one of some texts."""
        return "%s::text = ANY(%%s)" % column, [list(entries)]

    @staticmethod
    def started(comparison):
        """Condition: an execution's start compared with a date and time in ISO form."""
        return "(%s)::timestamptz %s %%s::timestamptz" % (_reach("state.startDate"), comparison)

    @staticmethod
    def up_to_level():
        """Condition: a log line is of a level or graver."""
        return "level <= %s::log_level"

    # connections -----------------------------------------------------------------------------------------------

    @staticmethod
    def is_away(error):
        """True when the server cannot be reached, as opposed to a statement it refused."""
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and not isinstance(error, (
            psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable))

    def connect(self):
        """A new autocommit connection. The session's time zone is the process's, as pgjdbc does it."""
        wanted = self.settings
        options = "-c TimeZone=%s" % wanted["timezone"]
        if wanted.get("schema"):
            options += " -c search_path=%s" % wanted["schema"]
        arguments = dict(host=wanted["host"], port=wanted["port"], dbname=wanted["database"], user=wanted["user"],
                         password=wanted["password"] or None, connect_timeout=5, application_name=NAME,
                         options=options, autocommit=True, keepalives_idle=30, **wanted.get("ssl") or {})
        connection = psycopg.connect(**{key: value for key, value in arguments.items() if value is not None})
        connection.prepare_threshold = 3
        set_json_loads(values.loads, connection)
        return connection

    @staticmethod
    def transaction(connection):
        """A transaction as a context."""
        return connection.transaction()

    @staticmethod
    def is_open(connection):
        """False for a connection that broke."""
        return not (connection.broken or connection.closed)

    @staticmethod
    def disconnect(connection):
        """Close a connection, also one that broke."""
        connection.close()

    def ping(self):
        """The server's product and version; raises when it is away."""
        with self.tx() as work:
            return {"database": "PostgreSQL", "version": work.one("SHOW server_version")[0]}

    def analyze(self):
        """Refresh the planner's statistics."""
        connection = self.connect()
        try:
            connection.execute("ANALYZE")
        finally:
            self.disconnect(connection)

    def sizes(self):
        """{table: [rows, bytes with indexes]} and the database's bytes."""
        with self.tx() as work:
            names = [row[0] for row in work.rows(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")]
            tables = {name: [work.count(name), work.one("SELECT pg_total_relation_size(%s::regclass)", (name,))[0]]
                      for name in names}
            return tables, work.one("SELECT pg_database_size(current_database())")[0]

    # migrations ------------------------------------------------------------------------------------------------

    @staticmethod
    def lock_migrations(connection):
        """True when this connection alone may migrate now."""
        return connection.execute("SELECT pg_try_advisory_lock(%s)", (MIGRATION_LOCK,)).fetchone()[0]

    @staticmethod
    def migrated(connection):
        """Versions of the steps that ran."""
        if connection.execute("SELECT to_regclass('flyway_schema_history')").fetchone()[0] is None:
            return set()
        return {row[0] for row in connection.execute("SELECT version FROM flyway_schema_history WHERE success")}

    @staticmethod
    def script(connection, statements):
        """Run the statements of a step."""
        if statements:
            connection.execute(statements)
