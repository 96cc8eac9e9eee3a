# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wiring of the Elasticsearch modules: options in, results and errors out, without a cluster."""
from __future__ import annotations

import contextlib

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import (
    catalog,
    connect,
    inventory,
    repository,
    restore,
    snapshot,
    swap,
)
from ansible_collections.kestra_community.dr.plugins.modules import (
    elasticsearch_inventory_info,
    elasticsearch_repository,
    elasticsearch_restore,
    elasticsearch_snapshot,
    elasticsearch_snapshot_info,
)
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.vault.vault_scene import OUTSIDE
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

LOGIN = {"login_hosts": ["https://es1:9200"], "login_user": "kestra", "login_password": "sesame-1"}
COMPONENT = dict(OUTSIDE, counts={"kestra_flows": 1}, seconds=0.5)
SNAPSHOT = {"snapshot": "point", "state": "SUCCESS", "metadata": {"taken_by": catalog.OWNER}, "shards": {}}


@pytest.fixture(autouse=True)
def logins(monkeypatch):
    """No cluster is asked; the logins of those that would be."""
    seen = []

    @contextlib.contextmanager
    def connected(login):
        seen.append(login)
        yield "cluster"

    monkeypatch.setattr(connect, "connect", connected)
    return seen


def test_options_that_exclude_each_other(logins):
    for options in ({"login_password_file": "/f"}, {"login_api_key": "a2V5"}):
        result = run(elasticsearch_inventory_info, **LOGIN, **options)
        assert result["failed"] and "mutually exclusive" in result["msg"]
    assert not logins


def test_a_prefix_that_is_none(logins):
    result = run(elasticsearch_inventory_info, index_prefix="", **LOGIN)
    assert result["failed"] and result["reason"] == "bad_prefix" and not logins


def test_inventory(monkeypatch, logins):
    calls = []
    monkeypatch.setattr(inventory, "read", lambda cluster, prefix, **how: calls.append((prefix, how)) or {"exists": True})
    result = run(elasticsearch_inventory_info, counts=True, copies="Point", timeout=5, **LOGIN)
    assert result["exists"] and not result["changed"] and "sesame-1" not in result["_raw"]
    assert calls == [("kestra_", {"of_copies": "kdr-point-", "with_counts": True, "with_objects": False})]
    assert (logins[0].hosts, logins[0].password, logins[0].timeout) == (("https://es1:9200",), "sesame-1", 5.0)


def test_snapshot(monkeypatch, tmp_path):
    calls = []

    def take(cluster, prefix, chosen, progress):
        progress.phase("pinned")
        calls.append((prefix, chosen))
        return dict(COMPONENT)

    monkeypatch.setattr(snapshot, "take", take)
    options = {"repository": "backup", "snapshot": "point", "quiet": False, "job_dir": str(tmp_path / "job"), **LOGIN}
    result = run(elasticsearch_snapshot, **options)
    assert result["changed"] and result["component"] == COMPONENT and result["seconds"] == 0.5
    assert calls == [("kestra_", snapshot.Options("backup", "point", quiet=False))] and "sesame-1" not in result["_raw"]
    again = run(elasticsearch_snapshot, **options)
    assert again["reattached"] and not again["changed"] and again["component"] == COMPONENT and len(calls) == 1
    other = run(elasticsearch_snapshot, **{**options, "snapshot": "other"})
    assert not other["reattached"] and len(calls) == 2


def test_snapshot_in_check_mode(monkeypatch):
    plan = {"identity": {}, "indices": ["kestra_flows"], "size_bytes": 1, "repository": {}, "leftover": False}
    monkeypatch.setattr(snapshot, "preflight", lambda cluster, prefix, chosen: dict(plan, objects={}))
    result = run(elasticsearch_snapshot, check=True, repository="backup", snapshot="point", **LOGIN)
    assert result["changed"] and result["plan"] == plan

    def refuse(cluster, prefix, chosen):
        raise RefusedError("No.", reason="data_streams")

    monkeypatch.setattr(snapshot, "preflight", refuse)
    result = run(elasticsearch_snapshot, check=True, repository="backup", snapshot="point", **LOGIN)
    assert result["failed"] and result["reason"] == "data_streams"


