# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's own hands on a user's Kestra: control, work through the API, losing and putting back."""
from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace

import pytest

from drill import DrillError, disaster, ledger, processes
from drill.api import Api
from drill.health import Poller, downtime, is_up, wait_up
from drill.labdir import LabDir
from drill.own import OwnKestra
from drill.workload import Driver, Workload


@pytest.fixture
def kestra(own, tmp_path, collections):
    lab = LabDir(tmp_path / "lab")
    lab.lock()
    lab.prepare()
    options = SimpleNamespace(kestra=str(own.executable), config=str(own.config), size="small")
    found = OwnKestra(lab, options, collections=collections, environment=own.environment(), cwd=str(tmp_path),
                      serial="20261123T001500Z-a1b2c3")
    yield found
    found.stop()
    processes.end_all(processes.marked(f"{lab.root}#kestra"))


def started(kestra):
    kestra.prepare()
    kestra.start()
    assert wait_up(kestra.target.health_url, 60, still=kestra.running), kestra.log_tail()
    api = Api(kestra.target.api_url, kestra.target.api_user, kestra.target.api_password)
    api.discover()
    return api


def test_a_wrapper_that_does_not_exec_is_stopped_with_what_it_started(kestra):
    started(kestra)
    assert kestra.running()
    assert kestra.stop()
    assert not kestra.running()
    assert not is_up(kestra.target.health_url)
    assert processes.marked(f"{kestra._lab.root}#kestra") == []


def test_the_three_scripts_do_what_the_inventory_says(kestra):
    started(kestra)
    scripts = kestra.target.scripts
    assert os.spawnl(os.P_WAIT, scripts["status"], scripts["status"]) == 0
    assert os.spawnl(os.P_WAIT, scripts["stop"], scripts["stop"]) == 0
    assert os.spawnl(os.P_WAIT, scripts["status"], scripts["status"]) == 3
    assert os.spawnl(os.P_WAIT, scripts["start"], scripts["start"]) == 0
    assert wait_up(kestra.target.health_url, 60, still=kestra.running), kestra.log_tail()


def test_a_kestra_that_runs_already_is_refused(kestra):
    started(kestra)
    kestra._lab.password_file.unlink()
    with pytest.raises(DrillError, match="runs already"):
        kestra.prepare()


def test_a_role_that_may_not_rename_is_refused_before_anything_is_touched(kestra, own):
    with own.postgres.admin() as connection:
        connection.execute(f"ALTER ROLE {own.role} NOCREATEDB")
    with pytest.raises(DrillError, match="CREATEDB"):
        kestra.prepare()
    assert not kestra._lab.inventory.exists()


@pytest.mark.parametrize("version", ["0.19.0", "0.21.0", "0.23.0", "1.3.0"])
def test_everything_acknowledged_can_be_looked_up(kestra, own, version):
    """Before and after the tenant came into the paths; with a login."""
    own.write_config(**{"basic-auth": {"enabled": True, "username": "me@example.org", "password": "Pässword 1:@"}})
    own.write_executable(f'export KESTRA_STANDIN_VERSION={version}\nexec "$standin" "$@"')
    api = started(kestra)
    assert api.version == version and api.tenant == (None if version < "0.23" else "main")
    book = ledger.Ledger()
    work = Workload(api, "company.drill", book, "serial")
    work.deploy()
    work.sentinels("first")
    assert work.finishes(work.execution(), 30) == "SUCCESS"
    assert sorted(work.flows_present()) == ["every_minute", "files", "hello"]
    expectation = ledger.divide(book.writes(), time.time(), time.time())
    found = ledger.compare(api, "company.drill", expectation)
    assert len(found["present"]) == 4 and not found["missing"] and not found["changed"]
    ghost = ledger.Write("execution", "0" * 22, time.time() + 1, time.time() + 1)
    assert ledger.look(api, "company.drill", ghost) == "absent"
    assert ledger.look(api, "company.drill", ledger.Write("value", "nope", 0, 0, "x")) == "absent"
    assert ledger.look(api, "company.drill", ledger.Write("file", "/nope", 0, 0, b"x")) == "absent"
    changed = next(one for one in book.writes() if one.kind == "value")
    api.put_value("company.drill", changed.name, "another")
    assert ledger.look(api, "company.drill", changed) == "changed"
    assert work.tidy() == 0
    assert work.flows_present() == []
    assert {ledger.look(api, "company.drill", one) for one in book.writes()} == {"absent"}


def test_the_driver_rides_out_a_restart_and_the_poller_measures_it(kestra):
    api = started(kestra)
    work = Workload(api, "company.drill", ledger.Ledger(), "serial")
    work.deploy()
    driver, poller = Driver(work, 0.05), Poller(kestra.target.health_url, 0.05)
    poller.start()
    driver.start()
    assert driver.wait_for(5, 30)
    begin = time.monotonic()
    assert kestra.stop()
    time.sleep(1)
    kestra.start()
    assert wait_up(kestra.target.health_url, 60)
    assert driver.wait_for(5, 30), driver.last_error
    driver.stop()
    poller.stop()
    assert driver.refused > 0
    measured = downtime(poller.samples(), begin, time.monotonic())
    assert 1.0 < measured < time.monotonic() - begin


def test_data_moved_aside_is_out_of_reach_and_comes_back(kestra, own):
    api = started(kestra)
    work = Workload(api, "company.drill", ledger.Ledger(), "serial")
    work.deploy()
    sentinels = work.sentinels("before")
    kestra.plan_loss()
    kestra.lose()  # while it runs
    assert not kestra.database.exists() and not own.storage.exists()
    assert kestra.database.exists(kestra.aside["database"]["to"])
    kestra.stop()
    said = []
    for _again in range(2):  # it can be repeated
        disaster.put_back(kestra.database, kestra.aside, "x1", said.append)
    assert len(said) == 2
    kestra.start()
    assert wait_up(kestra.target.health_url, 60, still=kestra.running), kestra.log_tail()
    assert {ledger.look(api, "company.drill", one) for one in sentinels} == {"present"}


def test_what_lies_in_the_way_of_the_original_is_kept(kestra, own):
    kestra.prepare()
    (own.storage / "mark").write_text("original", "utf-8")
    kestra.plan_loss()
    kestra.lose()
    with own.postgres.admin() as connection:
        connection.execute(f"CREATE DATABASE {own.database} OWNER {own.role}")
    own.storage.mkdir()
    (own.storage / "mark").write_text("restored", "utf-8")
    disaster.put_back(kestra.database, kestra.aside, "x1", lambda text: None)
    assert (own.storage / "mark").read_text("utf-8") == "original"
    assert (own.storage.with_name("storage.restored-x1") / "mark").read_text("utf-8") == "restored"
    assert kestra.database.exists(f"{own.database}_restored_x1")


def test_a_killed_server_is_found_again_by_pid_start_and_mark(kestra):
    started(kestra)
    members = kestra._control.members()
    assert len(members) >= 2  # wrapper and server
    os.kill(members[0]["pid"], signal.SIGKILL)
    time.sleep(0.5)
    assert kestra.running()  # what the wrapper left behind
    assert kestra.stop()
