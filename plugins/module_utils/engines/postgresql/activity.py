# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is Kestra at work on this database? Sessions of its user, and heartbeats its servers leave in service_instance."""
from __future__ import annotations

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


def read(login, database, *, kestra_user, schema="public", within=30.0) -> dict:
    """judge() of a database now. within: seconds a heartbeat counts as fresh."""
    psycopg = connect.driver()
    with connect.connect(login, database, application="kestra_dr activity") as connection:
        try:
            return judge(sessions(connection, database), heartbeats(connection, schema, within), kestra_user)
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"looking for activity on {database}") from None
