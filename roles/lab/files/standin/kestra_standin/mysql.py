# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in says to MySQL in its own way: Kestra 0.21's table layout, its migrations, and statements.

The layout is described by data (which JSON path feeds which generated column) and the statements are made from that.
"""
from __future__ import annotations

import contextlib
import functools
import itertools
import re
import ssl
import zlib

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions

from . import NAME, values
from .database import CONSUMERS, CORE, BaseStore, BaseWork

STATES = ("CREATED RUNNING PAUSED RESTARTED KILLING SUCCESS WARNING FAILED KILLED"
          " CANCELLED QUEUED RETRYING RETRIED SKIPPED").split()
LEVELS = "ERROR WARN INFO DEBUG TRACE".split()
MESSAGES = [CORE + name for name in (
    "models.executions.Execution", "models.templates.Template", "models.executions.ExecutionKilled",
    "runners.WorkerJob", "runners.WorkerTaskResult", "runners.WorkerInstance", "runners.WorkerTaskRunning",
    "models.executions.LogEntry", "models.triggers.Trigger")] + ["io.kestra.ee.models.audits.AuditLog"] + [
    CORE + name for name in (
        "models.executions.MetricEntry", "runners.WorkerTriggerResult", "runners.SubflowExecutionResult",
        "models.flows.FlowWithSource")]

ISO = "%Y-%m-%dT%H:%i:%s.%fZ"
UNICODE = "ENGINE INNODB CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"

# Kestra dropped all uses of them in later steps, and never the functions.
FUNCTIONS = """
CREATE FUNCTION IF NOT EXISTS PARSE_ISO8601_DURATION(duration VARCHAR(20)) RETURNS BIGINT
  LANGUAGE SQL CONTAINS SQL DETERMINISTIC
  RETURN coalesce(regexp_substr(duration, '[0-9.]+(?=D)'), 0) * 86400
    + coalesce(regexp_substr(duration, '[0-9.]+(?=H)'), 0) * 3600
    + coalesce(regexp_substr(duration, '[0-9.]+(?=M)'), 0) * 60 + coalesce(regexp_substr(duration, '[0-9.]+(?=S)'), 0);
CREATE FUNCTION IF NOT EXISTS PARSE_ISO8601_DATETIME(date VARCHAR(50)) RETURNS DATETIME
  LANGUAGE SQL CONTAINS SQL DETERMINISTIC
  RETURN if(right(date, 1) = 'Z', str_to_date(date, '%Y-%m-%dT%H:%i:%s.%fZ'), convert_tz(
    str_to_date(left(date, char_length(date) - 6), '%Y-%m-%dT%H:%i:%s.%f'), right(date, 6), 'UTC'));
