# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input and bad moments: a clear error, nothing lost, Kestra as it was."""
from __future__ import annotations

import json
import time

import pytest


@pytest.fixture(autouse=True)
def _kestra_is_as_it_was(lab):
    assert lab.wait_healthy()
    before = lab.points()
    yield
    assert lab.wait_healthy(120)
    assert lab.points()[:len(before)] == before


def configuration(lab, tmp_path, edit):
    """A copy of Kestra's configuration, changed by edit(text) -> text."""
    path = tmp_path / "application.yml"
    path.write_text(edit((lab.lab / "kestra" / "application.yml").read_text()))
    return {"kestra_dr_config_files": [str(path)]}


def test_missing_configuration(lab):
    lab.play("preflight", kestra_dr_config_files=["/nowhere/application.yml"]).failed("/nowhere/application.yml")


def test_malformed_configuration_names_file_and_line_without_its_text(lab, tmp_path):
    path = tmp_path / "broken.yml"
    path.write_text("kestra:\n  queue: [never, closed\n  secret: hush-hush-value\n")
    run = lab.play("preflight", kestra_dr_config_files=[str(path)]).failed("broken.yml")
    assert "hush-hush-value" not in run.output


def test_unknown_backend(lab, tmp_path):
    asked = configuration(lab, tmp_path, lambda text: text.replace("postgres", "h2"))
    lab.play("preflight", **asked).failed("h2")


def test_wrong_database_password(lab, tmp_path):
    path = tmp_path / "env"
    path.write_text('DATASOURCES_POSTGRES_PASSWORD="not the one %@: ü"\n')
    run = lab.play("preflight", kestra_dr_config_environment_files=[str(path)]).failed("password")
    assert "not the one" not in run.output


def test_storage_missing(lab, tmp_path):
    path = tmp_path / "env"
    path.write_text("KESTRA_STORAGE_LOCAL_BASE_PATH=/nowhere/storage\n")
    lab.play("backup", kestra_dr_config_environment_files=[str(lab.lab / "kestra" / "kestra.env"), str(path)]).failed("/nowhere/storage")


def test_wrong_repository_password(lab, tmp_path):
    lab.point()
    wrong = tmp_path / "wrong"
    wrong.write_text("certainly-not-it\n")
    wrong.chmod(0o600)
    run = lab.play("backup", kestra_dr_repository_password_file=str(wrong)).failed("password")
    assert "certainly-not-it" not in run.output


def test_two_controllers_at_once(lab):
    """The second is refused and leaves the first alone, down to the configuration that the first has in its hands."""
    first = lab.begin("backup", kestra_dr_consistency="offline")
    try:
        lock = lab.vault / "kestra" / "lock.json"
        end = time.monotonic() + 120
        while not lock.exists() and time.monotonic() < end:
            time.sleep(0.2)
        run_id = json.loads(lock.read_text())["run_id"]
        lab.play("backup").failed(f"run {run_id}", f"kestra_dr_take_over={run_id}")
    finally:
        first.wait(300)
    assert first.returncode == 0, lab.told(first)[-3000:]
    assert "is sealed" in lab.told(first)


def test_a_kestra_alive_elsewhere_during_a_backup(lab, stray):
    before = lab.points()
    run = lab.play("backup", kestra_dr_quiet_seconds=4).failed("not quiet")
    assert run.report["outcome"] == "failed" and "as it was found" in run.report["kestra_line"]
    assert lab.points() == before and not lab.unsealed()


def test_a_kestra_alive_elsewhere_during_a_restore(lab, stray):
    """Refused before the swap: nothing live is replaced, and the same restore goes on once it is gone."""
    point, instance = lab.point(), lab.instance_id
    live = [lab.identity(), (lab.lab / "storage").stat().st_ino]
    run = lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=instance, kestra_dr_quiet_seconds=4).failed("not quiet")
    assert run.report["outcome"] == "failed" and run.report["headline"] == "nothing live was replaced"
    assert live == [lab.identity(), (lab.lab / "storage").stat().st_ino]
    assert lab.healthy() and not lab.held.exists()


def test_edited_manifest(lab):
    point = lab.point()
    path = lab.vault / "kestra" / "points" / point / "manifest.json"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept.replace(b'"mode": "pinned"', b'"mode": "offline"'))
        lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id).failed("changed after it was sealed")
    finally:
        path.write_bytes(kept)


def test_executions_that_go_on_by_themselves_are_not_killed(lab):
    lab.play("restore", kestra_dr_recovery_point=lab.point(), kestra_dr_confirm=lab.instance_id, kestra_dr_restore_pending="kill").failed(
        "run again by themselves", "Nothing was touched")


def test_damaged_pack(lab):
    point = lab.point()
    packs = sorted((path for path in (lab.repository / "data").rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime)
    rows = lab.sql("select count(*) from flows")
    kept = {path: path.read_bytes() for path in packs}
    try:
        for path, data in kept.items():
            path.chmod(0o600)
            path.write_bytes(data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:])
        run = lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id, kestra_dr_restic_cache_dir=str(
            lab.directory / "empty-cache"))
        run.failed("damaged")
        assert lab.healthy() and lab.sql("select count(*) from flows") == rows
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
