# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group mysql. Must be kept in sync with plugins/doc_fragments/mysql.py."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import ConfigError
from ...kestra import options as kestra_options
from ..facts import read_password
from . import connect


def argument_spec() -> dict:
    """The options of every module that talks to MySQL."""
    return {
        "login_host": {"type": "str"},
        "login_port": {"type": "int"},
        "login_unix_socket": {"type": "path"},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "login_password_file": {"type": "path", "no_log": False},
        "database": {"type": "str"},
        "ssl_mode": {"type": "str", "choices": list(connect.SSL_MODES)},
        "ssl_ca": {"type": "path"},
        "ssl_cert": {"type": "path"},
        "ssl_key": {"type": "path", "no_log": False},
        "connect_timeout": {"type": "int", "default": 10},
        "config": kestra_options.CONFIG_SPEC,
    }


# What libpq's modes are to MySQL.
_MODES = {"disable": "disabled", "allow": "preferred", "prefer": "preferred", "require": "required",
          "verify-ca": "verify_ca", "verify-full": "verify_identity"}


def of_shared(params) -> dict:
    """Our options from those of a module that serves every engine and has the option group postgresql. Pure."""
    return dict(params, ssl_mode=_MODES.get(params["ssl_mode"]), ssl_ca=params["ssl_root_cert"])


MUTUALLY_EXCLUSIVE = [("login_host", "login_unix_socket"), ("login_password", "login_password_file")]


@dataclass(frozen=True)
class Place:
    """What the options lead to. database: Kestra's, None when nothing names it. user: Kestra's own, if known."""

    login: connect.Login
    database: str | None
    user: str | None

    def require_database(self) -> str:
        """The database. Raises ConfigError when nothing names one."""
        if self.database is None:
            raise ConfigError("Nothing names the database.", reason="config_missing",
                              hint="Give the option database, or config with Kestra's configuration.")
        return self.database

    def fingerprint(self) -> dict:
        """What tells this place from another one, without secrets."""
        return {"place": self.login.place, "user": self.login.user, "database": self.database}


def resolve(params, credentials=None) -> Place:
    """Options win over Kestra's configuration. credentials: Configuration.database_credentials() or None.

    Kestra's password is used for Kestra's own user only. Raises ConfigError.
    """
    known = credentials or {}
    user = params["login_user"] or known.get("user") or "root"
    password = params["login_password"]
    if params["login_password_file"]:
        password = read_password(params["login_password_file"])
    if password is None and user == known.get("user"):
        password = known.get("password")
    host, port = params["login_host"], params["login_port"]
    if not host and not params["login_unix_socket"]:
        # Connector/J takes several; the first is the primary.
        host, known_port = (known.get("hosts") or [["localhost", None]])[0]
        port = port or known_port
    login = connect.Login(
        user=user, password=password, host=host or None, port=port or 3306, socket=params["login_unix_socket"],
        ssl_mode=params["ssl_mode"] or known.get("ssl_mode") or "preferred", connect_timeout=params["connect_timeout"],
        **{name: params[name] for name in ("ssl_ca", "ssl_cert", "ssl_key")})
    return Place(login, params["database"] or known.get("name"), known.get("user") or params["login_user"])


def of_module(module, redactor, params=None, configuration=None) -> Place:
    """The Place of a module with argument_spec(); its secrets are made known to module and redactor.

    params: in place of the module's own (see of_shared). configuration: where the module has read it already.
    """
    params = module.params if params is None else params
    credentials = None
    if configuration is None:
        configuration = kestra_options.read_of(module, redactor)
    if configuration is not None:
        credentials = configuration.database_credentials()
        if credentials["driver"] != "mysql":
            raise ConfigError(f"Kestra's configuration names a {credentials['driver']} database, not MySQL.",
                              reason="unsupported_database")
    place = resolve(params, credentials)
    redactor.add(place.login.password)
    if place.login.password and len(place.login.password) >= 4:
        module.no_log_values.add(place.login.password)
    return place
