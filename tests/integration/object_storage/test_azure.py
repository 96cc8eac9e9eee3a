# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container out to the copy and back into a container, on an emulator: exactly, incrementally, by parts where it is large."""

from __future__ import annotations

import base64
import gzip
import os
import re
import subprocess
import sys

import pytest
from azure.storage.blob import BlobBlock, ContainerSasPermissions, ContentSettings, generate_container_sas
from azure_server import ACCOUNT, KEY, Azurite

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import part
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import compare, copy_out, inventory, listing, store
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import escrow

# What a URL, XML or a file system could get wrong, and what is the beginning of something else.
KEYS = (
    "main/a b+c%25&d", "main/ü/ö", "main/new\nline", "main/tab\tx", "main/q?x#y", "main/quote'\"<>&", "main/é", "main/e\u0301",
    "main/emoji\U0001f600", "main/.hidden", "main/dot./a", "main/blank ", "main/%2F", "main/\u2028x", "main/~tilde*", "main/a-b",
    "main/a", "main/a/b", "main//twice", "/leading", "main/end.", "main/" + "x" * 1019,
)  # fmt: skip
LARGE = os.urandom(1 << 20) * 20
PACKED = gzip.compress(b"packed" * 1000)


def fill(container):
    """What Kestra's plugin writes, marks of directories among it, and odd things."""

    def put(key, data=b"", **how):
        container.upload_blob(key, data, length=len(data), **how)

    put("main/.kestradirectory")
    put("main/company/team/_files/", content_settings=ContentSettings(content_type="application/x-directory"), metadata={"made": "by_hand"})
    put("main/company/team/_kv/key.ion", b"{value: 1}", metadata={"expirationDate": "2027-01-01T00:00:00Z", "Description": "what it's for: =?x"})
    put("main/all", b"all", metadata={"a": "1"}, content_settings=ContentSettings(
        content_type="text/x-all; charset=utf-8", cache_control="no-cache", content_language="de",
        content_disposition='attachment; filename="x y"'))
    put("main/packed", PACKED, content_settings=ContentSettings(content_encoding="gzip"))
    put("main/empty")
    put("main/large", LARGE)
    # In blocks, as large ones come: nobody keeps an MD5 with it.
    blob = container.get_blob_client("main/blocks")
    names = [base64.b64encode(b"%04d" % number).decode() for number in range(3)]
    for name in names:
        blob.stage_block(name, b"block" + name.encode())
    blob.commit_block_list([BlobBlock(name) for name in names])
    for number, key in enumerate(KEYS):
        put(key, f"content {number // 2}".encode(), metadata={"number": str(number)})


def contents(container):
    """Everything that can be asked of every blob, with the SDK alone."""
    found = {}
    for item in container.list_blobs():
        answer = container.get_blob_client(item.name).download_blob(decompress=False)
        settings = {name: value for name, value in answer.properties.content_settings.items() if name != "content_md5"}
        found[item.name] = (answer.readall(), settings, answer.properties.metadata)
    return found


def test_all_of_it_comes_back(azurite, new_container, opened_azure, take, give):
    source, target = new_container(), new_container()
    fill(source)
    result, copy = take(opened_azure(source.container_name))
    wanted = contents(source)
    assert len(wanted) == len(KEYS) + 8
    assert (result["objects"], result["markers"]) == (len(wanted) - 1, 1) and result["drift"]["deleted"] == 0
    back = give(opened_azure(target.container_name), copy)
    assert contents(target) == wanted
    assert back["comparison"]["verdict"] == "equal" and back["comparison"]["compared_digests"] == len(wanted)
    for depth in compare.DEPTHS:
        found = compare.compare_bucket(opened_azure(target.container_name), copy.list, depth)["comparison"]
        assert found["verdict"] == "equal" and found["entries"] == found["compared_digests"] == len(wanted), depth
    # What is there is not written again, and told by its MD5 alone.
    azurite.requests("PUT")
    again = give(opened_azure(target.container_name), copy)
    assert again["written_objects"] == 0 and azurite.requests("PUT") == 0


