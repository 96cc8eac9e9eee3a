# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode: entered, left, waited for; and said clearly where there is none."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError, RefusedError, StateError)
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.client import Client, Settings
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.maintenance import Maintenance
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra


class Clock:
    """Time that passes by sleeping."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def mode(kestra, **settings):
    clock = Clock()
    settings = {"api_url": kestra.api, "management_url": kestra.management, "timeout": 5, **settings}
    return Maintenance(Client(Settings(**settings)), clock=clock, sleep=clock.sleep)


@pytest.fixture(params=["0.22.0", "0.23.1", "0.23.cluster", "0.24.0", "1.0.3", "1.3.15", "2.0.0", "2.1.0"])
def kestra(request):
    with FakeKestra(request.param, "EE") as running:
        yield running


def test_enter_wait_and_leave_in_every_version(kestra):
    kestra.lag = 3
    here = mode(kestra)
    here.check()
    assert here.status().active is False
    path = here.send("enter")
    expected = {(0, 22): "/api/v1/cluster", (0, 23): "/api/v1/main/cluster"}.get(kestra.key, "/api/v1/instance")
    expected = "/api/v1/cluster" if kestra.version.endswith("cluster") else expected
    assert path == f"{expected}/maintenance/enter"
    status = here.wait(True, timeout=60)
    assert status.active and status.ready and not status.waiting
    assert status.services["EXECUTOR"] == {"total": 1, "in_maintenance": 1}
    assert here.send("exit") == f"{expected}/maintenance/exit"
    assert here.wait(False, timeout=60).active is False


def test_a_time_out_names_who_did_not_acknowledge(kestra):
    kestra.lag = 10**6
    here = mode(kestra)
    here.check()
    here.send("enter")
    with pytest.raises(StateError) as caught:
        here.wait(True, timeout=30)
    assert caught.value.reason == "maintenance_timeout" and "WORKER" in caught.value.message
    assert caught.value.detail["waiting"] and "30 s" in caught.value.message


def test_drained_waits_for_running_work(kestra):
    kestra.executions["main"] = [("a", "n", "f", "RUNNING"), ("b", "n", "f", "QUEUED"), ("c", "n", "f", "SUCCESS")]
    here = mode(kestra)
    here.check()
    here.send("enter")
    assert here.wait(True, timeout=5).running is None
    with pytest.raises(StateError) as caught:
        here.wait(True, timeout=5, drained=True)
    assert "1 executions still run" in caught.value.message
    kestra.executions["main"][0] = ("a", "n", "f", "SUCCESS")
    assert here.wait(True, timeout=5, drained=True).running == 0


@pytest.mark.parametrize("version, edition", [("0.21.0", "OSS"), ("0.24.0", "OSS"), ("1.3.15", "OSS"), ("2.0.0", "OSS"),
                                              ("0.20.7", "EE")])
def test_where_there_is_none_it_says_what_to_use_instead(version, edition):
    with FakeKestra(version, edition) as kestra:
        with pytest.raises(RefusedError) as caught:
            mode(kestra).check()
        assert caught.value.reason == "maintenance_unavailable" and "pinned" in caught.value.hint
        assert not [path for method, path, _query, _login in kestra.seen if method == "POST"]


def test_no_known_path_is_no_maintenance_mode():
    with FakeKestra("1.0.0", "EE") as kestra:
        kestra.broken = {"/maintenance/enter": (404, b"{}")}
        here = mode(kestra)
        here.check()
        with pytest.raises(RefusedError):
            here.send("enter")


def test_a_missing_permission_is_named():
    with FakeKestra("2.0.0", "EE") as kestra:
        kestra.forbidden = ("/maintenance/enter",)
        here = mode(kestra)
        here.check()
        with pytest.raises(ConnectError) as caught:
            here.send("enter")
        assert caught.value.reason == "forbidden" and "Instance Owner" in caught.value.hint


def test_services_that_may_not_be_seen_are_no_proof():
    with FakeKestra("1.3.0", "EE") as kestra:
        kestra.broken = {"/services/search": (404, b"{}")}
        here = mode(kestra)
        here.check()
        here.send("enter")
        assert here.status().ready is None
        with pytest.raises(ConnectError) as caught:
            here.wait(True, timeout=5)
        assert caught.value.reason == "maintenance_unproven"


def test_a_kestra_that_is_down_or_wants_a_login_is_an_error():
    kestra = FakeKestra("2.0.0", "EE", token="tok").start()
    with pytest.raises(ConnectError) as caught:
        mode(kestra).check()
    assert caught.value.reason == "unauthorized"
    kestra.stop()
    with pytest.raises(ConnectError) as caught:
        mode(kestra, token="tok").check()
    assert caught.value.reason == "api_unreachable"


def test_a_mode_that_does_not_end_is_a_time_out():
    with FakeKestra("2.0.0", "EE") as kestra:
        kestra.maintenance = True
        here = mode(kestra)
        here.check()
        with pytest.raises(StateError) as caught:
            here.wait(False, timeout=5)
        assert "still reports" in caught.value.message
