# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions, replication and hierarchical namespaces of Azure, which no emulator has: the requests against a stand-in (azure_fake.py)."""

from __future__ import annotations

import contextlib
import datetime

import azure_fake
import pytest
from azure_server import KEY

from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import utc_text
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import (
    client,
    copy_in,
    inventory,
    listing,
    options,
    proof,
    replicate,
    store,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import buckets, undo_point
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names

LARGE = bytes(range(256)) * 40_000


@pytest.fixture
def azure():
    found = azure_fake.Azure()
    yield found
    found.close()


@pytest.fixture
def opened(request):
    stack = contextlib.ExitStack()
    request.addfinalizer(stack.close)
    return lambda azure, **how: stack.enter_context(client.opened(options.Place(**{
        "kind": "azure", "bucket": azure_fake.CONTAINER, "endpoint": azure.endpoint, "access_key": azure_fake.ACCOUNT,
        "secret_key": KEY, "patience": 10.0, **how})))


def fill(azure):
    for number in range(12):
        azure.put(f"main/o/{number}", b"then %d" % number, {"expirationDate": f"then{number}"})
    azure.put("main/o/same", b"same")
    azure.put("main/large", LARGE)
    azure.later()


def spoil(azure):
    """What comes after the pin."""
    azure.later()
    for number in range(12):
        if number % 3 == 0:
            azure.put(f"main/o/{number}", b"after", {"expirationDate": "after"})
        elif number % 3 == 1:
            azure.delete(f"main/o/{number}")
    azure.put("main/large", b"after")
    azure.put("main/later", b"after")
    azure.later()


class Progress:
    def phase(self, *_what):
        """Nothing."""

    update = phase


def moment(azure):
    return utc_text(azure.clock)


def test_what_the_account_says_of_itself(azure, opened):
    fill(azure)
    found = inventory.about(opened(azure), settle=False)
    assert found["versioning"] == "enabled" and found["encryption"] == "$account-encryption-key"
    assert found["provider"] == {"soft_delete_days": 7, "hierarchical": False}
    azure.versioning = False
    azure.put("main/o/0", b"written after versioning was switched off")
    assert inventory.about(opened(azure), settle=False)["versioning"] == "suspended"
    azure.blobs.clear()
    assert inventory.about(opened(azure), settle=False)["versioning"] == "off"


def test_credentials_that_may_not_ask_the_account(azure, opened):
    fill(azure)
    azure.tells = False
    found = inventory.about(opened(azure), settle=False)
    assert found["versioning"] == "enabled" and found["provider"] == {"soft_delete_days": None, "hierarchical": None}


def test_the_listed_versions_are_copied_whatever_comes_after(azure, opened, take):
    fill(azure)
    wanted = azure.contents()
    result, copy = take(opened(azure), pinned=lambda: spoil(azure))
    assert result["objects"] == len(wanted) and result["drift"] == {"deleted": 0, "changed": 0, "examples": {}}
    for entry in listing.read(copy.list):
        with open(copy.content(entry.sha256), "rb") as handle:
            assert (handle.read(), entry.metadata or {}) == wanted[entry.key]


def test_back_to_the_versions_of_a_list(azure, opened, tmp_path):
    fill(azure)
    wanted = azure.contents()
    bucket, pin = opened(azure), tmp_path / "pin.gz"
    inventory.take(bucket, pin)
    spoil(azure)
    azure.pending_copies = 2
    azure.asked.clear()
    back = copy_in.Rewind(bucket, pin, delete=True).run()
    assert azure.contents() == wanted and back["deleted_objects"] == 1
    assert back["written_objects"] == 9 and not any(method == "GET" and name for method, _comp, name in azure.asked), "contents were moved"
    azure.pending_copies = 0
    assert copy_in.Rewind(bucket, pin).run()["written_objects"] == 0


def test_what_had_no_version_when_it_was_listed_comes_back(azure, opened, tmp_path):
    """Versioning was switched on after the objects were written: each gets a version's name when it is overwritten."""
    azure.versioning = False
    fill(azure)
    azure.versioning = True
    azure.put("main/new", b"of after it was switched on")
    wanted = azure.contents()
    bucket, pin = opened(azure), tmp_path / "pin.gz"
    assert inventory.take(bucket, pin)["versioning"] == "enabled"
    assert {entry.version for entry in listing.read(pin) if entry.key != "main/new"} == {"null"}
    azure.later()
    for name in ("main/o/0", "main/o/1", "main/new"):
        azure.put(name, b"after")
    copy_in.Rewind(bucket, pin).run()
    assert azure.contents() == wanted


def test_versions_that_are_gone_are_told_before_anything_is_done(azure, opened, tmp_path):
    fill(azure)
    bucket, pin = opened(azure), tmp_path / "pin.gz"
    inventory.take(bucket, pin)
    lost = azure.current("main/o/0").version
    azure.put("main/o/0", b"after")
    azure.put("main/o/1", b"after")
    assert azure.delete("main/o/0", lost)
    with pytest.raises(StateError) as caught:
        copy_in.Rewind(bucket, pin).run()
    assert caught.value.reason == "versions_gone" and caught.value.detail == {"gone": ["main/o/0"]}
    assert azure.current("main/o/1").data == b"after"


def test_a_moment(azure, opened, tmp_path):
    fill(azure)
    wanted, then, bucket = azure.contents(), moment(azure), opened(azure)
    azure.later()
    azure.put("main/o/0", b"after")
    azure.put("main/later", b"after")
    inventory.take(bucket, tmp_path / "pin.gz", moment=then)
    assert {entry.key for entry in listing.read(tmp_path / "pin.gz")} == set(wanted)
    assert next(entry for entry in listing.read(tmp_path / "pin.gz") if entry.key == "main/o/0").size == len("then 0")
    # What came and went after the moment was not there then.
    azure.put("main/short", b"after")
    azure.delete("main/short")
    inventory.take(bucket, tmp_path / "pin.gz", moment=then)
    assert {entry.key for entry in listing.read(tmp_path / "pin.gz")} == set(wanted)
    # A deletion leaves no mark: before or after the moment, nobody knows.
    azure.delete("main/o/1")
    with pytest.raises(RefusedError) as caught:
        inventory.take(bucket, tmp_path / "pin.gz", moment=then)
    assert caught.value.reason == "moment_unknown" and "main/o/1" in str(caught.value)
    inventory.take(bucket, tmp_path / "pin.gz")
    assert "main/o/1" not in {entry.key for entry in listing.read(tmp_path / "pin.gz")}


def test_nothing_is_overwritten_where_versions_are_kept_no_more(azure, opened, take, give):
    """The blobs show versions, and versioning has been switched off since: only a write tells."""
    fill(azure)
    bucket = opened(azure)
    _result, copy = take(bucket)
    azure.put("main/o/0", b"precious")
    azure.versioning = False
    assert inventory.about(bucket, settle=False)["versioning"] == "enabled"
    with pytest.raises(RefusedError) as caught:
        give(bucket, copy)
    assert caught.value.reason == "versioning_off" and azure.current("main/o/0").data == b"precious"
    assert not any(blobs for name, blobs in azure.blobs.items() if "probe" in name)
    azure.versioning = True
    assert give(bucket, copy)["written_objects"] == 1
    assert not any(blobs for name, blobs in azure.blobs.items() if "probe" in name)


@pytest.mark.parametrize("kept", [True, False], ids=["versions", "no more"])
def test_what_is_live_changes_places_with_a_copy_and_back(azure, opened, take, tmp_path, kept):
    """By a list of the versions; by copies where the blobs show versions and a write shows that no more are kept."""
    fill(azure)
    restored = azure.contents()
    _result, copy = take(opened(azure), copy="1.restored")
    spoil(azure)
    live = azure.contents()
    azure.versioning = kept
    place = opened(azure).place
    names = Names(buckets.live_name(place), copy.path, str(tmp_path / "1.objects"))

    def ensure(state):
        return undo_point.ensure(state, str(tmp_path), "1", {"storage": names}, {"storage": buckets.BucketStore(place)}, {"instance": "kestra"})

    ensure("swapped")
    assert azure.contents() == restored and store.Store(names.undo).present is not kept
    ensure("reverted")
    assert azure.contents() == live
    assert not any(blobs for name, blobs in azure.blobs.items() if "probe" in name)


@pytest.mark.parametrize("tells", [True, False])
def test_a_hierarchical_namespace(azure, opened, take, give, tells):
    """Its directories are entries of their own; they come with what is in them. Where the account does not tell, a request shows it."""
    azure.hierarchical, azure.versioning, azure.tells = True, False, tells
    azure.put("main", metadata={"hdi_isfolder": "true"})
    azure.put("main/o", metadata={"hdi_isfolder": "true"})
    azure.put("main/.kestradirectory")
    azure.put("main/o/a", b"a")
    result, copy = take(opened(azure))
    assert result["objects"] == 2
    azure.delete("main/o/a")
    give(opened(azure), copy)
    assert azure.current("main/o/a").data == b"a"
    assert inventory.about(opened(azure), settle=False)["provider"]["hierarchical"] is True


def prove(opened, source, target, **how):
    return proof.prove(opened(source), opened(target), **{"limit": 1.0, "progress": Progress(), **how})


@pytest.fixture
def replica(azure):
    found = azure_fake.Azure()
    yield found
    found.close()


@pytest.fixture
def replicating(azure, replica, monkeypatch):
    """What is written into the one account goes to the other."""
    put = azure.put

    def both(name, data=b"", metadata=None, settings=None):
        found = put(name, data, metadata, settings)
        replica.put(name, data, metadata, settings)
        replica.replication[name] = {"x-ms-or-policy-id": "p1"}
        azure.replication[name] = {"x-ms-or-p1_r1": "complete"}
        return found

    monkeypatch.setattr(azure, "put", both)


def test_a_replica_is_proved_by_what_comes_there(azure, replica, replicating, opened):
    fill(azure)
    found = prove(opened, azure, replica)
    assert found["verdict"] == "proved" and found["lag"]["replica"] is True and found["rules"] is None
    assert found["status"]["completed"] == found["status"]["asked"] == found["objects"]["compared"] == 14
    assert not any(blobs for each in (azure, replica) for name, blobs in each.blobs.items() if "probe" in name)


def test_what_failed_and_what_is_missing_is_told(azure, replica, replicating, opened):
    fill(azure)
    azure.replication["main/o/0"] = {"x-ms-or-p1_r1": "failed"}
    replica.delete("main/o/0")
    replica.put("main/o/2", b"other!")
    found = prove(opened, azure, replica)
    assert {problem["what"] for problem in found["problems"]} == {"failed", "missing", "differs"} and found["verdict"] == "not_proved"


def test_a_container_that_is_not_replicated(azure, replica, opened):
    fill(azure)
    found = prove(opened, azure, replica)
    assert {problem["what"] for problem in found["problems"]} == {"rules_unknown", "lag", "missing"}
    with pytest.raises(RefusedError) as caught:
        replicate.present(opened(azure), opened(replica), "kestra-dr")
    assert caught.value.reason == "replication_unsupported" and "management" in str(caught.value)


def test_times_of_versions_are_their_names(azure, opened):
    """Last-Modified is later when somebody has set the properties of a blob: its content is still of before."""
    azure.put("main/a", b"a")
    azure.blobs["main/a"][0].modified += datetime.timedelta(hours=1)
    then = moment(azure)
    assert [entry.key for entry in inventory.entries(opened(azure), inventory.about(opened(azure), settle=False), then)] == ["main/a"]
