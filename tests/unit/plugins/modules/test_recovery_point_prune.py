# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prune module: lock, check mode, diff, policy."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import lock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect
from ansible_collections.kestra_community.dr.plugins.modules import recovery_point_prune
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.vault.vault_scene import OUTSIDE, Scene
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import kestra_runner


@pytest.fixture
def scene(tmp_path, monkeypatch):
    found = Scene(tmp_path, ages=(4, 3, 2, 1), verified=(4, 2))
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.setattr(recovery_point_prune, "Restic", lambda repository, redactor: found.restic)
    return found


def prune(scene, policy, check=False, run_id="run-1", **more):
    return kestra_runner.run(
        recovery_point_prune, check=check, diff=True, vault=str(scene.vault.vault), instance="kestra", policy=policy,
        repository=str(scene.restic.path), repository_password_file=str(scene.base / "password"),
        lock={"run_id": run_id, "owner": "ann@tower"}, **more)


def test_check_mode_shows_what_would_go_and_removes_nothing(scene):
    told = prune(scene, {"keep_last": 1}, check=True)
    assert told["changed"] is True and told["removed"] == [scene.ids[4], scene.ids[3]]
    assert scene.ids[4] in told["diff"]["before"] and scene.ids[4] not in told["diff"]["after"]
    assert scene.ids[2] in told["diff"]["after"]
    assert scene.vault.sealed_ids() == sorted(scene.ids.values()) and lock.read(scene.vault.lock) is None


def test_pruning_gives_its_lock_back(scene, tmp_path):
    told = prune(scene, {"keep_last": 1}, job_dir=str(tmp_path / "job"))
    assert told["removed"] == [scene.ids[4], scene.ids[3]] and told["kept"][scene.ids[2]] == ["last verified"]
    assert scene.vault.sealed_ids() == [scene.ids[2], scene.ids[1]]
    assert lock.read(scene.vault.lock) is None
    assert prune(scene, {"keep_last": 1})["changed"] is False


def test_inside_a_flow_the_lock_stays_with_the_flow(scene):
    lock.acquire(scene.vault.lock, run_id="run-1", flow="backup", owner="ann@tower", ttl=60)
    prune(scene, {"keep_last": 1})
    assert lock.read(scene.vault.lock)["run_id"] == "run-1"


@pytest.mark.parametrize("check", [True, False])
def test_another_flow_at_work_is_respected(scene, check):
    lock.acquire(scene.vault.lock, run_id="other", flow="restore", owner="bob@tower", ttl=60)
    told = prune(scene, {"keep_last": 1}, check=check)
    assert told["failed"] is True and told["reason"] == "locked" and "bob@tower" in told["msg"]
    assert scene.vault.sealed_ids() == sorted(scene.ids.values())


def test_while_nothing_is_verified_it_warns(tmp_path, monkeypatch):
    found = Scene(tmp_path, ages=(2, 1))
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.setattr(recovery_point_prune, "Restic", lambda repository, redactor: found.restic)
    told = prune(found, {"keep_last": 1})
    assert told["changed"] is False and "verified" in str(told["warnings"])


def test_a_negative_rule_is_refused(scene):
    assert prune(scene, {"keep_last": -1})["reason"] == "bad_policy"


@pytest.mark.parametrize("options, hosts, user", [
    ({}, ("http://es1:9200",), None),
    ({"login_hosts": ["https://es9:9200"], "login_user": "backup", "login_password": "sesame-1"}, ("https://es9:9200",), "backup")])
def test_what_another_cluster_holds_is_asked_for_there(scene, monkeypatch, options, hosts, user):
    seen = []

    def refuse(login):
        seen.append(login)
        raise ConnectError("It does not answer.", reason="unreachable")

    monkeypatch.setattr(connect, "connect", refuse)
    old = scene.seal(5, False, outside=OUTSIDE)
    scene.seal(0, False, outside=dict(OUTSIDE, snapshot_uuid="another"))
    told = prune(scene, {"keep_last": 1}, **options)
    assert [(login.hosts, login.user) for login in seen] == [(hosts, user)]
    assert old not in told["removed"] and told["kept"][old] == ["its snapshot is out of reach"] and "It does not answer" in str(told["warnings"])
    assert told["removed"] == [scene.ids[4], scene.ids[3]] and old in scene.vault.sealed_ids()
