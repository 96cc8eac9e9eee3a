# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JDBC URLs split into what a native client needs. Pure. No message contains the URL: it may hold a password."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

from ..core.errors import ConfigError

DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306}
_DRIVERS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "h2": "h2", "sqlserver": "sqlserver"}
# Parameters whose values may be shown. Everything else may hold a secret and is named at most.
SHOWN_PARAMS = frozenset({
    "currentschema", "ssl", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslfactory", "targetservertype",
    "loadbalancehosts", "applicationname", "prepareThreshold".lower(), "reWriteBatchedInserts".lower(), "tcpkeepalive",
    "connecttimeout", "logintimeout", "sockettimeout", "usessl", "requiressl", "verifyservercertificate",
    "servertimezone", "connectiontimezone", "useunicode", "characterencoding", "allowpublickeyretrieval",
    "socketfactory", "socketfactoryarg", "gssencmode",
})
# pgjdbc's names for libpq's (jdbc.postgresql.org, "Connecting to the database").
_TARGETS = {"any": "any", "primary": "read-write", "master": "read-write", "secondary": "standby",
            "slave": "standby", "preferslave": "prefer-standby", "prefersecondary": "prefer-standby"}


@dataclass
class Target:
    """Where a JDBC URL points. driver: postgresql, mysql, h2, sqlserver or the unknown scheme itself."""

    driver: str
    hosts: list = field(default_factory=list)       # [(host, port), ...]
    database: str | None = None
    params: dict = field(default_factory=dict)      # lower-case name -> value, decoded
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    warnings: list = field(default_factory=list)

    @property
    def host(self):
        """One host, or several joined by commas as libpq takes them; None for a file database."""
        return ",".join(host for host, _unused in self.hosts) or None

    @property
    def port(self):
        """The port as int; several differing ones joined by commas as libpq takes them."""
        ports = [port for _unused, port in self.hosts]
        if not ports:
            return None
        return ports[0] if len(set(ports)) == 1 else ",".join(str(port) for port in ports)

    def shown_params(self) -> dict:
        """The parameters that are no secret."""
        return {name: value for name, value in sorted(self.params.items()) if name in SHOWN_PARAMS}


def _broken(what, key) -> ConfigError:
    return ConfigError(f"The JDBC URL in {key} is not understood: {what}.", reason="jdbc_url",
                       hint="Compare it with jdbc:postgresql://HOST:PORT/DATABASE?NAME=VALUE in Kestra's configuration "
                            "(its text is not shown here because it may hold a password).")


def parse(url, key="datasources.*.url") -> Target:
    """Splits a JDBC URL. key names the setting in messages. Raises ConfigError (reason jdbc_url)."""
    text = url.strip()
    if not text.lower().startswith("jdbc:"):
        raise _broken("it does not begin with jdbc:", key)
    scheme, colon, rest = text[5:].partition(":")
    if not colon:
        raise _broken("it names no driver", key)
    driver = _DRIVERS.get(scheme.lower().partition("+")[0], scheme.lower())
    if driver == "postgresql":
        return _postgresql(rest, key)
    if driver == "mysql":
        return _mysql(rest, key)
    return Target(driver)


def _params(text, decode) -> dict:
    """a=b&c=d; a parameter without a value means the empty string (pgjdbc)."""
    params = {}
    for item in text.split("&"):
        if item:
            name, _unused, value = item.partition("=")
            params[decode(name).lower()] = decode(value)
    return params


def _port(text, default, key) -> int:
    if text == "":
        return default
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise _broken("a port is not a number from 1 to 65535", key)
    return int(text)


