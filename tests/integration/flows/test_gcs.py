# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows with the storage in a bucket of Google Cloud Storage, on an emulator of it."""
from __future__ import annotations

import shutil

import pytest


pytestmark = pytest.mark.full("the playbooks with the storage in a bucket of Google, on an emulator")


@pytest.fixture(scope="session")
def lab(gcs_lab):
    return gcs_lab


def test_everything_lost_comes_back_exactly(lab):
    """Neither objects nor catalog nor the local copy: out of the repository alone."""
    instance = lab.instance_id
    lab.api("/api/v1/namespaces/company.team/kv/kept", b'"kept"', "PUT", "application/json")
    lab.ctl("kestra-server", "stop")
    odd = lab.bucket.blob("prod/odd/a blank é")
    odd.metadata, odd.cache_control = {"expirationDate": "2030-01-01T00:00:00Z"}, "no-cache"
    odd.upload_from_string(b"odd", content_type="text/x-odd")
    rows, objects = lab.contents(), lab.objects()
    assert len(objects) > 5 and all(key.startswith("prod/") for key in objects)
    point = lab.play("backup", "-vvv", kestra_dr_consistency="offline").ok().report["recovery_point"]
    component = lab.manifest(point)["components"]["storage"]
    assert component["engine"] == "gcs" and component["objects"] and component["markers"]
    confirmed = {"kestra_dr_recovery_point": point, "kestra_dr_confirm": lab.manifest(point)["instance"]["id"]}
    lab.sql("drop database kestra with (force)", "postgres")
    lab.empty()
    for name in ("points", "objects"):
        shutil.rmtree(lab.vault / "kestra" / name)
    assert lab.play("restore", **confirmed).ok().report["verdict"].startswith("verified (counts)")
    assert lab.wait_healthy()
    lab.ctl("kestra-server", "stop")
    found = lab.objects()
    assert {key: found.get(key) for key in objects} == objects
    assert lab.bucket.get_blob("prod/odd/a blank é").cache_control == "no-cache"
    assert lab.contents()["public.flows"] == rows["public.flows"]
    lab.ctl("kestra-server", "start")
    assert lab.wait_healthy() and lab.instance_id == instance


@pytest.mark.parametrize("versioned", [True, False])
def test_pinned_verified_restored_and_undone(lab, versioned):
    """What came after the recovery point goes with the restore and comes back with the undo, with and without generations."""
    lab.bucket.versioning_enabled = versioned
    lab.bucket.patch()
    assert lab.wait_healthy()
    assert lab.play("preflight").ok()
    run = lab.play("backup", "-vvv").ok()
    point = run.report["recovery_point"]
    assert lab.healthy() and "Kestra is as it was found" in run.report["kestra_line"]
    verified = lab.play("verify", "-vvv", kestra_dr_recovery_point="latest", kestra_dr_verify_depth="references").ok()
    assert verified.report["verdict"] == "verified (references)"
    path, before = "/api/v1/namespaces/company.team/kv/after", lab.identity()
    lab.api(path, b'"later"', "PUT", "application/json")

    def kept():
        return "company/team/_kv/after.ion" in "\n".join(lab.objects())

    assert kept()
    restored = lab.play("restore", "-vvv", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() != before and not kept()
    assert restored.report["particulars"]["old_storage"].endswith(".objects")
    lab.play("undo", "-vvv", kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() == before and kept()
    lab.api(path, method="DELETE")


def test_a_bucket_that_is_not_there_is_refused_before_anything_stops(lab, tmp_path):
    path = tmp_path / "env"
    path.write_text("KESTRA_STORAGE_GCS_BUCKET=none\n")
    before = lab.ctl("kestra-server", "status").stdout
    lab.play("backup", kestra_dr_config_environment_files=[str(lab.lab / "kestra" / "kestra.env"), str(path)]).failed("There is no bucket none")
    assert lab.ctl("kestra-server", "status").stdout == before and lab.healthy()


def test_no_secret_was_shown(lab):
    assert {("backup", True, 0), ("verify", True, 0), ("restore", True, 0), ("undo", True, 0)} <= lab.played
    assert lab.watch.tree(lab.directory, but=[lab.lab, lab.repository, lab.collections]) > 20
    assert not list((lab.directory / "run").glob("*/*")), "configuration with secrets was left in the runtime directory"
    assert lab.watch.seen == []