"""

TENANT = "tenant_id:250?=tenantId"

# name:type[?]=path. A number is the length of a VARCHAR, ? allows null, the path leads into the JSON document.
# The order is the order of the columns. time: in UTC; zoned: with any offset, which MySQL's time zone tables resolve.
TABLES = {
    "flows": (
        "deleted:bool=deleted id:100=id namespace:150=namespace revision:unsigned=revision source_code:text " + TENANT),
    "templates": "deleted:bool=deleted id:100=id namespace:150=namespace " + TENANT,
    "executions": (
        "deleted:bool=deleted id:100=id namespace:150=namespace flow_id:150=flowId state_current:state=state.current"
        " state_duration:millis=state.duration start_date:time=state.startDate end_date:time?=state.endDate " + TENANT +
        " trigger_execution_id:100?=trigger.variables.executionId"),
    "triggers": (
        "namespace:150=namespace flow_id:150=flowId trigger_id:150=triggerId execution_id:150?=executionId " + TENANT +
        " next_execution_date:zoned?=nextExecutionDate worker_id:250?=workerId"),
    "logs": (
        "deleted:bool=deleted namespace:150=namespace flow_id:150=flowId task_id:150?=taskId"
        " execution_id:150?=executionId taskrun_id:150?=taskRunId attempt_number:int?=attemptNumber"
        " trigger_id:150?=triggerId message:text?=message thread:150?=thread level:level=level"
        " timestamp:time=timestamp " + TENANT),
    "metrics": (
        "deleted:bool=deleted namespace:150=namespace flow_id:150=flowId task_id:150?=taskId"
        " execution_id:150=executionId taskrun_id:150?=taskRunId metric_name:150?=name timestamp:time=timestamp"
        " metric_value:float=value " + TENANT),
    "multipleconditions": (
        "namespace:150=namespace flow_id:150=flowId condition_id:150=conditionId start_date:zoned=start"
        " end_date:zoned=end " + TENANT),
    "executorstate": "",
    "executordelayed": "date:zoned=date",
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
        " source_code:text created:stamp updated:stamp"),
    "sla_monitor": "execution_id:150=executionId sla_id:150=slaId deadline:time=deadline",
}

INDEXES = {
    "flows": ["ix_namespace=deleted,tenant_id,namespace",
              "ix_namespace__id__revision=deleted,tenant_id,namespace,id,revision",
              "fulltext ix_fulltext=namespace,id", "fulltext ix_source_code=source_code"],
    "templates": ["ix_namespace=deleted,tenant_id,namespace", "ix_namespace__id=deleted,tenant_id,namespace,id",
                  "fulltext ix_fulltext=namespace,id"],
    "executions": ["ix_%s=deleted,tenant_id,%s" % (name, column) for name, column in (
        ("namespace", "namespace"), ("flowId", "flow_id"), ("state_current", "state_current"),
        ("start_date", "start_date"), ("end_date", "end_date"), ("state_duration", "state_duration"),
        ("trigger_execution_id", "trigger_execution_id"))] + ["fulltext ix_fulltext=namespace,flow_id,id"],
    "triggers": ["ix_execution_id=execution_id", "ix_tenant_id=tenant_id",
                 "fulltext ix_fulltext=namespace,flow_id,trigger_id,execution_id"],
    "logs": ["ix_execution_id=deleted,execution_id", "ix_execution_id__task_id=deleted,execution_id,task_id",
             "ix_execution_id__taskrun_id=deleted,execution_id,taskrun_id", "ix_timestamp=timestamp",
             "ix_namespace_flow=deleted,tenant_id,timestamp,level,namespace,flow_id",
             "fulltext ix_fulltext=namespace,flow_id,task_id,execution_id,taskrun_id,trigger_id,message,thread"],
    "metrics": ["metrics_flow_id=deleted,tenant_id,namespace,flow_id",
                "ix_metrics_execution_id=deleted,execution_id", "metrics_timestamp=deleted,tenant_id,timestamp"],
    "multipleconditions": ["ix_namespace__flow_id__condition_id=namespace,flow_id,condition_id",
                           "ix_start_date__end_date=start_date,end_date"],
    "executordelayed": ["ix_date=date"],
    "flow_topologies": ["ix_destination=destination_tenant_id,destination_namespace,destination_id",
                        "ix_source=source_tenant_id,source_namespace,source_id"],
    "worker_job_running": ["ix_worker_uuid=worker_uuid"],
    "execution_queued": ["ix_flow_date=tenant_id,namespace,flow_id,date"],
    "dashboards": ["ix_tenant=deleted,tenant_id", "fulltext ix_fulltext=title"],
    "sla_monitor": ["ix_deadline=deadline", "ix_execution_id=execution_id"],
}
# Kestra's statements for these leave the character set to the database.
PLAIN = ("execution_queued", "service_instance", "sla_monitor")

HISTORY_TABLE = """
CREATE TABLE IF NOT EXISTS flyway_schema_history (
  installed_rank INT NOT NULL,
  version VARCHAR(50),
  description VARCHAR(200) NOT NULL,
  type VARCHAR(20) NOT NULL,
  script VARCHAR(1000) NOT NULL,
  checksum INT,
  installed_by VARCHAR(100) NOT NULL,
  installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  execution_time INT NOT NULL,
  success BOOL NOT NULL,
  CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank),
  INDEX flyway_schema_history_s_idx (success)
) ENGINE INNODB
"""


def _enumeration(entries):
    return "ENUM(%s)" % ", ".join("'%s'" % one for one in entries)


def _reach(path):
    return "value ->> '$.%s'" % path


_TYPES = {
    "bool": "BOOL", "int": "INT", "unsigned": "INT UNSIGNED", "millis": "BIGINT", "float": "FLOAT", "text": "TEXT",
    "time": "DATETIME(6)", "zoned": "DATETIME(6)", "state": _enumeration(STATES), "level": _enumeration(LEVELS),
}
_EXPRESSIONS = {
    "bool": "{0} = 'true'", "millis": "{0} * 1000", "int": "IF({0} = 'null', NULL, {0})",
    "time": "STR_TO_DATE({0}, '%s')" % ISO,
    "zoned": "IF(RIGHT({0}, 1) = 'Z', STR_TO_DATE({0}, '%s'), CONVERT_TZ(STR_TO_DATE(LEFT({0}, CHAR_LENGTH({0}) - 6),"
             " '%s'), RIGHT({0}, 6), 'UTC'))" % (ISO, ISO[:-1]),
}


def _column(text):
    name, _colon, rest = text.partition(":")
    kind, _equals, path = rest.partition("=")
    null = "" if kind.endswith("?") else " NOT NULL"
    kind = kind.rstrip("?")
    if kind == "stamp":
        return "`%s` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP%s" % (
            name, " ON UPDATE CURRENT_TIMESTAMP" if name == "updated" else "")
    column = "`%s` %s" % (name, "VARCHAR(%s)" % kind if kind.isdigit() else _TYPES[kind])
    if not path:
        return column + null
    return "%s GENERATED ALWAYS AS (%s) STORED%s" % (column, _EXPRESSIONS.get(kind, "{0}").format(_reach(path)), null)


def _index(text):
    name, _equals, columns = text.partition("=")
    kind, _blank, name = name.rpartition(" ")
    return "%s %s (%s)" % (kind.upper() or "INDEX", name, ", ".join("`%s`" % one for one in columns.split(",")))


def table_statement(table):
    """CREATE TABLE of one of Kestra's key/value tables, with its indexes."""
    lines = ["`key` VARCHAR(%d) NOT NULL PRIMARY KEY" % (30 if table in ("logs", "metrics") else 250),
             "`value` JSON NOT NULL"]
    lines += [_column(one) for one in TABLES[table].split()] + [_index(one) for one in INDEXES.get(table, ())]
    return "CREATE TABLE IF NOT EXISTS %s (\n  %s\n)%s;\n" % (
        table, ",\n  ".join(lines), "" if table in PLAIN else " " + UNICODE)


