# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A point is sealed whole or does not exist, whatever is killed; what is incomplete is refused before the seal."""
from __future__ import annotations

import copy
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    DrError,
    IntegrityError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import points
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog
from ansible_collections.kestra_community.dr.tests.unit.kills import every_kill

ID = "20261123T001500Z-a1b2c3"
OTHER = "20261122T001500Z-0a0b0c"
BUNDLE = b'{"schema": 1}\n'
LIST = b"not really gzip"
GIVEN = {"consistency": {"mode": "pinned"}}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def config():
    return {
        "held": "vault",
        "engine": "bundle",
        "strategy": "files",
        "snapshot": "c" * 64,
        "path": "/config",
        "hosts": {},
        "files": [{"path": "h1.json", "size": len(BUNDLE), "sha256": sha(BUNDLE)}],
        "bytes": len(BUNDLE),
    }


def storage():
    return {
        "held": "vault",
        "engine": "local",
        "strategy": "files",
        "snapshot": "d" * 64,
        "path": "/app/storage",
        "list": {"file": "storage.jsonl.gz", "sha256": sha(LIST), "entries": 1},
        "files": 1,
        "directories": 0,
        "bytes": 3,
    }


def snapshots(point=ID):
    return {"c" * 64: points.tags("kestra", point, "config"), "d" * 64: points.tags("kestra", point, "storage")}


@pytest.fixture
def vault(tmp_path):
    return Catalog(tmp_path / "vault", "kestra")


def filled(vault, point=ID, run_id="run-1"):
    opened = points.open_point(vault, run_id=run_id, point=point)
    os.mkdir(os.path.join(opened["staging"], "config"))
    with open(os.path.join(opened["staging"], "config", "h1.json"), "wb") as handle:
        handle.write(BUNDLE)
    with open(os.path.join(opened["lists"], "storage.jsonl.gz"), "wb") as handle:
        handle.write(LIST)
    points.add_component(vault, opened["id"], "config", config())
    points.add_component(vault, opened["id"], "storage", storage())
    return opened


def sealed(vault, point=ID):
    if not vault.is_sealed(point):
        points.check_before_seal(vault, point, ["config", "storage"], snapshots(point))
        manifest = points.build_manifest(vault, point, GIVEN, sealed="2026-11-23T00:20:00.000000Z")
    else:
        manifest = None
    points.seal(vault, point, manifest)


def test_the_beginning_of_an_id_is_replaced_by_the_whole_where_it_is_unique(vault):
    filled(vault)
    points.add_component(vault, ID, "config", dict(config(), snapshot="c" * 8))
    points.add_component(vault, ID, "storage", dict(storage(), snapshot="d" * 8))
    points.whole_ids(vault, ID, ["c" * 64, "d" * 64, "d" * 8 + "e" * 56])
    found = vault.components(ID)
    assert found["config"]["snapshot"] == "c" * 64 and found["storage"]["snapshot"] == "d" * 8
    with pytest.raises(IntegrityError) as error:
        points.check_before_seal(vault, ID, ["config", "storage"], snapshots())
    assert error.value.reason == "snapshot_missing" and "storage" in error.value.message


def test_opening_makes_everything_a_backup_needs(vault):
    opened = points.open_point(vault, run_id="run-1")
    for part in ("staging", "jobs", "lists", "components"):
        assert os.path.isdir(opened[part]) and os.stat(opened[part]).st_mode & 0o077 == 0
    assert opened["swept"] == [] and opened["reattached"] is False
    assert vault.open_ids() == [opened["id"]] and vault.sealed_ids() == []
    assert vault.open_facts(opened["id"])["run_id"] == "run-1"


def test_the_same_run_or_the_same_id_goes_on(vault):
    first = points.open_point(vault, run_id="run-1")
    assert points.open_point(vault, run_id="run-1")["id"] == first["id"]
    again = points.open_point(vault, run_id="run-2", point=first["id"])
    assert again["reattached"] is True and again["created"] == first["created"]
    assert vault.open_facts(first["id"])["run_id"] == "run-2"


def test_what_a_dead_run_left_is_swept(vault):
    filled(vault, OTHER, "dead")
    opened = points.open_point(vault, run_id="run-1")
    assert opened["swept"] == [OTHER] and vault.open_ids() == [opened["id"]]
    assert os.listdir(vault.below("open")) == [opened["id"]]


def test_what_a_power_failure_left_half_written_is_swept(vault):
    """Progress is not made durable: its file may be empty afterwards. open.json is, so this one is damage."""
    opened = filled(vault, OTHER, "dead")
    jobs.Job(os.path.join(opened["jobs"], "dump"), "dump", "f").run(lambda progress: progress.phase("on") or {})
    for name in ("jobs/dump/progress.json", "open.json"):
        with open(os.path.join(opened["directory"], name), "r+b") as handle:
            handle.truncate(0)
    assert points.open_point(vault, run_id="run-1")["swept"] == [OTHER]


