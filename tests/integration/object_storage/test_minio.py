# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only MinIO has of a bucket: versions with the time they were written at, lifecycles, keys of every kind."""

from __future__ import annotations

import os

import pytest
from s3_server import NEEDS_MINIO, MinIO

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import compare, copy_in, inventory
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.s3 import S3Bucket

pytestmark = NEEDS_MINIO


@pytest.fixture(scope="module")
def minio():
    found = MinIO().start()
    yield found
    found.destroy()


@pytest.fixture
def client(minio):
    return minio.client()


@pytest.fixture
def at(minio, opened):
    """at(bucket) -> client.Bucket."""
    return lambda bucket, **how: opened(bucket, endpoint=minio.endpoint, **how)


def contents(client, bucket):
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            answer = client.get_object(Bucket=bucket, Key=item["Key"])
            found[item["Key"]] = (answer["Body"].read(), answer["ContentType"], answer["Metadata"])
    return found


def test_the_moment_of_the_pin_is_what_is_copied(minio, client, at, take, give):
    source, target = minio.bucket("moment"), minio.bucket("moment-back")
    for number in range(1100):  # more than a page
        client.put_object(Bucket=source, Key=f"main/o/{number:04}", Body=str(number).encode(), Metadata={"n": str(number)})
    client.put_object(Bucket=source, Key="main/o/", Body=b"", ContentType="application/x-directory", Metadata={"a": "b"})
    client.delete_object(Bucket=source, Key="main/o/0007")
    client.put_object(Bucket=source, Key="main/o/0008", Body=b"before the pin")
    wanted = contents(client, source)
    moment = inventory.about(at(source))["server_time"]
    for number in range(0, 1100, 3):
        client.put_object(Bucket=source, Key=f"main/o/{number:04}", Body=b"after")
        client.put_object(Bucket=source, Key=f"main/o/{number:04}", Body=b"after that")
    for number in range(1, 1100, 3):
        client.delete_object(Bucket=source, Key=f"main/o/{number:04}")
    client.put_object(Bucket=source, Key="main/later", Body=b"after")
    client.put_object(Bucket=source, Key="main/o/0007", Body=b"again")
    # Of the marks of directories this server keeps no versions: one that was written anew counts as there.
    client.put_object(Bucket=source, Key="main/o/", Body=b"", ContentType="application/x-directory", Metadata={"a": "b"})
    result, copy = take(at(source), moment)
    assert result["drift"] == {"deleted": 0, "changed": 0, "examples": {}} and result["objects"] == 1099
    give(at(target), copy)
    assert contents(client, target) == wanted
    # In place the versions of then become the ones of now.
    back = give(at(source), copy, delete=True)
    assert contents(client, source) == wanted and back["deleted_objects"] == 2


def test_back_to_a_moment_inside_the_server(minio, client, at, tmp_path, monkeypatch):
    monkeypatch.setattr(S3Bucket, "parts_from", 6 << 20)
    monkeypatch.setattr(copy_in, "PART", 5 << 20)
    name, big = minio.bucket("rewind"), os.urandom(1 << 20) * 12
    for number in range(50):
        client.put_object(Bucket=name, Key=f"main/{number}", Body=b"%d" % number, Metadata={"n": str(number)})
    client.put_object(Bucket=name, Key="main/big", Body=big, ContentType="x/big", Metadata={"a": "b"})
    client.put_object(Bucket=name, Key="main/marked/", Body=b"")
    wanted = contents(client, name)
    moment = inventory.about(at(name))["server_time"]
    for number in range(0, 50, 2):
        client.put_object(Bucket=name, Key=f"main/{number}", Body=b"after")
    client.delete_object(Bucket=name, Key="main/big")
    client.delete_object(Bucket=name, Key="main/1")
    client.put_object(Bucket=name, Key="main/later", Body=b"after")
    bucket, pin = at(name), tmp_path / "pin.gz"
    inventory.take(bucket, pin, moment=moment)
    back = copy_in.Rewind(bucket, pin, delete=True).run()
    assert contents(client, name) == wanted and (back["written_objects"], back["deleted_objects"]) == (27, 1)
    assert list(bucket.unfinished_uploads()) == []


def test_suspended_versioning_has_no_moment(minio, client, at, tmp_path):
    name = minio.bucket("suspended")
    client.put_object(Bucket=name, Key="a", Body=b"1")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    client.put_object(Bucket=name, Key="a", Body=b"2")
    with pytest.raises(RefusedError) as caught:
        inventory.take(at(name), tmp_path / "list", moment="2026-11-23T00:15:00Z")
    assert caught.value.reason == "versioning_suspended"
    assert inventory.take(at(name))["objects"] == 1


def test_what_was_overwritten_without_versions_is_marked(minio, client, at, take):
    name = minio.bucket("null-versions")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    client.put_object(Bucket=name, Key="a", Body=b"1")
    result, _copy = take(at(name), pinned=lambda: client.put_object(Bucket=name, Key="a", Body=b"2"))
    assert result["drift"]["changed"] == 1


def test_keys_of_every_kind(minio, client, at, take, give):
    source, target = minio.bucket("keys"), minio.bucket("keys-back")
    keys = [f"main/{chr(code)}x" for code in [*range(1, 0x80), 0xe4, 0x2028, 0x1f600] if chr(code) not in "/\\"]
    keys += ["/".join(["y" * 250] * 4) + "/" + "z" * 20, "main/+%2B %20", "main/a=b&c"]
    for key in keys:
        client.put_object(Bucket=source, Key=key, Body=key.encode())
    assert set(contents(client, source)) == set(keys)
    take_result, copy = take(at(source))
    assert take_result["objects"] == len(keys)
    give(at(target), copy)
    assert contents(client, target) == contents(client, source)
    assert compare.compare_bucket(at(target), copy.list, "headers")["comparison"]["counts"]["unexpected"] == 0


def test_lifecycle_rules_are_read(minio, client, at):
    name = minio.bucket("lifecycle")
    assert inventory.about(at(name), 30)["lifecycle"] == {"known": True, "problems": []}
    client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [
        {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "main/"}, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}},
        {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": "other/"}, "Expiration": {"Days": 5}}]})
    found = inventory.about(at(name, prefix="main/"), 30)["lifecycle"]
    assert [(rule["rule"], rule["what"], rule["days"]) for rule in found["problems"]] == [("old", "versions_expire", 7)]
    assert inventory.about(at(name, prefix="main/"), 7)["lifecycle"]["problems"] == []
    assert {rule["rule"] for rule in inventory.about(at(name), 30)["lifecycle"]["problems"]} == {"old", "all"}
