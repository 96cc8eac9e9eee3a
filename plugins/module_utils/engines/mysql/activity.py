# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is Kestra at work on this database? Sessions of its user, and heartbeats its servers leave in service_instance."""
from __future__ import annotations

import time

from .. import heartbeats as states
from .. import standstill
from . import connect, names

_SESSIONS = """
SELECT p.ID, p.USER, p.HOST, p.COMMAND, p.TIME,
       (SELECT a.ATTR_VALUE FROM performance_schema.session_account_connect_attrs a
         WHERE a.PROCESSLIST_ID = p.ID AND a.ATTR_NAME = 'program_name')
  FROM performance_schema.processlist p
 WHERE p.DB = %s AND p.ID <> CONNECTION_ID() AND p.COMMAND <> 'Daemon' ORDER BY p.ID"""

_HEARTBEATS = """
SELECT service_id, service_type, state, value ->> '$.server.hostname',
       TIMESTAMPDIFF(MICROSECOND, updated_at, UTC_TIMESTAMP(6)) / 1000000
  FROM {table} WHERE state NOT IN %s AND updated_at > UTC_TIMESTAMP(6) - INTERVAL %s MICROSECOND ORDER BY updated_at DESC"""

# One number for all rows, whatever their order: a sum of digests.
_SUM = "CAST(COALESCE(SUM(CRC32(CAST(`value` AS CHAR))), 0) AS CHAR)"
_LOOK = {
    "executions": ("SELECT COALESCE(SUM(state_current = 'CREATED'), 0), COALESCE(SUM(state_current <> 'CREATED'), 0) FROM {table}",
                   ("created", "executions")),
    "executions under way": (f"SELECT {_SUM} FROM {{table}} WHERE state_current IN %s", ("under_way",)),
    "worker_job_running": (f"SELECT {_SUM} FROM {{table}}", ("held_by_workers",)),
    "logs": ("SELECT COUNT(*) FROM {table}", ("logs",)),
    "metrics": ("SELECT COUNT(*) FROM {table}", ("metrics",)),
    "queues": ("SELECT COALESCE(MAX(`offset`), 0) FROM {table}", ("messages",)),
    "triggers": (f"SELECT {_SUM} FROM {{table}}", ("triggers",)),
    "service_instance": (f"SELECT {_SUM} FROM {{table}}", ("heartbeats",)),
}


def sessions(session, database) -> list:
    """Sessions in a schema besides the asking one: [{pid, user, application, client, state, since, ours}].

    ours: opened by this collection with the same account. An account without PROCESS sees its own sessions only; which
    are Kestra's when it is Kestra's.
    """
    return [{"pid": row[0], "user": row[1], "application": row[5], "client": row[2] or None, "state": row[3].lower(),
             "since": None if row[4] is None else int(row[4]), "ours": (row[5] or "").startswith(connect.APPLICATION)}
            for row in session.rows(_SESSIONS, (database,))]


def heartbeats(session, database, within) -> list:
    """Kestra servers heard of during the last seconds by the database's clock: [{id, type, state, host, age_seconds}].

    [] also when there is no table service_instance (it exists since Kestra 0.17).
    """
    if not session.row("SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'service_instance'",
                       (database,)):
        return []
    rows = session.rows(_HEARTBEATS.format(table=names.quoted(database, "service_instance")),
                        (states.ENDED, int(within * 1000000)))
    return [{"id": row[0], "type": row[1], "state": row[2], "host": row[3], "age_seconds": round(float(row[4]), 3)}
            for row in rows]


def look(session, database) -> dict:
    """What standstill.compare takes, now."""
    found = dict.fromkeys(standstill.WORK + standstill.BESIDE)
    there = {row[0] for row in session.rows("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", (database,))}
    for name, (statement, fields) in _LOOK.items():
        table = name.split()[0]
        if table in there:
            arguments = (standstill.UNDER_WAY,) if "%s" in statement else None
            row = session.row(statement.format(table=names.quoted(database, table)), arguments)
            found.update(zip(fields, (one if isinstance(one, str) else int(one) for one in row)))
    return found


def observe(login, database, seconds) -> dict:
    """standstill.compare of two looks, so many seconds apart."""
    with connect.connect(login, database, application="kestra_dr activity") as session:
        try:
            before, begun = look(session, database), time.monotonic()
            time.sleep(seconds)
            return standstill.compare(before, look(session, database), time.monotonic() - begun)
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"looking for work on {database}") from None


def read(login, database, *, kestra_user, within=30.0) -> dict:
    """heartbeats.judge() of a schema now. within: seconds a heartbeat counts as fresh."""
    with connect.connect(login, database, application="kestra_dr activity") as session:
        try:
            return states.judge(sessions(session, database), heartbeats(session, database, within), kestra_user)
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"looking for activity on {database}") from None
