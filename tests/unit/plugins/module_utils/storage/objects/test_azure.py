# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container of Azure: what its answers mean, by the SDK's own exceptions, and what a blob can hold."""
from __future__ import annotations

import email.utils
import io
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from xml.sax.saxutils import escape

import azure.storage.blob
import pytest
import requests
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, DrError, ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import azure as ours
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import azure_answers, client, failures, options
from azure.core.pipeline.transport import HttpTransport, RequestsTransportResponse

KEY = "c2VzYW1lLTAxMjM0NTY3ODk="
PLACE = options.Place(bucket="kestra", kind="azure", endpoint="https://a.blob.core.windows.net", access_key="a", secret_key=KEY, patience=0)
SERVICE = azure.storage.blob.BlobServiceClient


class Answer(HttpTransport):
    """Gives one answer to everything, or raises."""

    def __init__(self, status=200, body="", headers=None, error=None):
        self._status, self._body, self._headers, self._error = status, body, headers or {}, error

    def send(self, request, **_how):
        if self._error:
            raise self._error
        found = requests.Response()
        found.status_code, found.reason = self._status, "No"
        found.headers.update({"Content-Type": "application/xml", **self._headers})
        found.raw = io.BytesIO(self._body.encode())
        return RequestsTransportResponse(request, found)

    def open(self):
        """Nothing."""

    close = open

    def __exit__(self, *_how):
        """Nothing."""


def bucket(transport, monkeypatch):
    monkeypatch.setattr(azure.storage.blob, "BlobServiceClient", lambda *given, **how: SERVICE(*given, **{**how, "transport": transport}))
    return client.opened(PLACE)


def asked(monkeypatch, what="head", **answer):
    """The error of a request that is answered so."""
    with bucket(Answer(**answer), monkeypatch) as found, pytest.raises(DrError) as caught:
        if what == "head":
            found.head(ours.Entry("x", 1, "0x1", "2026-01-01T00:00:00Z"))
        else:
            list(found.objects())
    assert "sesame" not in str(caught.value.to_result()) and KEY not in str(caught.value.to_result())
    return caught.value


def refused(status, code, message="no", **more):
    detail = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in more.items())
    return {"status": status, "body": f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{detail}</Error>",
            "headers": {"x-ms-error-code": code}}


@pytest.mark.parametrize(("status", "code", "reason"), [
    (404, "ContainerNotFound", "bucket_missing"), (409, "ContainerBeingDeleted", "bucket_missing"), (404, "BlobNotFound", failures.GONE),
    (412, "ConditionNotMet", failures.CHANGED), (403, "AuthorizationFailure", "access_denied"),
    (403, "AuthorizationPermissionMismatch", "access_denied"), (403, "AccountIsDisabled", "access_denied"),
    (403, "KeyBasedAuthenticationNotPermitted", "access_denied"), (403, "AuthenticationFailed", "credentials_refused"),
    (400, "InvalidAuthenticationInfo", "credentials_refused"), (409, "BlobArchived", "object_archived"),
    (409, "BlobBeingRehydrated", "object_archived"), (400, "Md5Mismatch", "torn"), (413, "RequestBodyTooLarge", "object_too_large"),
    (409, "BlobImmutableDueToPolicy", "object_locked"), (412, "LeaseIdMissing", "object_locked"), (409, "SnapshotsPresent", "object_locked"),
    (503, "ServerBusy", "storage_busy"), (500, "OperationTimedOut", "storage_busy"), (500, "InternalError", "storage_busy"),
    (409, "AccountBeingCreated", "storage_busy"), (400, "Whatever", "storage_error")])
def test_answers(monkeypatch, status, code, reason):
    for what in ("head", "list"):
        assert asked(monkeypatch, what, **refused(status, code)).reason == reason


@pytest.mark.parametrize("code", ["ServerBusy", "OperationTimedOut"])
def test_answers_that_may_change(code):
    exc = SimpleNamespace(response=SimpleNamespace(headers={}), status_code=503, error_code=code, message="")
    assert failures.of(exc, azure_answers.answer(exc), operation="azure:Get Blob", bucket="b", endpoint="e")[1] is True


def test_a_right_that_is_missing_is_named(monkeypatch):
    error = asked(monkeypatch, "list", **refused(403, "AuthorizationPermissionMismatch"))
    assert "does not allow listing in the bucket kestra" in error.message and "List Blobs (permission l)" in error.hint


def test_a_signature_that_has_run_out(monkeypatch):
    told = "Signature not valid in the specified time frame: Start [x] - Expiry [y] - Current [z]"
    error = asked(monkeypatch, "list", **refused(403, "AuthenticationFailed", AuthenticationErrorDetail=told))
    assert error.reason == "credentials_expired"


def test_a_clock_that_is_wrong(monkeypatch):
    told = "Request date header too old: 'Mon, 23 Nov 2026 00:15:00 GMT'"
    assert asked(monkeypatch, "list", **refused(403, "AuthenticationFailed", AuthenticationErrorDetail=told)).reason == "clock_skew"
    # The answer to a HEAD has no body, but it has the server's time.
    for minutes, reason in ((-40, "clock_skew"), (40, "clock_skew"), (2, "credentials_refused")):
        date = email.utils.format_datetime(datetime.now(timezone.utc) + timedelta(minutes=minutes), usegmt=True)
        error = asked(monkeypatch, "head", status=403, headers={"x-ms-error-code": "AuthenticationFailed", "Date": date})
        assert error.reason == reason, minutes


