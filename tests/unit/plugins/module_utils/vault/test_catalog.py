# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalog says of points: only what their files prove."""
from __future__ import annotations

import itertools
import os
import random
import shutil
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest as manifests
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    IntegrityError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import write_json
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import catalog
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog

from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.vault.vault_scene import OUTSIDE

IDS = [f"2026112{day}T001500Z-a1b2c{day}" for day in (1, 2, 3)]
SUM = "0" * 64


def manifest_of(point, instance="kestra"):
    created = f"{point[0:4]}-{point[4:6]}-{point[6:8]}T00:15:00.000000Z"
    return {
        "schema": 1, "id": point, "created": created, "sealed": created, "collection": "1.0.0",
        "instance": {"name": instance, "id": instance, "uuid": None, "hosts": []},
        "kestra": {"version": "0.21.0", "edition": "OSS", "facts": "api"}, "tools": {}, "timings": {},
        "consistency": {"mode": "offline"}, "self_contained": True, "in_flight": {"total": 0, "executions": []},
        "components": {"config": {
            "held": "vault", "engine": "bundle", "strategy": "files", "snapshot": point[-6:] * 10, "path": "/config",
            "files": [{"path": "h1.json", "size": 3, "sha256": SUM}], "bytes": 3}}}


def put(vault, point, **changes):
    directory = vault.point_dir(point)
    os.makedirs(directory)
    data = manifests.dumps(dict(manifest_of(point, vault.instance), **changes))
    Path(directory, "manifest.json").write_bytes(data)
    Path(directory, "manifest.sha256").write_text(catalog.sum_line(manifests.digest(data)), encoding="ascii")


def verification(vault, point, finished, depth="counts", outcome="pass", digest=None):
    directory = os.path.join(vault.point_dir(point), "verifications")
    os.makedirs(directory, exist_ok=True)
    write_json(os.path.join(directory, f"{finished.replace(':', '')}.json"), {
        "schema": 1, "id": point, "finished": finished, "depth": depth, "outcome": outcome,
        "manifest_sha256": digest or vault.manifest_digest(point), "checks": []})


@pytest.fixture
def vault(tmp_path):
    found = Catalog(tmp_path, "kestra")
    os.makedirs(found.directory)
    write_json(found.marker, {"schema": 1})
    return found


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "é", None, "x" * 101])
def test_a_name_that_is_no_instance_reaches_no_path(tmp_path, name):
    with pytest.raises(ConfigError):
        Catalog(tmp_path, name)


def test_the_list_is_newest_first_and_complete(vault):
    for point in IDS:
        put(vault, point)
    lines = vault.summaries()
    assert [line["id"] for line in lines] == IDS[::-1]
    assert {
        key: lines[0][key] for key in ("mode", "self_contained", "bytes", "verdict", "depth", "pruning", "error")
    } == {
        "mode": "offline",
        "self_contained": True,
        "bytes": 3,
        "verdict": "unverified",
        "depth": None,
        "pruning": False,
        "error": None,
    }


def test_the_list_says_what_lies_elsewhere(vault):
    put(vault, IDS[0], self_contained=False, components={"search": OUTSIDE, "queue": {
        "held": "external", "engine": "kafka", "strategy": "rebuild", "system": "kafka:9092"}})
    (line,) = vault.summaries()
    assert line["error"] is None and line["self_contained"] is False
    assert line["elsewhere"] == [{"component": "search", "system": OUTSIDE["system"], "snapshot": OUTSIDE["snapshot_name"],
                                  "uuid": OUTSIDE["snapshot_uuid"]}]


def test_strangers_in_the_directory_are_no_points(vault):
    put(vault, IDS[0])
    os.mkdir(vault.below("points", "lost+found"))
    assert vault.sealed_ids() == [IDS[0]]


def test_a_changed_manifest_is_refused_and_listed_as_failed(vault):
    put(vault, IDS[0])
    path = Path(vault.point_dir(IDS[0]), "manifest.json")
    path.write_bytes(path.read_bytes().replace(b'"offline"', b'"pinned"'))
    with pytest.raises(IntegrityError) as caught:
        vault.manifest(IDS[0])
    assert caught.value.reason == "manifest_changed"
    line = vault.summary(IDS[0])
    assert (line["verdict"], line["error"]["reason"]) == ("failed", "manifest_changed")


