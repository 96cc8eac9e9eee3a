# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the queue was filled anew: executions that nothing moves are killed or run again, as the indices and the topics show."""
from __future__ import annotations

import json
import time
import urllib.request

import pytest
from test_standin_server import PAUSED, QUICK, Server

from ansible_collections.kestra_community.dr.plugins.modules import elasticsearch_pending_info, kestra_pending
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import conftest as module_tests
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

_on_a_target_host = module_tests._on_a_target_host

VERSIONS = [pytest.param("1.3.15", marks=pytest.mark.full("pending executions on Kestra 1.3 (here on 2.0)")), "2.0.0"]
# Writes a line into a file each time it runs, then takes longer than the test.
LONG = """id: long
namespace: company.team
inputs:
  - id: word
    type: STRING
tasks:
  - id: note
    type: io.kestra.plugin.core.log.Log
    message: "once more: {{ inputs.word }}"
  - id: work
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT600S
"""


class Restored:
    """An instance whose queue was filled anew while executions were under way. known: their ids by name."""

    def __init__(self, server):
        self.server, self.found = server, server.found
        for flow in (LONG, PAUSED, QUICK):
            server.api("/flows", flow, "POST")
        self.known = {"running": self.start("long", "word=aye"), "paused": server.run("paused"), "ended": server.run("quick"),
                      "other": self.start("long", "word=nay")}
        under_way = {"running": "RUNNING", "paused": "PAUSED", "other": "RUNNING"}
        for name, state in {**under_way, "ended": "SUCCESS"}.items():
            server.until(lambda name=name, state=state: server.state(self.known[name]) == state, f"{name} is not {state}")
        server.until(lambda: len(self.logs("running")) == 1, "no log")
        self.config = {"files": [str(self.found.config)]}
        wanted = {self.known[name]: state for name, state in under_way.items()}
        server.until(lambda: {one["id"]: one["state"] for one in self.pending()} == wanted, "they are not indexed as they are")
        # `other` is not in the recovery point.
        self.recorded = [one for one in self.pending() if one["id"] != self.known["other"]]

    def pending(self):
        return run(elasticsearch_pending_info, config=self.config)["in_flight"]["executions"]

    def lose_the_queue(self):
        """Killed, its topics deleted, filled anew, started."""
        self.server.stop()
        with self.found.broker.admin() as admin:
            admin.delete_topics(self.found.broker.topics(self.found.prefix))
        self.server.until(lambda: not self.found.broker.topics(self.found.prefix), "the topics stay")
        assert self.found.command("sys-ee", "restore-queue").returncode == 0
        self.server.start()
        return self

    def start(self, flow, form):
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/api/v1/main/executions/company.team/{flow}", data=form.encode(),
                                         headers={"Content-Type": "application/x-www-form-urlencoded"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["id"]

    def logs(self, name):
        return [one["message"] for one in self.server.api(f"/logs/{self.known.get(name, name)}")]

    def in_the_index(self, name):
        """What the index says of an execution, once it has heard of its last change."""
        found = self.found.node.call("GET", f"/{self.found.prefix}executions/_doc/{self.known.get(name, name)}")
        return found["_source"] if found else {"state": {"current": None}}

    def until_indexed(self, name, state):
        self.server.until(lambda: self.in_the_index(name)["state"]["current"] == state, f"the index does not say {state}")

    def act(self, action, check=False, recorded=None, **given):
        return run(kestra_pending, check=check, action=action, recorded=self.recorded if recorded is None else recorded, config=self.config,
                   api_url=f"http://127.0.0.1:{self.server.port}", interval=0.2, **{"timeout": 60, **given})


@pytest.fixture
def restored(request, instance, tmp_path):
    """restored(version): see Restored, whose server runs."""
    made = []

    def make(version="1.3.15"):
        (tmp_path / "storage").mkdir()
        found = instance(filled=False, storage={"type": "local", "local": {"base-path": str(tmp_path / "storage")}}, version=version,
                         properties={"session.timeout.ms": 6000}, server={"termination-grace-period": "1s"})
        made.append(Server(found))
        return Restored(made[-1].start()).lose_the_queue()

    yield make
    for one in made:
        one.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_recorded_is_killed(restored, version):
    one = restored(version)
    time.sleep(3)
    assert one.server.state(one.known["running"]) == "RUNNING", "it went on by itself: this test would prove nothing"
    assert "running" not in one.found.topic("execution")
    planned = one.act("kill", check=True)
    assert planned["changed"] and one.server.state(one.known["running"]) == "RUNNING", planned["_raw"]
    done = one.act("kill")
    became = {entry["id"]: entry for entry in done["became"]}
    for name, before in (("running", "RUNNING"), ("paused", "PAUSED")):
        entry = became[one.known[name]]
        assert (entry["was"], entry["found"], entry["now"], entry["done"]) == (before, before, "KILLED", True)
        one.until_indexed(name, "KILLED")
    # Who was not recorded is not touched, nor who had ended.
    assert one.server.state(one.known["other"]) == "RUNNING" and one.in_the_index("ended")["state"]["current"] == "SUCCESS"
    assert set(became) == {one.known["running"], one.known["paused"]} and done["stuck"] == [] and done["not_done"] == []
    told = run(elasticsearch_pending_info, recorded=one.recorded, config=one.config)
    assert told["stuck"] == [] and {entry["now"] for entry in told["became"]} == {"KILLED"}
    assert not one.act("kill")["changed"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_recorded_runs_again(restored, version):
    """A new execution with the same inputs does the first task again and goes on to the next; one that waits for a person still does."""
    one = restored(version)
    done = one.act("replay")
    became = {entry["id"]: entry for entry in done["became"]}
    entry, waits = became[one.known["running"]], became[one.known["paused"]]
    assert entry["done"] and entry["now"] == "KILLED" and waits["now"] == "PAUSED" and "waits for a person" in waits["why"], done["_raw"]
    new = entry["new_id"]
    one.server.until(lambda: one.logs(new) == ["once more: aye"], "the new one does nothing")
    one.server.until(lambda: one.server.state(new) == "RUNNING", "the new one does not run")
    one.until_indexed("running", "KILLED")
    one.until_indexed(new, "RUNNING")
    said = one.in_the_index(new)
    assert said["originalId"] == one.known["running"] and said["inputs"] == {"word": "aye"} and said["flowRevision"] == 1
    assert one.found.topic("execution")[new]["state"]["current"] == "RUNNING" and one.logs("running") == ["once more: aye"]
    count = one.server.api("/executions/search")["total"]
    assert not one.act("replay")["changed"] and one.server.api("/executions/search")["total"] == count


def test_a_kestra_that_does_not_carry_it_out(restored):
    """It takes the order, but its executor stands still: said after the time-out, and nothing is run twice."""
    one = restored()
    urllib.request.urlopen(urllib.request.Request(
        f"http://127.0.0.1:{one.server.port}/api/v1/instance/maintenance/enter", data=b"", method="POST"), timeout=60).close()
    time.sleep(3)
    count = one.server.api("/executions/search")["total"]
    failed = one.act("replay", timeout=3)
    assert failed["failed"] and failed["reason"] == "not_done" and "is KILLING after 3 s" in failed["msg"], failed["_raw"]
    assert failed["detail"]["not_done"] == [one.known["running"]] == failed["detail"]["stuck"][:1]
    assert one.server.api("/executions/search")["total"] == count
    # What is left to do by hand: the same requests, once Kestra works again.
    urllib.request.urlopen(urllib.request.Request(
        f"http://127.0.0.1:{one.server.port}/api/v1/instance/maintenance/exit", data=b"", method="POST"), timeout=60).close()
    one.until_indexed("running", "KILLED")
    assert [command.split()[2] for command in failed["detail"]["by_hand"]] == ["DELETE", "POST"]


def test_a_login_it_does_not_take(restored):
    one = restored()
    one.server.stop()
    one.found.kestra["server"]["basic-auth"] = {"username": "admin", "password": "the right one"}
    one.found.configure()
    one.server.start()
    failed = one.act("kill", api_user="admin", api_password="the wrong one")
    assert failed["failed"] and failed["reason"] == "unauthorized" and one.known["running"] in failed["detail"]["by_hand"][0], failed["_raw"]
    assert "wrong one" not in failed["_raw"] and one.in_the_index("running")["state"]["current"] == "RUNNING"
    assert one.act("kill")["not_done"] == []  # with the login that the configuration says
    one.until_indexed("running", "KILLED")
