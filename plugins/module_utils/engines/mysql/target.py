# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server and the schema to restore to: refused if unfit, prepared, and closed off."""
from __future__ import annotations

import os
from dataclasses import dataclass

from ...core.errors import RefusedError
from .. import own_names
from . import connect, definitions, inventory, names, privileges, versions

_TIME_ZONE_FIX = ("mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql --user=root --password mysql (as an administrator of "
                  "the server; managed services have them)")


@dataclass(frozen=True)
class Options:
    """Where to restore to and how.

    create: make the schema (False: it exists and is empty). jobs: sessions that load at once (None: one per core, at
    most 4). verify: count and compare afterwards. idle_timeout: seconds a statement may take.
    """

    database: str
    create: bool = True
    jobs: int | None = None
    verify: bool = True
    idle_timeout: float = 600.0

    def workers(self, cores=None) -> int:
        """Sessions that load at once."""
        return self.jobs or max(1, min(4, cores or os.cpu_count() or 1))


@dataclass
class Target:
    """The server to restore to, as preflight found it. definers: accounts that may stay in definitions."""

    version: tuple
    leftover: bool
    warnings: list
    definers: list


def preflight(login, source, options) -> Target:
    """Everything about the target that can be known before it is touched. Raises RefusedError, ConnectError."""
    place = None if options.create else options.database
    with connect.connect(login, place, application="kestra_dr preflight") as session:
        try:
            versions.require_restorable(source.server_version, session.version)
            grants = privileges.read(session)
            require_writable(session.row("SELECT @@read_only, @@super_read_only"))
            leftover = (_creatable if options.create else _empty)(session, options, grants)
            require_packet(source.expected["longest_statement"], session.value("SELECT @@global.max_allowed_packet"))
            _require_time_zones(session, source)
            _require_names(session, source)
            _require_routines(session, source, grants)
            warnings, kept = list(source.warnings), _definers(session, source, grants)
        except connect.driver().Error as exc:
            raise connect.query_error(exc, "looking at the target server") from None
    others = [item for item in source.expected["definers"] if item not in kept]
    if others:
        warnings.append("Functions, triggers, events and views are given to the connecting account; they belonged to "
                        + ", ".join(others) + ".")
    events = sorted((source.expected.get("names") or source.expected["objects"])["events"])
    if events:
        warnings.append("The database has events, which run in the restored one from the moment they are there: "
                        + ", ".join(events) + ".")
    return Target(session.version, leftover, warnings, kept)


def require_writable(row) -> None:
    """Refuses a server that takes no changes. row: (read_only, super_read_only). Pure."""
    if int(row[1]) or int(row[0]):
        raise RefusedError("The target server is read-only: a replica, or set so.", reason="read_only",
                           hint="Restore into the primary.")


def require_packet(longest, limit) -> None:
    """Refuses when the server would not take the longest statement of the dump. Pure."""
    # A packet holds the statement and the byte of its command.
    if longest + 1 > int(limit):
        wanted = 1 << 20
        while wanted < longest + 1:
            wanted *= 2
        raise RefusedError(
            f"The longest statement of the dump has {longest} bytes, and the target server takes {limit} at most "
            "(max_allowed_packet).", reason="packet_too_small",
            hint=f"SET GLOBAL max_allowed_packet = {min(wanted, 1 << 30)}, and in its configuration file.",
            detail={"longest_statement": longest, "max_allowed_packet": int(limit)})


