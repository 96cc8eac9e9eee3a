# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server and a schema are and hold: identity, tables, exact counts, missing privileges, emptiness."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import ConnectError
from .. import own_names
from . import connect, definitions, names, privileges, versions

# Kestra's tables whose newest row tells how far the data reach, and the column that says so.
FRESH_COLUMNS = {"service_instance": "updated_at", "queues": "updated", "logs": "timestamp", "metrics": "timestamp"}

_TABLES = """
SELECT TABLE_NAME, ENGINE, COALESCE(DATA_LENGTH, 0), COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0)
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME"""

_TIMES = """
SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND DATA_TYPE IN ('datetime', 'timestamp', 'date') AND GENERATION_EXPRESSION <> ''
 ORDER BY TABLE_NAME, ORDINAL_POSITION"""


@dataclass(frozen=True)
class Table:
    """A table. data_bytes: of its rows, as the server estimates. generated_times: its generated columns of times."""

    name: str
    engine: str
    data_bytes: int
    total_bytes: int
    generated_times: tuple = ()


@dataclass
class Count:
    """What one pass over a table has found. newest: UTC text or None. times: {column: {rows, sum}}."""

    rows: int
    newest: str | None
    times: dict

    def emptied(self) -> Count:
        """What it would have been without rows."""
        return Count(0, None, {column: {"rows": 0, "sum": "0"} for column in self.times})


def tables(session, database) -> list:
    """The tables of a schema, without those of our own."""
    times: dict = {}
    for table, column in session.rows(_TIMES, (database,)):
        times.setdefault(table, []).append(column)
    return [Table(row[0], row[1], int(row[2]), int(row[3]), tuple(times.get(row[0], ())))
            for row in session.rows(_TABLES, (database,)) if row[0] not in names.OWN_TABLES]


def count(session, table) -> Count:
    """Exact number of rows, the newest of them, and sums of generated times, which a restore computes again."""
    fresh = FRESH_COLUMNS.get(table.name)
    if fresh and not session.row("SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s "
                                 "AND COLUMN_NAME = %s AND DATA_TYPE IN ('datetime', 'timestamp')", (table.name, fresh)):
        fresh = None
    wanted = ["COUNT(*)", f"DATE_FORMAT(MAX({names.quoted(fresh)}), '%Y-%m-%dT%H:%i:%s.%fZ')" if fresh else "NULL"]
    for column in table.generated_times:
        quoted = names.quoted(column)
        wanted += [f"COUNT({quoted})", "CAST(COALESCE(SUM(CAST(TO_SECONDS(" + quoted + ") AS DECIMAL(30)) * 1000000 "
                                       f"+ MICROSECOND({quoted})), 0) AS CHAR)"]
    row = session.row(f"SELECT {', '.join(wanted)} FROM {names.quoted(table.name)}")
    times = {column: {"rows": row[2 + 2 * index], "sum": row[3 + 2 * index]}
             for index, column in enumerate(table.generated_times)}
    return Count(row[0], row[1], times)


def content_digest(session, table) -> str:
    """A digest of all rows of a table, independent of their order."""
    columns = [row[0] for row in session.rows(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s "
        "ORDER BY ORDINAL_POSITION", (table.name,))]
    # Text of what cannot be in a text: NULL is told from '' by its length.
    whole = ", ".join(f"COALESCE(HEX(LENGTH({item})), '-'), COALESCE({item}, '')" for item in
                      (f"CAST({names.quoted(column)} AS BINARY)" for column in columns))
    row = session.row(f"SELECT COUNT(*), COALESCE(SUM(CAST(CONV(LEFT(SHA2(CONCAT({whole}), 256), 15), 16, 10) AS "
                      f"DECIMAL(40))), 0) FROM {names.quoted(table.name)}")
    return f"{row[0]}:{row[1]}"


def identity(session, database) -> dict:
    """Which schema on which server this is, and how it was created."""
    row = session.row("""
        SELECT s.SCHEMA_NAME, s.DEFAULT_CHARACTER_SET_NAME, s.DEFAULT_COLLATION_NAME, @@server_uuid,
               @@lower_case_table_names, @@version_comment
          FROM information_schema.SCHEMATA s WHERE s.SCHEMA_NAME = %s""", (database,))
    if row is None:
        raise ConnectError(f"The server {session.place} has no database {database}, or hides it from this account.",
                           reason="database_missing", hint="Check the database's name.")
    return {"server_uuid": row[3], "database": row[0], "character_set": row[1], "collation": row[2],
            "lower_case_table_names": int(row[4]), "version_comment": row[5],
            "server_version": versions.text_of(session.version)}


