# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wiring of the MySQL modules: options in, results and errors out, without a server."""
from __future__ import annotations

import pytest
import yaml
from ansible_collections.kestra_community.dr.plugins.doc_fragments.mysql import ModuleDocFragment
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import heartbeats
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import (
    activity,
    dump,
    engine,
    inventory,
    options,
    source,
    swap,
    target,
)
from ansible_collections.kestra_community.dr.plugins.modules import (
    mysql_activity_info,
    mysql_database,
    mysql_dump,
    mysql_inventory_info,
    mysql_restore,
)
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

LOGIN = {"login_host": "db1", "login_user": "kestra", "login_password": "sesame-1", "database": "kestra"}
COMPONENT = {
    "held": "vault", "engine": "mysql", "strategy": "logical", "format": "sql", "compression": "none",
    "tools": {"mysqldump": "9.7.4"}, "identity": {"database": "kestra", "server_version": "9.7.4"},
    "counts": {"kestra.flows": 1}, "objects": {}, "files": [{"path": "database.sql", "size": 1, "sha256": "0" * 64}], "bytes": 1, "seconds": 0.5}


def test_documented_as_specified():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    specified = {name: spec for name, spec in options.argument_spec().items() if name != "config"}
    assert set(documented) == set(specified)
    for name, spec in specified.items():
        for key in ("type", "default", "choices"):
            assert documented[name].get(key) == spec.get(key), (name, key)


# -- mysql_dump ----------------------------------------------------------

@pytest.fixture
def dumped(monkeypatch):
    calls = []

    def made(self, dest, chosen, progress):
        progress.phase("pinned", tables=1)
        calls.append((self.login, self.database, dest, chosen))
        return dict(COMPONENT, plan={"client": "9.7.4"})

    monkeypatch.setattr(engine.MySQL, "dump", made)
    return calls


def test_dump(dumped, tmp_path):
    result = run(mysql_dump, dest="/d", compress="zstd", exclude_table_data=["logs"],
                 job_dir=str(tmp_path / "job"), **LOGIN)
    assert result["changed"] and result["component"] == COMPONENT and result["seconds"] == 0.5
    assert result["tools"] == {"mysqldump": "9.7.4"} and result["plan"] == {"client": "9.7.4"}
    login, database, dest, chosen = dumped[0]
    assert (login.host, login.password, database, dest) == ("db1", "sesame-1", "kestra", "/d")
    assert chosen == dump.Options(compression="zstd", exclude_table_data=("logs",))
    assert "sesame-1" not in result["_raw"]
    again = run(mysql_dump, dest="/d", compress="zstd", exclude_table_data=["logs"],
                job_dir=str(tmp_path / "job"), **LOGIN)
    assert again["reattached"] and not again["changed"] and again["component"] == COMPONENT and len(dumped) == 1
    other = run(mysql_dump, dest="/d", job_dir=str(tmp_path / "job"), **LOGIN)
    assert not other["reattached"] and len(dumped) == 2


def test_dump_in_check_mode(dumped, monkeypatch):
    monkeypatch.setattr(engine.MySQL, "preflight", lambda self, dest, chosen: {"client": "9.7.4", "free_bytes": 2})
    result = run(mysql_dump, check=True, dest="/d", **LOGIN)
    assert result["changed"] and result["plan"]["free_bytes"] == 2 and not dumped


def test_dump_without_a_database():
    result = run(mysql_dump, dest="/d", login_host="db1")
    assert result["failed"] and result["reason"] == "config_missing"


# -- mysql_restore -------------------------------------------------------

RESULT = {"database": "kestra_dr_x", "verdict": "verified", "depth": "counts", "counts": {"kestra.flows": 1},
          "differences": [], "warnings": ["look"], "format": "sql", "compression": "none", "jobs": 2,
          "server_version": "9.7.4", "bytes": 1, "audited": False, "seconds": {}}


@pytest.fixture
def restored(monkeypatch):
    calls = []

    def made(self, path, chosen, progress, component=None):
        calls.append((path, chosen, component))
        return dict(RESULT, **restored_with)

    restored_with = {}
    calls_and_result = calls, restored_with
    monkeypatch.setattr(engine.MySQL, "restore", made)
    return calls_and_result


def test_restore(restored):
    calls, unused = restored
    result = run(mysql_restore, source="/d", target="kestra_dr_x", component=COMPONENT, jobs=3, **LOGIN)
    assert result["changed"] and result["verdict"] == "verified" and "look" in str(result["warnings"])
    path, chosen, component = calls[0]
    assert (path, component["counts"]) == ("/d", {"kestra.flows": 1})
    assert chosen == target.Options("kestra_dr_x", jobs=3)
    assert "sesame-1" not in result["_raw"]


