# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shipping, rebuilding and pruning against a repository that is a plain directory; killed before every effect."""
from __future__ import annotations

import json
import os
import shutil
import tarfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, lock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError,
    LockedError,
    RefusedError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import write_json
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import in_use, points, prune, ship
from ansible_collections.kestra_community.dr.tests.unit.kills import every_kill
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.vault.vault_scene import NOW, OUTSIDE, Scene


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path, ages=(4, 3, 2, 1), verified=(4, 2))


def test_the_policy_is_applied_to_vault_and_repository(scene):
    done = scene.prune(keep_last=1)
    gone, kept = [scene.ids[4], scene.ids[3]], [scene.ids[2], scene.ids[1]]
    assert done["removed"] == gone and sorted(done["kept"]) == sorted(kept)
    assert scene.vault.sealed_ids() == kept
    assert {point for point, _component in scene.components()} == set(kept)
    scene.check_whole(kept)
    assert (scene.restic.path / "pruned").read_text() == "x"
    assert not os.path.exists(scene.vault.prune_marker)


def test_pruning_again_does_nothing(scene):
    scene.prune(keep_last=1)
    done = scene.prune(keep_last=1)
    assert (done["removed"], done["finished"], done["orphans"]) == ([], [], [])
    assert (scene.restic.path / "pruned").read_text() == "x"


def test_while_nothing_is_verified_nothing_goes(tmp_path):
    scene = Scene(tmp_path, ages=(3, 2, 1))
    done = scene.prune(keep_last=1)
    assert done["removed"] == [] and len(scene.vault.sealed_ids()) == 3 and "verified" in done["warnings"][0]


def copies(scene, tmp_path_factory):
    above = tmp_path_factory.mktemp("copies")
    return lambda: scene.copy(above / str(len(os.listdir(above))))


def test_kill_9_before_every_effect_of_a_prune(scene, tmp_path_factory):
    prepare = copies(scene, tmp_path_factory)
    kills = 0
    for _number, scene in every_kill(prepare, lambda scene: scene.prune(keep_last=1)):
        kills += 1
        kept = [scene.ids[2], scene.ids[1]]
        scene.check_whole(kept)
        usable = [line["id"] for line in scene.vault.summaries() if not line["pruning"] and line["verdict"] != "failed"]
        scene.check_whole(usable)  # what is still listed as usable is whole
        assert scene.vault.summary(scene.ids[2])["verdict"] == "verified"
        scene.prune(keep_last=1)
        assert scene.vault.sealed_ids() == kept
        assert {point for point, _component in scene.components()} == set(kept)
        assert os.listdir(scene.vault.below("removing")) == [] and not os.path.exists(scene.vault.prune_marker)
        assert (scene.restic.path / "pruned").exists()
    assert kills > 15


def test_a_vault_lost_after_a_killed_prune_is_rebuilt_without_hollow_points(scene, tmp_path_factory):
    prepare = copies(scene, tmp_path_factory)
    for _number, scene in every_kill(prepare, lambda scene: scene.prune(keep_last=1)):
        shutil.rmtree(scene.vault.vault)
        ship.rebuild(scene.vault, scene.restic)
        scene.check_whole(scene.vault.sealed_ids())
        assert {scene.ids[2], scene.ids[1]} <= set(scene.vault.sealed_ids())


def test_a_removal_that_has_begun_is_finished_although_the_policy_changed(scene):
    write_json(os.path.join(scene.vault.point_dir(scene.ids[3]), "pruning.json"), {})
    done = scene.prune(keep_last=10)
    assert done["finished"] == [scene.ids[3]] and done["removed"] == []
    assert scene.ids[3] not in {point for point, _component in scene.components()}


def test_a_point_that_is_being_verified_stays_until_the_next_prune(scene):
    read, gone = scene.ids[4], scene.ids[3]
    with in_use.reading(scene.vault, read), in_use.reading(scene.vault, read):
        done = scene.prune(keep_last=1)
        assert done["removed"] == [gone] and done["kept"][read] == ["being verified"]
        assert read in done["warnings"][0]
        scene.check_whole([read, scene.ids[2], scene.ids[1]])
    assert scene.prune(keep_last=1)["removed"] == [read]
    assert os.listdir(scene.vault.below("verifying")) == []


def test_a_point_that_is_being_removed_is_not_read(scene):
    with in_use.removing(scene.vault, scene.ids[3]) as free:
        assert free
        with pytest.raises(RefusedError) as refused, in_use.reading(scene.vault, scene.ids[3]):
            pass
    assert refused.value.reason == "pruning"


