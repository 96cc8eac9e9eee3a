# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket out to the copy and back into a bucket: exactly, incrementally, from the moment of the pin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from s3_server import ACCESS_KEY, SECRET_KEY, Server

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import compare, copy_in, inventory, listing
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.s3 import S3Bucket

# What a file system, a URL, XML or JSON could get wrong. Bytes below blank, except those of white space, and keys that are
# the beginning of others are beyond this server.
KEYS = (
    "main/a b+c%25&d", "main/ü/ö", "main/new\nline", "main/tab\tx", "main/q?x#y", "main/back\\slash", "main/quote'\"<>&",
    "main/é", "main/e\u0301", "main/emoji\U0001f600", "main/.hidden", "main/dot./a", "main/blank ", "main/%2F", "main/\u2028x",
    "main/~tilde*", "main/a-b", "main/a.b", "main/a/b", "main/" + "x" * 200,
    "/".join(["y" * 250] * 4) + "/" + "z" * 20,
)  # fmt: skip


def fill(s3, bucket):
    """What Kestra writes, and odd things."""
    s3.put_object(Bucket=bucket, Key="main/", Body=b"")
    s3.put_object(Bucket=bucket, Key="main/company/team/_files/", Body=b"", ContentType="application/x-directory",
                  Metadata={"made": "by hand"})
    s3.put_object(Bucket=bucket, Key="main/company/team/_kv/key.ion", Body=b"{value: 1}",
                  Metadata={"expiration_date": "2027-01-01T00:00:00Z", "description": "what it's for: =?x"})
    s3.put_object(Bucket=bucket, Key="main/all", Body=b"all", ContentType="text/x-all; charset=utf-8", ContentEncoding="gzip",
                  CacheControl="no-cache", ContentLanguage="de", ContentDisposition='attachment; filename="x y"',
                  Expires=1900000000, Metadata={"a": "1", "b": ""})
    s3.put_object(Bucket=bucket, Key="main/empty", Body=b"")
    # This server gives the mark of a directory a new time whenever something comes or goes in it; there is none of this one.
    s3.put_object(Bucket=bucket, Key="main/unmarked/old", Body=b"old")
    s3.put_object(Bucket=bucket, Key="main/unmarked/same", Body=b"same")
    for number, key in enumerate(KEYS):
        s3.put_object(Bucket=bucket, Key=key, Body=f"content {number // 2}".encode(), Metadata={"number": str(number)})


def contents(s3, bucket):
    """Everything that can be asked of every object, with the SDK alone."""
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            answer = s3.get_object(Bucket=bucket, Key=item["Key"])
            body = answer.pop("Body").read()
            kept = {name: answer[name] for name in sorted(answer) if name.startswith(("Content", "Cache", "Expires", "Meta"))}
            found[item["Key"]] = (body, kept)
    return found


@pytest.mark.parametrize("versioned", [True, False])
def test_all_of_it_comes_back(server, s3, new_bucket, opened, take, give, versioned):
    source, target = new_bucket(versioned), new_bucket(False)
    fill(s3, source)
    assert any(len(key.encode()) == 1024 for key in KEYS)
    result, copy = take(opened(source))
    wanted = contents(s3, source)
    assert len(wanted) == len(KEYS) + 7
    assert (result["objects"], result["markers"]) == (len(wanted) - 2, 2) and result["drift"]["deleted"] == 0
    back = give(opened(target), copy)
    assert contents(s3, target) == wanted
    assert back["comparison"]["verdict"] == "equal" and back["comparison"]["compared_digests"] == len(wanted)
    assert back["comparison"]["counts"]["unexpected"] == 0
    for depth in compare.DEPTHS:
        found = compare.compare_bucket(opened(target), copy.list, depth)["comparison"]
        assert found["verdict"] == "equal" and found["entries"] == found["compared_digests"] == len(wanted), depth


