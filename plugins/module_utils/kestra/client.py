# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks HTTP to Kestra: the web API and the management port. Knows no meaning of any path."""
from __future__ import annotations

import base64
import json
import re
import socket
import ssl
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from ..core.errors import ConfigError, ConnectError

MAX_BODY = 16 << 20


@dataclass
class Settings:
    """Where and how. URLs without a trailing slash; credentials are basic auth, or a token that wins over them."""

    api_url: str | None = None
    management_url: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    management_user: str | None = None
    management_password: str | None = field(default=None, repr=False)
    tenant: str | None = None
    validate_certs: bool = True
    ca_path: str | None = None
    timeout: float = 10.0

    def secrets(self) -> list:
        """What must not be shown."""
        return [value for value in (self.password, self.token, self.management_password) if value]


@dataclass
class Answer:
    """What came back. body: the parsed JSON, or None when it was none. login: the kind that was sent, Basic or Bearer."""

    status: int
    body: Any
    path: str
    content_type: str = ""
    login: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def clean_url(url, what):
    """url without trailing slashes; refuses what is not http(s) and user information inside it. None stays None."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{what} is not a usable http:// or https:// address.", reason="bad_url",
                          hint="Write it like http://kestra.example.org:8080.")
    if "@" in parts.netloc:
        raise ConfigError(f"{what} holds credentials.", reason="bad_url",
                          hint="Give them by api_user and api_password (or api_token) instead.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def settings_from_params(params, configuration=None) -> Settings:
    """Settings from the options of the group kestra_api; what is not given comes from Kestra's configuration.

    params: the module's parameters. configuration: a Configuration or None. Raises ConfigError (bad_url).
    """
    settings = Settings(
        api_url=clean_url(params.get("api_url"), "api_url"),
        management_url=clean_url(params.get("management_url"), "management_url"),
        user=params.get("api_user"), password=params.get("api_password"), token=params.get("api_token"),
        tenant=params.get("tenant") or None, validate_certs=params.get("validate_certs", True),
        ca_path=params.get("ca_path"), timeout=params.get("api_timeout") or 10.0)
    if configuration is not None:
        known = configuration.api_credentials()
        settings.api_url = settings.api_url or configuration.api_url()
        settings.management_url = settings.management_url or configuration.management_url()
        settings.management_user = known["management_user"]
        settings.management_password = known["management_password"]
        if settings.user is None and settings.token is None:
            settings.user, settings.password = known["user"], known["password"]
    return settings


def segment(text) -> str:
    """One path segment, quoted."""
    return quote(str(text), safe="")


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the login to wherever it points."""

    def redirect_request(self, *_unused):
        return None