QUEUES = """
CREATE TABLE IF NOT EXISTS queues (
  `offset` INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  `type` %s NOT NULL,
  `key` VARCHAR(250) NOT NULL,
  `value` JSON NOT NULL,
  `consumers` SET(%s),
  `updated` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  `consumer_group` VARCHAR(250),
  INDEX ix_type__consumers (`type`, `consumers`, `offset`),
  INDEX ix_type__offset (`type`, `offset`),
  INDEX ix_updated (`updated`)
) %s;
""" % (_enumeration(MESSAGES), ", ".join("'%s'" % one for one in CONSUMERS), UNICODE)


def _whole(*tables):
    return "".join(table_statement(table) for table in tables)


def migrations(version):
    """[(version, description, statements)] of the schema for a (major, minor) of Kestra.

    Kestra reached this layout in many small steps. The steps that only changed what an earlier one made are folded
    into that one here; they keep their line in the history. MySQL ends a transaction at every CREATE: a step that was
    broken off runs again, hence IF NOT EXISTS.
    """
    first = FUNCTIONS + QUEUES + _whole(
        "flows", "templates", "executions", "triggers", "logs", "multipleconditions", "executorstate",
        "executordelayed", "settings", "flow_topologies", "metrics")
    steps = [
        ("1.1", "initial", first),
        ("1.2", "worker heartbeat", _whole("worker_job_running")),
        ("1.4", "multitenant", ""),
        ("1.6", "execution queued", _whole("execution_queued")),
        ("1.10", "multitenant indices", ""),
        ("1.11", "execution parentid", ""),
        ("1.12", "execution triggerid", ""),
        ("1.13", "log fulltext", ""),
        ("1.14", "subflow executions", _whole("subflow_executions")),
        ("1.15", "trigger store next date", ""),
        ("1.16", "log timestamp index", ""),
        ("1.17", "service instance", _whole("service_instance")),
        ("1.18", "retry revamp", ""),
        ("1.20", "drop worker instance", ""),
        ("1.21", "trigger worker id", ""),
        ("1.22", "flow with source", ""),
        ("1.23", "execution queued index", ""),
        ("1.24", "sla monitor", _whole("sla_monitor")),
        ("1.25", "dashboard", _whole("dashboards")),
        ("1.26", "skipped", ""),
        ("1.27", "dashboard tenant nullable", ""),
    ]
    if version >= (0, 22):
        steps.append(("1.28", "cluster event", "ALTER TABLE queues MODIFY COLUMN `type` %s NOT NULL;\n" % _enumeration(
            MESSAGES + [CORE + "server.ClusterEvent"])))
    return steps


