# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server and the database to restore to: refused if unfit, prepared, and closed off."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from ...core.errors import RefusedError
from .. import own_names
from . import connect, inventory, names, swap, versions

# The comment on a database that was made for a restore and has not passed its comparison yet.
UNPROVED = "kestra_dr: restore not finished"

# The table that marks a database which was empty when a restore into it began: all that is in it is that restore's.
MARKER = "kestra_dr_restoring"

_RESTRICT = re.compile(rb"^\\restrict ", re.MULTILINE)


@dataclass(frozen=True)
class Options:
    """Where to restore to and how.

    create: make the database (False: it exists and is empty). owner: role that is to own everything (None: the
    connecting one). owner_password: to create the owner with, should it be missing. locale: instead of the recorded
    one. jobs: parallel connections (None: one per core, at most 8). split_share: tables above this share of the rows'
    bytes are loaded by that many COPY streams (0: off). timezone: of the session (None: the one in the manifest, else
    UTC). privileges: restore GRANTs too. verify: count and compare afterwards. idle_timeout: seconds without any sign
    of work after which the restore is ended. bin_dir: where the client programs are (None: found).
    """

    database: str
    create: bool = True
    owner: str | None = None
    owner_password: str | None = field(default=None, repr=False)
    locale: str | None = None
    jobs: int | None = None
    split_share: float = 0.2
    timezone: str | None = None
    privileges: bool = False
    verify: bool = True
    idle_timeout: float = 600.0
    bin_dir: str | None = None

    def workers(self, cores=None) -> int:
        """Parallel connections."""
        return self.jobs or max(1, min(8, cores or os.cpu_count() or 1))


def pick_client(clients, written_by, target_major) -> versions.Client:
    """The client to restore with: able to read the dump, and of the target's major if there is a choice. Pure."""
    usable = [client for client in clients if client.major >= written_by[0]]
    if not usable:
        newest = max(clients, key=lambda client: client.version, default=None)
        if newest is None:
            raise RefusedError("No PostgreSQL client is installed here.", reason="client_too_old",
                               hint="Install postgresql-client, or give bin_dir.")
        versions.require_readable(written_by, newest)
    return min(usable, key=lambda client: (abs(client.major - target_major), -client.version[1]))


@dataclass
class Target:
    """The server to restore to, as preflight found it."""

    client: versions.Client
    version: tuple
    role: str | None
    zone: str
    warnings: list
    leftover: bool


def preflight(login, source, options) -> Target:
    """Everything about the target that can be known before it is touched. Raises RefusedError, ConnectError."""
    psycopg = connect.driver()
    place = None if options.create else options.database
    with connect.connect(login, place, application="kestra_dr preflight") as connection:
        try:
            version = versions.of_server(connection.info.server_version)
            versions.require_restorable(source.server_version, version[0])
            client = pick_client(versions.find_clients(options.bin_dir), source.dump_version, version[0])
            if source.format == "plain":
                _require_restrict(source, client)
            leftover = (_creatable if options.create else _empty)(connection, options)
            role = _role(connection, options)
            zone = options.timezone or source.expected.get("timezone") or "UTC"
            if not connection.execute("SELECT 1 FROM pg_catalog.pg_timezone_names WHERE name = %s", (zone,)).fetchone():
                raise RefusedError(f"The server does not know the time zone {zone}.", reason="timezone_unknown",
                                   hint="Give the option timezone, or install the server's time zone data.")
            warnings = list(source.warnings) + _grants(connection, source, options)
        except psycopg.Error as exc:
            raise connect.query_error(exc, "looking at the target server") from None
    if source.expected.get("timezone") is None and options.timezone is None:
        warnings.append("The dump does not tell the time zone its rows were written in; UTC is used for generated "
                        "times (executions.start_date). Give timezone if Kestra's JVM ran in another zone.")
    return Target(client, version, role, zone, warnings, leftover)


