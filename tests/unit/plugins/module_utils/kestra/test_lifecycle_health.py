# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Healthy is only what says UP with HTTP 200."""
from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.lifecycle_health import probe


@contextlib.contextmanager
def management_port(status, body, login=None):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = "Basic " + base64.b64encode(login.encode()).decode() if login else None
            right = wanted is None or self.headers.get("Authorization") == wanted
            self.send_response(status if right else 401)
            self.end_headers()
            self.wfile.write(body if right and self.path == "/health" else b"")

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status, body, expected", [
    (200, {"status": "UP"}, "UP"), (503, {"status": "DOWN"}, "DOWN"), (503, {"status": "UP"}, "DOWN"),
    (200, {"status": "DOWN"}, "DOWN"), (200, {}, "DOWN"), (200, [1], "DOWN"), (404, {}, "DOWN"), (403, {}, "login_wanted"),
    (200, {"status": "UNKNOWN"}, "UNKNOWN")])
def test_answers(status, body, expected):
    with management_port(status, json.dumps(body).encode()) as url:
        assert probe({"management_url": url})()["status"] == expected


def test_no_json_is_not_healthy():
    with management_port(200, b"<html>UP</html>") as url:
        assert probe({"management_url": url})()["status"] == "DOWN"


def test_nobody_there_is_no_exception():
    with management_port(200, b"{}") as url:
        pass
    answer = probe({"management_url": url})()
    assert answer["status"] is None and "does not answer" in answer["error"]


def test_a_login_is_used_when_asked_for():
    with management_port(200, b'{"status": "UP"}', login="ops:p@ss") as url:
        assert probe({"management_url": url})()["status"] == "login_wanted"
        ask = probe({"management_url": url, "management_user": "ops", "management_password": "p@ss"})
        assert ask()["status"] == "UP"


@pytest.mark.parametrize("url", [None, ""])
def test_without_an_address_nobody_is_asked(url):
    assert probe({"management_url": url}) is None


def test_a_bad_address_is_refused():
    with pytest.raises(ConfigError):
        probe({"management_url": "localhost:8081"})
