# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_maintenance: states, check mode, refusals."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kestra_maintenance
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run


@pytest.fixture(params=["0.24.0", "2.0.0"])
def kestra(request):
    with FakeKestra(request.param, "EE", token="s3cret-token") as running:
        yield running


def options(kestra, **other):
    return {"api_url": kestra.api, "api_token": "s3cret-token", "interval": 0.05, "timeout": 5, **other}


def test_enter_twice_leave_twice(kestra):
    kestra.lag = 2
    entered = run(kestra_maintenance, **options(kestra))
    assert entered["changed"] and entered["maintenance"]["ready"] and entered["path"].endswith("/maintenance/enter")
    assert "s3cret-token" not in entered["_raw"]
    again = run(kestra_maintenance, **options(kestra))
    assert again["changed"] is False and again["path"] is None
    left = run(kestra_maintenance, state="left", **options(kestra))
    assert left["changed"] and kestra.maintenance is False and left["maintenance"]["active"] is False
    assert run(kestra_maintenance, state="left", **options(kestra))["changed"] is False


def test_check_mode_sends_nothing(kestra):
    result = run(kestra_maintenance, check=True, **options(kestra))
    assert result["changed"] and kestra.maintenance is False
    assert not [path for method, path, _query, _login in kestra.seen if method == "POST"]


def test_without_waiting(kestra):
    kestra.lag = 10**6
    result = run(kestra_maintenance, wait=False, **options(kestra))
    assert result["changed"] and result["maintenance"]["active"] and not result["maintenance"]["ready"]


def test_a_time_out_fails_with_the_services(kestra):
    kestra.lag = 10**6
    result = run(kestra_maintenance, **options(kestra, timeout=0.2))
    assert result["failed"] and result["reason"] == "maintenance_timeout" and "WORKER" in result["msg"]


def test_drained(kestra):
    kestra.executions["main"] = [("a", "n", "f", "KILLING")]
    result = run(kestra_maintenance, drained=True, **options(kestra, timeout=0.3))
    assert result["failed"] and "1 executions still run" in result["msg"]
    kestra.executions["main"] = []
    assert run(kestra_maintenance, drained=True, **options(kestra))["maintenance"]["running"] == 0


@pytest.mark.parametrize("check", [False, True])
def test_open_source_has_none(check):
    with FakeKestra("1.3.15") as kestra:
        result = run(kestra_maintenance, check=check, api_url=kestra.api)
        assert result["failed"] and result["reason"] == "maintenance_unavailable" and "pinned" in result["msg"]


def test_for_a_while_only(kestra, tmp_path):
    who = {"instance": "kestra", "state_dir": str(tmp_path), "run_id": "r1", "seconds": 60}
    planned = run(kestra_maintenance, check=True, dead_man=who, **options(kestra))
    assert planned["changed"] and kestra.maintenance is False and not (tmp_path / "kestra").exists()
    entered = run(kestra_maintenance, dead_man=who, **options(kestra))
    assert entered["changed"] and entered["maintenance"]["ready"] and entered["record"]["run_id"] == "r1"
    assert "s3cret-token" not in entered["_raw"] and "way_out" not in entered["_raw"]
    other = run(kestra_maintenance, dead_man={**who, "run_id": "r2"}, **options(kestra))
    assert other["failed"] and other["reason"] == "locked" and "run r1" in other["msg"]
    left = run(kestra_maintenance, state="left", dead_man=who, **options(kestra))
    assert left["changed"] and left["disturbed"] is None and kestra.maintenance is False
    assert left["maintenance"]["active"] is False and left["record"] is None
