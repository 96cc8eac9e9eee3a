# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP client: logins, redirects, TLS, time-outs, answers that are none."""
from __future__ import annotations

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import config, layers
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.client import (
    Client, Settings, clean_url, refusal, settings_from_params)
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra


@pytest.fixture
def kestra():
    with FakeKestra() as running:
        yield running


def client(kestra, **settings):
    return Client(Settings(api_url=kestra.api, management_url=kestra.management, timeout=5, **settings))


def test_basic_auth_with_any_characters(kestra):
    kestra.version, kestra.login = "2.0.0", ("ad min@x", "p:ä'\"%@ 中")
    assert client(kestra).get("/api/v1/configs").status == 401
    assert client(kestra, user="ad min@x", password="p:ä'\"%@ 中").get("/api/v1/configs").ok
    assert client(kestra, user="ad min@x", password="wrong").get("/api/v1/configs").status == 401


def test_a_body_is_sent_as_json(kestra):
    kestra.executions["main"] = [("é", "n", "f", "RUNNING")]
    answer = client(kestra).delete("/api/v1/executions/kill/by-ids", ["é"])
    assert (answer.status, answer.body) == (200, {"count": 1}) and kestra.killing == {"é": 0}
    assert client(kestra).post("/api/v1/executions/x/replay", {}).status == 404


def test_a_token_wins_over_a_password(kestra):
    kestra.version, kestra.token = "2.0.0", "tok"
    assert client(kestra, user="u", password="p", token="tok").get("/api/v1/configs").ok
    assert kestra.seen[-1][3] == "Bearer tok"


def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(kestra):
    assert client(kestra, token="tok\n").get("/api/v1/configs").ok
    for token in ("hunter2 hunter2", "hunter2\nX: y", "hünter2"):
        with pytest.raises(ConfigError) as caught:
            client(kestra, token=token).get("/api/v1/configs")
        assert caught.value.reason == "bad_token" and "nter2" not in str(caught.value.to_result())


def test_a_ca_file_that_is_none_is_named(tmp_path):
    for path in (tmp_path / "absent.pem", tmp_path / "text.pem"):
        (tmp_path / "text.pem").write_text("no certificate")
        with pytest.raises(ConfigError) as caught:
            Client(Settings(api_url="https://127.0.0.1:9", ca_path=str(path))).get("/x")
        assert caught.value.reason == "bad_ca" and str(path) in caught.value.message


def test_queries_are_quoted(kestra):
    client(kestra).get("/api/v1/x", {"filters[state][IN]": "A&B=C", "page": 1})
    assert kestra.seen[-1][2] == {"filters[state][IN]": ["A&B=C"], "page": ["1"]}


def test_the_management_port_gets_a_login_only_when_it_asks(kestra):
    known = {"management_user": "m", "management_password": "pm"}
    assert client(kestra, **known).management("/health").ok and kestra.seen[-1][3] is None
    kestra.health = (401, "UP")
    client(kestra, **known).management("/health")
    assert kestra.seen[-1][3].startswith("Basic ") and kestra.seen[-2][3] is None


def test_a_redirect_is_not_followed(kestra):
    kestra.broken = {"/configs": (302, b"")}
    with pytest.raises(ConnectError) as caught:
        client(kestra, token="tok").get("/api/v1/configs")
    assert caught.value.reason == "api_redirect" and "api_url" in caught.value.hint


def test_what_is_no_json_is_an_answer_without_a_body(kestra):
    kestra.broken = {"/configs": (200, b"<html>login page</html>")}
    answer = client(kestra).get("/api/v1/configs")
    assert answer.ok and answer.body is None and refusal(answer, "x").reason == "not_kestra"


def test_nobody_listens_is_named_with_the_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ConnectError) as caught:
            Client(Settings(api_url=url, timeout=2)).get("/x")
    assert caught.value.reason == "api_unreachable" and url in caught.value.message
    assert "refused" in caught.value.message