def test_any_flipped_bit_of_the_manifest_or_its_digest_is_found(vault):
    put(vault, IDS[0])
    chance = random.Random(20261123)
    for name in ("manifest.json", "manifest.sha256"):
        path = Path(vault.point_dir(IDS[0]), name)
        whole = path.read_bytes()
        for _round in range(150):
            damaged = bytearray(whole)
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(damaged))
            with pytest.raises(IntegrityError):
                vault.manifest(IDS[0])
        path.write_bytes(whole)
    vault.manifest(IDS[0])


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256"])
def test_a_missing_file_is_a_failed_point_not_a_crash(vault, name):
    put(vault, IDS[0])
    os.unlink(os.path.join(vault.point_dir(IDS[0]), name))
    assert vault.summary(IDS[0])["verdict"] == "failed"


def test_a_point_in_the_wrong_place_is_refused(vault):
    put(vault, IDS[0])
    shutil.move(vault.point_dir(IDS[0]), vault.point_dir(IDS[1]))
    with pytest.raises(IntegrityError) as caught:
        vault.manifest(IDS[1])
    assert caught.value.reason == "manifest_misplaced"


def test_a_point_nobody_knows(vault):
    put(vault, IDS[0])
    with pytest.raises(StateError) as caught:
        vault.manifest(IDS[1])
    assert IDS[0] in caught.value.hint


def test_the_standing_follows_the_files(vault):
    put(vault, IDS[0])
    verification(vault, IDS[0], "2026-11-23T01:00:00.000000Z", "digest")
    assert vault.summary(IDS[0])["verdict"] == "unverified (digest passed)"
    verification(vault, IDS[0], "2026-11-23T02:00:00.000000Z", "counts")
    verification(vault, IDS[0], "2026-11-23T03:00:00.000000Z", "digest")
    line = vault.summary(IDS[0])
    assert (line["verdict"], line["depth"], line["verified_at"]) == (
        "verified",
        "counts",
        "2026-11-23T02:00:00.000000Z",
    )
    verification(vault, IDS[0], "2026-11-23T04:00:00.000000Z", "digest", "differs")
    assert vault.summary(IDS[0])["verdict"] == "differs"


def test_a_verification_that_cannot_be_read_proves_nothing(vault):
    put(vault, IDS[0])
    directory = Path(vault.point_dir(IDS[0]), "verifications")
    directory.mkdir()
    for number, text in enumerate(["", "{", "[]", '{"outcome": "pass"}']):
        (directory / f"{number}.json").write_text(text)
    assert vault.summary(IDS[0])["verdict"] == "unverified"


def test_a_verification_of_another_manifest_proves_nothing(vault):
    put(vault, IDS[0])
    verification(vault, IDS[0], "2026-11-23T01:00:00.000000Z", digest="f" * 64)
    assert vault.summary(IDS[0])["verdict"] == "unverified"


def test_a_verification_of_another_point_proves_nothing(vault):
    for point in IDS[:2]:
        put(vault, point)
    verification(vault, IDS[0], "2026-11-23T01:00:00.000000Z", digest=vault.manifest_digest(IDS[1]))
    shutil.move(os.path.join(vault.point_dir(IDS[0]), "verifications"), vault.point_dir(IDS[1]))
    assert vault.summary(IDS[1])["verdict"] == "unverified"


def test_random_verifications_never_make_more_than_they_prove():
    """Verified only if some pass of counts or deeper came after the last failure."""
    chance = random.Random(20261123)
    for _round in range(2000):
        entries = [{"finished": f"2026-11-23T00:00:{second:02d}.000000Z", "depth": chance.choice(catalog.DEPTHS),
                    "outcome": chance.choice(["pass", "pass", "pass", "differs", "failed"]),
                    "manifest_sha256": chance.choice(["ours", "ours", "other"])}
                   for second in chance.sample(range(60), chance.randint(0, 6))]
        ours = sorted(
            (entry for entry in entries if entry["manifest_sha256"] == "ours"), key=lambda entry: entry["finished"]
        )
        since_failure = list(itertools.takewhile(lambda entry: entry["outcome"] == "pass", reversed(ours)))
        found = catalog.standing(entries, "ours")
        proved = any(entry["depth"] in ("counts", "references", "boot") for entry in since_failure)
        assert (found["verdict"] == "verified") is proved
        if not since_failure and ours:
            assert found["verdict"] == ours[-1]["outcome"]
        if not ours:
            assert found == {"verdict": "unverified", "depth": None, "verified_at": None}


