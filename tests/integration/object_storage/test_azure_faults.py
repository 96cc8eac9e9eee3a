# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Azure, a network or other programs can do to a copy of a container, on an emulator, and what comes of it."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time

import pytest
from azure.storage.blob import StandardBlobTier
from azure_server import ACCOUNT, KEY, Azurite
from s3_server import Proxy

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    ConnectError,
    DrError,
    IntegrityError,
    RefusedError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import compare, inventory, listing

LARGE = os.urandom(1 << 20) * 20


def fill(container, number=100):
    for each in range(number):
        container.upload_blob(f"main/o/{each:04}", os.urandom(200))


def reason(call, *arguments, kind=DrError, **how):
    with pytest.raises(kind) as caught:
        call(*arguments, **how)
    assert KEY not in str(caught.value.to_result())
    return caught.value.reason


@pytest.fixture
def proxy(azurite):
    found = Proxy(azurite)
    yield found
    found.close()


@pytest.fixture
def behind(proxy, opened_azure):
    """behind(container, **options.Place): opened by way of the proxy."""
    return lambda container, **how: opened_azure(container.container_name, endpoint=f"{proxy.endpoint}/{ACCOUNT}", **how)


@pytest.fixture
def own_azurite():
    found = Azurite().start()
    yield found
    found.destroy()


def test_refusals_are_final_and_say_why(new_container, opened_azure, take):
    name = new_container().container_name
    begun = time.monotonic()
    assert reason(take, opened_azure("no-such-container"), kind=ConfigError) == "bucket_missing"
    assert reason(take, opened_azure(name, secret_key=base64.b64encode(b"another key").decode()), kind=ConnectError) == "credentials_refused"
    assert reason(take, opened_azure(name, secret_key="no key at all!"), kind=ConnectError) == "credentials_refused"
    assert reason(take, opened_azure(name, access_key="nobody"), kind=ConnectError) == "credentials_refused"
    assert reason(opened_azure, name, secret_key=None, kind=ConfigError) == "credentials_missing"
    assert time.monotonic() - begun < 15, "a refusal was asked for again"


def test_a_server_that_is_busy_is_asked_again(new_container, opened_azure, proxy, behind, take, give):
    source, target = new_container(), new_container()
    fill(source)
    proxy.busy = 4

    def work():
        assert proxy.busy == 0
        proxy.busy = 4
        proxy.break_all()

    _result, copy = take(behind(source, patience=60), pinned=work)
    assert proxy.busy == 0
    proxy.busy = 4
    give(behind(target, patience=60), copy)
    assert proxy.busy == 0
    assert compare.compare_bucket(opened_azure(target.container_name), copy.list, "content")["comparison"]["verdict"] == "equal"


@pytest.mark.parametrize(("answer", "why"), [
    ((503, "ServerBusy"), "storage_busy"), ((429, "TooManyRequests"), "storage_busy"), ((409, "AccountBeingCreated"), "storage_busy"),
    ((403, "AuthenticationFailed"), "credentials_refused"), ((403, "AuthorizationPermissionMismatch"), "access_denied"),
    ((409, "ContainerBeingDeleted"), "bucket_missing")])
def test_what_the_service_answers(new_container, proxy, behind, answer, why):
    proxy.refuse = answer
    assert reason(inventory.about, behind(new_container(), patience=1), kind=DrError) == why


def test_a_connection_that_breaks_is_taken_up_where_it_broke(new_container, proxy, behind, take):
    source = new_container()
    source.upload_blob("large", LARGE)
    proxy.cut, proxy.cuts = 5_000_000, 2
    _result, copy = take(behind(source))
    assert proxy.cuts == 0
    with open(copy.content(next(listing.read(copy.list)).sha256), "rb") as handle:
        assert handle.read() == LARGE
    assert proxy.passed < 1.6 * len(LARGE)


def test_objects_that_change_or_go_after_they_were_listed(new_container, opened_azure, take):
    source = new_container()
    fill(source, 10)

    def work():
        source.delete_blob("main/o/0001")
        source.upload_blob("main/o/0002", b"changed", overwrite=True)
        source.get_blob_client("main/o/0003").set_blob_metadata({"written": "anew"})

    result, copy = take(opened_azure(source.container_name), pinned=work)
    assert result["drift"] == {"deleted": 1, "changed": 2, "examples": {"deleted": ["main/o/0001"], "changed": ["main/o/0002", "main/o/0003"]}}
    found = {entry.key: entry for entry in listing.read(copy.list)}
    assert found["main/o/0002"].size == len(b"changed") and found["main/o/0003"].metadata == {"written": "anew"}


