# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows with the storage in a bucket: what differs from a directory, and the same stories told once more."""
from __future__ import annotations

import json
import shlex
import shutil
import sys

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.killed import FULL
from ansible_collections.kestra_community.dr.tests.integration.object_storage import s3_server

# Objects as a file system cannot hold them: a key that is the beginning of another one, metadata, a mark by itself.
ODD = {"main/odd/a blank é": {"Body": b"odd", "Metadata": {"description": "kept", "expirationDate": "2030-01-01T00:00:00Z"}},
       "main/odd/empty directory/": {"Body": b""}, "main/odd/empty": {"Body": b"", "ContentType": "text/x-odd"},
       "main/odd/encoded": {"Body": b"x" * 70000, "ContentEncoding": "identity", "CacheControl": "no-cache"}}


@pytest.fixture(scope="session")
def lab(bucket_lab):
    return bucket_lab


@pytest.fixture(scope="module")
def story(lab):
    """An offline recovery point of known content. Kestra stays stopped."""
    instance = lab.instance_id
    lab.ctl("kestra-server", "stop")
    for key, what in ODD.items():
        lab.server.client().put_object(Bucket=lab.bucket, Key=key, **what)
    rows, objects = lab.contents(), lab.objects()
    offline = lab.play("backup", "-vvv", kestra_dr_consistency="offline").ok()
    return {"instance": instance, "rows": rows, "objects": objects, "point": offline.report["recovery_point"]}


def test_a_wrong_secret_key_is_refused_before_anything_stops(lab, tmp_path):
    before = lab.ctl("kestra-server", "status").stdout
    path = tmp_path / "env"
    path.write_text("KESTRA_STORAGE_S3_SECRET__KEY=not-the-right-one\n")
    files = [str(lab.lab / "kestra" / "kestra.env"), str(path)]
    run = lab.play("backup", kestra_dr_config_environment_files=files).failed("credentials")
    assert "not-the-right-one" not in run.output
    assert lab.ctl("kestra-server", "status").stdout == before and lab.healthy() and not lab.points() and not lab.unsealed()


def test_everything_lost_comes_back_exactly(lab, story):
    """Neither objects nor catalog nor the local copy: out of the repository alone."""
    confirmed = {"kestra_dr_recovery_point": story["point"], "kestra_dr_confirm": lab.manifest(story["point"])["instance"]["id"]}
    lab.sql("drop database kestra with (force)", "postgres")
    lab.empty()
    for name in ("points", "objects"):
        shutil.rmtree(lab.vault / "kestra" / name)
    done = lab.play("restore", "-vvv", **confirmed).ok()
    assert done.report["verdict"].startswith("verified (counts)")
    assert lab.wait_healthy()
    lab.ctl("kestra-server", "stop")
    objects = lab.objects()
    assert {key: objects.get(key) for key in story["objects"]} == story["objects"]
    rows = lab.contents()
    assert rows["public.flows"] == story["rows"]["public.flows"]
    lab.ctl("kestra-server", "start")
    assert lab.wait_healthy() and lab.instance_id == story["instance"]


def test_pinned_runs_beside_kestra_and_verifies_with_every_file_named(lab, tmp_path):
    """Its replica gets nothing, because this server does not replicate: that is told and refuses nothing."""
    assert lab.wait_healthy()
    account = tmp_path / "account"
    account.write_text(f"AWS_ACCESS_KEY_ID={s3_server.ACCESS_KEY}\nAWS_SECRET_ACCESS_KEY={shlex.quote(s3_server.SECRET_KEY)}\n")
    account.chmod(0o600)
    replica = {"bucket": lab.server.bucket("replica"), "endpoint": lab.server.endpoint, "credentials_file": str(account)}
    run = lab.play("backup", "-vvv", kestra_dr_storage_replica=replica, kestra_dr_storage_replica_limit=1).ok()
    told = " ".join(run.report["warnings"])
    assert "does not tell its rules" in told and "did not reach the target within 1 s" in told and "WARNING: Replica: " in run.output
    assert {"name": "replica behind, seconds", "value": "more than 1.0"} in run.report["figures"]
    assert [check["verdict"] for check in run.report["checks"] if check["name"] == "replication of the storage"] == ["fail"]
    assert lab.healthy() and "Kestra is as it was found" in run.report["kestra_line"]
    component = lab.manifest(run.report["recovery_point"])["components"]["storage"]
    assert component["engine"] == "s3" and component["objects"] and component["markers"]
    verified = lab.play("verify", "-vvv", kestra_dr_recovery_point="latest", kestra_dr_verify_depth="references").ok()
    assert verified.report["verdict"] == "verified (references)"


