# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is Kestra at work on this database? Sessions of its user, and heartbeats its servers leave in service_instance."""
from __future__ import annotations

import time

from .. import standstill
from ..heartbeats import ENDED, judge
from . import connect, names

_SESSIONS = """
SELECT a.pid, a.usename::text, a.application_name, a.client_addr::text, a.state, a.backend_start,
       a.application_name LIKE 'kestra_dr%%' AND a.usename = current_user
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = %s AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.usesysid IS NOT NULL AND COALESCE(a.backend_type, 'client backend') IN ('client backend', 'walsender')
 ORDER BY a.backend_start"""

_HEARTBEATS = """
SELECT service_id, service_type, state, value #>> '{{server,hostname}}',
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - updated_at)
  FROM {table} WHERE state <> ALL (%s)
   AND updated_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %s)
 ORDER BY updated_at DESC"""

# One number for all rows, whatever their order: a sum of digests.
_SUM = "COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(value::text, 0)), 0)::text"
_LOOK = {
    "executions": ("SELECT pg_catalog.count(*) FILTER (WHERE state_current::text = 'CREATED'), "
                   "pg_catalog.count(*) FILTER (WHERE state_current::text <> 'CREATED') FROM {table}", ("created", "executions")),
    "executions under way": (f"SELECT {_SUM} FROM {{table}} WHERE state_current::text = ANY (%s)", ("under_way",)),
    "worker_job_running": (f"SELECT {_SUM} FROM {{table}}", ("held_by_workers",)),
    "logs": ("SELECT pg_catalog.count(*) FROM {table}", ("logs",)),
    "metrics": ("SELECT pg_catalog.count(*) FROM {table}", ("metrics",)),
    "queues": ('SELECT COALESCE(pg_catalog.max("offset"), 0) FROM {table}', ("messages",)),
    "triggers": (f"SELECT {_SUM} FROM {{table}}", ("triggers",)),
    "service_instance": (f"SELECT {_SUM} FROM {{table}}", ("heartbeats",)),
}


def sessions(connection, database) -> list:
    """Sessions on a database besides the asking one: [{pid, user, application, client, state, since, ours}].

    ours: opened by this collection with the same role. What the server hides from this role is null; the user never
    is. The server's own workers (autovacuum) have none and are no sessions.
    """
    rows = connection.execute(_SESSIONS, (database,))
    return [{"pid": row[0], "user": row[1], "application": row[2] or None, "client": row[3], "state": row[4],
             "since": None if row[5] is None else row[5].isoformat(), "ours": bool(row[6])} for row in rows]


def heartbeats(connection, schema, within) -> list:
    """Kestra servers heard of during the last seconds by the database's clock: [{id, type, state, host, age_seconds}].

    [] also when there is no table service_instance (it exists since Kestra 0.17).
    """
    table = connection.execute(
        "SELECT pg_catalog.to_regclass(%s)", (names.quoted(schema, "service_instance"),)).fetchone()[0]
    if table is None:
        return []
    rows = connection.execute(_HEARTBEATS.format(table=names.quoted(schema, "service_instance")), (list(ENDED), within))
    return [{"id": row[0], "type": row[1], "state": row[2], "host": row[3], "age_seconds": round(float(row[4]), 3)}
            for row in rows]


def look(connection, schema) -> dict:
    """What standstill.compare takes, now."""
    found = dict.fromkeys(standstill.WORK + standstill.BESIDE)
    for name, (statement, fields) in _LOOK.items():
        table = names.quoted(schema, name.split()[0])
        if connection.execute("SELECT pg_catalog.to_regclass(%s)", (table,)).fetchone()[0] is not None:
            arguments = (list(standstill.UNDER_WAY),) if "%s" in statement else None
            found.update(zip(fields, connection.execute(statement.format(table=table), arguments).fetchone()))
    return found


def observe(login, database, seconds, *, schema="public") -> dict:
    """standstill.compare of two looks, so many seconds apart."""
    psycopg = connect.driver()
    with connect.connect(login, database, application="kestra_dr activity") as connection:
        try:
            before, begun = look(connection, schema), time.monotonic()
            time.sleep(seconds)
            return standstill.compare(before, look(connection, schema), time.monotonic() - begun)
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"looking for work on {database}") from None


def read(login, database, *, kestra_user, schema="public", within=30.0) -> dict:
    """judge() of a database now. within: seconds a heartbeat counts as fresh."""
    psycopg = connect.driver()
    with connect.connect(login, database, application="kestra_dr activity") as connection:
        try:
            return judge(sessions(connection, database), heartbeats(connection, schema, within), kestra_user)
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"looking for activity on {database}") from None