def _host_port(item, default, key) -> tuple:
    item = item.strip()
    if item.startswith("["):  # IPv6
        host, bracket, rest = item[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _broken("an IPv6 address lacks its brackets", key)
        return host, _port(rest[1:], default, key)
    if item.count(":") > 1:
        raise _broken("a host has more than one colon (write an IPv6 address in brackets; a default with colons in a "
                      "placeholder needs backticks)", key)
    host, _unused, port = item.partition(":")
    return host or "localhost", _port(port, default, key)


def _userinfo(authority):
    info, at_sign, hosts = authority.rpartition("@")
    if not at_sign:
        return None, None, authority
    user, colon, password = info.partition(":")
    return unquote(user), unquote(password) if colon else None, hosts


def _postgresql(rest, key) -> Target:
    location, _unused, query = rest.partition("?")
    params = _params(query, unquote_plus)  # pgjdbc decodes with java.net.URLDecoder: + is a blank
    target = Target("postgresql", params=params)
    if location.startswith("//"):
        authority, _unused, database = location[2:].partition("/")
        user, password, authority = _userinfo(authority)
        if user is not None:
            target.warnings.append(f"{key} has credentials before the host; PostgreSQL's JDBC driver does not take "
                                   "them there (use username and password of the data source).")
        target.user, target.password = user, password
        target.hosts = [_host_port(item, DEFAULT_PORTS["postgresql"], key) for item in authority.split(",")]
    else:
        database = location.lstrip("/")
        target.hosts = [("localhost", DEFAULT_PORTS["postgresql"])]
    target.database = unquote_plus(database) or None
    # pgjdbc: what the URL says wins over the properties given beside it.
    target.user = params.get("user", target.user)
    target.password = params.get("password", target.password)
    _unix_socket(target)
    return target


def _unix_socket(target) -> None:
    """junixsocket's factory: its argument is the socket file DIRECTORY/.s.PGSQL.PORT; libpq wants the directory."""
    found = re.fullmatch(r"(.*)/\.s\.PGSQL\.([0-9]+)", target.params.get("socketfactoryarg", ""))
    if found and "afunix" in target.params.get("socketfactory", "").lower():
        target.hosts = [(found.group(1), int(found.group(2)))]


_MYSQL_PAIR = re.compile(r"(?P<name>[A-Za-z]+)=(?P<value>[^(),]*)")


def _mysql(rest, key) -> Target:
    location, _unused, query = rest.partition("?")
    for modifier in ("loadbalance:", "replication:", "sequential:", "aurora:"):
        if location.startswith(modifier):
            location = location[len(modifier):]
    if not location.startswith("//"):
        raise _broken("there is no // after the driver", key)
    target = Target("mysql", params=_params(query, unquote))
    authority, _unused, database = location[2:].partition("/")
    user, password, authority = _userinfo(authority)
    target.user = target.params.get("user", user)
    target.password = target.params.get("password", password)
    if "(" in authority:  # address=(host=a)(port=1),... or (host=a,port=1),...
        blocks = re.split(r"\),\s*(?=\(|address=)", authority)
        for block in blocks:
            pairs = {found["name"].lower(): found["value"] for found in _MYSQL_PAIR.finditer(block)
                     if found["name"].lower() != "address"}
            target.hosts.append((pairs.get("host", "localhost"),
                                 _port(pairs.get("port", ""), DEFAULT_PORTS["mysql"], key)))
            target.user = target.user or pairs.get("user")
            target.password = target.password or pairs.get("password")
    else:
        target.hosts = [_host_port(item, DEFAULT_PORTS["mysql"], key) for item in authority.split(",")]
    target.database = unquote(database) or None
    return target


def libpq_options(target) -> dict:
    """What pgjdbc's parameters mean to libpq: ssl_mode, ssl_root_cert, ssl_cert, ssl_key, target_session_attrs.

    Only what the URL says; the keys are absent otherwise. pgjdbc's key file is PKCS-8 DER, which libpq does not read,
    so a .pk8 is left out (with a warning on the target).
    """
    params, out = target.params, {}
    if "sslmode" in params:
        out["ssl_mode"] = params["sslmode"].lower()
    elif "nonvalidatingfactory" in params.get("sslfactory", "").lower():
        out["ssl_mode"] = "require"
    elif "ssl" in params and params["ssl"].lower() in ("", "true"):
        out["ssl_mode"] = "verify-full"  # pgjdbc: ssl=true means sslmode=verify-full
    for name, option in (("sslrootcert", "ssl_root_cert"), ("sslcert", "ssl_cert"), ("sslkey", "ssl_key")):
        value = params.get(name)
        if not value:
            continue
        if name == "sslkey" and os.path.splitext(value)[1].lower() in (".pk8", ".der", ".p12", ".pfx"):
            target.warnings.append("The client key of the JDBC URL is in a format PostgreSQL's own tools do not read; "
                                   "give them a PEM key (ssl_key).")
            continue
        out[option] = value
    attrs = _TARGETS.get(params.get("targetservertype", "").lower())
    if attrs and (len(target.hosts) > 1 or attrs != "any"):
        out["target_session_attrs"] = attrs
    return out


_CONNECTOR_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")


def connector_options(target) -> dict:
    """What Connector/J's parameters mean to MySQL's own clients: ssl_mode. Only what the URL says.

    Its trust stores are Java's, which other clients do not read: ssl_ca has to be given where it matters.
    """
    params = target.params
    if params.get("sslmode", "").lower() in _CONNECTOR_MODES:
        return {"ssl_mode": params["sslmode"].lower()}
    if params.get("usessl", "").lower() == "false":
        return {"ssl_mode": "disabled"}
    if params.get("verifyservercertificate", "").lower() == "true":
        return {"ssl_mode": "verify_ca"}
    if params.get("requiressl", "").lower() == "true" or params.get("usessl", "").lower() == "true":
        return {"ssl_mode": "required"}
    return {}
