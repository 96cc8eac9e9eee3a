# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows where Kestra's data are in Elasticsearch and its queue in Kafka."""
from __future__ import annotations

import shutil
import time

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.test_round_trip import tree

PAUSED = b"id: paused\nnamespace: company.team\ntasks:\n  - id: wait\n    type: io.kestra.plugin.core.flow.Pause\n"
QUICK = b"id: quick\nnamespace: company.team\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hello\n"
LONG = b"id: working\nnamespace: company.team\ntasks:\n  - id: work\n    type: io.kestra.plugin.core.flow.Sleep\n    duration: PT3600S\n"
# Nobody writes to them by itself.
STILL = ("kestra_flows", "kestra_flows_revisions", "kestra_settings", "kestra_tenants", "kestra_users")


@pytest.fixture(scope="session")
def lab(elasticsearch_lab):
    return elasticsearch_lab


def state(lab, execution):
    return lab.api(f"/api/v1/main/executions/{execution}")["state"]["current"]


def until(lab, execution, wanted, seconds=60):
    """Waits until an execution is in a state."""
    end = time.monotonic() + seconds
    while state(lab, execution) != wanted:
        assert time.monotonic() < end, f"{execution} is {state(lab, execution)}, not {wanted}"
        time.sleep(0.3)


@pytest.fixture(scope="module")
def waiting(lab):
    """An execution that has not ended."""
    for flow in (PAUSED, QUICK):
        lab.api("/api/v1/main/flows", flow, "POST")
    found = lab.api("/api/v1/main/executions/company.team/paused", b"", "POST")["id"]
    until(lab, found, "PAUSED")
    return found


@pytest.fixture(scope="module")
def working(lab, waiting):
    """An execution with a task at work."""
    lab.api("/api/v1/main/flows", LONG, "POST")
    found = lab.api("/api/v1/main/executions/company.team/working", b"", "POST")["id"]
    until(lab, found, "RUNNING")
    return found


@pytest.fixture(scope="module")
def story(lab, waiting):
    """An offline recovery point of known content. Kestra stays stopped."""
    instance = lab.instance_id
    lab.ctl("kestra-server", "stop")
    documents, files = lab.contents(), tree(lab.lab / "storage")
    offline = lab.play("backup", "-vvv", kestra_dr_consistency="offline").ok()
    return {"instance": instance, "documents": documents, "files": files, "point": offline.report["recovery_point"]}


def test_refused_before_anything_stops(lab, tmp_path):
    """A wrong password, no place for snapshots, a mode this backend has not."""
    process = (lab.lab / "kestra" / "kestra.pid").read_text()
    wrong = tmp_path / "password"
    wrong.write_text("not it\n")
    lab.play("backup", kestra_dr_database_admin_password_file=str(wrong)).failed("refuses the user elastic")
    lab.play("backup", kestra_dr_snapshot_location="").failed("kestra_dr_snapshot_location is needed", "Nothing was touched")
    lab.play("backup", kestra_dr_snapshot_location=str(tmp_path / "elsewhere")).failed("path.repo")
    lab.play("backup", kestra_dr_consistency="drained").failed("there are pinned and offline")
    assert lab.healthy() and (lab.lab / "kestra" / "kestra.pid").read_text() == process
    assert not lab.points() and not lab.unsealed()


def test_the_manifest_holds_indices_queue_and_what_was_under_way(lab, story, waiting):
    manifest = lab.manifest(story["point"])
    search, queue = manifest["components"]["search"], manifest["components"]["queue"]
    assert manifest["self_contained"] and search["held"] == "vault" and queue["strategy"] == "rebuild"
    assert search["counts"] == {name: len(documents) for name, documents in story["documents"].items()}
    assert "database" not in manifest["components"] and {"storage", "config"} <= set(manifest["components"])
    assert [(one["id"], one["state"], one["tenant"]) for one in manifest["in_flight"]["executions"]] == [(waiting, "PAUSED", "main")]
    assert queue["topics"]["kestra_flow"]


def test_everything_lost_comes_back_exactly(lab, story, waiting):
    """With the clusters that held it, their snapshots, and the vault directory gone. What was under way is told, and stays."""
    confirm = lab.manifest(story["point"])["instance"]["id"]
    lab.lose_everything()
    shutil.rmtree(lab.vault / "kestra" / "points")
    assert not lab.contents()
    wanted = {"kestra_dr_recovery_point": story["point"], "kestra_dr_confirm": confirm}
    # Kestra was down, and did not tell its version.
    lab.play("restore", **wanted).failed("server_version", "Nothing was touched")
    cli = dict(lab.variables["kestra_dr_cli"], server_version=lab.variables["kestra_dr_lab_kestra_version"])
    done = lab.play("restore", "-vvv", kestra_dr_cli=cli, **wanted).ok()
    assert done.report["verdict"].startswith("verified (counts)")
    assert [(one["id"], one["was"], one["now"]) for one in done.report["became"]] == [(waiting, "PAUSED", "PAUSED")]
    assert waiting in done.report["particulars"]["executions_that_do_not_go_on"]
    assert lab.wait_healthy() and lab.instance_id == story["instance"]
    assert state(lab, waiting) == "PAUSED"
    until(lab, lab.api("/api/v1/main/executions/company.team/quick", b"", "POST")["id"], "SUCCESS")
    documents = lab.contents()
    assert {name: documents[name] for name in STILL} == {name: story["documents"][name] for name in STILL}
    restored = tree(lab.lab / "storage")
    assert {name: value for name, value in restored.items() if name in story["files"]} == story["files"]
    assert not [name for name in lab.ask("GET", "/_snapshot") if "fetched" in name]
    assert not list((lab.lab / "elasticsearch" / "snapshots").glob("*.kestra-dr-*"))


