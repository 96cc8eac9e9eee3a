# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verify module: what is recorded, what fails and how it is told. Points of configuration only, no server needed."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import verify_mysql, verify_postgresql
from ansible_collections.kestra_community.dr.plugins.modules import recovery_point_verify
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.vault.vault_scene import OUTSIDE, Scene
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import kestra_runner


@pytest.fixture
def scene(tmp_path, monkeypatch):
    found = Scene(tmp_path / "scene", ages=(2, 1))
    (found.base / "password").write_text("correct horse")
    (found.base / "password").chmod(0o600)
    monkeypatch.setattr(recovery_point_verify, "Restic", lambda repository, redactor: found.restic)
    return found


def verify(scene, check=False, point="latest", **more):
    options = {"depth": "digest", "repository": str(scene.restic.path)}
    options.update(repository_password_file=str(scene.base / "password"), **more)
    return kestra_runner.run(
        recovery_point_verify, check=check, vault=str(scene.vault.vault), instance="kestra", id=point, **options)


def tree(scene):
    return sorted(str(path) for path in scene.base.rglob("*"))


def damage(scene, age):
    snapshot = scene.vault.manifest(scene.ids[age])["components"]["config"]["snapshot"]
    path = scene.restic.path / f"{snapshot}.tar"
    path.write_bytes(path.read_bytes().replace(b'"schema"', b'"Schema"'))


def test_a_pass_is_recorded_and_shipped(scene):
    told = verify(scene)
    assert told["id"] == scene.ids[1] and told["changed"] is True and told["instance_id"] == "kestra"
    assert (told["verdict"], told["verdict_line"], told["depth"]) == (("unverified (digest passed)",) * 2 + ("digest",))
    assert {check["verdict"] for check in told["checks"]} == {"pass"}
    assert os.path.exists(told["file"]) and scene.vault.summary(scene.ids[1])["verdict"] == told["verdict"]
    shipped = [
        item for item in scene.restic.snapshots(["component=manifest"]) if f"point={scene.ids[1]}" in item["tags"]
    ]
    assert len(shipped) == 2


def test_structure_reads_the_bundle(scene):
    told = verify(scene, depth="structure")
    assert told["failed"] is True and told["verdict"] == "differs"
    assert told["checks"][-1]["found"] == {"h1.json": "not a bundle"}  # the scene's has no list of files


@pytest.mark.parametrize("key, raw, verdict", [
    ("instance", bytes(range(200, 255)), "unverified (structure passed)"), ("instance", b'{"type": "FULL", "rows": "may be read by all"}', "differs"),
    ("given", bytes(range(200, 228)), "differs"), ("none", b'{"type": "FULL", "rows": "may be read by all"}', "unverified (digest passed)")])
def test_of_a_metadata_archive_no_more_is_said_than_can_be_seen(scene, key, raw, verdict):
    scene.ids[0] = scene.seal(0, False, "metadata", ("backup-20261123120000.kestra", raw),
                              {"engine": "kestra", "strategy": "archive", "key": key})
    told = verify(scene, depth="counts")
    assert told["id"] == scene.ids[0] and told["verdict_line"].startswith(verdict)
    assert [check["depth"] for check in told["checks"] if check["name"].startswith("metadata: archive")] == ["structure"] * (key != "none")


def test_a_metadata_archive_that_was_changed_is_found(scene):
    raw = bytes(range(200, 255))
    scene.ids[0] = scene.seal(0, False, "metadata", ("backup-20261123120000.kestra", raw),
                              {"engine": "kestra", "strategy": "archive", "key": "instance"})
    path = scene.restic.path / f"{scene.vault.manifest(scene.ids[0])['components']['metadata']['snapshot']}.tar"
    path.write_bytes(path.read_bytes().replace(raw, raw[:-1] + b"x"))
    told = verify(scene, depth="structure")
    assert told["verdict"] == "differs" and told["checks"][-1]["name"] == "metadata: files"


def test_a_difference_fails_with_all_facts_at_hand(scene):
    damage(scene, 1)
    told = verify(scene)
    assert told["failed"] is True and told["reason"] == "verification_differs" and "config: files" in told["msg"]
    assert told["verdict"] == told["detail"]["verdict"] == "differs" and told["checks"] == told["detail"]["checks"]
    assert scene.vault.summary(scene.ids[1])["verdict"] == "differs"
    assert scene.vault.summary(scene.ids[2])["verdict"] == "unverified"


def test_as_a_job_a_difference_fails_whoever_waits(scene, tmp_path):
    damage(scene, 1)
    verify(scene, job_dir=str(tmp_path / "job"))
    state = jobs.read(tmp_path / "job")["state"]
    assert state["outcome"] == "failed" and state["error"]["detail"]["verdict"] == "differs"


