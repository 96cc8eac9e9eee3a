# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of Google Cloud Storage out to the copy and back, on an emulator; what it cannot do is in test_gcs_requests.py."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from gcs_server import Emulator
from s3_server import Proxy
from test_object_storage_modules import run

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, RefusedError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import part
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import (
    client,
    compare,
    copy_in,
    copy_out,
    inventory,
    listing,
    options,
    replicate,
    store,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import buckets, undo_point
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import escrow

KEYS = ("main/a b+c%25&d", "main/ü/ö", "main/tab\tx", "main/q?x#y", "main/back\\slash", "main/quote'\"<>&", "main/é", "main/e\u0301",
        "main/emoji\U0001f600", "main/.hidden", "main/blank ", "main/%2F", "main/\u2028x", "main/~tilde*", "main/a-b", "main/a.b",
        "main/a/b", "main/a", "/".join(["y" * 250] * 4) + "/" + "z" * 20)  # fmt: skip


@pytest.fixture(scope="module")
def server():
    found = Emulator().start()
    yield found
    found.destroy()


_numbers = itertools.count(1)


@pytest.fixture
def new_bucket(server):
    """new_bucket(versioned=True) -> the SDK's bucket."""
    return lambda versioned=True: server.bucket(f"kestra-{next(_numbers)}", versioned)


@pytest.fixture
def opened(server, request):
    """opened(the SDK's bucket, **options.Place) -> bucket.Bucket, until the end of the test."""
    from contextlib import ExitStack

    stack = ExitStack()
    request.addfinalizer(stack.close)

    def at(bucket, **how):
        place = options.Place(**{"bucket": bucket.name, "kind": "gcs", "endpoint": server.endpoint, "patience": 20.0, **how})
        return stack.enter_context(client.opened(place))

    return at


def put(bucket, key, body=b"", metadata=None, **properties):
    blob = bucket.blob(key)
    for name, value in properties.items():
        setattr(blob, name, value)
    blob.metadata = metadata or {}
    blob.upload_from_string(body, content_type=properties.get("content_type", "application/octet-stream"))
    return blob


def fill(bucket):
    """What Kestra writes, and odd things."""
    put(bucket, "main/")
    put(bucket, "main/company/team/_files/", metadata={"made": "by hand"}, content_type="application/x-directory")
    put(bucket, "main/company/team/_kv/key.ion", b"{value: 1}", {"expirationDate": "2027-01-01T00:00:00Z", "description": "it's für: =?x"})
    put(bucket, "main/all", b"all", {"a": "1", "b": ""}, content_type="text/x-all; charset=utf-8", content_encoding="gzip",
        cache_control="no-cache", content_language="de", content_disposition='attachment; filename="x y"')
    put(bucket, "main/empty")
    for number, key in enumerate(KEYS):
        put(bucket, key, f"content {number // 2}".encode(), {"number": str(number)})


def contents(bucket):
    """Everything that can be asked of every object, with the SDK alone."""
    names = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control", "metadata")
    return {blob.name: (blob.download_as_bytes(raw_download=True), {name: getattr(blob, name) for name in names})
            for blob in bucket.list_blobs()}


@pytest.mark.parametrize("versioned", [True, False])
def test_all_of_it_comes_back(server, new_bucket, opened, take, give, versioned):
    source, target = new_bucket(versioned), new_bucket(False)
    fill(source)
    wanted = contents(source)
    assert len(wanted) == len(KEYS) + 5 and any(len(key.encode()) == 1024 for key in wanted)
    assert wanted["main/all"][0] == b"all" and wanted["main/company/team/_kv/key.ion"][1]["metadata"]["description"] == "it's für: =?x"
    server.requests("GET", ".")
    result, copy = take(opened(source))
    assert (result["objects"], result["markers"]) == (len(wanted) - 2, 2) and result["drift"]["deleted"] == 0
    assert server.requests("GET", "/storage/v1/b/[^/]*/o/") == 0, "one request reads an object"
    back = give(opened(target), copy)
    assert contents(target) == wanted
    assert back["comparison"]["verdict"] == "equal" and back["comparison"]["compared_digests"] == len(wanted)
    for depth in compare.DEPTHS:
        found = compare.compare_bucket(opened(target), copy.list, depth)["comparison"]
        assert found["verdict"] == "equal" and found["entries"] == found["compared_digests"] == len(wanted), depth


def test_below_a_prefix(new_bucket, opened, take, give):
    source, target = new_bucket(), new_bucket()
    for key in ("data/main/x", "data/y", "other/z", "datax"):
        put(source, key, key.encode())
    _result, copy = take(opened(source, prefix="data/"))
    give(opened(target, prefix="elsewhere/"), copy)
    assert {key: body for key, (body, _about) in contents(target).items()} == {"elsewhere/main/x": b"data/main/x", "elsewhere/y": b"data/y"}
    bucket = opened(source, prefix="data/")
    assert list(bucket.directories("")) == ["main/"] and list(bucket.directories("", "m", most=1)) == ["main/"]


def test_each_kind_of_difference_is_seen_and_mended(new_bucket, opened, take, give):
    source = new_bucket()
    fill(source)
    bucket = opened(source)
    _result, copy = take(bucket)
    put(source, "main/empty", b"now it has one")
    put(source, "main/company/team/_kv/key.ion", b"{value: 2}")
    changed = source.get_blob("main/a-b")
    changed.metadata = {"number": "other"}
    changed.patch()
    put(source, "main/extra", b"x")
    source.blob("main/all").delete()
    for depth in ("listing", "headers"):
        found = compare.compare_bucket(bucket, copy.list, depth)["comparison"]
        assert found["counts"] == {"missing": 1, "unexpected": 1, "size": 1, "content": 1, "headers": 0, "metadata": 1}
    # The generation is the same, its metadata are not.
    again, _copy = take(bucket, copy="copy")
    assert again["fetched_objects"] == 3
    put(source, "main/a-b", b"content 7", {"number": "third"})
    assert give(bucket, store.Store(copy.path), delete=True)["deleted_objects"] == 0


def test_a_restore_mends_metadata_that_were_changed_in_place(new_bucket, opened, take, give, tmp_path):
    source = new_bucket()
    fill(source)
    wanted = contents(source)
    bucket = opened(source)
    _result, copy = take(bucket)
    changed = source.get_blob("main/a-b")
    changed.metadata = {"number": "other"}
    changed.patch()
    assert give(bucket, copy)["written_objects"] == 1 and contents(source) == wanted
    take(bucket)
    inventory.take(bucket, tmp_path / "pin.gz")
    changed = source.get_blob("main/a-b")
    changed.metadata = {"number": "another"}
    changed.patch()
    again, copy = take(bucket)
    assert again["fetched_objects"] == 0
    assert next(entry for entry in listing.read(copy.list) if entry.key == "main/a-b").metadata == {"number": "another"}
    assert copy_in.Rewind(bucket, tmp_path / "pin.gz").run()["written_objects"] == 1 and contents(source) == wanted


def test_only_what_is_new_is_read_and_written(new_bucket, opened, take, give):
    source, target = new_bucket(), new_bucket()
    fill(source)
    first, copy = take(opened(source))
    give(opened(target), copy)
    put(source, "main/new", b"other", {"a": "2"})
    source.blob("main/all").delete()
    second, copy = take(opened(source))
    assert (second["fetched_objects"], second["fetched_bytes"]) == (1, 5) and second["objects"] == first["objects"]
    back = give(opened(target), copy)
    assert (back["written_objects"], back["written_bytes"]) == (1, 5) and give(opened(target), copy)["written_objects"] == 0


def test_a_moment(new_bucket, opened, tmp_path):
    source = new_bucket()
    fill(source)
    time.sleep(1.1)
    source.blob("main/a.b").delete()
    wanted = {key: body for key, (body, _about) in contents(source).items()}
    bucket = opened(source)
    moment = inventory.about(bucket)["server_time"]
    put(source, "main/all", b"after")
    put(source, "main/later", b"after")
    source.blob("main/empty").delete()
    put(source, "main/a.b", b"there again")
    time.sleep(1.1)
    put(source, "main/all", b"long after")
    inventory.take(bucket, tmp_path / "then.gz", moment=moment)
    entries = list(listing.read(tmp_path / "then.gz"))
    read = {}
    for entry in entries:
        body = bytearray()
        bucket.read(entry, body.extend)
        read[entry.key] = bytes(body)
    assert read == wanted
    with pytest.raises(RefusedError) as caught:
        inventory.take(opened(new_bucket(False)), moment=moment)
    assert caught.value.reason == "versioning_off"


def test_back_to_the_generations_of_a_list(server, new_bucket, opened, tmp_path):
    source = new_bucket()
    fill(source)
    wanted = contents(source)
    bucket, pin = opened(source), tmp_path / "pin.gz"
    inventory.take(bucket, pin)
    keys = [key for key in wanted if not key.endswith("/")]
    for key in keys[::3]:
        put(source, key, b"after the pin")
    for key in keys[1::3]:
        source.blob(key).delete()
    put(source, "main/later", b"x")
    server.requests("GET", ".")
    back = copy_in.Rewind(bucket, pin, delete=True).run()
    assert server.requests("GET", "/download/") == 0, "contents were moved"
    assert back["written_objects"] == len(keys[::3]) + len(keys[1::3]) and back["deleted_objects"] == 1
    assert contents(source) == wanted
    assert copy_in.Rewind(bucket, pin).run()["written_objects"] == 0


def test_generations_that_are_gone_are_told_before_anything_is_done(new_bucket, opened, tmp_path):
    source = new_bucket()
    fill(source)
    bucket, pin = opened(source), tmp_path / "pin.gz"
    inventory.take(bucket, pin)
    for key in ("main/all", "main/empty"):
        put(source, key, b"other")
    lost = next(entry for entry in listing.read(pin) if entry.key == "main/all")
    source.blob("main/all", generation=int(lost.version)).delete()
    with pytest.raises(StateError) as caught:
        copy_in.Rewind(bucket, pin).run()
    assert caught.value.reason == "versions_gone" and caught.value.detail == {"gone": ["main/all"]}
    assert contents(source)["main/empty"][0] == b"other"


def test_what_changes_between_listing_and_reading(new_bucket, opened, take):
    """Without versions it is gone, or another one is there in its place; with them it is read all the same."""
    def meanwhile(bucket):
        put(bucket, "main/all", b"other")
        bucket.blob("main/empty").delete()

    plain, kept = new_bucket(False), new_bucket()
    for bucket in (plain, kept):
        fill(bucket)
    result, copy = take(opened(plain), pinned=lambda: meanwhile(plain), copy="plain")
    assert result["drift"] == {"deleted": 1, "changed": 1, "examples": {"deleted": ["main/empty"], "changed": ["main/all"]}}
    entries = {entry.key: entry for entry in listing.read(copy.list)}
    assert entries["main/all"].size == 5 and entries["main/empty"].drift == "deleted"
    result, _copy = take(opened(kept), pinned=lambda: meanwhile(kept), copy="kept")
    assert (result["drift"]["deleted"], result["drift"]["changed"]) == (0, 0)


def test_more_than_a_page(new_bucket, opened, take):
    source = new_bucket()
    for number in range(1100):
        put(source, "main/often", str(number).encode())
        put(source, f"main/o/{number:04}", b"x")
    bucket = opened(source)
    assert len(list(bucket.objects())) == 1101
    versions = [version for page, _next in bucket.version_pages() for version in page]
    assert len(versions) == 2200 and sum(version.latest for version in versions) == 1101
    assert take(bucket)[0]["objects"] == 1101


def test_the_mutable_part(new_bucket, opened):
    source = new_bucket()
    mutable = ["main/company/team/_kv/a.ion", "main/company/team/_files/b", "main/company/team/flow/states/s"]
    for key in [*mutable, f"main/company/team/flow/executions/{'1' * 22}/inputs/x"]:
        put(source, key, b"x")
    bucket = opened(source)
    found = inventory.entries(bucket, inventory.about(bucket, settle=False), what=part.MUTABLE)
    assert sorted(entry.key for entry in found) == sorted(mutable)


def reason(call, *arguments, **how):
    with pytest.raises(DrError) as caught:
        call(*arguments, **how)
    return caught.value.reason


@pytest.fixture
def proxy(server):
    found = Proxy(server)
    yield found
    found.close()


def test_refusals_are_final_and_say_why(server, new_bucket, opened, take, proxy):
    source = new_bucket()
    fill(source)
    assert reason(take, opened(server.client().bucket("none"))) == "bucket_missing"
    for status, why in ((401, "credentials_missing"), (403, "access_denied")):
        proxy.refuse = (status, "No")
        begun = time.monotonic()
        assert reason(take, opened(source, endpoint=proxy.endpoint)) == why and time.monotonic() - begun < 5
    proxy.refuse, proxy.down = None, True
    assert reason(take, opened(source, endpoint=proxy.endpoint, patience=1.0)) == "unreachable"


def test_a_server_that_is_busy_is_waited_for(new_bucket, opened, take, give, proxy):
    source, target = new_bucket(), new_bucket()
    fill(source)
    proxy.busy = 3
    _result, copy = take(opened(source, endpoint=proxy.endpoint))
    assert proxy.busy == 0
    proxy.busy = 3
    give(opened(target, endpoint=proxy.endpoint), copy)
    assert proxy.busy == 0 and contents(target) == contents(source)
    proxy.busy = 1000
    assert reason(take, opened(source, endpoint=proxy.endpoint, patience=2.0)) == "storage_busy"


def test_an_answer_that_breaks_off_is_taken_up_where_it_broke(new_bucket, opened, take, proxy):
    source = new_bucket()
    body = os.urandom(5 << 20)
    put(source, "main/big", body)
    bucket = opened(source, endpoint=proxy.endpoint)
    entry = next(bucket.objects())
    proxy.cut, proxy.cuts, proxy.passed = 2 << 20, 2, 0
    read = bytearray()
    bucket.read(entry, read.extend)
    assert read == body and proxy.cuts == 0 and proxy.passed < 6 << 20


def test_a_large_upload_goes_on_after_a_break(tmp_path):
    """In pieces; each is sent again by itself. This emulator takes a piece twice when only its answer was lost: the
    object's MD5 shows that, and it is sent anew."""
    own = Emulator()
    between = Proxy(own)
    try:
        bucket = own.start(shown=between.endpoint).bucket("kestra")
        body = os.urandom(40 << 20)
        (tmp_path / "body").write_bytes(body)
        place = options.Place("kestra", between.endpoint, kind="gcs", patience=20.0)
        with client.opened(place) as opened, open(tmp_path / "body", "rb") as handle:
            def breaking():
                time.sleep(0.3)
                between.break_all()

            threading.Thread(target=breaking, daemon=True).start()
            entry = listing.Entry("main/big", len(body), "", "", headers={"ContentType": "x/y"}, metadata={"a": "b"})
            md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
            try:
                opened.write(entry, handle, md5)
            except DrError as exc:
                assert exc.reason == "torn"
                opened.write(entry, handle, md5)
        blob = bucket.get_blob("main/big")
        assert blob.download_as_bytes() == body and (blob.content_type, blob.metadata) == ("x/y", {"a": "b"})
    finally:
        between.close()
        own.destroy()


def test_a_copy_that_rotted_does_not_arrive(new_bucket, opened, take, give):
    source, target = new_bucket(), new_bucket()
    put(source, "main/x", b"good")
    _result, copy = take(opened(source))
    path = copy.content(next(listing.read(copy.list)).sha256)
    with open(path, "r+b") as handle:
        handle.write(b"evil")
    assert reason(give, opened(target), copy) == "torn" and contents(target) == {}


@pytest.mark.parametrize("change", [{"headers": {"Expires": "Wed, 01 Jan 2031 00:00:00 GMT"}}, {"key": "main/new\nline"}])
def test_what_google_cannot_hold_is_refused_before_anything_is_written(new_bucket, opened, take, give, change):
    """As lists of other providers may have it."""
    source, target = new_bucket(), new_bucket()
    for key in ("main/a", "main/x"):
        put(source, key, b"x")
    _result, copy = take(opened(source))
    *others, last = listing.read(copy.list)
    listing.write(copy.list, sorted([*others, last._replace(**change)], key=lambda entry: entry.path))
    assert reason(give, opened(target), copy) == "storage_not_portable" and contents(target) == {}


def test_by_hand_as_the_escrow_kit_says(server, new_bucket, opened, take):
    source, target = new_bucket(), new_bucket()
    fill(source)
    _result, copy = take(opened(source))
    code = escrow._GOOGLE.partition("python3 -c '")[2].partition("\n' \"$TARGET")[0]
    subprocess.run([sys.executable, "-c", code, copy.path, target.name, ""], check=True, timeout=120,
                   env=dict(os.environ, STORAGE_EMULATOR_HOST=server.endpoint))
    assert contents(target) == contents(source)


def test_rules_of_replication_are_refused(new_bucket, opened):
    source, target = opened(new_bucket()), opened(new_bucket())
    assert reason(replicate.present, source, target, "kestra-dr") == reason(replicate.absent, source, "kestra-dr") == "replication_unsupported"


@pytest.mark.parametrize("versioned", [True, False])
def test_the_swap_there_and_back(new_bucket, opened, tmp_path, versioned):
    source = new_bucket(versioned)
    bucket = opened(source)
    put(source, "a/new", b"restored", {"k": "v"})
    put(source, "a/both", b"two")
    restored = contents(source)
    names = Names(buckets.live_name(bucket.place), str(tmp_path / "1.restored"), str(tmp_path / "1.objects"))
    inventory.take(bucket, tmp_path / "pin.gz")
    copy_out.Copy(bucket, store.Store(names.replacement), tmp_path / "pin.gz").run(tmp_path / "list.gz")
    source.blob("a/new").delete()
    put(source, "a/both", b"one")
    put(source, "a/")
    before = contents(source)

    def ensure(state):
        return undo_point.ensure(state, str(tmp_path), "1", {"storage": names}, {"storage": buckets.BucketStore(bucket.place)},
                                 {"instance": "kestra"})

    ensure("swapped")
    assert contents(source) == restored
    ensure("reverted")
    assert contents(source) == before
    ensure("swapped")
    assert contents(source) == restored


def test_the_modules(server, new_bucket, tmp_path):
    source, target = new_bucket(), new_bucket()
    fill(source)
    text = json.dumps({"kestra": {"storage": {"type": "gcs", "gcs": {"bucket": source.name, "projectId": "p"}}}})
    config = {"text": text, "environment": {"STORAGE_EMULATOR_HOST": server.endpoint}}
    pin, made, copy = (str(tmp_path / name) for name in ("pin.gz", "list.gz", "copy"))
    found = run("object_storage_inventory_info", config=config, dest=pin, retention_days=7)
    assert found["type"] == "gcs" and found["provider"]["location_type"] and found["unfinished_uploads"] is None
    assert run("object_storage_backup", config=config, pin=pin, copy=copy, dest=made)["objects"] == len(KEYS) + 3
    into = {"type": "gcs", "endpoint": server.endpoint, "bucket": target.name}
    assert run("object_storage_restore", copy=copy, **into)["written_objects"] == len(KEYS) + 5
    assert not run("object_storage_restore", copy=copy, **into)["changed"] and contents(target) == contents(source)
    assert run("object_storage_inventory_info", expect=made, depth="content", **into)["comparison"]["verdict"] == "equal"
    told = run("object_storage_replication_info", config=config, limit=1, target={"bucket": target.name, "endpoint": server.endpoint})
    assert told["verdict"] == "not_proved" and {"rules_unknown", "lag"} == {problem["what"] for problem in told["problems"]}
    assert told["source"]["provider"]["turbo_replication"] is False and told["objects"]["missing"] == 0
    refused = run("object_storage_replication", fails=True, config=config, target={"bucket": target.name, "endpoint": server.endpoint})
    assert refused["reason"] == "replication_unsupported"
