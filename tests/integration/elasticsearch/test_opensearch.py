# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only OpenSearch shows: the modules with a repository in a bucket of a real S3 server, and its own defaults."""

from __future__ import annotations

import pytest
from elasticsearch_harness import Cluster

from ansible_collections.kestra_community.dr.tests.integration.module_runs import ModuleFailed
from ansible_collections.kestra_community.dr.tests.integration.object_storage import s3_server

RUN_ON = ("opensearch",)
BUCKET = "snapshots"


@pytest.fixture(scope="module")
def bucket():
    if not s3_server.PROGRAM:
        pytest.skip("KESTRA_DR_TEST_S3_SERVER names no S3 server (scripts/lib/s3.sh)")
    found = s3_server.Server().start()
    found.bucket(BUCKET, versioned=False)
    yield found
    found.destroy()


@pytest.fixture(scope="module")
def shared(base, server, bucket):
    """Overrides the plain one: its nodes know the S3 server."""
    client = {"endpoint": bucket.endpoint, "region": "us-east-1", "path_style_access": True}
    settings = {f"s3.client.default.{name}": value for name, value in client.items()}
    found = Cluster(base, server, keys=(s3_server.ACCESS_KEY, s3_server.SECRET_KEY), **settings).start()
    yield found
    found.destroy()


def test_in_a_bucket(cluster, bucket, module):
    """Registered, taken, listed, lost, restored beside, swapped, deleted; the bucket then holds no data of it."""
    counts, how = cluster.kestra(), cluster.options()
    place = {"name": "backup", "type": "s3", "bucket": BUCKET, "base_path": "kestra"}
    made = module("elasticsearch_repository", **place, **how)
    assert made["changed"] and made["nodes"] == ["node1"]
    assert made["repository"]["settings"] == {"bucket": BUCKET, "base_path": "kestra"}
    assert not module("elasticsearch_repository", **place, **how)["changed"]
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_repository", **{**place, "bucket": "nowhere", "name": "other"}, **how)
    assert failed.value.result["reason"] == "repository_unverified" and list(cluster.ask("GET", "/_snapshot")) == ["backup"]

    found = module("elasticsearch_inventory_info", counts=True, objects=True, **how)
    assert found["counts"] == counts and found["identity"]["product"] == "opensearch" and found["size_bytes"] > 0
    named = {"repository": "backup", "snapshot": "point"}
    taken = module("elasticsearch_snapshot", **named, **how)
    assert taken["changed"] and taken["component"]["counts"] == counts
    assert taken["component"]["system"] == f"the repository backup (s3) of OpenSearch at {cluster.hosts()[0]}"
    listed = module("elasticsearch_snapshot_info", repository="backup", **how)
    assert [(item["name"], item["usable"], item["ours"]) for item in listed["snapshots"]] == [("point", True, True)]
    assert blobs(bucket)

    cluster.ask("DELETE", "/kestra_flows")
    options = {"copies": "point", "component": taken["component"], **how}
    restored = module("elasticsearch_restore", **named, **options)
    assert restored["changed"] and restored["verdict"] == "verified" and restored["counts"] == counts
    swapped = module("elasticsearch_restore", mode="swap", undo="before", **options)
    assert swapped["changed"] and swapped["counts"] == counts and len(swapped["kept"]) == 3
    assert module("elasticsearch_snapshot", state="absent", **named, **how)["changed"]
    assert not blobs(bucket)


def blobs(bucket):
    """The data files of snapshots in the bucket."""
    listed = bucket.client().list_objects_v2(Bucket=BUCKET, Prefix="kestra/indices/").get("Contents", ())
    return [item["Key"] for item in listed if "/__" in item["Key"]]


def test_a_bucket_that_is_gone(cluster, bucket, module):
    counts, how = cluster.kestra(), cluster.options()
    module("elasticsearch_repository", name="backup", type="s3", bucket=BUCKET, base_path="gone", **how)
    taken = module("elasticsearch_snapshot", repository="backup", snapshot="point", **how)
    client = bucket.client()
    for item in client.list_objects_v2(Bucket=BUCKET, Prefix="gone/")["Contents"]:
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    options = {"repository": "backup", "snapshot": "point", "copies": "point", "component": taken["component"], **how}
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_restore", **options)
    assert failed.value.result["reason"] in ("snapshot_missing", "repository_failed", "request_failed")
    assert cluster.names() == sorted(counts)


def test_a_disk_that_nobody_watches(own_cluster, take, give):
    """The default for a node that is alone."""
    cluster = own_cluster(**{"cluster.routing.allocation.disk.watermark.enable_for_single_data_node": False})
    counts = cluster.kestra()
    cluster.repository()
    component = take(cluster)
    cluster.watch_disks("1000tb")
    assert give(cluster, component=component, copies="point")["counts"] == counts
