# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a script into a schema: definitions by one session, rows by several at once.

mysqldump's INSERT statements do not depend on each other, so those of one big table can be loaded side by side; that is
what takes the time of a restore. The statements go to the server as they are, without a client program, so nothing in
a script can be a command of such a program.
"""
from __future__ import annotations

import queue
import threading

from ...core.errors import ConnectError, RefusedError, ToolError
from . import connect, names, script

# What has no meaning in an empty schema nobody else uses, or would be wrong there.
_LEFT_OUT = ("gtid", "binlog", "lock", "keys", "use", "database", "statistics")
# Definitions that must not see rows come: a trigger would fire for them.
_AFTER_ROWS = ("view", "routine", "trigger", "event")
# Statements of rows that wait for a session: as many more are in memory.
_AHEAD = 2
_DEADLOCK, _LOCK_TIMEOUT = 1213, 1205
_ATTEMPTS = 5
# Nothing is told of the rows: a duplicate's message quotes it.
_QUIET = (1062, 1265, 1264, 1292, 1366, 1406, 3140, 3141)


class _Worker(threading.Thread):
    """One session that loads rows."""

    def __init__(self, session, statements):
        super().__init__(name="load", daemon=True)
        self._session, self._statements = session, statements
        self.error = None

    def run(self):
        while True:
            statement = self._statements.get()
            try:
                if statement is None:
                    return
                if self.error is None:
                    send(self._session, statement)
            except Exception as exc:  # raised again by the loader
                self.error = exc
            finally:
                self._statements.task_done()


class Loader:
    """Takes statements in their order. definers: accounts that may stay in definitions."""

    def __init__(self, login, database, streams, definers, idle_timeout):
        self._login, self._database, self._streams = login, database, streams
        self._definers, self._timeout = definers, idle_timeout
        self._main = None
        self._workers: list = []
        self._sessions: list = []
        self._prelude: list = []
        self._begun = False
        self._statements = queue.Queue(maxsize=streams * _AHEAD)
        self.rows: dict = {}

    def __enter__(self):
        self._main = self._connect()
        return self

    def _connect(self):
        session = connect.connect(self._login, self._database, application="kestra_dr load", read_timeout=self._timeout)
        self._sessions.append(session)
        return session

    def take(self, statement) -> None:
        """Runs one statement, or hands it to a session. Raises DrError, also for what an earlier one has met."""
        self.check()
        kind = statement.kind
        if kind in _LEFT_OUT or statement.name in names.OWN_TABLES:
            return
        if kind == "insert":
            self._dispatch(statement)
            return
        if kind == "set" and not self._begun:
            self._prelude.append(statement)
        elif kind != "set":
            self._begun = True
        if kind in _AFTER_ROWS:
            self.settle()
            statement.text = self._owned(statement.text)
        self._send(self._main, statement)

    def _owned(self, text) -> bytes:
        bare, definer = script.without_definer(text)
        return text if definer is None or definer in self._definers else bare

    def _dispatch(self, statement) -> None:
        if len(self._workers) < self._streams:
            session = self._connect()
            for item in self._prelude:
                self._send(session, item)
            worker = _Worker(session, self._statements)
            worker.start()
            self._workers.append(worker)
        while True:
            try:
                self._statements.put(statement, timeout=0.5)
                break
            except queue.Full:
                self.check()
        if statement.rows is not None:
            self.rows[statement.name] = self.rows.get(statement.name, 0) + statement.rows

    @staticmethod
    def _send(session, statement) -> None:
        try:
            send(session, statement)
        except connect.driver().Error as exc:
            raise explain(exc, statement) from None

    def settle(self) -> None:
        """Waits until all rows handed over are in."""
        self._statements.join()
        self.check()

    def check(self) -> None:
        """Raises what a session has met."""
        for worker in self._workers:
            if worker.error is not None:
                raise worker.error

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.settle()
        finally:
            if kind is not None:
                self._drain()
            for _unused in self._workers:
                self._statements.put(None)
            for session in self._sessions if kind is not None else ():
                session.close()
            for worker in self._workers:
                worker.join(30)
            for session in self._sessions:
                session.close()

    def _drain(self) -> None:
        """Rows nobody needs any more."""
        while True:
            try:
                self._statements.get_nowait()
                self._statements.task_done()
            except queue.Empty:
                return


def send(session, statement) -> None:
    """Runs a statement; again when sessions that load side by side were in each other's way. Raises DrError."""
    for attempt in range(_ATTEMPTS):
        try:
            session.send(statement.text)
            return
        except connect.driver().Error as exc:
            # The server has undone the whole statement; every one is a transaction by itself.
            again = connect.code(exc) in (_DEADLOCK, _LOCK_TIMEOUT) and statement.kind == "insert"
            if not again or attempt == _ATTEMPTS - 1:
                raise explain(exc, statement) from None
        except OSError as exc:
            raise ConnectError(f"The connection to the server was lost: {exc}.", reason="connection_lost",
                               hint="The half-made database is swept by the next attempt.") from None


def explain(exc, statement):
    """The DrError for a statement the server refused."""
    number = connect.code(exc)
    where = f"{statement.kind} {names.display(statement.name)}" if statement.name else statement.kind
    said = str(exc.args[1]) if len(exc.args) > 1 else str(exc)
    detail = {"code": number, "statement": script.shown(statement.text)}
    if number in (2013, 2006) and "timed out" in said:
        return ToolError(f"The server gave no answer in time to a statement ({where}); the restore was ended.",
                         reason="hung", detail=detail,
                         hint="A session on the target may hold a lock; see performance_schema.metadata_locks.")
    if number in (2013, 2006, 1053, 0, None):
        return ConnectError(f"The server went away during the restore ({where}): {said}.", reason="connection_lost",
                            hint="The half-made database is swept by the next attempt.", detail=detail)
    for numbers, reason, hint in (
            ((1153,), "packet_too_small", "Raise max_allowed_packet on the target server."),
            ((1021, 1114, 3675, 1030), "disk_full", "The target server's disk may be full; see its log."),
            ((1418, 1419), "privileges_missing", "SET GLOBAL log_bin_trust_function_creators = 1."),
            ((1044, 1142, 1227, 1370), "privileges_missing", "Grant the account what is missing."),
            ((3105, 1906), "generated_columns", "The dump holds values of generated columns, as MariaDB's mysqldump writes "
                                                "them. Make it again with MySQL's own mysqldump.")):
        if number in numbers:
            return RefusedError(f"The server refused a statement of the dump ({where}): {said}.", reason=reason, hint=hint,
                                detail=detail)
    if number in _QUIET:
        said = "its rows do not fit the table"
    return ToolError(f"The server refused a statement of the dump ({where}): {said} ({number}).",
                     reason="restore_failed", detail=detail)