def test_there_is_no_way_back_into_an_empty_cluster(lab, story):
    """What was there before the restore was nothing; saying so comes before Kestra is stopped."""
    confirm = lab.manifest(story["point"])["instance"]["id"]
    lab.play("undo", kestra_dr_confirm=confirm).failed("There are no copies of the set undo-")
    assert lab.healthy()


def test_pinned_runs_beside_kestra_and_verifies(lab, waiting, working):
    run = lab.play("backup", "-vvv").ok()
    assert lab.healthy() and "Kestra is as it was found" in run.report["kestra_line"]
    # And perhaps one of the flow that is started every minute.
    assert {waiting, working} <= {one["id"] for one in run.report["in_flight"]["executions"]}
    held = lab.ask("GET", "/_snapshot/kestra-dr-kestra/_all")["snapshots"]
    assert [one["snapshot"] for one in held] == [run.report["recovery_point"].lower()]
    verified = lab.play("verify", "-vvv", kestra_dr_recovery_point="latest", kestra_dr_scratch_host=f"http://127.0.0.1:{lab.database_port}",
                        kestra_dr_scratch_user="elastic", kestra_dr_scratch_password_file=str(lab.admin_password_file),
                        kestra_dr_scratch_snapshot_location=str(lab.lab / "elasticsearch" / "snapshots")).ok()
    assert verified.report["verdict"] == "verified (counts)"
    assert not [row for row in lab.ask("GET", "/_cat/indices?format=json&h=index&expand_wildcards=all") if "verify" in row["index"]]


def indexed(lab, execution):
    """The state that the index says, beside Kestra."""
    lab.ask("POST", "/kestra_executions/_refresh")
    return lab.ask("GET", f"/kestra_executions/_doc/{execution}")["_source"]["state"]["current"]


@pytest.mark.full("a restore over living indices and its undo as playbooks (here its modules, and that of the other databases)")
def test_restore_over_a_live_instance_and_undo(lab, waiting, working):
    """A Kestra that does not take our login does not undo the restore: what is left to do is told. An undo kills nobody."""
    lab.api("/api/v1/main/flows", QUICK.replace(b"quick", b"after"), "POST")
    before = lab.identity()
    recorded = [one["id"] for one in lab.manifest(lab.points()[-1])["in_flight"]["executions"]]
    planned = lab.play("restore", "--check", kestra_dr_recovery_point=lab.points()[-1], kestra_dr_restore_pending="kill").ok()
    assert f"executions under way at the recovery point: {len(recorded)}, which are killed" in planned.output and state(lab, working) == "RUNNING"
    done = lab.play("restore", "-vvv", kestra_dr_recovery_point=lab.points()[-1], kestra_dr_confirm=lab.instance_id,
                    kestra_dr_restore_pending="kill", kestra_dr_api_token="not-a-token").ok()
    assert lab.wait_healthy() and lab.identity() != before
    assert lab.api("/api/v1/main/flows/search?q=after")["total"] == 0 and state(lab, waiting) == "PAUSED"
    assert done.report["particulars"]["old_database"].startswith("the indices kdr-undo-")
    assert done.report["outcome"] == "ok" and "were killed: Kestra refuses the API token" in done.report["warnings"][0], done.report["warnings"]
    assert len(done.report["by_hand"]) == 1 and "kill/by-ids" in done.report["by_hand"][0] and working in done.report["by_hand"][0]
    became = {one["id"]: one["now"] for one in done.report["became"]}
    assert list(became) == recorded and (became[waiting], became[working]) == ("PAUSED", "RUNNING")
    lab.play("undo", "-vvv", kestra_dr_confirm=lab.instance_id, kestra_dr_restore_pending="kill").ok()
    assert lab.wait_healthy() and lab.api("/api/v1/main/flows/search?q=after")["total"] == 1
    assert (indexed(lab, waiting), indexed(lab, working)) == ("PAUSED", "RUNNING")


@pytest.mark.full("what was under way run again as a playbook (here its modules)")
def test_what_was_under_way_runs_again(lab, waiting, working):
    done = lab.play("restore", "-vvv", kestra_dr_recovery_point=lab.points()[-1], kestra_dr_confirm=lab.instance_id,
                    kestra_dr_restore_pending="replay").ok()
    became = {one["id"]: one for one in done.report["became"]}
    again = became[working]["new_id"]
    assert became[working]["done"] and (became[working]["was"], became[working]["now"]) == ("RUNNING", "KILLED")
    assert not became[waiting]["done"] and "waits for a person" in became[waiting]["why"] and not done.report["warnings"]
    assert done.report["particulars"]["executions_that_do_not_go_on"] == waiting
    until(lab, again, "RUNNING")
    assert lab.api(f"/api/v1/main/executions/{again}")["originalId"] == working and state(lab, waiting) == "PAUSED"
    end = time.monotonic() + 30
    while (indexed(lab, working), indexed(lab, again)) != ("KILLED", "RUNNING"):
        assert time.monotonic() < end, "the indices do not say so"
        time.sleep(0.5)
    page = (lab.vault / "kestra" / "reports" / f"{done.report['run_id']}.html").read_text()
    assert f"runs again as {again}" in page and working in page


def test_no_secret_was_shown(lab):
    assert lab.watch.tree(lab.directory, but=[lab.lab, lab.repository, lab.collections]) > 20
    assert not list((lab.directory / "run").glob("*/*")), "configuration with secrets was left in the runtime directory"
    assert lab.watch.samples > 100 and lab.watch.arguments > 100
    assert lab.watch.seen == []
