# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server, a network or a disk can do to a copy of a bucket, and what comes of it."""

from __future__ import annotations

import datetime
import os
import signal
import threading
import time

import pytest
from s3_server import SECRET_KEY

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    ConnectError,
    DrError,
    IntegrityError,
    RefusedError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import (
    compare,
    copy_in,
    copy_out,
    inventory,
    listing,
    store,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.s3 import S3Bucket

BIG = os.urandom(1 << 20) * 3


def fill(s3, bucket, number=120):
    for each in range(number):
        s3.put_object(Bucket=bucket, Key=f"main/o/{each:04}", Body=os.urandom(200))


def reason(call, *arguments, kind=DrError, **how):
    with pytest.raises(kind) as caught:
        call(*arguments, **how)
    assert SECRET_KEY not in str(caught.value.to_result())
    return caught.value.reason


@pytest.fixture
def parts(tmp_path):
    """parts(bucket) -> (pin, store, run): a pinned bucket, and run() to copy it."""

    def make(bucket, **how):
        pin = tmp_path / "pin.gz"
        if not pin.exists():
            inventory.take(bucket, pin)
        copy = store.Store(tmp_path / "copy")
        return pin, copy, copy_out.Copy(bucket, copy, pin, **how)

    return make


def test_refusals_are_final_and_say_why(server, s3, new_bucket, opened, take):
    name = new_bucket()
    fill(s3, name, 2)
    server.user("no-rights", "secret-of-no-rights")
    begun = time.monotonic()
    assert reason(take, opened("no-such-bucket"), kind=ConfigError) == "bucket_missing"
    assert reason(take, opened(name, secret_key="another one"), kind=ConnectError) == "credentials_refused"
    assert reason(take, opened(name, access_key="nobody"), kind=ConnectError) == "credentials_refused"
    with pytest.raises(ConnectError) as caught:
        take(opened(name, access_key="no-rights", secret_key="secret-of-no-rights"))
    assert caught.value.reason == "access_denied" and "s3:Get" in caught.value.hint
    assert time.monotonic() - begun < 15, "a refusal was asked for again"


def test_a_clock_that_is_wrong_is_named(s3, new_bucket, opened, monkeypatch):
    import botocore.auth

    name = new_bucket()
    right = botocore.auth.get_current_datetime

    def wrong(*arguments, **how):
        return right(*arguments, **how) + datetime.timedelta(hours=2)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", wrong)
    assert reason(inventory.about, opened(name), kind=ConnectError) == "clock_skew"


def test_credentials_that_have_expired(new_bucket, opened, proxy):
    """Temporary credentials need a token service: the answer is given by the proxy."""
    bucket = opened(new_bucket(), endpoint=proxy.endpoint)
    proxy.refuse = (400, "ExpiredToken")
    assert reason(inventory.about, bucket, kind=ConnectError) == "credentials_expired" and proxy.connections <= 2


def test_a_server_that_is_busy_is_asked_again(s3, new_bucket, opened, proxy, take, give):
    source, target = new_bucket(), new_bucket()
    fill(s3, source)
    proxy.busy = 8

    def work():
        assert proxy.busy == 0
        proxy.busy = 8
        proxy.break_all()

    _result, copy = take(opened(source, endpoint=proxy.endpoint, patience=60), pinned=work)
    assert proxy.busy == 0
    proxy.busy = 8
    give(opened(target, endpoint=proxy.endpoint, patience=60), copy)
    assert proxy.busy == 0
    assert compare.compare_bucket(opened(target), copy.list, "content")["comparison"]["verdict"] == "equal"


def test_a_server_that_stays_busy(new_bucket, opened, proxy):
    proxy.refuse = (503, "SlowDown")
    assert reason(inventory.about, opened(new_bucket(), endpoint=proxy.endpoint, patience=2), kind=ConnectError) == "storage_busy"


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server, s3, new_bucket, opened, proxy, take):
    name = new_bucket()
    s3.put_object(Bucket=name, Key="big", Body=BIG)
    server.requests("GetObject")
    proxy.cut, proxy.cuts = 1_500_000, 2
    _result, copy = take(opened(name, endpoint=proxy.endpoint))
    assert proxy.cuts == 0
    entry = next(listing.read(copy.list))
    with open(copy.content(entry.sha256), "rb") as handle:
        assert handle.read() == BIG
    assert server.requests("GetObject") == 3 and proxy.passed < 1.1 * len(BIG)


