# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database nobody is connected to, whatever the server."""
from __future__ import annotations

import time

from ..core.errors import RefusedError
from . import heartbeats

# Seconds a session gets to end: one that was told to, or whose client has just gone.
_ENDING = 5.0


def require_free(databases, sessions, end, *, idle, client, terminate_idle_of=None, terminate_ours=False) -> None:
    """Raises RefusedError when a session stays on one of these databases, naming it.

    sessions: called with a database, lists its sessions. end: called with the pid of one that is to end. idle: the state
    of a session that waits for its client. client: the server's own client, for the hint. terminate_idle_of: a user
    whose idle sessions are ended. terminate_ours: end what this collection has left there.
    """
    for database in databases:
        found, until = sessions(database), time.monotonic() + _ENDING
        for item in found:
            if (terminate_ours and item["ours"]) or (
                    terminate_idle_of is not None and item["user"] == terminate_idle_of and item["state"] == idle):
                end(item["pid"])
        while found and time.monotonic() < until:
            time.sleep(0.1)
            found = sessions(database)
        if found:
            raise RefusedError(
                f"The database {database} is in use: {heartbeats.describe(found)}.", reason="database_in_use",
                hint=f"Stop what is connected (every Kestra server, monitoring, {client}), then run again.",
                detail={"database": database, "sessions": found})
