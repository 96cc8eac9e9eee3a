# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Cloud Storage without Google: what its answers, generations and lifecycle rules mean."""
from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import google.api_core.exceptions
import google.auth.exceptions
import google.cloud.storage.exceptions
import pytest
import requests
import urllib3.exceptions
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, failures, gcs, lifecycle
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.moments import pick
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.options import Place

OBJECT = "https://storage.googleapis.com/storage/v1/b/kestra/o/main%2Fx?generation=1"
LIST = "https://storage.googleapis.com/storage/v1/b/kestra/o?prefix=main"


def of(exc, operation="storage.objects.get"):
    return failures.of(exc, gcs.answer(exc), operation=operation, bucket="kestra", endpoint="Google Cloud Storage")


def answered(status, message="the secret is sesame", reason="x", url=OBJECT):
    """As the SDK makes it of an answer."""
    response = requests.Response()
    response.status_code, response.request, response.url = status, requests.Request("GET", url).prepare(), url
    response._content = json.dumps({"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}).encode()
    return google.api_core.exceptions.from_http_response(response)


@pytest.mark.parametrize(("exc", "reason"), [
    (answered(404, "The specified bucket does not exist."), "bucket_missing"),
    (answered(404, "The specified bucket does not exist.", url=LIST), "bucket_missing"),
    (answered(404, "Not Found", url=LIST), "bucket_missing"),
    (answered(404, "No such object: kestra/main/x"), failures.GONE),
    (answered(412, reason="conditionNotMet"), failures.CHANGED),
    (answered(401, reason="authError"), "credentials_refused"),
    (answered(403, reason="forbidden"), "access_denied"),
    (answered(403, reason="retentionPolicyNotMet"), "object_locked"),
    (answered(400, 'Provided MD5 hash "x" doesn\'t match calculated MD5 hash "y".', "invalid"), "torn"),
    (answered(400, reason="invalid"), "storage_error"),
    (google.cloud.storage.exceptions.DataCorruption(requests.Response(), "sesame"), "torn"),
    (google.auth.exceptions.RefreshError("invalid_grant: Invalid JWT Signature.", {"error": "sesame"}), "credentials_refused"),
    (google.auth.exceptions.RefreshError("invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
                                         "timeframe. Check your iat and exp values in the JWT claim."), "clock_skew"),
    (google.auth.exceptions.DefaultCredentialsError("sesame"), "credentials_missing"),
    (requests.exceptions.SSLError("x"), "tls_untrusted")])
def test_final_failures(exc, reason):
    error, again = of(exc)
    assert error.reason == reason and not again and "sesame" not in str(error.to_result())


@pytest.mark.parametrize(("exc", "reason"), [
    *((answered(status), "storage_busy") for status in (408, 429, 500, 502, 503, 504)),
    (answered(403, reason="rateLimitExceeded"), "storage_busy"),
    (google.cloud.storage.exceptions.InvalidResponse(SimpleNamespace(status_code=503), "x"), "storage_busy"),
    (requests.exceptions.ConnectionError("x"), "unreachable"), (requests.exceptions.ReadTimeout("x"), "unreachable"),
    (requests.exceptions.ChunkedEncodingError("x"), "unreachable"), (google.auth.exceptions.TransportError("x"), "unreachable"),
    (urllib3.exceptions.ProtocolError("x", urllib3.exceptions.IncompleteRead(1, 2)), "unreachable")])
def test_failures_that_may_pass(exc, reason):
    error, again = of(exc)
    assert error.reason == reason and again


@pytest.mark.parametrize(("status", "gone"), [(404, True), (410, True), (503, False)])
def test_an_upload_that_does_not_go_on_is_begun_anew(status, gone):
    exc = answered(status, "Not Found", url="https://storage.googleapis.com/upload/storage/v1/b/kestra/o?uploadType=resumable&upload_id=a")
    error, again = of(exc, "storage.objects.create")
    assert error.reason == "storage_busy" and again and gcs.upload_gone(exc) is gone
    assert not gcs.upload_gone(answered(status, "Not Found", url=LIST)) and not gcs.upload_gone(requests.exceptions.ConnectionError("x"))


def test_the_right_that_is_missing_is_named():
    error, _again = of(answered(403, reason="forbidden", url=LIST), "storage.objects.list")
    assert "does not allow listing in the bucket kestra" in error.message and "storage.objects.list" in error.hint


# generations

BEGIN = datetime(2026, 11, 23, 12, 0, 0, 400000, tzinfo=timezone.utc)


def at(seconds):
    return BEGIN + timedelta(seconds=seconds)


def generation(number, created, ceased=None):
    return at(created), None if ceased is None else at(ceased), Entry("k", number, f"tag{number}", "", str(number))


def there(found, seconds):
    """The version that was there at a moment."""
    moment = None if seconds is None else at(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    entries = list(pick([(gcs.versions("k", found), None)], moment))
    return entries[0].version if entries else None


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("seconds", "version"), [(-5, None), (0, "1"), (9, "1"), (10, "2"), (19, "2"), (20, None), (29, None), (30, "3"), (None, "3")])
def test_the_generation_that_was_there(reverse, seconds, version):
    """Overwritten at 10, deleted at 20, there again from 30 on, in whatever order they are listed."""
    found = [generation(1, 0, 10), generation(2, 10, 20), generation(3, 30)]
    assert there(found[::-1] if reverse else found, seconds) == version


def test_what_was_overwritten_was_never_away():
    """Though its end was of an earlier second than the next one's beginning."""
    found = [generation(1, 0, 9.5), generation(2, 9.7)]
    assert [there(found, seconds) for seconds in (8, 9, 10)] == ["1", "1", "2"]


def test_deleted_for_good():
    found = [generation(1, 0, 5)]
    assert [there(found, seconds) for seconds in (4, 5, None)] == ["1", None, None]


# rules

def rule(kind="Delete", **condition):
    return {"action": {"type": kind}, "condition": condition}


@pytest.mark.parametrize(("given", "what"), [
    (rule(age=30), [("expires", 30), ("versions_expire", 0)]),
    (rule(age=30, isLive=True), [("expires", 30)]),
    (rule(createdBefore="2026-01-01"), [("expires", None), ("versions_expire", 0)]),
    (rule(age=3, isLive=False), [("versions_expire", 0)]),
    (rule(daysSinceNoncurrentTime=3), [("versions_expire", 3)]),
    (rule(daysSinceNoncurrentTime=3, numNewerVersions=2), [("versions_expire", 3)]),
    (rule(numNewerVersions=2), [("versions_expire", 0)]),
    (rule(noncurrentTimeBefore="2026-01-01"), [("versions_expire", 0)]),
    (rule(daysSinceNoncurrentTime=30), []),
    (rule(age=30, matchesPrefix=["logs/", "data/x"]), [("expires", 30), ("versions_expire", 0)]),
    (rule(age=30, matchesPrefix=["logs/"]), []),
    (rule(age=30, matchesStorageClass=["NEARLINE"]), [("expires", 30), ("versions_expire", 0)]),
    (rule(age=30, daysSinceCustomTime=1), []), (rule(customTimeBefore="2026-01-01"), []),
    ({"action": {"type": "SetStorageClass", "storageClass": "ARCHIVE"}, "condition": {"age": 1}}, []),
    (rule("AbortIncompleteMultipartUpload", age=1), [])])
def test_rules(given, what):
    problems = lifecycle.problems(gcs.s3_rules(given), "data/", 7)
    assert [(problem["what"], problem["days"]) for problem in problems] == what


# credentials

def test_no_credentials_are_sent_in_the_clear():
    place = Place("kestra", "http://127.0.0.1:9", kind="gcs", service_account='{"type": "service_account"}')
    with client.opened(place) as bucket:
        assert type(bucket._client._credentials).__name__ == "AnonymousCredentials"


@pytest.mark.parametrize("text", [
    "a path", "[]", '"x"', '{"type": "service_account"}',
    '{"type": "service_account", "client_email": "a", "token_uri": "b", "private_key": "sesame"}'])
def test_a_service_account_that_is_damaged(text):
    with pytest.raises(ConfigError) as caught:
        with client.opened(Place("kestra", kind="gcs", service_account=text)):
            pass
    assert caught.value.reason == "credentials_missing" and "sesame" not in str(caught.value.to_result())


def test_no_credentials_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    with pytest.raises(ConfigError) as caught:
        with client.opened(Place("kestra", kind="gcs")):
            pass
    assert caught.value.reason == "credentials_missing" and "Google Cloud Storage" in caught.value.message