def test_each_kind_of_difference_is_seen(s3, new_bucket, opened, take, give):
    source = new_bucket()
    fill(s3, source)
    bucket = opened(source)
    _result, copy = take(bucket)
    s3.put_object(Bucket=source, Key="main/empty", Body=b"now it has one")
    s3.put_object(Bucket=source, Key="main/company/team/_kv/key.ion", Body=b"{value: 2}")
    s3.put_object(Bucket=source, Key="main/a-b", Body=s3.get_object(Bucket=source, Key="main/a-b")["Body"].read())
    s3.put_object(Bucket=source, Key="main/extra", Body=b"x")
    s3.delete_object(Bucket=source, Key="main/all")
    found = compare.compare_bucket(bucket, copy.list, "headers")["comparison"]
    assert found["verdict"] == "differs" and found["differences"] == 4
    assert found["counts"] == {"missing": 1, "unexpected": 1, "size": 1, "content": 1, "headers": 0, "metadata": 1}
    assert found["examples"]["metadata"] == ["main/a-b"] and found["examples"]["missing"] == ["main/all"]
    give(bucket, copy)
    assert compare.compare_bucket(bucket, copy.list, "headers")["comparison"]["verdict"] == "equal"
    # What the list does not name stays unless it is to go.
    assert give(bucket, copy, delete=True)["deleted_objects"] == 1
    assert compare.compare_bucket(bucket, copy.list, "content")["comparison"]["counts"]["unexpected"] == 0


def test_only_what_is_new_is_read_and_written(server, s3, new_bucket, opened, take, give):
    source, target = new_bucket(), new_bucket()
    fill(s3, source)
    first, copy = take(opened(source))
    assert first["fetched_objects"] == first["objects"] + first["markers"]
    give(opened(target), copy)
    s3.put_object(Bucket=source, Key="main/unmarked/new", Body=b"other", Metadata={"a": "2"})
    s3.delete_object(Bucket=source, Key="main/unmarked/old")
    server.requests("GetObject")
    second, copy = take(opened(source))
    assert (second["fetched_objects"], second["fetched_bytes"]) == (1, 5) and server.requests("GetObject") == 1
    assert second["objects"] == first["objects"] and second["removed"] == {"files": 1, "bytes": 3}
    back = give(opened(target), copy)
    assert (back["written_objects"], back["written_bytes"]) == (1, 5)
    assert give(opened(target), copy)["written_objects"] == 0


def test_a_moment_that_the_server_cannot_tell_is_refused(new_bucket, opened, tmp_path):
    """This server gives versions the time at which they were overwritten (MinIO does not: test_minio.py)."""
    with pytest.raises(RefusedError) as caught:
        inventory.take(opened(new_bucket()), tmp_path / "list", moment="2026-11-23T00:15:00Z")
    assert caught.value.reason == "moment_unknown" and not (tmp_path / "list").exists()


def test_a_bucket_without_versions_has_no_earlier_moment(new_bucket, opened, tmp_path):
    with pytest.raises(RefusedError) as caught:
        inventory.take(opened(new_bucket(False)), tmp_path / "list", moment="2026-11-23T00:15:00Z")
    assert caught.value.reason == "versioning_off" and not (tmp_path / "list").exists()


def test_versions_are_copied_although_they_were_overwritten(s3, new_bucket, opened, take, give):
    source, target = new_bucket(), new_bucket()
    fill(s3, source)
    wanted = contents(s3, source)
    # The marks of directories have no versions on this server.
    keys = [key for key in wanted if not key.endswith("/")]

    def rewrite():
        for key in keys[::2]:
            s3.put_object(Bucket=source, Key=key, Body=b"after the pin")
        for key in keys[1::2]:
            s3.delete_object(Bucket=source, Key=key)

    result, copy = take(opened(source), pinned=rewrite)
    assert result["drift"] == {"deleted": 0, "changed": 0, "examples": {}}
    give(opened(target), copy)
    assert contents(s3, target) == wanted


def test_without_versions_what_changed_or_went_is_found(s3, new_bucket, opened, take, give):
    source, target = new_bucket(False), new_bucket(False)
    fill(s3, source)

    def work():
        s3.put_object(Bucket=source, Key="main/all", Body=b"longer than before", Metadata={"new": "1"})
        s3.delete_object(Bucket=source, Key="main/a.b")
        s3.put_object(Bucket=source, Key="main/later", Body=b"x")

    result, copy = take(opened(source), pinned=work)
    assert (result["drift"]["deleted"], result["drift"]["changed"]) == (1, 1)
    assert result["drift"]["examples"] == {"deleted": ["main/a.b"], "changed": ["main/all"]}
    entries = {entry.key: entry for entry in listing.read(copy.list)}
    assert entries["main/a.b"].drift == "deleted" and entries["main/all"].drift == "changed"
    assert "main/later" not in entries
    back = give(opened(target), copy)
    assert back["plan"]["not_copied"] == 1
    restored = contents(s3, target)
    assert restored["main/all"][0] == b"longer than before" and restored["main/all"][1]["Metadata"] == {"new": "1"}
    assert restored == {key: found for key, found in contents(s3, source).items() if key != "main/later"}


