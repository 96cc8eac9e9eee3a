# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the drill does to the database itself, beside Kestra and the playbooks: look, destroy, move aside, put back."""
from __future__ import annotations

import time

import psycopg
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect as search
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import inventory as indices
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import options as search_options
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import activity, connect, inventory, names, swap
from psycopg import sql

from . import DrillError

MAINTENANCE = ("postgres", "template1")
IDENTIFIER_BYTES = 63  # PostgreSQL's NAMEDATALEN - 1, and one less than MySQL takes


def database_of(credentials):
    """The database that Configuration.database_credentials() describe."""
    kinds = {"mysql": MysqlDatabase, "elasticsearch": Indices}
    return kinds.get(credentials["driver"], PostgresqlDatabase)(credentials)


def aside_name(name, serial, word="drill") -> str:
    """A name for the database that is moved aside, within the servers' limits."""
    tail = f"_{word}_{serial}".lower().replace("-", "_")
    base = name.encode("utf-8")[: IDENTIFIER_BYTES - len(tail)].decode("utf-8", "ignore")
    return base + tail


class PostgresqlDatabase:
    """Kestra's PostgreSQL database, reached with Kestra's own credentials (a dictionary of its configuration)."""

    title = "PostgreSQL"

    def __init__(self, credentials):
        self.name = credentials["name"]
        self._options = {
            "host": credentials["host"], "port": credentials["port"], "user": credentials["user"],
            "password": credentials["password"], "sslmode": credentials.get("ssl_mode"),
            "sslrootcert": credentials.get("ssl_root_cert"), "sslcert": credentials.get("ssl_cert"),
            "sslkey": credentials.get("ssl_key"), "connect_timeout": 10, "application_name": "kestra-dr-drill",
        }

    def _connect(self, database=None):
        wanted = {key: value for key, value in self._options.items() if value is not None}
        failure = None
        for name in (database,) if database else MAINTENANCE:
            try:
                return psycopg.connect(dbname=name, autocommit=True, **wanted)
            except psycopg.OperationalError as error:
                failure = error
        said = str(failure).strip().splitlines()[0]
        where = f"{self._options['host']}:{self._options['port']}"
        raise DrillError(
            f"PostgreSQL at {where} cannot be reached as {self._options['user']}: {said}",
            "The drill takes address, user and password from Kestra's own configuration.",
        )

    def exists(self, name=None) -> bool:
        """Whether a database of that name (default: Kestra's) is there."""
        with self._connect() as connection:
            found = connection.execute("select 1 from pg_database where datname = %s", [name or self.name]).fetchone()
        return found is not None

    def facts(self) -> dict:
        """{"version": text, "bytes": size of Kestra's database, "tables": number of them, "rows": of all of them}."""
        with self._connect(self.name) as connection:
            version = connection.execute("show server_version").fetchone()[0].split()[0]
            size = connection.execute("select pg_database_size(current_database())").fetchone()[0]
            tables = connection.execute(
                "select schemaname, relname from pg_stat_user_tables order by 1, 2"
            ).fetchall()
            rows = 0
            for schema, table in tables:
                query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
                rows += connection.execute(query).fetchone()[0]
        return {"version": version, "bytes": size, "tables": len(tables), "rows": rows}

    def why_not_movable(self):
        """Why Kestra's role may not rename and create databases, or None when it may."""
        with self._connect() as connection:
            role = connection.execute(
                "select rolcreatedb or rolsuper, rolsuper from pg_roles where rolname = current_user"
            ).fetchone()
            owned = connection.execute(
                "select pg_has_role(current_user, datdba, 'USAGE') from pg_database where datname = %s", [self.name]
            ).fetchone()
        user = self._options["user"]
        if owned is None:
            return f"there is no database {self.name}"
        if not owned[0] and not role[1]:
            return f"{user} does not own the database {self.name}"
        if not role[0]:
            return f"{user} may not create databases (ALTER ROLE {user} CREATEDB allows it)"
        return None

    def drop(self, name=None) -> None:
        """Destroys a database under whoever uses it (PostgreSQL 13 and later)."""
        with self._connect() as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name or self.name))
            )

    def rename(self, old, new, seconds=30) -> None:
        """Renames a database under whoever uses it: its sessions are ended and new ones kept out meanwhile."""
        deadline = time.monotonic() + seconds
        with self._connect() as connection:
            connection.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(old)))
            name = old
            try:
                while True:
                    connection.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity"
                        " where datname = %s and pid <> pg_backend_pid()",
                        [old],
                    )
                    try:
                        connection.execute(
                            sql.SQL("alter database {} rename to {}").format(sql.Identifier(old), sql.Identifier(new))
                        )
                        name = new
                        return
                    except psycopg.errors.ObjectInUse as error:
                        if time.monotonic() > deadline:
                            raise DrillError(f"The database {old} stays in use: {str(error).splitlines()[0]}") from None
                        time.sleep(0.2)
            finally:
                connection.execute(sql.SQL("alter database {} allow_connections true").format(sql.Identifier(name)))