def _require_restrict(source, client) -> None:
    with open(source.path, "rb") as handle:
        restricted = _RESTRICT.search(handle.read(1 << 14)) is not None
    if restricted and not versions.knows_restrict(client.version):
        raise RefusedError(rf"The dump starts with \restrict, which psql {client.text} does not know.",
                           reason="client_too_old", hint="Install the current minor release of the PostgreSQL client.",
                           detail={"client": client.text})


def _creatable(connection, options) -> bool:
    """True when a half-made database of ours is there and must go first."""
    if options.database not in swap.existing(connection):
        if not inventory.role(connection)["create_database"]:
            who = inventory.role(connection)["name"]
            raise RefusedError(f"The role {who} may not create databases.", reason="privileges_missing",
                               hint="Connect as a role with CREATEDB, or have an empty database made and use "
                                    "create: false.", detail={"role": who})
        return False
    if not own_names.is_ours(options.database) or swap.noted(connection, options.database) != UNPROVED:
        raise RefusedError(f"The database {options.database} exists already.", reason="database_exists",
                           hint="A restore never goes over a database: give a new name, remove an earlier result with "
                                "postgresql_database, or use create: false for an empty one.",
                           detail={"database": options.database})
    return True


def _empty(connection, options) -> bool:
    """True when the database holds what a dead restore into it has left."""
    held = inventory.contents(connection)
    marked = connection.execute("SELECT pg_catalog.to_regclass(%s)", (names.quoted("public", MARKER),)).fetchone()[0]
    if held and marked is None:
        raise RefusedError(
            f"The database {options.database} is not empty; it holds {', '.join(held[:5])}"
            + (f" and {len(held) - 5} more" if len(held) > 5 else "") + ".", reason="not_empty",
            hint="A restore never goes over existing data: give an empty database.", detail={"contents": held})
    who = options.owner or inventory.role(connection)["name"]
    allowed = connection.execute("SELECT pg_catalog.has_schema_privilege(r.oid, 'public', 'CREATE') "
                                 "FROM pg_catalog.pg_roles r WHERE r.rolname = %s", (who,)).fetchone()
    if allowed is not None and not allowed[0]:
        raise RefusedError(f"The role {who} may not create anything in the schema public of {options.database}.",
                           reason="privileges_missing",
                           hint=f"As the database's owner: GRANT CREATE ON SCHEMA public TO {names.display(who)}; "
                                "since PostgreSQL 15 only the owner of the database has it.", detail={"role": who})
    return marked is not None


def _role(connection, options):
    """The role to restore as when it is not the connecting one."""
    who = inventory.role(connection)
    if options.owner is None or options.owner == who["name"]:
        return None
    known = connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (options.owner,)).fetchone()
    if not known and (options.owner_password is None or not options.create):
        raise RefusedError(f"The role {options.owner} does not exist on the target server.", reason="role_missing",
                           hint="Create it, or give owner_password and create: true, and it is made as a login role.",
                           detail={"role": options.owner})
    if known and not who["superuser"]:
        member = connection.execute("SELECT pg_catalog.pg_has_role(%s, 'MEMBER')", (options.owner,)).fetchone()[0]
        if not member:
            raise RefusedError(f"The role {who['name']} is not a member of {options.owner} and cannot restore for it.",
                               reason="privileges_missing",
                               hint=f"GRANT {names.display(options.owner)} TO {names.display(who['name'])}, or connect "
                                    "as the owner.", detail={"role": who["name"], "owner": options.owner})
    return options.owner


def _grants(connection, source, options) -> list:
    grantees = source.expected.get("grantees") or []
    if not grantees:
        return []
    if not options.privileges:
        return ["Privileges of other roles are not restored (privileges: true does it): " + ", ".join(grantees) + "."]
    known = {row[0] for row in connection.execute("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY (%s)",
                                                  (grantees,))}
    missing = sorted(set(grantees) - known)
    if missing:
        raise RefusedError(f"Roles that hold privileges are missing on the target: {', '.join(missing)}.",
                           reason="role_missing", hint="Create them, or use privileges: false.",
                           detail={"roles": missing})
    return []


