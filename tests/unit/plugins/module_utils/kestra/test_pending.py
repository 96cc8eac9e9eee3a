# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is meant for an execution that was under way, and what Kestra makes of it in each version."""
from __future__ import annotations

import json
import re

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import pending
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.client import Client, Settings
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra

VERSIONS = ("0.19.0", "0.21.0", "0.23.0", "1.3.15", "2.0.0", "2.1.0")
STATES = (("run", "RUNNING"), ("new", "CREATED"), ("queue", "QUEUED"), ("wait", "PAUSED"), ("done", "SUCCESS"), ("odd", "A_STATE_OF_TOMORROW"))


def item(name, state="RUNNING", tenant="main"):
    return {"id": name, "namespace": "n", "flow": "f", "tenant": tenant, "state": state}


RECORDED = [item(name, "RUNNING" if name == "done" else state) for name, state in STATES] + [item("gone")]


@pytest.fixture(params=VERSIONS)
def kestra(request):
    with FakeKestra(request.param, "EE", tenants=["main", "other"]) as running:
        running.executions["main"] = [(name, "n", "f", state) for name, state in STATES]
        yield running


def resolver(kestra, action, timeout=3, **settings):
    return pending.Resolver(Client(Settings(api_url=kestra.api, timeout=5, **settings)), action, timeout, interval=0.01)


def sent(kestra):
    return [(method, re.sub(r"^/api/v1/[^/]+/executions/", "", path)) for method, path, _query, _login in kestra.seen if method != "GET"]


def now(kestra, tenant="main"):
    return {row[0]: row[3] for row in kestra.executions[tenant]}


@pytest.mark.parametrize("found, action, meant, why", [
    ("RUNNING", "kill", "kill", None), ("PAUSED", "kill", "kill", None), ("A_STATE_OF_TOMORROW", "kill", "kill", None),
    ("RUNNING", "replay", "replay", None), ("QUEUED", "replay", "replay", None),
    ("PAUSED", "replay", None, "waits for a person"), ("BREAKPOINT", "replay", None, "waits for a person"),
    ("SUCCESS", "kill", None, "has ended"), ("KILLED", "replay", None, "has ended"), (None, "kill", None, "not there")])
def test_what_is_meant(found, action, meant, why):
    entry = pending.judge(item("x", "PAUSED"), found, action)
    assert entry["action"] == meant and (why in entry["why"] if why else entry["why"] is None)
    assert (entry["was"], entry["found"], entry["now"], entry["done"]) == ("PAUSED", found, found, False)


def test_batches_are_of_one_tenant_and_not_too_long():
    entries = [item(str(number), tenant="a" if number % 2 else "b") for number in range(250)]
    found = pending.batches(entries)
    assert [(tenant, len(group)) for tenant, group in found] == [("b", 100), ("b", 25), ("a", 100), ("a", 25)]
    assert sorted(entry["id"] for _tenant, group in found for entry in group) == sorted(entry["id"] for entry in entries)


@pytest.mark.parametrize("body, found", [
    ({"invalids": [{"message": "m", "invalidValue": "a"}]}, {"a": "m"}), ({"invalids": [{"rootBean": "b"}]}, {"b": "Kestra refuses it"}),
    ({"invalids": [{"message": "m", "invalidValue": "z"}, "x"]}, {}), ({"invalids": "a"}, {}), ({"message": "m"}, {}), (None, {})])
def test_what_a_bulk_answer_refuses(body, found):
    assert pending.refused(body, ["a", "b"]) == found


def test_what_is_left_to_do_by_hand():
    entries = [dict(item("a"), now="RUNNING"), dict(item("b"), now="KILLED"), dict(item("c", tenant="t 2"), now="RUNNING")]
    login = "-u USER -H 'Content-Type: application/json' -d"
    assert pending.by_hand("http://k:8080", entries, "kill") == [
        f"curl -X DELETE {login} '[\"a\"]' http://k:8080/api/v1/main/executions/kill/by-ids",
        f"curl -X DELETE {login} '[\"c\"]' http://k:8080/api/v1/t%202/executions/kill/by-ids"]
    assert pending.by_hand(None, entries[:2], "replay") == [
        f"curl -X DELETE {login} '[\"a\"]' http://localhost:8080/api/v1/main/executions/kill/by-ids",
        f"curl -X POST {login} '[\"a\", \"b\"]' http://localhost:8080/api/v1/main/executions/replay/by-ids"]


def test_kill_in_every_version(kestra):
    kestra.patience = 2
    told = resolver(kestra, "kill").run(RECORDED)
    assert now(kestra) == {"run": "KILLED", "new": "KILLED", "queue": "KILLED", "wait": "KILLED", "odd": "KILLED", "done": "SUCCESS"}
    assert sent(kestra) == [("DELETE", "kill/by-ids")]
    became = {one["id"]: one for one in told["became"]}
    assert (became["run"]["found"], became["run"]["now"], became["run"]["done"]) == ("RUNNING", "KILLED", True)
    assert (became["done"]["was"], became["done"]["now"], became["done"]["action"]) == ("RUNNING", "SUCCESS", None)
    assert told["changed"] and told["stuck"] == [] and told["lost"] == ["gone"] and told["not_done"] == []
    again = resolver(kestra, "kill").run(RECORDED)
    assert not again["changed"] and len(sent(kestra)) == 1


