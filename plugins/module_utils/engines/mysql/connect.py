# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching a MySQL server: by PyMySQL for every question and for loading, and by mysqldump for the dump.

Both get the same parameters. A password is never in an argument or in the environment of a child: the client reads it
from an option file that exists in memory only and ends with this process.
"""
from __future__ import annotations

import contextlib
import os
import re
import ssl
from dataclasses import dataclass, field

from ...core.errors import ConfigError, ConnectError, ToolError
from ...core.secrets import memory_file
from . import versions

# How our own sessions are told from everybody else's (performance_schema.session_account_connect_attrs).
APPLICATION = "kestra_dr"

# Seconds any question waits for a lock, so that none waits for ever for somebody's forgotten transaction.
LOCK_TIMEOUT = 60

SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")

# A name no login file has: mysqldump reads ~/.mylogin.cnf even when it is told its option file.
_NO_LOGIN_FILE = "/nonexistent/kestra-dr"

# A session that means the same everywhere. Backslash escapes are what PyMySQL writes.
_SETTINGS = ("sql_mode = ''", "time_zone = '+00:00'", f"lock_wait_timeout = {LOCK_TIMEOUT}", "max_execution_time = 0",
             f"innodb_lock_wait_timeout = {LOCK_TIMEOUT}", "information_schema_stats_expiry = 0", "wait_timeout = 86400",
             "net_read_timeout = 600", "net_write_timeout = 600", "group_concat_max_len = 4294967295",
             "transaction_isolation = 'REPEATABLE-READ'", "sql_quote_show_create = 1")

# What client and server say -> reason, sentence, hint.
_CAUSES = (
    ((1045, 1698, 3118, 1396, 1862), "login_refused", "refuses the login of", "Check user and password."),
    ((1044, 1142), "login_refused", "does not let into the database", "Grant the account what it needs there."),
    ((1130, 1129), "login_refused", "does not admit this host for", "Check the host part of the account ('user'@'host')."),
    ((1049,), "database_missing", "has no such database for", "Check the database's name."),
    ((2026, 3159), "tls", "and this host cannot agree on TLS for", "Check ssl_mode and ssl_ca."),
    ((1053, 1080), "not_ready", "is not ready for", "Wait until the server is up, then run again."),
    ((1040, 1203, 1226), "too_many_connections", "has no free connection for",
     "Raise max_connections, or use fewer jobs."),
)
_LOST = (2006, 2013, 2055, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 3032, 4031)


@dataclass(frozen=True)
class Login:
    """How to reach a server. host: name or address. socket: path of a Unix socket, in place of host and port.

    connect_timeout: seconds.
    """

    user: str
    host: str | None = None
    port: int = 3306
    socket: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl_mode: str = "preferred"
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    connect_timeout: int = 10

    @property
    def place(self) -> str:
        """host:port or the socket, for messages."""
        return self.socket or f"{self.host or 'localhost'}:{self.port}"


def driver():
    """The PyMySQL module. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        import pymysql
        import pymysql.cursors
    except ImportError:
        raise ToolError("The Python library PyMySQL is missing on this host.", reason="pymysql_missing",
                        hint="Run the prepare role for the worker host, or install python3-pymysql and set "
                             "ansible_python_interpreter to the Python that has it.") from None
    return pymysql


class Session:
    """One connection. version: (major, minor, patch). id: of the connection on the server."""

    def __init__(self, connection, place):
        self._connection = connection
        self.place = place
        self.id = connection.thread_id()
        self.version = versions.parse(connection.get_server_info())

    def rows(self, statement, arguments=None) -> list:
        """Runs a statement and returns all its rows as tuples."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return list(cursor.fetchall())

    def stream(self, statement, arguments=None):
        """Runs a statement and yields its rows as the server sends them. Ends the session's other uses until done."""
        with self._connection.cursor(driver().cursors.SSCursor) as cursor:
            cursor.execute(statement, arguments)
            yield from cursor

    def row(self, statement, arguments=None):
        """The first row, or None."""
        found = self.rows(statement, arguments)
        return found[0] if found else None

    def value(self, statement, arguments=None):
        """The first column of the first row, or None."""
        found = self.row(statement, arguments)
        return found[0] if found else None

    def send(self, statement) -> None:
        """Runs a statement given as bytes, just as they are."""
        self._connection.query(statement)

    def close(self) -> None:
        """Ends the session; also when it is lost already."""
        with contextlib.suppress(driver().Error):
            self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


def connect(login, database=None, *, application=APPLICATION, read_timeout=None) -> Session:
    """A session in database (None: in none), in UTC, without modes or limits of its server.

    read_timeout: seconds any answer may take. Raises ConnectError (reasons login_refused, database_missing, tls,
    not_ready, too_many_connections, unreachable, vendor).
    """
    pymysql = driver()
    # As text PyMySQL would send it as Latin 1; MySQL's own clients send what their terminal does, which is UTF-8.
    password = (login.password or "").encode("utf-8", "surrogateescape")
    try:
        connection = pymysql.connect(
            user=login.user, password=password, database=database, charset="utf8mb4", autocommit=True,
            connect_timeout=login.connect_timeout, read_timeout=read_timeout, program_name=application,
            init_command="SET " + ", ".join(f"SESSION {item}" for item in _SETTINGS), **_address(login))
    except (pymysql.Error, RuntimeError, OSError) as exc:
        raise connect_error(login, database, exc) from None
    session = Session(connection, login.place)
    try:
        _require_vendor(session)
        _require_tls(login, session)
    except BaseException:
        session.close()
        raise
    return session


