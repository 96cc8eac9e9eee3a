# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's storage in a bucket, from its configuration."""
from __future__ import annotations

import pytest
import yaml
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import buckets, config
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.layers import Layer, Sources


def settings(kind, environment=None, **storage):
    text = yaml.safe_dump({"kestra": {"storage": {"type": kind, kind: storage}}})
    return buckets.settings(config.load(Sources(files=(Layer("application.yml", text),), environment=environment or {})))


def test_s3():
    found = settings("s3", endpoint="https://s3.example.com/", region="eu-central-1", bucket="kestra", path="data",
                     accessKey="key", secretKey="sesame-1", forcePathStyle=True)
    assert found == {
        "type": "s3", "kind": "s3", "endpoint": "https://s3.example.com", "region": "eu-central-1", "bucket": "kestra", "prefix": "data",
        "access_key": "key", "secret_key": "sesame-1", "session_token": None, "role": None, "addressing": "path",
        "validate_certs": True, "ca_pem": None, "client_pem": None}


def test_amazons_own():
    found = settings("s3", region="eu-central-1", bucket="kestra")
    assert found["endpoint"] is None and found["access_key"] is None and found["addressing"] == "virtual"
    assert settings("s3", bucket="x", stsRoleArn="arn:aws:iam::1:role/kestra")["role"] == "arn:aws:iam::1:role/kestra"


def test_credentials_of_kestras_process():
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "sesame-1", "AWS_SESSION_TOKEN": "token-1"}
    found = settings("s3", environment, bucket="kestra")
    assert (found["access_key"], found["secret_key"], found["session_token"]) == ("key", "sesame-1", "token-1")
    found = settings("s3", environment, bucket="kestra", accessKey="own", secretKey="sesame-2")
    assert (found["access_key"], found["secret_key"], found["session_token"]) == ("own", "sesame-2", None)


def test_the_environment_sets_what_the_file_does_not():
    found = settings("s3", {"KESTRA_STORAGE_S3_SECRET__KEY": "sesame-1", "KESTRA_STORAGE_S3_ACCESS__KEY": "key"}, bucket="kestra")
    assert (found["access_key"], found["secret_key"]) == ("key", "sesame-1")


@pytest.mark.parametrize(("storage", "endpoint"), [
    ({"endpoint": "minio", "port": 9000}, "http://minio:9000"),
    ({"endpoint": "minio", "port": "9000", "secure": True}, "https://minio:9000"),
    ({"endpoint": "https://minio.example.com", "port": 443}, "https://minio.example.com:443"),
    ({"endpoint": "minio:9001", "port": 9000}, "http://minio:9001"),
    ({"endpoint": "minio"}, "http://minio")])
def test_the_endpoint_of_minio(storage, endpoint):
    assert settings("minio", bucket="kestra", **storage)["endpoint"] == endpoint


def test_minio_and_its_certificates():
    found = settings("minio", endpoint="minio", port=9000, bucket="kestra", accessKey="key", secretKey="sesame-1", vhost=True,
                     caPem="CA", clientPem="CLIENT", sslOptions={"insecureTrustAllCertificates": True})
    assert found["addressing"] == "virtual" and found["ca_pem"] == "CA" and found["client_pem"] == "CLIENT"
    assert not found["validate_certs"] and settings("minio", bucket="x", endpoint="m")["validate_certs"]


def test_google():
    found = settings("gcs", bucket="kestra", projectId="p", serviceAccount='{"type": "service_account"}', path="data")
    assert found == {"type": "gcs", "kind": "gcs", "endpoint": None, "bucket": "kestra", "prefix": "data",
                     "service_account": '{"type": "service_account"}'}
    assert settings("gcs", {"STORAGE_EMULATOR_HOST": "localhost:4443"}, bucket="kestra")["endpoint"] == "http://localhost:4443"


@pytest.mark.parametrize(("given", "found"), [
    ({"endpoint": "https://a.blob.core.windows.net/", "sharedKeyAccountName": "a", "sharedKeyAccountAccessKey": "key"},
     ("https://a.blob.core.windows.net", "a", "key", None)),
    ({"endpoint": "https://a.blob.core.windows.net", "sasToken": "?sv=1&sig=s"}, ("https://a.blob.core.windows.net", None, None, "?sv=1&sig=s")),
    ({"endpoint": "https://a.blob.core.windows.net/?sv=1&sig=s"}, ("https://a.blob.core.windows.net", None, None, "sv=1&sig=s")),
    ({"endpoint": "https://other", "connectionString": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a+/b==;EndpointSuffix=core.windows.net"},
     ("https://a.blob.core.windows.net", "a", "a+/b==", None)),
    ({"connectionString": "BlobEndpoint=http://127.0.0.1:10000/a/;AccountName=a;AccountKey=key;"}, ("http://127.0.0.1:10000/a", "a", "key", None)),
    ({"connectionString": "BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=sv=1&sig=s%3D"},
     ("https://a.blob.core.windows.net", None, None, "sv=1&sig=s%3D")),
    ({"endpoint": "https://a.blob.core.windows.net"}, ("https://a.blob.core.windows.net", None, None, None))])
def test_azure(given, found):
    assert settings("azure", container="kestra", **given) == {
        "type": "azure", "kind": "azure", "bucket": "kestra", "prefix": None,
        **dict(zip(("endpoint", "access_key", "secret_key", "session_token"), found, strict=True))}


def test_a_connection_string_that_names_no_account():
    with pytest.raises(ConfigError) as caught:
        settings("azure", container="kestra", connectionString="AccountKey=sesame")
    assert caught.value.reason == "credentials_missing" and "sesame" not in str(caught.value.to_result())
    assert "kestra.storage.azure.connection-string" in caught.value.message


def test_other_storages():
    with pytest.raises(ConfigError) as caught:
        settings("seaweedfs", prefix="kestra")
    assert caught.value.reason == "unsupported_storage" and "seaweedfs" in caught.value.message