def test_replay_in_every_version(kestra):
    told = resolver(kestra, "replay").run(RECORDED)
    assert kestra.replayed == [(f"again-{name}", name) for name in ("run", "new", "queue", "odd")]
    assert now(kestra)["wait"] == "PAUSED" and now(kestra)["run"] == "KILLED" and now(kestra)["again-run"] == "CREATED"
    became = {one["id"]: one for one in told["became"]}
    assert became["run"]["new_id"] == "again-run" and became["run"]["done"] and became["wait"]["new_id"] is None
    assert told["stuck"] == ["wait"] and told["not_done"] == []
    # Once they are killed, nothing is replayed again.
    assert not resolver(kestra, "replay").run(RECORDED)["changed"] and len(kestra.replayed) == 4


def test_check_mode_only_asks(kestra):
    told = resolver(kestra, "kill").run(RECORDED, check_mode=True)
    assert told["changed"] and sent(kestra) == [] and told["not_done"] == []
    assert [one["id"] for one in told["became"] if one["action"]] == ["run", "new", "queue", "wait", "odd"]


def test_only_what_was_recorded_and_each_in_its_tenant(kestra):
    kestra.executions["other"] = [("mine", "n", "f", "RUNNING"), ("theirs", "n", "f", "RUNNING")]
    resolver(kestra, "kill").run([item("mine", tenant="other"), item("run")])
    assert now(kestra, "other") == {"mine": "KILLED", "theirs": "RUNNING"} and now(kestra)["new"] == "CREATED"
    kestra.executions["other"][1:] = [("theirs", "n", "f", "RUNNING")]
    without = {name: value for name, value in item("theirs").items() if name != "tenant"}
    resolver(kestra, "kill", tenant="other").run([without])
    assert now(kestra, "other")["theirs"] == "KILLED"


def test_one_that_ends_meanwhile_does_not_keep_the_others(kestra):
    """The bulk request is refused as a whole; the rest is asked for again."""
    work, look = resolver(kestra, "replay"), None

    def ends(entries):
        kestra.executions["main"] = [(*row[:3], "SUCCESS" if row[0] == "run" else row[3]) for row in kestra.executions["main"]]
        look(entries)
    look, work._kill = work._kill, ends
    told = work.run([item("run"), item("new")])
    assert [old for _new, old in kestra.replayed] == ["new"] and now(kestra)["run"] == "SUCCESS"
    assert told["became"][0]["why"] == "It ended before it was killed." and told["not_done"] == []


def test_a_kill_without_effect_is_told_and_nothing_is_replayed(kestra):
    kestra.deaf = ("run",)
    with pytest.raises(StateError) as caught:
        resolver(kestra, "replay", timeout=0.2).run([item("run"), item("new")])
    told = caught.value.detail
    assert caught.value.reason == "not_done" and "1 of 2" in caught.value.message and "RUNNING after 0.2 s" in caught.value.message
    assert [old for _new, old in kestra.replayed] == ["new"] and told["not_done"] == ["run"] and told["stuck"] == ["run"]
    assert len(told["by_hand"]) == 2 and '["run"]' in told["by_hand"][0]


def test_a_kill_that_this_user_may_not_do(kestra):
    kestra.forbidden = ("kill/by-ids",)
    with pytest.raises(StateError) as caught:
        resolver(kestra, "kill").run([item("run"), item("new")])
    assert "let this user kill executions" in caught.value.message and now(kestra)["run"] == "RUNNING"
    assert caught.value.detail["by_hand"] == pending.by_hand(kestra.api, [dict(item("run"), now="RUNNING"), dict(item("new"), now="RUNNING")], "kill")


@pytest.mark.parametrize("answer, certain", [((409, b'{"message": "Conflict: the flow is disabled"}'), True), ((504, b"{}"), False)])
def test_a_replay_that_is_refused(kestra, answer, certain):
    kestra.broken = {"/replay": answer}
    with pytest.raises(StateError) as caught:
        resolver(kestra, "replay").run([item("run")])
    told = caught.value.detail["became"][0]
    assert told["now"] == "KILLED" and told["new_id"] is None and not told["done"]
    assert ("does not run again" in told["why"]) == certain == bool(caught.value.detail["by_hand"])
    if certain:
        assert "the flow is disabled" in told["why"] and len(caught.value.detail["by_hand"]) == 1


def test_without_a_login_nothing_is_touched(kestra):
    kestra.login = ("admin", "secret")
    with pytest.raises(ConnectError) as caught:
        resolver(kestra, "kill", user="admin", password="wrong").run(RECORDED)
    assert caught.value.reason == "unauthorized" and sent(kestra) == []
    assert set(json.loads(re.search(r"-d '(.*)' ", caught.value.detail["by_hand"][0]).group(1))) == {one["id"] for one in RECORDED}
    assert "wrong" not in str(caught.value.detail)


def test_a_wrong_path_is_not_taken_for_lost_executions(kestra):
    with pytest.raises(ConnectError) as caught:
        resolver(kestra, "kill").run([item("run", tenant="none")])
    assert caught.value.reason == "not_found"