@pytest.mark.parametrize("check", [False, True])
def test_snapshot_deleted(monkeypatch, check):
    deleted = []
    monkeypatch.setattr(catalog, "delete", lambda cluster, *what: deleted.append(what))
    monkeypatch.setattr(catalog, "found", lambda cluster, name, which: SNAPSHOT)
    options = {"repository": "backup", "snapshot": "point", "state": "absent", **LOGIN}
    assert run(elasticsearch_snapshot, check=check, **options)["changed"]
    assert deleted == ([] if check else [("backup", "point")])
    monkeypatch.setattr(catalog, "found", lambda cluster, name, which: None)
    assert not run(elasticsearch_snapshot, check=check, **options)["changed"]
    monkeypatch.setattr(catalog, "found", lambda cluster, name, which: dict(SNAPSHOT, metadata=None))
    assert run(elasticsearch_snapshot, check=check, **options)["reason"] == "not_ours"


def test_snapshot_info(monkeypatch):
    monkeypatch.setattr(snapshot, "described", lambda cluster, name: {"name": name})
    monkeypatch.setattr(catalog, "everything", lambda cluster, name: [SNAPSHOT, dict(SNAPSHOT, snapshot="other", state="PARTIAL")])
    result = run(elasticsearch_snapshot_info, repository="backup", **LOGIN)
    assert [(item["name"], item["usable"]) for item in result["snapshots"]] == [("point", True), ("other", False)]
    assert len(run(elasticsearch_snapshot_info, repository="backup", snapshot="other", **LOGIN)["snapshots"]) == 1
    assert run(elasticsearch_snapshot_info, repository="backup", snapshot="none", **LOGIN)["snapshots"] == []


@pytest.fixture
def registered(monkeypatch):
    """{name: repository} and what was done to it."""
    known, done = {}, []

    def put(cluster, name, kind, settings):
        known[name] = {"type": kind, "settings": settings, "uuid": "u"}
        done.append("put")

    def remove(cluster, name):
        del known[name]
        done.append("remove")

    monkeypatch.setattr(repository, "read", lambda cluster, name: known.get(name))
    monkeypatch.setattr(repository, "put", put)
    monkeypatch.setattr(repository, "remove", remove)
    monkeypatch.setattr(repository, "verify", lambda cluster, name: done.append("verify") or ["es1"])
    monkeypatch.setattr(repository, "require_alone", lambda cluster, name: None)
    return known, done


def test_repository(registered):
    known, done = registered
    options = {"name": "backup", "location": "/r", **LOGIN}
    result = run(elasticsearch_repository, check=True, diff=True, **options)
    assert result["changed"] and done == [] and result["diff"]["after"]["settings"] == {"location": "/r"} and result["nodes"] == []
    result = run(elasticsearch_repository, **options)
    assert result["changed"] and done == ["put", "verify"] and result["nodes"] == ["es1"]
    assert not run(elasticsearch_repository, **options)["changed"] and done == ["put", "verify", "verify"]
    result = run(elasticsearch_repository, check=True, diff=True, readonly=True, **options)
    assert result["changed"] and known["backup"]["settings"] == {"location": "/r"}
    assert result["diff"] == {"before": {"type": "fs", "settings": {"location": "/r"}, "uuid": "u"},
                              "after": {"type": "fs", "settings": {"location": "/r", "readonly": "true"}, "uuid": "u"}}
    result = run(elasticsearch_repository, **{**options, "location": "/s"})
    assert result["failed"] and result["reason"] == "repository_differs"
    assert run(elasticsearch_repository, state="absent", name="backup", **LOGIN)["changed"] and not known
    assert not run(elasticsearch_repository, state="absent", name="backup", **LOGIN)["changed"]


def test_a_repository_that_is_to_be_apart(registered, monkeypatch):
    class Nodes:
        def get(self, path, doing, params):
            return {"nodes": {"1": {"name": "es1"}}}

    @contextlib.contextmanager
    def connected(login):
        yield Nodes()

    monkeypatch.setattr(connect, "connect", connected)
    # First, since Ansible keeps a process's warnings.
    assert "belongs to" not in str(run(elasticsearch_repository, name="backup", location="/r", **LOGIN).get("warnings"))
    for check in (True, False):
        result = run(elasticsearch_repository, check=check, name="backup", location="/r", apart=True, **LOGIN)
        assert "belongs to the account that the nodes run as" in str(result["warnings"])


