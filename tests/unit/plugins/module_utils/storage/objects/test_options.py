# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options and Kestra's configuration to a place."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import options

DEFAULTS = {name: spec.get("default") for name, spec in options.argument_spec().items()}
KNOWN = {"type": "s3", "endpoint": "https://minio:9000", "region": "eu", "bucket": "kestra", "prefix": "data", "role": None,
         "access_key": "key", "secret_key": "sesame-1", "session_token": None, "addressing": "path", "validate_certs": True,
         "ca_pem": "PEM", "client_pem": None}
SERVICE_ACCOUNT = '{"type": "service_account", "client_email": "kestra@example.com", "private_key": "-----BEGIN PRIVATE KEY-----\\nx\\n"}'


def place(known=None, credentials=None, **params):
    return options.resolve(dict(DEFAULTS, **params), known, credentials)


def test_kestras_own():
    found = place(KNOWN)
    assert (found.endpoint, found.region, found.bucket, found.prefix) == ("https://minio:9000", "eu", "kestra", "data/")
    assert (found.access_key, found.secret_key, found.ca_pem, found.addressing) == ("key", "sesame-1", "PEM", "path")
    assert "sesame-1" not in repr(found) + str(found.fingerprint()) + str(found.facts()) and found.secrets() == ["sesame-1"]


def test_options_win():
    found = place(KNOWN, bucket="other", prefix="", region="us", addressing="virtual", access_key="a", secret_key="sesame-2",
                  ca_path="/ca", validate_certs=False)
    assert (found.bucket, found.prefix, found.region, found.addressing) == ("other", "", "us", "virtual")
    assert (found.access_key, found.secret_key, found.ca_path, found.validate_certs) == ("a", "sesame-2", "/ca", False)


def test_kestras_credentials_do_not_go_to_another_endpoint():
    found = place(KNOWN, endpoint="https://elsewhere")
    assert found.access_key is None and found.secret_key is None and found.prefix == "" and found.ca_pem is None
    assert found.region == "us-east-1" and found.bucket == "kestra" and found.addressing == "path"


def test_a_file_of_credentials():
    text = "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=sesame-2\nAWS_SESSION_TOKEN=token-1\n"
    found = place(KNOWN, options.read_credentials("s3", text, "/x"), credentials_file="/x")
    assert (found.access_key, found.secret_key, found.session_token) == ("a", "sesame-2", "token-1")
    assert found.secrets() == ["sesame-2", "token-1"]


@pytest.mark.parametrize(("kind", "text", "members"), [
    ("azure", "AZURE_STORAGE_CONNECTION_STRING='AccountName=a;AccountKey=sesame=='\n",
     {"access_key": "a", "secret_key": "sesame==", "endpoint": "https://a.blob.core.windows.net"}),
    ("azure", "AZURE_STORAGE_ACCOUNT=a\nAZURE_STORAGE_KEY=sesame\n",
     {"access_key": "a", "secret_key": "sesame", "endpoint": "https://a.blob.core.windows.net"}),
    ("azure", "AZURE_STORAGE_ACCOUNT=a\nAZURE_STORAGE_SAS_TOKEN='sv=1&sig=sesame'\n", {"access_key": "a", "session_token": "sv=1&sig=sesame"}),
    ("gcs", SERVICE_ACCOUNT, {"service_account": SERVICE_ACCOUNT})])
def test_files_of_credentials_of_the_other_clouds(kind, text, members):
    found = place(None, options.read_credentials(kind, text, "/x"), type=kind, bucket="x")
    assert {name: getattr(found, name) for name in members} == members and found.kind == kind
    assert found.secrets() and not any(secret in repr(found) + str(found.facts()) for secret in found.secrets())


@pytest.mark.parametrize(("kind", "text"), [
    ("s3", "AWS_ACCESS_KEY_ID=a\n"), ("azure", "AZURE_STORAGE_ACCOUNT=a\n"), ("gcs", "AWS_ACCESS_KEY_ID=a\n"), ("gcs", "[]"),
    ("gcs", '{"type": "authorized_user", "refresh_token": "sesame"}')])