def time_zones(session) -> bool:
    """Whether the server knows time zones by name. Kestra's generated columns name UTC."""
    return session.value("SELECT CONVERT_TZ('2026-01-01 00:00:00', '+00:00', 'UTC')") is not None


def contents(listed, limit=20) -> list:
    """What is in a schema, as texts like "table flows"; [] when it is empty. listed: of definitions.listed(). Pure."""
    found = []
    for kind in definitions.KINDS:
        found += [f"{kind[:-1]} {names.display(item if isinstance(item, str) else item[1])}" for item in listed[kind]]
    return found[:limit]


def account(session) -> str:
    """The account that is connected, as user@host."""
    return session.value("SELECT CURRENT_USER()")


def privileges_missing(session, database, listed) -> list:
    """What the connected account lacks to dump all of it. See privileges.missing_for_dump()."""
    routines = session.rows("SELECT ROUTINE_TYPE, ROUTINE_NAME, ROUTINE_DEFINITION IS NOT NULL FROM "
                            "information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s", (database,))
    return privileges.missing_for_dump(privileges.read(session), database, listed["tables"], listed["views"], routines)


def databases(session) -> list:
    """The server's schemas this account sees, besides the system's: [{name, ours, bytes}]."""
    rows = session.rows("""
        SELECT s.SCHEMA_NAME, COALESCE((SELECT SUM(t.DATA_LENGTH + t.INDEX_LENGTH) FROM information_schema.TABLES t
                                         WHERE t.TABLE_SCHEMA = s.SCHEMA_NAME), 0)
          FROM information_schema.SCHEMATA s
         WHERE s.SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1""")
    return [{"name": row[0], "ours": own_names.is_ours(row[0]), "bytes": int(row[1])} for row in rows]


def server(login) -> dict:
    """What can be told without the schema: {user, can_create_database, server_version, server_uuid, databases}."""
    with connect.connect(login) as session:
        try:
            grants = privileges.read(session)
            return {"user": account(session), "can_create_database": grants.globally("CREATE"),
                    "server_version": versions.text_of(session.version),
                    "server_uuid": session.value("SELECT @@server_uuid"), "databases": databases(session)}
        except connect.driver().Error as exc:
            raise connect.query_error(exc, "looking at the server") from None


def qualified(database, by_table) -> dict:
    """{schema.table: …} of {table: …}, as manifests name tables. Pure."""
    return {names.display(database, name): value for name, value in by_table.items()}


def times_of(counted) -> dict:
    """{table.column: {rows, sum}} of {table: Count}. Pure."""
    return {names.display(table, column): value for table, found in counted.items()
            for column, value in found.times.items()}


def read(login, database, *, label=None, with_counts=False, with_objects=False, with_content=False) -> dict:
    """The inventory of one schema. label: the schema's name in the keys (None: its own).

    Returns {identity, user, size_bytes, empty, contents, tables, privileges_missing, databases, can_create_database,
    time_zones}; with_counts: counts and generated_timestamps, from one snapshot; with_objects: objects; with_content:
    content {table: digest of all rows}.
    """
    label = label or database
    with connect.connect(login, database) as session:
        try:
            listed = definitions.listed(session, database)
            found = tables(session, database)
            missing = privileges_missing(session, database, listed)
            result = {
                "identity": identity(session, database), "user": account(session),
                "can_create_database": privileges.read(session).globally("CREATE"),
                "size_bytes": sum(table.total_bytes for table in found), "contents": contents(listed),
                "empty": not contents(listed), "databases": databases(session), "time_zones": time_zones(session),
                "tables": [names.display(label, table.name) for table in found], "privileges_missing": missing}
            if with_objects:
                result["objects"] = definitions.read(session, database)
            session.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            if with_counts:
                counted = {table.name: count(session, table) for table in found}
                result["counts"] = qualified(label, {name: item.rows for name, item in counted.items()})
                result["generated_timestamps"] = times_of(counted)
            if with_content:
                result["content"] = qualified(label, {table.name: content_digest(session, table) for table in found})
            session.rows("ROLLBACK")
            return result
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"reading the database {database}") from None
