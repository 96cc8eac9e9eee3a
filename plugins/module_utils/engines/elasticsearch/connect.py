# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching a cluster of Elasticsearch or OpenSearch, and what its errors mean. Everything below goes through Cluster.request."""
from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from urllib.parse import quote

from ...core.errors import ConfigError, ConnectError
from . import clients

# Of a request that changes something: said again only when it surely was not heard.
_UNHEARD = ("Failed to establish a new connection", "Connection refused", "No route to host", "Name or service not known")

# The server's type of error -> reason, hint.
_TYPES = {
    "repository_missing_exception": ("repository_missing", "Register it: elasticsearch_repository."),
    "snapshot_missing_exception": ("snapshot_missing", "Look at what there is: elasticsearch_snapshot_info."),
    "repository_verification_exception": (
        "repository_unverified", "Every node must reach the same place: for fs the same mount, below path.repo of each node's "
                                 "elasticsearch.yml, writable for its account."),
    "repository_exception": (
        "repository_failed", "For fs the location must be below path.repo of each node's elasticsearch.yml, and its blobs whole."),
    "concurrent_snapshot_execution_exception": ("snapshot_running", "Wait until the other snapshot has ended, then run again."),
    "invalid_snapshot_name_exception": ("snapshot_name", "Choose another name."),
    "snapshot_name_already_in_use_exception": ("snapshot_exists", "Choose another name."),
    "index_not_found_exception": ("index_missing", None),
    "master_not_discovered_exception": ("not_ready", "Wait until the cluster has a master, then run again."),
    "process_cluster_event_timeout_exception": ("not_ready", "The master is busy; wait, then run again."),
    "cluster_block_exception": ("blocked", "See what blocks the cluster or the index (a full disk does); free it, then run again."),
}


@dataclass(frozen=True)
class Login:
    """How to reach a cluster. hosts: URLs. timeout: seconds any single answer may take.

    trusting: whether Kestra itself takes any certificate; only for a hint.
    """

    hosts: tuple
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    validate_certs: bool = True
    ca_path: str | None = None
    timeout: float = 30.0
    trusting: bool = False

    @property
    def place(self) -> str:
        """The hosts, for messages."""
        return ", ".join(self.hosts)


def authorization(login) -> str | None:
    """The header that says who we are. The client's own takes no password beyond ASCII. Pure."""
    if login.api_key:
        return f"ApiKey {login.api_key}"
    if login.user:
        return "Basic " + base64.b64encode(f"{login.user}:{login.password or ''}".encode("utf-8", "surrogateescape")).decode()
    return None


def path_of(*parts) -> str:
    """The path of a request; a wildcard stays one. Pure."""
    return "/" + "/".join(quote(part, safe="*,") for part in parts)


class Cluster:
    """A cluster that answered. identity: {product, cluster_uuid, cluster_name, server_version}. root: what GET / answers."""

    def __init__(self, client, root, login):
        self._client, self.login = client, login
        self.place, self.title = login.place, clients.TITLES[client.product]
        self.identity = {"product": client.product, "cluster_uuid": root["cluster_uuid"],
                         "cluster_name": root["cluster_name"], "server_version": root["version"]["number"]}
        if self.identity["cluster_uuid"] == "_na_":
            raise ConnectError(f"The {self.title} cluster {self.place} has no master yet.", reason="not_ready",
                               hint="Wait until it has formed, then run again.")

    def request(self, method, path, *, doing, body=None, params=None, missing=False):
        """The answer, parsed. doing: what is attempted, for the message. missing: None instead of an error for a 404."""
        asked = method in ("GET", "HEAD")
        retries = left = _attempts(self.login)
        while True:
            try:
                return self._client.perform(method, path, params=params, body=body, retries=retries if asked else 0)
            except clients.Refusal as exc:
                if missing and exc.status == 404:
                    return None
                raise api_error(exc, doing, self.login, self.title) from None
            except clients.Silence as exc:
                left -= 1
                if left <= 0 or asked or not any(word in exc.text for word in _UNHEARD):
                    raise transport_error(exc, doing, self.login, self.title) from None

    def get(self, path, *, doing, params=None, missing=False):
        """A question."""
        return self.request("GET", path, doing=doing, params=params, missing=missing)

    def begin(self, method, path, *, doing, body) -> None:
        """Starts what goes on by itself. An answer that is late is no failure: what it has come to is asked for."""
        try:
            self.request(method, path, doing=doing, body=body, params={"wait_for_completion": "false"})
        except ConnectError as exc:
            if exc.reason != "timeout":
                raise

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


def _attempts(login) -> int:
    return len(login.hosts) + 1


