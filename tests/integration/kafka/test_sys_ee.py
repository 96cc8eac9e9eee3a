# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's `sys-ee` commands do, say and end as Kestra's documentation and its last open source show of them."""

from __future__ import annotations

import re
import time

import pytest


def sent(done):
    """What restore-queue says that it has sent, in its order."""
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"(?m)^Successfully send ([\d,]+) (\w+)$", done.stdout)
    return [(kind, int(number.replace(",", ""))) for number, kind in lines]


def test_restore_queue_fills_the_topics_from_the_indices(instance):
    one = instance()
    assert sent(one.command("sys-ee", "restore-queue")) == [
        ("flows", 3), ("templates", 0), ("triggers", 2), ("namespaces", 2), ("tenants", 1)]
    # All revisions of the flows there are, without the one that cannot be read and without those of a deleted flow.
    assert sorted(one.topic("flow")) == [f"main_company.team_{name}" for name in ("flow1_2", "flow2_1", "flow2_2")]
    assert "revision 2" in one.topic("flow")["main_company.team_flow1_2"]["source"]
    assert {key: value["executionId"] for key, value in one.topic("trigger").items()} == {
        "main_company.team_flow1_daily": "run1", "main_company.team_flow2_daily": "run2"}
    assert sorted(one.topic("namespace")) == ["main_company", "main_company.team"] and list(one.topic("tenant")) == ["main"]
    # Executions are never sent.
    assert one.broker.topics(one.prefix) == [one.prefix + kind for kind in (
        "flow", "namespace", "template", "tenant", "trigger")]


def test_restore_queue_drops_what_was_there_and_comes_to_the_same_again(instance):
    one = instance()
    one.broker.send(one.prefix + "flow", ("main_of.old_life_1", "{}"))
    one.broker.send(one.prefix + "execution", ("old", "{}"))
    ids = one.broker.ids(one.prefix)
    first = sent(one.command("sys-ee", "restore-queue"))
    flows = one.broker.records(one.prefix + "flow")
    assert "main_of.old_life_1" not in dict(flows) and len(flows) == 3
    after = one.broker.ids(one.prefix)
    assert after[one.prefix + "flow"] != ids[one.prefix + "flow"]
    # What it does not send it does not touch.
    assert after[one.prefix + "execution"] == ids[one.prefix + "execution"]
    assert one.broker.records(one.prefix + "execution") == [("old", "{}")]
    assert sent(one.command("sys-ee", "restore-queue")) == first and one.broker.records(one.prefix + "flow") == flows
    # Without dropping, everything is there twice.
    assert sent(one.command("sys-ee", "restore-queue", "--no-recreate")) == first
    assert sorted(one.broker.records(one.prefix + "flow")) == sorted(flows + flows)


def test_flags_leave_out_what_they_say(instance):
    one = instance()
    done = one.command("sys-ee", "restore-queue", "--no-templates", "--no-namespaces", "--no-tenants", "--no-flows",
                       "--no-triggers-execution-id")
    assert sent(done) == [("triggers", 2)]
    assert one.broker.topics(one.prefix) == [one.prefix + "trigger"]
    assert all("executionId" not in value for value in one.topic("trigger").values())
    assert sent(one.command("sys-ee", "restore-queue", "--no-triggers", "--no-flows")) == [
        ("templates", 0), ("namespaces", 2), ("tenants", 1)]


def test_a_thousand_is_written_as_java_writes_it(instance):
    one = instance()
    one.node.put(one.prefix + "namespaces", {f"main_n{number}": {"id": f"n{number}"} for number in range(1000)})
    done = one.command("sys-ee", "restore-queue", "--no-templates", "--no-flows", "--no-tenants", "--no-triggers")
    assert "Successfully send 1,002 namespaces\n" in done.stdout and len(one.topic("namespace")) == 1002


def test_flow_listeners_read_all_flows_and_say_no_end(instance):
    one = instance()
    one.command("sys-ee", "restore-queue")
    began = time.monotonic()
    done = one.command("sys-ee", "restore-flow-listeners", "--timeout", "PT2S")
    assert done.returncode == 0 and time.monotonic() - began >= 2, done.stderr
    assert re.findall(r"(?m)^Received (\d+) flows$", done.stdout)[-1] == "3" and "uccess" not in done.stdout
    with one.broker.admin() as admin:
        offsets = admin.list_group_offsets([one.prefix + "flow_listeners"])[one.prefix + "flow_listeners"]
    assert sum(one.offset for one in offsets.values()) == 3
    assert one.command("sys-ee", "restore-flow-listeners", "--timeout", "120").returncode == 2


def test_the_concurrency_limit_is_forgotten(instance):
    one = instance()
    assert one.command("sys-ee", "reset-concurrency-limit").returncode == 0
    one.broker.send(one.prefix + "executor_concurrency_limit", ("main_company.team_flow1", "3"))
    assert one.command("sys-ee", "reset-concurrency-limit").returncode == 0
    assert one.topic("executor_concurrency_limit") == {"main_company.team_flow1": None}


@pytest.mark.parametrize("version, flag, there", [
    ("0.19.0", "--no-tenants", False), ("0.20.0", "--no-tenants", True), ("0.20.0", "--no-triggers-execution-id", True),
    ("1.3.15", "--no-templates", True), ("2.0.0", "--no-templates", False)])
def test_help_shows_what_the_version_has(instance, version, flag, there):
    done = instance(version=version).command("sys-ee", "restore-queue", "--help")
    assert done.returncode == 0 and "Usage: kestra sys-ee restore-queue" in done.stdout
    assert (flag in done.stdout) is there


def test_help_of_the_group_names_its_commands(instance):
    one = instance(filled=False)
    done = one.command("sys-ee", "--help")
    assert done.returncode == 0 and "Usage: kestra sys-ee [" in done.stdout
    for name in ("restore-flow-listeners", "restore-queue", "reset-concurrency-limit"):
        assert re.search(rf"(?m)^  {name} ", done.stdout)
    # Whatever boots Kestra makes the indices that are missing, and with that stands in the way of a restore.
    assert one.node.call("GET", f"/{one.prefix}flows") is not None


def test_the_open_source_edition_has_no_such_command(instance):
    one = instance(edition="OSS")
    helped = one.command("sys-ee", "restore-queue", "--help")
    assert helped.returncode == 0 and helped.stdout.startswith("Usage: kestra [-hV] [COMMAND]")
    called = one.command("sys-ee", "restore-queue")
    assert called.returncode == 1 and "UnmatchedArgumentException" in called.stderr
    assert one.broker.topics(one.prefix) == []


def test_failures_end_with_one_and_bad_usage_with_two(instance):
    one = instance()
    assert one.command("sys-ee", "restore-queue", "--no-nonsense").returncode == 2
    assert one.command("sys-ee", "nonsense").returncode == 2
    other = instance(queue={"type": "postgres"})
    assert other.command("sys-ee", "restore-queue").returncode == 1
    away = instance(properties={"bootstrap.servers": "127.0.0.1:9", "default.api.timeout.ms": 2000})
    done = away.command("sys-ee", "restore-queue")
    assert done.returncode == 1 and "send" not in done.stdout and "bootstrap" in done.stderr
