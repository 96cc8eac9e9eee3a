# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group kafka. Must be kept in sync with plugins/doc_fragments/kafka.py."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import ConfigError
from ...kestra import options as kestra_options
from ...kestra.values import as_text
from ..facts import read_password
from . import connect, properties


def argument_spec() -> dict:
    """The options of every module that talks to Kafka."""
    return {
        "bootstrap_servers": {"type": "list", "elements": "str"},
        "security_protocol": {"type": "str", "choices": list(properties.PROTOCOLS)},
        "sasl_mechanism": {"type": "str", "choices": list(properties.MECHANISMS)},
        "sasl_username": {"type": "str"},
        "sasl_password": {"type": "str", "no_log": True},
        "sasl_password_file": {"type": "path", "no_log": False},
        "ssl_ca": {"type": "path"},
        "ssl_cert": {"type": "path"},
        "ssl_key": {"type": "path", "no_log": False},
        "topic_prefix": {"type": "str"},
        "consumer_prefix": {"type": "str"},
        "connect_timeout": {"type": "int", "default": 10},
        "config": kestra_options.CONFIG_SPEC,
    }


MUTUALLY_EXCLUSIVE = [("sasl_password", "sasl_password_file")]


@dataclass(frozen=True)
class Place:
    """What the options lead to. topics, consumers: the prefixes of Kestra's topics and consumer groups."""

    login: connect.Login
    topics: str = "kestra_"
    consumers: str = "kestra_"

    def fingerprint(self) -> dict:
        """What tells this place from another one, without secrets."""
        return {"place": self.login.place, "user": self.login.user, "topics": self.topics, "consumers": self.consumers}


def settings_of(configuration) -> dict:
    """{properties, topics, consumers}: what Kestra's configuration says about Kafka, each absent when it does not.

    Raises ConfigError (unsupported_queue) when its queue is something else.
    """
    queue = configuration.queue_type()
    if queue != "kafka":
        raise ConfigError(f"Kestra's queue is {queue or 'not set'} (kestra.queue.type), not Kafka.",
                          reason="unsupported_queue", hint="A queue in a database comes back with the database.")
    given = {name: configuration.get(properties.BASE + name) for name in properties.NAMES}
    found = {"properties": {name: as_text(value) for name, value in given.items() if value is not None}}
    for name, key in (("topics", "topic-prefix"), ("consumers", "consumer-prefix")):
        value = configuration.get("kestra.kafka.defaults." + key)
        if value is not None:
            found[name] = as_text(value)
    return found


def resolve(params, settings=None) -> Place:
    """Options win over Kestra's configuration. settings: settings_of(), or None. Raises ConfigError."""
    settings = settings or {"properties": {}}
    known = properties.described(settings["properties"])
    given = {"bootstrap": properties.servers(",".join(params["bootstrap_servers"] or [])),
             "protocol": params["security_protocol"], "mechanism": params["sasl_mechanism"],
             **{name: params[name] for name in ("ssl_ca", "ssl_cert", "ssl_key")}}
    if params["sasl_username"] and params["sasl_username"] != known.get("user"):
        known.pop("password", None)  # Kestra's password is for Kestra's own user only
    given["user"] = params["sasl_username"]
    given["password"] = params["sasl_password"]
    if params["sasl_password_file"]:
        given["password"] = read_password(params["sasl_password_file"])
    fields = {**known, **{name: value for name, value in given.items() if value}}
    if not fields.get("bootstrap"):
        raise ConfigError("Nothing says where Kafka is.", reason="config_missing",
                          hint="Give bootstrap_servers, or config with Kestra's configuration.")
    login = connect.Login(**fields, connect_timeout=params["connect_timeout"])
    properties.require_known(login.protocol, login.mechanism)
    _require_stores(login, settings["properties"])
    prefixes = {name: params[option] or settings.get(name) for name, option in
                (("topics", "topic_prefix"), ("consumers", "consumer_prefix"))}
    return Place(login, **{name: value for name, value in prefixes.items() if value})


def _require_stores(login, given) -> None:
    """Refuses TLS whose certificates only Java can read."""
    needed = {"ssl.truststore.location": "ssl_ca", "ssl.keystore.location": "ssl_cert"}
    missing = [name for name in properties.java_stores(given) if not getattr(login, needed[name])]
    if login.protocol.endswith("SSL") and missing:
        raise ConfigError(f"{properties.BASE}{missing[0]} is a store that only Java can read.", reason="java_store",
                          hint=f"Give the same certificates in PEM format with {needed[missing[0]]}.")


def of_module(module, redactor, configuration=None) -> Place:
    """The Place of a module with argument_spec(); its secrets are made known to module and redactor.

    configuration: where the module has read it already.
    """
    settings = None
    if configuration is None:
        configuration = kestra_options.read_of(module, redactor)
    if configuration is not None:
        settings = settings_of(configuration)
    place = resolve(module.params, settings)
    redactor.add(place.login.password)
    if place.login.password and len(place.login.password) >= 4:
        module.no_log_values.add(place.login.password)
    return place
