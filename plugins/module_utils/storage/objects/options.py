# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group object_storage. Must be kept in sync with plugins/doc_fragments/object_storage.py."""
from __future__ import annotations

from dataclasses import dataclass, field

from ...core.environment_file import private_environment
from ...core.errors import ConfigError
from ...core.secrets import SHORTEST
from ...kestra import buckets
from ...kestra import options as kestra_options

_DEFAULT_REGION = "us-east-1"


def argument_spec() -> dict:
    """The options of every module that talks to an object store."""
    return {
        "endpoint": {"type": "str"},
        "region": {"type": "str"},
        "bucket": {"type": "str"},
        "prefix": {"type": "str"},
        "access_key": {"type": "str", "no_log": False},
        "secret_key": {"type": "str", "no_log": True},
        "session_token": {"type": "str", "no_log": True},
        "credentials_file": {"type": "path", "no_log": False},
        "addressing": {"type": "str", "choices": ["path", "virtual"]},
        "ca_path": {"type": "path"},
        "validate_certs": {"type": "bool"},
        "parallel": {"type": "int", "default": 8},
        "patience": {"type": "float", "default": 300.0},
        "config": kestra_options.CONFIG_SPEC,
    }


def target_spec() -> dict:
    """The option target of modules that know a second bucket, which Kestra's configuration says nothing of."""
    names = ("endpoint", "region", "access_key", "secret_key", "session_token", "credentials_file", "addressing", "ca_path",
             "validate_certs")
    spec = argument_spec()
    return {"type": "dict", "required": True, "options": dict({name: spec[name] for name in names}, bucket={"type": "str", "required": True}),
            "mutually_exclusive": MUTUALLY_EXCLUSIVE, "required_together": REQUIRED_TOGETHER}


MUTUALLY_EXCLUSIVE = [("secret_key", "credentials_file")]
REQUIRED_TOGETHER = [("access_key", "secret_key")]


@dataclass(frozen=True)
class Place:
    """A bucket and how it opens. endpoint: None is Amazon's own. prefix: empty, or ends with a slash.

    access_key: None leaves it to the SDK (environment, profile, the machine's own role). patience: seconds.
    """

    bucket: str
    endpoint: str | None = None
    region: str = _DEFAULT_REGION
    prefix: str = ""
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    addressing: str = "path"
    ca_path: str | None = None
    ca_pem: str | None = None
    client_pem: str | None = field(default=None, repr=False)
    validate_certs: bool = True
    parallel: int = 8
    patience: float = 300.0

    @property
    def shown(self) -> str:
        """Whom we talk to, for messages."""
        return self.endpoint or f"Amazon S3 ({self.region})"

    def secrets(self) -> list:
        """What must not be shown."""
        return [secret for secret in (self.secret_key, self.session_token, self.client_pem) if secret]

    def fingerprint(self) -> dict:
        """What tells this place from another one, without secrets."""
        return {"endpoint": self.endpoint, "region": self.region, "bucket": self.bucket, "prefix": self.prefix}

    def facts(self) -> dict:
        """What modules return of it."""
        return self.fingerprint()


def resolve(params, known=None, environment=None) -> Place:
    """Options win over Kestra's configuration. Pure. Raises ConfigError.

    known: kestra.buckets.settings() or None. environment: of credentials_file, or None. Kestra's credentials go with
    Kestra's own endpoint only.
    """
    known = known or {}
    endpoint = params["endpoint"] or known.get("endpoint")
    own = endpoint == known.get("endpoint")
    bucket = params["bucket"] or known.get("bucket")
    if not bucket:
        raise ConfigError("Nothing names the bucket.", reason="config_missing",
                          hint="Give the option bucket, or config with Kestra's configuration.")
    if endpoint and "://" not in endpoint:
        raise ConfigError(f"The endpoint {endpoint} is no URL.", reason="bad_endpoint",
                          hint="Give it as https://host:port.")
    if params["parallel"] < 1 or params["patience"] < 0:
        raise ConfigError("parallel must be at least 1 and patience must not be negative.", reason="bad_option")
    prefix = params["prefix"] if params["prefix"] is not None else (known.get("prefix") if own else None)
    verify = params["validate_certs"]
    return Place(
        bucket=bucket, endpoint=endpoint, region=params["region"] or (own and known.get("region")) or _DEFAULT_REGION,
        prefix=_with_slash(prefix), **_credentials(params, known if own else {}, environment),
        addressing=params["addressing"] or (own and known.get("addressing")) or ("path" if endpoint else "virtual"),
        ca_path=params["ca_path"], ca_pem=known.get("ca_pem") if own else None,
        client_pem=known.get("client_pem") if own else None,
        validate_certs=verify if verify is not None else (known.get("validate_certs", True) if own else True),
        parallel=params["parallel"], patience=params["patience"])


def _with_slash(prefix) -> str:
    return prefix.rstrip("/") + "/" if prefix and prefix.strip("/") else ""


def _credentials(params, known, environment) -> dict:
    if params["secret_key"]:
        return {name: params[name] for name in ("access_key", "secret_key", "session_token")}
    if environment is not None:
        found = {"access_key": environment.get("AWS_ACCESS_KEY_ID"), "secret_key": environment.get("AWS_SECRET_ACCESS_KEY"),
                 "session_token": environment.get("AWS_SESSION_TOKEN")}
        if not found["access_key"] or not found["secret_key"]:
            raise ConfigError("The file of credentials lacks AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY.",
                              reason="credentials_missing")
        return found
    if known.get("role"):
        raise ConfigError("Kestra takes on a role for its storage (sts-role-arn), which is not covered.",
                          reason="unsupported_credentials",
                          hint="Give credentials that may read the bucket with credentials_file.")
    return {name: known.get(name) for name in ("access_key", "secret_key", "session_token")}


def of_kestra(module, redactor, configuration, credentials_file=None) -> Place | None:
    """The Place of Kestra's storage; None where that is no bucket. configuration: read, or None."""
    if configuration is None or configuration.storage_type() not in buckets.TYPES:
        return None
    params = {name: option.get("default") for name, option in argument_spec().items()}
    return of_module(module, redactor, dict(params, credentials_file=credentials_file), configuration)


def of_target(module, redactor, source: Place) -> Place:
    """The Place that a module's option target names: a replica has the keys of its source. Raises ConfigError."""
    place = of_module(module, redactor, dict(module.params["target"], prefix=source.prefix,
                                             parallel=source.parallel, patience=source.patience))
    if (place.endpoint, place.bucket) == (source.endpoint, source.bucket):
        raise ConfigError(f"The target is the source itself: the bucket {place.bucket} at {place.shown}.", reason="same_bucket",
                          hint="Name another bucket, or the endpoint of another server, with target.")
    return place


def of_module(module, redactor, params=None, configuration=None) -> Place:
    """The Place of a module with argument_spec(), or of options like its own; its secrets are made known to module and
    redactor. configuration: what stands for options that are not given, with params. Raises ConfigError."""
    if params is None:
        params, configuration = module.params, kestra_options.read_of(module, redactor)
    known = buckets.settings(configuration) if configuration is not None else None
    environment = private_environment(params["credentials_file"], "credentials_file") if params["credentials_file"] else None
    place = resolve(params, known, environment)
    for secret in place.secrets():
        if len(secret) < SHORTEST:
            raise ConfigError(f"A secret of the object storage is shorter than {SHORTEST} characters: it cannot be kept out "
                              "of logs without spoiling them.", reason="secret_too_short")
        redactor.add(secret)
        module.no_log_values.add(secret)
    return place
