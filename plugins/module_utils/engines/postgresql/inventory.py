# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server and a database are and hold: identity, tables, exact counts, missing privileges, emptiness."""
from __future__ import annotations

import os
from dataclasses import dataclass

from ...core.errors import RefusedError
from .. import own_names
from . import connect, definitions, names, timezones, versions
from .definitions import _own

# Kestra's tables whose newest row tells how far the data reach, and the column that says so.
FRESH_COLUMNS = {"service_instance": "updated_at", "queues": "updated", "logs": "timestamp", "metrics": "timestamp"}

_RELATIONS = f"""
SELECT c.oid::pg_catalog.int8, n.nspname, c.relname, c.relkind::text,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
       CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
            ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END,
       CASE WHEN c.relkind IN ('r', 'p') THEN pg_catalog.row_security_active(c.oid) ELSE false END
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_own('c.oid', 'pg_class')}
 ORDER BY n.nspname, c.relname"""

_CONTENTS = f"""
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' ELSE 'table' END,
       n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_own('c.oid', 'pg_class')}
UNION ALL
SELECT 'function', n.nspname, p.proname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {_own('p.oid', 'pg_proc')}
UNION ALL
SELECT 'type', n.nspname, t.typname
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype IN ('e', 'd', 'r') AND {_own('t.oid', 'pg_type')}
UNION ALL
SELECT 'schema', NULL, n.nspname FROM pg_catalog.pg_namespace n
 WHERE n.nspname <> 'public' AND {_own('n.oid', 'pg_namespace')}
ORDER BY 1 DESC, 2, 3"""

_KIND_WORDS = {"r": "table", "p": "table", "v": "view", "m": "view", "f": "table", "S": "sequence"}


@dataclass(frozen=True)
class Relation:
    """A table, view or sequence as a role sees it. kind: pg_class.relkind."""

    oid: int
    schema: str
    table: str
    kind: str
    usable: bool
    readable: bool
    row_security: bool

    @property
    def name(self) -> str:
        return names.display(self.schema, self.table)

    @property
    def quoted(self) -> str:
        return names.quoted(self.schema, self.table)

    @property
    def has_rows(self) -> bool:
        """Whether it holds rows of its own that a dump carries."""
        return self.kind == "r"


def relations(connection, schemas=None) -> list:
    """All tables, views and sequences that are neither the system's nor an extension's."""
    only = {"schemas": None if schemas is None else list(schemas)}
    return [Relation(*row) for row in connection.execute(_RELATIONS, only)]


def privileges_missing(found) -> list:
    """What the connecting role lacks to read all of it: [{"object", "kind", "missing"}]. found: of relations(). Pure."""
    missing = []
    for relation in found:
        if relation.kind in ("v", "f"):
            continue  # pg_dump reads their definitions only
        lacks = []
        if not relation.usable:
            lacks.append(f"USAGE on the schema {names.display(relation.schema)}")
        if not relation.readable:
            lacks.append("SELECT")
        if relation.row_security:
            lacks.append("BYPASSRLS (row level security hides rows)")
        if lacks:
            missing.append({"object": relation.name, "kind": _KIND_WORDS[relation.kind], "missing": lacks})
    return missing


def require_privileges(found, role) -> None:
    """Raises RefusedError naming everything role may not read."""
    missing = privileges_missing(found)
    if missing:
        listed = "; ".join(f"{item['kind']} {item['object']}: {', '.join(item['missing'])}" for item in missing[:10])
        more = f"; and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise RefusedError(f"The role {role} may not read everything a dump needs ({listed}{more}).",
                           reason="privileges_missing",
                           hint="Grant it (pg_read_all_data gives SELECT on everything), or connect as the owner.",
                           detail={"role": role, "missing": missing})


def contents(connection, limit=20) -> list:
    """What is in a database besides what every new one holds, as texts like "table public.flows"; [] when empty."""
    rows = connection.execute(_CONTENTS, {"schemas": None}).fetchmany(limit)
    found = [f"{kind} {names.display(*[part for part in (schema, name) if part is not None])}"
             for kind, schema, name in rows]
    blobs = connection.execute("SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata").fetchone()[0]
    return found + ([f"{blobs} large objects"] if blobs else [])


