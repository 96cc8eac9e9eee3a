# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_info: facts or the reason why not."""
from __future__ import annotations

import threading

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kestra_info
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run


@pytest.fixture
def kestra():
    with FakeKestra("2.0.0", login=("admin", "s3cret-password")) as running:
        running.executions["main"] = [("a", "n", "f", "RUNNING")]
        yield running


def test_with_a_login(kestra):
    for check in (False, True):
        result = run(kestra_info, check=check, api_url=kestra.api, management_url=kestra.management, api_user="admin",
                     api_password="s3cret-password")
        assert result["changed"] is False and result["facts"] == "api" and result["uuid"] == "uuid-1"
        assert result["in_flight"]["total"] == 1 and result["counts"]["flows"] == 3
        assert "s3cret-password" not in result["_raw"]


def test_address_and_login_from_kestras_configuration(kestra):
    text = (f"micronaut.server: {{host: 127.0.0.1, port: {kestra.api.rpartition(':')[2]}}}\n"
            f"endpoints.all.port: {kestra.management.rpartition(':')[2]}\n"
            "kestra.server.basic-auth: {username: admin, password: s3cret-password}\n")
    result = run(kestra_info, config={"text": text})
    assert result["uuid"] == "uuid-1" and result["health"]["status"] == "UP"
    assert "s3cret-password" not in result["_raw"]


def test_refused_is_no_failure_unless_required(kestra):
    options = {"api_url": kestra.api, "management_url": kestra.management, "api_user": "admin",
               "api_password": "wrong-password"}
    result = run(kestra_info, **options)
    assert not result.get("failed") and result["uuid"] is None and "401" in result["not_run"]["uuid"]
    result = run(kestra_info, required=True, **options)
    assert result["failed"] and result["reason"] == "api_required" and "401" in result["msg"]
    assert "wrong-password" not in result["_raw"]


def test_what_runs_gets_time_to_end(kestra):
    options = {"api_url": kestra.api, "management_url": kestra.management, "api_user": "admin", "api_password": "s3cret-password"}
    assert "idle" not in run(kestra_info, **options)
    late = run(kestra_info, wait_idle=1, **options)
    assert late["idle"]["running"] == 1 and late["idle"]["seconds"] >= 1 and late["in_flight"]["total"] == 1 and not late.get("failed")
    threading.Timer(0.5, kestra.executions["main"].clear).start()
    ended = run(kestra_info, wait_idle=60, **options)
    assert ended["idle"]["running"] == 0 and 0.5 < ended["idle"]["seconds"] < 30 and ended["in_flight"]["total"] == 0


def test_a_kestra_that_does_not_tell_what_runs_is_not_waited_for(kestra):
    found = run(kestra_info, wait_idle=60, api_url=kestra.api, management_url=kestra.management)
    assert not found.get("failed") and found["idle"]["running"] is None and "401" in found["idle"]["not_run"]
    assert found["idle"]["seconds"] < 30


def test_down_is_no_failure_unless_required(kestra):
    kestra.stop()
    options = {"api_url": kestra.api, "management_url": kestra.management}
    assert run(kestra_info, **options)["facts"] == "not_run"
    assert run(kestra_info, required=True, **options)["reason"] == "api_required"


def test_no_address_at_all_is_not_run():
    result = run(kestra_info)
    assert result["facts"] == "not_run" and "api_url" in result["not_run"]["uuid"]


def test_a_bad_address_is_a_failure():
    result = run(kestra_info, api_url="http://u:hunter2@h")
    assert result["failed"] and result["reason"] == "bad_url"
