# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's internal storage in a bucket, as its configuration has it (plugins storage-s3, storage-minio, storage-gcs and storage-azure)."""
from __future__ import annotations

from ..core.errors import ConfigError
from .values import as_text, boolean, integer

# kestra.storage.type -> storage.objects.options.KINDS
KINDS = {"s3": "s3", "minio": "s3", "gcs": "gcs", "azure": "azure"}
TYPES = tuple(KINDS)
# Where Kestra's process finds credentials that its configuration does not name.
_FROM_ENVIRONMENT = {
    "access_key": ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "MINIO_ACCESS_KEY"),
    "secret_key": ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "MINIO_SECRET_KEY"),
    "session_token": ("AWS_SESSION_TOKEN",),
}


def settings(configuration) -> dict:
    """How Kestra reaches its bucket, with the credentials.

    Keys of all: type, kind, endpoint (URL, None for the provider's own), bucket, prefix. Of s3 and minio: region, addressing ("path"
    or "virtual"), access_key, secret_key, session_token (None where the process finds them elsewhere), role, validate_certs,
    ca_pem, client_pem (PEM text). Of gcs: service_account (JSON text, None as above). Of azure:
    access_key, secret_key, session_token (the account, its key, a shared access signature). Raises ConfigError when the storage
    is none of TYPES or a value cannot be resolved.
    """
    kind = configuration.storage_type()
    if kind not in TYPES:
        raise ConfigError(f"Kestra's internal storage is {kind or 'not set'} (kestra.storage.type), not one of "
                          f"{', '.join(TYPES)}.", reason="unsupported_storage")

    def value(name):
        found = configuration.get(f"kestra.storage.{kind}.{name}")
        return None if found is None or found == "" else as_text(found)

    found = {"s3": _s3, "minio": _minio, "gcs": _gcs, "azure": _azure}[kind](value, configuration.sources.environment)
    return {"type": kind, "kind": KINDS[kind], **found}


def _s3(value, environment) -> dict:
    endpoint = value("endpoint")
    return {"endpoint": endpoint and endpoint.rstrip("/"), "prefix": value("path"), "role": value("sts-role-arn"),
            "addressing": "path" if boolean(value("force-path-style")) else "virtual",
            "validate_certs": True, "ca_pem": None, "client_pem": None, **_with_keys(value, environment)}


def _minio(value, environment) -> dict:
    endpoint, port = value("endpoint"), integer(value("port"))
    if endpoint and "://" not in endpoint:
        endpoint = ("https://" if boolean(value("secure")) else "http://") + endpoint
    if endpoint:
        endpoint = endpoint.rstrip("/")
        if port and ":" not in endpoint.split("://", 1)[1]:
            endpoint += f":{port}"
    return {"endpoint": endpoint, "prefix": None, "role": None,
            "addressing": "virtual" if boolean(value("vhost")) else "path",
            "validate_certs": not boolean(value("ssl-options.insecure-trust-all-certificates")),
            "ca_pem": value("ca-pem"), "client_pem": value("client-pem"), **_with_keys(value, environment)}


def _gcs(value, environment) -> dict:
    # The plugin has no setting for another endpoint than Google's; the variable is that of Google's libraries.
    endpoint = environment.get("STORAGE_EMULATOR_HOST")
    if endpoint and "://" not in endpoint:
        endpoint = "http://" + endpoint
    return {"endpoint": endpoint and endpoint.rstrip("/"), "bucket": value("bucket"), "prefix": value("path"),
            "service_account": value("service-account")}


def _azure(value, environment) -> dict:
    connection = value("connection-string")
    if connection:
        found = azure_connection(connection, "kestra.storage.azure.connection-string")
    else:
        # Behind a question mark stands a signature.
        endpoint, _mark, signature = (value("endpoint") or "").partition("?")
        name = value("shared-key-account-name")
        key = value("shared-key-account-access-key") if name else None
        found = {"endpoint": endpoint.rstrip("/") or None, "access_key": name, "secret_key": key,
                 "session_token": None if key else value("sas-token") or signature or None}
    return {"bucket": value("container"), "prefix": None, **found}


def azure_connection(text, where) -> dict:
    """{endpoint, access_key, secret_key, session_token} of a connection string of Azure. Pure. Raises ConfigError naming where."""
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    parts = {name.strip().lower(): value.strip() for name, value in parts.items()}
    account, endpoint = parts.get("accountname"), parts.get("blobendpoint")
    if not endpoint and account:
        endpoint = azure_endpoint(account, parts.get("defaultendpointsprotocol"), parts.get("endpointsuffix"))
    key, signature = parts.get("accountkey"), parts.get("sharedaccesssignature")
    if not endpoint or not (account and key or signature):
        raise ConfigError(f"{where} is no connection string of a storage account with its key or a signature.",
                          reason="credentials_missing", hint="Copy it from the account's access keys, or give account and key apart.")
    return {"endpoint": endpoint.rstrip("/"), "access_key": account, "secret_key": key, "session_token": None if key else signature}


def azure_endpoint(account, protocol=None, suffix=None) -> str:
    """The URL of an account's blobs."""
    return f"{protocol or 'https'}://{account}.blob.{suffix or 'core.windows.net'}"


def _with_keys(value, environment) -> dict:
    return {"region": value("region"), "bucket": value("bucket"), **_credentials(value, environment)}


def _credentials(value, environment) -> dict:
    own = {"access_key": value("access-key"), "secret_key": value("secret-key")}
    if own["access_key"] and own["secret_key"]:
        return dict(own, session_token=None)
    return {name: next((environment[key] for key in keys if environment.get(key)), None)
            for name, keys in _FROM_ENVIRONMENT.items()}