class Client:
    """One Kestra. Every failure to get an HTTP answer is a ConnectError; any status is an Answer.

    Not ansible.module_utils.urls.open_url: it loads all CA certificates for every request, and one question of
    kestra_info takes forty requests.
    """

    def __init__(self, settings):
        self.settings = settings
        self._openers: dict = {}

    def get(self, path, query=None) -> Answer:
        """GET of the web API. path begins with /."""
        return self._request("GET", self._base("api_url", "web API"), path, query, self.authorization())

    def post(self, path, body=None) -> Answer:
        """POST, with a JSON body where one is given."""
        return self._request("POST", self._base("api_url", "web API"), path, None, self.authorization(), body)

    def delete(self, path, body=None) -> Answer:
        """DELETE, with a JSON body where one is given."""
        return self._request("DELETE", self._base("api_url", "web API"), path, None, self.authorization(), body)

    def management(self, path) -> Answer:
        """GET of the management port; credentials only when it asks for them and there are some."""
        base = self._base("management_url", "management port")
        answer = self._request("GET", base, path, None, {})
        if answer.status == 401 and self.settings.management_user is not None:
            login = _basic(self.settings.management_user, self.settings.management_password)
            answer = self._request("GET", base, path, None, login)
        return answer

    def _base(self, name, what) -> str:
        base = getattr(self.settings, name)
        if not base:
            raise ConnectError(f"The address of Kestra's {what} is not known.", reason="api_unknown",
                               hint=f"Give {name}, or config, which says where Kestra listens.")
        return base

    def authorization(self) -> dict:
        """The header of a login, {} without one. Raises ConfigError (bad_token)."""
        if self.settings.token:
            token = self.settings.token.strip()
            if not re.fullmatch(r"[!-~]+", token):
                raise ConfigError("api_token holds a blank, a line break or a character that is not ASCII.",
                                  reason="bad_token", hint="Give the token alone.")
            return {"Authorization": f"Bearer {token}"}
        if self.settings.user is not None:
            return _basic(self.settings.user, self.settings.password)
        return {}

    def _opener(self, base):
        if base not in self._openers:
            parts = urlsplit(base)
            handlers = [_NoRedirect()]
            if is_local(parts.hostname):
                handlers.append(ProxyHandler({}))
            if parts.scheme == "https":
                handlers.append(HTTPSHandler(context=self._context()))
            self._openers[base] = build_opener(*handlers)
        return self._openers[base]

    def _context(self):
        try:
            context = ssl.create_default_context(cafile=self.settings.ca_path)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"The certificate authority in {self.settings.ca_path} cannot be used: {_short(exc)}.",
                              reason="bad_ca", hint="ca_path has to name a PEM file on this host.") from None
        if not self.settings.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _request(self, method, base, path, query, login, body=None) -> Answer:
        url = base + path + ("?" + urlencode(query, doseq=True) if query else "")
        headers = {"Accept": "application/json", "User-Agent": "kestra_community.dr", **login}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        opener = self._opener(base)
        try:
            reply = opener.open(Request(url, data=data, headers=headers, method=method), timeout=self.settings.timeout)
        except HTTPError as exc:
            reply = exc
        except ssl.SSLError as exc:
            raise self._tls(base, exc) from None
        except URLError as exc:
            if isinstance(exc.reason, ssl.SSLError):
                raise self._tls(base, exc.reason) from None
            raise self._unreachable(base, exc.reason) from None
        except (OSError, HTTPException) as exc:  # reset, time-out, no HTTP at all
            raise self._unreachable(base, exc) from None
        return self._answer(reply, base, path, login.get("Authorization", "").partition(" ")[0])

    def _answer(self, reply, base, path, login) -> Answer:
        try:
            with reply:
                raw = reply.read(MAX_BODY + 1)
        except (OSError, HTTPException) as exc:
            raise self._unreachable(base, exc) from None
        status = getattr(reply, "status", None) or reply.code
        if status in (301, 302, 303, 307, 308):
            raise ConnectError(
                f"{base}{path} redirects elsewhere (HTTP {status}).", reason="api_redirect",
                hint="Give the address it redirects to (often https://…, or a path the server adds) as api_url or "
                     "management_url; redirects are not followed, they would take the login along.")
        declared = reply.headers.get("Content-Length", "")
        if declared.isdigit() and len(raw) < min(int(declared), MAX_BODY):
            raise self._unreachable(base, ConnectionError("the answer was cut short"))
        body = None
        if len(raw) <= MAX_BODY:
            try:
                body = json.loads(raw.decode("utf-8"))
            except ValueError:
                body = None
        return Answer(status, body, path, reply.headers.get("Content-Type", "") or "", login)

    @staticmethod
    def _tls(base, exc) -> ConnectError:
        return ConnectError(f"The TLS connection to {base} failed: {_short(exc)}.", reason="api_tls",
                            hint="Name the CA's file in ca_path.", detail={"url": base})

    @staticmethod
    def _unreachable(base, exc) -> ConnectError:
        slow = isinstance(exc, (TimeoutError, socket.timeout)) or "timed out" in str(exc)
        return ConnectError(f"Kestra does not answer at {base}: {_short(exc)}.",
                            reason="api_timeout" if slow else "api_unreachable", detail={"url": base})


def _basic(user, password) -> dict:
    raw = f"{user}:{password or ''}".encode("utf-8")
    return {"Authorization": "Basic " + base64.b64encode(raw).decode("ascii")}


def _short(exc) -> str:
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return text.splitlines()[0][:200].rstrip(".")


def is_local(host) -> bool:
    """Whether a name is this host's own, which no proxy is asked for."""
    return host in ("localhost", "::1") or str(host).startswith("127.")


def refusal(answer, what) -> ConnectError:
    """The ConnectError for an answer that is no success. what: the thing asked for, e.g. "the number of flows"."""
    status = answer.status
    if status == 401 and answer.login == "Bearer":
        return ConnectError(f"Kestra refuses the API token for {what} (HTTP 401).", reason="unauthorized",
                            hint="It may have expired or been revoked; give a new one in api_token.")
    if status == 401 and answer.login:
        return ConnectError(f"Kestra refuses the login for {what} (HTTP 401).", reason="unauthorized",
                            hint="Check api_user and api_password, or what Kestra's configuration says.")
    if status == 401:
        return ConnectError(f"Kestra wants a login for {what} (HTTP 401).", reason="unauthorized",
                            hint="Give api_user and api_password, or api_token (Enterprise).")
    if status == 403:
        return ConnectError(f"Kestra does not let this user see {what} (HTTP 403).", reason="forbidden",
                            hint="Use a user with that permission.")
    if status == 404:
        return ConnectError(f"Kestra has no {answer.path} for {what} (HTTP 404).", reason="not_found",
                            hint="Check api_url (with a context path, if there is one) and tenant.")
    if answer.ok:
        return ConnectError(f"What came back for {what} is not what Kestra's API answers.", reason="not_kestra",
                            hint="Something else may listen at that address.")
    return ConnectError(f"Kestra answered {what} with HTTP {status}.", reason="api_error", detail={"status": status})