def test_a_repository_that_no_node_reaches_is_not_left(registered, monkeypatch):
    known, done = registered

    def refuse(cluster, name):
        raise ConnectError("No.", reason="repository_unverified")

    monkeypatch.setattr(repository, "verify", refuse)
    result = run(elasticsearch_repository, name="backup", location="/r", **LOGIN)
    assert result["failed"] and result["reason"] == "repository_unverified" and not known and done == ["put", "remove"]


def test_a_repository_of_another_cluster(registered, monkeypatch):
    known, done = registered
    known["backup"] = {"type": "fs", "settings": {"location": "/r", "readonly": "true"}, "uuid": "u"}

    def refuse(cluster, name):
        raise RefusedError("No.", reason="repository_shared")

    monkeypatch.setattr(repository, "require_alone", refuse)
    options = {"name": "backup", "location": "/r", **LOGIN}
    assert not run(elasticsearch_repository, readonly=True, **options)["changed"]
    assert run(elasticsearch_repository, **options)["reason"] == "repository_shared"
    assert known["backup"]["settings"]["readonly"] == "true"
    assert run(elasticsearch_repository, take_over=True, **options)["changed"]
    assert known["backup"]["settings"] == {"location": "/r"}


def test_restore_beside_and_in_place(monkeypatch, tmp_path):
    calls = []
    answer = {"verdict": "verified", "differences": [], "counts": {}, "indices": [], "deleted": []}

    def made(cluster, prefix, chosen, progress, component):
        calls.append((chosen, component))
        return dict(answer)

    monkeypatch.setattr(restore, "restore", made)
    options = {"repository": "backup", "snapshot": "point", "component": COMPONENT, **LOGIN}
    result = run(elasticsearch_restore, copies="point", **options)
    assert result["changed"] and result["verdict"] == "verified"
    assert calls[-1] == (restore.Options("backup", "point", copies="point"), COMPONENT)
    run(elasticsearch_restore, mode="in_place", delete_existing=True, **options)
    assert calls[-1][0] == restore.Options("backup", "point", delete_existing=True)
    answer.update(verdict="differs", differences=[{"kind": "counts", "name": "kestra_flows", "expected": 2, "found": 1}])
    for mode, hint in (("beside", "kept for a look"), ("in_place", "Do not start Kestra")):
        result = run(elasticsearch_restore, mode=mode, copies="point", **options)
        assert result["failed"] and result["reason"] == "restore_differs" and hint in result["msg"]


def test_restore_wants_what_its_mode_needs():
    for options in ({"mode": "beside", "repository": "r", "snapshot": "s"}, {"mode": "swap", "copies": "c"}, {"mode": "in_place"}):
        assert "missing" in run(elasticsearch_restore, **options, **LOGIN)["msg"]
    wrong = dict(COMPONENT, held="nowhere")
    result = run(elasticsearch_restore, repository="r", snapshot="s", copies="c", component=wrong, **LOGIN)
    assert result["failed"] and result["reason"] == "manifest_invalid"


def test_swap(monkeypatch):
    answer = {"indices": ["kestra_flows"], "kept": ["kdr-b-kestra_flows"], "counts": {}, "already": False}
    monkeypatch.setattr(swap, "swap", lambda cluster, prefix, chosen, progress, component: dict(answer, undo=chosen.undo))
    result = run(elasticsearch_restore, mode="swap", copies="a", undo="b", **LOGIN)
    assert result["changed"] and result["kept"] == ["kdr-b-kestra_flows"]
    answer["already"] = True
    assert not run(elasticsearch_restore, mode="swap", copies="a", undo="b", **LOGIN)["changed"]


def test_restore_in_check_mode(monkeypatch):
    plan = {"indices": ["kestra_flows"], "standing": [], "bytes": 1, "server_version": "8.19.21"}
    monkeypatch.setattr(restore, "preflight", lambda cluster, prefix, chosen, component: plan)
    result = run(elasticsearch_restore, check=True, repository="r", snapshot="s", copies="C", **LOGIN)
    assert result["changed"] and result["indices"] == ["kdr-c-kestra_flows"] and result["bytes"] == 1
    monkeypatch.setattr(swap, "preflight", lambda cluster, prefix, chosen, component: {"copies": ["a"], "live": ["b"], "stage": "swapped"})
    result = run(elasticsearch_restore, check=True, mode="swap", copies="c", undo="u", **LOGIN)
    assert not result["changed"] and result["indices"] == ["a"] and result["deleted"] == ["b"]