def test_only_what_is_new_is_read(azurite, new_container, opened_azure, take):
    source = new_container()
    fill(source)
    bucket = opened_azure(source.container_name)
    first, _copy = take(bucket)
    azurite.requests("GET")
    second, _copy = take(bucket)
    assert second["fetched_objects"] == 0 and azurite.requests("GET") < 10
    source.upload_blob("main/all", b"other", overwrite=True)
    source.delete_blob("main/a")
    third, copy = take(bucket)
    assert third["fetched_objects"] == 1 and third["objects"] == first["objects"] - 1
    assert third["removed"]["files"] == 1, "the content that nothing names any more"
    assert {entry.key for entry in listing.read(copy.list)} == set(contents(source))


def test_a_difference_is_found_by_the_listing(new_container, opened_azure, take, give):
    source = new_container()
    fill(source)
    bucket = opened_azure(source.container_name)
    _result, copy = take(bucket)
    source.upload_blob("main/all", b"ALL", overwrite=True)
    found = compare.compare_bucket(bucket, copy.list)["comparison"]
    assert found["verdict"] == "differs" and found["examples"]["content"] == ["main/all"]
    with pytest.raises(RefusedError) as caught:
        give(bucket, copy)
    assert caught.value.reason == "would_overwrite" and source.download_blob("main/all").readall() == b"ALL"
    back = give(bucket, copy, overwrite=True)
    # The one without an MD5 is the same by its tag.
    assert back["written_objects"] == 1 and source.download_blob("main/all").readall() == b"all"


def test_below_a_prefix_and_what_does_not_belong_there(new_container, opened_azure, take, give):
    source, target = new_container(), new_container()
    for key in ("kestra/main/a", "kestra/b", "kestraother/c", "d"):
        source.upload_blob(key, key.encode())
    _result, copy = take(opened_azure(source.container_name, prefix="kestra/"))
    assert [entry.key for entry in listing.read(copy.list)] == ["b", "main/a"]
    target.upload_blob("elsewhere/x", b"unexpected")
    target.upload_blob("outside", b"stays")
    back = give(opened_azure(target.container_name, prefix="elsewhere/"), copy, delete=True, overwrite=True)
    assert back["deleted_objects"] == 1
    assert set(contents(target)) == {"elsewhere/b", "elsewhere/main/a", "outside"}


def test_what_is_written_again_is_found_directory_by_directory(new_container, opened_azure):
    source = new_container()
    team = "main/company/team/"
    mutable = [team + "_kv/a.ion", team + "_files/x/y", team + "flow/states/s"]
    rest = [f"{team}flow/executions/{number:022}/inputs/x" for number in range(5)]
    for key in mutable + rest:
        source.upload_blob(key, b"x")
    found = inventory.take(opened_azure(source.container_name), what=part.MUTABLE)
    assert found["objects"] == len(mutable)


def test_facts(new_container, opened_azure):
    found = inventory.about(opened_azure(new_container().container_name), settle=False)
    assert found["server"].startswith("Azurite") and found["versioning"] == "off"
    assert found["provider"] == {"soft_delete_days": 0, "hierarchical": False} and found["lifecycle"]["known"] is False


def test_a_shared_access_signature_is_enough(new_container, opened_azure, take, give):
    import datetime

    source = new_container()
    fill(source)

    def signature(permissions, minutes=60):
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        return generate_container_sas(ACCOUNT, source.container_name, KEY, permission=ContainerSasPermissions.from_string(permissions),
                                      expiry=until)

    def with_signature(*what, **how):
        return opened_azure(source.container_name, access_key=None, secret_key=None, session_token=signature(*what), **how)

    _result, copy = take(with_signature("rl"))
    before = contents(source)
    assert give(with_signature("rlwd"), copy, overwrite=True)["written_objects"] == 0 and contents(source) == before
    source.delete_blob("main/all")
    with pytest.raises(ConnectError) as caught:
        give(with_signature("rl"), copy)
    assert caught.value.reason == "access_denied" and "permission w" in caught.value.hint
    with pytest.raises(ConnectError):
        take(with_signature("rl", -60))


