# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases made, replaced by rename, and removed. Everything here runs from the maintenance database."""
from __future__ import annotations

from ...core.errors import RefusedError, StateError
from .. import in_use, own_names
from . import activity, connect, names


def existing(connection) -> dict:
    """{name: oid} of all databases."""
    return dict(connection.execute("SELECT datname, oid::pg_catalog.int8 FROM pg_catalog.pg_database").fetchall())


def require_free(connection, databases, **ending) -> None:
    """Raises RefusedError when a session stays on these databases, naming it. ending: as in_use.require_free takes it."""
    in_use.require_free(
        databases, lambda database: activity.sessions(connection, database),
        lambda pid: connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,)),
        idle="idle", client="psql", **ending)


def require_renaming(connection, databases) -> None:
    """Raises RefusedError when this role may not rename one of these databases, as far as they exist."""
    row = connection.execute(
        "SELECT rolsuper, rolcreatedb, rolname FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
    for name in databases:
        owner = connection.execute(
            "SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database WHERE datname = %s",
            (name,)).fetchone()
        if owner and not (row[0] or (row[1] and owner[0])):
            raise RefusedError(f"The role {row[2]} may not rename the database {name}.", reason="privileges_missing",
                               hint="Renaming needs the owner with CREATEDB, or a superuser: give such a login_user.",
                               detail={"role": row[2], "database": name})


def rename(login, renames, *, terminate_idle_of=None) -> None:
    """Renames databases [(old, new)] in one transaction: all or none. Raises RefusedError while they are in use."""
    psycopg = connect.driver()
    with connect.connect(login, application="kestra_dr swap") as connection:
        try:
            old = [pair[0] for pair in renames]
            require_renaming(connection, old)
            require_free(connection, old, terminate_idle_of=terminate_idle_of)
            with connection.transaction():
                for source, target in renames:
                    connection.execute(f"ALTER DATABASE {names.quoted(source)} RENAME TO {names.quoted(target)}")
        except psycopg.errors.ObjectInUse:
            # Somebody came between the look and the rename; the server refused, nothing has changed.
            require_free(connection, old)
            raise RefusedError("A database is in use.", reason="database_in_use",
                               hint="Stop what connects to it again and again, then run again.") from None
        except psycopg.errors.DuplicateDatabase as exc:
            raise StateError(f"A database of that name exists already: {exc.diag.message_primary}.",
                             reason="database_exists", hint="Look at the server's databases first.") from None
        except psycopg.Error as exc:
            raise connect.query_error(exc, "renaming databases") from None


def drop(login, name, *, only_look=False) -> dict:
    """Drops a database of our own making or an undo point. Returns {changed, database}. Refuses any other name.

    only_look: say what would be done.
    """
    own_names.require_ours(name)
    psycopg = connect.driver()
    with connect.connect(login, application="kestra_dr drop") as connection:
        try:
            if name not in existing(connection):
                return {"changed": False, "database": name}
            if only_look:
                return {"changed": True, "database": name}
            require_free(connection, [name], terminate_ours=True)
            connection.execute(f"DROP DATABASE {names.quoted(name)}")
            return {"changed": True, "database": name}
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"dropping the database {name}") from None


def note(connection, name, text) -> None:
    """COMMENT ON DATABASE. text None removes it."""
    psycopg = connect.driver()
    connection.execute(psycopg.sql.SQL("COMMENT ON DATABASE {} IS {}").format(
        psycopg.sql.Identifier(name), psycopg.sql.Literal(text)))


def noted(connection, name):
    """The comment on a database, or None."""
    return connection.execute("SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database "
                              "WHERE datname = %s", (name,)).fetchone()[0]


