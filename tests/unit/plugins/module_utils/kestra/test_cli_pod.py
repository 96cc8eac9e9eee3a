# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Job whose pod Kestra's command line gets while Kestra is stopped, and what is read of its pod."""
from __future__ import annotations

import copy
import os
import signal
import subprocess
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import cli_pod

PROBE = {"httpGet": {"path": "/health", "port": 8081}}
KESTRA = {
    "name": "kestra-standalone", "image": "registry.example.org/kestra-ee:v1.3.26", "command": ["sh", "-c"],
    "args": ["exec /app/kestra server standalone"], "workingDir": "/app",
    "env": [{"name": "MICRONAUT_CONFIG_FILES", "value": "/app/confs/_default.yml"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
    "envFrom": [{"secretRef": {"name": "kestra"}}], "volumeMounts": [{"name": "confs", "mountPath": "/app/confs"}],
    "securityContext": {"runAsUser": 1000}, "resources": {"limits": {"memory": "4Gi"}}, "imagePullPolicy": "IfNotPresent",
    "ports": [{"containerPort": 8080}], "lifecycle": {"preStop": {"exec": {"command": ["sleep", "60"]}}},
    "livenessProbe": PROBE, "readinessProbe": PROBE, "startupProbe": PROBE}
PROXY = {"name": "proxy", "image": "proxy:1", "args": ["--to=db"], "readinessProbe": PROBE, "ports": [{"containerPort": 5432}]}
WORKLOAD = {
    "kind": "Deployment", "metadata": {"name": "kestra-standalone"},
    "spec": {"replicas": 0, "selector": {"matchLabels": {"app.kubernetes.io/name": "kestra", "component": "standalone"},
                                         "matchExpressions": [{"key": "tier", "operator": "Exists"}]},
             "template": {
                 "metadata": {"labels": {"app.kubernetes.io/name": "kestra", "component": "standalone", "tier": "x",
                                         "azure.workload.identity/use": "true"},
                              "annotations": {"vault.hashicorp.com/agent-inject": "true"}},
                 "spec": {"containers": [KESTRA], "initContainers": [{"name": "wait", "image": "busybox"}],
                          "volumes": [{"name": "confs", "configMap": {"name": "kestra-config"}}],
                          "serviceAccountName": "kestra", "imagePullSecrets": [{"name": "pull"}],
                          "securityContext": {"fsGroup": 1000}, "nodeSelector": {"disk": "ssd"},
                          "tolerations": [{"operator": "Exists"}], "restartPolicy": "Always",
                          "terminationGracePeriodSeconds": 360}}}}


def made(workload=None, container="kestra-standalone", labels=None, seconds=3720.5):
    workload = workload or WORKLOAD
    before = copy.deepcopy(workload)
    job = cli_pod.manifest(workload, container, labels or {}, "r1", seconds)
    assert workload == before
    return job


def test_the_pod_is_the_workloads_but_waits_and_ends():
    job = made()
    pod, template = job["spec"]["template"]["spec"], WORKLOAD["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][:2] == ["/bin/sh", "-c"] and container["command"][3] == "3721" and "args" not in container
    assert not {"ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"} & set(container)
    for name in ("image", "env", "envFrom", "volumeMounts", "securityContext", "resources", "workingDir", "imagePullPolicy"):
        assert container[name] == KESTRA[name]
    for name in ("volumes", "serviceAccountName", "imagePullSecrets", "securityContext", "nodeSelector", "tolerations",
                 "initContainers"):
        assert pod[name] == template[name]
    assert pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] < 10
    assert job["spec"]["backoffLimit"] == 0 and job["spec"]["activeDeadlineSeconds"] == 3721
    assert 0 < job["spec"]["ttlSecondsAfterFinished"] < 600


def test_nothing_that_looks_for_kestras_pods_finds_it():
    template = made(labels={"let": "through"})["spec"]["template"]
    assert template["metadata"]["labels"] == {
        "azure.workload.identity/use": "true", "let": "through", "app.kubernetes.io/managed-by": "kestra-dr",
        "kestra-dr/run": "r1"}
    assert template["metadata"]["annotations"] == {"vault.hashicorp.com/agent-inject": "true"}
    assert template["spec"]["readinessGates"], "else a Service with another selector sends requests to it"
    bare = {"kind": "Deployment", "metadata": {"name": "k"}, "spec": {"template": {"spec": {"containers": [{"name": "k"}]}}}}
    assert made(bare, "k")["spec"]["template"]["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "kestra-dr", "kestra-dr/run": "r1"}


def test_what_is_beside_kestra_stays_without_what_is_for_a_server():
    workload = copy.deepcopy(WORKLOAD)
    workload["spec"]["template"]["spec"]["containers"].insert(0, PROXY)
    beside, kestra = made(workload)["spec"]["template"]["spec"]["containers"]
    assert beside == {"name": "proxy", "image": "proxy:1", "args": ["--to=db"]}
    assert kestra["name"] == "kestra-standalone" and kestra["command"][0] == "/bin/sh"


def test_a_statefulset_has_the_volumes_of_its_first_pod():
    workload = copy.deepcopy(WORKLOAD)
    workload["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "storage"}}]
    assert made(workload)["spec"]["template"]["spec"]["volumes"] == [
        *WORKLOAD["spec"]["template"]["spec"]["volumes"],
        {"name": "storage", "persistentVolumeClaim": {"claimName": "storage-kestra-standalone-0"}}]
    workload["spec"]["ordinals"] = {"start": 5}
    (claim,) = made(workload)["spec"]["template"]["spec"]["volumes"][1:]
    assert claim["persistentVolumeClaim"]["claimName"] == "storage-kestra-standalone-5"


def test_which_container_is_kestras():
    template = copy.deepcopy(WORKLOAD["spec"]["template"])
    assert cli_pod.container_of(template, None) == "kestra-standalone"
    template["spec"]["containers"].append(PROXY)
    for wanted, named in ((None, "is not clear"), ("other", "no container other")):
        with pytest.raises(ConfigError, match=named) as caught:
            cli_pod.container_of(template, wanted)
        assert "kestra-standalone, proxy" in caught.value.hint
    assert cli_pod.container_of(template, "proxy") == "proxy"
    template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] = "kestra-standalone"
    assert cli_pod.container_of(template, None) == "kestra-standalone"


@pytest.mark.parametrize("name", ["kestra", "k" * 70, "k" * 52 + ".more"])
def test_names_of_jobs_are_valid(name):
    made_of = cli_pod.job_name(name)
    assert made_of.startswith("kestra-dr-k") and len(made_of) <= 63 and made_of[-1].isalnum()


def test_what_waits_ends_by_itself_and_at_once_when_told():
    command = made(seconds=1)["spec"]["template"]["spec"]["containers"][0]["command"]
    assert subprocess.run(command, check=False, timeout=20).returncode == 0
    waiting = subprocess.Popen([*command[:3], "600"], start_new_session=True)
    time.sleep(0.5)
    assert waiting.poll() is None
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(10) == 0
    os.killpg(waiting.pid, signal.SIGKILL)  # the sleep; in a container it ends with the first program


# -- what became of it ------------------------------------------------------------------------------------------------

def pod(phase="Pending", main=None, **status):
    found = {"phase": phase, **status}
    if main is not None:
        found["containerStatuses"] = [{"name": "proxy", "state": {"running": {}}}, {"name": "kestra", "state": main}]
    return {"metadata": {"name": "p"}, "status": found, "spec": {
        "nodeName": "n", "initContainers": [{"name": "mesh", "restartPolicy": "Always"}, {"name": "wait"}]}}


@pytest.mark.parametrize("expected, found", [
    ("pending", pod()), ("pending", pod(main={"waiting": {"reason": "ContainerCreating"}})),
    ("running", pod("Running", {"running": {}})), ("ended", pod("Running", {"terminated": {"exitCode": 0}})),
    ("ended", pod("Failed"))])
def test_states(expected, found):
    assert cli_pod.state(found, "kestra") == expected


UNSCHEDULED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
MOUNT = [{"type": "Warning", "lastTimestamp": "2026-11-26T10:00:02Z", "metadata": {}, "message": "MountVolume failed: not found"},
         {"type": "Warning", "lastTimestamp": None, "eventTime": "2026-11-26T10:00:01Z", "metadata": {}, "message": "earlier"},
         {"type": "Normal", "lastTimestamp": "2026-11-26T10:00:03Z", "metadata": {}, "message": "later, and normal"}]
CREATING = {"waiting": {"reason": "ContainerCreating"}}


@pytest.mark.parametrize("named, pods, events", [
    ("it is not scheduled: 0/3 nodes are available", [pod(conditions=UNSCHEDULED)], []),
    ('container kestra: ImagePullBackOff: Back-off pulling image "x"', [pod(main=PULL)], MOUNT),
    ("container kestra ended with exit code 137 (OOMKilled)",
     [pod("Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})], []),
    ("Evicted: The node was low on memory", [pod("Failed", reason="Evicted", message="The node was low on memory")], []),
    ("container wait ended with exit code 1 (Error)",
     [pod("Failed", initContainerStatuses=[{"name": "wait", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}])], []),
    ("init container wait has not ended",
     [pod(initContainerStatuses=[{"name": "mesh", "state": {"running": {}}}, {"name": "wait", "state": {"running": {}}}])], []),
    ("MountVolume failed: not found", [pod(main=CREATING)], MOUNT),
    ("its containers are still being made", [pod(main=CREATING)], []),
    ("it waits for a node", [{**pod(), "spec": {}}], []),
    ("exceeded quota", [], [{"type": "Warning", "metadata": {}, "message": "exceeded quota"}]),
    ("there is no pod", [], [])])
def test_the_cause_is_named(named, pods, events):
    assert cli_pod.cause(pods, events) == named


def test_a_job_that_is_going_is_told_from_one_that_runs():
    job = {"metadata": {}, "status": {"active": 1}}
    assert not cli_pod.going(job) and not cli_pod.going({"metadata": {}})
    assert cli_pod.going({**job, "metadata": {"deletionTimestamp": "2026-11-26T10:00:00Z"}})
    assert cli_pod.going({**job, "status": {"conditions": [{"type": "Failed", "status": "True"}]}})
    assert not cli_pod.going({**job, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}})