def test_sweeping_ends_the_jobs_that_still_write_there(vault):
    opened = filled(vault, OTHER, "dead")
    program = ("import sys, time; sys.path[:0] = {!r}\n"
               "from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs\n"
               "jobs.Job({!r}, 'dump', 'f').run(lambda progress: (progress.phase('on'), time.sleep(60)))")
    job_dir = os.path.join(opened["jobs"], "dump")
    child = subprocess.Popen([sys.executable, "-c", program.format(sys.path, job_dir)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 15
    while not jobs.read(job_dir)["alive"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert points.open_point(vault, run_id="run-1")["swept"] == [OTHER]
    assert child.wait(10) != 0
    assert not os.path.exists(job_dir)


def test_an_id_that_is_none_reaches_no_path(vault):
    for bad in ("latest", "../../etc", "20261123T001500Z-a1b2c3/.."):
        with pytest.raises(ConfigError):
            points.open_point(vault, run_id="run-1", point=bad)
    assert not os.path.exists(vault.below("open")) or os.listdir(vault.below("open")) == []


def test_a_sealed_id_cannot_be_opened_again(vault):
    filled(vault)
    sealed(vault)
    with pytest.raises(StateError) as caught:
        points.open_point(vault, run_id="run-1", point=ID)
    assert caught.value.reason == "already_sealed"


def test_a_component_recorded_twice_is_no_change(vault):
    filled(vault)
    assert points.add_component(vault, ID, "config", config()) is False
    assert points.add_component(vault, ID, "config", dict(config(), path="/elsewhere")) is True


def test_a_component_of_no_open_point_or_of_no_kind(vault):
    with pytest.raises(StateError) as caught:
        points.add_component(vault, ID, "config", config())
    assert caught.value.reason == "not_open"
    filled(vault)
    with pytest.raises(IntegrityError):
        points.add_component(vault, ID, "mystery", config())
    with pytest.raises(IntegrityError):
        points.add_component(vault, ID, "config", {"held": "vault"})


def test_a_whole_point_is_sealed_with_all_that_belongs_to_it(vault):
    filled(vault)
    checks = points.check_before_seal(vault, ID, ["storage", "config"], snapshots())
    assert {check["name"]: check["verdict"] for check in checks} == {
        "config: staged files": "pass", "config: snapshot": "pass", "storage: staged files": "not_run",
        "storage: list": "pass", "storage: snapshot": "pass"}
    sealed(vault)
    assert vault.open_ids() == [] and vault.sealed_ids() == [ID]
    assert sorted(os.listdir(vault.point_dir(ID))) == ["manifest.json", "manifest.sha256", "storage.jsonl.gz"]
    manifest = vault.manifest(ID)
    assert manifest["instance"]["id"] == "kestra" and manifest["kestra"]["facts"] == "not_run"
    assert manifest["self_contained"] is True
    for name in os.listdir(vault.point_dir(ID)):
        assert os.stat(os.path.join(vault.point_dir(ID), name)).st_mode & 0o077 == 0


def test_the_noted_digest_is_one_that_sha256sum_reads(vault):
    filled(vault)
    sealed(vault)
    subprocess.run(
        ["sha256sum", "-c", "manifest.sha256"], cwd=vault.point_dir(ID), check=True, stdout=subprocess.DEVNULL
    )


def refuse(vault, reason, expected=("config", "storage"), known=None):
    with pytest.raises(DrError) as caught:
        points.check_before_seal(vault, ID, list(expected), snapshots() if known is None else known)
    assert caught.value.reason == reason
    assert vault.sealed_ids() == []


def test_nothing_incomplete_is_sealed(vault):
    points.open_point(vault, run_id="run-1", point=ID)
    refuse(vault, "no_components", known={})
    points.abort(vault, ID)
    filled(vault)
    refuse(vault, "components_incomplete", expected=["config"])
    refuse(vault, "components_incomplete", expected=["config", "storage", "database"])
    refuse(vault, "snapshot_missing", known={})
    refuse(vault, "snapshot_mistagged", known=snapshots(OTHER))
    refuse(vault, "snapshot_mistagged", known=dict.fromkeys(snapshots(), []))
    staged = os.path.join(vault.open_dir(ID), "staging", "config")
    with open(os.path.join(staged, "surplus"), "wb"):
        pass
    refuse(vault, "staged_differs")
    os.unlink(os.path.join(staged, "surplus"))
    with open(os.path.join(staged, "h1.json"), "ab") as handle:
        handle.write(b"x")
    refuse(vault, "staged_differs")
    os.unlink(os.path.join(staged, "h1.json"))
    refuse(vault, "staged_differs")
    with open(os.path.join(staged, "h1.json"), "wb") as handle:
        handle.write(BUNDLE)
    the_list = os.path.join(vault.open_dir(ID), "lists", "storage.jsonl.gz")
    with open(the_list, "ab") as handle:
        handle.write(b"x")
    refuse(vault, "list_differs")
    os.unlink(the_list)
    refuse(vault, "list_missing")


def test_a_component_without_its_snapshot_is_not_sealed(vault):
    filled(vault)
    unfinished = config()
    del unfinished["snapshot"]
    points.add_component(vault, ID, "config", unfinished)
    refuse(vault, "manifest_invalid")


def test_a_manifest_of_another_instance_or_with_unknown_sections_is_refused(vault):
    filled(vault)
    with pytest.raises(IntegrityError):
        points.build_manifest(vault, ID, dict(GIVEN, instance={"name": "other"}), sealed="2026-11-23T00:20:00Z")
    with pytest.raises(StateError):
        points.build_manifest(vault, ID, dict(GIVEN, verified=True), sealed="2026-11-23T00:20:00Z")
    with pytest.raises(IntegrityError):
        points.build_manifest(vault, ID, {}, sealed="2026-11-23T00:20:00Z")


def test_building_a_manifest_changes_nothing_it_was_given(vault):
    filled(vault)
    given = copy.deepcopy(GIVEN)
    points.build_manifest(vault, ID, given, sealed="2026-11-23T00:20:00Z")
    assert given == GIVEN


def test_sealing_again_changes_nothing(vault):
    filled(vault)
    sealed(vault)
    before = vault.manifest_digest(ID)
    sealed(vault)
    assert vault.manifest_digest(ID) == before


def test_aborting_removes_the_open_and_never_the_sealed(vault):
    filled(vault)
    assert points.abort(vault, ID) is True
    assert points.abort(vault, ID) is False
    assert os.listdir(vault.below("open")) == []
    filled(vault)
    sealed(vault)
    with pytest.raises(StateError) as caught:
        points.abort(vault, ID)
    assert caught.value.reason == "already_sealed" and vault.sealed_ids() == [ID]


def fresh(tmp_path):
    number = len(os.listdir(tmp_path))
    return Catalog(tmp_path / f"vault-{number}", "kestra")


def test_kill_9_before_every_effect_of_a_seal(tmp_path):
    def prepare():
        vault = fresh(tmp_path)
        filled(vault)
        return vault

    states = set()
    for _number, vault in every_kill(prepare, sealed):
        there = vault.sealed_ids() == [ID]
        states.add(there)
        if there:
            vault.manifest(ID)  # whole, or this raises
            assert vault.summary(ID)["verdict"] == "unverified"
            assert os.path.exists(os.path.join(vault.point_dir(ID), "storage.jsonl.gz"))
        sealed(vault)  # the same run again
        assert vault.sealed_ids() == [ID]
        # The directory of a killed removal stays until the next backup begins.
        assert points.open_point(vault, run_id="run-2")["swept"] == []
        assert len(os.listdir(vault.below("open"))) == 1
    assert states == {True, False}


def test_after_a_killed_seal_another_run_starts_clean(tmp_path):
    def prepare():
        vault = fresh(tmp_path)
        filled(vault)
        return vault

    for _number, vault in every_kill(prepare, sealed):
        there = vault.sealed_ids() == [ID]
        opened = points.open_point(vault, run_id="run-2")
        assert opened["id"] != ID and opened["reattached"] is False
        assert (vault.sealed_ids() == [ID]) is there
        assert opened["swept"] in ([], [] if there else [ID])
        assert os.listdir(vault.below("open")) == [opened["id"]]


def test_kill_9_before_every_effect_of_an_opening(tmp_path):
    def prepare():
        vault = fresh(tmp_path)
        filled(vault, OTHER, "dead")
        return vault

    kills = 0
    for _number, vault in every_kill(prepare, lambda vault: points.open_point(vault, run_id="run-1", point=ID)):
        kills += 1
        opened = points.open_point(vault, run_id="run-1", point=ID)
        assert all(os.path.isdir(opened[part]) for part in ("staging", "jobs", "lists", "components"))
        assert vault.open_facts(ID)["run_id"] == "run-1"
        assert os.listdir(vault.below("open")) == [ID]
    assert kills > 10


def test_kill_9_before_every_effect_of_an_abort(tmp_path):
    def prepare():
        vault = fresh(tmp_path)
        filled(vault)
        return vault

    for number, vault in every_kill(prepare, lambda vault: points.abort(vault, ID)):
        if number % 2:  # the same run goes on: with all of it or with none of it
            opened = points.open_point(vault, run_id="run-1", point=ID)
            whole = ["config", "storage"] if opened["reattached"] else []
            assert sorted(vault.components(ID)) == whole
            assert os.path.exists(os.path.join(opened["staging"], "config", "h1.json")) is bool(whole)
        points.abort(vault, ID)
        assert vault.open_ids() == [] and vault.sealed_ids() == []
        assert filled(vault)["reattached"] is False


def test_the_audit_hook_really_kills(tmp_path):
    kills = [
        number for number, _scene in every_kill(lambda: None, lambda _scene: (tmp_path / f"f{os.getpid()}").mkdir())
    ]
    assert kills == [0]
    assert signal.SIGKILL == 9


@pytest.mark.parametrize(
    "given, name, value",
    [
        (["kestra-dr", "point=x"], "point", "x"),
        (["component=a=b"], "component", "a=b"),
        ([], "point", None),
        (None, "point", None),
        (["pointless=1"], "point", None),
    ],
)
def test_tags(given, name, value):
    assert points.tag_value(given, name) == value