def test_a_lost_lock_ends_the_prune_before_the_next_point(scene):
    def lost():
        raise StateError("lost", reason="lock_lost")
    with pytest.raises(StateError):
        prune.prune(scene.vault, {"keep_last": 1}, scene.restic, still_ours=lost, now=NOW)
    scene.check_whole(scene.ids.values())


def test_the_lock_is_kept_alive_while_a_module_works(tmp_path):
    path = str(tmp_path / "kestra" / "lock.json")
    lock.acquire(path, run_id="r", flow="prune", owner="x", ttl=1)
    with lock.keeping(path, run_id="r", ttl=0.3) as still_ours:
        first = still_ours()["expires"]
        deadline = datetime.now(timezone.utc) + timedelta(seconds=5)
        while still_ours()["expires"] == first:
            assert datetime.now(timezone.utc) < deadline
        lock.acquire(path, run_id="other", flow="backup", owner="y", ttl=60, take_over="r")
        with pytest.raises(StateError):
            still_ours()
    assert lock.read(path)["run_id"] == "other"


def test_the_last_look_refuses_the_last_verified_point(scene, monkeypatch):
    """Whatever a plan says."""
    monkeypatch.setattr(prune, "decide", lambda *args: {
        "remove": [scene.ids[2]], "keep": {}, "warnings": [], "unfinished": []})
    with pytest.raises(RefusedError) as caught:
        scene.prune(keep_last=1)
    assert caught.value.reason == "last_verified"
    scene.check_whole(scene.ids.values())


def test_a_snapshot_another_manifest_names_is_not_forgotten(scene):
    """Two manifests that name one snapshot: only a mistake makes that, and it must not cost data."""
    shared = scene.vault.manifest(scene.ids[3])["components"]["config"]["snapshot"]
    point = scene.seal(0, False)
    path = Path(scene.vault.point_dir(point), "manifest.json")
    manifest = json.loads(path.read_text())
    manifest["components"]["config"]["snapshot"] = shared
    data = points.manifests.dumps(manifest)
    path.write_bytes(data)
    Path(scene.vault.point_dir(point), "manifest.sha256").write_text(points.sum_line(points.manifests.digest(data)))
    with pytest.raises(RefusedError) as caught:
        scene.prune(keep_last=2)
    assert caught.value.reason == "snapshot_shared"
    assert (scene.ids[3], "config") in scene.components()


def stray(scene, age_hours, point="20260101T000000Z-0000aa", component="database"):
    source = scene.base / "stray"
    source.mkdir(exist_ok=True)
    return scene.restic.add(scene.base, "stray", points.tags("kestra", point, component),
                            clock.utc_text(NOW - timedelta(hours=age_hours)))


def test_what_aborted_backups_left_is_removed_once_it_is_old(scene):
    old, young = stray(scene, 25), stray(scene, 23)
    done = scene.prune(keep_last=10)
    assert done["orphans"] == [old]
    assert young in {item["id"] for item in scene.restic.snapshots(["kestra-dr"])}
    scene.check_whole(scene.ids.values())


def test_snapshots_of_an_open_point_are_no_orphans(scene):
    opened = points.open_point(scene.vault, run_id="run-2")
    stray(scene, 99, opened["id"])
    assert scene.prune(keep_last=10)["orphans"] == []


def test_a_lost_vault_directory_does_not_make_orphans_of_everything(scene):
    shutil.rmtree(scene.vault.vault)
    points.make_vault(scene.vault)
    assert scene.prune(keep_last=1)["orphans"] == []
    assert len(scene.components()) == 8


def test_snapshots_of_another_instance_are_not_ours(scene):
    source = scene.base / "stray"
    source.mkdir()
    scene.restic.add(
        scene.base, "stray", points.tags("other", "20260101T000000Z-0000aa", "database"), "2020-01-01T00:00:00Z"
    )
    assert scene.prune(keep_last=10)["orphans"] == []


def test_a_lost_vault_directory_comes_back_with_its_verdicts(scene):
    before = scene.vault.summaries()
    shutil.rmtree(scene.vault.vault)
    done = ship.rebuild(scene.vault, scene.restic)
    assert done == {"restored": sorted(scene.ids.values()), "older": [], "failed": []}
    assert scene.vault.summaries() == before
    assert ship.rebuild(scene.vault, scene.restic) == {"restored": [], "older": [], "failed": []}
    assert not os.path.exists(scene.vault.below("rebuilding"))