def _unseen(consumer):
    """The values of the column consumers that do not hold a consumer, as the index has them."""
    others = [one for one in CONSUMERS if one != consumer]
    return [",".join(some) for size in range(1, len(others) + 1) for some in itertools.combinations(others, size)]


@functools.lru_cache(maxsize=None)
def _tls(mode):
    """What the driver is told about TLS, from Connector/J's sslMode: PREFERRED uses it where the server has it."""
    if mode == "DISABLED":
        return {"ssl_disabled": True}
    # Since 1.2 the driver prefers it by itself, and takes a context for a demand; older ones took it for a wish.
    if mode == "PREFERRED" and pymysql.VERSION[:2] >= (1, 2):
        return {}
    checked = mode.startswith("VERIFY")
    context = ssl.create_default_context() if checked else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_REQUIRED if checked else ssl.CERT_NONE
    return {"ssl": context}


class Work(BaseWork):
    """The statements, inside one transaction."""

    HAS_TRIGGERS = "JSON_CONTAINS_PATH(value, 'one', '$.triggers')"
    LATEST_FLOWS = (
        "flows AS latest JOIN (SELECT namespace, id, max(revision) AS revision FROM flows GROUP BY namespace, id)"
        " AS newest USING (namespace, id, revision)")

    UNLESS_THERE = " (`key`, value) VALUES (%s, %s) ON DUPLICATE KEY UPDATE `key` = `key`"

    def run(self, text, arguments=None):
        """Run a statement; its cursor."""
        cursor = self.connection.cursor()
        cursor.execute(text, arguments)
        return cursor

    @contextlib.contextmanager
    def savepoint(self):
        """A nested transaction, so that one bad message does not undo its neighbours."""
        self.run("SAVEPOINT message")
        try:
            yield
        except pymysql.Error:
            # A deadlock has undone the whole transaction already.
            raise
        except BaseException:
            self.run("ROLLBACK TO SAVEPOINT message")
            raise
        self.run("RELEASE SAVEPOINT message")

    def stand_still(self):
        """First in a transaction: it sees the database as it is now, whatever others commit meanwhile."""
        self.connection.rollback()
        self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    @staticmethod
    def mentions(text):
        """(condition, arguments) for flows with the words of a text."""
        words = ["+%s*" % word for word in re.findall("[a-zA-Z0-9]+", text)]
        if not words:
            return "false", []
        return "MATCH (latest.namespace, latest.id) AGAINST (%s IN BOOLEAN MODE)", [" ".join(words)]

    # documents -------------------------------------------------------------------------------------------------

    def put(self, table, key, value, **extra):
        """Insert or replace a document; extra are the columns that are not generated (source_code)."""
        columns = ["value"] + sorted(extra)
        self.run("INSERT INTO %s (`key`, %s) VALUES (%%s, %s) AS new ON DUPLICATE KEY UPDATE %s" % (
            table, ", ".join(columns), ", ".join("%s" for _column in columns),
            ", ".join("{0} = new.{0}".format(one) for one in columns)),
            [key, values.dumps(value)] + [extra[one] for one in sorted(extra)])

    def add(self, table, key, value):
        """Insert a document unless its key exists; True when it was inserted."""
        # Looked for first: an insertion would wait for whoever has the row locked.
        if self.one("SELECT 1 FROM " + table + " WHERE `key` = %s", (key,)):
            return False
        return self.run("INSERT INTO " + table + self.UNLESS_THERE, (key, values.dumps(value))).rowcount == 1

    def add_many(self, table, documents):
        """Insert (key, document) pairs in one go."""
        self.connection.cursor().executemany("INSERT INTO " + table + self.UNLESS_THERE, self.pairs(documents))

    def remove(self, table, where, arguments):
        """Delete rows under a condition; returns how many."""
        # A DELETE by anything but the key waits for every locked row it comes by, also for those it would not delete.
        keys = [row[0] for row in self.rows("SELECT `key` FROM " + table + " WHERE " + where, arguments)]
        count = 0
        for start in range(0, len(keys), 1000):
            which, some = self.store.among("`key`", keys[start:start + 1000])
            count += self.run("DELETE FROM " + table + " WHERE " + which, some).rowcount
        return count

    def claim(self, table, where, arguments, order, limit):
        """[(key, document)] of the first rows nobody has locked, locked."""
        # One by one, out of more than wanted since somebody else may have some of them: when MySQL sorts, it locks all
        # it sorts.
        found = []
        for (key,) in self.rows("SELECT `key` FROM %s WHERE %s ORDER BY %s LIMIT %d" % (
                table, where, order, 3 * limit + 10), arguments):
            found += self.documents(
                table, "`key` = %s AND " + where, [key] + list(arguments), "FOR UPDATE SKIP LOCKED")
            if len(found) == limit:
                break
        return found

    def load(self, table, columns, rows):
        """Insert rows (lists of text) into a table, many with each statement; returns how many."""
        return self.connection.cursor().executemany("INSERT INTO %s (%s) VALUES (%s)" % (
            table, ", ".join("`%s`" % one for one in columns), ", ".join("%s" for _column in columns)), list(rows)) or 0

    # queues ----------------------------------------------------------------------------------------------------

    def emit(self, kind, key, value, group=None):
        """Put a message into the queue. kind is the class name below io.kestra.core."""
        self.run("INSERT INTO queues (type, `key`, value, consumer_group) VALUES (%s, %s, %s, %s)",
                 (CORE + kind, key, values.dumps(value), group))

    def poll(self, consumer, kinds, limit, older_than=0.0):
        """[(offset, kind, key, value)] not yet seen by the consumer, locked against the consumer's other processes."""
        seen, others = self.store.among("consumers", _unseen(consumer))
        unseen = "(consumers IS NULL OR %s)" % seen
        which, types = self.store.among("type", [CORE + kind for kind in kinds])
        # Looked for without a lock and more than wanted, as in claim(); in the primary key's order nothing is sorted.
        offsets = [row[0] for row in self.rows(
            "SELECT `offset` FROM queues FORCE INDEX (ix_type__consumers) WHERE " + which + " AND " + unseen +
            " AND updated <= now(6) - INTERVAL %s MICROSECOND ORDER BY `offset` LIMIT %s",
            types + others + [int(older_than * 1000000), 3 * limit + 10])]
        if not offsets:
            return []
        some, numbers = self.store.among("`offset`", offsets)
        found = self.rows(
            "SELECT `offset`, type, `key`, value FROM queues FORCE INDEX (PRIMARY) WHERE " + some + " AND " + unseen +
            " ORDER BY `offset` LIMIT %s FOR UPDATE SKIP LOCKED", numbers + others + [limit])
        return [(offset, kind[len(CORE):], key, value) for offset, kind, key, value in found]

    def consumed(self, consumer, offsets):
        """Mark messages as seen by the consumer."""
        some, numbers = self.store.among("`offset`", offsets)
        self.run("UPDATE queues SET consumers = concat_ws(',', consumers, %s) WHERE " + some, [consumer] + numbers)

    def purge_queue(self, retention):
        """Delete messages older than so many seconds; returns how many."""
        return self.run("DELETE FROM queues WHERE updated < now(6) - INTERVAL %s MICROSECOND",
                        (int(retention * 1000000),)).rowcount


