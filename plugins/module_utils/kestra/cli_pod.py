# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod for Kestra's command line where Kestra runs in Kubernetes and is stopped: made by a Job, and gone with it.

The pod is as the workload would make it, but its program only waits. Commands and files reach it by kubectl exec, as
they reach a Kestra that runs. So files go in as well as out, no secret stands in the Job, and containers that never end,
such as a proxy to the database, may stay beside it, since the Job is deleted and need not end.
"""
from __future__ import annotations

import copy
import json
import math
import secrets
import time

from ..core import proc
from ..core.errors import ConfigError, RefusedError, ToolError

NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
KINDS = ("deployment", "statefulset")

_RUN = "kestra-dr/run"  # label: which run made it
# Held for sh: its end is the end of everything in the container. Where it is the first program, no TERM reaches it
# without the trap.
_WAITS = 'trap "exit 0" TERM; sleep "$0" & wait'
_OF_A_SERVER = ("ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
# A condition nobody sets: the pod is never ready, so no Service sends anything to it.
_NEVER = {"conditionType": "kestra-dr/never-ready"}
_GRACE = 5
_KEPT = 60  # seconds that an ended Job stays, so that its end can be read
_KUBECTL = 60.0
_POLL = 1.0
_ON_THE_WAY = ("PodInitializing", "ContainerCreating")


def kubectl(at, *words) -> list:
    """The argv of a kubectl command. at: cli.Place. Pure."""
    argv = ["kubectl"]
    for option, value in (("--kubeconfig", at.kubeconfig), ("--context", at.kube_context),
                          ("--namespace", at.namespace)):
        argv += [option, value] if value else []
    return argv + list(words)


# -- what is asked for ------------------------------------------------------------------------------------------------

def container_of(template, wanted) -> str:
    """Kestra's container: the wanted one, else the annotated one, else the only one. Raises ConfigError. Pure."""
    names = [one["name"] for one in template["spec"]["containers"]]
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    name = wanted or annotations.get("kubectl.kubernetes.io/default-container") or (names[0] if len(names) == 1 else None)
    if name in names:
        return name
    raise ConfigError(
        f"The pod template has no container {name}." if name else "Which container of the pod template is Kestra's is not clear.",
        reason="cli_options", hint=f"Name it with cli.pod_container; there are {', '.join(names)}.")


def manifest(workload, container, labels, run, seconds) -> dict:
    """The Job. workload: a Deployment or StatefulSet, as kubectl prints it. run: what tells it from others. seconds: when
    Kubernetes ends it if we do not. Pure.

    Labels the workload finds its pods by are left out: nothing that counts or addresses Kestra's pods finds this one.
    """
    template, selector = workload["spec"]["template"], workload["spec"].get("selector") or {}
    told, spec = template.get("metadata") or {}, copy.deepcopy(template["spec"])
    for one in spec["containers"]:
        for key in _OF_A_SERVER:
            one.pop(key, None)
        if one["name"] == container:
            one.pop("args", None)
            one["command"] = ["/bin/sh", "-c", _WAITS, str(math.ceil(seconds))]
    spec.pop("activeDeadlineSeconds", None)
    spec.update(restartPolicy="Never", terminationGracePeriodSeconds=_GRACE,
                readinessGates=[*(spec.get("readinessGates") or []), _NEVER])
    spec["volumes"] = [*(spec.get("volumes") or []), *_claimed(workload)]
    own = {"app.kubernetes.io/managed-by": "kestra-dr", _RUN: run}
    finds = set(selector.get("matchLabels") or {}) | {one["key"] for one in selector.get("matchExpressions") or []}
    kept = {key: value for key, value in (told.get("labels") or {}).items() if key not in finds}
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": job_name(workload["metadata"]["name"]), "labels": own},
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": math.ceil(seconds), "ttlSecondsAfterFinished": _KEPT,
                 "template": {"metadata": {"labels": {**kept, **labels, **own},
                                           "annotations": dict(told.get("annotations") or {})}, "spec": spec}}}


def job_name(name) -> str:
    """The same for every run, so that there is one at a time. Pure."""
    return f"kestra-dr-{name}"[:63].rstrip("-.")


