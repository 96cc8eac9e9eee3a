# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One big table loaded by several COPY streams at once.

Kestra's table logs is most of its database, and its generated columns make loading it a matter of the server's cores:
one stream keeps one core busy, however many jobs pg_restore has, since it gives each table to one of them.
The rows are the archive's own, cut between rows; nothing is lost or doubled because all streams commit, or none.
"""
from __future__ import annotations

import queue
import threading

from ...core.errors import DrError, IntegrityError
from . import connect, decode, names

# A table is big when it takes this share of all rows' bytes and is worth a second connection at all.
SMALLEST = 8 << 20
_WAITING = 8  # blocks per stream between reader and writers: bounds memory


def choose(sizes, streams, share) -> list:
    """Dump ids of the tables to load by several streams, the biggest first. Pure.

    sizes: {dump id: bytes}. share: 0 to 1 of all bytes; 0 switches it off.
    """
    total = sum(sizes.values())
    if streams < 2 or share <= 0 or not total:
        return []
    big = [dump_id for dump_id, size in sizes.items() if size >= SMALLEST and size >= share * total]
    return sorted(big, key=lambda dump_id: (-sizes[dump_id], dump_id))


class Loader:
    """Loads one entry into an existing, empty table without indexes. run() does it all."""

    def __init__(self, login, database, *, encoding, timezone, role=None, streams=2):
        self._login, self._database = login, database
        self._encoding, self._timezone, self._role = encoding, timezone, role
        self._streams = streams
        self._psycopg = connect.driver()
        self._blocks: queue.Queue = queue.Queue(streams * _WAITING)
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._error = None
        self._accepted = 0
        self.bytes = 0
        self.rows = 0

    def run(self, client, path, entry, tick=None, every=0.2) -> int:
        """Returns the number of rows loaded. tick() is called meanwhile; its exception ends everything.

        Raises DrError; then no row of the table has been committed.
        """
        connections = []
        try:
            for _unused in range(self._streams):
                connections.append(self._session())
            with decode.entry_rows(client, path, entry) as blocks:
                threads = [threading.Thread(target=self._read, args=(blocks,), name="reader", daemon=True)]
                threads += [threading.Thread(target=self._write, args=(connection, entry), daemon=True)
                            for connection in connections]
                for thread in threads:
                    thread.start()
                try:
                    self._watch(threads, tick, every)
                except BaseException:
                    self._fail(None)
                    for connection in connections:
                        connection.cancel()
                    raise
                finally:
                    self._stop.set()
                # The decoder is ended by its context before its reader is waited for, so neither can hang.
            for thread in threads:
                thread.join()
            if self._error:
                raise self._error
            if self._accepted != self.rows:
                raise IntegrityError(f"The server took {self._accepted} rows of {entry.name}, {self.rows} were sent.",
                                     reason="counts_differ")
            for connection in connections:
                connection.commit()
            return self.rows
        except self._psycopg.Error as exc:
            raise connect.query_error(exc, f"loading {entry.name}") from None
        finally:
            for connection in connections:
                connection.close()

    def _session(self):
        connection = connect.connect(self._login, self._database, application="kestra_dr copy")
        settings = [("client_encoding", self._encoding), ("synchronous_commit", "off"), ("TimeZone", self._timezone)]
        for name, value in settings:
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        if self._role:
            connection.execute(f"SET ROLE {names.quoted(self._role)}")
        connection.autocommit = False
        return connection

    def _watch(self, threads, tick, every) -> None:
        for thread in threads:
            while thread.is_alive() and self._error is None:
                thread.join(every)
                if tick:
                    tick()

    def _fail(self, error) -> None:
        with self._guard:
            if self._error is None:
                self._error = error if error is not None else IntegrityError("The load was given up.", reason="aborted")
        self._stop.set()

    def _read(self, blocks) -> None:
        try:
            for block in blocks:
                if not self._put(block):
                    return
                with self._guard:
                    self.bytes += len(block)
                    self.rows += block.count(b"\n")
            for _unused in range(self._streams):
                self._put(None)
        except Exception as exc:  # handed to the caller's thread
            self._fail(exc)

    def _put(self, block) -> bool:
        while not self._stop.is_set():
            try:
                self._blocks.put(block, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def _write(self, connection, entry) -> None:
        statement = entry.copy.strip().rstrip(";")
        try:
            with connection.cursor() as cursor:
                with cursor.copy(statement) as copy:
                    for block in iter(self._next, None):
                        copy.write(block)
                with self._guard:
                    self._accepted += cursor.rowcount
        except _GivenUp:
            return
        except DrError as exc:
            self._fail(exc)
        except self._psycopg.Error as exc:
            self._fail(connect.query_error(exc, f"loading {entry.name}"))
        except Exception as exc:  # handed to the caller's thread
            self._fail(exc)

    def _next(self):
        while True:
            try:
                return self._blocks.get(timeout=0.2)
            except queue.Empty:
                if self._stop.is_set():
                    raise _GivenUp() from None


class _GivenUp(Exception):
    """Ends a COPY without its rows because another stream has failed."""
