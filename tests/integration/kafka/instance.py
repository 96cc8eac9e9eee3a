# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance of the stand-in's Enterprise face whose data are in a real Elasticsearch and a real Kafka."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from ansible_collections.kestra_community.dr.tests.integration.elasticsearch import elasticsearch_harness

ELASTICSEARCH = elasticsearch_harness.SERVERS["8"]
STANDIN = Path(__file__).resolve().parents[3] / "roles" / "lab" / "files" / "standin" / "kestra-standin"
VERSION = "1.3.15"
FLOW = "id: {id}\nnamespace: company.team\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: {text}\n"


class Node(elasticsearch_harness.Cluster):
    """A cluster of one node of Elasticsearch, and what the tests ask it for."""

    def __init__(self, base, **settings):
        super().__init__(base, ELASTICSEARCH, **settings)

    @property
    def url(self):
        return self.hosts()[0].replace("localhost", "127.0.0.1")

    def call(self, method, path, body=None):
        """The answer; None for 404."""
        data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        kind = "application/x-ndjson" if isinstance(body, str) else "application/json"
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                text = answer.read()
                return json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RuntimeError(error.read()[:2000].decode()) from None

    def put(self, index, documents):
        """Writes {id: document}."""
        lines = "".join(
            json.dumps({"index": {"_id": key}}) + "\n" + json.dumps(document) + "\n" for key, document in documents.items()
        )
        assert not self.call("POST", f"/{index}/_bulk?refresh=true", lines)["errors"]

    def clear(self, prefix):
        """Deletes the indices of a prefix, by their names."""
        for name in self.call("GET", f"/{prefix}*/_settings?expand_wildcards=all"):
            self.call("DELETE", f"/{name}")


class Instance:
    """One instance, its servers not running. prefix: of its indices, topics and consumer groups."""

    def __init__(self, directory, node, broker, prefix="kestra_", **given):
        self.directory, self.node, self.broker, self.prefix = Path(directory), node, broker, prefix
        self.version, self.edition = given.pop("version", VERSION), given.pop("edition", "EE")
        self.properties = {"bootstrap.servers": broker.bootstrap, "default.api.timeout.ms": 8000}
        self.properties.update(given.pop("properties", {}))
        self.kestra = {
            "repository": {"type": "elasticsearch"}, "queue": {"type": "kafka"}, "standin": {"topic-delay": "0.1s"}, **given
        }
        self.config = self.directory / "application.yml"
        self.configure()

    def configure(self):
        """Writes the configuration."""
        kafka = {
            "client": {"properties": self.properties},
            "defaults": {"topic-prefix": self.prefix, "consumer-prefix": self.prefix, "topic": {"partitions": 2}},
        }
        elasticsearch = {"client": {"http-hosts": self.node.url}, "defaults": {"indice-prefix": self.prefix}}
        document = {"kestra": {"elasticsearch": elasticsearch, "kafka": kafka, **self.kestra}}
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")

    @property
    def environment(self):
        return {
            "KESTRA_STANDIN_PYTHON": sys.executable,
            "KESTRA_STANDIN_VERSION": self.version,
            "KESTRA_STANDIN_EDITION": self.edition,
        }

    def command(self, *words):
        """Runs the command line itself."""
        return subprocess.run(
            [str(STANDIN), *words, "--config", str(self.config)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=180,
            env={**os.environ, **self.environment},
        )

    def fill(self, flows=2, revisions=2, executions=()):
        """What a Kestra has written. Of the flows the first is deleted and the second's first revision unreadable.

        executions: (id, state) pairs.
        """
        last, all_of_them, triggers = {}, {}, {}
        for number in range(flows + 1):
            name = f"flow{number}"
            for revision in range(1, revisions + 1):
                broken = number == 1 and revision == 1
                flow = {
                    "tenantId": "main", "namespace": "company.team", "id": name, "revision": revision,
                    "deleted": number == 0, "disabled": False,
                    "source": "id: [" if broken else FLOW.format(id=name, text=f"revision {revision}"),
                }
                all_of_them[f"main_company.team_{name}_{revision}"] = flow
            last[f"main_company.team_{name}"] = flow
            if number:
                triggers[f"main_company.team_{name}_daily"] = {
                    "tenantId": "main", "namespace": "company.team", "flowId": name, "triggerId": "daily",
                    "executionId": f"run{number}", "date": "2026-11-26T00:00:00Z",
                }
        self.node.put(self.prefix + "flows", last)
        self.node.put(self.prefix + "flows_revisions", all_of_them)
        self.node.put(self.prefix + "triggers", triggers)
        self.node.put(self.prefix + "namespaces", {
            f"main_{name}": {"tenantId": "main", "id": name, "deleted": False} for name in ("company", "company.team")})
        self.node.put(self.prefix + "tenants", {"main": {"id": "main", "name": "main", "deleted": False}})
        if executions:
            self.node.put(self.prefix + "executions", {
                name: {"tenantId": "main", "namespace": "company.team", "flowId": "flow1", "id": name,
                       "state": {"current": state, "startDate": "2026-11-26T00:00:00Z"}, "deleted": False}
                for name, state in executions})
        return self

    def topic(self, kind):
        """{key: document} of the records of a topic."""
        return {key: value and json.loads(value) for key, value in self.broker.records(self.prefix + kind)}