def test_files_that_lack_credentials(kind, text):
    with pytest.raises(ConfigError) as caught:
        options.read_credentials(kind, text, "/x")
    assert caught.value.reason == "credentials_missing" and "sesame" not in str(caught.value.to_result())


def test_kestras_container_of_azure():
    known = {"type": "azure", "kind": "azure", "endpoint": "https://a.blob.core.windows.net", "bucket": "kestra", "prefix": None,
             "access_key": "a", "secret_key": "sesame-1", "session_token": None}
    found = place(known)
    assert (found.kind, found.endpoint, found.bucket, found.access_key, found.secret_key) == (
        "azure", "https://a.blob.core.windows.net", "kestra", "a", "sesame-1")
    # Kestra's credentials do not go to another account; a file brings its own.
    assert place(known, endpoint="https://b.blob.core.windows.net").secret_key is None
    other = place(known, options.read_credentials("azure", "AZURE_STORAGE_CONNECTION_STRING='AccountName=b;AccountKey=sesame-2'", "/x"))
    assert (other.endpoint, other.access_key, other.secret_key) == ("https://b.blob.core.windows.net", "b", "sesame-2")
    assert place(known, session_token="sv=1&sig=x").session_token == "sv=1&sig=x"
    with pytest.raises(ConfigError) as caught:
        place(known, endpoint="https://a.blob.core.windows.net/?sig=sesame")
    assert caught.value.reason == "bad_endpoint" and "sesame" not in str(caught.value.to_result())


def test_kestras_bucket_of_google():
    known = {"type": "gcs", "kind": "gcs", "endpoint": None, "bucket": "kestra", "prefix": "data", "service_account": SERVICE_ACCOUNT}
    found = place(known)
    assert (found.kind, found.endpoint, found.bucket, found.prefix) == ("gcs", None, "kestra", "data/")
    assert found.shown == "Google Cloud Storage" and "PRIVATE" in found.secrets()[1]
    # Kestra's credentials go neither to another endpoint nor to another provider.
    assert place(known, endpoint="https://private").service_account is None and place(known, type="s3").prefix == ""
    with pytest.raises(ConfigError) as caught:
        place(known, access_key="a", secret_key="sesame-2")
    assert caught.value.reason == "bad_option"


def test_amazons_own_with_the_machines_role():
    found = place(dict(KNOWN, endpoint=None, access_key=None, secret_key=None, ca_pem=None, addressing="virtual"))
    assert found.endpoint is None and found.access_key is None and found.shown == "Amazon S3 (eu)"
    assert place(bucket="x").addressing == "virtual" and place(bucket="x", endpoint="http://h").addressing == "path"


@pytest.mark.parametrize(("params", "reason"), [
    ({"bucket": None}, "config_missing"), ({"bucket": "x", "endpoint": "host:9000"}, "bad_endpoint"),
    ({"bucket": "x", "parallel": 0}, "bad_option"), ({"bucket": "x", "patience": -1.0}, "bad_option")])
def test_refusals(params, reason):
    with pytest.raises(ConfigError) as caught:
        place(None, **params)
    assert caught.value.reason == reason


def test_a_role_is_named_unless_credentials_are_given():
    role = dict(KNOWN, role="arn:aws:iam::1:role/kestra")
    with pytest.raises(ConfigError) as caught:
        place(role)
    assert caught.value.reason == "unsupported_credentials"
    assert place(role, access_key="a", secret_key="sesame-2").access_key == "a"


@pytest.mark.parametrize(("given", "prefix"), [("", ""), ("/", ""), ("a", "a/"), ("a/", "a/"), ("a/b/", "a/b/"), ("/a", "/a/")])
def test_prefixes(given, prefix):
    assert place(bucket="x", prefix=given).prefix == prefix