def test_the_newest_shipped_directory_counts(scene):
    point = scene.ids[1]
    directory = Path(scene.vault.point_dir(point), "verifications")
    directory.mkdir()
    write_json(
        directory / "1.json",
        {
            "id": point,
            "finished": "2026-11-23T00:00:00Z",
            "depth": "counts",
            "outcome": "pass",
            "manifest_sha256": scene.vault.manifest_digest(point),
        },
    )
    ship.ship(scene.vault, point, scene.restic)
    shutil.rmtree(scene.vault.point_dir(point))
    ship.rebuild(scene.vault, scene.restic)
    assert scene.vault.summary(point)["verdict"] == "verified"


def test_kill_9_before_every_effect_of_a_rebuild(tmp_path, tmp_path_factory):
    lost = Scene(tmp_path, ages=(2, 1), verified=(2,))
    shutil.rmtree(lost.vault.vault)
    prepare = copies(lost, tmp_path_factory)
    for _number, scene in every_kill(prepare, lambda scene: ship.rebuild(scene.vault, scene.restic)):
        for point in scene.vault.sealed_ids():
            scene.vault.manifest(point)  # whole, or not there
        ship.rebuild(scene.vault, scene.restic)
        assert scene.vault.sealed_ids() == sorted(scene.ids.values())
        assert scene.vault.summary(scene.ids[2])["verdict"] == "verified"


@pytest.mark.parametrize(
    "name, kind",
    [
        ("{point}/../../evil", tarfile.REGTYPE),
        ("{point}/deep/er/file", tarfile.REGTYPE),
        ("other/manifest.json", tarfile.REGTYPE),
        ("{point}/link", tarfile.SYMTYPE),
        (".", tarfile.REGTYPE),
        ("{point}/verifications/../../evil", tarfile.REGTYPE),
    ],
)
def test_a_foreign_file_in_a_shipped_manifest_is_written_nowhere(tmp_path, name, kind):
    scene = Scene(tmp_path / "s", ages=(1,))
    point = scene.ids[1]
    snapshot = ship.shipped(scene.restic.snapshots(["kestra-dr"]))[point][-1]["id"]
    with tarfile.open(scene.restic.path / f"{snapshot}.tar", "a") as archive:
        member = tarfile.TarInfo(name.format(point=point))
        member.type = kind
        member.linkname = "/etc/passwd"
        archive.addfile(member)
    shutil.rmtree(scene.vault.vault)
    done = ship.rebuild(scene.vault, scene.restic)
    assert done["restored"] == [] and done["failed"][0]["reason"] == "manifest_foreign_file"
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("sealed_one_is_there", [False, True])
def test_a_changed_manifest_in_the_repository_is_not_restored_and_the_others_are(tmp_path, sealed_one_is_there):
    scene = Scene(tmp_path, ages=(2, 1))
    point = scene.ids[2]
    path = Path(scene.vault.point_dir(point), "manifest.json")
    sealed = path.read_bytes()
    path.write_bytes(sealed.replace(b'"live"', b'"pinned"'))
    ship.ship(scene.vault, point, scene.restic)
    if not sealed_one_is_there:
        scene.restic.forget([ship.shipped(ship.own_snapshots(scene.vault, scene.restic))[point][0]["id"]])
    shutil.rmtree(scene.vault.vault)
    done = ship.rebuild(scene.vault, scene.restic)
    told = done["older" if sealed_one_is_there else "failed"]
    assert [(item["id"], item["reason"]) for item in told] == [(point, "manifest_changed")]
    assert scene.vault.sealed_ids() == done["restored"] == sorted(scene.ids.values())[0 if sealed_one_is_there else 1:]
    assert not sealed_one_is_there or path.read_bytes() == sealed


def test_what_a_dump_leaves_out_in_silence_is_missed(scene, monkeypatch):
    """As restic 0.14 and 0.18.0 do over a directory they cannot read: the verdict of the newest copy is not lost unsaid."""
    point = scene.ids[2]
    ship.ship(scene.vault, point, scene.restic)
    first, newest = ship.shipped(ship.own_snapshots(scene.vault, scene.restic))[point]
    listed = {snapshot: scene.restic.ls(snapshot, f"/{point}") for snapshot in (first["id"], newest["id"])}
    monkeypatch.setattr(scene.restic, "ls", lambda snapshot, path: listed[snapshot])
    shutil.rmtree(Path(scene.vault.point_dir(point), "verifications"))
    with tarfile.open(scene.restic.path / f"{newest['id']}.tar", "w") as archive:
        archive.add(scene.vault.point_dir(point), arcname=point)
    shutil.rmtree(scene.vault.point_dir(point))
    done = ship.rebuild(scene.vault, scene.restic)
    assert [(item["id"], item["time"], item["reason"]) for item in done["older"]] == [(point, first["time"], "manifest_unreadable")]
    assert scene.vault.summary(point)["verdict"] == "verified"


