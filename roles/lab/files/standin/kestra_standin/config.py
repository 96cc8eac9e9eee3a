# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's configuration, as far as the stand-in needs it."""
from __future__ import annotations

import os
import re
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from . import values


class ConfigurationError(Exception):
    """The configuration is missing something or names something the stand-in has not."""


def kebab(key):
    """basePath, base_path and base-path are the same key."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", str(key)).replace("_", "-").lower()


def _merge(into, layer):
    for key, value in layer.items():
        head, dot, rest = str(key).partition(".")
        head = kebab(head)
        inner = {rest: value} if dot else value
        if isinstance(inner, dict):
            below = into.get(head)
            into[head] = _merge(dict(below) if isinstance(below, dict) else {}, inner)
        else:
            into[head] = inner
    return into


_PLACEHOLDER = re.compile(r"\$\{([^${}]*)\}")


class Configuration:
    """Merged layers; get() resolves ${NAME:default} and lets the environment override."""

    def __init__(self, layers, environ=None):
        self.environ = os.environ if environ is None else environ
        self.tree = {}
        for layer in layers:
            _merge(self.tree, layer or {})

    def _raw(self, path):
        node = self.tree
        for part in path.split("."):
            if not isinstance(node, dict) or part not in node:
                return None
            node = node[part]
        return node

    def resolve(self, text):
        """Replace the placeholders of a text, innermost first."""
        for _round in range(20):
            match = _PLACEHOLDER.search(text)
            if not match:
                return text
            name, colon, default = match.group(1).partition(":")
            found = self.environ.get(name)
            if found is None:
                found = self._raw(".".join(kebab(part) for part in name.split(".")))
            if found is None:
                if not colon:
                    raise ConfigurationError("Could not resolve placeholder ${%s}" % name)
                found = default
            text = text[:match.start()] + str(found) + text[match.end():]
        return text

    def get(self, path, default=None):
        """A value by its kebab-case path; the environment variable of the same name wins."""
        found = self.environ.get(re.sub(r"[.-]", "_", path).upper())
        if found is None:
            found = self._raw(path)
        if isinstance(found, str):
            found = self.resolve(found)
        return default if found is None else found

    def flat(self, path):
        """{dotted key: value} of everything below a path; variables override what files set there."""
        found = {}

        def add(key, node):
            if isinstance(node, dict):
                for name, below in node.items():
                    add("%s.%s" % (key, name), below)
            else:
                found[key[len(path) + 1:]] = self.get(key)
        add(path, self._raw(path) or {})
        return found

    def seconds(self, path, default):
        """A duration in seconds."""
        return values.duration(self.get(path, default))

    def flag(self, path, default):
        """A boolean."""
        found = self.get(path, default)
        return found if isinstance(found, bool) else str(found).strip().lower() == "true"


def read(path=None, environ=None):
    """The configuration from MICRONAUT_CONFIG_FILES, KESTRA_CONFIGURATION and the file of --config, later wins.

    A missing --config file is ignored, as Kestra does. KESTRA_CONFIGURATION replaces MICRONAUT_CONFIG_FILES.
    """
    environ = os.environ if environ is None else environ
    texts = []
    if environ.get("KESTRA_CONFIGURATION"):
        texts.append(("KESTRA_CONFIGURATION", environ["KESTRA_CONFIGURATION"]))
    else:
        for name in filter(None, environ.get("MICRONAUT_CONFIG_FILES", "").split(",")):
            with open(name, encoding="utf-8") as handle:
                texts.append((name, handle.read()))
    path = path or os.path.join(environ.get("HOME", "/"), ".kestra", "config.yml")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as handle:
            texts.append((path, handle.read()))
    layers = []
    for name, text in texts:
        try:
            layer = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = " (line %d)" % (mark.line + 1) if mark else ""
            raise ConfigurationError("%s is not YAML%s" % (name, where)) from None
        if layer is not None and not isinstance(layer, dict):
            raise ConfigurationError("%s is not a map" % name)
        layers.append(layer)
    return Configuration(layers, environ)


def timezone(environ=None):
    """The JVM's default zone: -Duser.timezone of JAVA_OPTS, TZ, /etc/timezone, else UTC."""
    environ = os.environ if environ is None else environ
    match = re.search(r"-Duser\.timezone=(\S+)", environ.get("JAVA_OPTS", ""))
    if match:
        return match.group(1)
    if environ.get("TZ"):
        return environ["TZ"].lstrip(":")
    try:
        with open("/etc/timezone", encoding="ascii") as handle:
            return handle.read().strip() or "UTC"
    except (OSError, UnicodeDecodeError):
        return "UTC"


