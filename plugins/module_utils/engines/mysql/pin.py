# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One moment of a schema, seen by two sessions: mysqldump's, and one that counts.

MySQL cannot export a snapshot. So the moment is made: one session locks all tables of the schema for reading, which
waits until every transaction that wrote to them has ended, and lets no other begin to. While that lock is held, the
counting session opens its snapshot, and mysqldump is started and opens its own. The lock is given back when the first
table's definition has come out of mysqldump, which it writes after its START TRANSACTION and not before. Nothing can
have changed in between, so both snapshots show the same rows.

It takes SELECT and LOCK TABLES on the schema; FLUSH TABLES WITH READ LOCK would take RELOAD, which managed servers do not
give. It costs: writers wait for as long as mysqldump takes to start (locked_seconds in the result; nobody waits in the
mode pinned, where Kestra is stopped).
"""
from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field

from ...core import clock
from ...core.errors import RefusedError
from . import connect, definitions, inventory, names

_ATTEMPTS = 5
# The definition is another one than the snapshot's; there is no such table, routine, trigger, event; a view's is gone.
CHANGED = (1412, 1146, 1305, 1360, 1539, 1356)

_HOLDERS = """
SELECT DISTINCT t.PROCESSLIST_ID, t.PROCESSLIST_USER, m.OBJECT_NAME
  FROM performance_schema.metadata_locks m JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID
 WHERE m.OBJECT_SCHEMA = %s AND m.LOCK_STATUS = 'GRANTED' AND m.LOCK_TYPE IN
       ('SHARED_WRITE', 'SHARED_UPGRADABLE', 'SHARED_NO_WRITE', 'SHARED_NO_READ_WRITE', 'EXCLUSIVE')
   AND t.PROCESSLIST_ID <> CONNECTION_ID() LIMIT 5"""


@dataclass
class Measured:
    """What was read in the moment. counted: {table: inventory.Count}. objects: definitions.read()."""

    counted: dict = field(default_factory=dict)
    objects: dict = field(default_factory=dict)

    @property
    def counts(self) -> dict:
        """{table: rows}"""
        return {name: item.rows for name, item in self.counted.items()}

    @property
    def newest(self) -> dict:
        """{table: UTC text of its newest row}"""
        return {name: item.newest for name, item in self.counted.items() if item.newest}


class Pin:
    """Makes the moment. Use as a context manager: locked on entry; release() when mysqldump has its snapshot.

    lock_timeout: seconds to wait for transactions that write, or for a table somebody is altering.
    """

    def __init__(self, login, database, *, lock_timeout=10.0):
        self._login, self._database, self._timeout = login, database, lock_timeout
        self._locker = self._reader = None
        self._driver = connect.driver()
        self._measuring = None
        self._stop = threading.Event()
        self._failed = None
        self._locked = 0.0
        self.locked_seconds = None
        self.tables: list = []
        self.identity: dict = {}
        self.time_zones = False
        self.server_time = None
        self.server_version: tuple = ()
        self.measured = Measured()

    def __enter__(self):
        try:
            self._locker = connect.connect(self._login, self._database, application="kestra_dr pin")
            self._reader = connect.connect(self._login, self._database, application="kestra_dr count")
            self._pin()
        except self._driver.Error as exc:
            self.close()
            raise connect.query_error(exc, f"pinning the database {self._database}") from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def _pin(self) -> None:
        for _unused in range(_ATTEMPTS):
            wanted = inventory.tables(self._locker, self._database)
            require_snapshots(wanted)
            if not self._lock(wanted):
                continue
            # Definitions cannot change any more, and none was added in between.
            seen = inventory.tables(self._reader, self._database)
            if [item.name for item in seen] == [item.name for item in wanted]:
                self.tables = seen
                self._facts()
                return
            self._locker.rows("UNLOCK TABLES")
        raise RefusedError(f"Tables of {self._database} come and go all the time; no moment can be pinned.",
                           reason="schema_changing", hint="Wait until migrations have ended, then run again.")

    def _lock(self, wanted) -> bool:
        """READ on every table. False when one has vanished since it was listed."""
        if not wanted:
            return True
        self._locker.rows(f"SET SESSION lock_wait_timeout = {max(1, round(self._timeout))}")
        started = time.monotonic()
        try:
            self._locker.rows("LOCK TABLES " + ", ".join(f"{names.quoted(item.name)} READ" for item in wanted))
        except self._driver.Error as exc:
            if connect.code(exc) == 1146:
                return False
            if connect.code(exc) == 1205:
                raise self._blocked() from None
            raise
        self._locked = started
        return True

    def _facts(self) -> None:
        self._reader.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        self.server_time = clock.utc_text(clock.parse_utc(
            self._reader.value("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")))
        self.identity = inventory.identity(self._reader, self._database)
        self.time_zones = inventory.time_zones(self._reader)
        self.server_version = self._reader.version

    def _blocked(self) -> RefusedError:
        """The error for tables that stayed in use, naming who uses them where this account may know."""
        holders = []
        try:
            holders = [{"id": row[0], "user": row[1], "table": row[2]}
                       for row in self._reader.rows(_HOLDERS, (self._database,))]
        except self._driver.Error:
            pass  # performance_schema is closed to this account
        by = "; ".join(f"{item['user']} (connection {item['id']}) at {item['table']}" for item in holders)
        return RefusedError(f"The tables of {self._database} were not free within {self._timeout:g} s"
                            + (f": {by}." if by else "."), reason="lock_timeout",
                            hint="A transaction that writes, or a migration, is under way: wait until it has ended, then run "
                                 "again. Writers that never pause give way after as many locks as the server's "
                                 "max_write_lock_count says.", detail={"holders": holders})

    def overdue(self) -> bool:
        """Whether writers have waited for longer than lock_timeout."""
        return self._locked > 0 and time.monotonic() - self._locked > self._timeout

    def define(self) -> None:
        """Reads the definitions of the moment. Nobody can change a table's while the lock is held, and it takes no longer
        than mysqldump takes to start."""
        try:
            with letting_go(self._reader):
                self.measured.objects = definitions.read(self._reader, self._database)
        except self._driver.Error as exc:
            raise reading_error(exc, self._database) from None

    def release(self) -> None:
        """Gives the lock back: both snapshots are open. Starts to count in ours."""
        self._locker.rows("UNLOCK TABLES")
        self.locked_seconds = round(time.monotonic() - self._locked, 3) if self._locked else 0.0
        self._measuring = threading.Thread(target=self._measure, name="pin", daemon=True)
        self._measuring.start()

    def newest_heartbeat(self):
        """The latest heartbeat of a Kestra server in the snapshot as UTC text, or None. Before release() only."""
        for table in self.tables:
            if table.name == "service_instance":
                with letting_go(self._reader):
                    return inventory.count(self._reader, table).newest
        return None

    def _measure(self) -> None:
        try:
            for table in self.tables:
                if self._stop.is_set():
                    return
                with letting_go(self._reader):
                    self.measured.counted[table.name] = inventory.count(self._reader, table)
            self._reader.rows("ROLLBACK")
        except self._driver.Error as exc:
            if not self._stop.is_set():
                self._failed = reading_error(exc, self._database)
        except Exception as exc:  # raised again where the caller looks
            self._failed = exc

    def check(self) -> None:
        """Raises what counting has raised."""
        if self._failed:
            raise self._failed

    def finish(self) -> Measured:
        """Waits for the counts, and proves that no definition has changed since the lock."""
        self._measuring.join()
        self.check()
        try:
            with connect.connect(self._login, self._database) as session:
                after = definitions.read(session, self._database)
        except self._driver.Error as exc:
            raise reading_error(exc, self._database) from None
        before = dict(self.measured.objects, auto_increment={})
        changed = definitions.compare(before, dict(after, auto_increment={}))
        if changed:
            raise changing(self._database, f"{changed[0]['kind']}: {changed[0]['name']}", changed[:20])
        return self.measured

    def close(self) -> None:
        """Ends both sessions, and with them lock and snapshot."""
        self._stop.set()
        for session in (self._locker, self._reader):
            if session is not None and (session is self._locker or self._measuring is None
                                        or not self._measuring.is_alive()):
                session.close()
        if self._measuring is not None and self._measuring.is_alive():
            self._kill()
            self._measuring.join(10)
            self._reader.close()

    def _kill(self) -> None:
        """Ends a count that is under way: an account may always end its own."""
        try:
            with connect.connect(self._login) as session:
                session.rows(f"KILL {self._reader.id}")
        except (self._driver.Error, connect.ConnectError):
            pass  # it ends with its server, or with this process


@contextlib.contextmanager
def letting_go(session):
    """Keeps the snapshot, but no table: whoever wants to alter one would wait, and everybody else behind it, mysqldump
    among them. mysqldump does the same between tables."""
    session.rows("SAVEPOINT kestra_dr")
    yield
    session.rows("ROLLBACK TO SAVEPOINT kestra_dr")


def require_snapshots(tables) -> None:
    """Refuses tables whose engine has no snapshots: they would be dumped as of some other moment. Pure."""
    odd = [table for table in tables if table.engine != "InnoDB"]
    if odd:
        raise RefusedError(f"The table {odd[0].name} is kept by the engine {odd[0].engine}, which knows no snapshots.",
                           reason="engine_unsupported", hint="Kestra's tables are InnoDB: ALTER TABLE … ENGINE=InnoDB, "
                           "or move that table to another database.",
                           detail={"tables": [f"{table.name}: {table.engine}" for table in odd]})


def changing(database, what, changed=()) -> RefusedError:
    """The error for a definition that changed under a dump."""
    return RefusedError(f"Definitions in {database} changed while it was dumped ({what}).", reason="schema_changing",
                        hint="Do not upgrade Kestra during a backup; run it again.", detail={"changed": list(changed)})


def reading_error(exc, database):
    """The error for counts or definitions that could not be read; what has vanished or changed meanwhile is told."""
    if connect.code(exc) in CHANGED:
        return changing(database, str(exc.args[1]))
    return connect.query_error(exc, f"reading {database} in its moment")
