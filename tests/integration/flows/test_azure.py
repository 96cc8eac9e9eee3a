# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows with the storage in a container of Azure, on an emulator, which keeps no versions: what differs from a bucket."""
from __future__ import annotations

import shutil

import pytest
from ansible_collections.kestra_community.dr.tests.integration.object_storage import azure_server

# A blob that is the beginning of another one's name, metadata, a mark by itself.
ODD = {"main/odd/a blank é": (b"odd", {"description": "kept", "expirationDate": "2030-01-01T00:00:00Z"}),
       "main/odd/empty directory/.kestradirectory": (b"", {}), "main/odd": (b"", {})}


pytestmark = pytest.mark.full("the playbooks with the storage in a container of Azure, on an emulator")


@pytest.fixture(scope="session")
def lab(azure_lab):
    return azure_lab


def test_a_wrong_key_is_refused_before_anything_stops(lab, tmp_path):
    before = lab.ctl("kestra-server", "status").stdout
    path = tmp_path / "env"
    path.write_text(f"KESTRA_STORAGE_AZURE_SHARED__KEY__ACCOUNT__ACCESS__KEY={azure_server.KEY[:-8]}AAAAAAA=\n")
    files = [str(lab.lab / "kestra" / "kestra.env"), str(path)]
    lab.play("backup", kestra_dr_config_environment_files=files).failed("refuses the secret key")
    assert lab.ctl("kestra-server", "status").stdout == before and lab.healthy() and not lab.points() and not lab.unsealed()


def test_everything_lost_comes_back_exactly(lab):
    """Neither objects nor catalog nor the local copy: out of the repository alone."""
    instance = lab.instance_id
    lab.ctl("kestra-server", "stop")
    for name, (data, metadata) in ODD.items():
        lab.container.upload_blob(name, data, metadata=metadata)
    rows, objects = lab.contents(), lab.objects()
    point = lab.play("backup", "-vvv", kestra_dr_consistency="offline").ok().report["recovery_point"]
    component = lab.manifest(point)["components"]["storage"]
    assert component["engine"] == "azure" and component["objects"] == len(objects)
    confirmed = {"kestra_dr_recovery_point": point, "kestra_dr_confirm": lab.manifest(point)["instance"]["id"]}
    lab.sql("drop database kestra with (force)", "postgres")
    lab.empty()
    for name in ("points", "objects"):
        shutil.rmtree(lab.vault / "kestra" / name)
    done = lab.play("restore", **confirmed).ok()
    assert done.report["verdict"].startswith("verified (counts)")
    assert lab.wait_healthy()
    lab.ctl("kestra-server", "stop")
    found = lab.objects()
    assert {name: found.get(name) for name in objects} == objects
    assert lab.contents()["public.flows"] == rows["public.flows"]
    lab.ctl("kestra-server", "start")
    assert lab.wait_healthy() and lab.instance_id == instance


def test_pinned_runs_beside_kestra_and_verifies_with_every_file_named(lab, tmp_path):
    """Its replica gets nothing: that is told and refuses nothing."""
    assert lab.wait_healthy()
    account = tmp_path / "account"
    account.write_text(f"AZURE_STORAGE_ACCOUNT={azure_server.ACCOUNT}\nAZURE_STORAGE_KEY={azure_server.KEY}\n")
    account.chmod(0o600)
    lab.server.container("replica")
    replica = {"bucket": "replica", "endpoint": lab.server.endpoint, "credentials_file": str(account)}
    run = lab.play("backup", "-vvv", kestra_dr_storage_replica=replica, kestra_dr_storage_replica_limit=1).ok()
    told = " ".join(run.report["warnings"])
    assert "cannot be told" in told and "did not reach the target within 1 s" in told
    assert lab.healthy() and "Kestra is as it was found" in run.report["kestra_line"]
    verified = lab.play("verify", "-vvv", kestra_dr_recovery_point="latest", kestra_dr_verify_depth="references").ok()
    assert verified.report["verdict"] == "verified (references)"


def test_restore_over_a_live_instance_and_undo(lab):
    """What came after the recovery point goes with the restore and comes back with the undo, from copies: there are no versions."""
    assert lab.wait_healthy()
    path, before, point = "/api/v1/namespaces/company.team/kv/after", lab.identity(), lab.point()
    lab.api(path, b'"later"', "PUT", "application/json")
    name = next(name for name in lab.objects() if name.endswith("company/team/_kv/after.ion"))
    restored = lab.play("restore", "-vvv", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() != before and name not in lab.objects()
    assert restored.report["particulars"]["old_storage"].endswith(".objects")
    lab.play("undo", "-vvv", kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() == before and name in lab.objects()


def test_no_secret_was_shown(lab):
    assert {("backup", True, 0), ("verify", True, 0), ("restore", True, 0), ("undo", True, 0)} <= lab.played
    assert lab.watch.tree(lab.directory, but=[lab.lab, lab.repository, lab.collections]) > 20
    assert lab.watch.seen == []