def test_over_tls_with_an_authority_of_its_own(opened_azure, tmp_path, take):
    from ansible_collections.kestra_community.dr.plugins.module_utils.core import proc

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    proc.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
              "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], timeout=60)
    secure = Azurite(certificate=certificate, key=key)
    try:
        secure.start()
        secure.client(connection_verify=str(certificate)).create_container("over-tls")
        with pytest.raises(ConnectError) as caught:
            take(opened_azure("over-tls", endpoint=secure.endpoint))
        assert caught.value.reason == "tls_untrusted"
        for how in ({"ca_path": str(certificate)}, {"validate_certs": False}):
            result, _copy = take(opened_azure("over-tls", endpoint=secure.endpoint, **how))
            assert result["objects"] == 0
    finally:
        secure.destroy()


def test_by_hand_with_the_commands_of_an_escrow_kit(azurite, new_container, opened_azure, take):
    source, target = new_container(), new_container()
    fill(source)
    _result, copy = take(opened_azure(source.container_name))
    kit = escrow.compose({
        "instance": {"name": "prod", "id": "u"}, "kestra": {"version": "1", "edition": "OSS"}, "point": "p", "tools": {}, "hosts": {},
        "components": {"storage": {"engine": "azure", "held": "vault", "strategy": "objects", "path": "objects"}},
        "repository": {"location": "/r", "id": "r", "password": "p", "environment": {}}}, "2026-11-01T00:00:00.000000Z")
    shell = re.findall(r"(?ms)^python3 -c .*?^' .*?$", kit)[1]
    assert shell.count(" CONTAINER") == 1 and shell.count('"$TARGET/objects"') == 1
    shell = shell.replace(" CONTAINER", f" {target.container_name}").replace('"$TARGET/objects"', str(copy.path)).replace("python3", sys.executable)
    done = subprocess.run(["bash", "-euc", shell], capture_output=True, text=True, check=False, env={
        "PATH": os.environ["PATH"], "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={azurite.endpoint};AccountName={ACCOUNT};AccountKey={KEY}"})
    assert done.returncode == 0, done.stderr
    assert contents(target) == contents(source)
    assert compare.compare_bucket(opened_azure(target.container_name), copy.list)["comparison"]["compared_digests"] == len(contents(source))


def test_what_azure_cannot_hold_is_told_before_anything_is_written(new_container, opened_azure, give, tmp_path):
    target = new_container()
    copy = store.Store(tmp_path / "copy")
    copy.make()
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    entries = [listing.Entry(key, 0, "x", "2026-01-01T00:00:00Z", sha256=digest, md5="d41d8cd98f00b204e9800998ecf8427e", metadata=metadata)
               for key, metadata in (("a", None), ("b", {"made-by": "another server"}))]
    listing.write(copy.list, entries)
    with pytest.raises(RefusedError) as caught:
        give(opened_azure(target.container_name), copy)
    assert caught.value.reason == "storage_not_portable" and "made-by" in str(caught.value)
    assert contents(target) == {}


def test_a_version_of_the_present_is_no_moment(new_container, opened_azure, tmp_path):
    bucket = opened_azure(new_container().container_name)
    with pytest.raises(RefusedError) as caught:
        inventory.take(bucket, tmp_path / "pin.gz", moment="2026-01-01T00:00:00Z")
    assert caught.value.reason == "versioning_off"
    with pytest.raises(RefusedError) as caught:
        bucket.keep_versions()
    assert "--enable-versioning" in caught.value.hint and ACCOUNT in caught.value.hint


def test_the_plan_tells_how_much_there_is_to_read(new_container, opened_azure, tmp_path):
    source = new_container()
    fill(source)
    bucket, pin = opened_azure(source.container_name), tmp_path / "pin.gz"
    totals = inventory.take(bucket, pin)
    plan = copy_out.Copy(bucket, store.Store(tmp_path / "copy"), pin).plan()
    assert plan == {"objects": totals["objects"] + totals["markers"], "bytes": totals["bytes"]}