def identity(connection) -> dict:
    """Which database on which server this is, and how it was created.

    system_identifier: of the cluster, from pg_control_system(); null where the server does not let this role ask.
    """
    number = connection.info.server_version
    locale = {True: "d.datlocale", False: "d.daticulocale"}[number >= 170000] if number >= 150000 else "NULL"
    provider = "d.datlocprovider::text" if number >= 150000 else "'c'"
    row = connection.execute(f"""
        SELECT d.datname, d.oid::pg_catalog.int8, pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
               {provider}, {locale}, pg_catalog.pg_get_userbyid(d.datdba)
          FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()""").fetchone()
    return {"system_identifier": system_identifier(connection), "database": row[0], "database_oid": row[1],
            "server_version": ".".join(str(part) for part in versions.of_server(number)),
            "encoding": row[2], "collate": row[3], "ctype": row[4], "locale_provider": row[5], "locale": row[6],
            "owner": row[7]}


def system_identifier(connection):
    """The cluster's identifier as text, or None where it is not told (some managed services)."""
    allowed = connection.execute(
        "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')").fetchone()[0]
    if not allowed:
        return None
    return str(connection.execute("SELECT system_identifier FROM pg_catalog.pg_control_system()").fetchone()[0])


def database_settings(connection) -> list:
    """ALTER DATABASE … SET of this database as ["name=value"]; pg_dump of one database leaves them out."""
    row = connection.execute("""
        SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
         WHERE d.datname = pg_catalog.current_database() AND s.setrole = 0""").fetchone()
    return sorted(row[0]) if row and row[0] else []


def grantees(connection, schemas=None) -> list:
    """Roles besides the owners that hold privileges on tables, views or sequences here (PUBLIC is no role)."""
    rows = connection.execute(f"""
        SELECT DISTINCT pg_catalog.pg_get_userbyid(a.grantee)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
               LATERAL pg_catalog.aclexplode(c.relacl) a
         WHERE a.grantee <> 0 AND a.grantee <> c.relowner AND {_own('c.oid', 'pg_class')}
         ORDER BY 1""", {"schemas": None if schemas is None else list(schemas)})
    return [row[0] for row in rows]


def table_bytes(connection, found) -> int:
    """Size of the tables' own storage with TOAST, without indexes. Waits for a table that is being altered."""
    oids = [relation.oid for relation in found if relation.kind in ("r", "m")]
    return int(connection.execute("""
        SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_table_size(o::pg_catalog.oid::pg_catalog.regclass)), 0)
          FROM pg_catalog.unnest(%s::pg_catalog.int8[]) o""", (oids,)).fetchone()[0])