def connect(login) -> Cluster:
    """The cluster. Raises ConnectError (reasons login_refused, tls, unreachable, vendor, not_ready, …), ConfigError, ToolError."""
    if login.ca_path and login.validate_certs and _encrypted(login) and not os.path.isfile(login.ca_path):
        raise ConfigError(f"There is no file {login.ca_path}.", reason="ca_missing",
                          hint="ca_path is read on the host the module runs on.")
    doing, some = "asking the cluster who it is", "Elasticsearch"
    try:
        client, root = clients.open_client(lambda: options(login), login.place, _attempts(login))
    except clients.Refusal as exc:
        raise api_error(exc, doing, login, some) from None
    except clients.Silence as exc:
        raise transport_error(exc, doing, login, some) from None
    except (ValueError, OSError) as exc:
        raise ConfigError(f"The options for {login.place} are not usable: {exc}.", reason="connection_options") from None
    try:
        return Cluster(client, root, login)
    except BaseException:
        client.close()
        raise


def options(login) -> dict:
    """What both clients take. Pure."""
    found = {"hosts": list(login.hosts), "timeout": login.timeout}
    if _encrypted(login):
        found.update(verify_certs=login.validate_certs, ssl_show_warn=False)
        if login.ca_path and login.validate_certs:
            found["ca_certs"] = login.ca_path
    if authorization(login):
        found["headers"] = {"authorization": authorization(login)}
    return found


def _encrypted(login) -> bool:
    return any(host.startswith("https:") for host in login.hosts)


def cause(body) -> tuple:
    """(type, text) of the innermost error an answer tells of. Pure."""
    error = body.get("error") if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return None, str(error or "no reason given").strip()[:500]
    kind, texts = error.get("type"), []
    if error.get("root_cause"):
        kind = error["root_cause"][0].get("type") or kind
        texts.append(str(error["root_cause"][0].get("reason") or ""))
    texts.append(str(error.get("reason") or ""))
    inner = error.get("caused_by")
    while isinstance(inner, dict):
        texts.append(str(inner.get("reason") or ""))
        inner = inner.get("caused_by")
    shown = []
    for text in texts:
        if text and not any(text in other for other in shown):
            shown.append(text)
    return kind, "; ".join(shown).rstrip(".")[:1000] or "no reason given"


def _who(login) -> str:
    if login is None or not (login.api_key or login.user):
        return "a login without credentials"
    return "the API key" if login.api_key else f"the user {login.user}"


def api_error(exc, doing, login=None, title="Elasticsearch") -> ConnectError:
    """The ConnectError for an answer that is an error. exc: clients.Refusal. title: what the server calls itself."""
    kind, text = cause(exc.body)
    detail = {"status": exc.status, "type": kind}
    if exc.status == 401:
        return ConnectError(f"The {title} cluster refuses {_who(login)} ({doing}): {text}.", reason="login_refused",
                            hint="Check login_user and login_password, or login_api_key.", detail=detail)
    if exc.status == 403 and kind == "security_exception":
        return ConnectError(f"The account may not do this ({doing}): {text}.", reason="privileges_missing",
                            hint="Grant what is missing, or connect as another account.", detail=detail)
    reason, hint = _TYPES.get(kind, ("request_failed", None))
    if kind == "cluster_block_exception" and "disk usage exceeded" in text:
        reason, hint = "disk_full", "Free space on the data nodes: above the flood-stage watermark indices take no changes."
    return ConnectError(f"{title} failed while {doing}: {text}.", reason=reason, hint=hint, detail=detail)


def transport_error(exc, doing, login, title) -> ConnectError:
    """The ConnectError for an answer that never came. exc: clients.Silence."""
    text = " ".join(exc.text.split()).rstrip(".")[:500]
    if exc.kind == "tls":
        hint = "Give ca_path with the authority that signed the servers' certificates."
        if login.trusting:
            hint += " Kestra itself takes any certificate (trust-all-ssl), which is not taken over from its configuration."
        return ConnectError(f"{login.place} and this host cannot agree on TLS while {doing}: {text}.", reason="tls", hint=hint)
    if exc.kind == "timeout":
        return ConnectError(f"{login.place} did not answer within {login.timeout:g} s while {doing}.", reason="timeout",
                            hint="Raise timeout, or see what keeps the cluster busy.")
    return ConnectError(f"The {title} cluster {login.place} cannot be reached while {doing}: {text}.", reason="unreachable",
                        hint="Check that it runs, its addresses, http or https, and the network between.")


def canonical(value) -> bytes:
    """JSON with one form, for digests. Pure."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
