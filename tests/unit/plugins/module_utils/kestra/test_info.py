# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kestra says about itself, version by version, and what is said when it does not."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import info
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.client import Client, Settings
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra

EXECUTIONS = [("e1", "company.team", "load", "RUNNING"), ("e2", "company", "wait", "PAUSED"),
              ("e3", "company", "done", "SUCCESS"), ("e4", "company", "done", "SUCCESS"), ("e5", "x", "y", "FAILED")]


def gather(kestra, counts=True, max_in_flight=100, **settings):
    settings = {"api_url": kestra.api, "management_url": kestra.management, "timeout": 5, **settings}
    return info.gather(Client(Settings(**settings)), counts=counts, max_in_flight=max_in_flight).to_result()


@pytest.fixture
def kestra():
    with FakeKestra() as running:
        running.executions["main"] = list(EXECUTIONS)
        yield running


@pytest.mark.parametrize("version, tenant", [
    ("0.19.4", None), ("0.20.7", None), ("0.21.0", None), ("0.22.3", None), ("0.23.1", "main"), ("0.24.0", "main"),
    ("1.0.5", "main"), ("1.1.0", "main"), ("1.3.15", "main"), ("2.0.0", "main"), ("2.1.0", "main"),
    ("2.0.strict", "main"),
])
def test_open_source_of_every_version(kestra, version, tenant):
    kestra.version = version
    found = gather(kestra)
    assert (found["facts"], found["version"], found["edition"], found["uuid"]) == ("api", version, "OSS", "uuid-1")
    assert found["health"] == {"status": "UP", "url": kestra.management}
    assert found["tenants"] == [tenant]
    counts = found["counts"]
    assert (counts["flows"], counts["namespaces"], counts["triggers"], counts["kv"]) == (3, 2, 3, 2)
    assert counts["executions"]["total"] == 5
    assert {state: number for state, number in counts["executions"]["by_state"].items() if number} == {
        "RUNNING": 1, "PAUSED": 1, "SUCCESS": 2, "FAILED": 1}
    where = {"tenant": "main"} if tenant else {}
    assert found["in_flight"] == {"total": 2, "truncated": False, "executions": [
        {"id": "e1", "namespace": "company.team", "flow": "load", "state": "RUNNING", **where},
        {"id": "e2", "namespace": "company", "flow": "wait", "state": "PAUSED", **where}]}
    assert found["not_run"] == {"maintenance": "Open-source Kestra has no maintenance mode."}


def test_states_a_version_does_not_know_are_left_out(kestra):
    old = gather(kestra)["counts"]["executions"]["by_state"]
    kestra.version = "2.0.0"
    new = gather(kestra)["counts"]["executions"]["by_state"]
    assert "SUBMITTED" not in old and new["SUBMITTED"] == 0 and set(old) < set(new)


@pytest.mark.parametrize("state", info.UNFINISHED + info.FINISHED)
def test_a_filter_that_is_ignored_is_never_believed(kestra, state):
    """All executions in one state: whichever it is, the old version ignores filters[...] and must be found out."""
    if state not in ("SUBMITTED", "BREAKPOINT", "RESUBMITTED"):
        kestra.executions["main"] = [(f"e{number}", "n", "f", state) for number in range(4)]
        by_state = gather(kestra)["counts"]["executions"]["by_state"]
        assert {name: number for name, number in by_state.items() if number} == {state: 4}


def test_no_executions_at_all(kestra):
    kestra.executions["main"] = []
    found = gather(kestra)
    assert found["counts"]["executions"]["total"] == 0 and found["in_flight"]["total"] == 0


def test_a_server_that_cannot_filter_is_said_not_guessed(kestra):
    kestra.version = "2.0.0"
    rows = b'{"results": [{"id": "a", "state": {"current": "RUNNING"}}], "total": 9}'
    kestra.broken = {"/executions/search": (200, rows)}
    found = gather(kestra)
    assert found["counts"]["executions"] is None and found["in_flight"] is None
    assert "filter" in found["not_run"]["counts.executions"] and found["counts"]["flows"] == 3


def test_the_list_is_cut_but_the_total_is_exact(kestra):
    running = [(f"e{number}", "n", "f", "RUNNING") for number in range(230)]
    kestra.executions["main"] = running + [("p", "n", "f", "PAUSED")]
    found = gather(kestra, max_in_flight=150)["in_flight"]
    assert found["total"] == 231 and len(found["executions"]) == 150 and found["truncated"]
    assert len({row["id"] for row in found["executions"]}) == 150
    assert gather(kestra, max_in_flight=0)["in_flight"]["executions"] == []
    assert len(gather(kestra, max_in_flight=1000)["in_flight"]["executions"]) == 231


# -- Enterprise -------------------------------------------------------------------------------------------------------

def enterprise(**options):
    kestra = FakeKestra(**{"version": "1.3.15", "edition": "EE", "tenants": ["main", "other team"], "token": "tok",
                           **options})
    kestra.executions["main"] = [("a", "n", "f", "RUNNING")]
    kestra.executions["other team"] = [("b", "n", "f", "QUEUED"), ("c", "n", "f", "SUCCESS")]
    return kestra


