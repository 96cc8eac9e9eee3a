# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group object_storage. Must be kept in sync with plugins/doc_fragments/object_storage.py."""
from __future__ import annotations

import json
from dataclasses import dataclass, field

from ...core.environment_file import parse_environment, private_text
from ...core.errors import ConfigError
from ...core.secrets import SHORTEST
from ...kestra import buckets
from ...kestra import options as kestra_options

KINDS = ("s3", "gcs", "azure")
_DEFAULT_REGION = "us-east-1"
# What credentials_file may hold for each kind, and what it has to; the one of gcs is JSON.
_NAMES = {
    "s3": {"access_key": "AWS_ACCESS_KEY_ID", "secret_key": "AWS_SECRET_ACCESS_KEY", "session_token": "AWS_SESSION_TOKEN"},
    "azure": {"access_key": "AZURE_STORAGE_ACCOUNT", "secret_key": "AZURE_STORAGE_KEY", "session_token": "AZURE_STORAGE_SAS_TOKEN"},
}
_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"


def argument_spec() -> dict:
    """The options of every module that talks to an object store."""
    return {
        "type": {"type": "str", "choices": list(KINDS)},
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
    """A bucket and how it opens. kind: one of KINDS. endpoint: None is the provider's own. prefix: empty, or ends with a slash.

    Without credentials it is left to the SDK (environment, profile, the machine's own role). access_key, secret_key,
    session_token: of azure the account, its key, a shared access signature. service_account: of gcs, the JSON text of its key
    file. patience: seconds.
    """

    bucket: str
    endpoint: str | None = None
    region: str = _DEFAULT_REGION
    prefix: str = ""
    kind: str = "s3"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    service_account: str | None = field(default=None, repr=False)
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
        return self.endpoint or {"s3": f"Amazon S3 ({self.region})", "gcs": "Google Cloud Storage", "azure": "Azure"}[self.kind]

    def secrets(self) -> list:
        """What must not be shown."""
        found = (self.secret_key, self.session_token, self.client_pem, self.service_account,
                 _member(self.service_account, "private_key"))
        return [secret for secret in found if secret]

    def fingerprint(self) -> dict:
        """What tells this place from another one, without secrets."""
        return {"type": self.kind, "endpoint": self.endpoint, "region": self.region, "bucket": self.bucket, "prefix": self.prefix}

    def facts(self) -> dict:
        """What modules return of it."""
        return self.fingerprint()


def _member(text, name):
    """A member of a JSON object, None where the text is none, or lacks it."""
    try:
        return json.loads(text or "{}").get(name)
    except (ValueError, AttributeError):
        return None


def resolve(params, known=None, credentials=None) -> Place:
    """Options win over Kestra's configuration. Pure. Raises ConfigError.

    known: kestra.buckets.settings() or None. credentials: of credentials_file, as read_credentials() gives them, or None.
    Kestra's credentials go with Kestra's own endpoint only.
    """
    known = known or {}
    kind = kind_of(params, known)
    credentials = None if credentials is None else dict(credentials)
    endpoint = (params["endpoint"] or (credentials or {}).pop("endpoint", None)
                or (known.get("endpoint") if kind == known.get("kind", kind) else None))
    if kind == "azure" and not endpoint:
        account = params["access_key"] or (credentials or {}).get("access_key")
        endpoint = account and buckets.azure_endpoint(account)
    own = (kind, endpoint) == (known.get("kind", kind), known.get("endpoint"))
    bucket = params["bucket"] or known.get("bucket")
    if not bucket:
        raise ConfigError("Nothing names the bucket.", reason="config_missing",
                          hint="Give the option bucket, or config with Kestra's configuration.")
    if endpoint and "://" not in endpoint:
        raise ConfigError(f"The endpoint {endpoint} is no URL.", reason="bad_endpoint",
                          hint="Give it as https://host:port.")
    if kind == "azure" and "?" in (endpoint or ""):
        raise ConfigError("The endpoint of the storage account holds more than its address.", reason="bad_endpoint",
                          hint="Give a shared access signature with session_token or credentials_file.")
    if params["parallel"] < 1 or params["patience"] < 0:
        raise ConfigError("parallel must be at least 1 and patience must not be negative.", reason="bad_option")
    if kind == "gcs" and params["secret_key"]:
        raise ConfigError("Google Cloud Storage is opened with a service account, not with a secret key.", reason="bad_option",
                          hint="Give its JSON file with credentials_file.")
    prefix = params["prefix"] if params["prefix"] is not None else (known.get("prefix") if own else None)
    verify = params["validate_certs"]
    return Place(
        bucket=bucket, kind=kind, endpoint=endpoint, region=params["region"] or (own and known.get("region")) or _DEFAULT_REGION,
        prefix=_with_slash(prefix), **_credentials(kind, params, known if own else {}, credentials),
        addressing=params["addressing"] or (own and known.get("addressing")) or ("path" if endpoint else "virtual"),
        ca_path=params["ca_path"], ca_pem=known.get("ca_pem") if own else None,
        client_pem=known.get("client_pem") if own else None,
        validate_certs=verify if verify is not None else (known.get("validate_certs", True) if own else True),
        parallel=params["parallel"], patience=params["patience"])


def kind_of(params, known) -> str:
    """Which of KINDS options and Kestra's configuration mean. Pure."""
    return params["type"] or (known or {}).get("kind") or "s3"


def _with_slash(prefix) -> str:
    return prefix.rstrip("/") + "/" if prefix and prefix.strip("/") else ""


def _credentials(kind, params, known, credentials) -> dict:
    if params["secret_key"] or (kind == "azure" and params["session_token"]):
        return {name: params[name] for name in ("access_key", "secret_key", "session_token")}
    if credentials is not None:
        return credentials
    if known.get("role"):
        raise ConfigError("Kestra takes on a role for its storage (sts-role-arn), which is not covered.",
                          reason="unsupported_credentials",
                          hint="Give credentials that may read the bucket with credentials_file.")
    return {name: known.get(name) for name in ("access_key", "secret_key", "session_token", "service_account")}


def read_credentials(kind, text, where) -> dict:
    """The members of a Place that the text of credentials_file holds, with the endpoint where it names one. Pure. Raises ConfigError."""
    if kind == "gcs":
        if _member(text, "type") != "service_account":
            raise ConfigError(f"{where} is not the JSON file of a service account.", reason="credentials_missing",
                              hint="Make a key of the service account (JSON) and name its file.")
        return {"service_account": text}
    environment = parse_environment(text, where)
    if kind == "azure" and environment.get(_CONNECTION):
        return buckets.azure_connection(environment[_CONNECTION], f"{_CONNECTION} in {where}")
    found = {name: environment.get(variable) for name, variable in _NAMES[kind].items()}
    if not found["access_key"] or not (found["secret_key"] or (kind == "azure" and found["session_token"])):
        raise ConfigError(f"The file of credentials lacks {_NAMES[kind]['access_key']} or {_NAMES[kind]['secret_key']}.",
                          reason="credentials_missing")
    return found


def of_kestra(module, redactor, configuration, credentials_file=None) -> Place | None:
    """The Place of Kestra's storage; None where that is no bucket. configuration: read, or None."""
    if configuration is None or configuration.storage_type() not in buckets.TYPES:
        return None
    params = {name: option.get("default") for name, option in argument_spec().items()}
    return of_module(module, redactor, dict(params, credentials_file=credentials_file), configuration)


def of_target(module, redactor, source: Place) -> Place:
    """The Place that a module's option target names: a replica has the keys of its source. Raises ConfigError."""
    place = of_module(module, redactor, dict(module.params["target"], type=source.kind, prefix=source.prefix,
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
    credentials = None
    if params["credentials_file"]:
        credentials = read_credentials(kind_of(params, known), private_text(params["credentials_file"], "credentials_file"),
                                       params["credentials_file"])
    place = resolve(params, known, credentials)
    for secret in place.secrets():
        if len(secret) < SHORTEST:
            raise ConfigError(f"A secret of the object storage is shorter than {SHORTEST} characters: it cannot be kept out "
                              "of logs without spoiling them.", reason="secret_too_short")
        redactor.add(secret)
        module.no_log_values.add(secret)
    return place
