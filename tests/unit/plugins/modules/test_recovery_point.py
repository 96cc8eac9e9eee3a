# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recovery_point from open to sealed, as the backup flow calls it, against a repository that is a plain directory."""
from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import lock
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import points
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog
from ansible_collections.kestra_community.dr.plugins.modules import recovery_point
from ansible_collections.kestra_community.dr.tests.unit.directory_repository import DirectoryRepository
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import kestra_runner

BUNDLE = b'{"schema": 1}\n'


class Flow:
    """Calls the module the way one run of the backup does."""

    def __init__(self, base, run_id="run-1"):
        self.base, self.run_id = Path(base), run_id
        self.vault = Catalog(self.base / "vault", "kestra")
        self.repository = DirectoryRepository(self.base / "repository")
        password = self.base / "password"
        password.write_text("correct horse")
        password.chmod(0o600)

    def call(self, state, check=False, lock=None, **more):
        return kestra_runner.run(
            recovery_point, check=check, state=state, vault=str(self.base / "vault"), instance="kestra",
            lock=dict({"run_id": self.run_id, "owner": "ann@tower"}, **(lock or {})), **more)

    def seal(self, point, check=False, **more):
        options = {"components": ["config"], "manifest": {"consistency": {"mode": "live"}},
                   "repository": str(self.base / "repository"), "repository_password_file": str(self.base / "password")}
        return self.call("sealed", check=check, id=point, **{**options, **more})

    def store(self, opened):
        """Puts data into the repository; the component that describes it."""
        directory = Path(opened["staging"], "config")
        directory.mkdir()
        (directory / "h1.json").write_bytes(BUNDLE)
        snapshot = self.repository.add(opened["staging"], "config", points.tags("kestra", opened["id"], "config"),
                                       "2026-11-23T00:00:00Z")
        facts = {
            "held": "vault",
            "engine": "bundle",
            "strategy": "files",
            "snapshot": snapshot,
            "path": "/config",
            "hosts": {},
            "files": [{"path": "h1.json", "size": len(BUNDLE), "sha256": hashlib.sha256(BUNDLE).hexdigest()}],
            "bytes": len(BUNDLE),
        }
        return facts

    def fill(self, opened):
        return self.call("component", id=opened["id"], component="config", facts=self.store(opened))


@pytest.fixture
def flow(tmp_path, monkeypatch):
    found = Flow(tmp_path)
    monkeypatch.setattr(recovery_point, "Restic", lambda repository, redactor: found.repository)
    return found


def test_sealing_records_what_it_is_given(flow):
    opened = flow.call("open")
    facts = flow.store(opened)
    planned = flow.seal(opened["id"], check=True, record={"config": facts})
    assert planned["changed"] is True and not flow.vault.components(opened["id"])
    assert flow.seal(opened["id"], check=True, record={"config": dict(facts, held="nowhere")})["failed"] is True
    done = flow.seal(opened["id"], record={"config": facts})
    assert done["manifest"]["components"]["config"] == facts


def test_from_open_to_sealed(flow):
    opened = flow.call("open")
    assert opened["changed"] is True and opened["lock"] == {"how": "free", "previous": None} and opened["swept"] == []
    assert lock.read(flow.vault.lock)["recovery_point"] == opened["id"]
    assert flow.fill(opened)["changed"] is True
    done = flow.seal(opened["id"])
    assert done["changed"] is True and {check["verdict"] for check in done["checks"]} == {"pass"}
    assert done["manifest"]["id"] == opened["id"] and done["directory"] == flow.vault.point_dir(opened["id"])
    assert done["digest"] == flow.vault.manifest_digest(opened["id"])
    held = {points.tag_value(item["tags"], "component") for item in flow.repository.snapshots(["kestra-dr"])}
    assert held == {"config", "manifest"}


def test_sealing_again_changes_nothing_but_ships_what_was_not_shipped(flow):
    opened = flow.call("open")
    flow.fill(opened)
    first = flow.seal(opened["id"])
    again = flow.seal(opened["id"])
    assert again["changed"] is False and again["manifest_snapshot"] == first["manifest_snapshot"]
    flow.repository.forget([first["manifest_snapshot"]])
    third = flow.seal(opened["id"])
    assert third["manifest_snapshot"] not in (None, first["manifest_snapshot"])


