# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The object that a lag is measured with, on a server that does not replicate: a bucket is its own replica, or there is none."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import inventory, listing, probe


def left(s3, bucket):
    """Everything there is in a bucket, versions and marks of deletion."""
    answer = s3.list_object_versions(Bucket=bucket)
    return [item["Key"] for kind in ("Versions", "DeleteMarkers") for item in answer.get(kind, ())]


def measure(source, target, limit=1.0):
    return probe.measure(source, target, limit, inventory.about(source, settle=False)["server_time"])


@pytest.mark.parametrize("versioned", [True, False])
def test_it_arrives_and_nothing_of_it_stays(s3, new_bucket, opened, versioned):
    name = new_bucket(versioned)
    s3.put_object(Bucket=name, Key="kestra/main/a", Body=b"1")
    bucket = opened(name, prefix="kestra/")
    found = measure(bucket, bucket)
    assert 0 < found["seconds"] < 1 and found["limit"] == 1.0 and found["left"] is None
    assert found["replica"] is False, "this server has written it, and not replicated it"
    assert left(s3, name) == ["kestra/main/a"]


def test_it_does_not_arrive(s3, new_bucket, opened):
    source, target = new_bucket(), new_bucket()
    assert measure(opened(source), opened(target))["seconds"] is None
    assert left(s3, source) == left(s3, target) == []


def test_a_target_that_goes_away_leaves_nothing_in_the_source(s3, new_bucket, opened, proxy):
    source, target = new_bucket(), new_bucket()
    far = opened(target, endpoint=proxy.endpoint, patience=0)
    proxy.refuse = (403, "AccessDenied")
    with pytest.raises(ConnectError) as caught:
        measure(opened(source), far)
    assert caught.value.detail["endpoint"] == proxy.endpoint and left(s3, source) == []


def test_what_an_earlier_run_left_goes_after_an_hour(s3, new_bucket, opened, monkeypatch):
    name = new_bucket()
    for _twice in range(2):
        s3.put_object(Bucket=name, Key=listing.PROBES + "old", Body=b"1")
    s3.delete_object(Bucket=name, Key=listing.PROBES + "old")
    s3.put_object(Bucket=name, Key=".kestra-dr", Body=b"somebody else's")
    bucket = opened(name)
    measure(bucket, bucket)
    assert left(s3, name).count(listing.PROBES + "old") == 3
    monkeypatch.setattr(probe, "_LEFT_FOR", timedelta(hours=-1))
    measure(bucket, bucket)
    assert left(s3, name) == [".kestra-dr"]


def test_it_belongs_to_no_backup(s3, new_bucket, opened):
    for versioned in (True, False):
        name = new_bucket(versioned)
        for key in (listing.PROBES + "x", "main/a"):
            s3.put_object(Bucket=name, Key=key, Body=b"1")
        assert inventory.take(opened(name))["objects"] == 1
