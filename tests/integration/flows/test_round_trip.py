# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was there comes back: backup, loss, restore, undo, on real PostgreSQL and real restic."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def story(lab):
    """An offline recovery point of known content, then changes, then the loss of everything."""
    instance = lab.instance_id
    lab.ctl("kestra-server", "stop")
    # From here on nothing writes: what is backed up is what is compared.
    rows, files = lab.contents(), tree(lab.lab / "storage")
    offline = lab.play("backup", kestra_dr_consistency="offline").ok()
    return {"instance": instance, "rows": rows, "files": files, "offline": offline}


def tree(root: Path):
    return {str(path.relative_to(root)): (path.stat().st_mode, path.stat().st_uid, path.read_bytes() if path.is_file() else None)
            for path in root.rglob("*")}


def test_a_kestra_found_stopped_stays_stopped(lab, story):
    assert not lab.healthy()
    assert story["offline"].report["outcome"] == "ok"
    assert story["offline"].report["instance"]["name"] == "kestra"


def test_everything_lost_comes_back_exactly(lab, story):
    point = story["offline"].report["recovery_point"]
    lab.sql("drop database kestra with (force)", "postgres")
    shutil.rmtree(lab.lab / "storage")
    manifest = json.loads((lab.vault / "kestra" / "points" / point / "manifest.json").read_text())
    shutil.rmtree(lab.vault / "kestra" / "points")  # the repository alone has to be enough
    refused = lab.play("restore", kestra_dr_recovery_point=point)
    refused.failed("kestra_dr_confirm=" + manifest["instance"]["id"])
    done = lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=manifest["instance"]["id"]).ok()
    assert done.report["verdict"].startswith("verified (counts)")
    assert lab.wait_healthy()
    lab.ctl("kestra-server", "stop")
    assert tree_without_new(lab.lab / "storage", story["files"]) == story["files"]
    # The server has run since, so its own tables moved on; what it does not touch by itself must be the same.
    rows = lab.contents()
    for table in ("public.flows", "public.metrics", "public.flyway_schema_history", "public.settings", "public.dashboards"):
        assert rows[table] == story["rows"][table], table
    lab.ctl("kestra-server", "start")
    assert lab.wait_healthy()
    assert lab.instance_id == story["instance"]


def tree_without_new(root, known):
    return {name: value for name, value in tree(root).items() if name in known}


@pytest.mark.smoke
def test_pinned_runs_beside_kestra_and_verifies(lab):
    run = lab.play("backup").ok()
    assert lab.healthy()
    assert run.report["outcome"] == "ok" and "Kestra is as it was found" in run.report["kestra_line"]
    verified = lab.play("verify", kestra_dr_recovery_point="latest").ok()
    assert verified.report["verdict"] == "verified (counts)"
    listed = lab.play("list").ok()
    assert run.report["recovery_point"] in listed.output and "verified (counts)" in listed.output


@pytest.mark.smoke
def test_restore_over_a_live_instance_and_undo(lab):
    lab.api("/api/v1/flows", b"id: after\nnamespace: company.team\ntasks:\n  - id: log\n    type: io.kestra.plugin.core.log.Log\n"
            b"    message: made after the recovery point\n", "POST")
    point = lab.points()[-1]
    lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy()
    assert lab.sql("select count(*) from flows where id = 'after'") == [(0,)]
    lab.play("undo", kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy()
    assert lab.sql("select count(*) from flows where id = 'after'") == [(1,)]


def test_check_mode_writes_nothing(lab):
    lab.points() or lab.play("backup").ok()
    before = sorted(str(path) for path in lab.vault.rglob("*"))
    lab.play("backup", "--check").ok()
    lab.play("restore", "--check", kestra_dr_recovery_point="latest").ok()
    assert lab.healthy()
    assert sorted(str(path) for path in lab.vault.rglob("*")) == before
