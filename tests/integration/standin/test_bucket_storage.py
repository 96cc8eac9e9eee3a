# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's two storages give the same answers, and in a bucket everything is as Kestra lays it out there."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.tests.integration.object_storage.s3_server import (
    ACCESS_KEY,
    PROGRAM,
    SECRET_KEY,
    Server,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles" / "lab" / "files" / "standin"))

from kestra_standin import config, storage  # noqa: E402

pytestmark = pytest.mark.skipif(
    not PROGRAM or not os.access(PROGRAM, os.X_OK),
    reason="no S3 server: KESTRA_DR_TEST_S3_SERVER names none (scripts/lib/s3.sh builds it)")


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


@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_the_same_answers_as_a_directory(server, tmp_path, kind):
    bucket = server.bucket(f"standin-{kind}")
    answers = []
    for place in (storage.LocalStorage(tmp_path, "main"), storage.opened(*configured(server, kind, bucket), "main")):
        uri = place.put("/a/b/one é.txt", b"one")
        place.put("/a/_kv/k.ion", b"{}", {"description": "d"})
        place.make_directory("/a/empty")
        with pytest.raises(storage.StorageError):
            place.get("/a/none")
        with pytest.raises(storage.StorageError):
            place.put("/../out", b"")
        answers.append([uri, place.get(uri), place.exists("/a/b"), place.exists("/a/none"), place.exists("/a/empty"),
                        place.files("/a"), place.files("/none"), place.delete("/a/b"), place.delete("/a/b"), place.files("/a")])
    assert answers[0] == answers[1]
    s3 = server.client()
    found = {item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert found == {"main/", "main/a/", "main/a/_kv/", "main/a/_kv/k.ion", "main/a/empty/"}
    assert s3.head_object(Bucket=bucket, Key="main/a/_kv/k.ion")["Metadata"] == {"description": "d"}
