# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enterprise: the metadata archive in recovery points, maintenance mode around it, on the stand-in's Enterprise face."""
from __future__ import annotations

import json
import re
import time

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.conftest import running
from ansible_collections.kestra_community.dr.tests.integration.flows.killed import DOWNTIME, NOT_UNDER_RUNNER, killer, left
from ansible_collections.kestra_community.dr.tests.integration.flows.labs import EnterpriseLab, OtherEnterpriseLab

ALL = ["database", "storage", "config", "metadata"]
FLOWS = "select namespace, id, revision, source_code from flows order by 1, 2, 3"


@pytest.fixture(autouse=True)
def _kestra_works_as_it_did(enterprise_lab):
    yield
    assert enterprise_lab.wait_healthy() and not enterprise_lab.in_maintenance and not enterprise_lab.held.exists()
    assert not enterprise_lab.unsealed()


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.3)


def configured(lab, name, edit):
    """Restarts Kestra with a file of its configuration changed by edit(text) -> text; returns what it was."""
    path = lab.lab / "kestra" / name
    before = path.read_text()
    lab.ctl("kestra-server", "stop")
    path.write_text(edit(before))
    assert lab.ctl("kestra-server", "start").returncode == 0 and lab.wait_healthy()
    return before


@pytest.fixture(scope="module")
def archive(enterprise_lab):
    """A recovery point of the archive alone, taken while work was under way."""
    lab = enterprise_lab
    before = lab.process
    slow = lab.api("/api/v1/main/executions/company.team/slow", b"duration=PT8S", "POST", "application/x-www-form-urlencoded")["id"]
    until(lambda: lab.sql("select count(*) from worker_job_running") == [(1,)], 30)
    run = lab.play("backup", "-vvv", kestra_dr_components=["metadata"]).ok()
    assert lab.process == before, "it was not stopped"
    until(lambda: lab.sql(f"select state_current::text from executions where key = '{slow}'") == [("SUCCESS",)], 60)
    return {"run": run, "point": run.report["recovery_point"], "flows": lab.sql(FLOWS), "instance": lab.instance_id}


def test_the_archive_alone_is_drained_and_never_offline(enterprise_lab, archive):
    report, manifest = archive["run"].report, enterprise_lab.manifest(archive["point"])
    assert list(manifest["components"]) == ["metadata"] and manifest["self_contained"]
    consistency = manifest["consistency"]
    assert consistency["mode"] == "drained" and consistency["downtime_seconds"] == 0 and consistency["stopped"] is None
    assert consistency["observed"]["seconds"] >= 3 and consistency["observed"]["went_on"]["heartbeats"]
    assert consistency["maintenance_seconds"] > 3 and "in maintenance mode for" in report["kestra_line"]
    summary = manifest["components"]["metadata"]["summary"]
    assert summary["FLOW"] == len(archive["flows"]) and summary["USER"] == 1 and "EXECUTION" not in summary
    listed = enterprise_lab.play("list").ok()
    assert f"{archive['point']}  drained" in listed.output


def test_of_an_encrypted_archive_no_more_is_said_than_can_be_seen(enterprise_lab, archive):
    verified = enterprise_lab.play("verify", kestra_dr_recovery_point=archive["point"]).ok()
    assert verified.report["verdict"] == "unverified (structure passed)"
    assert [check["name"] for check in verified.report["checks"] if check["name"].startswith("metadata")] == [
        "metadata: snapshot is in the repository", "metadata: files", "metadata: archive looks encrypted"]


def test_the_same_instance_gets_back_what_it_lost(enterprise_lab, archive):
    lab = enterprise_lab
    lab.sql("delete from flows where id = 'hello'")
    wanted = {"kestra_dr_recovery_point": archive["point"], "kestra_dr_confirm": archive["instance"]}
    lab.play("restore", **wanted).failed("has 3 flows", "kestra_dr_metadata_over_live=true", "Nothing was touched")
    done = lab.play("restore", "-vvv", kestra_dr_metadata_over_live=True, **wanted).ok()
    assert done.report["counts"] == lab.manifest(archive["point"])["components"]["metadata"]["summary"]
    assert done.report["checks"][0]["verdict"] == "pass" and done.report["verdict"].startswith("unverified (metadata restored")
    assert lab.sql(FLOWS) == archive["flows"]


@pytest.mark.full("the metadata archive into another instance (here into the one that lost it)")
def test_another_instance_takes_it(enterprise_lab, archive):
    source = enterprise_lab
    with running(EnterpriseLab, kestra_dr_lab_flows=False) as other:
        assert other.sql("select count(*) from flows") == [(0,)]
        other.play("restore", kestra_dr_recovery_point=archive["point"], kestra_dr_confirm=archive["instance"],
                   kestra_dr_repository=str(source.repository), kestra_dr_metadata_key_file=str(source.lab / "kestra" / "encryption-key"),
                   kestra_dr_repository_password_file=str(source.lab / "restic-password")).ok()
        assert other.sql(FLOWS) == archive["flows"]
        assert other.sql("select count(*) from executions where flow_id = 'slow'") == [(0,)], "executions are not in the archive"
        assert not other.in_maintenance, "the archive was made in maintenance mode"


