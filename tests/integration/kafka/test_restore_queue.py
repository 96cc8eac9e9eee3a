# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module that fills the queue, on a real Kafka and a real Elasticsearch, and what may go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from instance import STANDIN

from ansible_collections.kestra_community.dr.plugins.modules import kestra_restore_queue
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import conftest as module_tests
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

_on_a_target_host = module_tests._on_a_target_host

SENT = {"flows": 3, "templates": 0, "triggers": 2, "namespaces": 2, "tenants": 1}


def options(one, **given):
    """What the module is told about an instance. The listeners take their minute in one test only."""
    cli = {"executable": str(STANDIN), "server_version": one.version, **given.pop("cli", {})}
    config = {"files": [str(one.config)], "environment": one.environment}
    return {"config": config, "flow_listeners": False, "members_timeout": 0, "connect_timeout": 3, **given, "cli": cli}


def refill(one, check=False, **given):
    return run(kestra_restore_queue, check=check, **options(one, **given))


def fails(result, reason):
    assert result.get("failed") and result.get("reason") == reason, result["_raw"]
    return result["msg"]


@pytest.fixture
def wrapped(tmp_path):
    """wrapped(text): an executable that runs the stand-in's command line; text replaces `sys-ee restore-queue`."""

    def make(text):
        path = tmp_path / "kestra-wrapped"
        path.write_text(
            '#!/bin/sh\n[ "$1 $2" = "sys-ee restore-queue" ] && [ "$3" != --help ] || exec \'%s\' "$@"\n'
            "standin='%s'\n%s\n" % (STANDIN, STANDIN, text), encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    return make


# -- a new Kafka ------------------------------------------------------------------------------------------------------

def test_a_new_kafka_is_filled_and_everything_follows(instance, tmp_path):
    one = instance()
    state = tmp_path / "streams"
    for name in (one.prefix + "executor", one.prefix + "indexer", "somebody_else"):
        (state / name / "0_1").mkdir(parents=True)
        (state / name / "0_1" / ".checkpoint").write_text("0\n", encoding="utf-8")
    given = {"state_directories": [str(state)], "flow_listeners": True, "flow_listeners_silence": 2,
             "cluster_id": "of-the-cluster-that-burnt"}
    plan = refill(one, check=True, **given)
    assert plan["changed"] and plan["plan"]["new"] is True and len(plan["plan"]["wipe"]) == 2, plan["_raw"]
    assert one.broker.topics(one.prefix) == [] and (state / (one.prefix + "executor")).exists()
    one.broker.send(one.prefix + "executor_concurrency_limit", ("main_company.team_flow1", "3"))

    result = refill(one, leftovers="keep", **given)
    assert result["sent"] == SENT and result["changed"], result["_raw"]
    assert sorted(one.topic("flow")) == [f"main_company.team_{name}" for name in ("flow1_2", "flow2_1", "flow2_2")]
    # A trigger would wait for ever for an execution that does not go on.
    assert len(one.topic("trigger")) == 2 and all("executionId" not in value for value in one.topic("trigger").values())
    assert result["topics"][one.prefix + "flow"] == 3 and result["cluster_id"] == one.broker.cluster_id
    assert result["followed"] == ["restore-flow-listeners", "reset-concurrency-limit"]
    with one.broker.admin() as admin:
        assert admin.list_group_offsets([one.prefix + "flow_listeners"])[one.prefix + "flow_listeners"]
    assert one.topic("executor_concurrency_limit") == {"main_company.team_flow1": None}
    assert os.listdir(state) == ["somebody_else"] and len(result["wiped"]) == 2


def test_the_same_kafka_keeps_what_streams_know(instance, tmp_path):
    one = instance()
    directory = tmp_path / "streams" / (one.prefix + "executor")
    directory.mkdir(parents=True)
    one.broker.send(one.prefix + "flow", ("a", "{}"))
    given = {"state_directories": [str(tmp_path / "streams")]}
    result = refill(one, cluster_id=one.broker.cluster_id, **given)
    assert result["new"] is False and result["wiped"] == [] and directory.exists(), result["_raw"]
    result = refill(one, **given)
    assert result["new"] is None and result["wiped"] == [] and "give cluster_id" in str(result["warnings"]), result["_raw"]


def test_a_finished_run_is_not_repeated_and_another_comes_to_the_same(instance, tmp_path):
    one = instance()
    given = {"job_dir": str(tmp_path / "job"), "leave_out": ["templates"], "forget_trigger_executions": False}
    first = refill(one, **given)
    assert first["sent"] == {name: SENT[name] for name in ("flows", "triggers", "namespaces", "tenants")}, first["_raw"]
    assert {value["executionId"] for value in one.topic("trigger").values()} == {"run1", "run2"}
    ids, flows = one.broker.ids(one.prefix), one.broker.records(one.prefix + "flow")
    again = refill(one, **given)
    assert again["reattached"] and not again["changed"] and one.broker.ids(one.prefix) == ids
    assert refill(one)["sent"] == SENT and one.broker.records(one.prefix + "flow") == flows
    more = refill(one, recreate=False, leftovers="keep")
    assert more["topics"][one.prefix + "flow"] == 2 * len(flows), more["_raw"]


# -- Kafka down -------------------------------------------------------------------------------------------------------

def test_kafka_down_before_it_begins(instance, own_broker):
    broker = own_broker()
    one = instance(broker=broker)
    for check in (True, False):
        assert broker.bootstrap in fails(refill(one, check=check, connect_timeout=1), "unreachable")


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=pytest.mark.full("a Kafka that hangs while it is sent to"))])
def test_kafka_down_while_it_sends_and_a_rerun(instance, own_broker, wrapped, tmp_path, how):
    broker = own_broker().start()
    one = instance(broker=broker)
    gone, go_on = tmp_path / "gone", tmp_path / "go_on"
    # After the flows, before the triggers; it sees the broker go.
    program = wrapped(f"'{STANDIN}' \"$@\" --no-triggers || exit\n: > '{gone}'\n"
                      f"while ! [ -e '{go_on}' ]; do sleep 0.1; done\nexec '{STANDIN}' \"$@\" --no-flows")

    def harm():
        while not gone.exists():
            time.sleep(0.05)
        broker.stop() if how == "kill" else broker.freeze()
        go_on.touch()

    thread = threading.Thread(target=harm)
    thread.start()
    job = {"job_dir": str(tmp_path / "job")}
    try:
        msg = fails(refill(one, cli={"executable": program}, **job), "cli_failed")
    finally:
        gone.touch()
        thread.join()
        broker.start() if how == "kill" else broker.thaw()
    assert "do not start Kestra" in msg and "again" in msg
    assert sorted(one.topic("flow")) and one.prefix + "trigger" not in broker.topics(one.prefix)
    # With the very same options: the failed attempt is not taken for a result.
    result = refill(one, **job)
    assert result["sent"] == SENT and not result["reattached"], result["_raw"]
    assert len(broker.records(one.prefix + "flow")) == 3 and len(broker.records(one.prefix + "trigger")) == 2