def test_all_tenants_are_counted():
    with enterprise() as kestra:
        found = gather(kestra, token="tok")
        assert found["edition"] == "EE" and found["tenants"] == ["main", "other team"]
        assert found["counts"]["flows"] == 6 and found["counts"]["kv"] == 4
        assert found["counts_by_tenant"]["other team"]["executions"]["total"] == 2
        assert [(row["tenant"], row["state"]) for row in found["in_flight"]["executions"]] == [
            ("main", "RUNNING"), ("other team", "QUEUED")]
        assert found["maintenance"] is False and found["not_run"] == {}


def test_one_tenant_by_option():
    with enterprise() as kestra:
        assert gather(kestra, token="tok", tenant="other team")["counts"]["executions"]["total"] == 2
        found = gather(kestra, token="tok", tenant="nope")
        assert found["tenants"] is None and "no tenant nope" in found["not_run"]["counts"]


def test_a_user_who_may_not_list_tenants_sees_main_and_is_told():
    with enterprise() as kestra:
        kestra.forbidden = ("/tenants/search",)
        found = gather(kestra, token="tok")
        assert found["tenants"] == ["main"] and "403" in found["not_run"]["other_tenants"]


def test_a_number_missing_for_one_tenant_is_missing_in_the_sum():
    with enterprise() as kestra:
        kestra.forbidden = ("/other team/kv", "/other%20team/kv")
        found = gather(kestra, token="tok")
        assert found["counts"]["kv"] is None and found["counts"]["flows"] == 6
        assert found["counts_by_tenant"]["main"]["kv"] == 2 and "403" in found["not_run"]["counts.kv"]


@pytest.mark.parametrize("version", ["0.21.0", "0.22.1", "0.23.1"])
def test_the_edition_of_versions_that_do_not_name_it(version):
    with enterprise(version=version, tenants=["main"], token=None) as kestra:
        assert gather(kestra, tenant="main")["edition"] == "EE"


# -- down, refusing, something else -----------------------------------------------------------------------------------

def test_kestra_down_is_no_failure():
    kestra = FakeKestra().start()
    kestra.stop()
    found = gather(kestra)
    assert found["facts"] == "not_run" and found["health"]["status"] is None and found["counts"] == {}
    assert set(found["not_run"]) == {"health", "version", "uuid", "edition", "tenants", "counts", "in_flight",
                                     "maintenance"}
    assert all("does not answer" in reason for reason in found["not_run"].values())


def test_a_refused_login_in_2_0_leaves_the_version_of_the_management_port():
    with FakeKestra("2.0.0", login=("u", "p")) as kestra:
        found = gather(kestra)
        assert found["version"] == "2.0.0" and found["edition"] == "OSS" and found["uuid"] is None
        assert found["facts"] == "api" and found["health"]["status"] == "UP"
        assert "login" in found["not_run"]["uuid"] and "version" not in found["not_run"]
        assert gather(kestra, user="u", password="p")["uuid"] == "uuid-1"


def test_a_refused_login_in_1_x_still_gives_the_identity():
    with FakeKestra("1.0.0", login=("u", "p")) as kestra:
        found = gather(kestra)
        assert found["uuid"] == "uuid-1" and found["tenants"] is None
        assert "api_user" in found["not_run"]["counts"]


def test_unhealthy_is_down(kestra):
    kestra.health = (503, "DOWN")
    assert gather(kestra)["health"]["status"] == "DOWN"


def test_no_management_address(kestra):
    found = gather(kestra, management_url=None)
    assert found["health"]["status"] is None and "management_url" in found["not_run"]["health"]
    assert found["counts"]["flows"] == 3


def test_something_else_at_that_address(kestra):
    kestra.broken = {"": (200, b"<html>")}
    found = gather(kestra)
    assert found["facts"] == "not_run" and "not what Kestra" in found["not_run"]["version"]


def test_errors_of_single_endpoints_leave_the_rest(kestra):
    kestra.broken = {"/triggers/search": (500, b"{}"), "/namespaces/search": (404, b"{}")}
    found = gather(kestra)
    assert found["counts"]["flows"] == 3 and found["counts"]["triggers"] is None
    assert "500" in found["not_run"]["counts.triggers"] and "counts.namespaces" in found["not_run"]


def test_without_counts_nothing_is_searched(kestra):
    found = gather(kestra, counts=False)
    assert found["counts"] == {} and found["uuid"] == "uuid-1"
    assert not [path for _method, path, _query, _login in kestra.seen if "search" in path]


def test_too_many_namespaces_for_counting_kv_one_by_one(kestra):
    kestra.namespaces["main"] = [f"n{number}" for number in range(1001)]
    assert "namespaces" in gather(kestra)["not_run"]["counts.kv"]


@pytest.mark.parametrize("text, key", [("0.21.0", (0, 21)), ("v1.3.15", (1, 3)), ("0.23.0-SNAPSHOT", (0, 23)),
                                       ("2.0.0-oss", (2, 0)), ("develop", None), (None, None)])
def test_versions(text, key):
    assert info.version_key(text) == key