@pytest.mark.full("the metadata archive into another backend, version and tenant")
def test_another_backend_version_and_tenant_take_it(enterprise_lab, archive):
    source = enterprise_lab
    tenant = source.play("backup", kestra_dr_components=["metadata"], kestra_dr_metadata_type="TENANT", kestra_dr_metadata_tenant="main").ok()
    with running(OtherEnterpriseLab, kestra_dr_lab_flows=False) as other:
        wanted = {"kestra_dr_confirm": archive["instance"], "kestra_dr_repository": str(source.repository),
                  "kestra_dr_metadata_key_file": str(source.lab / "kestra" / "encryption-key"),
                  "kestra_dr_repository_password_file": str(source.lab / "restic-password")}
        renamed = {**wanted, "kestra_dr_metadata_to_tenant": "copy", "kestra_dr_metadata_over_live": True}
        other.play("restore", kestra_dr_recovery_point=archive["point"], **renamed).failed("whole instance", "Nothing was touched")
        assert other.sql("select count(*) from flows") == [(0,)]
        done = other.play("restore", kestra_dr_recovery_point=archive["point"], **wanted).ok()
        assert other.sql(FLOWS) == archive["flows"] and done.report["counts"] == source.manifest(archive["point"])["components"]["metadata"]["summary"]
        assert done.report["particulars"]["notes_on_the_archive"].startswith("The archive is of Kestra 1.3.26, this is 2.0.0.")
        other.play("restore", kestra_dr_recovery_point=tenant.report["recovery_point"], **renamed).ok()
        of_tenant = "select namespace, id, revision, source_code from flows where tenant_id = '%s' order by 1, 2, 3"
        assert other.sql(of_tenant % "copy") == other.sql(of_tenant % "main") == archive["flows"]
        assert not other.in_maintenance


def test_a_whole_recovery_point_with_the_archive_in_it(enterprise_lab):
    lab = enterprise_lab
    slow = lab.api("/api/v1/main/executions/company.team/slow", b"duration=PT15S", "POST", "application/x-www-form-urlencoded")["id"]
    taken = lab.play("backup", kestra_dr_components=ALL, kestra_dr_finish_seconds=90).ok().report
    point, manifest = taken["recovery_point"], lab.manifest(taken["recovery_point"])
    (ended,) = lab.sql(f"select state_current::text, (value #>> '{{state,endDate}}') from executions where key = '{slow}'")
    assert ended[0] == "SUCCESS" and ended[1] < manifest["consistency"]["stopped"], "it had time to end"
    assert taken["particulars"]["waited_for_executions_to_end"].endswith(" ran")
    assert slow not in [one["id"] for one in manifest["in_flight"]["executions"]]
    assert sorted(manifest["components"]) == sorted(ALL) and manifest["consistency"]["mode"] == "pinned"
    file = manifest["components"]["metadata"]["files"][0]["path"]
    assert (lab.lab / "storage" / "backups" / "full" / file).exists()
    verified = lab.play("verify", kestra_dr_recovery_point=point).ok()
    assert verified.report["verdict"] == "verified (counts)"
    assert {check["verdict"] for check in verified.report["checks"]} == {"pass"}


@pytest.mark.full("maintenance mode that the database remembers after a restore")
def test_a_database_that_remembers_maintenance_mode_is_taken_out_of_it(enterprise_lab):
    lab = enterprise_lab
    before, asked = lab.process, {"kestra_dr_components": ALL, "kestra_dr_consistency": "drained"}
    point = lab.play("backup", **asked).ok().report["recovery_point"]
    assert lab.process == before and lab.manifest(point)["consistency"]["mode"] == "drained"
    restored = lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id, **asked).ok()
    assert restored.report["verdict"].startswith("verified (counts)")
    remembered = lab.sql("select count(*) from settings where key = 'instance.maintenance'")
    assert remembered == [(1,)] and not lab.in_maintenance


def test_maintenance_mode_is_left_after_a_failure(enterprise_lab):
    lab = enterprise_lab
    archives = lab.lab / "storage" / "backups"
    archives.rename(archives.with_name("kept"))
    archives.write_text("no directory")
    before = lab.points()
    try:
        run = lab.play("backup", kestra_dr_components=["metadata"]).failed("backups create", "exit code 1")
    finally:
        archives.unlink()
        archives.with_name("kept").rename(archives)
    assert run.report["outcome"] == "failed" and "as it was found" in run.report["kestra_line"]
    assert not lab.in_maintenance and lab.points() == before


@pytest.mark.full("a worker that does not follow, as a playbook (here its module)")
def test_a_worker_that_does_not_follow_is_named(enterprise_lab):
    lab = enterprise_lab
    before = configured(lab, "kestra.env", lambda text: text + "KESTRA_STANDIN_DEAF=worker\n")
    try:
        run = lab.play("backup", kestra_dr_components=["metadata"], kestra_dr_drain_timeout=5)
        run.failed("have not acknowledged: WORKER")
        assert not lab.in_maintenance and "as it was found" in run.report["kestra_line"]
    finally:
        configured(lab, "kestra.env", lambda _text: before)


