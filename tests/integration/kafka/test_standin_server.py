# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's server on Elasticsearch and Kafka: what it leaves in both, and what it makes of it when it comes back."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from instance import STANDIN
from kafka_harness import free_ports

QUICK = "id: quick\nnamespace: company.team\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hello\n"
PAUSED = "id: paused\nnamespace: company.team\ntasks:\n  - id: wait\n    type: io.kestra.plugin.core.flow.Pause\n"
SCHEDULED = QUICK.replace("quick", "scheduled") + (
    "triggers:\n  - id: daily\n    type: io.kestra.plugin.core.trigger.Schedule\n    cron: \"0 0 1 1 *\"\n")


class Server:
    """One `server standalone` of an instance."""

    def __init__(self, found):
        self.found = found
        self.port, self.management = free_ports(2)
        self.process = None

    def start(self):
        with open(self.found.directory / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(STANDIN), "server", "standalone", "--config", str(self.found.config)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, **self.found.environment, "MICRONAUT_SERVER_PORT": str(self.port),
                                             "ENDPOINTS_ALL_PORT": str(self.management)})
        self.until(self.up, "it does not become healthy")
        return self

    def up(self):
        assert self.process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/health", timeout=5) as answer:
                return json.load(answer)["status"] == "UP"
        except OSError:
            return False

    def log(self):
        return (self.found.directory / "server.log").read_text(errors="replace")[-3000:]

    def until(self, true, what, seconds=180):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, what + "\n" + self.log()
            time.sleep(0.2)

    def stop(self, how=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def api(self, path, data=None, method=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1/main{path}", method=method,
                                         data=None if data is None else data.encode(), headers={"Content-Type": "application/x-yaml"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def run(self, flow):
        """A new execution's id."""
        return self.api(f"/executions/company.team/{flow}", "", "POST")["id"]

    def state(self, execution):
        return self.api(f"/executions/{execution}")["state"]["current"]


@pytest.fixture
def server(instance, tmp_path):
    """A running server of an instance of its own."""
    (tmp_path / "storage").mkdir()
    # What a dead worker had begun is begun again once it is given up: by default after nearly six minutes.
    watch = {"termination-grace-period": "2s", "liveness": {"interval": "1s", "timeout": "6s", "heartbeat-interval": "1s"}}
    found = Server(instance(filled=False, storage={"type": "local", "local": {"base-path": str(tmp_path / "storage")}}, server=watch,
                            properties={"session.timeout.ms": 6000}))
    yield found.start()
    found.stop()


def test_work_goes_through_topics_into_the_indices(server):
    """Flows, executions, logs and triggers are documents of the indices once it has ended in order, and nothing is left behind."""
    for flow in (QUICK, PAUSED, SCHEDULED):
        server.api("/flows", flow, "POST")
    done, waiting = server.run("quick"), server.run("paused")
    server.until(lambda: server.state(done) == "SUCCESS" and server.state(waiting) == "PAUSED", "they do not get on")
    server.until(lambda: server.api("/triggers/search")["total"] == 1, "no trigger")
    server.stop()
    node, prefix = server.found.node, server.found.prefix
    assert server.found.topic("execution")[done]["state"]["current"] == "SUCCESS"
    assert set(server.found.topic("flow")) == {"main_company.team_%s_1" % name for name in ("quick", "paused", "scheduled")}
    assert node.call("GET", f"/{prefix}executions/_doc/{done}")["_source"]["state"]["current"] == "SUCCESS"
    assert node.call("GET", f"/{prefix}executions/_doc/{waiting}")["_source"]["state"]["current"] == "PAUSED"
    assert node.call("GET", f"/{prefix}flows/_doc/main_company.team_quick")["_source"]["source"] == QUICK
    for kind, number in (("flows_revisions", 3), ("triggers", 1), ("tenants", 1)):
        assert node.call("GET", f"/{prefix}{kind}/_count")["count"] == number
    assert node.call("GET", f"/{prefix}logs/_count")["count"] >= 1
    server.start()
    assert server.state(waiting) == "PAUSED"
    server.api(f"/executions/{waiting}/resume", "", "POST")
    server.until(lambda: server.state(waiting) == "SUCCESS", "it does not go on after a restart")


def test_with_new_topics_only_what_was_sent_back_lives(server):
    """Without its topics it knows no flow; restore-queue brings flows back, and an execution under way stays where it was."""
    for flow in (QUICK, PAUSED):
        server.api("/flows", flow, "POST")
    waiting = server.run("paused")
    server.until(lambda: server.state(waiting) == "PAUSED", "it does not pause")
    server.stop()
    with server.found.broker.admin() as admin:
        admin.delete_topics(server.found.broker.topics(server.found.prefix))
    server.until(lambda: not server.found.broker.topics(server.found.prefix), "the topics stay")
    server.start()
    assert server.api("/flows/search")["total"] == 0 and server.state(waiting) == "PAUSED"
    server.stop()
    assert "Successfully send 2 flows" in server.found.command("sys-ee", "restore-queue").stdout
    server.start()
    assert server.api("/flows/search")["total"] == 2
    again = server.run("quick")
    server.until(lambda: server.state(again) == "SUCCESS", "a new execution does not end")
    assert waiting not in server.found.topic("execution")


def test_killed_it_loses_nothing(server):
    """What Kafka has taken is in the indices after the next start; a killed one's groups go by themselves."""
    server.api("/flows", QUICK, "POST")
    done = [server.run("quick") for _number in range(5)]
    server.stop(signal.SIGKILL)
    server.start()
    server.until(lambda: all(server.state(one) == "SUCCESS" for one in done), "some were lost")
    server.stop()
    count = server.found.node.call("GET", f"/{server.found.prefix}executions/_count")["count"]
    assert count == len(done)


def test_it_is_the_only_one(server):
    refused = server.found.command("server", "executor")
    assert refused.returncode == 1 and "standalone only" in refused.stderr
    with pytest.raises(urllib.error.HTTPError):
        server.api("/flows/company.team/none")