def kept(lab, key):
    """Whether a key-value pair is there, as Kestra has it."""
    return f"company/team/_kv/{key}.ion" in "\n".join(lab.objects())


# What Kestra writes as soon as it runs again, while the bucket is still to be copied.
WRITES = """#!{python}
import subprocess, boto3
subprocess.run(["{ctl}", "start"], check=True)
s3 = boto3.client("s3", endpoint_url={endpoint!r}, region_name="us-east-1", aws_access_key_id={access!r}, aws_secret_access_key={secret!r})
s3.put_object(Bucket={bucket!r}, Key={key!r}, Body=b"now")
s3.put_object(Bucket={bucket!r}, Key={key!r} + ".v2", Body=b"later")
"""


@pytest.mark.full("a restore over a living bucket and its undo as playbooks (here its modules, and that of a directory)")
@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
def test_restore_over_a_live_instance_and_undo(lab, versioning, tmp_path):
    """What came after the recovery point goes with the restore and comes back with the undo, with and without versions."""
    lab.server.client().put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": versioning})
    assert lab.wait_healthy()
    lab.api("/api/v1/namespaces/company.team/kv/rewritten", b'"then"', "PUT", "application/json")
    key, then = next((key, about) for key, about in lab.objects().items() if key.endswith("company/team/_kv/rewritten.ion"))
    lab.server.client().delete_object(Bucket=lab.bucket, Key=key + ".v2")
    start = tmp_path / "start"
    start.write_text(WRITES.format(
        python=sys.executable, ctl=lab.lab / "bin" / "kestra-server", endpoint=lab.server.endpoint, access=s3_server.ACCESS_KEY,
        secret=s3_server.SECRET_KEY, bucket=lab.bucket, key=key))
    start.chmod(0o700)
    point = lab.play("backup", kestra_dr_start_command=str(start)).ok().report["recovery_point"]
    assert lab.objects()[key][0] == b"now"
    path, before = "/api/v1/namespaces/company.team/kv/after", lab.identity()
    lab.api(path, b'"later"', "PUT", "application/json")
    assert kept(lab, "after")
    restored = lab.play("restore", "-vvv", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() != before and not kept(lab, "after")
    # As it was when Kestra was stopped.
    assert lab.objects()[key] == then and key + ".v2" not in lab.objects()
    assert restored.report["particulars"]["old_storage"].endswith(".objects")
    lab.play("undo", "-vvv", kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() == before and kept(lab, "after")
    lab.api(path, method="DELETE")


@pytest.mark.full("a swap of a bucket that fails and is taken back as a playbook (here its modules)")
def test_a_failure_while_objects_are_written_is_taken_back(lab, tmp_path):
    """An account that may read and not write is found out when the first object changes: Kestra runs again on what it had."""
    lab.server.user("reader", "may-only-read")
    resources = [f"arn:aws:s3:::{lab.bucket}", f"arn:aws:s3:::{lab.bucket}/*"]
    lab.server.client().put_bucket_policy(Bucket=lab.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ["reader"]}, "Action": ["s3:Get*", "s3:List*"], "Resource": resources}]}))
    reader = tmp_path / "reader"
    reader.write_text("AWS_ACCESS_KEY_ID=reader\nAWS_SECRET_ACCESS_KEY=may-only-read\n")
    reader.chmod(0o600)
    assert lab.wait_healthy()
    point, before = lab.point(), lab.identity()
    lab.api("/api/v1/namespaces/company.team/kv/held", b'"on"', "PUT", "application/json")
    run = lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id,
                   kestra_dr_storage_credentials_file=str(reader)).failed("The swap failed and was taken back", "Give these credentials the right")
    assert run.report["headline"] == "nothing live was replaced" and "as it was found" in run.report["kestra_line"]
    assert lab.healthy() and lab.identity() == before and kept(lab, "held") and not lab.held.exists()


def test_no_secret_was_shown(lab):
    wanted = {("backup", True, 0), ("verify", True, 0), ("restore", True, 0)} | ({("undo", True, 0)} if FULL else set())
    assert wanted <= lab.played
    assert lab.watch.tree(lab.directory, but=[lab.lab, lab.repository, lab.collections]) > 20
    assert not list((lab.directory / "run").glob("*/*")), "configuration with secrets was left in the runtime directory"
    assert lab.watch.seen == []