@pytest.fixture
def slow_archive(enterprise_lab):
    """A file that is there from when an archive is to be made until it may be."""
    lab = enterprise_lab
    program, waits = lab.lab / "bin" / "kestra-slow", lab.directory / "tmp" / "archive-waits"
    program.write_text(f"#!/bin/sh\nif [ \"$1 $2\" = 'backups create' ] && [ \"$3\" != --help ]; then\n  touch '{waits}'\n"
                       f"  while [ -e '{waits}' ]; do sleep 0.1; done\nfi\nexec '{lab.lab}/bin/kestra' \"$@\"\n")
    program.chmod(0o755)
    yield program, waits
    waits.unlink(missing_ok=True)


@pytest.mark.full("a token that ends while an archive is made")
@NOT_UNDER_RUNNER
def test_a_token_that_ends_in_the_middle(enterprise_lab, slow_archive):
    lab, (program, waits) = enterprise_lab, slow_archive
    before, token = lab.points(), lab.with_token()
    process = lab.begin("backup", *token, kestra_dr_components=["metadata"], kestra_dr_cli={"executable": str(program)})
    until(waits.exists, 120)
    assert lab.in_maintenance
    lab.sql("update users set value = value - 'apiTokens'")
    waits.unlink()
    assert process.wait(300) != 0
    told = re.sub(r"\s+", " ", lab.told(process))
    assert "KESTRA IS IN MAINTENANCE MODE: Kestra refuses the API token" in told and "may have expired" in told
    assert lab.in_maintenance and lab.points() == before and not lab.unsealed()
    done = lab.play("backup", *lab.with_token(), kestra_dr_components=["metadata"], kestra_dr_take_over=left(lab)[0]).ok()
    assert done.report["outcome"] == "ok" and len(lab.points()) == len(before) + 1


@NOT_UNDER_RUNNER
def test_a_controller_that_dies_in_maintenance_mode(enterprise_lab):
    lab = enterprise_lab
    before = lab.points()
    run = lab.play("backup", env=killer("Metadata | Start the archive"), kestra_dr_components=["metadata"], kestra_dr_max_downtime=DOWNTIME)
    assert run.rc == -9, run.output[-3000:]
    assert lab.in_maintenance
    killed, _record = left(lab)
    lab.play("backup", kestra_dr_take_over=killed).failed("entered maintenance mode", "kestra_dr_consistency=drained")
    until(lambda: not lab.in_maintenance, DOWNTIME + 60)
    record = json.loads((lab.directory / "state" / "kestra" / "lifecycle.json").read_text())
    assert record["dead_man_fired"]["action"] == "start" and record["manager"] == "maintenance"
    until(lambda: not (lab.directory / "state" / "kestra" / "way_out.json").exists(), 10)
    done = lab.play("backup", kestra_dr_components=["metadata"], kestra_dr_take_over=killed).ok()
    assert len(lab.points()) == len(before) + 1 and done.report["outcome"] == "ok"


def test_lists_that_cannot_be_meant_are_refused_by_name(enterprise_lab):
    lab = enterprise_lab
    lab.play("backup", kestra_dr_components=["metadata", "storage"]).failed("storage and metadata without database", "Nothing was touched")
    lab.play("backup", kestra_dr_components=["metadata"], kestra_dr_consistency="offline").failed("kestra_dr_consistency is offline", "drained")


def test_a_command_line_that_goes_away_with_kestra_is_refused(enterprise_lab):
    lab = enterprise_lab
    cluster = {"method": "kubernetes", "kubeconfig": "/nonexistent"}
    lab.play("backup", kestra_dr_components=ALL, kestra_dr_cli={**cluster, "pod": "deployment/kestra"}).failed(
        "where Kestra runs", "a container or pod of its own", "Nothing was touched")
    beyond = lab.play("backup", kestra_dr_components=ALL, kestra_dr_cli={**cluster, "workload": "deployment/kestra"}).failed("kubectl")
    assert "where Kestra runs" not in beyond.output


def test_open_source_is_told_what_to_use_instead(enterprise_lab):
    lab = enterprise_lab
    before = configured(lab, "kestra.env", lambda text: text.replace("KESTRA_STANDIN_EDITION='EE'", "KESTRA_STANDIN_EDITION='OSS'"))
    try:
        points = lab.points()
        lab.play("backup", kestra_dr_components=ALL).failed("open-source edition", "Leave metadata out of kestra_dr_components")
        lab.play("backup", kestra_dr_consistency="drained").failed("no maintenance mode", "consistency pinned or offline")
        assert lab.points() == points
    finally:
        configured(lab, "kestra.env", lambda _text: before)


def test_no_secret_was_shown(enterprise_lab):
    lab = enterprise_lab
    assert lab.watch.tree(lab.directory, but=[lab.lab, lab.repository, lab.collections]) > 5
    assert not list((lab.directory / "run").glob("*/*")) and lab.watch.seen == []
