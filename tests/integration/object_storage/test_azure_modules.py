# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules with a container of Azure, as Ansible runs them, on an emulator."""

from __future__ import annotations

import functools
import json
import os

import pytest
import test_object_storage_modules as modules
from azure_server import ACCOUNT, KEY

# Letters and digits that every escaping of the key leaves as they are.
CORE = KEY[:40]
run = functools.partial(modules.run, core=CORE)


@pytest.fixture
def config(tmp_path, azurite):
    """config(container, **settings) -> the option: Kestra's configuration, with the key in its environment."""

    def write(container, **settings):
        path = tmp_path / "azure.yml"
        path.write_text(json.dumps({"kestra": {"storage": {"type": "azure", "azure": {
            "endpoint": azurite.endpoint, "container": container, "shared-key-account-name": ACCOUNT,
            "shared-key-account-access-key": "${THE_KEY}", **settings}}}}))
        return {"files": [str(path)], "environment": {"THE_KEY": KEY}}

    return write


def test_from_kestras_configuration_to_a_container_elsewhere(azurite, new_container, config, tmp_path):
    source, target = new_container(), new_container()
    source.upload_blob("main/a/.kestradirectory", b"")
    source.upload_blob("main/a/b", b"content", metadata={"expirationDate": "2027"})
    names = {name: str(tmp_path / name) for name in ("pin.gz", "list.gz", "copy", "credentials")}
    ours = config(source.container_name)
    pinned = run("object_storage_inventory_info", config=ours, dest=names["pin.gz"], job_dir=str(tmp_path / "j1"))
    assert (pinned["objects"], pinned["bytes"], pinned["versioning"]) == (2, 7, "off")
    assert (pinned["type"], pinned["endpoint"], pinned["bucket"]) == ("azure", azurite.endpoint, source.container_name)
    steps = {"pin": names["pin.gz"], "copy": names["copy"], "dest": names["list.gz"], "config": ours}
    assert run("object_storage_backup", check_mode=True, **steps)["plan"] == {"objects": 2, "bytes": 7}
    assert run("object_storage_backup", job_dir=str(tmp_path / "j2"), **steps)["fetched_objects"] == 2
    with open(names["credentials"], "w", encoding="utf-8") as handle:
        handle.write(f"AZURE_STORAGE_CONNECTION_STRING='BlobEndpoint={azurite.endpoint};AccountName={ACCOUNT};AccountKey={KEY}'\n")
    os.chmod(names["credentials"], 0o600)
    place = {"type": "azure", "bucket": target.container_name, "credentials_file": names["credentials"]}
    plan = run("object_storage_restore", check_mode=True, copy=names["copy"], **place)
    assert plan["changed"] and plan["plan"]["objects"] == 2 and list(target.list_blobs()) == []
    restored = run("object_storage_restore", copy=names["copy"], job_dir=str(tmp_path / "j3"), **place)
    assert restored["changed"] and restored["written_objects"] == 2
    assert target.get_blob_client("main/a/b").get_blob_properties().metadata == {"expirationDate": "2027"}
    assert not run("object_storage_restore", copy=names["copy"], **place)["changed"]
    found = run("object_storage_inventory_info", expect=names["list.gz"], depth="content", **place)
    assert found["comparison"]["verdict"] == "equal" and not found["changed"]
    for path in tmp_path.rglob("*"):
        if path.is_file() and str(path) != names["credentials"]:
            assert CORE.encode() not in path.read_bytes(), path


def test_errors_are_told_without_the_key(azurite, new_container, config):
    name = new_container().container_name
    wrong = dict(config(name), environment={"THE_KEY": KEY[:-8] + "AAAAAAA="})
    assert run("object_storage_inventory_info", fails=True, config=wrong)["reason"] == "credentials_refused"
    missing = run("object_storage_inventory_info", fails=True, config=config("no-such-container"))
    assert missing["reason"] == "bucket_missing"
    none = run("object_storage_inventory_info", fails=True, type="azure", endpoint=azurite.endpoint, bucket=name)
    assert none["reason"] == "credentials_missing"


def test_replication_is_proved_or_not_and_set_up_elsewhere(azurite, new_container, config):
    source, target = new_container(), new_container()
    source.upload_blob("main/a", b"a")
    there = {"bucket": target.container_name, "endpoint": azurite.endpoint, "access_key": ACCOUNT, "secret_key": KEY}
    found = run("object_storage_replication_info", config=config(source.container_name), target=there, limit=1)
    assert found["verdict"] == "not_proved"
    # It was written a moment ago and may be on its way.
    assert {problem["what"] for problem in found["problems"]} == {"rules_unknown", "lag"} and found["objects"]["in_flight"] == 1
    assert list(target.list_blobs()) == [] and [blob.name for blob in source.list_blobs()] == ["main/a"]
    refused = run("object_storage_replication", fails=True, config=config(source.container_name), target=there)
    assert refused["reason"] == "replication_unsupported"
