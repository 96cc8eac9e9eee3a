# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery points whose indices stay in the repository of the cluster: taken, listed, read back, pruned, and restored when the cluster is gone."""
from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import urllib.error

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.test_round_trip import tree

pytestmark = pytest.mark.full("recovery points whose indices stay in the repository of the cluster")
REPOSITORY = "/_snapshot/kestra-dr-kestra"
QUICK = b"id: outside\nnamespace: company.team\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hello\n"


@pytest.fixture(scope="module")
def lab(elasticsearch_lab):
    """Its snapshots lie where they outlive the cluster, and where the worker host does not see them."""
    found, was = elasticsearch_lab, dict(elasticsearch_lab.variables)
    clear(found)
    found.variables.update(kestra_dr_snapshot_held="external", kestra_dr_snapshot_location=str(found.lab / "elsewhere" / "kestra"),
                           kestra_dr_snapshot_path="/nonexistent/kestra")
    found.write_inventory()
    yield found
    found.variables.clear()
    found.variables.update(was)
    found.write_inventory()
    clear(found)


def clear(lab):
    """What tests of this laboratory have registered and taken is gone, and Kestra runs: other tests begin here, before or after."""
    if not lab.healthy():
        lab.ctl("kestra-server", "start")
        assert lab.wait_healthy()
    with contextlib.suppress(urllib.error.HTTPError):
        lab.ask("DELETE", REPOSITORY)
    shutil.rmtree(lab.vault / "kestra" / "points", ignore_errors=True)


def snapshots(lab):
    """{name: uuid} of what lies in the repository, asked beside the code under test."""
    return {one["snapshot"]: one["uuid"] for one in lab.ask("GET", REPOSITORY + "/_all")["snapshots"]}


def scratch(lab):
    """The cluster that a verification restores into: Kestra's own."""
    return {"kestra_dr_scratch_host": f"http://127.0.0.1:{lab.database_port}", "kestra_dr_scratch_user": "elastic",
            "kestra_dr_scratch_password_file": str(lab.admin_password_file)}


@pytest.fixture(scope="module")
def story(lab):
    """Two recovery points; between them a flow was added. Nobody but Kestra writes on afterwards."""
    older = lab.play("backup").ok()
    lab.api("/api/v1/main/flows", QUICK, "POST")
    newer = lab.play("backup", "-vvv").ok()
    return {"older": older.report["recovery_point"], "newer": newer.report["recovery_point"], "run": newer, "instance": lab.instance_id}


def test_the_snapshot_is_only_named(lab, story):
    manifest = lab.manifest(story["newer"])
    search = manifest["components"]["search"]
    assert manifest["self_contained"] is False and search["held"] == "external" and "snapshot" not in search
    assert search["endpoint"] == [f"http://127.0.0.1:{lab.database_port}"] and search["repository"]["name"] == "kestra-dr-kestra"
    assert search["repository"]["settings"]["location"] == str(lab.lab / "elsewhere" / "kestra")
    # The older one is needed, too: taking a newer one has deleted nothing.
    assert snapshots(lab) == {lab.manifest(story[name])["components"]["search"]["snapshot_name"]:
                              lab.manifest(story[name])["components"]["search"]["snapshot_uuid"] for name in ("older", "newer")}
    assert not list((lab.vault / "kestra" / "points" / story["newer"]).glob("search*"))
    # Host and account are those of the cluster.
    assert "belongs to the account that the nodes run as" in story["run"].output
    assert story["run"].report["particulars"]["outside_the_vault"].startswith(f"the snapshot {search['snapshot_name']} in the repository")


def test_the_list_says_where_it_is(lab, story):
    told = lab.play("list").ok()
    (line,) = (line for line in told.output.splitlines() if story["newer"] in line and "NOT self-contained" in line)
    assert "the repository kestra-dr-kestra (fs) of Elasticsearch at" in line
    assert told.stats["kestra_dr_recovery_points"][0]["elsewhere"][0]["snapshot"] == story["newer"].lower()


def test_it_is_read_back_where_it_is(lab, story):
    lab.play("verify", kestra_dr_recovery_point=story["newer"], kestra_dr_verify_depth="digest").failed("is not in the vault")
    lab.play("verify", kestra_dr_recovery_point=story["newer"]).failed("Nothing names a cluster")
    verified = lab.play("verify", "-vvv", kestra_dr_recovery_point=story["newer"], **scratch(lab)).ok()
    assert verified.report["verdict"] == "verified (counts)"
    assert list(lab.ask("GET", "/_snapshot")) == ["kestra-dr-kestra"]
    assert not [row for row in lab.ask("GET", "/_cat/indices?format=json&h=index&expand_wildcards=all") if "verify" in row["index"]]


