# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's configuration, merged as Micronaut merges it. Pure: texts and variables in, answers out.

Order, weakest first (micronaut-core DefaultEnvironment, Kestra's App.java and gradle/jar/selfrun.sh):
files of MICRONAUT_CONFIG_FILES (a later one wins), environment variables, -D system properties, the file of
-c/--config, and what the command itself forces (`server local`, --port).

No message and no description contains a value of a secret, and none quotes the text of a file.
"""
from __future__ import annotations

import dataclasses
import re

from ..core.errors import ConfigError
from . import coverage, jdbc, placeholders
from .coverage import COVERED_STORAGES, ENGINES, JDBC_TYPES, STORAGE_SETTINGS
from .layers import parse_yaml
from .values import (as_text, boolean, decode_base64, env_name, integer, is_secret_key, normalise_key, parse_duration,
                     shown_url, strings)

_STORAGE_DEFAULTS = {"local": {"base-path": "/tmp/kestra/storage"}}  # Kestra's documented default
_DEFAULT_GRACE = 300.0  # kestra.server.termination-grace-period, seconds
_SEARCH_PATH = re.compile(r"search_path\s*(?:=|\bto\b)\s*[\"']?([^\"',;\s]+)", re.IGNORECASE)


# -- loading ----------------------------------------------------------------------------------------------------------

def load(sources) -> Configuration:
    """Merges sources into a Configuration. Raises ConfigError for a text that is no YAML mapping."""
    files, origins = {}, {}
    for layer in sources.files:
        flat = parse_yaml(layer)
        files.update(flat)
        origins.update({key: layer.name for key in flat})
    overrides = {}
    for layer in sources.overrides:
        flat = parse_yaml(layer)
        overrides.update(flat)
        origins.update({key: layer.name for key in flat})
    overrides.update(_forced(sources))
    return Configuration(sources, files, overrides, origins)


def load_lenient(sources) -> Configuration:
    """As load(), but a layer that cannot be read counts as empty: for masking secrets where nothing is decided."""
    def readable(layer):
        try:
            parse_yaml(layer)
            return True
        except ConfigError:
            return False
    return load(dataclasses.replace(sources, files=tuple(filter(readable, sources.files)),
                                    overrides=tuple(filter(readable, sources.overrides))))


def _forced(sources) -> dict:
    """What the server command puts above everything (Kestra's LocalCommand, --port)."""
    words, forced = list(sources.command), {}
    if words[:2] == ["server", "local"]:
        data = sources.working_directory.rstrip("/") + "/data"
        forced.update({"kestra.repository.type": "h2", "kestra.queue.type": "h2", "kestra.storage.type": "local",
                       "kestra.storage.local.base-path": data, "datasources.h2.url": f"jdbc:h2:file:{data}/database"})
    for index, word in enumerate(words):
        if word == "--port" and index + 1 < len(words):
            forced["micronaut.server.port"] = words[index + 1]
        elif word.startswith("--port="):
            forced["micronaut.server.port"] = word[7:]
    return forced


class Configuration:
    """Kestra's settings, resolved on demand. Made by load()."""

    def __init__(self, sources, files, overrides, origins):
        self.sources = sources
        self._files = files
        self._overrides = overrides
        self._system = {normalise_key(key): value for key, value in sources.system_properties.items()}
        self._env = {}
        for name, value in sources.environment.items():
            self._env[env_name(name)] = (name, value)
        self._origins = origins
        self._warnings = list(sources.warnings)

    # -- values ---------------------------------------------------------------

    def raw(self, key):
        """(value, origin) of a key before its placeholders are resolved; (None, None) when it is not set."""
        key = normalise_key(key)
        if key in self._overrides:
            return self._overrides[key], self._origins.get(key, "the server command")
        if key in self._system:
            return self._system[key], "a system property"
        found = self._env.get(env_name(key))
        if found is not None:
            return found[1], f"the environment variable {found[0]}"
        if key in self._files:
            return self._files[key], self._origins[key]
        return None, None

    def get(self, key, default=None):
        """The value of a dotted key (any case style), placeholders resolved; text, number, bool or list.

        Raises ConfigError (reasons unresolved_placeholder, placeholder_loop, malformed_placeholder).
        """
        return self._get(key, default, ())

    def _get(self, key, default, path):
        value, origin = self.raw(key)
        if value is None:
            return default
        return self._resolve(value, key, origin, path)

    def _resolve(self, value, key, origin, path):
        if isinstance(value, list):
            return [self._resolve(item, key, origin, path) for item in value]
        if isinstance(value, dict):
            return {name: self._resolve(item, key, origin, path) for name, item in value.items()}
        if not isinstance(value, str) or "${" not in value:
            return value
        key = normalise_key(key)
        if key in path:
            circle = " -> ".join(path[path.index(key):] + (key,))
            raise ConfigError(f"The placeholders of {circle} refer to each other.",
                              reason="placeholder_loop", detail={"key": key, "origin": origin})
        if placeholders.has_ambiguous_default(value):
            self._warn(f"{key} ({origin}) has a placeholder whose default contains a colon without backticks; Kestra "
                       "takes only what follows the last colon as the default.")
        try:
            return placeholders.resolve(value, lambda name: self._lookup(name, path + (key,)))
        except placeholders.Unresolved as exc:
            wanted = " or ".join(exc.names)
            raise ConfigError(
                f"The value of {key} in {origin} needs {wanted}, which is not set.", reason="unresolved_placeholder",
                hint="Name what Kestra gets its environment from: config.unit, config.environment_files or "
                     "config.environment.", detail={"key": key, "origin": origin, "names": exc.names}) from None
        except placeholders.Malformed:
            raise ConfigError(f"The value of {key} in {origin} has a ${{ without its closing brace.",
                              reason="malformed_placeholder", detail={"key": key, "origin": origin}) from None

    def _lookup(self, name, path):
        """A name inside a placeholder: an environment variable of exactly that name, or a property."""
        if name in self.sources.environment:
            return self._resolve(self.sources.environment[name], name, f"the environment variable {name}", path)
        value = self._get(name, None, path)
        return None if value is None else as_text(value)

    def keys(self) -> list:
        """All keys that files and system properties set, sorted. (Variables only show by asking for a key.)"""
        return sorted(set(self._files) | set(self._overrides) | set(self._system))

    def _warn(self, text) -> None:
        if text not in self._warnings:
            self._warnings.append(text)

    def _shown(self, key, default=None):
        """A value for a description: an unresolvable one becomes None and a warning."""
        try:
            return self.get(key, default)
        except ConfigError as exc:
            self._warn(exc.message)
            return None

    def _type(self, key):
        value = self._shown(key)
        return None if value is None else as_text(value).strip().lower() or None

    @property
    def warnings(self) -> list:
        return list(self._warnings)

    # -- database -------------------------------------------------------------

    def repository_type(self):
        """kestra.repository.type in lower case, or None."""
        return self._type("kestra.repository.type")

    def queue_type(self):
        """kestra.queue.type in lower case, or None."""
        return self._type("kestra.queue.type")

    def datasource(self) -> str:
        """The name below datasources.* that holds Kestra's data.

        It is the repository type by convention; another name is taken when it is the only one with that driver.
        Raises ConfigError (reason incomplete) when there is none or several.
        """
        kind = self.repository_type()
        if kind not in JDBC_TYPES:
            raise ConfigError(f"Kestra's repository is {kind or 'not set'}; it has no data source.",
                              reason="no_datasource")
        if self.raw(f"datasources.{kind}.url")[0] is not None:
            return kind
        names = []
        for key in self.keys():
            found = re.fullmatch(r"datasources\.([^.]+)\.url", key)
            url = found and self._shown(key)
            if url and jdbc.parse(as_text(url), key).driver == ENGINES[kind]:
                names.append(found.group(1))
        if len(names) == 1:
            return names[0]
        raise ConfigError(
            f"Kestra's repository is {kind}, but " + ("several data sources fit: " + ", ".join(names) if names else
                                                      f"datasources.{kind}.url is not set") + ".",
            reason="incomplete", hint=f"Kestra reads it from {self._where()}; name any further file or the unit that "
                                      "sets it.", detail={"key": f"datasources.{kind}.url"})

    def _where(self) -> str:
        names = [layer.name for layer in self.sources.files + self.sources.overrides]
        return ", ".join(names) or "no file at all"

    def _target(self):
        name = self.datasource()
        key = f"datasources.{name}.url"
        target = jdbc.parse(as_text(self.get(key)), key)
        for warning in target.warnings:
            self._warn(warning)
        return name, target

    def _schema(self, name, target):
        """The schema Kestra's tables are in; the last to speak wins: init SQL, the pool's schema, the URL."""
        init = _SEARCH_PATH.search(as_text(self._shown(f"datasources.{name}.connection-init-sql")))
        if init:
            return init.group(1)
        schema = self._shown(f"datasources.{name}.schema")
        if schema:
            return as_text(schema)
        current = target.params.get("currentschema", "").split(",")[0].strip().strip('"')
        if current:
            return current
        options = _SEARCH_PATH.search(target.params.get("options", ""))
        if options:
            return options.group(1)
        return "public" if target.driver == "postgresql" else None

    def database_credentials(self) -> dict:
        """How Kestra reaches its database: what a native client needs, with the password.

        Keys: driver (postgresql or mysql), host (several joined by commas, as libpq takes them), port (int, or text
        for several), hosts [[host, port], ...], name, schema, user, password, ssl_mode, ssl_root_cert, ssl_cert,
        ssl_key, target_session_attrs (each None when Kestra's configuration does not say).
        Raises ConfigError when the repository is none of these or a value cannot be resolved.
        """
        self.require_supported(("repository",))
        kind = self.repository_type()
        if kind not in JDBC_TYPES:
            raise ConfigError(f"Kestra keeps its data in {kind}, not in a database.", reason="unsupported_repository")
        name, target = self._target()
        user, password = self._credentials(name, target)
        extra = jdbc.libpq_options(target) if target.driver == "postgresql" else jdbc.connector_options(target)
        for warning in target.warnings:
            self._warn(warning)
        return {
            "driver": target.driver, "host": target.host, "port": target.port,
            "hosts": [list(pair) for pair in target.hosts],
            "name": target.database or user, "schema": self._schema(name, target), "user": user, "password": password,
            **{option: extra.get(option)
               for option in ("ssl_mode", "ssl_root_cert", "ssl_cert", "ssl_key", "target_session_attrs")}}

    def _credentials(self, name, target):
        user = self.get(f"datasources.{name}.username")
        password = self.get(f"datasources.{name}.password")
        self._check_quoting(f"datasources.{name}.password")
        # Both drivers let the URL win over the properties beside it.
        user = target.user if target.user is not None else user
        password = target.password if target.password is not None else password
        return None if user is None else as_text(user), None if password is None else as_text(password)

    def _check_quoting(self, key) -> None:
        value, origin = self.raw(key)
        if value is not None and not isinstance(value, str):
            self._warn(f"{key} in {origin} is not quoted, so YAML reads it as a {type(value).__name__}; what Kestra "
                       "makes of it may differ from what is written. Put it in quotes.")

    # -- what is covered ------------------------------------------------------

    def require_supported(self, components=("database", "storage"), *, kestra_version=None) -> None:
        """Raises ConfigError (reason unsupported_…) naming the first type that is not covered.

        components: any of repository, queue, database (both of them) and storage. kestra_version: text, if known;
        until 1.x repository and queue have to match.
        """
        problems = self.problems(components, kestra_version=kestra_version)
        if problems:
            first = problems[0]
            raise ConfigError(first["message"], reason=first["reason"], hint=first["hint"],
                              detail={"component": first["component"], "type": first["type"], "problems": problems})

    def problems(self, components=("database", "storage"), *, kestra_version=None) -> list:
        """What require_supported would refuse: [{component, type, reason, message, hint}, ...]."""
        found = []
        wanted = set(components)
        repository, queue = self.repository_type(), self.queue_type()
        if wanted & {"database", "repository"}:
            found += coverage.repository_problems(repository, self._where())
        if wanted & {"database", "queue"}:
            found += coverage.queue_problems(repository, queue, kestra_version)
        if "storage" in wanted:
            found += coverage.storage_problems(self._type("kestra.storage.type"), self._where())
        return found

    # -- description ----------------------------------------------------------

    def describe(self) -> dict:
        """Everything that is no secret, normalised. Values that cannot be resolved are None with a warning."""
        described = self._described()
        described["keys"] = self.secret_keys()
        described["environment"] = self.environment_names()
        for key in ("encryption.secret-key", "server.basic-auth.password"):
            self._check_quoting("kestra." + key)
        weak = self._split_secrets(described)[1]
        for key in weak:
            self._warn(f"The value of {key} also occurs in settings that are no secret (a user, a name, a path); it "
                       "cannot be masked in output. Choose a stronger one.")
        described["warnings"] = self.warnings
        return described

    def _described(self) -> dict:
        repository, queue = self.repository_type(), self.queue_type()
        return {
            "repository_type": repository, "queue_type": queue, "engine": ENGINES.get(repository),
            "database": self._describe_database(repository),
            "elasticsearch": self._describe_elasticsearch() if repository == "elasticsearch" else None,
            "kafka": self._describe_kafka() if queue == "kafka" else None,
            "storage": self.describe_storage(),
            "secret_type": self._type("kestra.secret.type"),
            "ports": {"server": integer(self._shown("micronaut.server.port", 8080)),
                      "management": integer(self._shown("endpoints.all.port", 8081))},
            "context_path": self._shown("micronaut.server.context-path"),
            "urls": {"kestra": shown_url(self._shown("kestra.url")), "api": self.api_url(),
                     "management": self.management_url()},
            "tenants": {"enabled": boolean(self._shown("kestra.ee.tenants.enabled")),
                        "fallback": self._shown("kestra.ee.tenants.fallback-tenant")},
            "server": self._describe_server(),
            "plugins": {"local_repository_path": self._shown("kestra.plugins.management.local-repository-path"),
                        "remote_storage": boolean(self._shown("kestra.plugins.management.remote-storage-enabled"))},
            "sources": {"files": [layer.name for layer in self.sources.files],
                        "overrides": [layer.name for layer in self.sources.overrides],
                        "command": " ".join(self.sources.command[:2]) or None, **dict(self.sources.described)},
        }

    def _describe_database(self, repository):
        if repository not in JDBC_TYPES:
            return None
        try:
            name, target = self._target()
        except ConfigError as exc:
            self._warn(exc.message)
            return None
        user = password = None
        try:
            user, password = self._credentials(name, target)
        except ConfigError as exc:
            self._warn(exc.message)
        return {"driver": target.driver, "datasource": name, "host": target.host, "port": target.port,
                "hosts": [list(pair) for pair in target.hosts], "name": target.database or user,
                "schema": self._schema(name, target), "user": user, "password_set": bool(password),
                "params": target.shown_params(), **jdbc.libpq_options(target)}

    def _elasticsearch_hosts(self, hosts) -> list:
        return hosts if isinstance(hosts, list) else _split(hosts)

    def _describe_elasticsearch(self) -> dict:
        hosts = self._elasticsearch_hosts(self._shown("kestra.elasticsearch.client.http-hosts", []))
        return {"hosts": [shown_url(host) for host in hosts],
                "index_prefix": as_text(self._shown("kestra.elasticsearch.defaults.indice-prefix", "kestra_")),
                "user": self._shown("kestra.elasticsearch.client.basic-auth.username"),
                "trust_all_ssl": bool(boolean(self._shown("kestra.elasticsearch.client.trust-all-ssl", False)))}

    def elasticsearch_credentials(self) -> dict:
        """How Kestra reaches Elasticsearch: {hosts, user, password, prefix, trust_all_ssl}; user and password may be None.

        Raises ConfigError when the repository is another one or a value cannot be resolved.
        """
        kind = self.repository_type()
        if kind != "elasticsearch":
            raise ConfigError(f"Kestra's configuration names the repository {kind or 'of no type'}, not Elasticsearch.",
                              reason="unsupported_database")
        base = "kestra.elasticsearch.client."
        self._check_quoting(base + "basic-auth.password")
        user, password = (self.get(base + "basic-auth." + name) for name in ("username", "password"))
        return {"hosts": [as_text(host) for host in self._elasticsearch_hosts(self.get(base + "http-hosts", []))],
                "user": None if user is None else as_text(user),
                "password": None if password is None else as_text(password),
                "prefix": as_text(self.get("kestra.elasticsearch.defaults.indice-prefix", "kestra_")),
                "trust_all_ssl": bool(boolean(self.get(base + "trust-all-ssl", False)))}

    def _describe_kafka(self) -> dict:
        prefix = "kestra.kafka."
        return {"bootstrap": _split(self._shown(prefix + "client.properties.bootstrap.servers")),
                "topic_prefix": as_text(self._shown(prefix + "defaults.topic-prefix", "kestra_")),
                "consumer_prefix": as_text(self._shown(prefix + "defaults.consumer-prefix", "kestra_")),
                "message_protection": boolean(self._shown(prefix + "message-protection.enabled"))}

    def storage_type(self):
        """kestra.storage.type in lower case, or None."""
        return self._type("kestra.storage.type")

    def describe_storage(self) -> dict:
        """{type, covered, settings that are no secret with underscores in their names}."""
        kind = self.storage_type()
        described = {"type": kind, "covered": kind in COVERED_STORAGES}
        for setting in STORAGE_SETTINGS.get(kind, ()):
            key = f"kestra.storage.{kind}.{setting}"
            value = self._shown(key, _STORAGE_DEFAULTS.get(kind, {}).get(setting))
            described[setting.replace("-", "_")] = shown_url(value) if setting == "endpoint" else value
            self._check_double_underscore(key)
        return described

    def _check_double_underscore(self, key) -> None:
        """Storage settings reach a plugin as a map: with one underscore Micronaut also makes access.key of ACCESS_KEY,
        which the plugin refuses (Kestra's documentation asks for ACCESS__KEY)."""
        last = key.rsplit(".", 1)[1]
        found = self._env.get(env_name(key))
        if "-" in last and found and not found[0].upper().endswith(last.upper().replace("-", "__")):
            right = env_name(key.rsplit(".", 1)[0]) + "_" + last.upper().replace("-", "__")
            self._warn(f"The environment variable {found[0]} needs a double underscore for Kestra to take it: {right}.")

    def _describe_server(self) -> dict:
        grace = parse_duration(self._shown("kestra.server.termination-grace-period"))
        return {"termination_grace_period_seconds": _DEFAULT_GRACE if grace is None else grace,
                "worker_task_restart_strategy": self._shown("kestra.server.worker-task-restart-strategy"),
                "heartbeat_interval_seconds": parse_duration(self._shown("kestra.server.liveness.heartbeat-interval")),
                "timeout_seconds": parse_duration(self._shown("kestra.server.liveness.timeout")),
                "delete_files_on_start": bool(boolean(self._shown("kestra.configurations.delete-files-on-start")))}

    # -- the API --------------------------------------------------------------

    def api_url(self):
        """Where the web API listens, seen from Kestra's own host; None when the port is not fixed."""
        port, scheme = integer(self._shown("micronaut.server.port", 8080)), "http"
        tls = self._shown("micronaut.server.ssl.enabled", self._shown("micronaut.ssl.enabled", False))
        if boolean(tls):
            scheme = "https"
            port = integer(self._shown("micronaut.server.ssl.port", self._shown("micronaut.ssl.port", 8443)))
        return self._local_url(scheme, port, self._shown("micronaut.server.context-path"))

    def management_url(self):
        """Where /health listens, seen from Kestra's own host; None when the port is not fixed."""
        tls = boolean(self._shown("micronaut.server.ssl.enabled", self._shown("micronaut.ssl.enabled", False)))
        return self._local_url("https" if tls else "http", integer(self._shown("endpoints.all.port", 8081)), None)

    def _local_url(self, scheme, port, path):
        if not port or port < 1:
            return None
        host = as_text(self._shown("micronaut.server.host")) or "localhost"
        if host in ("0.0.0.0", "::", "[::]"):
            host = "localhost"
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        path = as_text(path).strip("/")
        return f"{scheme}://{host}:{port}" + (f"/{path}" if path else "")

    def api_credentials(self) -> dict:
        """{user, password, management_user, management_password}: basic auth as configured, each None if absent."""
        on = boolean(self._shown("kestra.server.basic-auth.enabled", True)) is not False
        return {"user": self._shown("kestra.server.basic-auth.username") if on else None,
                "password": self._secret("kestra.server.basic-auth.password") if on else None,
                "management_user": self._shown("endpoints.all.basic-auth.username"),
                "management_password": self._secret("endpoints.all.basic-auth.password")}

    def _secret(self, key):
        value = self._shown(key)
        return None if value is None else as_text(value)

    # -- secrets --------------------------------------------------------------

    def secret_keys(self) -> list:
        """Names of the keys that hold a secret, from files, properties and (well-known keys) the environment."""
        names = {key for key in self.keys() if is_secret_key(key) and self.raw(key)[0] not in (None, "")}
        names.update(key for key in _well_known_secret_keys(self.repository_type(), self._type("kestra.secret.type"),
                                                            self.storage_type())
                     if self.raw(key)[0] not in (None, ""))
        return sorted(names)

    def environment_names(self) -> dict:
        """Names (never values) of what the environment carries: secrets (SECRET_*), variables (ENV_* or the configured
        prefix) and other variables that look secret."""
        prefix = as_text(self._shown("kestra.variables.env-vars-prefix", "ENV_")) or "ENV_"
        names = sorted(self.sources.environment)
        return {"secrets": [name for name in names if name.startswith("SECRET_")],
                "variables": [name for name in names if name.startswith(prefix) and name != "KESTRA_CONFIGURATION"
                              and not name.startswith("SECRET_")],
                "other_secrets": [name for name in names if not name.startswith("SECRET_")
                                  and is_secret_key(name.replace("_", "-"))],
                "variables_prefix": prefix}

    def secrets(self) -> list:
        """Every secret value, for redaction. One that also occurs in a public setting is left out: masking it would
        destroy what is reported (describe() warns about it)."""
        return self._split_secrets(self._described())[0]

    def _split_secrets(self, described):
        public = list(strings(described))
        strong, weak = [], []
        for key, value in self._all_secrets():
            target = weak if any(value in text for text in public) else strong
            target.append((key, value))
        return sorted({value for _unused, value in strong}), sorted({key for key, _unused in weak})

    def _all_secrets(self):
        """(name, value) of every secret, also unresolved ones, passwords in URLs and secrets inside lists."""
        for key in self.keys() + self.secret_keys():
            value = self.raw(key)[0]
            yield from self._secrets_in(key, value)
        for name, value in sorted(self.sources.environment.items()):
            if name.startswith("SECRET_"):
                yield name, value
                decoded = decode_base64(value)
                if decoded:
                    yield name, decoded
            elif name != "KESTRA_CONFIGURATION" and is_secret_key(name.replace("_", "-")) and value:
                yield name, value
            elif "://" in value or value.startswith("jdbc:"):
                yield from _url_secrets(name, value)
        for name, value in self.sources.system_properties.items():
            if is_secret_key(name) and value:
                yield name, value

    def _secrets_in(self, key, value):
        if isinstance(value, dict):
            for name, item in value.items():
                yield from self._secrets_in(f"{key}.{name}", item)
        elif isinstance(value, list):
            for item in value:
                yield from self._secrets_in(key, item)
        elif value is not None and not isinstance(value, bool) and as_text(value):
            try:
                resolved = as_text(self._resolve(value, key, "", ()))
            except ConfigError:
                resolved = as_text(value)
            if is_secret_key(key):
                yield key, resolved
            elif isinstance(value, str) and ("://" in resolved or resolved.startswith("jdbc:")):
                yield from _url_secrets(key, resolved)


def _split(value) -> list:
    """The parts of a comma list."""
    return [part.strip() for part in as_text(value).split(",") if part.strip()]


def _well_known_secret_keys(repository, secret_type, storage) -> list:
    """Keys worth naming even when only an environment variable sets them."""
    keys = ["kestra.encryption.secret-key", "kestra.server.basic-auth.password", "endpoints.all.basic-auth.password",
            "kestra.ee.license.key", "kestra.ee.license.fingerprint", "kestra.elasticsearch.client.basic-auth.password",
            "kestra.jwt-token", "micronaut.security.token.jwt.signatures.secret.generator.secret"]
    if repository in JDBC_TYPES:
        keys.append(f"datasources.{repository}.password")
    if secret_type:
        keys += [f"kestra.secret.{secret_type}.{name}" for name in ("secret", "token", "password", "secret-key")]
    if storage:
        keys += [f"kestra.storage.{storage}.{name}" for name in
                 ("access-key", "secret-key", "connection-string", "sas-token", "shared-key-account-access-key",
                  "service-account", "secret-access-key", "client-pem")]
    return keys


def _url_secrets(name, url):
    """Passwords inside a URL: before the host, or as parameters, as written and decoded."""
    if url.startswith("jdbc:"):
        try:
            target = jdbc.parse(url)
        except ConfigError:
            target = None
        if target is not None:
            if target.password:
                yield name, target.password
            for param, value in target.params.items():
                if value and is_secret_key(param):
                    yield name, value
    found = re.search(r"://[^/?#]*?:([^/?#]*)@", url)
    if found and found.group(1):
        yield name, found.group(1)
