# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Kestra's Java client is told to reach Kafka, for a client that is not Java. Pure."""
from __future__ import annotations

import re

from ...core.errors import ConfigError

BASE = "kestra.kafka.client.properties."
# What is asked of the configuration: everything that decides about a connection.
NAMES = ("bootstrap.servers", "security.protocol", "sasl.mechanism", "sasl.jaas.config",
         "ssl.truststore.type", "ssl.truststore.location", "ssl.keystore.type", "ssl.keystore.location",
         "ssl.endpoint.identification.algorithm")
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_JAAS = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|([^\s;"\']+))')


def servers(text) -> tuple:
    """("host:port", …) of a comma list. Raises ConfigError for an entry without a port."""
    found = tuple(part.strip() for part in str(text or "").split(",") if part.strip())
    for one in found:
        if not re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/@]+):\d{1,5}", one):
            raise ConfigError(f"{one!r} is not the address of a Kafka broker.", reason="bad_bootstrap",
                              hint="Addresses look like kafka1.example.org:9092, several are separated by commas.")
    return found


def login_of(jaas) -> tuple:
    """(user, password) of a sasl.jaas.config, each None when it does not say."""
    found = {}
    for name, *values in _JAAS.findall(jaas or ""):
        found[name] = re.sub(r"\\(.)", r"\1", next(filter(None, values), ""))
    return found.get("username"), found.get("password")


def described(given) -> dict:
    """The fields of connect.Login that the properties decide. given: {name of NAMES: text}, absent ones left out.

    Trust and key stores count only in PEM format: no other client reads Java's.
    """
    user, password = login_of(given.get("sasl.jaas.config"))
    found = {"bootstrap": servers(given.get("bootstrap.servers")),
             "protocol": given.get("security.protocol", "PLAINTEXT").upper(),
             "mechanism": given.get("sasl.mechanism"), "user": user, "password": password,
             "ssl_ca": _pem(given, "truststore"), "ssl_cert": _pem(given, "keystore"),
             "check_hostname": given.get("ssl.endpoint.identification.algorithm") != ""}
    return {name: value for name, value in found.items() if value is not None}


def _pem(given, store):
    return given.get(f"ssl.{store}.location") if given.get(f"ssl.{store}.type", "").upper() == "PEM" else None


def java_stores(given) -> list:
    """Names of the stores only Java can read."""
    return [f"ssl.{store}.location" for store in ("truststore", "keystore")
            if given.get(f"ssl.{store}.location") and not _pem(given, store)]


def require_known(protocol, mechanism) -> None:
    """Refuses a way to reach Kafka that is not covered. Raises ConfigError (unsupported_login)."""
    if protocol not in PROTOCOLS:
        raise ConfigError(f"{protocol!r} is no protocol of Kafka.", reason="unsupported_login",
                          hint="Known are " + ", ".join(PROTOCOLS) + ".")
    if protocol.startswith("SASL") and mechanism not in MECHANISMS:
        raise ConfigError(
            f"Kestra logs in to Kafka by {mechanism or 'the mechanism GSSAPI (Kafka takes it where none is set)'}, which "
            "is not covered.", reason="unsupported_login",
            hint="Give bootstrap_servers, security_protocol and a login for another listener of the same cluster: "
                 + ", ".join(MECHANISMS) + ", or TLS with a client certificate.")