def test_it_goes_with_its_recovery_point(lab, story):
    """And no other one does. Without the password of an account that may delete it, both stay."""
    for name in ("older", "newer"):
        assert story[name].lower() in snapshots(lab)
    policy = {"kestra_dr_retention": {"keep_last": 1}}
    stays = lab.play("prune", kestra_dr_database_admin_password_file=str(lab.lab / "restic-password"), **policy).ok()
    assert "is out of reach" in stays.output and set(lab.points()) == {story["older"], story["newer"]}
    lab.play("prune", **policy).ok()
    assert lab.points() == [story["newer"]] and list(snapshots(lab)) == [story["newer"].lower()]


def test_the_cluster_is_lost_and_a_new_one_reads_it(lab, story):
    """A new cluster, empty, on the same mount: it may read what the old one wrote, and nothing else."""
    lab.ctl("kestra-server", "stop")
    documents, files = lab.contents(), tree(lab.lab / "storage")
    lab.lose_everything()
    assert not lab.contents() and not lab.ask("GET", "/_snapshot")
    cli = dict(lab.variables["kestra_dr_cli"], server_version=lab.variables["kestra_dr_lab_kestra_version"])
    wanted = {"kestra_dr_recovery_point": story["newer"], "kestra_dr_confirm": story["instance"], "kestra_dr_cli": cli}
    lab.play("restore", kestra_dr_snapshot_location=str(lab.lab / "elsewhere" / "other"), **wanted).failed(
        "which is not in the vault but in the repository kestra-dr-kestra", "Nothing was touched")
    done = lab.play("restore", "-vvv", **wanted).ok()
    assert done.report["verdict"].startswith("verified (counts)")
    assert lab.wait_healthy() and lab.instance_id == story["instance"]
    assert lab.api("/api/v1/main/flows/search?q=outside")["total"] == 1
    found = lab.contents()
    assert {name: value for name, value in found.items() if name.startswith("kestra_flows")} == {
        name: value for name, value in documents.items() if name.startswith("kestra_flows")}
    restored = tree(lab.lab / "storage")
    assert {name: value for name, value in restored.items() if name in files} == files
    assert not lab.ask("GET", "/_snapshot")


def test_a_cluster_does_not_write_where_another_has(lab, story):
    lab.play("backup").failed("Another cluster has taken snapshots into the repository", story["newer"].lower())
    assert lab.healthy()
    # Read-only is what the server enforces, too.
    lab.ask("PUT", REPOSITORY, {"type": "fs", "settings": {"location": str(lab.lab / "elsewhere" / "kestra"), "readonly": True}})
    for method, path in (("PUT", REPOSITORY + "/mine"), ("DELETE", f"{REPOSITORY}/{story['newer'].lower()}")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            lab.ask(method, path)
        assert "readonly" in json.load(refused.value)["error"]["reason"]
    assert list(snapshots(lab)) == [story["newer"].lower()]


def test_nothing_is_left_of_a_backup_that_failed(lab, story, tmp_path):
    restic = tmp_path / "restic"
    restic.write_text(f'#!/bin/sh\ncase " $* " in *" backup "*) echo broken >&2; exit 1 ;; esac\nexec {shlex.quote(shutil.which("restic"))} "$@"\n')
    restic.chmod(0o755)
    lab.play("backup", kestra_dr_snapshot_take_over=True, kestra_dr_restic_binary=str(restic)).failed("broken")
    assert lab.healthy() and list(snapshots(lab)) == [story["newer"].lower()]
    # The one that took over deletes what the lost one has taken.
    latest = lab.play("backup", kestra_dr_snapshot_take_over=True).ok().report["recovery_point"]
    lab.play("verify", kestra_dr_recovery_point=latest, **scratch(lab)).ok()
    lab.play("prune", kestra_dr_retention={"keep_last": 1}).ok()
    assert lab.points() == [latest] and list(snapshots(lab)) == [latest.lower()]


def test_no_secret_was_shown(lab):
    assert lab.watch.tree(lab.directory, but=[lab.lab, lab.repository, lab.collections]) > 20
    assert not list((lab.directory / "run").glob("*/*")), "configuration with secrets was left in the runtime directory"
    assert lab.watch.seen == []