def create(login, name, *, owner, identity, owner_password=None, locale=None, settings=(), comment=None) -> None:
    """Creates an empty database like the dumped one, with a comment. identity: of the manifest.

    owner: role that owns it; created with owner_password when it does not exist. locale: instead of the recorded one.
    settings: ["name=value"] of ALTER DATABASE. Raises RefusedError, ConnectError.
    """
    psycopg = connect.driver()
    with connect.connect(login, application="kestra_dr create") as connection:
        try:
            if name in existing(connection):
                raise RefusedError(f"The database {name} exists already.", reason="database_exists",
                                   hint="Give a new name, or create: false for an empty one.")
            _owner(connection, psycopg, owner, owner_password)
            connection.execute(create_statement(name, owner, identity, locale, connection.info.server_version))
            if comment:
                note(connection, name, comment)
            for item in settings:
                key, unused, value = item.partition("=")
                _setting(connection, psycopg, name, key, value)
        except psycopg.errors.InsufficientPrivilege as exc:
            raise RefusedError(f"The database {name} cannot be created: {exc.diag.message_primary}.",
                               reason="privileges_missing",
                               hint="Connect as a role with CREATEDB that is a member of the owner, or have an empty "
                                    "database made and use create: false.") from None
        except (psycopg.errors.WrongObjectType, psycopg.errors.UndefinedObject,
                psycopg.errors.InvalidParameterValue) as exc:
            raise RefusedError(f"The database {name} cannot be created like the source: {exc.diag.message_primary}.",
                               reason="locale_missing",
                               hint="Install that locale on the server, or give another by the option locale.",
                               detail={"identity": identity}) from None
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"creating the database {name}") from None


def create_statement(name, owner, identity, locale, server_version) -> str:
    """CREATE DATABASE from template0, which is the only template that may have any encoding and locale. Pure."""
    def text(value):
        return "'" + str(value).replace("'", "''") + "'"

    parts = [f"CREATE DATABASE {names.quoted(name)} TEMPLATE template0"]
    if owner:
        parts.append(f"OWNER {names.quoted(owner)}")
    if identity.get("encoding"):
        parts.append(f"ENCODING {text(identity['encoding'])}")
    if locale:
        parts.append(f"LC_COLLATE {text(locale)} LC_CTYPE {text(locale)}")
        return " ".join(parts)
    if identity.get("collate"):
        parts.append(f"LC_COLLATE {text(identity['collate'])} LC_CTYPE {text(identity['ctype'])}")
    provider = identity.get("locale_provider")
    if provider == "i" and server_version >= 150000:
        parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {text(identity['locale'])}")
    elif provider == "b" and server_version >= 170000:
        parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {text(identity['locale'])}")
    elif provider == "c" and server_version >= 150000:
        parts.append("LOCALE_PROVIDER libc")
    return " ".join(parts)


def _owner(connection, psycopg, owner, password) -> None:
    if not owner:
        return
    if connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (owner,)).fetchone():
        return
    if password is None:
        raise RefusedError(f"The role {owner} does not exist on the target server.", reason="role_missing",
                           hint="Create it, or give owner_password and it is created as a login role.",
                           detail={"role": owner})
    # Hashed here, so that the server's log cannot show it.
    hashed = connection.pgconn.encrypt_password(password.encode("utf-8"), owner.encode("utf-8"), b"scram-sha-256")
    connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
        psycopg.sql.Identifier(owner), psycopg.sql.Literal(hashed.decode("ascii"))))


def _setting(connection, psycopg, database, key, value) -> None:
    """ALTER DATABASE … SET. List settings are stored as written, so they are taken apart like the server does."""
    lists = ("search_path", "session_preload_libraries", "local_preload_libraries", "temp_tablespaces")
    parts = [part.strip().strip('"') for part in value.split(",")] if key in lists else [value]
    connection.execute(psycopg.sql.SQL("ALTER DATABASE {} SET {} TO {}").format(
        psycopg.sql.Identifier(database), psycopg.sql.SQL(".").join(
            psycopg.sql.Identifier(part) for part in key.split(".")),
        psycopg.sql.SQL(", ").join(psycopg.sql.Literal(part) for part in parts)))