def test_an_object_that_changes_while_it_is_read(new_container, proxy, behind, take):
    """Half of it is of before the change: it has to be read again as a whole, and is marked."""
    source, other = new_container(), LARGE[::-1]
    source.upload_blob("large", LARGE)

    def change():
        proxy.cut, proxy.cuts = 5_000_000, 1
        threading.Thread(target=wait, daemon=True).start()

    def wait():
        while proxy.cuts:
            time.sleep(0.01)
        source.upload_blob("large", other, overwrite=True)

    result, copy = take(behind(source), pinned=change)
    assert result["drift"]["changed"] == 1 and result["fetched_objects"] == 1
    with open(copy.content(next(listing.read(copy.list)).sha256), "rb") as handle:
        assert handle.read() == other


def test_an_endpoint_that_goes_and_comes_back(own_azurite, opened_azure, take):
    source = own_azurite.container("gone-and-back")
    fill(source)
    bucket = opened_azure("gone-and-back", endpoint=own_azurite.endpoint, parallel=2, patience=90)

    def go():
        own_azurite.stop(signal.SIGTERM)
        threading.Timer(3, own_azurite.start).start()

    result, copy = take(bucket, pinned=go)
    assert result["fetched_objects"] == 100 and result["drift"]["deleted"] == 0
    assert compare.compare_bucket(bucket, copy.list, "content")["comparison"]["verdict"] == "equal"


def test_a_restore_that_was_cut_goes_on_where_it_was(new_container, opened_azure, proxy, behind, take, give):
    source, target = new_container(), new_container()
    fill(source)
    _result, copy = take(opened_azure(source.container_name))
    seen = []

    def on_progress(*_what):
        seen.append(True)
        if len(seen) == 50:
            proxy.down = True
            proxy.break_all()

    assert reason(give, behind(target, parallel=2, patience=1), copy, on_progress=on_progress, kind=ConnectError) == "unreachable"
    result = give(opened_azure(target.container_name), copy)
    assert 0 < result["written_objects"] <= 60 and result["plan"]["overwritten"] == 0
    assert compare.compare_bucket(opened_azure(target.container_name), copy.list, "content")["comparison"]["verdict"] == "equal"


def test_blocks_of_an_upload_that_was_cut_are_no_object(new_container, opened_azure, take, give):
    source, target = new_container(), new_container()
    source.upload_blob("large", LARGE)
    _result, copy = take(opened_azure(source.container_name))
    path = copy.content(next(listing.read(copy.list)).sha256)
    with open(path, "r+b") as handle:
        handle.seek(19 << 20)
        handle.write(b"damaged")
    bucket = opened_azure(target.container_name)
    assert reason(give, bucket, copy, kind=IntegrityError) == "torn"
    assert list(bucket.objects()) == [] and len(list(target.list_blobs(include=["uncommittedblobs"]))) == 1
    with open(path, "wb") as handle:
        handle.write(LARGE)
    assert give(bucket, copy)["comparison"]["verdict"] == "equal"
    assert target.get_blob_client("large").get_block_list("uncommitted")[1] == []


def test_blocks_that_another_program_left_are_dropped(new_container, opened_azure, take, give):
    source, target = new_container(), new_container()
    source.upload_blob("large", LARGE)
    _result, copy = take(opened_azure(source.container_name))
    # Names of another length, which the service takes none beside.
    target.get_blob_client("large").stage_block(base64.b64encode(b"x").decode(), b"left")
    assert give(opened_azure(target.container_name), copy)["comparison"]["verdict"] == "equal"
    assert target.download_blob("large").readall() == LARGE
    assert target.get_blob_client("large").get_block_list("all")[1] == []


def test_a_copy_that_is_damaged_is_not_restored(new_container, opened_azure, take, give):
    source, target = new_container(), new_container()
    fill(source, 5)
    _result, copy = take(opened_azure(source.container_name))
    entries = list(listing.read(copy.list))
    with open(copy.content(entries[2].sha256), "r+b") as handle:
        handle.write(b"\0\0\0\0\0\0\0\0")
    bucket = opened_azure(target.container_name)
    assert reason(give, bucket, copy, kind=IntegrityError) == "torn"
    assert entries[2].key not in {entry.key for entry in bucket.objects()}


def test_what_must_not_be_overwritten_is_told(new_container, opened_azure, take, give):
    source = new_container()
    fill(source, 5)
    bucket = opened_azure(source.container_name)
    _result, copy = take(bucket)
    source.upload_blob("main/o/0001", b"other", overwrite=True)
    lease = source.get_blob_client("main/o/0001").acquire_lease()
    assert reason(give, bucket, copy, overwrite=True, kind=RefusedError) == "object_locked"
    lease.break_lease(0)
    source.upload_blob("later", b"x")
    source.get_blob_client("later").create_snapshot()
    assert reason(give, bucket, copy, overwrite=True, delete=True, kind=RefusedError) == "object_locked"
    assert source.download_blob("later").readall() == b"x"


def test_an_archived_object_is_named(new_container, opened_azure, take):
    source = new_container()
    fill(source, 2)
    source.get_blob_client("main/o/0001").set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    assert reason(take, opened_azure(source.container_name), kind=RefusedError) == "object_archived"
