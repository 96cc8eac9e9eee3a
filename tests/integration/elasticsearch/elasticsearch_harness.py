# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real nodes of Elasticsearch and OpenSearch from the published jars, on free loopback ports below a temporary directory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect
from ansible_collections.kestra_community.dr.tests.integration import module_runs

# The password every test account has: with all that quoting can get wrong.
PASSWORD = "p'\"%@: \\ü$x#;"
run_module = functools.partial(module_runs.run_module, PASSWORD)
PREFIX = "kestra_"

# As Kestra's mappings are: strict about little, dates and keywords.
MAPPING = {
    "properties": {
        "id": {"type": "keyword"},
        "namespace": {"type": "keyword"},
        "state": {"properties": {"current": {"type": "keyword"}, "startDate": {"type": "date"}}},
        "fulltext": {"type": "text"},
        "deleted": {"type": "boolean"},
    }
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclasses.dataclass(frozen=True)
class Server:
    """What runs as a node. variable: names the directory that scripts/lib made of it. program: below its bin, and of the file
    with its settings. title: what it calls itself."""

    variable: str
    program: str
    title: str

    @property
    def directory(self):
        return os.environ.get(self.variable)

    @property
    def secured(self):
        """Whether it has users and TLS: OpenSearch's are a plugin that is not published."""
        return self.program == "elasticsearch"


SERVERS = {
    "8": Server("KESTRA_DR_TEST_ELASTICSEARCH", "elasticsearch", "Elasticsearch"),
    "9": Server("KESTRA_DR_TEST_ELASTICSEARCH_9", "elasticsearch", "Elasticsearch"),
    "opensearch": Server("KESTRA_DR_TEST_OPENSEARCH", "opensearch", "OpenSearch"),
}


def needs(server):
    """What a test needs that runs on this one."""
    chosen = SERVERS[server]
    return pytest.mark.skipif(not chosen.directory, reason=f"{chosen.variable} names no {chosen.title} (scripts/lib/{chosen.program}.sh)")


class Node:
    """One node. settings: of its configuration file. password: of the user elastic, for a node with security. keys: of an S3
    server."""

    def __init__(self, server, base, name, settings, password=None, keys=None):
        self._server = server
        self.name, self.home = name, Path(tempfile.mkdtemp(prefix=f"kdr-es-{name}-", dir=base))
        self.http = free_port()
        self.log = self.home / "log"
        self.process = None
        self._environment = {"ELASTIC_PASSWORD": password} if password else {}
        if keys:
            self._environment.update(S3_ACCESS_KEY=keys[0], S3_SECRET_KEY=keys[1])
        (self.home / "config").mkdir()
        (self.home / "config" / f"{server.program}.yml").write_text(
            "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings(self).items())
        )

    def start(self):
        program = os.path.join(self._server.directory, "bin", self._server.program)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [program, str(self.home)], stdout=log, stderr=log, env={**os.environ, **self._environment}
            )
        return self

    def ready(self):
        return f"{self._server.title} started".encode() in self.log.read_bytes()

    def died(self):
        return self.process.poll() is not None

    def stop(self, how=signal.SIGTERM):
        """SIGTERM: in order. SIGKILL: as when it is killed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None


class Cluster:
    """A cluster of its own. server: of SERVERS. nodes: how many. tls: certificate and key. secured: with users. keys: of an S3
    server. settings: of all nodes; second: of the second one."""

    _numbers = itertools.count(1)

    def __init__(
        self, base, server, *, nodes=1, secured=False, tls=None, keys=None, repositories=None, second=None, **settings
    ):
        self.server = server
        self.base = Path(tempfile.mkdtemp(prefix="kdr-cluster-", dir=base))
        self.repositories = Path(repositories or self.base / "repositories")
        self.repositories.mkdir(exist_ok=True)
        self.scheme = "https" if tls else "http"
        self.tls, self.secured = tls, secured
        self._settings, self._second = settings, second or {}
        self._transport = [free_port() for number in range(nodes)]
        self.nodes = [
            Node(
                server,
                self.base,
                f"node{number + 1}",
                lambda node, number=number: self._node(node, number),
                PASSWORD if secured else None,
                keys,
            )
            for number in range(nodes)
        ]

    def _node(self, node, number):
        settings = {
            "cluster.name": self.base.name,
            "node.name": node.name,
            "network.host": "127.0.0.1",
            "http.port": node.http,
            "transport.port": self._transport[number],
            "path.data": str(node.home / "data"),
            "path.logs": str(node.home / "logs"),
            "path.repo": [str(self.repositories)],
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        if self.server.program == "opensearch":
            # It does not watch the disk of a node that is alone, unless it is told to.
            settings["cluster.routing.allocation.disk.watermark.enable_for_single_data_node"] = True
        if len(self._transport) == 1:
            settings["discovery.type"] = "single-node"
        else:
            settings["discovery.seed_hosts"] = [f"127.0.0.1:{port}" for port in self._transport]
            # One alone may be master, so that the cluster survives the other's end.
            settings["cluster.initial_master_nodes"] = ["node1"]
            if number:
                settings["node.roles"] = ["data"]
        if self.secured:
            settings.update({"xpack.security.enabled": True, "xpack.security.transport.ssl.enabled": False})
            settings["xpack.security.http.ssl.enabled"] = bool(self.tls)
            if self.tls:
                for kind, path in zip(("certificate", "key"), self.tls):
                    shutil.copy(path, node.home / "config" / f"{kind}.pem")
                    settings[f"xpack.security.http.ssl.{kind}"] = f"{kind}.pem"
        settings.update(self._settings)
        if number:
            settings.update(self._second)
        return settings

    def start(self, *numbers):
        """All nodes, or those named; waits until the cluster answers."""
        chosen = [self.nodes[number] for number in numbers] or self.nodes
        for node in chosen:
            node.start()
        until = time.monotonic() + 180
        while not all(node.ready() for node in chosen):
            dead = [node for node in chosen if node.died()]
            if dead or time.monotonic() > until:
                raise RuntimeError((dead or chosen)[0].log.read_text(errors="replace")[-3000:])
            time.sleep(0.1)
        self._wait(until)
        return self

    def _wait(self, until):
        while True:
            try:
                with self.connect() as cluster:
                    cluster.get(
                        "/_cluster/health",
                        params={"wait_for_nodes": f">={self.alive()}"},
                        doing="waiting for the nodes",
                    )
                    if self.secured:
                        cluster.get(
                            "/_cluster/health/.security",
                            params={"wait_for_status": "yellow"},
                            doing="waiting for users",
                        )
                    return
            except ConnectError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def alive(self):
        return sum(node.process is not None and not node.died() for node in self.nodes)

    def destroy(self):
        for node in self.nodes:
            node.stop(signal.SIGKILL)
        shutil.rmtree(self.base, ignore_errors=True)

    def hosts(self):
        return [f"{self.scheme}://localhost:{node.http}" for node in self.nodes]

    def login(self, **how):
        """As the administrator, or as told."""
        given = {"hosts": tuple(self.hosts()), "timeout": 60.0}
        if self.secured:
            given.update(user="elastic", password=PASSWORD)
        if self.tls:
            given["ca_path"] = str(self.tls[0])
        return connect.Login(**{**given, **how})

    def options(self, **how):
        """The same as options of a module."""
        given = {"login_hosts": self.hosts()}
        if self.secured:
            given.update(login_user="elastic", login_password=PASSWORD)
        if self.tls:
            given["ca_path"] = str(self.tls[0])
        return {**given, **how}

    def connect(self, **how):
        return connect.connect(self.login(**how))

    def ask(self, method, path, body=None, **params):
        """One raw request, beside the code under test."""
        with self.connect() as cluster:
            return cluster.request(
                method, path, body=body, params=params or None, doing="testing", missing=method == "DELETE"
            )

    def names(self, start=""):
        """The names of all indices that begin so."""
        rows = self.ask("GET", f"/_cat/indices/{start}*", format="json", h="index", expand_wildcards="all")
        return sorted(row["index"] for row in rows if not row["index"].startswith("."))

    def wipe(self):
        """Takes away what tests have left: indices, snapshots, repositories, cluster settings."""
        self.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.*": None, "action.*": None, "indices.*": None}})
        if self.ask("GET", "/_resolve/index/*", expand_wildcards="all")["data_streams"]:
            raise RuntimeError("data streams cannot be removed here: use a cluster of its own")
        # Before the repositories: a restore that has failed holds its own until its indices are gone.
        for name in self.names():
            self.ask("DELETE", f"/{name}")
        for repository in self.ask("GET", "/_snapshot"):
            settings = self.ask("GET", f"/_snapshot/{repository}")[repository]
            if settings["type"] == "fs" and settings["settings"].get("readonly") != "true":
                with contextlib.suppress(ConnectError):
                    self.ask("DELETE", f"/_snapshot/{repository}/*")
            self.ask("DELETE", f"/_snapshot/{repository}")
        # A damaged one would stay so.
        for directory in self.repositories.iterdir():
            shutil.rmtree(directory)

    def kestra(self, documents=None, *, prefix=PREFIX, replicas=0):
        """Kestra's indices with documents and aliases, as Kestra makes them: one by its name, logs behind an alias."""
        documents = {"flows": 12, "executions": 40, "logs-1": 60, "triggers": 5} if documents is None else documents
        for kind, number in documents.items():
            body = {"mappings": MAPPING, "settings": {"number_of_shards": 1, "number_of_replicas": replicas}}
            if "-" in kind:
                alias = prefix + kind.rpartition("-")[0]
                body["aliases"] = {alias: {"is_write_index": True}}
            self.ask("PUT", f"/{prefix}{kind}", body, wait_for_active_shards=1)
            self.fill(prefix + kind, number)
        return {prefix + kind: number for kind, number in documents.items()}

    def fill(self, index, number, start=0, size=1):
        """Documents of about size kilobytes that do not compress."""
        with self.connect() as cluster:
            for first in range(start, start + number, 2000):
                lines = []
                for document in range(first, min(first + 2000, start + number)):
                    lines.append({"index": {"_id": f"{index}-{document}"}})
                    lines.append(
                        {
                            "id": str(document),
                            "namespace": "company.team",
                            "deleted": False,
                            "fulltext": os.urandom(size * 384).hex(),
                        }
                    )
                body = "".join(json.dumps(line) + "\n" for line in lines)
                assert not cluster.request("POST", f"/{index}/_bulk", body=body, doing="filling")["errors"]

    def repository(self, name="backup", readonly=False, **settings):
        """A repository registered without the code under test."""
        body = {"type": "fs", "settings": {"location": str(self.repositories / name), "readonly": readonly, **settings}}
        self.ask("PUT", f"/_snapshot/{name}", body)
        return name

    def watch_disks(self, low, high="1mb"):
        """Disks are watched from now on, with these watermarks as the bytes to keep free."""
        disk = "cluster.routing.allocation.disk."
        watermarks = {"low": low, "high": high, "flood_stage": high}
        if self.server.program == "elasticsearch":
            watermarks["flood_stage.frozen"] = high
        settings = {f"{disk}watermark.{name}": value for name, value in watermarks.items()}
        settings.update({f"{disk}threshold_enabled": True, "cluster.info.update.interval": "10s"})
        self.ask("PUT", "/_cluster/settings", {"persistent": settings})

    def blobs(self, name="backup"):
        """The data files of a repository, the biggest first."""
        found = [path for path in (self.repositories / name).rglob("__*") if path.is_file()]
        return sorted(found, key=lambda path: -path.stat().st_size)