def test_a_run_that_was_killed_is_repeated(instance, wrapped, tmp_path):
    one = instance()
    begun = tmp_path / "begun"
    program = wrapped(f"'{STANDIN}' \"$@\" --no-triggers\n: > '{begun}'\nexec sleep 60")
    given = options(one, cli={"executable": program}, job_dir=str(tmp_path / "job"))
    code = ("import json, sys\nfrom ansible_collections.kestra_community.dr.plugins.modules import kestra_restore_queue\n"
            "from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run\n"
            "run(kestra_restore_queue, **json.loads(sys.stdin.read()))\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    until = time.monotonic() + 120
    while not begun.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    process.kill()
    process.wait()
    result = refill(one, job_dir=str(tmp_path / "job"))
    assert result["sent"] == SENT and len(one.broker.records(one.prefix + "flow")) == 3, result["_raw"]


def test_a_follower_that_fails_and_a_rerun(instance, tmp_path):
    one = instance()
    program = tmp_path / "kestra-failing"
    program.write_text(f"#!/bin/sh\n[ \"$2\" != reset-concurrency-limit ] || exit 1\nexec '{STANDIN}' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    given = {"job_dir": str(tmp_path / "job")}
    msg = fails(refill(one, cli={"executable": str(program)}, **given), "cli_failed")
    assert "do not start Kestra" in msg and "leftovers: delete" in msg and len(one.topic("flow")) == 3
    # As Kafka Streams leave one behind.
    one.broker.send(one.prefix + "flow_listeners-flows-changelog", ("a", "{}"))
    fails(refill(one, **given), "old_topics")
    result = refill(one, leftovers="delete", **given)
    assert result["followed"] == ["reset-concurrency-limit"] and len(one.topic("flow")) == 3, result["_raw"]


# -- an older life ----------------------------------------------------------------------------------------------------

def test_topics_of_an_older_life(instance, tmp_path):
    one = instance()
    directory = tmp_path / "streams" / (one.prefix + "executor")
    directory.mkdir(parents=True)
    broker, prefix = one.broker, one.prefix
    old = ["execution", "executor-main-changelog", "flow", "workertask"]
    for name in old:
        broker.send(prefix + name, ("old", "{}"))
    with broker.member(prefix + "executor", prefix + "execution"):
        pass
    ids = broker.ids(prefix)
    msg = fails(refill(one), "old_topics")
    assert prefix + "execution" in msg and prefix + "flow," not in msg and "leftovers: delete" in msg
    assert broker.ids(prefix) == ids
    plan = refill(one, check=True, leftovers="delete")["plan"]
    assert plan["delete"] == [prefix + name for name in old] and broker.ids(prefix) == ids

    given = {"state_directories": [str(tmp_path / "streams")], "cluster_id": broker.cluster_id}
    result = refill(one, leftovers="delete", **given)
    assert result["deleted"] == plan["delete"] and result["sent"] == SENT, result["_raw"]
    assert broker.topics(prefix) == [prefix + name for name in ("flow", "namespace", "template", "tenant", "trigger")]
    with broker.admin() as admin:
        assert not [group for group in admin.list_groups() if group["group_id"].startswith(prefix)]
    # What Streams knew belonged to the topics that are gone, although the cluster is the same.
    assert result["new"] is False and not directory.exists()


def test_the_topics_of_another_kestra_with_a_longer_prefix_stay(instance):
    one = instance()
    for name in ("execution", "test_flow", "test_execution", "test_trigger"):
        one.broker.send(one.prefix + name, ("old", "{}"))
    ids = one.broker.ids(one.prefix)
    assert one.prefix + "test_" in fails(refill(one, leftovers="delete"), "shared_prefix")
    assert one.broker.ids(one.prefix) == ids


# -- Kestra alive -----------------------------------------------------------------------------------------------------

def test_kestra_alive(instance):
    one = instance()
    one.broker.send(one.prefix + "execution", ("a", "{}"))
    ids = one.broker.ids(one.prefix)
    with one.broker.member(one.prefix + "executor", one.prefix + "execution"):
        for check in (True, False):
            msg = fails(refill(one, check=check, leftovers="delete"), "kestra_alive")
            assert one.prefix + "executor" in msg and "127.0.0.1" in msg
        assert one.broker.ids(one.prefix) == ids
    # Somebody else's group is nobody's business.
    with one.broker.member("another_executor", one.prefix + "execution"):
        assert refill(one, leftovers="keep")["sent"] == SENT


def test_the_last_members_are_waited_for(instance):
    one = instance()
    one.broker.send(one.prefix + "trigger", ("a", "{}"))
    with one.broker.member(one.prefix + "scheduler", one.prefix + "trigger") as member:
        thread = threading.Timer(3, member.close)
        thread.start()
        result = refill(one, members_timeout=60)
        thread.join()
    assert result["sent"] == SENT, result["_raw"]


def test_a_kestra_that_starts_while_the_command_line_is_asked(instance, tmp_path):
    one = instance()
    one.broker.send(one.prefix + "execution", ("a", "{}"))
    asked, alive = tmp_path / "asked", tmp_path / "alive"
    program = tmp_path / "kestra-slow"
    program.write_text(f"#!/bin/sh\nif [ \"$3\" = --help ]; then\n: > '{asked}'\nwhile ! [ -e '{alive}' ]; do sleep 0.1; done\nfi\n"
                       f"exec '{STANDIN}' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    found = []
    thread = threading.Thread(target=lambda: found.append(refill(one, leftovers="keep", cli={"executable": str(program)})))
    ids = one.broker.ids(one.prefix)
    thread.start()
    try:
        until = time.monotonic() + 120
        while not asked.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        with one.broker.member(one.prefix + "executor", one.prefix + "execution"):
            alive.touch()
            thread.join()
    finally:
        alive.touch()
        thread.join()
    fails(found[0], "kestra_alive")
    assert one.broker.ids(one.prefix) == ids


def test_an_executor_at_work_on_its_state(instance, tmp_path):
    one = instance()
    directory = tmp_path / "streams" / (one.prefix + "executor")
    directory.mkdir(parents=True)
    # As Java's FileChannel.lock() does; the lock of a process of its own.
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys, time\nlock = open(sys.argv[1], 'w')\nfcntl.lockf(lock, fcntl.LOCK_EX)\n"
         "print('held', flush=True)\ntime.sleep(120)", str(directory / ".lock")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        given = {"state_directories": [str(tmp_path / "streams")], "cluster_id": "another"}
        assert str(directory) in fails(refill(one, **given), "kestra_alive")
        assert one.broker.topics(one.prefix) == []
    finally:
        holder.kill()
        holder.wait()
    assert refill(one, **given)["wiped"] == [str(directory)]


# -- refusals ---------------------------------------------------------------------------------------------------------

def test_the_open_source_edition(instance):
    one = instance(edition="OSS")
    msg = fails(refill(one), "no_restore_queue")
    assert "open-source" in msg and one.broker.topics(one.prefix) == []


def test_a_queue_in_a_database(instance):
    one = instance(queue={"type": "postgres"})
    assert "not Kafka" in fails(refill(one), "unsupported_queue")


def test_a_repository_of_another_kind_without_the_command(instance, tmp_path):
    one = instance(version="2.0.0", repository={"type": "postgres"})
    path = tmp_path / "kestra2"
    path.write_text(f"#!/bin/sh\n[ \"$1\" = sys-ee ] || exec '{STANDIN}' \"$@\"\n"
                    "export KESTRA_STANDIN_EDITION=OSS\n" f"exec '{STANDIN}' \"$@\"\n", encoding="utf-8")
    path.chmod(0o755)
    msg = fails(refill(one, cli={"executable": str(path)}), "no_restore_queue")
    assert "different kinds" in msg and one.broker.topics(one.prefix) == []


def test_a_flag_this_version_does_not_have(instance):
    one = instance(version="2.0.0")
    assert "--no-templates" in fails(refill(one, leave_out=["templates"]), "flag_unsupported")
    assert one.broker.topics(one.prefix) == []
    result = refill(one)
    assert result["sent"] == {name: SENT[name] for name in ("flows", "triggers", "namespaces", "tenants")}, result["_raw"]


def test_a_command_line_of_another_version(instance):
    one = instance()
    for version, reason in (("1.3.14", "version_differs"), (None, "version_unproven")):
        fails(refill(one, cli={"server_version": version}), reason)
        fails(refill(one, check=True, cli={"server_version": version}), reason)
    assert one.broker.topics(one.prefix) == []


def test_check_mode_makes_no_index(instance):
    one = instance(filled=False)
    assert refill(one, check=True)["plan"]["cluster_id"] == one.broker.cluster_id
    assert one.node.call("GET", f"/{one.prefix}flows") is None
    # The control: what boots Kestra does.
    one.command("sys-ee", "restore-queue", "--help")
    assert one.node.call("GET", f"/{one.prefix}flows") is not None


# -- a command that ends well and proves nothing ----------------------------------------------------------------------

def test_empty_indices(instance):
    one = instance(filled=False)
    assert "indices" in fails(refill(one), "nothing_sent")


@pytest.mark.parametrize("text, reason", [
    ("'%s' \"$@\" | sed '/triggers/d'", "restore_unproven"), ("'%s' \"$@\" | sed 's/3 flows/1,003 flows/'", "queue_differs")])
def test_what_kestra_says_is_compared(instance, wrapped, text, reason):
    fails(refill(instance(), cli={"executable": wrapped(text % STANDIN)}), reason)


def test_another_kafka_than_kestras(instance, own_broker):
    one = instance()
    other = own_broker().start()
    msg = fails(refill(one, bootstrap_servers=[other.bootstrap]), "queue_differs")
    assert "bootstrap_servers" in msg and other.topics(one.prefix) == []