def prepare(login, source, options, target) -> None:
    if options.create:
        if target.leftover:
            swap.drop(login, options.database)
        swap.create(login, options.database, owner=options.owner, identity=source.expected["identity"],
                    owner_password=options.owner_password, locale=options.locale,
                    settings=source.expected.get("settings") or (), comment=UNPROVED)
        return
    psycopg = connect.driver()
    with connect.connect(login, options.database, application="kestra_dr mark") as connection:
        try:
            if target.role:
                connection.execute(f"SET ROLE {names.quoted(target.role)}")
            if target.leftover:
                wipe(connection)
            else:
                connection.execute(f"CREATE TABLE {names.quoted('public', MARKER)} (started timestamptz)")
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"preparing the database {options.database}") from None


_DROPS = """
SELECT pg_catalog.format('DROP %%s IF EXISTS %%s CASCADE', what,
                         pg_catalog.format('%%I.%%I', n.nspname, name) || arguments)
  FROM (SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                              WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS what,
               c.relnamespace AS space, c.relname AS name, '' AS arguments, c.oid,
               'pg_class'::pg_catalog.regclass AS cat, 1 AS turn
          FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         UNION ALL
        SELECT 'ROUTINE', p.pronamespace, p.proname, '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
               p.oid, 'pg_proc'::pg_catalog.regclass, 2 FROM pg_catalog.pg_proc p WHERE p.prokind <> 'a'
         UNION ALL
        SELECT 'TYPE', t.typnamespace, t.typname, '', t.oid, 'pg_type'::pg_catalog.regclass, 3
          FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
         WHERE t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.space
 WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND name <> %s
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = o.oid AND e.classid = o.cat AND e.deptype = 'e')
 ORDER BY turn"""


def wipe(connection) -> None:
    """Removes what a dead restore has left in a database that was empty before it. Only with its marker there."""
    marked = connection.execute("SELECT pg_catalog.to_regclass(%s)", (names.quoted("public", MARKER),)).fetchone()[0]
    if marked is None:
        raise RefusedError("The database has no mark of an unfinished restore.", reason="not_ours")
    for statement, in connection.execute(_DROPS, (MARKER,)).fetchall():
        connection.execute(statement)
    for schema, in connection.execute("""
            SELECT nspname FROM pg_catalog.pg_namespace n WHERE nspname !~ '^pg_' AND nspname NOT IN
                   ('public', 'information_schema') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                   WHERE e.objid = n.oid AND e.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                     AND e.deptype = 'e')""").fetchall():
        connection.execute(f"DROP SCHEMA {names.quoted(schema)} CASCADE")


def finish(login, options, target) -> None:
    """Statistics, and a commit that waits for the disk: with it, all earlier ones that did not are durable too."""
    psycopg = connect.driver()
    with connect.connect(login, options.database, application="kestra_dr analyze") as connection:
        try:
            if target.role:
                connection.execute(f"SET ROLE {names.quoted(target.role)}")
            connection.execute("SET synchronous_commit = on")
            connection.execute("ANALYZE")
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"analyzing the database {options.database}") from None


def proved(login, options, target) -> None:
    """Takes away what marks the database as one whose restore has not passed its comparison."""
    psycopg = connect.driver()
    with connect.connect(login, None if options.create else options.database, application="kestra_dr mark") as connection:
        try:
            if options.create:
                swap.note(connection, options.database, None)
                return
            if target.role:
                connection.execute(f"SET ROLE {names.quoted(target.role)}")
            connection.execute(f"DROP TABLE {names.quoted('public', MARKER)}")
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"finishing the database {options.database}") from None


def forget_marker(found) -> None:
    """Removes the mark from an inventory: it is no part of what was restored."""
    name = names.display("public", MARKER)
    found["counts"].pop(name, None)
    found["objects"]["tables"].pop(name, None)
