# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group elasticsearch. Must be kept in sync with plugins/doc_fragments/elasticsearch.py."""
from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ...core.errors import ConfigError
from ...kestra import options as kestra_options
from ..facts import read_password
from . import connect, names


def argument_spec() -> dict:
    """The options of every module that talks to Elasticsearch."""
    return {
        "login_hosts": {"type": "list", "elements": "str"},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "login_password_file": {"type": "path", "no_log": False},
        "login_api_key": {"type": "str", "no_log": True},
        "login_api_key_file": {"type": "path", "no_log": False},
        "index_prefix": {"type": "str"},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "timeout": {"type": "float", "default": 30.0},
        "config": kestra_options.CONFIG_SPEC,
    }


MUTUALLY_EXCLUSIVE = [("login_password", "login_password_file", "login_api_key", "login_api_key_file"),
                      ("login_user", "login_api_key", "login_api_key_file")]


@dataclass(frozen=True)
class Place:
    """What the options lead to. prefix: of Kestra's indices."""

    login: connect.Login
    prefix: str

    def fingerprint(self) -> dict:
        """What tells this place from another one, without secrets."""
        return {"hosts": list(self.login.hosts), "user": self.login.user, "prefix": self.prefix}


def url_of(host) -> str:
    """A host as Kestra's configuration names it, as a URL with a port. Pure. Raises ConfigError."""
    text = host.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("A host of Elasticsearch is not a URL like https://es1.example.com:9200.", reason="bad_host")
    if parts.username or parts.password:
        raise ConfigError("A host of Elasticsearch carries a user or a password.", reason="bad_host",
                          hint="Use login_user and login_password.")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}:{port or 9200}{parts.path.rstrip('/')}"


def resolve(params, credentials=None, endpoint=None) -> Place:
    """Options win over Kestra's configuration, that over the endpoint. credentials: Configuration.elasticsearch_credentials() or None.

    Kestra's password is used for Kestra's own user only. Pure but for password files. Raises ConfigError.
    """
    known = credentials or {}
    hosts = params["login_hosts"] or known.get("hosts") or endpoint
    if not hosts:
        raise ConfigError("Nothing names the hosts of Elasticsearch.", reason="config_missing",
                          hint="Give the option login_hosts, or config with Kestra's configuration.")
    api_key = params["login_api_key"]
    if params["login_api_key_file"]:
        api_key = read_password(params["login_api_key_file"])
    user, password = None, None
    if not api_key:
        user, password = params["login_user"] or known.get("user"), params["login_password"]
        if params["login_password_file"]:
            password = read_password(params["login_password_file"])
        if password is None and user is not None and user == known.get("user"):
            password = known.get("password")
    prefix = params["index_prefix"] if params["index_prefix"] is not None else known.get("prefix", "kestra_")
    names.require_prefix(prefix)
    login = connect.Login(
        hosts=tuple(url_of(host) for host in hosts), user=user, password=password, api_key=api_key,
        validate_certs=params["validate_certs"], ca_path=params["ca_path"], timeout=params["timeout"],
        trusting=bool(known.get("trust_all_ssl")))
    return Place(login, prefix)


def of_module(module, redactor, endpoint=None) -> Place:
    """The Place of a module with argument_spec(); its secrets are made known to module and redactor. endpoint: hosts where
    neither options nor configuration name any."""
    configuration = kestra_options.read_of(module, redactor)
    place = resolve(module.params, configuration.elasticsearch_credentials() if configuration is not None else None, endpoint)
    for secret in (place.login.password, place.login.api_key):
        redactor.add(secret)
        if secret and len(secret) >= 4:
            module.no_log_values.add(secret)
    return place
