# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in on Elasticsearch and Kafka: work goes through topics, an indexer writes what came of it into the indices.

What Kafka Streams keeps beside its topics is kept here in an SQLite database in memory, made anew at every start: flows,
triggers and all that is under way out of the topics, as Kestra's executor has them, and everything else out of the
indices. So an execution that only the indices know is seen and goes no further, and a flow that was not sent back into
the queue does not run.
"""
from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
from collections import deque

from . import NAME, enterprise, model, values
from .config import ConfigurationError
from .database import BaseStore, BaseWork
from .indices import Indices, IndicesError
from .topics import KEPT, Topics, TopicsError

LEVELS = "ERROR WARN INFO DEBUG TRACE"
# The columns of each table, as paths into the document.
TABLES = {
    "flows": {"deleted": "deleted", "id": "id", "namespace": "namespace", "revision": "revision"},
    "executions": {"deleted": "deleted", "id": "id", "namespace": "namespace", "flow_id": "flowId",
                   "state_current": "state.current", "start_date": "state.startDate"},
    "triggers": {"namespace": "namespace", "flow_id": "flowId", "trigger_id": "triggerId"},
    "logs": {"deleted": "deleted", "namespace": "namespace", "flow_id": "flowId", "execution_id": "executionId",
             "level": "level", "timestamp": "timestamp"},
    "metrics": {"deleted": "deleted", "execution_id": "executionId"},
    "dashboards": {"deleted": "deleted"}, "settings": {}, "tenants": {}, "users": {}, "namespaces": {},
    "executorstate": {}, "executordelayed": {"date": "date"},
    "execution_queued": {"namespace": "namespace", "flow_id": "flowId", "date": "date"},
    "worker_job_running": {"worker_uuid": "workerInstance.workerUuid"},
    "service_instance": {"state": "state"},
}
# Tables whose rows are the last records of a topic; the others are in the index of their name.
TOPIC_OF = {"flows": "flow", "executions": "execution", "triggers": "trigger", "executorstate": "executor_state",
            "executordelayed": "executor_delayed", "execution_queued": "executor_queued",
            "worker_job_running": "workertaskrunning", "service_instance": "workerinstance"}
MESSAGES = {
    "models.executions.Execution": "execution", "models.flows.FlowWithSource": "flow", "models.triggers.Trigger": "trigger",
    "runners.WorkerJob": "workertask", "runners.WorkerTaskResult": "workertaskresult",
    "models.executions.ExecutionKilled": "executor_killed", "models.executions.LogEntry": "logs",
    "models.executions.MetricEntry": "metrics"}
KINDS = {topic: kind for kind, topic in MESSAGES.items()}
# What each consumer group reads.
GROUPS = {"executor": ("execution", "workertaskresult"), "worker": ("workertask",), "scheduler": ("execution",),
          "indexer": ("execution", "flow", "trigger", "logs", "metrics")}
_LOCKS = re.compile(r" FOR UPDATE( SKIP LOCKED)?")

sqlite3.register_converter("JSON", lambda text: values.loads(text.decode()))


class Feed:
    """What one consumer group has yet to take: read ahead by a thread of its own, ticked off by the loops."""

    def __init__(self, topics, group, log):
        self.topics, self.group, self.log = topics, group, log
        self._left, self._taken, self._lock = deque(), {}, threading.Lock()
        self._stop, self.settled, self._settle = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer-" + group, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                with self.topics.member(self.group, GROUPS[self.group]) as consumer:
                    while not self._stop.is_set():
                        self._read(consumer)
                    self._commit(consumer)
            except TopicsError as error:
                self.log.error("%s: %s", self.group, error)
                # What was read and not taken comes again.
                with self._lock:
                    self._left.clear()
                    self._taken.clear()
                self._stop.wait(1)

    def _read(self, consumer):
        for part, batch in consumer.poll(timeout_ms=300).items():
            with self._lock:
                self._left.extend(((part.topic, part.partition, record.offset), self.topics.kind(part.topic),
                                   record.key.decode(), record.value and values.loads(record.value.decode()),
                                   record.timestamp / 1000) for record in batch)
        self._commit(consumer)
        if self._settle.is_set() and not self._left and consumer.assignment():
            ends = consumer.end_offsets(list(consumer.assignment()))
            if all(consumer.position(part) >= end for part, end in ends.items()) and not self._left:
                self._commit(consumer)
                self.settled.set()

    def _commit(self, consumer):
        with self._lock:
            taken, self._taken = self._taken, {}
        if taken:
            self.topics.commit(consumer, taken)

    def peek(self, kinds, limit, older_than):
        """The first messages of some kinds, [(offset, kind, key, value)]; they stay until they are done()."""
        wanted = {MESSAGES[kind] for kind in kinds}
        before = time.time() - older_than
        with self._lock:
            found = [one for one in self._left if one[1] in wanted and one[4] <= before][:limit]
        return [(offset, KINDS[topic], key, value) for offset, topic, key, value, _at in found]

    def done(self, offsets):
        """Tick messages off."""
        offsets = set(offsets)
        with self._lock:
            self._left = deque(one for one in self._left if one[0] not in offsets)
            for topic, partition, offset in offsets:
                self._taken[topic, partition] = max(offset + 1, self._taken.get((topic, partition), 0))

    def settle(self):
        """From now on say (settled) when everything there is was taken."""
        self._settle.set()

    def close(self):
        """Leave the group."""
        self._stop.set()
        self._thread.join(20)


class Work(BaseWork):
    """The statements, inside one transaction. What they change is told to the topics and indices before it ends."""

    HAS_TRIGGERS = "json_extract(value, '$.triggers') IS NOT NULL"
    LATEST_FLOWS = (
        "flows AS latest JOIN (SELECT namespace, id, max(revision) AS revision FROM flows GROUP BY namespace, id)"
        " AS newest USING (namespace, id, revision)")

    def __init__(self, store, connection):
        super().__init__(store, connection)
        self.records, self.indexed, self.taken = {}, {}, {}

    def run(self, text, arguments=None):
        """Run a statement; its cursor. Nobody else is at work meanwhile, so nothing has to be locked."""
        return self.connection.execute(_LOCKS.sub("", text).replace("%s", "?"), arguments or ())

    @contextlib.contextmanager
    def savepoint(self):
        """A nested transaction, so that one bad message does not undo its neighbours."""
        self.run("SAVEPOINT message")
        before = dict(self.records), dict(self.indexed)
        try:
            yield
        except BaseException:
            self.run("ROLLBACK TO SAVEPOINT message")
            self.records, self.indexed = before
            raise
        finally:
            self.run("RELEASE SAVEPOINT message")

    @staticmethod
    def mentions(text):
        """(condition, arguments) for flows with the words of a text."""
        words = ["%%%s%%" % word for word in re.findall("[a-zA-Z0-9]+", text)]
        return " AND ".join(["latest.namespace || ' ' || latest.id LIKE %s"] * len(words)) or "false", words

    # documents -------------------------------------------------------------------------------------------------

    def tell(self, table, key, value):
        """Let the topic or the index of a table know of a document; None: that it is gone."""
        if table in TOPIC_OF:
            self.records[TOPIC_OF[table], key] = value
        else:
            self.indexed[table, key] = value

    def keep(self, table, key, value):
        """Insert or replace a document here, and tell nobody. Of a flow or a dashboard it holds the source."""
        source = value.get("source") if table in ("flows", "dashboards") else None
        if source is not None:
            value = {name: one for name, one in value.items() if name != "source"}
        self.run("INSERT OR REPLACE INTO %s (key, value, source_code) VALUES (%%s, %%s, %%s)" % table,
                 (key, values.dumps(value), source))

    def put(self, table, key, value, source_code=None):
        """Insert or replace a document."""
        whole = value if source_code is None else dict(value, source=source_code)
        self.keep(table, key, whole)
        self.tell(table, key, whole)

    def add(self, table, key, value):
        """Insert a document unless its key exists; True when it was inserted."""
        if self.one("SELECT 1 FROM " + table + " WHERE key = %s", (key,)):
            return False
        self.put(table, key, value)
        return True

    def add_many(self, table, documents):
        """Insert (key, document) pairs in one go."""
        for key, value in documents:
            self.put(table, key, value)

    def delete(self, table, key):
        """Delete a document; True when there was one."""
        found = super().delete(table, key)
        if found:
            self.tell(table, key, None)
        return found

    def remove(self, table, where, arguments):
        """Delete rows under a condition; returns how many."""
        keys = [row[0] for row in self.rows("SELECT key FROM " + table + " WHERE " + where, arguments)]
        return sum(self.delete(table, key) for key in keys)

    def claim(self, table, where, arguments, order, limit):
        """[(key, document)] of the first rows."""
        return self.documents(table, where, arguments, "ORDER BY %s LIMIT %d" % (order, limit))

    def load(self, table, columns, rows):
        """Documents of a Kestra that has run for long: straight into the indices, flows into their topic too."""
        number = 0
        for row in rows if table != "queues" else ():
            line = dict(zip(columns, row))
            value = values.loads(line["value"])
            if line.get("source_code") is not None:
                value["source"] = line["source_code"]
            if table == "flows":
                self.tell(table, line["key"], value)
            self.index(table, line["key"], value)
            number += 1
        return number

    # queues ----------------------------------------------------------------------------------------------------

    def emit(self, kind, key, value, group=None):
        """Put a message into the queue. kind is the class name below io.kestra.core."""
        self.records[MESSAGES[kind], key] = value

    def poll(self, consumer, kinds, limit, older_than=0.0):
        """[(offset, kind, key, value)] not yet taken by the consumer."""
        if consumer not in GROUPS:
            return []
        messages = self.store.feed(consumer).peek(kinds, limit, older_than)
        if consumer == "indexer":
            return messages
        # Somebody deleted what a record of the key said.
        self.consumed(consumer, [one[0] for one in messages if one[3] is None])
        return [one for one in messages if one[3] is not None]

    def consumed(self, consumer, offsets):
        """Mark messages as taken by the consumer. What the indexer has taken is in the indices."""
        self.taken.setdefault(consumer, []).extend(offsets)
        if consumer == "indexer":
            wanted = set(offsets)
            for offset, kind, key, value in self.store.feed(consumer).peek(tuple(MESSAGES), None, 0.0):
                if offset in wanted and MESSAGES[kind] in ("execution", "flow", "trigger"):
                    self.index({"execution": "executions", "flow": "flows", "trigger": "triggers"}[MESSAGES[kind]], key, value)

    def index(self, table, key, value):
        """Write a document into the index of its table; None: it is gone. Flows have two, one for all revisions."""
        if table != "flows":
            self.indexed[table, key] = value
        elif value is not None:
            self.indexed["flows_revisions", key] = value
            last = model.uid(value.get("tenantId"), value["namespace"], value["id"])
            if value["revision"] >= self.last_revision(value["namespace"], value["id"]):
                self.indexed["flows", last] = value

    def purge_queue(self, _retention):
        """Kafka does that by itself."""
        return 0


class Store(BaseStore):
    """Indices and topics of one stand-in process, which has to be the only one. settings: elasticsearch, kafka."""

    engine = "elasticsearch"
    errors = (IndicesError, TopicsError, sqlite3.Error)
    work = Work
    single = True
    KEY, NOW = "key", "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    # Messages of the past are not made up.
    CONSUMED: dict = {}

    def __init__(self, settings):
        super().__init__(settings)
        self.indices, self.topics = Indices(settings["elasticsearch"]), Topics(settings["kafka"])
        self._lock, self._feeds, self._log = threading.Lock(), {}, None
        self._memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None,
                                       detect_types=sqlite3.PARSE_DECLTYPES)
        for table, columns in TABLES.items():
            made = ["%s AS (coalesce(json_extract(value, '$.%s'), %s))" % (name, path, "0" if name == "deleted" else "NULL")
                    for name, path in columns.items()]
            self._memory.execute("CREATE TABLE %s (%s)" % (table, ", ".join(
                ["key TEXT PRIMARY KEY", "value JSON NOT NULL", "source_code TEXT"] + made)))

    # the dialect -----------------------------------------------------------------------------------------------

    @staticmethod
    def text(path):
        """The text at a path of the document."""
        return "json_extract(value, '$.%s')" % path

    @staticmethod
    def among(column, entries):
        """(condition, arguments): a column is one of some texts."""
        return "%s IN (%s)" % (column, ", ".join("%s" for _entry in entries)), list(entries)

    @staticmethod
    def started(comparison):
        """Condition: an execution's start compared with a date and time in ISO form."""
        return "start_date %s %%s" % comparison

    @staticmethod
    def up_to_level():
        """Condition: a log line is of a level or graver."""
        return "instr('%s', level) <= instr('%s', %%s)" % (LEVELS, LEVELS)

    # transactions ----------------------------------------------------------------------------------------------

    @staticmethod
    def is_away(error):
        """True when a server cannot be reached or refuses."""
        return isinstance(error, (IndicesError, TopicsError))

    @contextlib.contextmanager
    def tx(self):
        """One transaction, one at a time: a Work. It counts once the topics and indices have taken what it says."""
        with self._lock:
            self._memory.execute("BEGIN")
            work = self.work(self, self._memory)
            try:
                yield work
                self.topics.send_all(work.records)
                self.indices.put_all(work.indexed)
            except BaseException:
                self._memory.execute("ROLLBACK")
                raise
            self._memory.execute("COMMIT")
            for consumer, offsets in work.taken.items():
                self.feed(consumer).done(offsets)

    def preparing(self, tables):
        """One transaction like any other: this process is the only one, and indices come with their documents."""
        return self.tx()

    def feed(self, consumer):
        """The Feed of a consumer group, which is joined by that."""
        if consumer not in self._feeds:
            self._feeds[consumer] = Feed(self.topics, consumer, self._log)
        return self._feeds[consumer]

    def ping(self):
        """The server's product and version; raises when Elasticsearch or Kafka is away."""
        version = self.indices.version()
        with self._lock:
            self.topics.exists("flow")
        return {"database": "Elasticsearch", "version": version}

    def analyze(self):
        """Nothing plans anything here."""

    def sizes(self):
        """{index: [documents, bytes]} and the bytes of all."""
        found = self.indices.sizes()
        return found, sum(size for _number, size in found.values())

    # start and end ---------------------------------------------------------------------------------------------

    def migrate(self, version, log):
        """Make the indices and topics that are missing, and read what the topics and indices hold."""
        self._log = log
        self.indices.prepare()
        self.topics.prepare({**{topic: {"cleanup.policy": "delete"} for topic in MESSAGES.values()},
                             **{topic: KEPT for topic in TOPIC_OF.values()}})
        last = self.topics.last(tuple(TOPIC_OF.values()))
        with self._lock:
            work = self.work(self, self._memory)
            for table in TABLES:
                if table not in TOPIC_OF or table == "executions":
                    for key, value in self.indices.documents(table):
                        work.keep(table, key, value)
                for key, value in last.get(TOPIC_OF.get(table), {}).items():
                    if value is not None:
                        work.keep(table, key, value)
        if enterprise.edition() != "EE":
            raise ConfigurationError("Elasticsearch and Kafka are the Enterprise Edition's; this is the open-source face")
        log.info("%s has %d flows in its queue", NAME, len(last["flow"]))
        return 0

    def close(self):
        """What the indexer has not taken yet goes into the indices first, as when Kestra ends in order."""
        if "indexer" in self._feeds:
            feed, until = self._feeds["indexer"], time.monotonic() + 20
            feed.settle()
            while not feed.settled.wait(0.05) and time.monotonic() < until:
                self._index_rest()
        for feed in self._feeds.values():
            feed.close()
        self.topics.close()

    def _index_rest(self):
        with self.tx() as work:
            messages = work.poll("indexer", tuple(MESSAGES), 500)
            for kind, table in (("models.executions.LogEntry", "logs"), ("models.executions.MetricEntry", "metrics")):
                work.add_many(table, [(key, value) for _offset, found, key, value in messages if found == kind])
            work.consumed("indexer", [one[0] for one in messages])