@pytest.mark.parametrize(("error", "reason"), [
    (requests.exceptions.SSLError("bad"), "tls_untrusted"), (requests.exceptions.ConnectionError("gone"), "unreachable"),
    (requests.exceptions.ReadTimeout("slow"), "unreachable"), (azure.core.exceptions.ServiceRequestError("no route"), "unreachable"),
    (azure.core.exceptions.ServiceResponseError("cut"), "unreachable"), (azure.core.exceptions.IncompleteReadError("cut"), "unreachable"),
    (azure.core.exceptions.ServiceRequestError("x", error=requests.exceptions.SSLError("bad")), "tls_untrusted")])
def test_no_answer(monkeypatch, error, reason):
    assert asked(monkeypatch, "list", error=error).reason == reason


def test_a_key_that_is_none(monkeypatch):
    monkeypatch.setattr(__import__("sys").modules[__name__], "PLACE", options.Place(
        bucket="kestra", kind="azure", endpoint="https://a.blob.core.windows.net", access_key="a", secret_key="not base64!", patience=0))
    assert asked(monkeypatch, "list").reason == "credentials_refused"


def test_an_sdk_that_is_too_old(monkeypatch):
    monkeypatch.setattr(azure.storage.blob, "__version__", "12.14.1")
    with pytest.raises(ToolError) as caught:
        ours.driver()
    assert caught.value.reason == "azure_sdk_too_old" and "12.14.1" in caught.value.message


@pytest.mark.parametrize(("how", "reason"), [
    ({"endpoint": None}, "config_missing"), ({"endpoint": "https://a.blob.core.windows.net"}, "credentials_missing")])
def test_an_account_that_cannot_be_opened(how, reason):
    with pytest.raises(ConfigError) as caught:
        ours.account(options.Place(bucket="kestra", kind="azure", **how))
    assert caught.value.reason == reason


@pytest.mark.parametrize(("url", "name"), [
    ("https://a.blob.core.windows.net", "a"), ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1"), ("https://a.b/", "a")])
def test_whose_a_url_is(url, name):
    assert ours.account_of(url) == name


@pytest.mark.parametrize("key", ["main/a", "main/ü\U0001f600/é", "main/a b+c%25&d?#", "main/new\nline\ttab", "main/", "/main//x", "main/.hidden", "x" * 1024])
def test_names_that_a_blob_can_have(key):
    assert ours.unspeakable(key) is None


@pytest.mark.parametrize("key", ["main/a\\b", "main/./a", "..", "main/a\x01", "main/\ufffe", "x" * 1025])
def test_names_that_no_blob_can_have(key):
    assert ours.unspeakable(key)


@pytest.mark.parametrize(("headers", "metadata", "fine"), [
    ({"ContentType": "a/b", "CacheControl": "x"}, {"Name_1": "what it's for: =?x", "other": ""}, True), ({"Expires": "x"}, {}, False),
    ({}, {"made-by": "x"}, False), ({}, {"1st": "x"}, False), ({}, {"a": "ü"}, False), ({}, {"a": "x\ny"}, False), ({}, {"a": "1", "A": "2"}, False)])
def test_what_can_be_kept_with_a_blob(headers, metadata, fine):
    assert (ours.unkeepable(headers, metadata) is None) is fine


def item(name="a", version=None, current=None, modified=1):
    return SimpleNamespace(name=name, version_id=version, is_current_version=current, last_modified=datetime(2026, 11, modified, tzinfo=timezone.utc))


@pytest.mark.parametrize(("page", "kept"), [
    ([], None), ([item()], None), ([item(version="v", current=True)], "Enabled"),
    # Old ones of before it was switched on; a new one of after it was switched off.
    ([item(), item("b", "v", True, 2)], "Enabled"), ([item("a", "v", True), item("b", modified=2)], "Suspended"),
    # An earlier version says nothing of what there is now.
    ([item("a", "v", None, 3), item("a", modified=2)], "Suspended")])
def test_whether_versions_are_kept(page, kept):
    assert ours._kept(page) == kept


def test_a_version_is_named_by_its_time():
    assert ours._id_time("2026-11-26T17:28:02.1234567Z") == "2026-11-26T17:28:02.123456Z"
    assert ours._id_time("2026-11-26T17:28:02Z") == "2026-11-26T17:28:02.000000Z"


@pytest.mark.parametrize(("policy", "statuses", "said"), [
    (None, [], None), ("p", [], "REPLICA"), (None, ["complete", "complete"], "COMPLETED"), (None, ["complete", "failed"], "FAILED")])
def test_what_is_said_of_replication(policy, statuses, said):
    rules = [SimpleNamespace(rules=[SimpleNamespace(status=status)]) for status in statuses]
    assert azure_answers.replication(SimpleNamespace(object_replication_destination_policy=policy, object_replication_source_properties=rules)) == said
