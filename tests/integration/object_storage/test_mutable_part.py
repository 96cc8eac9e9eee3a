# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that Kestra writes again, taken at the pin: exact whatever comes after, and found in as many requests as there are flows."""

from __future__ import annotations

import pytest
from s3_server import NEEDS_MINIO, MinIO

from ansible_collections.kestra_community.dr.plugins.module_utils.storage import part
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import copy_out, inventory, listing, store

TEAM = "main/company/team/"
KV, FILES = TEAM + "_kv/", TEAM + "_files/"
MUTABLE = [KV, KV + "changed.ion", KV + "deleted.ion", KV + "same.ion", FILES, FILES + "a/b.txt", TEAM + "flow/states/s",
           "main/company/executions/flow/_kv/odd.ion", TEAM + "flow/executions/_kv/k.ion"]


def execution(number):
    return f"{TEAM}flow/executions/{number:022}/"


@pytest.fixture(scope="module")
def minio():
    found = MinIO().start()
    yield found
    found.destroy()


def fill(s3, name, executions):
    for key in MUTABLE:
        s3.put_object(Bucket=name, Key=key, Body=b"" if key.endswith("/") else f"{key} then".encode(), Metadata={"ttl": "then"})
    for number in range(executions):
        s3.put_object(Bucket=name, Key=execution(number) + "inputs/x", Body=b"input")


def work(s3, name):
    """All that Kestra may do between the pin and the copy."""
    s3.put_object(Bucket=name, Key=KV + "changed.ion", Body=b"now", Metadata={"ttl": "now"})
    s3.delete_object(Bucket=name, Key=KV + "deleted.ion")
    s3.put_object(Bucket=name, Key=KV + "later.ion", Body=b"later")
    s3.put_object(Bucket=name, Key=execution(9999) + "inputs/x", Body=b"input of another")


def taken(bucket, base, versioned, between):
    """A backup as the flow makes it: the copy's entries by key, and the store."""
    names = {name: base / name for name in ("mutable.gz", "held.gz", "pin.gz", "list.gz")}
    copy = store.Store(base / "copy")
    inventory.take(bucket, names["mutable.gz"], what=part.MUTABLE)
    if not versioned:
        copy_out.Copy(bucket, copy, names["mutable.gz"]).run(names["held.gz"], last=False)
    between()
    inventory.take(bucket, names["pin.gz"], pin=names["mutable.gz"])
    done = copy_out.Copy(bucket, copy, names["pin.gz"]).run(names["list.gz"])
    assert done["drift"] == {"deleted": 0, "changed": 0, "examples": {}}
    return {entry.key: entry for entry in listing.read(names["list.gz"])}, copy


def check(s3, name, bucket, tmp_path, versioned):
    fill(s3, name, 5)
    # A copy from before, of which nothing may go and everything is known.
    taken(bucket, tmp_path, versioned, lambda: None)
    found, copy = taken(bucket, tmp_path, versioned, lambda: work(s3, name))
    assert set(found) >= set(MUTABLE) and KV + "later.ion" not in found
    for key in MUTABLE:
        if not key.endswith("/"):
            with open(copy.content(found[key].sha256), "rb") as handle:
                assert handle.read().decode() == f"{key} then"
            assert found[key].metadata == {"ttl": "then"}
    assert found[execution(9999) + "inputs/x"].sha256


@pytest.mark.parametrize("versioned", [True, False])
def test_it_is_copied_as_it_was(s3, new_bucket, opened, tmp_path, versioned):
    name = new_bucket(versioned)
    check(s3, name, opened(name), tmp_path, versioned)


@pytest.mark.parametrize("versioned", [pytest.param(value, marks=NEEDS_MINIO) for value in (True, False)])
def test_the_same_on_minio(minio, opened, tmp_path, versioned):
    name = minio.bucket("kept" if versioned else "not-kept", versioned)
    check(minio.client(), name, opened(name, endpoint=minio.endpoint), tmp_path, versioned)


def test_below_a_prefix(s3, new_bucket, opened, tmp_path):
    name = new_bucket()
    s3.put_object(Bucket=name, Key="some/where/main/company/_kv/k.ion", Body=b"k")
    s3.put_object(Bucket=name, Key="other/main/company/_kv/k.ion", Body=b"k")
    inventory.take(opened(name, prefix="some/where/"), tmp_path / "list.gz", what=part.MUTABLE)
    assert [entry.key for entry in listing.read(tmp_path / "list.gz")] == ["main/company/_kv/k.ion"]


def test_executions_cost_no_request(server, s3, new_bucket, opened, tmp_path):
    asked = []
    for executions in (2, 60):
        name = new_bucket()
        fill(s3, name, executions)
        bucket = opened(name)
        server.requests("ListObjectsV2")
        inventory.take(bucket, tmp_path / "list.gz", what=part.MUTABLE)
        asked.append(server.requests("ListObjectsV2"))
        assert {entry.key for entry in listing.read(tmp_path / "list.gz")} == set(MUTABLE)
    assert asked[0] == asked[1] < 20
