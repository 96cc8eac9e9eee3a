# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list, the choice of one, and the way back of a lost vault directory."""
from __future__ import annotations

import os
import shutil

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import LockedError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import write_json
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import points, ship
from ansible_collections.kestra_community.dr.plugins.modules import recovery_point_info
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.vault.vault_scene import Scene
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import kestra_runner


@pytest.fixture
def scene(tmp_path, monkeypatch):
    found = Scene(tmp_path, ages=(3, 2, 1), verified=(2,))
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.setattr(recovery_point_info, "Restic", lambda repository, redactor: found.restic)
    return found


def info(scene, check=False, **more):
    return kestra_runner.run(recovery_point_info, check=check, vault=str(scene.vault.vault), instance="kestra", **more)


def rebuild(scene, check=False, **more):
    return info(scene, check, rebuild=True, repository=str(scene.restic.path),
                repository_password_file=str(scene.base / "password"), **more)


def test_all_are_listed_newest_first(scene):
    told = info(scene)
    assert [line["id"] for line in told["recovery_points"]] == [scene.ids[age] for age in (1, 2, 3)]
    assert [line["verdict"] for line in told["recovery_points"]] == ["unverified", "verified", "unverified"]
    assert told["changed"] is False and told["open"] == [] and told["undo_points"] == [] and told["lock"] is None
    assert "manifest" not in told


@pytest.mark.parametrize("wanted, age", [("latest", 1), ("latest_verified", 2)])
def test_one_is_chosen_with_its_manifest(scene, wanted, age):
    told = info(scene, id=wanted)
    assert [line["id"] for line in told["recovery_points"]] == [scene.ids[age]]
    assert told["manifest"]["id"] == scene.ids[age]


def test_open_and_undo_points_and_the_lock_are_told(scene):
    opened = points.open_point(scene.vault, run_id="run-9")
    os.makedirs(scene.vault.below("undo"))
    write_json(scene.vault.below("undo", "x.json"), {"id": "x", "state": "swapped"})
    told = info(scene)
    assert [(line["id"], line["run_id"]) for line in told["open"]] == [(opened["id"], "run-9")]
    assert told["undo_points"][0]["state"] == "swapped"


def test_an_unknown_one_and_a_vault_that_is_not_there_are_errors(scene, tmp_path):
    assert info(scene, id="20200101T000000Z-000000")["reason"] == "no_such_point"
    shutil.rmtree(scene.vault.vault)
    assert info(scene)["reason"] == "vault_missing"


def test_a_changed_manifest_is_listed_as_failed_and_cannot_be_chosen(scene):
    with open(scene.vault.point_dir(scene.ids[1]) + "/manifest.json", "a", encoding="utf-8") as handle:
        handle.write(" ")
    told = info(scene)
    assert told["recovery_points"][0]["verdict"] == "failed"
    assert told["recovery_points"][0]["error"]["reason"] == "manifest_changed"
    assert info(scene, id=scene.ids[1])["reason"] == "manifest_changed"
    assert info(scene, id="latest")["manifest"]["id"] == scene.ids[2]


def test_a_lost_vault_directory_comes_back(scene):
    before = info(scene)["recovery_points"]
    shutil.rmtree(scene.vault.vault)
    planned = rebuild(scene, check=True)
    assert planned["changed"] is True and planned["missing"] == sorted(scene.ids.values())
    assert not os.path.exists(scene.vault.vault)
    told = rebuild(scene)
    assert (
        told["changed"] is True and told["restored"] == sorted(scene.ids.values()) and told["recovery_points"] == before
    )
    assert rebuild(scene)["changed"] is False


def test_a_repository_that_gives_nothing_back_is_an_error(scene):
    shutil.rmtree(scene.vault.vault)
    for path in scene.restic.path.glob("*.tar"):
        path.write_bytes(b"")
    told = rebuild(scene)
    assert told["failed"] is True and "could not be restored from the repository" in told["msg"]


def test_a_damaged_point_keeps_nobody_from_the_others(scene):
    damaged, newest = scene.ids[2], scene.ids[1]
    for item in ship.shipped(ship.own_snapshots(scene.vault, scene.restic))[damaged]:
        (scene.restic.path / f"{item['id']}.tar").write_bytes(b"")
    shutil.rmtree(scene.vault.vault)
    for changed in (True, False):  # and the next time, when no other is missing
        told = rebuild(scene, id="latest")
        assert told["changed"] is changed and told["manifest"]["id"] == newest
        assert [item["id"] for item in told["failed_points"]] == [damaged]
        assert f"{damaged} could not be restored" in str(told["warnings"])
    told = rebuild(scene, id=damaged)
    assert told["failed"] is True and told["reason"] == "repository_damaged" and damaged in told["msg"]
    told = rebuild(scene, id="latest_verified")  # it was that one: the refusal says why it is not there
    assert told["reason"] == "no_such_point" and damaged in str(told["warnings"])


@pytest.mark.parametrize("wanted, answer", [(1, True), (None, True), ("latest", False), ("latest_verified", False)])
def test_while_a_point_may_still_come_nobody_knows_the_latest(scene, monkeypatch, wanted, answer):
    def locked(snapshot, path):
        raise LockedError("It is locked.", reason="repository_locked")
    monkeypatch.setattr(scene.restic, "ls", locked)
    shutil.rmtree(scene.vault.point_dir(scene.ids[3]))
    told = rebuild(scene, **({"id": scene.ids.get(wanted, wanted)} if wanted else {}))
    assert f"{scene.ids[3]} could not be restored" in str(told["warnings"])
    if answer:
        assert "failed" not in told and [item["damaged"] for item in told["failed_points"]] == [False]
    else:
        assert told["reason"] == "repository_locked" and "by its id" in told["msg"]


def test_an_older_copy_is_told(scene):
    point = scene.ids[2]
    first = ship.shipped(ship.own_snapshots(scene.vault, scene.restic))[point][0]
    newest = ship.ship(scene.vault, point, scene.restic)
    (scene.restic.path / f"{newest}.tar").write_bytes(b"")
    shutil.rmtree(scene.vault.point_dir(point))
    told = rebuild(scene)
    assert told["restored"] == [point] and [item["time"] for item in told["older_points"]] == [first["time"]]
    assert f"{point} was restored as it was shipped at {first['time']}; later verifications of it are lost" in str(told["warnings"])


def test_rebuilding_needs_a_repository(scene):
    assert info(scene, rebuild=True)["failed"] is True
