# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaves Kestra's maintenance mode, or tells whether it is left. Run as: python3 -I way_out.py ACCESS leave|status

This file is copied to the host of the dead-man and runs there alone, with nothing but the standard library of Python 3.9
or later. ACCESS is a JSON file that only its owner can read: {"url", "prefixes", "authorization", "validate_certs",
"ca_path", "timeout"}. It ends with 0 when Kestra is out of maintenance mode (status) or took the request (leave).
"""
from __future__ import annotations

import json
import ssl
import sys
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

PROGRAM = "way_out.py"
ACCESS = "way_out.json"
IN, UNKNOWN = 3, 4
_ABSENT = (404, 405)


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the login to wherever it points."""

    def redirect_request(self, *_unused):
        return None


def ask(access: dict, method: str, path: str):
    """(HTTP status, the JSON answer or None). Raises OSError when Kestra does not answer."""
    context = ssl.create_default_context(cafile=access.get("ca_path"))
    if not access.get("validate_certs", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    headers = {"Accept": "application/json", "User-Agent": "kestra_community.dr"}
    if access.get("authorization"):
        headers["Authorization"] = access["authorization"]
    opener = build_opener(_NoRedirect(), HTTPSHandler(context=context), *([ProxyHandler({})] if access.get("local") else []))
    try:
        reply = opener.open(Request(access["url"] + path, headers=headers, method=method), timeout=access.get("timeout", 10))
    except HTTPError as exc:
        reply = exc
    with reply:
        raw = reply.read(1 << 20)
        status = getattr(reply, "status", None) or reply.code
    try:
        return status, json.loads(raw.decode("utf-8"))
    except ValueError:
        return status, None


def leave(access: dict, request) -> int:
    """Sends exit along the paths that versions of Kestra have. request(method, path) -> (status, body)."""
    for prefix in access["prefixes"]:
        status, _body = request("POST", prefix + "/maintenance/exit")
        if 200 <= status < 300:
            return 0
        if status not in _ABSENT:
            raise OSError(f"HTTP {status}")
    raise OSError("no known path exists")


def in_maintenance(access: dict, request):
    """True or False by the best means this version offers; None when it does not say."""
    for path, name in (("/api/v1/instance/maintenance/status", "maintenance"), ("/api/v1/configs", "inMaintenance")):
        status, body = request("GET", path)
        if status == 200 and isinstance(body, dict) and isinstance(body.get(name), bool):
            return body[name]
    for prefix in access["prefixes"]:
        status, body = request("GET", prefix + "/services/search?page=1&size=100")
        if status == 200 and isinstance(body, dict):
            return any(row.get("state") == "MAINTENANCE" for row in body.get("results") or [])
    return None


def main(argv) -> int:
    """The command line."""
    if len(argv) != 3 or argv[2] not in ("leave", "status"):
        sys.stderr.write("usage: way_out.py ACCESS leave|status\n")
        return 2
    with open(argv[1], encoding="utf-8") as handle:
        access = json.load(handle)

    def request(method, path):
        return ask(access, method, path)

    try:
        if argv[2] == "leave":
            return leave(access, request)
        found = in_maintenance(access, request)
    except OSError as exc:
        sys.stdout.write(f"Kestra does not answer as it should: {exc}\n")
        return UNKNOWN
    return UNKNOWN if found is None else IN if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
