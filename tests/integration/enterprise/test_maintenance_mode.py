# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's maintenance mode is what is documented of Kestra's, at the paths of every version."""
from __future__ import annotations

import time

import pytest
import yaml
from ansible_collections.kestra_community.dr.plugins.modules import kestra_maintenance
from ansible_collections.kestra_community.dr.tests.integration.standin import conftest as standin_tests
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

PATHS = {"0.21.0": "/api/v1/cluster", "0.22.0": "/api/v1/cluster", "0.23.0": "/api/v1/main/cluster", "0.24.0": "/api/v1/instance",
         "1.3.26": "/api/v1/instance", "2.0.0": "/api/v1/instance"}
FLOW = """\
id: {name}
namespace: company.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: {wait}
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: done
"""
EVERY = """\
triggers:
  - id: often
    type: io.kestra.plugin.core.trigger.Schedule
    every: PT1S
"""


@pytest.fixture
def started(instance):
    def start(version, **settings):
        one = instance(version=version)
        document = yaml.safe_load(one.config.read_text(encoding="utf-8"))
        document["kestra"].update(settings)
        one.standin.start(configuration=document, environ=one.environment)
        return one
    return start


def mode(one, **options):
    return run(kestra_maintenance, api_url=f"http://127.0.0.1:{one.standin.ports['main'][0]}", interval=0.2,
               **{"timeout": 30, **options})


@pytest.mark.parametrize("version", PATHS)
def test_every_version_enters_and_leaves_at_its_own_path(started, version):
    one = started(version)
    entered = mode(one)
    assert entered["path"] == PATHS[version] + "/maintenance/enter", entered["_raw"]
    assert entered["maintenance"]["services"]["WORKER"] == {"total": 1, "in_maintenance": 1}
    assert mode(one)["changed"] is False
    one.standin.end()
    one.standin.start(configuration=yaml.safe_load(one.config.read_text(encoding="utf-8")), environ=one.environment)
    assert mode(one)["maintenance"]["active"], "the database remembers it"
    assert mode(one, state="left")["maintenance"]["active"] is False
    for other in set(PATHS.values()) - {PATHS[version]}:
        assert one.standin.call("POST", other + "/maintenance/enter")[0] == 404


def test_it_drains_and_does_not_freeze(started):
    one = started("1.3.26")
    one.standin.flow(FLOW.format(name="slow", wait="PT4S"))
    one.standin.flow(FLOW.format(name="often", wait="PT0S") + EVERY)
    one.standin.execute("company.team", "slow", wait=False)
    standin_tests.until(lambda: one.rows("SELECT count(*) FROM worker_job_running")[0][0] >= 1, 20, one.standin.log)
    assert mode(one)["maintenance"]["ready"]
    standin_tests.until(lambda: one.rows("SELECT count(*) FROM worker_job_running") == [(0,)], 20, one.standin.log)
    states = one.rows("SELECT id, state_current::text FROM executions WHERE flow_id = 'slow'")
    time.sleep(2)
    assert one.rows("SELECT id, state_current::text FROM executions WHERE flow_id = 'slow'") == states and states[0][1] == "RUNNING"
    one.standin.execute("company.team", "slow", wait=False)
    created = "SELECT count(*) FROM executions WHERE state_current = 'CREATED'"
    assert one.rows(created)[0][0] >= 1
    beats = one.rows("SELECT max(updated_at) FROM service_instance")
    standin_tests.until(lambda: one.rows("SELECT max(updated_at) FROM service_instance") > beats, 10, one.standin.log)
    logs = one.rows("SELECT count(*) FROM logs")
    assert mode(one, state="left")["changed"]
    standin_tests.until(lambda: one.rows("SELECT count(*) FROM executions WHERE flow_id = 'slow' AND state_current = 'SUCCESS'") == [(2,)],
                        40, one.standin.log)
    standin_tests.until(lambda: one.rows("SELECT count(*) FROM logs") > logs, 10, one.standin.log)


def test_an_api_token_is_a_login_until_it_ends(started):
    one = started("1.3.26")
    one.token("long", 600)
    one.token("short", 1)
    assert mode(one, api_token="long")["maintenance"]["ready"]
    time.sleep(1)
    for token in ("short", "unknown"):
        found = mode(one, state="left", api_token=token)
        assert found["failed"] and found["reason"] == "unauthorized" and "refuses the API token" in found["msg"]
    assert mode(one, state="left", api_token="long")["changed"]


def test_a_kestra_that_goes_away_meanwhile(started):
    one = started("1.3.26")
    assert mode(one)["changed"]
    one.standin.end()
    found = mode(one, state="left")
    assert found["failed"] and found["reason"] == "api_unreachable" and "does not answer" in found["msg"]


def test_a_user_who_may_not_is_told_what_it_takes(started):
    one = started("1.3.26")
    one.token("reader", administrator=False)
    found = mode(one, api_token="reader")
    assert found["failed"] and found["reason"] == "forbidden" and "INFRASTRUCTURE" in found["msg"]
    assert mode(one)["changed"], "nothing was entered"


def test_a_worker_that_does_not_follow_is_named(started):
    one = started("1.3.26", standin={"deaf": "worker"})
    found = mode(one, timeout=4)
    assert found["failed"] and found["reason"] == "maintenance_timeout" and "WORKER" in found["msg"] and "EXECUTOR" not in found["msg"]
    one.standin.end()
    one = started("2.0.0", standin={"deaf": "worker"})
    assert "WORKER (0 of 1)" in mode(one, timeout=4)["msg"]
