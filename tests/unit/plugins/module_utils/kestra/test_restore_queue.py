# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to `kestra sys-ee restore-queue`, and how its answers are read."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import cli, restore_queue
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.restore_queue import Request

# As Kestra's documentation prints them.
HELP = """Usage: kestra sys-ee restore-queue [-hVv] [--internal-log] [--no-flows]
                                      [--no-namespaces] [--no-recreate]
                                      [--no-templates] [--no-triggers]
                                      [--no-triggers-execution-id]
                                      [-c=<config>] [-l=<logLevel>]
"""
GROUP = """Usage: kestra sys-ee [-hVv] [--internal-log] [-c=<config>] [-l=<logLevel>]
                        [-p=<pluginsPath>] [COMMAND]
handle kestra ee systems maintenance
  -v, --verbose           Change log level. Multiple -v options increase the
                            verbosity.
Commands:
  restore-flow-listeners   restore state-store for FlowListeners
  restore-queue            send all data from a repository to kafka.
  reset-concurrency-limit  Reset the concurrency limit stored on the Kafka
                             runner.
"""
SENT = ["2026-11-26 03:45:00 INFO x", "Successfully send 3 flows", "Successfully send 0 templates",
        "Successfully send 12 triggers"]


def flags():
    return cli.flags_of(restore_queue.RESTORE, HELP)


def test_words():
    assert restore_queue.words(Request(), flags()) == ["sys-ee", "restore-queue", "--no-triggers-execution-id"]
    assert restore_queue.words(Request(forget=False), flags()) == ["sys-ee", "restore-queue"]
    everything = Request(("triggers", "flows"), recreate=False, forget=True)
    # What a version cannot leave out is asked for all the same, and refused there; forgetting is a wish.
    assert restore_queue.words(everything, frozenset()) == [
        "sys-ee", "restore-queue", "--no-recreate", "--no-flows", "--no-triggers"]
    cli.require_flags(restore_queue.words(everything, flags()), flags(), "1.3.0")
    with pytest.raises(RefusedError) as caught:
        cli.require_flags(restore_queue.words(Request(("tenants",)), flags()), flags(), "0.19.0")
    assert caught.value.reason == "flag_unsupported" and "--no-tenants" in caught.value.message


def test_followers_are_those_the_version_has_in_their_order():
    commands = cli.commands_of(GROUP)
    assert commands == ("restore-flow-listeners", "restore-queue", "reset-concurrency-limit")
    assert restore_queue.followers(commands, restore_queue.FOLLOWERS) == list(restore_queue.FOLLOWERS)
    assert restore_queue.followers(commands, ("reset-concurrency-limit",)) == ["reset-concurrency-limit"]
    assert restore_queue.followers(("restore-queue",), restore_queue.FOLLOWERS) == []
    assert restore_queue.follower_words("restore-flow-listeners", 90) == [
        "sys-ee", "restore-flow-listeners", "--timeout=PT90S"]
    assert restore_queue.follower_words("restore-flow-listeners") == ["sys-ee", "restore-flow-listeners"]
    assert restore_queue.follower_words("reset-concurrency-limit", 90) == ["sys-ee", "reset-concurrency-limit"]


def test_what_was_sent():
    assert restore_queue.sent(SENT, Request()) == {"flows": 3, "templates": 0, "triggers": 12}


@pytest.mark.parametrize("number", ["1,234,567", "1.234.567", "1 234 567", "1\u00a0234\u00a0567", "1\u202f234\u202f567", "1'234'567"])
def test_numbers_as_java_writes_them_in_any_country(number):
    lines = [f"Successfully send {number} flows", "Successfully send 1 triggers"]
    assert restore_queue.sent(lines, Request()) == {"flows": 1234567, "triggers": 1}


@pytest.mark.parametrize("lines, request_, reason", [
    (SENT[:2], Request(), "restore_unproven"), (SENT[2:], Request(), "restore_unproven"), ([], Request(), "restore_unproven"),
    (["Successfully send 0 flows", "Successfully send 0 triggers"], Request(), "nothing_sent"),
    (["Successfully send 0 triggers"], Request(("flows",)), "nothing_sent"),
])
def test_an_end_with_zero_that_proves_nothing(lines, request_, reason):
    with pytest.raises(ToolError) as caught:
        restore_queue.sent(lines, request_)
    assert caught.value.reason == reason


def topic(end, name="1", begin=None):
    begin = begin or [0] * len(end)
    return {"id": name, "end": end, "begin": begin, "records": sum(end) - sum(begin)}


@pytest.mark.parametrize("before, after, found", [
    ({}, {"k_flow": topic([1, 2])}, None),
    ({"k_flow": topic([5, 5], "old")}, {"k_flow": topic([1, 2], "new")}, None),
    ({"k_flow": topic([5, 5])}, {"k_flow": topic([6, 7])}, None),                    # --no-recreate
    ({"k_flow": topic([5, 5])}, {"k_flow": topic([6, 6])}, 2),
    ({}, {"k_flow": topic([1, 1])}, 2),
    ({}, {"k_flow": topic([3, 3], begin=[3, 3])}, None),                             # retention took them since
    ({}, {}, 0),
])
def test_what_the_topics_took(before, after, found):
    expected = [] if found is None else [{"topic": "k_flow", "sent": 3, "found": found}]
    assert restore_queue.short({"flows": 3}, "k_", before, after) == expected


def test_topics_whose_names_are_not_public_are_looked_at_where_they_are():
    assert restore_queue.short({"tenants": 1, "blueprints": 4}, "k_", {}, {}) == []
    assert restore_queue.short({"tenants": 1}, "k_", {}, {"k_tenant": topic([0])}) == [
        {"topic": "k_tenant", "sent": 1, "found": 0}]


@pytest.mark.parametrize("request_, left", [
    (Request(), ["k_execution"]), (Request(("flows",)), ["k_execution", "k_flow"]),
    (Request(recreate=False), ["k_execution", "k_flow"])])
def test_leftovers_are_topics_with_records_that_are_not_dropped(request_, left):
    topics = {"k_flow": topic([1]), "k_execution": topic([9, 1]), "k_workertask": topic([7], begin=[7])}
    assert restore_queue.leftovers(topics, "k_", request_) == left


def test_leftovers_are_refused_by_name():
    restore_queue.require_no_leftovers([], "x:9092")
    with pytest.raises(RefusedError) as caught:
        restore_queue.require_no_leftovers([f"k_{number}" for number in range(7)], "x:9092")
    assert caught.value.reason == "old_topics" and len(caught.value.detail["topics"]) == 7
    assert "7 topics" in caught.value.message and "k_4, …" in caught.value.message
