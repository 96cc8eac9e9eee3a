# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in says to every database the same way: connections, migrations, and the statements all understand.

What differs is told by one module for each database (postgresql, mysql, elasticsearch), with a Store and a Work that complete these.
"""
from __future__ import annotations

import contextlib
import importlib
import queue
import sys
import threading
import time
import zlib

from . import values
from .config import ConfigurationError

DRIVERS = {"postgresql": "psycopg (3.1 or later)", "mysql": "PyMySQL (1.0 or later)",
           "elasticsearch": "kafka-python (3.0 or later)"}
CORE = "io.kestra.core."
CONSUMERS = ("indexer", "executor", "worker", "scheduler", "flow_topology")


def store(engine, settings):
    """The Store of a database. Its driver has to be there, that of another one need not."""
    try:
        module = importlib.import_module("." + engine, __package__)
    except ImportError as missing:
        raise ConfigurationError("%s. It needs a Python with %s and PyYAML; KESTRA_STANDIN_PYTHON names one." % (
            missing, DRIVERS[engine])) from None
    return module.Store(settings)


def errors():
    """What the drivers in use raise, for an except clause."""
    modules = (sys.modules.get("%s.%s" % (__package__, engine)) for engine in DRIVERS)
    return tuple(one for module in modules if hasattr(module, "Store") for one in module.Store.errors)


class BaseStore:
    """The database of one stand-in process: a small pool of connections.

    A Store adds engine, errors, is_away(), connect(), transaction(), is_open(), disconnect(), ping(), analyze(),
    sizes(), what a migration needs, and how its SQL spells what every database spells in its own way: KEY, DOCUMENT, NOW,
    text(), among(), started(), up_to_level().
    """

    work = None
    # Whether one process has to be all of the instance.
    single = False

    def __init__(self, settings, size=12):
        self.settings = settings
        self._idle = queue.LifoQueue()
        self._room = threading.BoundedSemaphore(size)
        self._closed = False

    # connections -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def tx(self):
        """One transaction: a Work. Errors roll back; a connection that broke is dropped."""
        self._room.acquire()
        try:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                connection = self.connect()
            try:
                with self.transaction(connection):
                    yield self.work(self, connection)
            except BaseException:
                if not self.is_open(connection):
                    # What lies idle was made before the server went away: useless too.
                    self._drain()
                raise
            finally:
                if self._closed or not self.is_open(connection):
                    self.disconnect(connection)
                else:
                    self._idle.put(connection)
        finally:
            self._room.release()

    def _drain(self):
        while True:
            try:
                self.disconnect(self._idle.get_nowait())
            except queue.Empty:
                return

    def close(self):
        """Close what is idle; what is in use is closed when it is given back."""
        self._closed = True
        self._drain()

    # migrations ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def alone(self):
        """A connection that alone may change the schema; several processes may want it at once."""
        connection = self.connect()
        try:
            while not self.lock_migrations(connection):
                time.sleep(0.2)
            yield connection
        finally:
            self.disconnect(connection)

    @contextlib.contextmanager
    def preparing(self, tables):
        """A Work that alone fills tables of documents, which are made where they are missing."""
        with self.alone() as connection, self.transaction(connection):
            for table in tables:
                self.script(connection, "CREATE TABLE IF NOT EXISTS %s (%s varchar(250) NOT NULL PRIMARY KEY, value %s NOT NULL)" % (
                    table, self.KEY, self.DOCUMENT))
            yield self.work(self, connection)

    def migrate(self, version, log):
        """Bring the schema up to date. Returns how many steps ran."""
        with self.alone() as connection:
            known = self.migrated(connection)
            steps = self.migrations(version)
            pending = [step for step in steps if step[0] not in known]
            future = known - {step[0] for step in steps}
            if future:
                log.warning("Schema has a version (%s) that is newer than the latest available migration",
                            max(future, key=lambda text: [int(part) for part in text.split(".")]))
            if not pending:
                return 0
            if not known:
                log.info("Creating Schema History table ...")
                with self.transaction(connection):
                    self.script(connection, self.HISTORY_TABLE)
            for number, description, statements in pending:
                script = "V%s__%s.sql" % (number.replace(".", "_"), description.replace(" ", "_"))
                started = time.monotonic()
                with self.transaction(connection):
                    self.script(connection, statements)
                    self.work(self, connection).run(
                        "INSERT INTO flyway_schema_history (installed_rank, version, description, type, script,"
                        " checksum, installed_by, execution_time, success) SELECT coalesce(max(installed_rank), 0) + 1,"
                        " %s, %s, 'SQL', %s, %s, " + self.USER + ", %s, true FROM flyway_schema_history",
                        (number, description, script, zlib.crc32(statements.encode()) - (1 << 31),
                         int((time.monotonic() - started) * 1000)))
                log.info('Migrating schema to version "%s - %s"', number, description)
            return len(pending)


class BaseWork:
    """The statements, inside one transaction.

    A Work adds run(), savepoint(), stand_still(), put(), add(), add_many(), remove(), claim(), load(), the queues (emit(), poll(),
    consumed(), purge_queue()), and how flows are asked for: LATEST_FLOWS, HAS_TRIGGERS, mentions().
    """

    def __init__(self, store, connection):
        self.store, self.connection = store, connection

    def one(self, text, arguments=None):
        """First row of a query, or None."""
        return self.run(text, arguments).fetchone()

    def rows(self, text, arguments=None):
        """All rows of a query."""
        return list(self.run(text, arguments).fetchall())

    # documents -------------------------------------------------------------------------------------------------

    def get(self, table, key, lock=False, skip_locked=False):
        """The document with this key, or None; optionally locked for update."""
        tail = (" FOR UPDATE SKIP LOCKED" if skip_locked else " FOR UPDATE") if lock else ""
        row = self.one("SELECT value FROM " + table + " WHERE " + self.store.KEY + " = %s" + tail, (key,))
        return row[0] if row else None

    def delete(self, table, key):
        """Delete a document; True when there was one."""
        return self.run("DELETE FROM " + table + " WHERE " + self.store.KEY + " = %s", (key,)).rowcount > 0

    def documents(self, table, where="true", arguments=(), tail=""):
        """[(key, value)] with a condition over the generated columns."""
        return self.rows("SELECT " + self.store.KEY + ", value FROM " + table + " WHERE " + where + " " + tail,
                         arguments)

    def count(self, table, where="true", arguments=()):
        """Number of rows under a condition."""
        return self.one("SELECT count(*) FROM " + table + " WHERE " + where, arguments)[0]

    # questions -------------------------------------------------------------------------------------------------

    def flow(self, namespace, flow_id, revision=None):
        """(document, source) of a flow's given or latest revision that is not deleted, or None."""
        where = "namespace = %s AND id = %s"
        arguments = [namespace, flow_id]
        if revision is not None:
            where += " AND revision = %s"
            arguments.append(revision)
        row = self.one("SELECT value, source_code FROM flows WHERE " + where + " ORDER BY revision DESC LIMIT 1",
                       arguments)
        if row is None or (revision is None and row[0].get("deleted")):
            return None
        return row

    def last_revision(self, namespace, flow_id):
        """The highest revision of a flow, deleted ones too; 0 when there never was one."""
        return self.one("SELECT coalesce(max(revision), 0) FROM flows WHERE namespace = %s AND id = %s",
                        (namespace, flow_id))[0]

    def latest_flows(self, namespace=None, text=None, limit=None, offset=0, with_triggers=False):
        """([(document, source)], total) of the latest revisions that are not deleted."""
        where, arguments = "NOT deleted", []
        if namespace:
            where += " AND (namespace = %s OR namespace LIKE %s)"
            arguments += [namespace, namespace + ".%"]
        if text and text != "*":
            found, words = self.mentions(text)
            where += " AND " + found
            arguments += words
        if with_triggers:
            where += " AND " + self.HAS_TRIGGERS
        inner = "FROM " + self.LATEST_FLOWS + " WHERE " + where
        total = self.one("SELECT count(*) " + inner, arguments)[0]
        tail = "" if limit is None else " LIMIT %d OFFSET %d" % (limit, offset)
        return self.rows("SELECT value, source_code " + inner + " ORDER BY namespace, id" + tail, arguments), total

    def namespaces(self):
        """Names of all namespaces with a flow, their parents included."""
        found = set()
        for (name,) in self.rows("SELECT DISTINCT namespace FROM " + self.LATEST_FLOWS + " WHERE NOT deleted"):
            parts = name.split(".")
            found.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return sorted(found)

    def search(self, table, where, arguments, order, limit, offset):
        """([(key, value)], total) of one page. order: columns to sort by before the key."""
        total = self.count(table, where, arguments)
        tail = "ORDER BY %s LIMIT %d OFFSET %d" % (", ".join(list(order) + [self.store.KEY]), limit, offset)
        return self.documents(table, where, arguments, tail), total

    def heartbeat(self, services):
        """Write (key, document) of the process's own services; returns {key: state before}."""
        where, arguments = self.store.among(self.store.KEY, [key for key, _value in services])
        before = {key: value["state"] for key, value in self.documents(
            "service_instance", where, arguments, "ORDER BY " + self.store.KEY + " FOR UPDATE")}
        for key, value in services:
            self.put("service_instance", key, value)
        return before

    def lock_services(self):
        """[(key, document)] of all services that are not EMPTY, locked; busy ones are left out."""
        return self.documents("service_instance", "state <> 'EMPTY'", (),
                              "ORDER BY " + self.store.KEY + " FOR UPDATE SKIP LOCKED")

    @staticmethod
    def pairs(documents):
        """(key, JSON text) of (key, document) pairs."""
        return [(key, values.dumps(value)) for key, value in documents]
