# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group postgresql. Must be kept in sync with plugins/doc_fragments/postgresql.py."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import ConfigError
from ...kestra import options as kestra_options
from ..facts import read_password
from . import connect


def argument_spec() -> dict:
    """The options of every module that talks to PostgreSQL."""
    return {
        "login_host": {"type": "str"},
        "login_port": {"type": "int"},
        "login_unix_socket": {"type": "path"},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "login_password_file": {"type": "path", "no_log": False},
        "login_db": {"type": "str", "default": "postgres"},
        "database": {"type": "str"},
        "schema": {"type": "str"},
        "ssl_mode": {"type": "str", "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]},
        "ssl_root_cert": {"type": "path"},
        "ssl_cert": {"type": "path"},
        "ssl_key": {"type": "path", "no_log": False},
        "connect_timeout": {"type": "int", "default": 10},
        "config": kestra_options.CONFIG_SPEC,
    }


MUTUALLY_EXCLUSIVE = [("login_host", "login_unix_socket"), ("login_password", "login_password_file")]


@dataclass(frozen=True)
class Place:
    """What the options lead to. database: Kestra's, None when nothing names it. user: Kestra's own role, if known."""

    login: connect.Login
    database: str | None
    schema: str
    user: str | None

    def require_database(self) -> str:
        """The database. Raises ConfigError when nothing names one."""
        if self.database is None:
            raise ConfigError("Nothing names the database.", reason="config_missing",
                              hint="Give the option database, or config with Kestra's configuration.")
        return self.database

    def fingerprint(self) -> dict:
        """What tells this place from another one, without secrets."""
        return {"place": self.login.place, "user": self.login.user, "database": self.database, "schema": self.schema}


def resolve(params, credentials=None) -> Place:
    """Options win over Kestra's configuration. credentials: Configuration.database_credentials() or None.

    Kestra's password is used for Kestra's own user only. Raises ConfigError.
    """
    known = credentials or {}
    user = params["login_user"] or known.get("user") or "postgres"
    password = params["login_password"]
    if params["login_password_file"]:
        password = read_password(params["login_password_file"])
    if password is None and user == known.get("user"):
        password = known.get("password")
    given = params["login_unix_socket"] or params["login_host"]
    host, port = known.get("host") or "localhost", known.get("port")
    attributes = known.get("target_session_attrs")
    if given:
        host, port, attributes = given, None, None
    login = connect.Login(
        user=user, password=password, host=host, port=params["login_port"] or port or 5432,
        maintenance=params["login_db"], target_session_attrs=attributes, connect_timeout=params["connect_timeout"],
        **{name: params[name] or known.get(name) for name in ("ssl_mode", "ssl_root_cert", "ssl_cert", "ssl_key")})
    return Place(login, params["database"] or known.get("name"), params["schema"] or known.get("schema") or "public",
                 known.get("user") or params["login_user"])


def of_module(module, redactor, configuration=None) -> Place:
    """The Place of a module with argument_spec(); its secrets are made known to module and redactor.

    configuration: where the module has read it already.
    """
    credentials = None
    if configuration is None:
        configuration = kestra_options.read_of(module, redactor)
    if configuration is not None:
        credentials = configuration.database_credentials()
        if credentials["driver"] != "postgresql":
            raise ConfigError(f"Kestra's configuration names a {credentials['driver']} database, not PostgreSQL.",
                              reason="unsupported_database")
    place = resolve(module.params, credentials)
    redactor.add(place.login.password)
    if place.login.password and len(place.login.password) >= 4:
        module.no_log_values.add(place.login.password)
    return place