def database(configuration):
    """(engine, settings for its Store) from kestra.repository.type and datasources."""
    kind = configuration.get("kestra.repository.type")
    if kind is None:
        raise ConfigurationError("kestra.repository.type is not set")
    queue = configuration.get("kestra.queue.type", kind)
    if (kind, queue) == ("elasticsearch", "kafka"):
        return "elasticsearch", {"elasticsearch": elasticsearch(configuration), "kafka": kafka(configuration)}
    if kind not in _ENGINES or queue != kind:
        raise ConfigurationError(
            "this stand-in runs on PostgreSQL, on MySQL, or on Elasticsearch with Kafka, not on repository %s with queue %s"
            % (kind, queue))
    engine, port, own = _ENGINES[kind]
    base = "datasources.%s." % kind
    url = configuration.get(base + "url")
    if not url or not url.startswith("jdbc:%s:" % engine):
        raise ConfigurationError("%surl is not a jdbc:%s: address" % (base, engine))
    parts = urlsplit(url[len("jdbc:"):])
    query = {key: found[-1] for key, found in parse_qs(parts.query).items()}
    user = configuration.get(base + "username", query.get("user"))
    return engine, dict({
        "host": parts.hostname or "localhost", "port": parts.port or port,
        "database": unquote(parts.path.lstrip("/")) or user, "user": user,
        "password": str(configuration.get(base + "password", query.get("password")) or ""),
    }, **own(configuration, base, query))


def storage(configuration):
    """(kestra.storage.type, settings for storage.opened)."""
    kind = configuration.get("kestra.storage.type", "local")
    base = "kestra.storage.%s." % kind
    if kind == "local":
        return kind, {"base": configuration.get(base + "base-path", "/tmp/kestra/storage")}
    names = {"gcs": ("bucket", "project-id", "service-account", "path"),
             "azure": ("endpoint", "container", "connection-string", "shared-key-account-name", "shared-key-account-access-key"),
             **dict.fromkeys(("s3", "minio"), ("endpoint", "region", "bucket", "access-key", "secret-key", "path"))}
    if kind not in names:
        raise ConfigurationError("this stand-in has no storage of type %s" % kind)
    found = {name.replace("-", "_"): configuration.get(base + name) for name in names[kind]}
    called = "container" if kind == "azure" else "bucket"
    if not found[called]:
        raise ConfigurationError(base + called + " is not set")
    if kind in ("gcs", "azure"):
        return kind, found
    if kind == "minio" and found["endpoint"] and "://" not in found["endpoint"]:
        scheme = "https" if configuration.flag(base + "secure", False) else "http"
        found["endpoint"] = "%s://%s:%s" % (scheme, found["endpoint"], configuration.get(base + "port", 9000))
    style = configuration.flag(base + "force-path-style", False) if kind == "s3" else not configuration.flag(base + "vhost", False)
    return kind, dict(found, path_style=style)


def elasticsearch(configuration):
    """Settings of the indices, from kestra.elasticsearch."""
    base = "kestra.elasticsearch."
    hosts = configuration.get(base + "client.http-hosts") or []
    hosts = [str(one).strip() for one in (hosts if isinstance(hosts, list) else str(hosts).split(","))]
    if not hosts or not all(re.match(r"https?://", one) for one in hosts):
        raise ConfigurationError(base + "client.http-hosts names no http:// or https:// address")
    return {"hosts": [one.rstrip("/") for one in hosts],
            "user": configuration.get(base + "client.basic-auth.username"),
            "password": configuration.get(base + "client.basic-auth.password"),
            "trust_all_ssl": configuration.flag(base + "client.trust-all-ssl", False),
            "prefix": str(configuration.get(base + "defaults.indice-prefix", "kestra_"))}


def kafka(configuration):
    """Settings of the topics, from kestra.kafka. properties: of the Java client."""
    base = "kestra.kafka."
    properties = configuration.flat(base + "client.properties")
    if not properties.get("bootstrap.servers"):
        raise ConfigurationError(base + "client.properties.bootstrap.servers is not set")
    return {"properties": {name: str(value) for name, value in properties.items()},
            "prefix": str(configuration.get(base + "defaults.topic-prefix", "kestra_")),
            "consumers": str(configuration.get(base + "defaults.consumer-prefix", "kestra_")),
            "partitions": int(configuration.get(base + "defaults.topic.partitions", 16)),
            "replication": int(configuration.get(base + "defaults.topic.replication-factor", 1)),
            "topics": configuration.flat(base + "topics"),
            # Kestra waits until a topic is gone, whether or not there was one.
            "delay": configuration.seconds("kestra.standin.topic-delay", "2s")}


def _postgresql(configuration, base, query):
    """What only PostgreSQL has."""
    ssl = {name: query[name] for name in ("sslmode", "sslrootcert", "sslcert", "sslkey") if name in query}
    if query.get("ssl", "").lower() == "true" and "sslmode" not in ssl:
        ssl["sslmode"] = "verify-full"
    return {"schema": configuration.get(base + "schema", query.get("currentSchema")), "ssl": ssl,
            "timezone": timezone(configuration.environ)}


def _mysql(_configuration, _base, query):
    """What only MySQL has: sslMode as Connector/J knows it."""
    plain = query.get("useSSL", "").lower() == "false"
    return {"ssl_mode": query.get("sslMode", "DISABLED" if plain else "PREFERRED").upper()}


# kestra.repository.type: our name of it, its default port, what its address has that the other's has not.
_ENGINES = {"postgres": ("postgresql", 5432, _postgresql), "mysql": ("mysql", 3306, _mysql)}
