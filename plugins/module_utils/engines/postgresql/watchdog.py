# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices a restore that does nothing, by looking at what its sessions do on the server."""
from __future__ import annotations

import time

from ...core.errors import ToolError
from . import connect


class Watchdog:
    """Notices a restore that does nothing: no session of ours works on the server, and none takes in rows.

    A server session that waits for its client, or for a lock, is not at work; building an index is.
    """

    _QUERY = """
        SELECT a.pid, a.state, a.query_start, {copied},
               a.state = 'active' AND COALESCE(a.wait_event_type, '') NOT IN ('Client', 'Lock')
          FROM pg_catalog.pg_stat_activity a {joined}
         WHERE a.datname = %s AND a.application_name LIKE 'kestra_dr%%' AND a.pid <> pg_catalog.pg_backend_pid()
         ORDER BY 1"""

    def __init__(self, login, database, limit, every=2.0):
        self._login, self._database, self._limit, self._every = login, database, limit, every
        self._connection = None
        self._token = None
        self._looked = self._alive = time.monotonic()

    def tick(self) -> None:
        """Raises ToolError when nothing has happened for too long."""
        now = time.monotonic()
        if now - self._looked < self._every:
            return
        self._looked = now
        token, busy = self._look()
        if busy or token != self._token:
            self._token, self._alive = token, now
        if now - self._alive > self._limit:
            raise ToolError(f"The restore gave no sign of work for {self._limit:g} s and was ended.", reason="hung",
                            hint="The dump may be damaged, or a session on the target may hold a lock; see the "
                                 "server's log.")

    def _look(self):
        psycopg = connect.driver()
        try:
            if self._connection is None:
                self._connection = connect.connect(self._login, application="kestra_dr watch")
                progress = self._connection.info.server_version >= 140000
                self._query = self._QUERY.format(
                    copied="COALESCE(p.bytes_processed, 0)" if progress else "0",
                    joined="LEFT JOIN pg_catalog.pg_stat_progress_copy p ON p.pid = a.pid" if progress else "")
            rows = self._connection.execute(self._query, (self._database,)).fetchall()
            return [row[:4] for row in rows], any(row[4] for row in rows)
        except Exception as exc:
            # The watcher's own trouble is no verdict: a dead server ends the restore by itself.
            self.close()
            if not isinstance(exc, (psycopg.Error, connect.ConnectError)):
                raise
            return self._token, False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