def test_an_older_copy_is_only_for_damage(scene, monkeypatch):
    asked = []

    def locked(snapshot, path):
        asked.append(snapshot)
        raise LockedError("busy", reason="repository_locked")
    ship.ship(scene.vault, scene.ids[1], scene.restic)
    newest = ship.shipped(ship.own_snapshots(scene.vault, scene.restic))[scene.ids[1]][-1]["id"]
    shutil.rmtree(scene.vault.point_dir(scene.ids[1]))
    monkeypatch.setattr(scene.restic, "ls", locked)
    done = ship.rebuild(scene.vault, scene.restic)
    assert asked == [newest] and done["older"] == []
    assert [(item["reason"], item["damaged"]) for item in done["failed"]] == [("repository_locked", False)]


def test_a_repository_out_of_reach_changes_nothing(scene, monkeypatch):
    def unreachable(tags):
        raise ConnectError("no")
    monkeypatch.setattr(scene.restic, "snapshots", unreachable)
    with pytest.raises(ConnectError):
        scene.prune(keep_last=1)
    assert scene.vault.sealed_ids() == sorted(scene.ids.values())


class Elsewhere:
    """What holds snapshots for recovery points: one file for each, named by its uuid."""

    def __init__(self, scene, *held):
        self.path, self.down = scene.base / "elsewhere", False
        self.path.mkdir(exist_ok=True)
        for uuid in held:
            (self.path / uuid).touch()

    @property
    def held(self):
        return set(os.listdir(self.path))

    def require(self, component):
        if self.down:
            raise ConnectError("es1 does not answer.", reason="unreachable")

    def delete(self, component):
        self.require(component)
        (self.path / component["snapshot_uuid"]).unlink(missing_ok=True)


def outside(uuid):
    return dict(OUTSIDE, snapshot_uuid=uuid)


@pytest.fixture
def scattered(tmp_path):
    """Points whose indices are elsewhere; the newer one is verified."""
    scene = Scene(tmp_path / "scattered")
    scene.ids = {age: scene.seal(age, verified=age == 1, outside=outside(f"uuid-{age}")) for age in (2, 1)}
    return scene


def test_what_is_elsewhere_goes_with_its_point(scattered):
    elsewhere = Elsewhere(scattered, "uuid-2", "uuid-1", "another's")
    assert scattered.prune(elsewhere, keep_last=1)["removed"] == [scattered.ids[2]]
    assert elsewhere.held == {"uuid-1", "another's"} and scattered.vault.sealed_ids() == [scattered.ids[1]]


def test_a_point_stays_whole_while_what_holds_it_does_not_answer(scattered):
    elsewhere = Elsewhere(scattered, "uuid-2", "uuid-1")
    elsewhere.down = True
    done = scattered.prune(elsewhere, keep_last=1)
    assert done["removed"] == [] and done["kept"][scattered.ids[2]] == ["its snapshot is out of reach"]
    assert "es1 does not answer" in done["warnings"][0] and not scattered.vault.summary(scattered.ids[2])["pruning"]
    scattered.check_whole([scattered.ids[2], scattered.ids[1]])
    elsewhere.down = False
    assert scattered.prune(elsewhere, keep_last=1)["removed"] == [scattered.ids[2]] and elsewhere.held == {"uuid-1"}


def test_a_snapshot_that_another_point_names_is_never_deleted(tmp_path):
    scene = Scene(tmp_path)
    elsewhere = Elsewhere(scene, "uuid")
    for age in (2, 1):
        scene.seal(age, verified=age == 1, outside=outside("uuid"))
    with pytest.raises(RefusedError) as refused:
        scene.prune(elsewhere, keep_last=1)
    assert refused.value.reason == "snapshot_shared" and elsewhere.held == {"uuid"} and len(scene.vault.sealed_ids()) == 2


def test_kill_9_before_every_effect_of_a_prune_with_snapshots_elsewhere(scattered, tmp_path_factory):
    Elsewhere(scattered, "uuid-2", "uuid-1")
    kills = 0
    for _number, scene in every_kill(copies(scattered, tmp_path_factory), lambda scene: scene.prune(Elsewhere(scene), keep_last=1)):
        kills += 1
        elsewhere = Elsewhere(scene)
        assert "uuid-1" in elsewhere.held
        for line in scene.vault.summaries():  # what is still listed as usable is whole
            assert line["pruning"] or line["verdict"] == "failed" or line["elsewhere"][0]["uuid"] in elsewhere.held
        scene.prune(elsewhere, keep_last=1)
        assert scene.vault.sealed_ids() == [scattered.ids[1]] and elsewhere.held == {"uuid-1"}
    assert kills > 8
