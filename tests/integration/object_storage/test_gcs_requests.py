# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the emulator of Google Cloud Storage does not do, against answers as Google documents them: requests are tested, not Google."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import ssl
import subprocess
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, compare, inventory, options
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry

BUCKET = {
    "kind": "storage#bucket", "name": "kestra", "location": "EUR4", "locationType": "dual-region", "rpo": "ASYNC_TURBO",
    "versioning": {"enabled": True}, "softDeletePolicy": {"retentionDurationSeconds": "604800", "effectiveTime": "2026-01-01T00:00:00Z"},
    "encryption": {"defaultKmsKeyName": "projects/p/locations/eur4/keyRings/r/cryptoKeys/k"}, "retentionPolicy": {"retentionPeriod": "86400"},
    "lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"numNewerVersions": 3}},
                           {"action": {"type": "SetStorageClass", "storageClass": "COLDLINE"}, "condition": {"age": 30}},
                           {"action": {"type": "Delete"}, "condition": {"age": 365, "matchesPrefix": ["other/"]}}]}}


class Google:
    """answers: {(method, path): [(status, headers, content), ...]}, the last one again and again; asked: the requests."""

    def __init__(self, certificate=None):
        self.answers, self.asked = {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                url = urllib.parse.urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.asked.append((self.command, url.path, dict(urllib.parse.parse_qsl(url.query)), dict(self.headers), body))
                given = outer.answers.get((self.command, url.path))
                if given is None:
                    status, headers, content = 404, {}, {"error": {"code": 404, "message": "Not Found"}}
                else:
                    status, headers, content = given.pop(0) if len(given) > 1 else given[0]
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.endpoint = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def says(self, method, path, *answers):
        self.answers[method, path] = [one if isinstance(one, tuple) else (200, {}, one) for one in answers]

    def sent(self, method):
        """The requests of a method. By itself the SDK also gets the bucket, now and then."""
        return [one for one in self.asked if one[0] == method]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def google():
    found = Google()
    yield found
    found.close()


@pytest.fixture
def bucket(google):
    with client.opened(options.Place("kestra", google.endpoint, kind="gcs", prefix="data/", patience=5.0)) as found:
        yield found


def listed(name, generation, created, deleted=None, **more):
    return dict({"name": name, "size": "3", "generation": str(generation), "timeCreated": created, "updated": created,
                 "contentType": "text/plain", "md5Hash": base64.b64encode(hashlib.md5(b"abc").digest()).decode()},
                **({"timeDeleted": deleted} if deleted else {}), **more)


def test_what_a_bucket_says_of_itself(google, bucket):
    google.says("GET", "/storage/v1/b/kestra", (200, {"date": "Mon, 23 Nov 2026 00:15:00 GMT", "server": "UploadServer"}, BUCKET))
    found = inventory.about(bucket, retention_days=7, settle=False)
    assert found["provider"] == {"location": "EUR4", "location_type": "dual-region", "turbo_replication": True,
                                 "soft_delete_seconds": 604800, "retention_seconds": 86400}
    assert found["encryption"] == BUCKET["encryption"]["defaultKmsKeyName"] and found["versioning"] == "enabled"
    assert [(problem["rule"], problem["what"]) for problem in found["lifecycle"]["problems"]] == [("rule 1", "versions_expire")]


def test_the_generations_of_a_key_go_on_in_the_next_page(google, bucket):
    google.says("GET", "/storage/v1/b/kestra", (200, {}, BUCKET))
    pages = [{"items": [listed("data/a", 1, "2026-11-23T00:00:00.100Z", "2026-11-23T00:10:00.000Z")], "nextPageToken": "next"},
             {"items": [listed("data/a", 2, "2026-11-23T00:10:00.000Z", "2026-11-23T00:20:00.500Z"),
                        listed("data/b", 3, "2026-11-23T00:00:00.000Z")]}]
    about = inventory.about(bucket, settle=False)

    def there(moment=None):
        google.says("GET", "/storage/v1/b/kestra/o", *pages)
        return [(entry.key, entry.version) for entry in inventory.entries(bucket, about, moment)]

    assert there("2026-11-23T00:05:00Z") == [("a", "1"), ("b", "3")]
    assert there("2026-11-23T00:15:00Z") == [("a", "2"), ("b", "3")]
    assert there("2026-11-23T00:25:00Z") == there() == [("b", "3")]
    asked = [query for method, path, query, _headers, _body in google.asked if path.endswith("/o")]
    assert {query["versions"] for query in asked} == {"true"} and {query["prefix"] for query in asked} == {"data/"}
    assert [query.get("pageToken") for query in asked[:2]] == [None, "next"]


def test_what_has_no_md5_is_read_by_its_generation(google, bucket):
    """Composed of others, or encrypted with a key that is not told: equal generations are equal, others may be."""
    composed = listed("data/a", 7, "2026-11-23T00:00:00Z", md5Hash=None, metadata={"k": "v"})
    google.says("GET", "/storage/v1/b/kestra/o", {"items": [composed]})
    google.says("GET", "/download/storage/v1/b/kestra/o/data%2Fa", (200, {"content-type": "text/plain", "x-goog-generation": "7"}, b"abc"))
    entry = next(bucket.objects())
    read = bytearray()
    found = bucket.read(entry, read.extend)
    assert read == b"abc" and (found.etag, found.metadata, found.headers) == ("generation-7", {"k": "v"}, {"ContentType": "text/plain"})
    assert [query for _method, path, query, *_rest in google.asked if path.startswith("/download/")] == [{"alt": "media", "generation": "7"}]
    written = Entry("a", 3, "generation-7", "", md5=hashlib.md5(b"abc").hexdigest())
    assert compare.same_content(written, found) is True
    assert compare.same_content(written, found._replace(etag="generation-8")) is None


def test_whichever_is_there_is_read_when_it_is_replaced_once_more(google, bucket):
    path = "/storage/v1/b/kestra/o/data%2Fa"
    google.says("GET", path, *(listed("data/a", number, "2026-11-23T00:00:00Z") for number in (7, 8, 8)))
    gone = (404, {}, {"error": {"code": 404, "message": "No such object: kestra/data/a"}})
    google.says("GET", "/download" + path, gone, (200, {"x-goog-generation": "8"}, b"abc"))
    read = bytearray()
    assert bucket.read(Entry("a", 3, "x", "", "6"), read.extend, same=False).version == "8" and read == b"abc"


def test_a_large_upload_is_taken_up_where_the_server_says(google, bucket, tmp_path):
    """In pieces of 16 MiB, with the MD5 of the whole; a piece that fails is sent again."""
    body = os.urandom(20 << 20)
    (tmp_path / "body").write_bytes(body)
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    google.says("POST", "/upload/storage/v1/b/kestra/o", (200, {"location": f"{google.endpoint}/session"}, {}))
    google.says("PUT", "/session", (503, {}, {}), (308, {"range": f"bytes=0-{(16 << 20) - 1}"}, {}),
                dict(listed("data/x", 5, "2026-11-23T00:00:00Z"), md5Hash=md5, size=str(len(body))))
    with open(tmp_path / "body", "rb") as handle:
        done = bucket.write(Entry("x", len(body), "", "", headers={"ContentType": "x/y"}, metadata={"a": "ü"}), handle, md5)
    assert done == {"etag": hashlib.md5(body).hexdigest(), "version": "5"}
    begun = json.loads(google.sent("POST")[0][4])
    assert begun == {"name": "data/x", "md5Hash": md5, "metadata": {"a": "ü"}, "contentType": "x/y"}
    ranges = [headers["content-range"] for _method, _path, _query, headers, _body in google.sent("PUT")]
    assert ranges == [f"bytes 0-{(16 << 20) - 1}/{len(body)}"] * 2 + [f"bytes {16 << 20}-{len(body) - 1}/{len(body)}"]


def test_a_generation_comes_back_in_as_many_requests_as_the_server_wants(google, bucket):
    resource = listed("data/a", 9, "2026-11-23T00:00:00Z")
    path = "/storage/v1/b/kestra/o/data%2Fa/rewriteTo/b/kestra/o/data%2Fa"
    google.says("POST", path, {"done": False, "totalBytesRewritten": "1", "objectSize": "3", "rewriteToken": "go on"},
                {"done": True, "totalBytesRewritten": "3", "objectSize": "3", "resource": resource})
    bucket.copy_version(Entry("a", 3, "", "", "7", headers={"ContentType": "text/plain", "CacheControl": "no-cache"}, metadata={"k": "v"}))
    first, second = google.sent("POST")
    assert first[2]["sourceGeneration"] == second[2]["sourceGeneration"] == "7" and second[2]["rewriteToken"] == "go on"
    assert json.loads(first[4]) == {"metadata": {"k": "v"}, "contentType": "text/plain", "cacheControl": "no-cache"}


@pytest.fixture
def account(google):
    """A service account, of which the tokens come from google."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return json.dumps({"type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": key, "client_id": "1",
                       "client_email": "kestra@p.iam.gserviceaccount.com", "token_uri": f"{google.endpoint}/token"})


@pytest.fixture
def secure(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=60)
    found = Google((certificate, key))
    found.certificate = str(certificate)
    yield found
    found.close()


def test_a_service_account_over_tls(google, secure, account):
    google.says("POST", "/token", {"access_token": "hushToken1", "expires_in": 3600, "token_type": "Bearer"})
    secure.says("GET", "/storage/v1/b/kestra", (200, {}, BUCKET))
    place = options.Place("kestra", secure.endpoint, kind="gcs", service_account=account, patience=2.0)

    def versioning(**how):
        with client.opened(dataclasses.replace(place, **how)) as bucket:
            return bucket.facts()["versioning"]

    for how in ({"ca_path": secure.certificate}, {"validate_certs": False}):
        assert versioning(**how) == "Enabled"
    assert secure.asked[-1][3]["authorization"] == "Bearer hushToken1"
    with pytest.raises(DrError) as caught:
        versioning()
    assert caught.value.reason == "tls_untrusted"
    google.says("POST", "/token", (400, {}, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}))
    with pytest.raises(DrError) as caught:
        versioning(ca_path=secure.certificate)
    assert caught.value.reason == "credentials_refused" and "PRIVATE" not in str(caught.value.to_result())
    refused = {"code": 403, "message": "x does not have storage.buckets.get access", "errors": [{"reason": "forbidden"}]}
    secure.says("GET", "/storage/v1/b/kestra", (403, {}, {"error": refused}))
    google.says("POST", "/token", {"access_token": "hushToken1", "expires_in": 3600, "token_type": "Bearer"})
    with pytest.raises(DrError) as caught:
        versioning(ca_path=secure.certificate)
    assert caught.value.reason == "access_denied" and "storage.buckets.get" in caught.value.hint