class Store(BaseStore):
    """The database of one stand-in process.

    settings: host, port, database, user, password, ssl_mode (Connector/J's sslMode).
    """

    engine = "mysql"
    errors = (pymysql.Error,)
    work = Work
    migrations = staticmethod(migrations)
    HISTORY_TABLE, USER = HISTORY_TABLE, "substring_index(user(), '@', 1)"
    KEY, DOCUMENT, NOW = "`key`", "JSON", "utc_timestamp(6)"
    # What a message has that everyone has seen.
    CONSUMED = {"consumers": ",".join(CONSUMERS)}
    # PostgreSQL's ways: a statement sees what was committed before it, and waits for a lock as long as it takes.
    SESSION = ("SET SESSION transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 1073741824,"
               " wait_timeout = 31536000, time_zone = '+00:00'")
    CONVERSIONS = {**conversions, FIELD_TYPE.JSON: values.loads}

    # the dialect -----------------------------------------------------------------------------------------------

    @staticmethod
    def text(path):
        """The text at a path of the document."""
        return _reach(path)

    @staticmethod
    def among(column, entries):
        """(condition, arguments): a column is one of some texts."""
        if not entries:
            return "false", []
        return "%s IN (%s)" % (column, ", ".join("%s" for _entry in entries)), list(entries)

    @staticmethod
    def started(comparison):
        """Condition: an execution's start compared with a date and time in ISO form."""
        return "start_date %s STR_TO_DATE(%%s, '%s')" % (comparison, ISO.replace("%", "%%"))

    @staticmethod
    def up_to_level():
        """Condition: a log line is of a level or graver."""
        return "level + 0 <= FIELD(%%s, %s)" % ", ".join("'%s'" % one for one in LEVELS)

    # connections -----------------------------------------------------------------------------------------------

    @staticmethod
    def is_away(error):
        """True when the server cannot be reached or ends, as opposed to a statement it refused."""
        code = error.args[0] if error.args else None
        # The client's own errors are numbered from 2000; the others are the server's: shutdown, no connection left.
        return isinstance(error, pymysql.err.InterfaceError) or isinstance(code, int) and (
            2000 <= code < 3000 or code in (1040, 1053, 1077, 1079))

    def connect(self):
        """A new autocommit connection."""
        wanted = self.settings
        return pymysql.connect(
            host=wanted["host"], port=wanted["port"], database=wanted["database"], user=wanted["user"],
            # As text it would be sent as Latin 1.
            password=wanted["password"].encode(), charset="utf8mb4", autocommit=True, connect_timeout=5,
            program_name=NAME, init_command=self.SESSION, conv=self.CONVERSIONS, **_tls(wanted["ssl_mode"]))

    @classmethod
    @contextlib.contextmanager
    def transaction(cls, connection):
        """A transaction as a context."""
        connection.begin()
        try:
            yield
        except BaseException:
            try:
                connection.rollback()
            except pymysql.Error:
                cls.disconnect(connection)
            raise
        connection.commit()

    @staticmethod
    def is_open(connection):
        """False for a connection that broke."""
        return connection.open

    @staticmethod
    def disconnect(connection):
        """Close a connection, also one that broke."""
        with contextlib.suppress(pymysql.Error):
            connection.close()

    def ping(self):
        """The server's product and version; raises when it is away."""
        with self.tx() as work:
            return {"database": "MySQL", "version": work.one("SELECT version()")[0]}

    @staticmethod
    def _tables(work):
        return [row[0] for row in work.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = database() ORDER BY 1")]

    def analyze(self):
        """Refresh the planner's statistics."""
        with self.tx() as work:
            work.run("ANALYZE NO_WRITE_TO_BINLOG TABLE " + ", ".join(self._tables(work)))

    def sizes(self):
        """{table: [rows, bytes with indexes]} and the database's bytes, both without full-text indexes."""
        with self.tx() as work:
            work.run("SET SESSION information_schema_stats_expiry = 0")
            sizes = dict(work.rows("SELECT table_name, data_length + index_length FROM information_schema.tables"
                                   " WHERE table_schema = database()"))
            return {name: [work.count(name), int(sizes[name])] for name in self._tables(work)}, int(sum(sizes.values()))

    # migrations ------------------------------------------------------------------------------------------------

    def lock_migrations(self, connection):
        """True when this connection alone may migrate now. Such a lock is the whole server's, hence its name."""
        name = "%s-%d" % (NAME, zlib.crc32(self.settings["database"].encode()))
        return self.work(self, connection).one("SELECT get_lock(%s, 0)", (name,))[0] == 1

    def migrated(self, connection):
        """Versions of the steps that ran."""
        work = self.work(self, connection)
        if "flyway_schema_history" not in self._tables(work):
            return set()
        return {row[0] for row in work.rows("SELECT version FROM flyway_schema_history WHERE success")}

    def script(self, connection, statements):
        """Run the statements of a step."""
        for statement in statements.split(";\n"):
            if statement.strip():
                self.work(self, connection).run(statement)
