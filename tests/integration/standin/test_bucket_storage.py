# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's storages give the same answers, and in a bucket everything is as Kestra lays it out there."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.tests.integration.object_storage import azure_server, gcs_server
from ansible_collections.kestra_community.dr.tests.integration.object_storage.s3_server import (
    ACCESS_KEY,
    PROGRAM,
    SECRET_KEY,
    Server,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles" / "lab" / "files" / "standin"))

from kestra_standin import config, storage  # noqa: E402


@pytest.fixture(scope="module")
def server():
    found = Server().start()
    yield found
    found.destroy()


def configured(server, kind, bucket):
    """What a configuration of the type says."""
    host, _colon, port = server.endpoint.partition("://")[2].partition(":")
    own = {"s3": {"endpoint": server.endpoint, "force-path-style": True}, "minio": {"endpoint": host, "port": port}}[kind]
    return config.storage(config.Configuration([{"kestra": {"storage": {"type": kind, kind: dict(
        own, bucket=bucket, **{"access-key": ACCESS_KEY, "secret-key": SECRET_KEY})}}}], environ={}))


def answers_of(place):
    """What a storage answers, the first time it is used."""
    uri = place.put("/a/b/one é.txt", b"one")
    place.put("/a/_kv/k.ion", b"{}", {"description": "d"})
    place.make_directory("/a/empty")
    with pytest.raises(storage.StorageError):
        place.get("/a/none")
    with pytest.raises(storage.StorageError):
        place.put("/../out", b"")
    return [uri, place.get(uri), place.exists("/a/b"), place.exists("/a/none"), place.exists("/a/empty"), place.files("/a"),
            place.files("/none"), place.delete("/a/b"), place.delete("/a/b"), place.files("/a")]


LEFT = {"main/", "main/a/", "main/a/_kv/", "main/a/_kv/k.ion", "main/a/empty/"}


@pytest.mark.skipif(not PROGRAM or not os.access(PROGRAM, os.X_OK),
                    reason="no S3 server: KESTRA_DR_TEST_S3_SERVER names none (scripts/lib/s3.sh builds it)")
@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_the_same_answers_as_a_directory(server, tmp_path, kind):
    bucket = server.bucket(f"standin-{kind}")
    assert answers_of(storage.opened(*configured(server, kind, bucket), "main")) == answers_of(storage.LocalStorage(tmp_path, "main"))
    s3 = server.client()
    assert {item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]} == LEFT
    assert s3.head_object(Bucket=bucket, Key="main/a/_kv/k.ion")["Metadata"] == {"description": "d"}


@pytest.mark.full("the stand-in with its storage on emulators of Google's and Azure's")
@pytest.mark.skipif(not gcs_server.PROGRAM or not os.access(gcs_server.PROGRAM, os.X_OK),
                    reason="no emulator of Google Cloud Storage: KESTRA_DR_TEST_GCS names none (scripts/lib/s3.sh builds it)")
def test_the_same_answers_as_a_directory_from_google(tmp_path, monkeypatch):
    emulator = gcs_server.Emulator().start()
    try:
        bucket = emulator.bucket("standin")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.endpoint)
        settings = config.storage(config.Configuration([{"kestra": {"storage": {"type": "gcs", "gcs": {
            "bucket": "standin", "project-id": "p"}}}}], environ={}))
        assert answers_of(storage.opened(*settings, "main")) == answers_of(storage.LocalStorage(tmp_path, "main"))
        assert {blob.name for blob in bucket.list_blobs()} == LEFT
        assert bucket.get_blob("main/a/_kv/k.ion").metadata == {"description": "d"}
    finally:
        emulator.destroy()


@pytest.mark.full("the stand-in with its storage on emulators of Google's and Azure's")
@pytest.mark.skipif(not azure_server.PROGRAM or not os.access(azure_server.PROGRAM, os.X_OK),
                    reason="no emulator of Azure: KESTRA_DR_TEST_AZURITE names none (scripts/lib/azure.sh installs it)")
def test_the_same_answers_as_a_directory_from_azure(tmp_path):
    """Kestra's plugin for Azure marks a directory by a blob in it."""
    emulator = azure_server.Azurite().start()
    try:
        container = emulator.container("standin")
        settings = config.storage(config.Configuration([{"kestra": {"storage": {"type": "azure", "azure": {
            "container": "standin", "endpoint": emulator.endpoint, "shared-key-account-name": azure_server.ACCOUNT,
            "shared-key-account-access-key": azure_server.KEY}}}}], environ={}))
        assert answers_of(storage.opened(*settings, "main")) == answers_of(storage.LocalStorage(tmp_path, "main"))
        assert {blob.name for blob in container.list_blobs()} == {key + ".kestradirectory" if key.endswith("/") else key for key in LEFT}
        assert container.get_blob_client("main/a/_kv/k.ion").get_blob_properties().metadata == {"description": "d"}
    finally:
        emulator.destroy()
