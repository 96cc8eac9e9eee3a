# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schemas replaced by others, and removed.

MySQL cannot rename a schema. Its tables can move to another one, though, and one RENAME TABLE moves any number of them
in one step, all or none, also when the server is killed in it (atomic DDL, since 8.0). So the live schema's tables move
to the undo point's schema and the restored ones take their place in a single statement; Kestra's JDBC URL and the grants
on its schema stay as they are. What is no table cannot move and is made anew: functions before that statement where
their place is free, views and events after it, triggers around it (a table with triggers does not leave its schema).
Kestra has two functions, which only its migrations call, and none of the others. A run that died is completed by the
next one: a schema with nothing in it counts as gone.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from ...core.errors import RefusedError, StateError
from .. import in_use, own_names
from . import activity, connect, definitions, inventory, names, privileges, script

_TABLES = ("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE' "
           "ORDER BY 1")
_MARKED = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
# kind -> what SHOW CREATE asks for, and in which columns of its answer are: statement, sql_mode, client's and
# connection's character set
_SHOW = {"views": ("VIEW", 1, None, 2, 3), "triggers": ("TRIGGER", 2, 1, 3, 4), "events": ("EVENT", 3, 1, 4, 5)}


@dataclass
class Held:
    """What is in a schema. tables: names. objects: {kind: [Definition]} of what is no table."""

    tables: list = field(default_factory=list)
    objects: dict = field(default_factory=dict)
    charset: str = "utf8mb4"
    collation: str | None = None


@dataclass
class Definition:
    """How to make an object again: the statement and the session it was made in."""

    word: str
    name: str
    statement: str
    sql_mode: str | None
    client: str
    collation: str

    def same(self, other) -> bool:
        """Whether another one means the same, whoever its definer is."""
        return other is not None and definitions.object_text(self.statement) == definitions.object_text(other.statement) \
            and (self.sql_mode, self.client, self.collation) == (other.sql_mode, other.client, other.collation)


def existing(session) -> dict:
    """{schema: how much it holds} of all schemas this account sees.

    Of our own ones only tables count: functions in one without tables are what a rename that died has left.
    """
    rows = session.rows("""
        SELECT s.SCHEMA_NAME,
               (SELECT COUNT(*) FROM information_schema.TABLES t
                 WHERE t.TABLE_SCHEMA = s.SCHEMA_NAME AND t.TABLE_TYPE = 'BASE TABLE'),
               (SELECT COUNT(*) FROM information_schema.TABLES t
                 WHERE t.TABLE_SCHEMA = s.SCHEMA_NAME AND t.TABLE_TYPE <> 'BASE TABLE')
               + (SELECT COUNT(*) FROM information_schema.ROUTINES r WHERE r.ROUTINE_SCHEMA = s.SCHEMA_NAME)
          FROM information_schema.SCHEMATA s""")
    return {name: tables if own_names.is_ours(name) else tables + others for name, tables, others in rows}


def identities(session, databases) -> dict:
    """{schema: a number that stays the same whatever it is renamed to; None where there is none, or nothing in it}."""
    found = existing(session)
    return {name: identity(session, name) if found.get(name) else None for name in databases}


def identity(session, database) -> int:
    """Who a schema is: the number in a table of our own, which moves with the others. Before it has that table, a digest
    of its name and of when its tables were made; that becomes the number."""
    if session.row(_MARKED, (database, names.IDENTITY)):
        number = session.value(f"SELECT MAX(id) FROM {names.quoted(database, names.IDENTITY)}")
        if number is not None:
            return number
    made = session.rows("SELECT TABLE_NAME, CAST(CREATE_TIME AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
                        "AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1", (database,))
    made = [row for row in made if row[0] not in names.OWN_TABLES]
    return int(definitions.digest([session.value("SELECT @@server_uuid"), database, made])[:12], 16)


def _mark(session, database) -> None:
    number = identity(session, database)
    table = names.quoted(database, names.IDENTITY)
    session.rows(f"CREATE TABLE IF NOT EXISTS {table} (id BIGINT PRIMARY KEY)")
    session.rows(f"INSERT IGNORE INTO {table} VALUES (%s)", (number,))


def require_free(session, databases, **ending) -> None:
    """Raises RefusedError when a session stays in these schemas, naming it. ending: as in_use.require_free takes it."""
    in_use.require_free(
        databases, lambda database: activity.sessions(session, database),
        lambda pid: session.rows(f"KILL {int(pid)}"), idle="sleep", client="mysql", **ending)


def read(session, database) -> Held:
    """All that is in a schema, ready to be moved."""
    session.rows(f"USE {names.quoted(database)}")
    listed = definitions.listed(session, database)
    who = inventory.identity(session, database)
    tables = [row[0] for row in session.rows(_TABLES, (database,))]
    held = Held(tables, {kind: [] for kind in definitions.KINDS}, who["character_set"], who["collation"])
    for kind, (word, *columns) in _SHOW.items():
        for name in listed[kind]:
            row = session.row(f"SHOW CREATE {word} {names.quoted(name)}")
            held.objects[kind].append(_definition(word, name, row, columns))
    for word, name in listed["routines"]:
        row = session.row(f"SHOW CREATE {word} {names.quoted(name)}")
        held.objects["routines"].append(_definition(word, name, row, (2, 1, 3, 4)))
    return held


def _definition(word, name, row, columns) -> Definition:
    statement, mode, client, collation = (None if index is None else row[index] for index in columns)
    if statement is None:
        raise RefusedError(f"The text of the {word.lower()} {name} is hidden from this account.",
                           reason="privileges_missing", hint="GRANT SHOW_ROUTINE ON *.* TO the account.")
    return Definition(word, name, statement, mode, client, collation)