def test_check_mode_writes_nothing_at_any_step(flow):
    told = flow.call("open", check=True)
    assert told["changed"] is True and not (flow.base / "vault").exists()
    opened = flow.call("open")
    flow.fill(opened)
    before = sorted(str(path) for path in flow.base.rglob("*"))
    told = flow.seal(opened["id"], check=True)
    assert told["changed"] is True and told["manifest"]["components"]["config"]["bytes"] == len(BUNDLE)
    assert flow.call("open", check=True)["changed"] is True
    assert flow.call("open", check=True, id=opened["id"])["reattached"] is True
    assert flow.call("aborted", check=True, id=opened["id"])["changed"] is True
    assert sorted(str(path) for path in flow.base.rglob("*")) == before


def test_opening_again_goes_on(flow):
    first = flow.call("open")
    again = flow.call("open")
    assert (again["id"], again["changed"], again["reattached"], again["lock"]["how"]) == (
        first["id"],
        False,
        True,
        "ours",
    )


def test_another_run_is_refused_and_told_by_whom(flow):
    flow.call("open")
    told = flow.call("open", lock={"run_id": "run-2"})
    assert told["failed"] is True and told["reason"] == "locked"
    assert "ann@tower" in told["msg"] and "kestra_dr_take_over=run-1" in told["msg"]
    assert flow.call("open", check=True, lock={"run_id": "run-2"})["reason"] == "locked"


def test_a_run_that_takes_over_sweeps_and_the_old_one_can_do_nothing_more(flow):
    opened = flow.call("open")
    flow.fill(opened)
    taken = flow.call("open", lock={"run_id": "run-2", "take_over": "run-1"})
    assert taken["swept"] == [opened["id"]] and taken["lock"]["previous"]["run_id"] == "run-1"
    for told in (flow.fill(dict(opened, staging=str(flow.base))), flow.seal(opened["id"])):
        assert told["failed"] is True and told["reason"] == "lock_lost"
    assert flow.vault.sealed_ids() == []


def test_a_seal_that_lacks_a_component_is_refused(flow):
    opened = flow.call("open")
    flow.fill(opened)
    told = flow.seal(opened["id"], components=["config", "database"])
    assert told["reason"] == "components_incomplete" and told["detail"]["missing"] == ["database"]


def test_a_seal_whose_data_never_arrived_is_refused(flow):
    opened = flow.call("open")
    flow.fill(opened)
    flow.repository.forget([item["id"] for item in flow.repository.snapshots(["kestra-dr"])])
    assert flow.seal(opened["id"])["reason"] == "snapshot_missing"
    assert flow.vault.sealed_ids() == [] and flow.vault.open_ids() == [opened["id"]]


def test_aborting(flow):
    opened = flow.call("open")
    assert flow.call("aborted", id=opened["id"])["changed"] is True
    assert flow.call("aborted", id=opened["id"])["changed"] is False
    assert os.listdir(flow.vault.below("open")) == []


def test_aborting_after_the_lock_was_lost_touches_nothing(flow):
    opened = flow.call("open")
    lock.acquire(flow.vault.lock, run_id="run-2", flow="backup", owner="bob", ttl=60, take_over="run-1")
    assert flow.call("aborted", id=opened["id"])["reason"] == "lock_lost"
    assert flow.vault.open_ids() == [opened["id"]]


@pytest.mark.parametrize("bad", ["latest", "../../etc", ""])
def test_an_id_that_is_none(flow, bad):
    assert flow.call("aborted", id=bad)["failed"] is True


def test_a_wrong_component_is_named(flow):
    opened = flow.call("open")
    told = flow.call("component", id=opened["id"], component="config", facts={"held": "vault", "engine": "bundle"})
    assert told["reason"] == "manifest_invalid" and told["detail"]["path"] == "components.config.strategy"


def test_no_secret_of_the_repository_is_told(flow):
    opened = flow.call("open")
    flow.fill(opened)
    done = flow.seal(opened["id"], repository_environment={"AWS_SECRET_ACCESS_KEY": "hunter22hunter"})
    assert "hunter22hunter" not in done["_raw"].replace(json.dumps(done.get("invocation")), "")
    assert "correct horse" not in done["_raw"]