def test_one_prefix_into_another_at_another_endpoint(s3, own_server, new_bucket, opened, take, give):
    source = new_bucket()
    s3.put_object(Bucket=source, Key="one/", Body=b"")
    s3.put_object(Bucket=source, Key="one/main/x", Body=b"1", Metadata={"a": "b"})
    s3.put_object(Bucket=source, Key="other/main/x", Body=b"2")
    result, copy = take(opened(source, prefix="one/"))
    assert (result["objects"], result["markers"]) == (1, 1)
    elsewhere = own_server.client()
    for name in ("target-one", "target-two"):
        own_server.bucket(name)
    give(opened("target-one", endpoint=own_server.endpoint, prefix="two/"), copy)
    assert set(contents(elsewhere, "target-one")) == {"two/", "two/main/x"}
    give(opened("target-two", endpoint=own_server.endpoint), copy)
    assert set(contents(elsewhere, "target-two")) == {"main/x"}


def test_metadata_that_is_no_ascii_comes_back(s3, new_bucket, opened, take, give):
    """Kestra writes descriptions of keys as they are; the SDK would refuse them."""
    source, target = new_bucket(), new_bucket()
    bucket = opened(source)
    entry = listing.Entry("main/kv", 0, "", "", metadata={"description": "Schlüssel für 日本"})
    bucket.write(entry, None, "1B2M2Y8AsgTpgAmY7PhCfg==")
    _result, copy = take(bucket)
    assert next(listing.read(copy.list)).metadata == {"description": "Schlüssel für 日本"}
    give(opened(target), copy)
    raw = s3.head_object(Bucket=target, Key="main/kv")["Metadata"]["description"]
    assert raw.encode("latin-1").decode() == "Schlüssel für 日本"