def count(connection, relation) -> tuple:
    """(exact number of rows, newest time in it as UTC text or None)."""
    column = FRESH_COLUMNS.get(relation.table)
    typed = column and connection.execute("""
        SELECT true FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s::pg_catalog.int8::pg_catalog.oid
           AND a.attname = %s AND a.atttypid = 'pg_catalog.timestamptz'::pg_catalog.regtype AND NOT a.attisdropped""",
                                          (relation.oid, column)).fetchone()
    # The newest row comes with the same pass over the table, so it costs nothing more.
    newest = "NULL"
    if typed:
        newest = (f"pg_catalog.to_char(pg_catalog.max({names.quoted(column)}) AT TIME ZONE 'UTC', "
                  "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    return connection.execute(f"SELECT pg_catalog.count(*), {newest} FROM ONLY {relation.quoted}").fetchone()


def counts(connection, found) -> dict:
    """{table: exact number of rows}. found: of relations()."""
    return {relation.name: count(connection, relation)[0] for relation in found if relation.has_rows}


def content_digest(connection, relation) -> str:
    """A digest of all rows of a table, independent of their order; the session's fixed settings make it repeatable."""
    row = connection.execute(f"""
        SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)
               ::pg_catalog.numeric), 0)::pg_catalog.text FROM ONLY {relation.quoted} t""").fetchone()
    return f"{row[0]}:{row[1]}"


def role(connection) -> dict:
    """What the connecting role may do: {name, superuser, create_database}."""
    row = connection.execute("""SELECT r.rolname, r.rolsuper, r.rolcreatedb FROM pg_catalog.pg_roles r
                                 WHERE r.rolname = current_user""").fetchone()
    return {"name": row[0], "superuser": row[1], "create_database": row[1] or row[2]}


def databases(connection) -> list:
    """The server's databases besides templates: [{name, oid, owner, ours, bytes (null where not allowed)}]."""
    rows = connection.execute("""
        SELECT d.datname, d.oid::pg_catalog.int8, pg_catalog.pg_get_userbyid(d.datdba),
               CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
                         OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
                    THEN pg_catalog.pg_database_size(d.oid) END
          FROM pg_catalog.pg_database d WHERE NOT d.datistemplate ORDER BY 1""")
    return [{"name": row[0], "oid": row[1], "owner": row[2], "ours": own_names.is_ours(row[0]), "bytes": row[3]}
            for row in rows]


def server(login) -> dict:
    """What can be told without the database: {user, superuser, can_create_database, server_version, databases}."""
    psycopg = connect.driver()
    with connect.connect(login) as connection:
        try:
            who = role(connection)
            number = versions.of_server(connection.info.server_version)
            return {"user": who["name"], "superuser": who["superuser"], "can_create_database": who["create_database"],
                    "server_version": ".".join(str(part) for part in number), "databases": databases(connection),
                    "data_directory": data_directory(connection)}
        except psycopg.Error as exc:
            raise connect.query_error(exc, "looking at the server") from None


def data_directory(connection):
    """Where the server's data lies, if that is on this host and this account may look; else None.

    Proved by the start time in postmaster.pid: a server elsewhere may have a directory of the same name.
    """
    row = connection.execute("SELECT setting, pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()))"
                             "::pg_catalog.text FROM pg_catalog.pg_settings WHERE name = 'data_directory'").fetchone()
    if row is None:  # hidden from ordinary roles
        return None
    try:
        with open(os.path.join(row[0], "postmaster.pid"), encoding="utf-8") as handle:
            started = handle.read().splitlines()[2]
    except (OSError, IndexError):
        return None
    return row[0] if abs(int(started) - int(row[1])) <= 1 else None


def read(login, database, *, schemas=None, role_name=None, with_counts=False, with_objects=False, with_timezone=False,
         with_content=False) -> dict:
    """The inventory of one database, from one snapshot. database: its name. role_name: to ask as (None: the login's).

    Returns {identity, role, size_bytes, data_directory, empty, contents, tables, privileges_missing, databases,
    can_create_database};
    with_counts: counts; with_objects: objects and generated_timestamps; with_timezone: timezone, timezone_strays;
    with_content: content {table: digest of all rows}.
    """
    psycopg = connect.driver()
    with connect.connect(login, database) as connection:
        try:
            if role_name:
                connection.execute(f"SET ROLE {names.quoted(role_name)}")
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = relations(connection, schemas)
            who, held = role(connection), contents(connection)
            result = {
                "identity": identity(connection), "role": who, "can_create_database": who["create_database"],
                "size_bytes": connection.execute(
                    "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())").fetchone()[0],
                "data_directory": data_directory(connection), "empty": not held, "contents": held, "databases": databases(connection),
                "tables": [relation.name for relation in found if relation.has_rows],
                "privileges_missing": privileges_missing(found)}
            if with_counts or with_objects or with_timezone or with_content:
                require_privileges(found, who["name"])
            if with_counts:
                result["counts"] = counts(connection, found)
            if with_objects:
                result["objects"] = definitions.read(connection, schemas)
                result["generated_timestamps"] = timezones.checks(connection, found)
            if with_timezone:
                finding = timezones.inspect(connection, found)
                result.update(timezone=finding.zone, timezone_strays=finding.strays)
            if with_content:
                result["content"] = {relation.name: content_digest(connection, relation)
                                     for relation in found if relation.has_rows}
            connection.execute("ROLLBACK")
            return result
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"reading the database {database}") from None