def _claimed(workload) -> list:
    """The volumes a StatefulSet gives to its first pod, which are not in the template."""
    spec = workload["spec"]
    first = f"{workload['metadata']['name']}-{(spec.get('ordinals') or {}).get('start', 0)}"
    names = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates") or []]
    return [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{first}"}} for name in names]


# -- what became of it ------------------------------------------------------------------------------------------------

def going(job) -> bool:
    """Whether a Job has ended or is being deleted, so that its name is free soon. Pure."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return bool(job["metadata"].get("deletionTimestamp")) or any(
        one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def state(pod, container) -> str:
    """running: the container is; ended: it will not run any more; else pending. Pure."""
    status = pod.get("status") or {}
    found = next((one for one in status.get("containerStatuses") or [] if one["name"] == container), {})
    if status.get("phase") in ("Failed", "Succeeded") or "terminated" in (found.get("state") or {}):
        return "ended"
    return "running" if "running" in (found.get("state") or {}) else "pending"


def cause(pods, events) -> str:
    """Why a pod does not run, as far as Kubernetes tells. events: those of the Job and the pod. Pure."""
    warnings = [one.get("message") for one in sorted(events, key=_when) if one.get("type") == "Warning"]
    told = _told_by(pods[0]) if pods else None
    return told or (warnings and warnings[-1]) or _where(pods)


def _where(pods) -> str:
    if not pods:
        return "there is no pod"
    return "its containers are still being made" if pods[0]["spec"].get("nodeName") else "it waits for a node"


def _when(event) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""


def _told_by(pod):
    status = pod.get("status") or {}
    if status.get("reason"):  # Evicted, DeadlineExceeded
        return f"{status['reason']}: {status.get('message', '')}".rstrip(": ")
    for one in status.get("conditions") or []:
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"it is not scheduled: {one.get('message') or one.get('reason')}"
    for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        now = one.get("state") or {}
        waits, ended = now.get("waiting") or {}, now.get("terminated") or {}
        if waits.get("reason") not in (None, *_ON_THE_WAY):
            return f"container {one['name']}: {waits['reason']}: {waits.get('message', '')}".rstrip(": ")
        if ended and (ended.get("exitCode") or one in (status.get("containerStatuses") or [])):
            return f"container {one['name']} ended with exit code {ended.get('exitCode')} ({ended.get('reason')})"
    first = [one["name"] for one in pod["spec"].get("initContainers") or [] if one.get("restartPolicy") != "Always"]
    return next((f"init container {one['name']} has not ended" for one in status.get("initContainerStatuses") or []
                 if one["name"] in first and "running" in (one.get("state") or {})), None)


# -- effects ----------------------------------------------------------------------------------------------------------

class OneOff:
    """One Job and its pod. at: cli.Place with a workload. seconds: how long commands may take together.

    end() has to follow start(), also when that fails.
    """

    def __init__(self, at, seconds, redactor=None):
        self._at, self._redactor = at, redactor
        self._seconds = at.pod_timeout + seconds
        self._run = secrets.token_hex(8)
        self._mine = f"--selector={_RUN}={self._run}"
        self._job = job_name(at.workload.partition("/")[2])
        self._asked_for, self._pod = False, None
        self.container = at.pod_container

    def _kubectl(self, *words, text=None, ok=(0,), timeout=_KUBECTL):
        return proc.run(kubectl(self._at, *words), input=text, ok=ok, timeout=timeout, redactor=self._redactor)

    def _get(self, *words):
        text = self._kubectl("get", *words, "--output=json").stdout
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            raise ToolError(f"kubectl get {words[0]} printed no JSON.", reason="bad_output") from None

    def start(self) -> str:
        """The name of the pod, once its container runs. Raises DrError."""
        if self._pod is None:
            self._pod = self._made()
        return self._pod

    def _made(self):
        until = time.monotonic() + self._at.pod_timeout
        workload = self._get(self._at.workload)
        self.container = container_of(workload["spec"]["template"], self._at.pod_container)
        self._create(json.dumps(manifest(workload, self.container, self._at.pod_labels, self._run, self._seconds)), until)
        while True:
            pods = self._pods()
            now = state(pods[0], self.container) if pods else "pending"
            if now == "running":
                return pods[0]["metadata"]["name"]
            if now == "ended" or time.monotonic() >= until:
                limit = "ended at once" if now == "ended" else f"does not run after {self._at.pod_timeout:g} s"
                raise ToolError(f"The pod for Kestra's command line {limit}: {self._cause(pods)}", reason="cli_pod",
                                hint=f"It was made from {self._at.workload}, and is deleted again.")
            time.sleep(_POLL)

    def _create(self, text, until):
        """Creates the Job; waits for one of an earlier run that is going."""
        self._asked_for = True
        while True:
            done = self._kubectl("create", "--filename=-", text=text, ok=(0, 1))
            if done.rc == 0:
                return
            if "(AlreadyExists)" not in done.stderr_tail:
                self._asked_for = "(Forbidden)" not in done.stderr_tail  # else it may be there all the same
                last = (done.stderr_tail.splitlines() or ["no reason given"])[-1]
                raise ToolError(f"The Job for Kestra's command line cannot be made: {last}", reason="cli_pod",
                                detail={"stderr_tail": done.stderr_tail})
            other = self._get(f"job/{self._job}", "--ignore-not-found")
            if time.monotonic() >= until or (other and not going(other)):
                raise RefusedError(
                    f"There is a Job {self._job} already: another run uses Kestra's command line, or one was killed.",
                    reason="cli_job_exists", detail={"job": self._job},
                    hint="Nothing was touched. Wait for the other run; if there is none, delete the Job with kubectl, which "
                         "ends what still runs in it.")
            time.sleep(_POLL)

    def _pods(self) -> list:
        return self._get("pods", self._mine)["items"]

    def _cause(self, pods) -> str:
        try:
            job = self._get("jobs", self._mine)["items"]
            found = self._get("events", "--field-selector=type=Warning")["items"]
        except ToolError:  # not everybody may read them
            job, found = [], []
        ids = {one["metadata"]["uid"] for one in job + pods}  # names come again with every run
        return cause(pods, [one for one in found if one["involvedObject"].get("uid") in ids])

    def ended(self):
        """Why the pod does not run any more; None when it does, or when nothing tells."""
        try:
            pods = self._pods()
            return self._cause(pods) if not pods or state(pods[0], self.container) == "ended" else None
        except ToolError:
            return None

    def end(self, wait) -> None:
        """Deletes the Job with its pod, and what runs in it. wait: until they are gone, and with them their hold on volumes."""
        if self._asked_for:
            self._kubectl("delete", "jobs", self._mine, "--ignore-not-found", "--cascade=foreground",
                          *([f"--timeout={_KUBECTL:g}s"] if wait else ["--wait=false"]), timeout=_KUBECTL + 10)