def test_by_hand_as_documented(server, s3, new_bucket, opened, take):
    source, target = new_bucket(), new_bucket()
    fill(s3, source)
    _result, copy = take(opened(source))
    text = (Path(__file__).parents[3] / "docs" / "object-storage.md").read_text(encoding="utf-8")
    program = text.split("```python\n")[1].split("```")[0]
    environment = dict(os.environ, AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY, AWS_DEFAULT_REGION="us-east-1")
    done = subprocess.run([sys.executable, "-c", program, copy.path, server.endpoint, target], env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert contents(s3, target) == contents(s3, source)


def test_large_objects_go_in_parts_and_leave_none_behind(s3, new_bucket, opened, take, give, monkeypatch):
    monkeypatch.setattr(S3Bucket, "parts_from", 6 << 20)
    monkeypatch.setattr(copy_in, "PART", 5 << 20)
    source, target = new_bucket(), new_bucket()
    body = bytes(range(256)) * (13 << 12)
    s3.put_object(Bucket=source, Key="main/big", Body=body, ContentType="x/big", Metadata={"a": "b"})
    _result, copy = take(opened(source))
    # As a restore leaves it that was killed.
    s3.create_multipart_upload(Bucket=target, Key="main/big")
    s3.create_multipart_upload(Bucket=target, Key="main/big2")
    bucket = opened(target)
    assert inventory.about(bucket)["unfinished_uploads"] == ["main/big", "main/big2"]
    back = give(bucket, copy)
    assert (back["written_objects"], back["written_bytes"]) == (1, len(body))
    assert [key for key, _upload in bucket.unfinished_uploads()] == ["main/big2"]
    assert contents(s3, target) == contents(s3, source)
    tag = s3.head_object(Bucket=target, Key="main/big")["ETag"].strip('"')
    assert tag == copy_in.tag_of_parts(copy_in.digests(copy.content(next(listing.read(copy.list)).sha256), len(body)))
    # It is known again by the tag of its parts.
    assert give(bucket, copy)["written_objects"] == 0
    s3.put_object(Bucket=target, Key="main/big", Body=body[::-1])
    assert give(bucket, copy)["written_objects"] == 1


def test_nothing_is_lost_in_a_bucket_without_versions(s3, new_bucket, opened, take, give):
    source, target = new_bucket(), new_bucket(False)
    fill(s3, source)
    _result, copy = take(opened(source))
    bucket = opened(target)
    s3.put_object(Bucket=target, Key="main/all", Body=b"not ours")
    with pytest.raises(RefusedError) as caught:
        give(bucket, copy)
    assert caught.value.reason == "would_overwrite" and set(contents(s3, target)) == {"main/all"}
    s3.delete_object(Bucket=target, Key="main/all")
    s3.put_object(Bucket=target, Key="main/all", Body=b"all", Metadata={"not": "ours"})
    with pytest.raises(RefusedError):
        give(bucket, copy)
    assert contents(s3, target)["main/all"][1]["Metadata"] == {"not": "ours"}
    give(bucket, copy, overwrite=True)
    assert contents(s3, target) == contents(s3, source)
    s3.put_object(Bucket=target, Key="main/extra", Body=b"not ours")
    with pytest.raises(RefusedError):
        give(bucket, copy, delete=True)
    assert "main/extra" in contents(s3, target)


def test_over_tls_with_an_authority_of_its_own(opened, tmp_path, take):
    from ansible_collections.kestra_community.dr.plugins.module_utils.core import proc
    from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    proc.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
              "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], timeout=60)
    secure = Server(certificate=certificate, key=key)
    try:
        secure.start()
        secure.client(verify=str(certificate)).create_bucket(Bucket="over-tls")
        with pytest.raises(ConnectError) as caught:
            take(opened("over-tls", endpoint=secure.endpoint))
        assert caught.value.reason == "tls_untrusted"
        for how in ({"ca_path": str(certificate)}, {"ca_pem": certificate.read_text()}, {"validate_certs": False}):
            result, _copy = take(opened("over-tls", endpoint=secure.endpoint, **how))
            assert result["objects"] == 0
        with pytest.raises(ConnectError):
            take(opened("over-tls", endpoint=secure.endpoint.replace("https", "http"), patience=0))
    finally:
        secure.destroy()


def test_back_to_the_versions_of_a_list(server, s3, new_bucket, opened, tmp_path):
    source = new_bucket()
    fill(s3, source)
    wanted = contents(s3, source)
    bucket, pin = opened(source), tmp_path / "pin.gz"
    inventory.take(bucket, pin)
    keys = [key for key in wanted if not key.endswith("/")]
    for key in keys[::3]:
        s3.put_object(Bucket=source, Key=key, Body=b"after the pin")
    for key in keys[1::3]:
        s3.delete_object(Bucket=source, Key=key)
    s3.put_object(Bucket=source, Key="main/later", Body=b"x")
    server.requests("GetObject")
    back = copy_in.Rewind(bucket, pin, delete=True).run()
    assert server.requests("GetObject") == 0, "contents were moved"
    assert back["written_objects"] == len(keys[::3]) + len(keys[1::3]) and back["deleted_objects"] == 1
    assert contents(s3, source) == wanted
    assert copy_in.Rewind(bucket, pin).run()["written_objects"] == 0


def test_versions_that_are_gone_are_told_before_anything_is_done(s3, new_bucket, opened, tmp_path):
    source = new_bucket()
    fill(s3, source)
    bucket, pin = opened(source), tmp_path / "pin.gz"
    inventory.take(bucket, pin)
    for key in ("main/all", "main/empty"):
        s3.put_object(Bucket=source, Key=key, Body=b"other")
    lost = next(entry for entry in listing.read(pin) if entry.key == "main/all")
    s3.delete_object(Bucket=source, Key="main/all", VersionId=lost.version)
    with pytest.raises(StateError) as caught:
        copy_in.Rewind(bucket, pin).run()
    assert caught.value.reason == "versions_gone" and caught.value.detail == {"gone": ["main/all"]}
    assert s3.get_object(Bucket=source, Key="main/empty")["Body"].read() == b"other"
    with pytest.raises(RefusedError) as caught:
        copy_in.Rewind(opened(new_bucket(False)), pin).run()
    assert caught.value.reason == "versioning_off"