def test_as_a_job_a_pass_is_taken_over_by_the_same_job(scene, tmp_path):
    first = verify(scene, job_dir=str(tmp_path / "job"))
    again = verify(scene, job_dir=str(tmp_path / "job"))
    assert again["reattached"] is True and again["file"] == first["file"]
    assert len(scene.vault.verifications(scene.ids[1])) == 1


def test_check_mode_looks_and_writes_nothing(scene):
    before = tree(scene)
    told = verify(scene, check=True)
    assert told["changed"] is True and {check["verdict"] for check in told["checks"]} == {"pass"}
    assert tree(scene) == before


def test_without_a_connection_nothing_is_recorded(scene, monkeypatch):
    def unreachable(tags):
        raise ConnectError("The repository cannot be reached.", reason="repository_unreachable")
    monkeypatch.setattr(scene.restic, "snapshots", unreachable)
    told = verify(scene)
    assert told["failed"] is True and told["reason"] == "repository_unreachable" and "verdict" not in told
    assert scene.vault.verifications(scene.ids[1]) == []


def test_a_verdict_that_cannot_be_shipped_stands_with_a_warning(scene, monkeypatch):
    def read_only(*args, **options):
        raise ConnectError("Read-only.")
    monkeypatch.setattr(scene.restic, "backup", read_only)
    told = verify(scene)
    assert "failed" not in told and "Read-only." in str(told["warnings"])


@pytest.mark.parametrize("point, reason", [("20200101T000000Z-000000", "no_such_point"), ("newest", "bad_id")])
def test_a_point_nobody_knows(scene, point, reason):
    assert verify(scene, point=point)["reason"] == reason


def test_a_point_whose_removal_has_begun_is_no_candidate(scene):
    Path(scene.vault.point_dir(scene.ids[1]), "pruning.json").write_text("{}")
    assert verify(scene, point=scene.ids[1])["reason"] == "no_such_point"
    assert verify(scene)["id"] == scene.ids[2]


def test_references_need_both_database_and_storage(scene):
    told = verify(scene, depth="references")
    assert told["reason"] == "references_need_both" and scene.vault.verifications(scene.ids[1]) == []
    assert verify(scene, depth="references", references_percent=0)["reason"] == "bad_percent"


def parameters(**given):
    names = recovery_point_verify.LOGIN + ("scratch_dir", "scratch_user", "bin_dir", "jobs")
    return dict(dict.fromkeys(names), login_db="postgres", connect_timeout=10, **given)


@pytest.mark.parametrize("depth, reason", [("digest", "digest_outside"), ("counts", "scratch_missing")])
def test_what_is_not_in_the_vault_is_asked_of_a_cluster(scene, depth, reason):
    point = scene.seal(0, False, outside=OUTSIDE)
    told = verify(scene, point=point, depth=depth)
    assert told["failed"] is True and told["reason"] == reason and scene.vault.verifications(point) == []


def test_without_a_server_named_a_private_one_is_used():
    assert recovery_point_verify.engine(parameters(), Redactor(), "postgresql").login is None
    assert isinstance(recovery_point_verify.engine(parameters(), Redactor(), None), verify_postgresql.Postgresql)
    found = recovery_point_verify.engine(parameters(jobs=3), Redactor(), "mysql")
    assert isinstance(found, verify_mysql.Mysql) and found.login is None and found.jobs == 3


def test_a_mysql_server_named_is_used(tmp_path):
    (tmp_path / "password").write_text("hunter22\n")
    redactor = Redactor()
    given = parameters(
        login_host="scratch", login_password_file=str(tmp_path / "password"), ssl_mode="verify-full", ssl_root_cert="/ca")
    login = recovery_point_verify.engine(given, redactor, "mysql").login
    assert (login.host, login.port, login.user, login.password) == ("scratch", 3306, "root", "hunter22")
    assert (login.ssl_mode, login.ssl_ca) == ("verify_identity", "/ca")
    assert "hunter22" not in redactor.scrub("login with hunter22")


def test_a_server_named_is_used_and_its_password_hidden(tmp_path):
    (tmp_path / "password").write_text("hunter22\n")
    redactor = Redactor()
    login = recovery_point_verify.engine(
        parameters(login_host="scratch", login_user="tester", login_password_file=str(tmp_path / "password")), redactor,
        "postgresql"
    ).login
    assert (login.host, login.user, login.password, login.maintenance) == ("scratch", "tester", "hunter22", "postgres")
    assert "hunter22" not in redactor.scrub("login with hunter22") and "hunter22" not in repr(login)


@pytest.mark.parametrize(
    "source, found, refused", [("7", "7", True), ("7", "8", False), (None, None, False), ("7", None, False)]
)
def test_the_source_is_never_the_scratch_server(source, found, refused):
    if not refused:
        verify_postgresql.require_other(source, found)
        return
    with pytest.raises(RefusedError) as caught:
        verify_postgresql.require_other(source, found)
    assert caught.value.reason == "scratch_is_source" and caught.value.detail == {"server": source}
