# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line in Kubernetes, in the pod of a Job while Kestra is stopped. There is no cluster here: kubectl_standin.py stands in for one."""
from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.tests.integration.enterprise import conftest as enterprise_tests
from ansible_collections.kestra_community.dr.tests.integration.enterprise import test_in_a_container as container_tests
from ansible_collections.kestra_community.dr.tests.integration.module_runs import run_module
from ansible_collections.kestra_community.dr.tests.integration.standin import conftest as standin_tests

OTHER_KEY = container_tests.OTHER_KEY
KUBECTL = Path(__file__).with_name("kubectl_standin.py")


class Cluster:
    """One workload, scaled to 0, that would run an instance. directory: its state."""

    def __init__(self, one, directory, executable=enterprise_tests.EXECUTABLE):
        self.instance, self.directory = one, directory
        secret = {"STANDIN_TEST_PASSWORD": standin_tests.PASSWORD}
        plain = {**one.environment, "MICRONAUT_CONFIG_FILES": str(one.config)}
        env = [{"name": name, "value": value} for name, value in plain.items() if name not in secret]
        env += [{"name": name, "valueFrom": {"secretKeyRef": {"name": "database", "key": name}}} for name in secret]
        labels = {"app.kubernetes.io/name": "kestra"}
        container = {"name": "kestra-standalone", "image": "kestra-ee:v1.3.26", "command": ["/app/kestra", "server", "standalone"],
                     "env": env, "readinessProbe": {"httpGet": {"path": "/health", "port": 8081}}}
        self.write("secrets.json", {"database": secret})
        self.write("workload.json", {
            "kind": "Deployment", "metadata": {"name": "kestra-standalone"},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}})
        self.cli = {"method": "kubernetes", "namespace": "kestra", "workload": "deployment/kestra-standalone",
                    "executable": str(executable), "server_version": None}
        self.common = {"config": None, "storage_path": str(one.standin.storage), "cli": self.cli}

    def write(self, name, value):
        (self.directory / name).write_text(json.dumps(value), encoding="utf-8")

    def read(self, name):
        path = self.directory / name
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def verbs(self):
        return [next(word for word in call if word in ("get", "create", "exec", "delete")) for call in self.read("calls")]

    def processes(self):
        """Command lines of what runs in its pod."""
        mark, found = f"POD_OF_THE_STANDIN={self.directory}".encode(), []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    def require_gone(self):
        assert not (self.directory / "job.json").exists()
        standin_tests.until(lambda: not self.processes(), 10)


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """The directory of a cluster whose kubectl is the first in the search path."""
    directory = tmp_path / "cluster"
    programs = directory / "bin"
    programs.mkdir(parents=True)
    (programs / "kubectl").write_text(f"#!/bin/sh\nexec '{sys.executable}' '{KUBECTL}' \"$@\"\n", encoding="utf-8")
    (programs / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBECTL_STANDIN", str(directory))
    return directory


@pytest.fixture
def cluster(instance, kubectl):
    return Cluster(instance(), kubectl)


def test_a_backup_and_a_restore_each_by_one_job(cluster, tmp_path):
    target = cluster.instance
    made = target.backup(tmp_path / "made", encryption_key=OTHER_KEY, **cluster.common)
    assert "component" in made, made["_raw"]
    assert made["component"]["key"] == "given" and made["plan"]["cli"]["in"] == "deployment/kestra-standalone"
    cluster.require_gone()
    file = made["component"]["files"][0]
    (target.standin.storage / made["component"]["uri"][len("kestra:///"):]).unlink()
    user = target.rows("SELECT key, value FROM users")[0]
    target.rows("DELETE FROM users RETURNING key")

    restored = target.restore(
        made["component"]["uri"], archive=str(tmp_path / "made" / file["path"]), sha256=file["sha256"],
        summary=made["component"]["summary"], encryption_key=OTHER_KEY, **cluster.common)
    assert restored.get("restored") == made["component"]["summary"] and restored["put_back"], restored["_raw"]
    assert user in target.rows("SELECT key, value FROM users")
    cluster.require_gone()

    assert cluster.verbs().count("create") == cluster.verbs().count("delete") == 2
    shown = json.dumps([cluster.read("calls"), cluster.read("created"), made["_raw"], restored["_raw"]])
    assert OTHER_KEY not in shown and json.dumps(standin_tests.PASSWORD)[1:-1] not in shown


def test_check_mode_leaves_nothing_there(cluster, tmp_path):
    plan = cluster.instance.backup(tmp_path / "made", check=True, **cluster.common)["plan"]
    assert plan["kestra_version"] == enterprise_tests.VERSION and not (tmp_path / "made").exists()
    assert cluster.verbs()[-1] == "delete"
    cluster.require_gone()


def test_what_cannot_be_is_refused_before_there_is_a_job(cluster, tmp_path):
    (tmp_path / "made").mkdir()
    assert cluster.instance.backup(tmp_path / "made", **cluster.common)["reason"] == "dest_exists"
    assert cluster.verbs() == []


def test_a_pod_that_does_not_come_to_run_is_told_with_its_cause(cluster, tmp_path):
    cluster.write("pod.json", {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: Insufficient memory"}]})
    common = {**cluster.common, "cli": {**cluster.cli, "pod_timeout": 2}}
    failed = cluster.instance.backup(tmp_path / "made", **common)
    assert failed["reason"] == "cli_pod" and "after 2 s: it is not scheduled: 0/3 nodes are available" in failed["msg"]
    cluster.require_gone()
    cluster.write("pod.json", {"phase": "Pending"})
    cluster.write("events.json", [
        {"type": "Warning", "metadata": {}, "involvedObject": {"name": "kestra-dr-kestra-standalone", "uid": uid}, "message": message}
        for uid, message in (("of-the-job", "exceeded quota"), ("of-an-earlier-one", "reached its limit"))])
    assert "exceeded quota" in cluster.instance.backup(tmp_path / "made", **common)["msg"]
    cluster.require_gone()


def test_a_job_of_another_run_is_left_alone(cluster, tmp_path):
    other = {"metadata": {"name": "kestra-dr-kestra-standalone", "labels": {"kestra-dr/run": "other"}}, "status": {"active": 1}}
    cluster.write("job.json", other)
    refused = cluster.instance.backup(tmp_path / "made", **cluster.common)
    assert refused["reason"] == "cli_job_exists" and cluster.read("job.json") == [other]


def test_a_command_that_takes_too_long_ends_with_the_pod(instance, kubectl, wrapped, tmp_path):
    slow = Cluster(instance(), kubectl, wrapped(before='[ "$1" != backups ] || [ "$3" = --help ] || sleep 300'))
    failed = slow.instance.backup(tmp_path / "made", **{**slow.common, "cli": {**slow.cli, "timeout": 10}})
    assert failed["reason"] == "cli_timeout" and failed["hint"] is None
    slow.require_gone()


def test_an_interrupt_deletes_the_job(instance, kubectl, wrapped, tmp_path):
    slow = Cluster(instance(), kubectl, wrapped(before='[ "$1" != backups ] || [ "$3" = --help ] || sleep 300'))
    options = slow.instance.options(dest=str(tmp_path / "made"), **slow.common)
    process = run_module(OTHER_KEY, "kestra_metadata_backup", background=True, **options)
    standin_tests.until(lambda: any("sleep 300" in line for line in slow.processes()), 120)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert json.loads(process.stdout.read())["reason"] == "aborted" and process.wait(10) == 1
    assert time.monotonic() - started < 10, "an abort kills after that"
    slow.require_gone()


def test_a_pod_that_dies_in_the_middle_is_told(cluster, wrapped, tmp_path):
    status = {"phase": "Failed", "containerStatuses": [
        {"name": "kestra-standalone", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}
    cluster.write("later.json", status)
    dies = wrapped(before=f'[ "$1" != backups ] || [ "$3" = --help ] || {{ mv {cluster.directory}/later.json {cluster.directory}/pod.json; exit 137; }}')
    failed = cluster.instance.backup(tmp_path / "made", **{**cluster.common, "cli": {**cluster.cli, "executable": dies}})
    assert failed["reason"] == "cli_failed" and "OOMKilled" in failed["msg"]
    cluster.require_gone()
