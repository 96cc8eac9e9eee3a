# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is Kestra at work on this database? Sessions of its user, and heartbeats its servers leave in service_instance."""
from __future__ import annotations

from . import connect, names

# Kestra's states of a service that will not write any more (io.kestra.core.server.Service, 0.21 to 2.x).
ENDED = ("TERMINATED_GRACEFULLY", "TERMINATED_FORCED", "NOT_RUNNING", "INACTIVE", "EMPTY")

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


def describe(found) -> str:
    """Sessions in one line, for messages."""
    listed = [f"{item['user']} (pid {item['pid']}, {item['application'] or 'no name'}"
              f"{', from ' + item['client'] if item['client'] else ''})" for item in found[:5]]
    return "; ".join(listed) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")


def summary(found) -> str:
    """judge()'s answer in one line."""
    parts = []
    if found["kestra_sessions"]:
        parts.append("sessions of Kestra: " + describe(found["kestra_sessions"]))
    if found["heartbeats"]:
        parts.append("fresh heartbeats: " + "; ".join(
            f"{item['type']} on {item['host'] or 'unknown host'} ({item['state']}, {item['age_seconds']:.0f} s ago)"
            for item in found["heartbeats"][:5]))
    if found["other_sessions"]:
        parts.append("other sessions: " + describe(found["other_sessions"]))
    return ". ".join(parts) + "." if parts else "Nobody is at work on the database."


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


def judge(found, beats, kestra_user) -> dict:
    """What sessions and heartbeats mean. Pure.

    quiet: no session of Kestra's user that is not ours, and no fresh heartbeat. Sessions of other users (monitoring,
    a person with psql) do not disturb a dump; they do keep a database from being renamed, so they are listed.
    """
    foreign = [item for item in found if not item["ours"]]
    kestra = [item for item in foreign if item["user"] == kestra_user]
    return {"quiet": not kestra and not beats, "kestra_sessions": kestra,
            "other_sessions": [item for item in foreign if item not in kestra], "heartbeats": beats}


def read(login, database, *, kestra_user, schema="public", within=30.0) -> dict:
    """judge() of a database now. within: seconds a heartbeat counts as fresh."""
    psycopg = connect.driver()
    with connect.connect(login, database, application="kestra_dr activity") as connection:
        try:
            return judge(sessions(connection, database), heartbeats(connection, schema, within), kestra_user)
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"looking for activity on {database}") from None
