# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_pending: what it returns, check mode, refusals."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kestra_pending
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

RECORDED = [{"id": "a", "namespace": "n", "flow": "f", "tenant": "main", "state": "RUNNING"}]


@pytest.fixture(params=["0.22.0", "1.3.15", "2.0.0"])
def kestra(request):
    with FakeKestra(request.param, "EE", tenants=["main", "other"], token="s3cret-token") as running:
        running.executions["main"] = [("a", "n", "f", "RUNNING"), ("b", "n", "f", "RUNNING")]
        yield running


def options(kestra, **other):
    return {"api_url": kestra.api, "api_token": "s3cret-token", "action": "kill", "recorded": RECORDED, "interval": 0.05, **other}


def test_kill_then_nothing_is_left_to_do(kestra):
    planned = run(kestra_pending, check=True, **options(kestra))
    assert planned["changed"] and planned["became"][0]["action"] == "kill" and kestra.killing == {}
    done = run(kestra_pending, **options(kestra))
    assert done["changed"] and done["became"] == [{"id": "a", "namespace": "n", "flow": "f", "tenant": "main", "was": "RUNNING", "found": "RUNNING",
                                                   "now": "KILLED", "action": "kill", "done": True, "new_id": None, "why": None}]
    assert [row[3] for row in kestra.executions["main"]] == ["KILLED", "RUNNING"] and "s3cret-token" not in done["_raw"]
    assert not run(kestra_pending, **options(kestra))["changed"]


def test_replay(kestra):
    done = run(kestra_pending, **options(kestra, action="replay"))
    assert done["became"][0]["new_id"] == "again-a" and kestra.replayed == [("again-a", "a")]
    assert not run(kestra_pending, **options(kestra, action="replay"))["changed"] and len(kestra.replayed) == 1


def test_what_is_not_done_is_a_failure_with_the_rest_to_do(kestra):
    kestra.deaf = ("a",)
    failed = run(kestra_pending, **options(kestra, timeout=0.1))
    assert failed["failed"] and failed["reason"] == "not_done" and failed["detail"]["not_done"] == ["a"]
    assert "kill/by-ids" in failed["detail"]["by_hand"][0] and "s3cret-token" not in failed["_raw"]
    refused = run(kestra_pending, **options(kestra, api_token="another"))
    assert refused["failed"] and refused["reason"] == "unauthorized" and refused["detail"]["by_hand"]


def test_what_is_no_list_of_executions(kestra):
    failed = run(kestra_pending, **options(kestra, recorded=[{"name": "a"}]))
    assert failed["reason"] == "bad_recorded" and kestra.seen == []
