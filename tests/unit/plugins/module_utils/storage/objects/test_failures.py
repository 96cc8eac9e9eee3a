# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed request means."""
from __future__ import annotations

import botocore.exceptions
import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import failures, s3

PLACE = {"bucket": "kestra", "endpoint": "https://s3.example.com"}


def answered(code, status=400, operation="GetObject"):
    exc = botocore.exceptions.ClientError(
        {"Error": {"Code": code, "Message": "the secret is sesame"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
    return failures.of(exc, s3.answer(exc), operation=f"s3:{operation}", **PLACE)


@pytest.mark.parametrize(("code", "status", "operation", "reason"), [
    ("NoSuchBucket", 404, "ListObjectsV2", "bucket_missing"),
    ("404", 404, "HeadBucket", "bucket_missing"),
    ("404", 404, "HeadObject", failures.GONE),
    ("NoSuchKey", 404, "GetObject", failures.GONE),
    ("NoSuchVersion", 404, "GetObject", failures.GONE),
    ("PreconditionFailed", 412, "GetObject", failures.CHANGED),
    ("AccessDenied", 403, "ListObjectsV2", "access_denied"),
    ("403", 403, "HeadObject", "access_denied"),
    ("InvalidAccessKeyId", 403, "GetObject", "credentials_refused"),
    ("SignatureDoesNotMatch", 403, "GetObject", "credentials_refused"),
    ("ExpiredToken", 400, "GetObject", "credentials_expired"),
    ("ExpiredTokenException", 400, "GetObject", "credentials_expired"),
    ("RequestTimeTooSkewed", 403, "GetObject", "clock_skew"),
    ("PermanentRedirect", 301, "GetObject", "wrong_region"),
    ("InvalidObjectState", 403, "GetObject", "object_archived"),
    ("BadDigest", 400, "PutObject", "torn"),
    ("XMinioStorageFull", 507, "PutObject", "storage_full"),
    ("Whatever", 400, "PutObject", "storage_error")])
def test_final_answers(code, status, operation, reason):
    error, again = answered(code, status, operation)
    assert error.reason == reason and not again
    assert "sesame" not in str(error.to_result())


@pytest.mark.parametrize(("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("RequestTimeout", 400), ("", 502),
                                              ("TooManyRequests", 429)])
def test_answers_that_may_change(code, status):
    error, again = answered(code, status)
    assert error.reason == "storage_busy" and again and isinstance(error, ConnectError)


def test_a_right_that_is_missing_is_named():
    error, _again = answered("AccessDenied", 403, "ListObjectVersions")
    assert "does not allow listing in the bucket kestra" in error.message and "s3:ListObjectVersions" in error.hint


@pytest.mark.parametrize(("exc", "reason", "again"), [
    (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), "unreachable", True),
    (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), "unreachable", True),
    (botocore.exceptions.ConnectionClosedError(endpoint_url="x"), "unreachable", True),
    (botocore.exceptions.ResponseStreamingError(error="x"), "unreachable", True),
    (ConnectionResetError("x"), "unreachable", True),
    (botocore.exceptions.SSLError(endpoint_url="x", error="x"), "tls_untrusted", False),
    (botocore.exceptions.NoCredentialsError(), "credentials_missing", False),
    (botocore.exceptions.ParamValidationError(report="x"), "storage_error", False)])
def test_failures_without_an_answer(exc, reason, again):
    error, may = failures.of(exc, s3.answer(exc), operation="s3:GetObject", **PLACE)
    assert (error.reason, may) == (reason, again)


def test_kinds():
    assert isinstance(answered("NoSuchBucket", 404)[0], ConfigError)
    assert answered("NoSuchBucket", 404)[0].detail == {
        "operation": "s3:GetObject", "bucket": "kestra", "endpoint": PLACE["endpoint"], "code": "NoSuchBucket"}