def _creatable(session, options, grants) -> bool:
    """True when a half-made schema of ours is there and must go first."""
    name = options.database
    if not session.row("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (name,)):
        if not grants.on(name, "CREATE"):
            raise RefusedError(f"The account {inventory.account(session)} may not create the database {name}.",
                               reason="privileges_missing",
                               hint=f"GRANT ALL ON {names.quoted(name)}.* TO the account, or have an empty database made "
                                    "and use create: false.")
        return False
    if not own_names.is_ours(name) or not marked(session, name):
        raise RefusedError(f"The database {name} exists already.", reason="database_exists",
                           hint="A restore never goes over a database: give a new name, remove an earlier result with "
                                "mysql_database, or use create: false for an empty one.", detail={"database": name})
    return True


def marked(session, database) -> bool:
    """Whether a restore into this schema has not passed its comparison."""
    return session.row("SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
                       (database, names.MARKER)) is not None


def _empty(session, options, grants) -> bool:
    """True when the schema holds what a dead restore into it has left."""
    held = inventory.contents(definitions.listed(session, options.database))
    found = marked(session, options.database)
    if held and not found:
        raise RefusedError(
            f"The database {options.database} is not empty; it holds {', '.join(held[:5])}"
            + (f" and {len(held) - 5} more" if len(held) > 5 else "") + ".", reason="not_empty",
            hint="A restore never goes over existing data: give an empty database.", detail={"contents": held})
    lacks = [item for item in ("CREATE", "DROP", "INSERT", "ALTER", "SELECT") if not grants.on(options.database, item)]
    if lacks:
        raise RefusedError(f"The account {inventory.account(session)} lacks {', '.join(lacks)} on {options.database}.",
                           reason="privileges_missing",
                           hint=f"GRANT ALL ON {names.quoted(options.database)}.* TO the account.")
    return found


def _require_time_zones(session, source) -> None:
    if inventory.time_zones(session):
        return
    if source.expected["time_zones"]:
        raise RefusedError(
            "The target server does not know time zones by name, and generated columns of the dump need them: their "
            "values would silently become empty or wrong, and Kestra's scheduler would miss its times.",
            reason="time_zones_missing", hint=f"Load them: {_TIME_ZONE_FIX}.")
    source.warnings.append("The target server does not know time zones by name; Kestra's scheduler needs them. Load them: "
                           + _TIME_ZONE_FIX + ".")


def _require_names(session, source) -> None:
    """Refuses a server that writes names of tables in another way (lower_case_table_names)."""
    here = int(session.value("SELECT @@lower_case_table_names"))
    there = source.expected["identity"].get("lower_case_table_names")
    tables = source.expected["objects"].get("tables") or source.expected.get("names", {}).get("tables", [])
    mixed = sorted(name for name in tables if name != name.lower())
    if mixed and here != 0 and there in (0, None):
        raise RefusedError(f"The target server turns names of tables into lower case, and the dump has {mixed[0]}.",
                           reason="table_names", hint="Restore into a server with lower_case_table_names = 0.",
                           detail={"tables": mixed[:20]})


def _require_routines(session, source, grants) -> None:
    """With a binary log the server lets only some create functions and triggers."""
    objects = source.expected.get("names") or source.expected["objects"]
    wanted = sorted(objects["routines"]) + sorted(objects["triggers"])
    if not wanted or grants.globally("SUPER"):
        return
    if int(session.value("SELECT @@log_bin")) and not int(session.value("SELECT @@log_bin_trust_function_creators")):
        raise RefusedError(
            f"The target server has a binary log and does not let {inventory.account(session)} create functions or "
            f"triggers ({wanted[0]}).", reason="privileges_missing",
            hint="SET GLOBAL log_bin_trust_function_creators = 1 (on managed services in the parameter group), as Kestra's "
                 "documentation asks for anyway, or connect as an account with SUPER.", detail={"objects": wanted[:20]})


def _definers(session, source, grants) -> list:
    """The recorded definers that may be kept: accounts that exist here, if we may create for them."""
    own = inventory.account(session).rpartition("@")
    kept = [item for item in source.expected["definers"] if item == names.quoted(own[0]) + "@" + names.quoted(own[2])]
    if not (grants.globally("SET_USER_ID") or grants.globally("SUPER")) or not grants.on("mysql", "SELECT", "user"):
        return kept
    known = {names.quoted(user) + "@" + names.quoted(host)
             for user, host in session.rows("SELECT User, Host FROM mysql.user")}
    return [item for item in source.expected["definers"] if item in known]


def prepare(login, source, options, target) -> None:
    """Makes the schema, or wipes what a dead restore left in it; and marks it."""
    with connect.connect(login, None if options.create else options.database, application="kestra_dr create") as session:
        try:
            if options.create:
                if target.leftover:
                    session.rows(f"DROP DATABASE {names.quoted(options.database)}")
                session.rows(create_statement(options.database, source.expected["identity"]))
            elif target.leftover:
                wipe(session, options.database)
            marker = names.quoted(options.database, names.MARKER)
            session.rows(f"CREATE TABLE IF NOT EXISTS {marker} (started datetime PRIMARY KEY)")
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"preparing the database {options.database}") from None


def create_statement(name, identity) -> str:
    """CREATE DATABASE like the dumped one. Pure."""
    statement = f"CREATE DATABASE {names.quoted(name)}"
    if identity.get("character_set"):
        statement += f" CHARACTER SET {identity['character_set']} COLLATE {identity['collation']}"
    return statement


def wipe(session, database) -> None:
    """Removes what a dead restore has left in a schema that was empty before it. Only with its marker there."""
    if not marked(session, database):
        raise RefusedError("The database has no mark of an unfinished restore.", reason="not_ours")
    session.rows("SET SESSION foreign_key_checks = 0")
    listed = definitions.listed(session, database)
    for name in listed["events"]:
        session.rows(f"DROP EVENT {names.quoted(name)}")
    for name in listed["views"]:
        session.rows(f"DROP VIEW {names.quoted(name)}")
    for word, name in listed["routines"]:
        session.rows(f"DROP {word} {names.quoted(name)}")
    for name in listed["tables"]:
        session.rows(f"DROP TABLE {names.quoted(name)}")


def analyze(login, options) -> None:
    """Statistics, so that the first queries are planned well."""
    with connect.connect(login, options.database, application="kestra_dr analyze") as session:
        try:
            tables = definitions.listed(session, options.database)["tables"]
            if tables:
                session.rows("ANALYZE NO_WRITE_TO_BINLOG TABLE " + ", ".join(names.quoted(name) for name in tables))
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"analyzing the database {options.database}") from None


def proved(login, options) -> None:
    """Takes away what marks the schema as one whose restore has not passed its comparison."""
    with connect.connect(login, options.database, application="kestra_dr mark") as session:
        try:
            session.rows(f"DROP TABLE {names.quoted(names.MARKER)}")
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"finishing the database {options.database}") from None
