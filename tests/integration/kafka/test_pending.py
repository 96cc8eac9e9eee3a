# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was under way, from the indices, and what became of it after the queue is filled anew."""

from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.modules import elasticsearch_pending_info
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import conftest as module_tests
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

_on_a_target_host = module_tests._on_a_target_host

PENDING = (("aRunning", "RUNNING"), ("bPaused", "PAUSED"), ("cQueued", "QUEUED"), ("dNew", "A_STATE_OF_TOMORROW"))
ENDED = (("eSuccess", "SUCCESS"), ("fFailed", "FAILED"), ("gKilled", "KILLED"))


def look(one, **given):
    return run(elasticsearch_pending_info, config={"files": [str(one.config)]}, **given)


def change(one, name, state):
    one.node.put(one.prefix + "executions", {name: {
        "tenantId": "main", "namespace": "company.team", "flowId": "flow1", "id": name, "state": {"current": state}}})


def test_what_is_under_way_and_what_became_of_it(instance):
    one = instance(filled=False)
    one.command("sys-ee", "--help")  # the indices as Kestra makes them
    one.fill(executions=PENDING + ENDED)
    found = look(one)
    listed = found["in_flight"]["executions"]
    assert [(item["id"], item["state"]) for item in listed] == list(PENDING), found["_raw"]
    assert listed[0] == {"id": "aRunning", "tenant": "main", "namespace": "company.team", "flow": "flow1", "state": "RUNNING"}
    assert (found["in_flight"]["total"], found["in_flight"]["truncated"]) == (4, False)
    assert look(one, limit=1)["in_flight"] == {"total": 4, "truncated": True, "executions": listed[:1]}

    # The queue brings none of them back.
    assert one.command("sys-ee", "restore-queue").returncode == 0
    assert one.prefix + "execution" not in one.broker.topics(one.prefix)
    after = look(one, recorded=listed)
    assert after["stuck"] == [name for name, _state in PENDING] and after["lost"] == []
    change(one, "aRunning", "KILLED")
    one.node.call("DELETE", f"/{one.prefix}executions/_doc/bPaused?refresh=true")
    after = look(one, recorded=listed)
    assert {item["id"]: (item["was"], item["now"]) for item in after["became"]} == {
        "aRunning": ("RUNNING", "KILLED"), "bPaused": ("PAUSED", None), "cQueued": ("QUEUED", "QUEUED"),
        "dNew": ("A_STATE_OF_TOMORROW", "A_STATE_OF_TOMORROW")}
    assert after["stuck"] == ["cQueued", "dNew"] and after["lost"] == ["bPaused"]


@pytest.mark.parametrize("state", [
    {"properties": {"current": {"type": "text"}}}, {"properties": {"current": {"type": "text", "fields": {"raw": {"type": "keyword"}}}}},
    {"type": "object", "enabled": False}])
def test_however_the_index_keeps_states(instance, state):
    one = instance(filled=False)
    one.node.call("PUT", f"/{one.prefix}executions", {"mappings": {"dynamic": False, "properties": {"state": state}}})
    one.fill(executions=PENDING + ENDED)
    assert [item["id"] for item in look(one)["in_flight"]["executions"]] == [name for name, _state in PENDING]


def test_indices_that_rotate_behind_an_alias_and_many_executions(instance):
    one = instance(filled=False)
    for number, (first, last) in enumerate(((0, 1500), (1500, 2200)), 1):
        name = f"{one.prefix}executions-{number}"
        one.node.call("PUT", f"/{name}", {
            "aliases": {one.prefix + "executions": {}},
            "mappings": {"properties": {"state": {"properties": {"current": {"type": "keyword"}}}}}})
        one.node.put(name, {f"x{count}": {"id": f"x{count}", "namespace": "n", "flowId": "f", "state": {
            "current": "SUCCESS" if count % 2 else "RUNNING"}} for count in range(first, last)})
    found = look(one, limit=3)["in_flight"]
    assert found["total"] == 1100 and [item["id"] for item in found["executions"]] == ["x0", "x10", "x100"]
    recorded = [{"id": f"x{count}", "state": "RUNNING"} for count in range(2200)]
    after = look(one, recorded=recorded, limit=0)
    assert len(after["became"]) == 2200 and len(after["stuck"]) == 1100 and after["lost"] == []


def test_no_index(instance):
    one = instance(filled=False)
    result = look(one)
    assert result["failed"] and result["reason"] == "index_missing", result["_raw"]
    assert look(one, recorded=[{"name": "x"}])["reason"] == "bad_recorded"