def moves(renames, held) -> list:
    """[(old schema, table, new schema)] in the order of one RENAME TABLE. held: {schema: Held}. Pure."""
    return [(old, table, new) for old, new in renames for table in held[old].tables]


def rename_statement(moved) -> str:
    """One statement for all tables. Pure."""
    return "RENAME TABLE " + ", ".join(f"{names.quoted(old, table)} TO {names.quoted(new, table)}"
                                       for old, table, new in moved)


def require_possible(renames, found) -> None:
    """Refuses renames whose source is missing or whose target is taken. found: of existing(). Pure."""
    taken = {name for name, holds in found.items() if holds}
    for old, new in renames:
        if old not in taken:
            raise StateError(f"There is no database {old}.", reason="database_missing",
                             hint="Look at the server's databases first.")
        if new in taken:
            raise StateError(f"A database named {new} exists already.", reason="database_exists",
                             hint="Look at the server's databases first.")
        taken.remove(old)
        taken.add(new)


def require_renaming(session, databases) -> None:
    """Refuses an account that could not move tables between these schemas."""
    grants = privileges.read(session)
    for database in databases:
        lacks = [item for item in ("ALTER", "DROP", "CREATE", "INSERT", "CREATE ROUTINE", "ALTER ROUTINE")
                 if not grants.on(database, item)]
        if lacks:
            raise RefusedError(f"The account {inventory.account(session)} lacks {', '.join(lacks)} on {database}.",
                               reason="privileges_missing",
                               hint=f"GRANT ALL ON {names.quoted(database)}.* TO the account, or connect as another one.",
                               detail={"database": database})


def rename(login, renames, *, terminate_idle_of=None) -> None:
    """Gives schemas new names [(old, new)]: their tables in one step, all or none. Raises RefusedError while they are in
    use. A later pair may take a name an earlier one has given up."""
    with connect.connect(login, application="kestra_dr swap") as session:
        try:
            require_possible(renames, existing(session))
            sources = [old for old, unused in renames]
            require_renaming(session, {name for pair in renames for name in pair})
            require_free(session, sources, terminate_idle_of=terminate_idle_of)
            for name in sources:
                _mark(session, name)
            _rename(session, renames, {old: read(session, old) for old in sources})
        except connect.driver().Error as exc:
            raise connect.query_error(exc, "renaming databases") from None


def _rename(session, renames, held) -> None:
    session.rows("USE information_schema")
    before = existing(session)
    for old, new in renames:
        if new not in before:
            session.rows(f"CREATE DATABASE {names.quoted(new)} CHARACTER SET {held[old].charset} "
                         f"COLLATE {held[old].collation}")
    for old, new in renames:
        there = {item.name for item in read(session, new).objects["routines"]}
        for item in held[old].objects["routines"]:
            if item.name not in there:
                _make(session, item)
    for old, unused in renames:
        for item in held[old].objects["triggers"]:
            session.rows(f"DROP TRIGGER {names.quoted(old, item.name)}")
    moved = moves(renames, held)
    if moved:
        session.rows(rename_statement(moved))
    for old, new in renames:
        _complete(session, new, held[old])
    for old, unused in renames:
        if old not in [new for unused, new in renames]:
            session.rows("USE information_schema")
            session.rows(f"DROP DATABASE {names.quoted(old)}")


def _complete(session, database, wanted) -> None:
    """Leaves in a schema what is wanted there besides its tables, and nothing else."""
    have = read(session, database)
    # Routines first: views and triggers may call them.
    for kind in ("routines", "views", "triggers", "events"):
        there = {(item.word, item.name): item for item in have.objects[kind]}
        for item in wanted.objects[kind]:
            found = there.pop((item.word, item.name), None)
            if not item.same(found):
                if found:
                    session.rows(f"DROP {item.word} {names.quoted(item.name)}")
                _make(session, item)
        for item in there.values():
            session.rows(f"DROP {item.word} {names.quoted(item.name)}")


def _make(session, item) -> None:
    """Makes an object in the schema in use, as it was made before."""
    grants, own = privileges.read(session), inventory.account(session).rpartition("@")
    text = item.statement.encode("utf-8", "surrogateescape")
    bare, definer = script.without_definer(text)
    if definer != names.quoted(own[0]) + "@" + names.quoted(own[2]) and not (
            grants.globally("SET_USER_ID") or grants.globally("SUPER")):
        text = bare
    # The mode is part of its meaning, and the character sets are of its strings.
    session.rows(f"SET SESSION character_set_client = {item.client}, collation_connection = {item.collation}, "
                 "sql_mode = %s", (item.sql_mode or "",))
    session.send(text)
    session.rows("SET SESSION sql_mode = ''")
    session.rows("SET NAMES utf8mb4")


def drop(login, name, *, only_look=False) -> dict:
    """Drops a schema of our own making or an undo point. Returns {changed, database}. Refuses any other name.

    only_look: say what would be done.
    """
    own_names.require_ours(name)
    with connect.connect(login, application="kestra_dr drop") as session:
        try:
            if name not in existing(session):
                return {"changed": False, "database": name}
            if only_look:
                return {"changed": True, "database": name}
            require_free(session, [name], terminate_ours=True)
            session.rows(f"DROP DATABASE {names.quoted(name)}")
            return {"changed": True, "database": name}
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"dropping the database {name}") from None