class MysqlDatabase:
    """Kestra's MySQL schema, reached with Kestra's own credentials (a dictionary of its configuration)."""

    title = "MySQL"

    def __init__(self, credentials):
        self.name = credentials["name"]
        host, port = credentials["hosts"][0]
        self._login = connect.Login(
            user=credentials["user"], password=credentials["password"], host=host, port=port,
            ssl_mode=credentials.get("ssl_mode") or "preferred", ssl_ca=credentials.get("ssl_root_cert"),
            ssl_cert=credentials.get("ssl_cert"), ssl_key=credentials.get("ssl_key"))

    def _connect(self):
        try:
            return connect.connect(self._login, application="kestra_dr drill")
        except DrError as error:
            raise DrillError(
                error.message, "The drill takes address, user and password from Kestra's own configuration.") from None

    def exists(self, name=None) -> bool:
        """Whether a schema of that name (default: Kestra's) is there."""
        with self._connect() as session:
            return (name or self.name) in swap.existing(session)

    def facts(self) -> dict:
        """{"version": text, "bytes": size of Kestra's schema, "tables": number of them, "rows": of all of them}."""
        with self._connect() as session:
            tables = session.rows(
                "select table_name, data_length + index_length from information_schema.tables"
                " where table_schema = %s and table_type = 'BASE TABLE'", (self.name,))
            rows = sum(session.value(f"select count(*) from {names.quoted(self.name, table)}") for table, _size in tables)
            return {"version": session.value("select version()"), "bytes": int(sum(size or 0 for _table, size in tables)),
                    "tables": len(tables), "rows": rows}

    def why_not_movable(self):
        """Why Kestra's account may not move its tables to another schema, or None when it may."""
        with self._connect() as session:
            if self.name not in swap.existing(session):
                return f"there is no database {self.name}"
            try:
                swap.require_renaming(session, [self.name, aside_name(self.name, "20200101t000000z")])
            except RefusedError as error:
                return f"{error.message.rstrip('.')} ({error.hint})"
            if not inventory.server(self._login)["can_create_database"]:
                return f"{self._login.user} may not create databases"
        return None

    def drop(self, name=None) -> None:
        """Destroys a schema under whoever uses it."""
        with self._connect() as session:
            session.rows(f"drop database if exists {names.quoted(name or self.name)}")

    def rename(self, old, new, seconds=30) -> None:
        """Moves all tables of a schema to another one, which takes its place. Its sessions are ended meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self._connect() as session:
                    for other in activity.sessions(session, old):
                        session.rows(f"kill {int(other['pid'])}")
                swap.rename(self._login, [(old, new)])
                return
            except RefusedError as error:
                if error.reason != "database_in_use" or time.monotonic() > deadline:
                    raise DrillError(f"The database {old} stays in use: {error.message}", error.hint) from None
                time.sleep(0.2)
            except DrError as error:
                raise DrillError(error.message, error.hint) from None


class Indices:
    """Kestra's indices in Elasticsearch or OpenSearch, reached with credentials of Kestra's configuration. They are looked at only."""

    title = "Elasticsearch"

    def __init__(self, credentials):
        self._prefix = credentials["prefix"]
        self.name = self._prefix + "*"
        self._login = search.Login(hosts=tuple(search_options.url_of(host) for host in credentials["hosts"]),
                                   user=credentials["user"], password=credentials["password"])

    def _read(self, **what):
        try:
            with search.connect(self._login) as cluster:
                self.title = cluster.title
                return indices.read(cluster, self._prefix, **what)
        except DrError as error:
            raise DrillError(error.message, error.hint) from None

    def exists(self, _name=None) -> bool:
        """Whether there is any index of Kestra's."""
        return self._read()["exists"]

    def facts(self) -> dict:
        """{"version": text, "bytes": size of Kestra's indices, "tables": number of them, "rows": documents in all of them}."""
        found = self._read(with_counts=True)
        return {"version": found["identity"]["server_version"], "bytes": found["size_bytes"], "tables": len(found["indices"]),
                "rows": sum(found["counts"].values())}

    def why_not_movable(self):
        """Indices cannot be renamed, so a drill cannot put a user's own aside."""
        return f"its data are in {self.title}, whose indices this drill does not move aside"
