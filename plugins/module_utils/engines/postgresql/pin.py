# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One moment of a database, held still: a snapshot exported by a session that keeps every table locked for readers.

While it is held, Kestra may run: its rows change, but what the snapshot shows does not, and no table can be altered or
dropped under the dump (pg_dump alone locks them only after its own start). When the holding session is lost, so is the
moment: everything that relies on it must stop.
"""
from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from ...core.clock import utc_text
from ...core.errors import DrError, RefusedError
from . import connect, definitions, inventory, names, timezones

# Seconds between signs of life while nothing else is asked of the session.
_HEARTBEAT = 1.0
_ATTEMPTS = 5

_HOLDERS = """
SELECT a.pid, a.usename, a.application_name, c.relname
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
  JOIN pg_catalog.pg_class c ON c.oid = l.relation
 WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.database =
       (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
   AND a.pid <> pg_catalog.pg_backend_pid() LIMIT 5"""


class PinLostError(DrError):
    """The session that held the snapshot is gone: nothing taken from it counts."""

    reason = "pin_lost"


@dataclass
class Measured:
    """What was read inside the snapshot. counts: exact, per table. newest: {table: UTC text}."""

    counts: dict = field(default_factory=dict)
    newest: dict = field(default_factory=dict)
    objects: dict = field(default_factory=dict)
    timezone: dict = field(default_factory=dict)


class Pin:
    """Holds the moment. Use as a context manager: open on entry, released on exit.

    schemas: only these (None: all). lock_timeout: seconds to wait for a table somebody is altering.
    """

    def __init__(self, login, database, *, schemas=None, lock_timeout=10.0):
        self._login, self._database = login, database
        self._schemas, self._lock_timeout = schemas, lock_timeout
        self._connection = None
        self._psycopg = connect.driver()
        self._measuring = None
        self._stop = threading.Event()
        self._lost = None
        self._failed = None
        self.relations: list = []
        self.snapshot = None
        self.server_time = None
        self.identity: dict = {}
        self.server_version = 0
        self.measured = Measured()

    def __enter__(self):
        try:
            self._connection = connect.connect(self._login, self._database, application="kestra_dr pin",
                                               autocommit=True)
            self._pin()
        except self._psycopg.Error as exc:
            self.release()
            raise connect.query_error(exc, f"pinning the database {self._database}") from None
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.release()
        if isinstance(value, self._psycopg.Error):
            raise connect.query_error(value, f"reading {self._database} in its snapshot") from None

    def _pin(self) -> None:
        """Locks first, then the snapshot, so that no table can change in between; until both show the same tables."""
        connection = self._connection
        who = inventory.role(connection)["name"]
        for _unused in range(_ATTEMPTS):
            wanted = inventory.relations(connection, self._schemas)
            inventory.require_privileges(wanted, who)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if not self._lock(wanted):
                connection.execute("ROLLBACK")
                continue
            # LOCK takes no snapshot; this query does.
            seen = inventory.relations(connection, self._schemas)
            if {(item.oid, item.name) for item in seen} == {(item.oid, item.name) for item in wanted}:
                self.relations = seen
                self._export()
                return
            connection.execute("ROLLBACK")
        raise RefusedError(f"Tables of {self._database} come and go all the time; no snapshot can be pinned.",
                           reason="schema_changing", hint="Wait until migrations have ended, then run again.")

    def _lock(self, wanted) -> bool:
        """ACCESS SHARE on every table. False when one has vanished since it was listed."""
        tables = [item.quoted for item in wanted if item.kind in ("r", "p")]
        if not tables:
            return True
        limit = f"{max(1, int(self._lock_timeout * 1000))}ms"
        self._connection.execute(f"SET LOCAL lock_timeout = '{limit}'; SET LOCAL statement_timeout = '{limit}'")
        try:
            # ONLY, because every partition and child is in the list by itself.
            self._connection.execute("LOCK TABLE ONLY " + ", ONLY ".join(tables) + " IN ACCESS SHARE MODE")
        except self._psycopg.errors.UndefinedTable:
            return False
        except (self._psycopg.errors.LockNotAvailable, self._psycopg.errors.QueryCanceled):
            self._connection.execute("ROLLBACK")
            raise blocked(self._connection, self._database, self._lock_timeout) from None
        self._connection.execute("SET LOCAL statement_timeout = 0")
        return True

    def _export(self) -> None:
        row = self._connection.execute(
            "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.transaction_timestamp()").fetchone()
        self.snapshot, self.server_time = row[0], utc_text(row[1])
        self.identity = inventory.identity(self._connection)
        self.server_version = self._connection.info.server_version

    def newest_heartbeat(self):
        """The latest heartbeat of a Kestra server in the snapshot as UTC text, or None. The table is tiny."""
        for relation in self.relations:
            if relation.table == "service_instance" and relation.has_rows:
                return inventory.count(self._connection, relation)[1]
        return None

    def database_facts(self) -> dict:
        """{settings, grantees, database_bytes (its size on the server's disk)} of the database."""
        return {"settings": inventory.database_settings(self._connection),
                "database_bytes": self._connection.execute(
                    "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())").fetchone()[0],
                "grantees": inventory.grantees(self._connection, self._schemas)}

    def measure(self, on_table=None) -> None:
        """Starts reading definitions and exact counts in the snapshot, beside whatever else runs.

        Afterwards the session is asked for a sign of life every second until release(). on_table(done, total).
        """
        self._measuring = threading.Thread(target=self._measure, args=(on_table,), name="pin", daemon=True)
        self._measuring.start()

    def _measure(self, on_table) -> None:
        try:
            before = definitions.read(self._connection, self._schemas)
            tables = [item for item in self.relations if item.has_rows]
            for done, relation in enumerate(tables):
                if self._stop.is_set():
                    return
                rows, newest = inventory.count(self._connection, relation)
                self.measured.counts[relation.name] = rows
                if newest:
                    self.measured.newest[relation.name] = newest
                if on_table:
                    on_table(done + 1, len(tables))
            self.measured.timezone = timezones.inspect(self._connection, self.relations).facts()
            self.measured.objects = before
            while not self._stop.wait(_HEARTBEAT):
                self._connection.execute("SELECT 1")
        except self._psycopg.Error as exc:
            if not self._stop.is_set():
                self._note(exc)
        except Exception as exc:  # raised again where the caller looks
            self._failed = exc

    def _note(self, exc) -> None:
        text = " ".join(str(exc).split()).rstrip(".") or type(exc).__name__
        if self._connection.broken or self._connection.closed:
            self._lost = PinLostError(
                f"The session that held the snapshot of {self._database} was lost: {text}. The dump is void.",
                hint="Kestra may run on; run the backup again. Look for a server restart, a failover, or a "
                     "pg_terminate_backend in the server's log.")
        else:
            self._failed = connect.query_error(exc, "counting rows in the snapshot")

    def check(self) -> None:
        """Raises PinLostError when the moment is lost, or what reading in it has raised."""
        if self._lost:
            raise self._lost
        if self._failed:
            raise self._failed

    def settle(self) -> None:
        """Like check(), but gives a session that is just being lost the time to notice it."""
        until = time.monotonic() + 2 * _HEARTBEAT + 1
        while time.monotonic() < until:
            self.check()
            time.sleep(0.1)

    def finish(self) -> Measured:
        """Waits for the reading, proves that the session has lived to here and definitions are unchanged."""
        while not self.measured.objects:
            self.check()
            time.sleep(0.05)
        self._stop.set()
        self._measuring.join()
        self.check()
        try:
            # Functions cannot be locked, and pg_dump prints them as they are now, not as the snapshot has them.
            after = definitions.read(self._connection, self._schemas)
        except self._psycopg.Error as exc:
            self._note(exc)
            self.check()
        changed = [item for item in definitions.compare(self.measured.objects, after) if item["kind"] != "sequences"]
        if changed:
            raise RefusedError(
                f"Definitions in {self._database} changed while it was dumped ({changed[0]['kind']}: "
                f"{changed[0]['name']}).", reason="schema_changing",
                hint="Do not upgrade Kestra during a backup; run it again.", detail={"changed": changed[:20]})
        return self.measured

    def release(self) -> None:
        """Lets go: locks and snapshot end with the session."""
        self._stop.set()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._measuring is not None and self._measuring.is_alive():
            connection.cancel()
            self._measuring.join(10)
        connection.close()


def blocked(connection, database, seconds) -> RefusedError:
    """The error for a table that stayed locked, naming who holds it. connection: outside of a failed transaction."""
    holders = [{"pid": pid, "user": user, "application": application, "table": table}
               for pid, user, application, table in connection.execute(_HOLDERS)]
    by = "; ".join(f"{item['user']} (pid {item['pid']}, {item['application'] or 'no name'}) holds {item['table']}"
                   for item in holders)
    return RefusedError(f"A table of {database} is being altered, and was not free within {seconds:g} s"
                        + (f": {by}." if by else "."), reason="lock_timeout",
                        hint="Wait until that has ended (a migration of Kestra, maintenance), then run again.",
                        detail={"holders": holders})


def exact(tables, relations) -> list:
    """The relations named by tables (flows, public.flows, public."Odd name"). Raises RefusedError for unknown ones."""
    chosen = []
    for text in tables:
        parts = names.parse(text)
        matches = [item for item in relations if item.has_rows and (item.schema, item.table)[-len(parts):] == parts]
        if not matches:
            raise RefusedError(f"There is no table {text} in the database.", reason="table_missing",
                               hint="Correct exclude_table_data.")
        chosen += matches
    return chosen