@pytest.mark.parametrize(
    "depth, outcome, verdict",
    [
        ("digest", "pass", "unverified (digest passed)"),
        ("structure", "pass", "unverified (structure passed)"),
        ("counts", "pass", "verified"),
        ("boot", "pass", "verified"),
        ("counts", "differs", "differs"),
        ("digest", "failed", "failed"),
    ],
)
def test_the_words(depth, outcome, verdict):
    assert catalog.verdict_of(depth, outcome) == verdict


def test_choosing(vault):
    for point in IDS:
        put(vault, point)
    verification(vault, IDS[0], "2026-11-23T01:00:00.000000Z")
    verification(vault, IDS[2], "2026-11-23T01:00:00.000000Z", outcome="differs")
    lines = vault.summaries()
    assert catalog.choose(lines, "latest", "kestra")["id"] == IDS[1]
    assert catalog.choose(lines, "latest_verified", "kestra")["id"] == IDS[0]
    assert catalog.choose(lines, IDS[2], "kestra")["id"] == IDS[2]
    with pytest.raises(StateError) as caught:
        catalog.choose(lines, "20200101T000000Z-000000", "kestra")
    assert IDS[2] in caught.value.hint
    with pytest.raises(ConfigError):
        catalog.choose(lines, "newest", "kestra")
    with pytest.raises(StateError):
        catalog.choose([], "latest", "kestra")


def test_the_latest_is_a_whole_one_as_long_as_there_is_one():
    """Who restores the latest on a bad day does not mean an archive of definitions."""
    archive, whole = ({"id": name, "verdict": "unverified", "pruning": False, "components": dict.fromkeys(components, {})}
                      for name, components in (("archive", ("metadata", "config")), ("whole", ("database", "metadata"))))
    assert catalog.choose([archive, whole], "latest", "kestra") == whole
    assert catalog.choose([archive], "latest", "kestra") == archive


def test_a_point_being_pruned_is_marked_and_cannot_be_chosen(vault):
    put(vault, IDS[0])
    write_json(os.path.join(vault.point_dir(IDS[0]), "pruning.json"), {})
    lines = vault.summaries()
    assert lines[0]["pruning"] is True
    for wanted in ("latest", IDS[0]):
        with pytest.raises(StateError):
            catalog.choose(lines, wanted, "kestra")


def test_a_vault_of_a_newer_schema_or_none_at_all(vault, tmp_path):
    vault.check_vault()
    write_json(vault.marker, {"schema": 2})
    with pytest.raises(StateError) as caught:
        vault.check_vault()
    assert caught.value.reason == "vault_schema"
    with pytest.raises(StateError) as caught:
        Catalog(tmp_path / "none", "kestra").check_vault()
    assert caught.value.reason == "vault_missing"


def test_undo_points_newest_first(vault):
    os.mkdir(vault.below("undo"))
    for point in IDS[:2]:
        write_json(vault.below("undo", f"{point}.json"), {"id": point})
    assert [item["id"] for item in vault.undo_points()] == IDS[1::-1]


@pytest.mark.parametrize("bad", [b"", b"{", b"\xff", b"[]", b"null"])
def test_a_damaged_journal_or_open_point_is_listed_and_stops_nothing(vault, bad):
    os.mkdir(vault.below("undo"))
    journal = Path(vault.below("undo", f"{IDS[0]}.json"))
    journal.write_bytes(bad)
    (line,) = vault.undo_points()
    assert (line["id"], line["state"], line["file"]) == (IDS[0], "unreadable", str(journal))
    assert str(journal) in line["error"]["msg"]
    os.makedirs(vault.open_dir(IDS[1]))
    Path(vault.open_dir(IDS[1]), "open.json").write_bytes(bad)
    assert vault.open_line(IDS[1])["run_id"] is None


def test_the_version_in_the_manifest_is_that_of_the_collection():
    galaxy = Path(__file__).resolve().parents[5] / "galaxy.yml"
    assert f"\nversion: {manifests.COLLECTION}\n" in galaxy.read_text(encoding="utf-8")
