# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's HTTP API, as far as a working day needs it. Paths and forms: Kestra 0.19 to 2.x; nothing from plugins/."""
from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import urllib.error
import urllib.parse
import urllib.request


class ApiError(Exception):
    """A request got no answer or not the answer asked for. status: HTTP status, 0 when there was no answer."""

    def __init__(self, message, status=0):
        super().__init__(message)
        self.status = status


def tenant_of(version, asked=None):
    """The tenant segment of the paths: none before 0.23, then main unless another is asked for."""
    match = re.match(r"(\d+)\.(\d+)", version or "")
    if match and (int(match.group(1)), int(match.group(2))) < (0, 23):
        return None
    return asked or "main"


def multipart(fields, files) -> tuple:
    """(content type, body) of a form. fields: {name: text}; files: [(field, file name, bytes)]."""
    boundary = "----drill" + secrets.token_hex(16)
    parts = []
    for name, text in fields.items():
        parts.append((f'form-data; name="{name}"', None, text.encode("utf-8")))
    for field, filename, content in files:
        parts.append((f'form-data; name="{field}"; filename="{filename}"', "application/octet-stream", content))
    body = b""
    for disposition, kind, content in parts:
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n".encode()
        if kind:
            body += f"Content-Type: {kind}\r\n".encode()
        body += b"\r\n" + content + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


class Api:
    """One Kestra. url: address with context path, without /api; user and password: basic auth or None."""

    def __init__(self, url, user=None, password=None, timeout=20.0):
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._headers = {"Accept": "application/json, */*"}
        if user is not None:
            token = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"
        self.version = None
        self.uuid = None
        self.tenant = None

    def request(self, method, path, body=None, kind=None) -> bytes:
        """The body of the answer. Raises ApiError for anything but 2xx; the message never holds the credentials."""
        headers = dict(self._headers)
        if kind:
            headers["Content-Type"] = kind
        asked = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=self._timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            text = error.read(500).decode("utf-8", "replace")
            raise ApiError(f"{method} {path} was answered {error.code}: {text}", error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} {path} got no answer: {error}") from None

    def _json(self, method, path, body=None, kind=None):
        answer = self.request(method, path, body, kind)
        try:
            return json.loads(answer) if answer else None
        except ValueError:
            raise ApiError(f"{method} {path} was not answered with JSON") from None

    def discover(self) -> None:
        """Asks for version and instance uuid and settles the form of the paths."""
        facts = self._json("GET", "/api/v1/configs")
        self.version, self.uuid = facts.get("version"), facts.get("uuid")
        self.tenant = tenant_of(self.version)

    def _path(self, *segments, **query) -> str:
        path = "/api/v1/" + "/".join(urllib.parse.quote(part, safe="") for part in (self.tenant, *segments) if part)
        return path + ("?" + urllib.parse.urlencode(query) if query else "")

    def _there(self, path):
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def put_flow(self, source) -> None:
        """Creates a flow from its YAML."""
        self.request("POST", self._path("flows"), source.encode("utf-8"), "application/x-yaml")

    def has_flow(self, namespace, flow) -> bool:
        """Whether the flow is there."""
        return self._there(self._path("flows", namespace, flow)) is not None

    def delete_flow(self, namespace, flow) -> None:
        """Deletes a flow."""
        self.request("DELETE", self._path("flows", namespace, flow))

    def start(self, namespace, flow, inputs=None, files=None) -> str:
        """Starts an execution, returns its id. files: {input: bytes}.

        A file is a part named files whose file name is the input's id; every version reads that form.
        """
        parts = [("files", name, content) for name, content in (files or {}).items()]
        kind, body = multipart(inputs or {}, parts)
        return self._json("POST", self._path("executions", namespace, flow), body, kind)["id"]

    def execution(self, execution):
        """An execution, or None when there is none of that id."""
        found = self._there(self._path("executions", execution))
        return json.loads(found) if found is not None else None

    def execution_file(self, execution, uri):
        """The content of a file of an execution, or None."""
        return self._there(self._path("executions", execution, "file", path=uri))

    def delete_execution(self, execution) -> None:
        """Deletes an execution with its logs and files."""
        self.request("DELETE", self._path("executions", execution))

    def put_value(self, namespace, key, value) -> None:
        """Writes a KV value (a text, as JSON)."""
        self.request("PUT", self._path("namespaces", namespace, "kv", key), json.dumps(value).encode(), "text/plain")

    def value(self, namespace, key):
        """A KV value, or None. Newer versions answer an unknown key with 404, some with an empty answer."""
        found = self._there(self._path("namespaces", namespace, "kv", key))
        return json.loads(found).get("value") if found else None

    def delete_value(self, namespace, key) -> None:
        """Deletes a KV value."""
        self.request("DELETE", self._path("namespaces", namespace, "kv", key))

    def put_file(self, namespace, path, content) -> None:
        """Writes a namespace file. path begins with /."""
        kind, body = multipart({}, [("fileContent", path.rpartition("/")[2], content)])
        self.request("POST", self._path("namespaces", namespace, "files", path=path), body, kind)

    def file(self, namespace, path):
        """The content of a namespace file, or None."""
        return self._there(self._path("namespaces", namespace, "files", path=path))

    def delete_file(self, namespace, path) -> None:
        """Deletes a namespace file."""
        self.request("DELETE", self._path("namespaces", namespace, "files", path=path))

    def totals(self) -> dict:
        """How many flows and executions the API lists."""
        kinds = ("flows", "executions")
        return {kind: self._json("GET", self._path(kind, "search", size=1, page=1))["total"] for kind in kinds}