@pytest.mark.parametrize("reply", [None, b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"])
def test_a_server_that_is_none_is_an_error(reply):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)

        def serve():
            connection, _address = server.accept()
            with connection:
                if reply is None:
                    stop.wait(10)
                else:
                    connection.recv(65536)
                    connection.sendall(reply)

        stop = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(ConnectError) as caught:
            Client(Settings(api_url=f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.5)).get("/x")
        stop.set()
        thread.join(5)
    assert caught.value.reason == ("api_timeout" if reply is None else "api_unreachable")


def test_an_unknown_host_is_an_error():
    with pytest.raises(ConnectError) as caught:
        Client(Settings(api_url="http://no-such-host.invalid:8080", timeout=2)).get("/x")
    assert caught.value.reason == "api_unreachable"


def test_without_an_address_the_missing_option_is_named():
    for ask in (Client(Settings()).get, Client(Settings()).management):
        with pytest.raises(ConnectError) as caught:
            ask("/x")
        assert caught.value.reason == "api_unknown" and "_url" in caught.value.hint


@pytest.fixture
def tls(tmp_path):
    """An https server with a certificate of its own: (url, path of the certificate)."""
    cryptography = pytest.importorskip("cryptography", reason="a certificate is made with cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    assert cryptography
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=1))
                   .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                   .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                                  critical=False)
                   .sign(key, hashes.SHA256()))
    path = tmp_path / "cert.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_unused):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}", str(path)
    server.shutdown()
    server.server_close()


def test_certificates_are_checked(tls):
    url, path = tls
    with pytest.raises(ConnectError) as caught:
        Client(Settings(api_url=url, timeout=5)).get("/x")
    assert caught.value.reason == "api_tls" and "ca_path" in caught.value.hint
    assert Client(Settings(api_url=url, timeout=5, ca_path=path)).get("/x").body == {}
    assert Client(Settings(api_url=url, timeout=5, validate_certs=False)).get("/x").ok


@pytest.mark.parametrize("url, cleaned", [
    ("http://h:8080/", "http://h:8080"), ("https://h/kestra//", "https://h/kestra"), (None, None), ("", None)])
def test_addresses(url, cleaned):
    assert clean_url(url, "api_url") == cleaned


@pytest.mark.parametrize("url", ["h:8080", "ftp://h", "http://", "http://u:hunter2@h", "http://h:x",
                                 "http://h:99999999"])
def test_bad_addresses_are_refused_without_showing_them(url):
    with pytest.raises(ConfigError) as caught:
        clean_url(url, "api_url")
    assert caught.value.reason == "bad_url" and "hunter2" not in str(caught.value.to_result())


def test_settings_come_from_options_then_from_kestras_configuration():
    text = ("micronaut.server.port: 9090\nkestra.server.basic-auth: {username: u, password: secretpw}\n"
            "endpoints.all.basic-auth: {username: m, password: pm}")
    found = config.load(layers.Sources(files=(layers.Layer("a", text),)))
    settings = settings_from_params({}, found)
    assert (settings.api_url, settings.management_url) == ("http://localhost:9090", "http://localhost:8081")
    assert (settings.user, settings.password, settings.management_user) == ("u", "secretpw", "m")
    assert set(settings.secrets()) == {"secretpw", "pm"} and "secretpw" not in repr(settings)
    given = settings_from_params({"api_url": "https://k/", "api_token": "t", "tenant": "", "api_timeout": 3}, found)
    assert (given.api_url, given.user, given.token, given.tenant, given.timeout) == ("https://k", None, "t", None, 3)


def test_refusals_say_what_to_do(kestra):
    for status, reason in ((401, "unauthorized"), (403, "forbidden"), (404, "not_found"), (500, "api_error")):
        kestra.broken = {"/x": (status, b"{}")}
        error = refusal(client(kestra).get("/x"), "the number of flows")
        assert error.reason == reason and "the number of flows" in error.message


@pytest.mark.parametrize("login, told", [
    ({}, "wants a login"), ({"token": "t"}, "refuses the API token"), ({"user": "u", "password": "p"}, "refuses the login")])
def test_a_login_that_is_refused_is_told_from_one_that_is_missing(kestra, login, told):
    kestra.broken = {"/x": (401, b"{}")}
    error = refusal(client(kestra, **login).get("/x"), "the number of flows")
    assert told in error.message and error.reason == "unauthorized"