def _address(login) -> dict:
    if login.socket:
        return {"unix_socket": login.socket, "ssl_disabled": True}
    address = {"host": login.host or "localhost", "port": login.port}
    if login.ssl_mode == "disabled":
        return dict(address, ssl_disabled=True)
    if login.ssl_mode != "preferred" or login.ssl_ca or login.ssl_cert or not _prefers_tls():
        address["ssl"] = _context(login)
    return address


def _prefers_tls() -> bool:
    """Whether PyMySQL uses TLS by itself where the server has it (1.2). Older ones do when told, and go on without where
    it has none."""
    return driver().VERSION[:2] >= (1, 2)


def _context(login) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=login.ssl_ca)
    context.check_hostname = login.ssl_mode == "verify_identity"
    context.verify_mode = ssl.CERT_REQUIRED if login.ssl_mode.startswith("verify") else ssl.CERT_NONE
    # MySQL's own certificate authority lacks extensions that newer Pythons ask for; mysqldump does not ask either.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if login.ssl_cert:
        context.load_cert_chain(login.ssl_cert, login.ssl_key)
    return context


def _require_vendor(session) -> None:
    text = session.value("SELECT CONCAT(VERSION(), ' ', @@version_comment)")
    if versions.vendor(text) == "MariaDB":
        raise ConnectError(f"The server {session.place} is MariaDB ({text}), on which Kestra does not run.",
                           reason="vendor", hint="Name the MySQL server Kestra uses.")


def _require_tls(login, session) -> None:
    """Older PyMySQL goes on without TLS when the server has none."""
    if login.socket or login.ssl_mode in ("disabled", "preferred"):
        return
    if not session.row("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[1]:
        raise ConnectError(f"The MySQL server {login.place} offers no TLS.", reason="tls", hint="Check ssl_mode.")


def code(exc):
    """The server's or client's error number, or None."""
    return exc.args[0] if exc.args and isinstance(exc.args[0], int) else None


def _text(exc) -> str:
    return " ".join(str(exc.args[1] if len(exc.args) > 1 else exc).split()).rstrip(".") or type(exc).__name__


def connect_error(login, database, exc) -> ConnectError:
    """The ConnectError for a connection that failed. The messages hold no password; ours only names user and place."""
    number, text = code(exc), _text(exc)
    detail = {"place": login.place, "database": database, "code": number}
    if isinstance(exc, RuntimeError):
        # PyMySQL: 'cryptography' package is required for sha256_password or caching_sha2_password auth methods
        return ConnectError(f"{login.user} cannot log in to {login.place} without TLS: {text}.", reason="tls",
                            hint="Use TLS (ssl_mode required), or install python3-cryptography.", detail=detail)
    if re.search(r"certificate|SSL|TLS", text) and number in (2003, 2026, None):
        number = 2026
    who = login.user + (f" (database {database})" if database else "")
    for numbers, reason, sentence, hint in _CAUSES:
        if number in numbers:
            return ConnectError(f"The MySQL server {login.place} {sentence} {who}: {text}.", reason=reason, hint=hint,
                                detail=detail)
    return ConnectError(f"The MySQL server {login.place} cannot be reached: {text}.", reason="unreachable",
                        hint="Check that it runs, its address, and the network between.", detail=detail)


def query_error(exc, doing) -> ConnectError:
    """The ConnectError for a query that failed. exc: pymysql.Error. doing: what was attempted."""
    number = code(exc)
    if number == 1205 or number == 3572:
        return ConnectError(f"A lock was not free in time while {doing}.", reason="lock_timeout",
                            hint="See in performance_schema.metadata_locks who holds it (a migration, a forgotten "
                                 "transaction), then run again.", detail={"code": number})
    if number in (1044, 1142, 1143, 1227, 1370):
        return ConnectError(f"The account may not do this ({doing}): {_text(exc)}.", reason="privileges_missing",
                            hint="Grant what is missing, or connect as another account.", detail={"code": number})
    lost = number in _LOST or number is None or number == 0
    return ConnectError(f"The database failed while {doing}: {_text(exc)}.",
                        reason="connection_lost" if lost else "query_failed",
                        hint="Check that the server runs, then run again." if lost else None, detail={"code": number})


def option_value(text) -> str:
    """A value of an option file, quoted: what would end it or mean something else is escaped. Pure."""
    if "\0" in text:
        raise ConfigError("An option of the database connection holds a NUL byte.", reason="password_unsupported")
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def option_file(login) -> str:
    """The [client] section that leads a client program to the server. Pure."""
    options = {"user": login.user, "password": login.password or ""}
    if login.socket:
        options.update(socket=login.socket, protocol="socket")
    else:
        options.update(host=login.host or "localhost", port=str(login.port), protocol="tcp")
        options["ssl-mode"] = login.ssl_mode.upper()
        for name in ("ssl_ca", "ssl_cert", "ssl_key"):
            if getattr(login, name):
                options[name.replace("_", "-")] = getattr(login, name)
        if login.ssl_mode in ("disabled", "preferred"):
            # Without TLS the password goes encrypted by the server's own key.
            options["loose-get-server-public-key"] = "1"
    # Should somebody alter a table for ever; programs that do not know it pass over it.
    options["loose-init-command"] = f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT}"
    return "[client]\n" + "".join(f"{name} = {option_value(value)}\n" for name, value in options.items())


@contextlib.contextmanager
def client_options(login):
    """Yields (the first argument, the environment) of a client program that is to reach the server."""
    env = {name: None for name in os.environ if name.startswith(("MYSQL_", "MARIADB_"))}
    env.update(MYSQL_TEST_LOGIN_FILE=_NO_LOGIN_FILE)
    with memory_file(option_file(login)) as path:
        yield f"--defaults-file={path}", env