def test_an_object_that_changes_while_it_is_read(s3, new_bucket, opened, proxy, take):
    """Half of it is of before the change: it has to be read again as a whole, and is marked."""
    name = new_bucket(False)
    s3.put_object(Bucket=name, Key="big", Body=BIG)
    other = BIG[::-1]

    def change():
        proxy.cut, proxy.cuts = 1_500_000, 1
        threading.Thread(target=wait, daemon=True).start()

    def wait():
        while proxy.cuts:
            time.sleep(0.01)
        s3.put_object(Bucket=name, Key="big", Body=other)

    result, copy = take(opened(name, endpoint=proxy.endpoint), pinned=change)
    assert result["drift"]["changed"] == 1 and result["fetched_objects"] == 1
    with open(copy.content(next(listing.read(copy.list)).sha256), "rb") as handle:
        assert handle.read() == other


def test_an_endpoint_that_goes_and_comes_back(own_server, opened, parts, tmp_path):
    name = own_server.bucket("gone-and-back")
    fill(own_server.client(), name)
    bucket = opened(name, endpoint=own_server.endpoint, parallel=2, patience=60)
    gone = []

    def on_progress(*_what):
        if not gone:
            gone.append(True)
            own_server.stop(signal.SIGKILL)
            threading.Timer(3, own_server.start).start()

    _pin, copy, run = parts(bucket, on_progress=on_progress)
    result = run.run(tmp_path / "list.gz")
    assert gone and result["fetched_objects"] == 120 and result["drift"]["deleted"] == 0
    assert compare.compare_bucket(bucket, copy.list, "content")["comparison"]["verdict"] == "equal"


def test_a_copy_that_was_cut_goes_on_where_it_was(own_server, opened, parts, tmp_path):
    """The endpoint is gone for longer than patience lasts; the next run reads the rest."""
    name = own_server.bucket("cut-and-again")
    fill(own_server.client(), name)
    bucket = opened(name, endpoint=own_server.endpoint, parallel=2, patience=1)
    seen = []

    def on_progress(*_what):
        seen.append(True)
        if len(seen) == 60:
            own_server.stop(signal.SIGKILL)

    pin, copy, run = parts(bucket, on_progress=on_progress)
    assert reason(run.run, tmp_path / "list.gz", kind=ConnectError) == "unreachable"
    assert not (tmp_path / "list.gz").exists() and not os.listdir(os.path.join(copy.path, "new"))
    own_server.start()
    _pin, copy, again = parts(bucket)
    result = again.run(tmp_path / "list.gz")
    assert 0 < result["fetched_objects"] <= 70 and result["objects"] == 120
    assert compare.compare_bucket(bucket, copy.list, "content")["comparison"]["verdict"] == "equal"
    # Cut twice: what the first run had is not forgotten.
    assert copy_out.Copy(bucket, copy, pin).plan() == {"objects": 0, "bytes": 0}


def test_credentials_that_are_taken_away_in_the_middle(own_server, opened, parts, tmp_path):
    name = own_server.bucket("taken-away")
    fill(own_server.client(), name)
    own_server.user("for-a-while", "secret-for-a-while", "admin")
    how = {"endpoint": own_server.endpoint, "parallel": 2}
    taken = []

    def on_progress(*_what):
        if not taken:
            taken.append(True)
            own_server.admin("delete-user", "--access", "for-a-while")

    _pin, copy, run = parts(opened(name, access_key="for-a-while", secret_key="secret-for-a-while", **how),
                            on_progress=on_progress)
    assert reason(run.run, tmp_path / "list.gz", kind=ConnectError) == "credentials_refused"
    _pin, copy, again = parts(opened(name, **how))
    result = again.run(tmp_path / "list.gz")
    assert result["fetched_objects"] < 120 and result["objects"] == 120


