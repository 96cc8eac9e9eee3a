# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which client a cluster gets, and what is said where a library is missing or the server is another one."""

from __future__ import annotations

import http.server
import json
import sys
import threading

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError, ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect

ROOT = {"cluster_uuid": "u1", "cluster_name": "c", "version": {"number": "3.8.0"}}


@pytest.fixture
def server():
    """server(product): a login for what answers GET / as that product does."""
    running = []

    def start(product, status=200, kind="application/json"):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                root = {**ROOT, "version": {**ROOT["version"], "distribution": product}}
                body = json.dumps(root if status == 200 else {"error": "Unauthorized"}).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if product == "elasticsearch":
                    self.send_header("X-Elastic-Product", "Elasticsearch")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        running.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return connect.Login((f"http://127.0.0.1:{running[-1].server_port}",), user="kestra", password="sesame")

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


def without(monkeypatch, *libraries):
    for name in libraries:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("product,title", [("elasticsearch", "Elasticsearch"), ("opensearch", "OpenSearch")])
def test_the_cluster_says_what_it_is(server, product, title):
    with connect.connect(server(product)) as cluster:
        assert cluster.identity == {
            "product": product, "cluster_uuid": "u1", "cluster_name": "c", "server_version": "3.8.0"}
        assert cluster.title == title


@pytest.mark.parametrize("version", [None, (9, 1, 0)])
def test_opensearch_needs_its_own_library_only(server, monkeypatch, version):
    if version is None:
        without(monkeypatch, "elasticsearch")
    else:
        monkeypatch.setattr("elasticsearch.__version__", version)
    with connect.connect(server("opensearch")) as cluster:
        assert cluster.identity["product"] == "opensearch"


@pytest.mark.parametrize(
    "product,missing,reason",
    [
        ("elasticsearch", ["elasticsearch"], "elasticsearch_missing"),
        ("opensearch", ["opensearchpy"], "opensearch_missing"),
        ("opensearch", ["elasticsearch", "opensearchpy"], "elasticsearch_missing"),
    ],
)
def test_a_missing_library_is_named(server, monkeypatch, product, missing, reason):
    without(monkeypatch, *missing)
    with pytest.raises(ToolError) as failed:
        connect.connect(server(product))
    assert failed.value.reason == reason and "pip" not in failed.value.message
    assert "opensearch-py" in failed.value.hint if product == "opensearch" else "elasticsearch>=8.19,<9" in failed.value.hint


def test_a_library_of_another_version(server, monkeypatch):
    monkeypatch.setattr("elasticsearch.__version__", (9, 1, 0))
    with pytest.raises(ToolError) as failed:
        connect.connect(server("elasticsearch"))
    assert failed.value.reason == "elasticsearch_version"


def test_what_is_neither(server):
    with pytest.raises(ConnectError) as failed:
        connect.connect(server("something"))
    assert failed.value.reason == "vendor"


@pytest.mark.parametrize("product", ["elasticsearch", "opensearch"])
def test_a_login_that_is_refused(server, monkeypatch, product):
    if product == "opensearch":
        without(monkeypatch, "elasticsearch")
    with pytest.raises(ConnectError) as failed:
        connect.connect(server(product, status=401))
    assert failed.value.reason == "login_refused" and "kestra" in failed.value.message
    assert "sesame" not in str(failed.value.to_result())


@pytest.mark.parametrize("library", ["elasticsearch", "opensearchpy"])
def test_pages_of_something_else(server, monkeypatch, library):
    without(monkeypatch, library)
    with pytest.raises(ConnectError) as failed:
        connect.connect(server("something", kind="image/png"))
    assert failed.value.reason == "unreachable"


def test_what_does_not_answer(monkeypatch):
    without(monkeypatch, "elasticsearch")
    with pytest.raises(ConnectError) as failed:
        connect.connect(connect.Login(("http://127.0.0.1:9",)))
    assert failed.value.reason == "unreachable"