def test_restore_that_differs(restored):
    unused, result_with = restored
    result_with.update(verdict="differs", differences=[
        {"kind": "counts", "name": "kestra.flows", "expected": 2, "found": 1}] * 3)
    failed = run(mysql_restore, source="/d", target="kestra_dr_x", **LOGIN)
    assert failed["failed"] and failed["reason"] == "restore_differs" and "(and 2 more)" in failed["msg"]
    assert failed["detail"]["differences"][0]["name"] == "kestra.flows"
    told = run(mysql_restore, source="/d", target="kestra_dr_x", fail_on_difference=False, **LOGIN)
    assert told["verdict"] == "differs" and not told.get("failed")


def test_restore_refuses_an_invalid_component(restored):
    calls, unused = restored
    wrong = dict(COMPONENT, bytes=2)
    result = run(mysql_restore, source="/d", target="kestra_dr_x", component=wrong, **LOGIN)
    assert result["failed"] and result["reason"] == "manifest_invalid" and not calls
    result = run(mysql_restore, source="/d", target="x", component=COMPONENT, manifest="/m", **LOGIN)
    assert result["failed"] and "mutually exclusive" in result["msg"]


def test_restore_in_check_mode(restored, monkeypatch):
    calls, unused = restored
    found = source.Source("/d", "none", COMPONENT, (9, 7, 4), [], False)
    place = target.Target((9, 7, 4), False, ["look"], [])
    monkeypatch.setattr(source, "inspect", lambda *unused, **also: found)
    monkeypatch.setattr(target, "preflight", lambda *unused: place)
    result = run(mysql_restore, check=True, source="/d", target="kestra_dr_x", component=COMPONENT, **LOGIN)
    assert result["changed"] and result["counts"] == {"kestra.flows": 1} and result["server_version"] == "9.7.4" and not calls


# -- the others ---------------------------------------------------------------

def missing(*unused, **also):
    raise ConnectError("There is no such database.", reason="database_missing")


def refused(*unused, **also):
    raise ConnectError("The server refuses sesame-1.", reason="login_refused", hint="Check it.")


INVENTORY = {"identity": {"server_version": "9.7.4"}, "user": "kestra@%",
             "can_create_database": False, "size_bytes": 5, "empty": False, "contents": ["table kestra.flows"],
             "tables": ["kestra.flows"], "databases": [],
             "privileges_missing": [{"kind": "table", "object": "kestra.flows", "missing": ["SELECT", "x"]}]}


def test_inventory(monkeypatch):
    asked = {}
    monkeypatch.setattr(inventory, "read", lambda login, database, **how: asked.update(how) or dict(INVENTORY))
    result = run(mysql_inventory_info, counts=True, **LOGIN)
    assert result["exists"] and not result["changed"] and result["user"] == "kestra@%"
    assert result["privileges_missing"] == ["table kestra.flows (SELECT, x)"]
    assert asked == {"with_counts": True, "with_objects": False, "with_content": False}


def test_inventory_of_nothing(monkeypatch):
    monkeypatch.setattr(inventory, "read", missing)
    monkeypatch.setattr(inventory, "server", lambda login: {"user": "kestra", "databases": []})
    assert run(mysql_inventory_info, **LOGIN)["exists"] is False
    monkeypatch.setattr(inventory, "read", refused)
    result = run(mysql_inventory_info, **LOGIN)
    assert result["failed"] and result["reason"] == "login_refused" and "sesame-1" not in result["_raw"]


def test_activity(monkeypatch):
    asked = {}
    monkeypatch.setattr(activity, "read",
                        lambda login, database, **how: asked.update(how) or heartbeats.judge([], [], "kestra"))
    result = run(mysql_activity_info, heartbeat_seconds=5, **LOGIN)
    assert result["quiet"] and result["exists"] and result["summary"].startswith("Nobody")
    assert asked == {"kestra_user": "kestra", "within": 5.0}
    run(mysql_activity_info, kestra_user="other", **LOGIN)
    assert asked["kestra_user"] == "other" and asked["within"] == 30.0
    monkeypatch.setattr(activity, "observe", lambda login, database, seconds, **how: {"still": seconds == 2.5, **how})
    result = run(mysql_activity_info, observe_seconds=2.5, **LOGIN)
    assert result["observed"] == {"still": True} and result["quiet"]
    monkeypatch.setattr(activity, "read", missing)
    result = run(mysql_activity_info, **LOGIN)
    assert result["quiet"] and not result["exists"]


def test_database(monkeypatch):
    asked = []

    def drop(login, name, only_look=False):
        asked.append((name, only_look))
        return {"changed": name == "kestra_dr_x", "database": name}

    monkeypatch.setattr(swap, "drop", drop)
    result = run(mysql_database, name="kestra_dr_x", check=True, diff=True, **LOGIN)
    assert result["changed"] and result["diff"] == {"before": "database kestra_dr_x\n", "after": ""}
    assert not run(mysql_database, name="kestra_dr_y", **LOGIN)["changed"]
    assert asked == [("kestra_dr_x", True), ("kestra_dr_y", False)]


def test_database_of_others():
    result = run(mysql_database, name="kestra", **LOGIN)
    assert result["failed"] and result["reason"] == "not_ours"
    with pytest.raises(RefusedError):
        swap.drop(None, "mysql")