def test_a_restore_that_was_cut_goes_on_where_it_was(s3, own_server, new_bucket, opened, take, give):
    source = new_bucket()
    fill(s3, source)
    _result, copy = take(opened(source))
    name = own_server.bucket("restored", versioned=False)
    bucket = opened(name, endpoint=own_server.endpoint, parallel=2, patience=1)
    seen = []

    def on_progress(*_what):
        seen.append(True)
        if len(seen) == 60:
            own_server.stop(signal.SIGKILL)

    assert reason(give, bucket, copy, on_progress=on_progress, kind=ConnectError) == "unreachable"
    own_server.start()
    result = give(bucket, copy)
    assert 0 < result["written_objects"] <= 70 and result["plan"]["overwritten"] == 0
    assert compare.compare_bucket(bucket, copy.list, "content")["comparison"]["verdict"] == "equal"


def test_parts_that_failed_are_given_up(s3, own_server, new_bucket, opened, take, give, monkeypatch):
    monkeypatch.setattr(S3Bucket, "parts_from", 1 << 20)
    monkeypatch.setattr(copy_in, "PART", 5 << 20)
    source = new_bucket()
    s3.put_object(Bucket=source, Key="big", Body=BIG * 5)
    _result, copy = take(opened(source))
    name = own_server.bucket("restored")
    bucket = opened(name, endpoint=own_server.endpoint, patience=0)
    path = copy.content(next(listing.read(copy.list)).sha256)

    def shorten(*_what):
        os.truncate(path, 6 << 20)

    assert reason(give, bucket, copy, on_progress=shorten, kind=StateError) == "copy_damaged"
    assert list(bucket.unfinished_uploads()) == []
    assert own_server.client().list_objects_v2(Bucket=name).get("Contents") is None


def test_a_copy_that_is_damaged_is_not_restored(s3, new_bucket, opened, take, give):
    source, target = new_bucket(), new_bucket()
    fill(s3, source, 5)
    _result, copy = take(opened(source))
    bucket = opened(target)
    entries = list(listing.read(copy.list))
    path = copy.content(entries[2].sha256)
    with open(path, "rb") as handle:
        content = bytearray(handle.read())
    content[7] ^= 1
    with open(path, "wb") as handle:
        handle.write(content)
    assert reason(give, bucket, copy, kind=IntegrityError) == "torn"
    assert entries[2].key not in {entry.key for entry in bucket.objects()}
    os.unlink(path)
    assert reason(give, opened(new_bucket()), copy, kind=StateError) == "copy_incomplete"
    # The next backup brings it back.
    result, copy = take(opened(source))
    assert result["fetched_objects"] == 1
    assert give(bucket, copy)["comparison"]["verdict"] == "equal"


def test_a_directory_that_is_no_copy_is_left_alone(s3, new_bucket, opened, parts, give, tmp_path):
    name = new_bucket()
    fill(s3, name, 2)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "precious").write_text("x")
    _pin, copy, run = parts(opened(name))
    assert reason(run.run, tmp_path / "list.gz", kind=RefusedError) == "not_a_copy"
    assert reason(give, opened(name), copy, list=tmp_path / "pin.gz", kind=StateError) == "copy_missing"
    assert os.listdir(tmp_path / "copy") == ["precious"]


def test_no_room_is_told_before_anything_is_read(server, s3, new_bucket, opened, parts, tmp_path, monkeypatch):
    name = new_bucket()
    fill(s3, name, 2)
    _pin, _copy, run = parts(opened(name))
    monkeypatch.setattr(copy_out.space, "by_file_system", lambda needs: [
        {"path": needs[0]["path"], "free_bytes": 10, "needed_bytes": needs[0]["bytes"], "what": [needs[0]["what"]]}])
    server.requests("GetObject")
    assert reason(run.run, tmp_path / "list.gz", kind=RefusedError) == "disk_full"
    assert server.requests("GetObject") == 0
