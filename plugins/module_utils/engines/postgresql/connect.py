# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching a PostgreSQL server: by psycopg for every question, and by the client programs for the work.

Both get the same parameters. A password is never in an argument or in the environment of a child: libpq reads it from
a file that exists in memory only and ends with this process.
"""
from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field

from ...core.errors import ConfigError, ConnectError, ToolError
from ...core.secrets import memory_file

# How our own sessions are told from everybody else's.
APPLICATION = "kestra_dr"

# Seconds any question waits for a lock, so that none waits for ever for somebody's forgotten transaction.
LOCK_TIMEOUT = 60

# A peer that vanished is noticed after about 30 + 3 * 10 s instead of the two hours of the kernel's default.
KEEPALIVES = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
              "tcp_user_timeout": 60000}

# What libpq says of a server that is gone: it depends on TLS, and on who notices first.
LOST = (r"server closed the connection|terminating connection|connection to server|SSL SYSCALL error: EOF|SSL error: unexpected eof"
        r"|SSL connection has been closed|no connection to the server|could not receive data from server")

# Variables of the caller's environment that would silently change what is connected to, or what is read there.
_FOREIGN = ("PGSERVICE", "PGSERVICEFILE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD",
            "PGPASSFILE", "PGOPTIONS", "PGAPPNAME", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY",
            "PGTARGETSESSIONATTRS", "PGCONNECT_TIMEOUT", "PGCLIENTENCODING", "PGTZ", "PGDATESTYLE", "PGGEQO",
            "PG_COLOR")

# libpq's parameters and the variables its programs take them from.
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "sslmode": "PGSSLMODE",
              "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
              "target_session_attrs": "PGTARGETSESSIONATTRS", "connect_timeout": "PGCONNECT_TIMEOUT"}

# What libpq and the server say (in English, unless lc_messages says otherwise) -> reason, sentence, hint.
_CAUSES = (
    (r"password authentication failed|no password supplied|SASL|SCRAM|authentication failed|is not permitted to log in",
     "login_refused", "refuses the login of", "Check user and password."),
    (r"role \".*\" does not exist", "login_refused", "does not know the role of", "Check login_user."),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", "login_refused", "has no pg_hba.conf entry that admits",
     "Add one for this host, user and database, or check ssl_mode."),
    (r"database \".*\" does not exist", "database_missing", "has no such database for", "Check the database's name."),
    (r"certificate|SSL|TLS", "tls", "and this host cannot agree on TLS for", "Check ssl_mode and ssl_root_cert."),
    (r"starting up|shutting down|recovery mode|not yet accepting", "not_ready", "is not ready for",
     "Wait until the server is up, then run again."),
    (r"too many (clients|connections)|connection slots", "too_many_connections", "has no free connection for",
     "Raise max_connections, or use fewer jobs."),
)


@dataclass(frozen=True)
class Login:
    """How to reach a server. host: name, address, or directory of a Unix socket (None: libpq's default socket); several
    are joined by commas, and so are their ports.

    maintenance: the database to connect to for questions about all databases. connect_timeout: seconds.
    """

    user: str
    host: str | None = None
    port: int | str = 5432
    password: str | None = field(default=None, repr=False)
    maintenance: str = "postgres"
    ssl_mode: str | None = None
    ssl_root_cert: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    target_session_attrs: str | None = None
    connect_timeout: int = 10

    @property
    def place(self) -> str:
        """host:port, for messages."""
        return f"{self.host or 'local socket'}:{self.port}"

    def parameters(self, database) -> dict:
        """libpq's parameters, without the password."""
        given = {"host": self.host, "port": self.port, "user": self.user, "dbname": database, "sslmode": self.ssl_mode,
                 "sslrootcert": self.ssl_root_cert, "sslcert": self.ssl_cert, "sslkey": self.ssl_key,
                 "target_session_attrs": self.target_session_attrs, "connect_timeout": self.connect_timeout}
        return {key: value for key, value in given.items() if value is not None}


def driver():
    """The psycopg module. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        import psycopg
        import psycopg.sql
    except ImportError:
        raise ToolError("The Python library psycopg (version 3) is missing on this host.", reason="psycopg_missing",
                        hint="Run the prepare role for the worker host, or install python3-psycopg and set "
                             "ansible_python_interpreter to the Python that has it.") from None
    return psycopg


def connect(login, database=None, *, application=APPLICATION, autocommit=True):
    """A psycopg connection to database (None: the maintenance database).

    Session: UTC, empty search path (so definitions come out fully qualified), no statement or idle limits, waits for
    locks no longer than LOCK_TIMEOUT.
    Raises ConnectError (reasons login_refused, database_missing, tls, not_ready, too_many_connections, unreachable).
    """
    psycopg = driver()
    name = login.maintenance if database is None else database
    parameters = dict(login.parameters(name), application_name=application, client_encoding="UTF8", **KEEPALIVES)
    if login.password is not None:
        parameters["password"] = login.password
    try:
        connection = psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
    except psycopg.OperationalError as exc:
        raise connect_error(login, name, str(exc)) from None
    try:
        for setting, value in (("TimeZone", "UTC"), ("search_path", ""), ("statement_timeout", "0"),
                               ("lock_timeout", f"{LOCK_TIMEOUT}s"), ("idle_in_transaction_session_timeout", "0"), ("DateStyle", "ISO"),
                               ("IntervalStyle", "postgres"), ("extra_float_digits", "3"), ("row_security", "off")):
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (setting, value))
        if connection.info.server_version >= 140000:
            connection.execute("SET idle_session_timeout = 0")
        if connection.info.server_version >= 170000:
            connection.execute("SET transaction_timeout = 0")
    except psycopg.Error as exc:
        connection.close()
        raise query_error(exc, f"setting up a session on {login.place}") from None
    connection.autocommit = autocommit
    return connection


def connect_error(login, database, text) -> ConnectError:
    """The ConnectError for what libpq said. Messages of libpq hold no password; ours only names user and place."""
    last = re.sub(r"^(connection (is bad|failed): )+", "", " ".join(text.split())).rstrip(".")
    who = f"{login.user} (database {database})"
    for pattern, reason, sentence, hint in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return ConnectError(f"The PostgreSQL server {login.place} {sentence} {who}: {last}.",
                                reason=reason, hint=hint, detail={"place": login.place, "database": database})
    return ConnectError(f"The PostgreSQL server {login.place} cannot be reached: {last}.",
                        reason="unreachable", hint="Check that it runs, its address, and the network between.",
                        detail={"place": login.place, "database": database})


def pass_line(password) -> str:
    """The one line of a password file, good for every server (libpq: colon and backslash are escaped)."""
    if "\n" in password or "\r" in password or "\0" in password:
        raise ConfigError("The database password holds a line break, which PostgreSQL's password files cannot express.",
                          reason="password_unsupported", hint="Choose a password without line breaks.")
    return "*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n"


@contextlib.contextmanager
def client_environment(login, database, *, timezone=None, settings=None):
    """The environment for pg_dump, pg_restore and psql to reach database; None marks variables to remove.

    timezone: of the session (PGTZ). settings: {name: value} of the session (PGOPTIONS).
    """
    env = dict.fromkeys(_FOREIGN)
    env.update({_VARIABLES[key]: str(value) for key, value in login.parameters(database).items()})
    env.update(PGAPPNAME=APPLICATION, PGTZ=timezone)
    if settings:
        env["PGOPTIONS"] = " ".join(f"-c {name}={_option(value)}" for name, value in sorted(settings.items()))
    if login.password is None:
        env["PGPASSFILE"] = os.environ.get("PGPASSFILE")
        yield env
        return
    with memory_file(pass_line(login.password)) as path:
        env["PGPASSFILE"] = path
        yield env


def _option(value) -> str:
    """A value inside PGOPTIONS: blanks and backslashes are escaped."""
    return str(value).replace("\\", "\\\\").replace(" ", "\\ ")


def conninfo(database) -> str:
    """--dbname for pg_restore and psql: the name (safe for names with = or blanks) and the keepalives; no secret."""
    values = dict(KEEPALIVES, dbname=database)
    return " ".join("{}='{}'".format(key, str(value).replace("\\", "\\\\").replace("'", "\\'"))
                    for key, value in values.items())


def query_error(exc, doing) -> ConnectError:
    """The ConnectError for a query that failed. exc: psycopg.Error. doing: what was attempted."""
    state = getattr(exc, "sqlstate", None)
    lost = state is None or state[:2] in ("08", "57")
    if state == "55P03":
        return ConnectError(f"A lock was not free in time while {doing}.", reason="lock_timeout",
                            hint="See in pg_locks who holds it (a migration, a forgotten transaction), then run again.",
                            detail={"sqlstate": state})
    text = " ".join(str(exc).split()).rstrip(".") or type(exc).__name__
    return ConnectError(f"The server went away while {doing}: {text}." if lost else f"The database failed while {doing}: {text}.",
                        reason="connection_lost" if lost else "query_failed",
                        hint="Check that the server runs, then run again." if lost else None,
                        detail={"sqlstate": state})
