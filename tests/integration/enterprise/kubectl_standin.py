# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for a cluster, not for Kubernetes: a `kubectl` whose pods are processes of this machine.

It knows the few commands the collection calls, one workload and one Job. What it does not show: whether an API server
takes the manifest, scheduling, images, volumes, permissions. Its state is in the directory KUBECTL_STANDIN:
workload.json, secrets.json, job.json, pod.pid, calls (one JSON list a line: argv). A file pod.json is the pod's status in place of the true one.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(os.environ["KUBECTL_STANDIN"])
JOB, PID, MARK = HERE / "job.json", HERE / "pod.pid", "POD_OF_THE_STANDIN"


def load(name, default=None):
    path = HERE / name
    return json.loads(path.read_text()) if path.exists() else default


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)


def environment(template, name):
    """What a container of the template gets, and the mark by which its processes are found."""
    container = next(one for one in template["spec"]["containers"] if one["name"] == name)
    found = {"PATH": os.environ["PATH"], MARK: str(HERE)}
    for one in container.get("env", []):
        reference = one.get("valueFrom", {}).get("secretKeyRef")
        found[one["name"]] = load("secrets.json")[reference["name"]][reference["key"]] if reference else one["value"]
    return container, found


def processes():
    """Process ids of the pod."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={HERE}".encode() in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


def get(what, options):
    job = load("job.json")
    if what in ("jobs", "pods"):
        found = job and options.selector == "kestra-dr/run=" + job["metadata"]["labels"]["kestra-dr/run"]
        return {"items": [] if not found else [job] if what == "jobs" else [pod_of(job)]}
    if what == "events":
        return {"items": load("events.json", [])}
    if what.startswith("job/"):
        return job if job and what == "job/" + job["metadata"]["name"] else None
    found = load("workload.json")
    return found if what == f"{found['kind'].lower()}/{found['metadata']['name']}" else fail(
        f'Error from server (NotFound): {what.replace("/", "s.apps ")} not found')


def pod_of(job):
    return {"metadata": {"name": "pod-of-the-job", "uid": "of-the-pod"}, "spec": job["spec"]["template"]["spec"], "status": status(job)}


def status(job):
    told = load("pod.json")
    if told:
        return told
    alive = PID.exists() and int(PID.read_text()) in processes()
    states = [{"name": one["name"], "state": {"running": {}} if alive else {"terminated": {"exitCode": 0, "reason": "Completed"}}}
              for one in job["spec"]["template"]["spec"]["containers"]]
    return {"phase": "Running" if alive else "Succeeded", "containerStatuses": states}


def create():
    job = json.load(sys.stdin)
    name = job["metadata"]["name"]
    if JOB.exists():
        fail(f'Error from server (AlreadyExists): error when creating "STDIN": jobs.batch "{name}" already exists')
    job["metadata"]["uid"] = "of-the-job"
    JOB.write_text(json.dumps(job))
    with open(HERE / "created", "a", encoding="utf-8") as handle:
        handle.write(json.dumps(job) + "\n")
    if load("pod.json"):
        return
    for one in job["spec"]["template"]["spec"]["containers"]:
        container, env = environment(job["spec"]["template"], one["name"])
        if container.get("command"):
            started = subprocess.Popen(container["command"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
            PID.write_text(str(started.pid))


def delete(selector):
    job = load("job.json")
    if job and selector == "kestra-dr/run=" + job["metadata"]["labels"]["kestra-dr/run"]:
        for pid in list(processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        JOB.unlink()


def execute(pod, container, argv):
    """Like a command of a container it goes on when this kubectl is killed."""
    if pod == "pod-of-the-job":
        template = load("job.json")["spec"]["template"]
    else:
        template = get(pod, None)["spec"]["template"]
    _container, env = environment(template, container or template["spec"]["containers"][0]["name"])
    ours, theirs = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            done = subprocess.run(argv, env=env, check=False)
            os.write(theirs, str(done.returncode).encode())
        os._exit(0)
    os.close(theirs)
    code = int(os.read(ours, 10) or b"137")
    if code:
        print(f"command terminated with exit code {code}", file=sys.stderr)
    sys.exit(code)


def main():
    with open(HERE / "calls", "a", encoding="utf-8") as handle:
        handle.write(json.dumps(sys.argv[1:]) + "\n")
    words = sys.argv[1:]
    argv = words[words.index("--") + 1:] if "--" in words else []
    parser = argparse.ArgumentParser()
    for option in ("--namespace", "--kubeconfig", "--context", "--selector", "--output", "--filename", "--container", "--cascade",
                   "--timeout", "--field-selector"):
        parser.add_argument(option)
    for option in ("--stdin", "--ignore-not-found"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--wait", default="true")
    parser.add_argument("verb")
    parser.add_argument("what", nargs="?")
    options = parser.parse_intermixed_args(words[:words.index("--")] if argv else words)
    if options.verb == "get":
        found = get(options.what, options)
        print(json.dumps(found) if found is not None else "")
    elif options.verb == "create":
        create()
    elif options.verb == "delete":
        delete(options.selector)
    elif options.verb == "exec":
        execute(options.what, options.container, argv)
    else:
        sys.exit(f"unknown command {options.verb}")


if __name__ == "__main__":
    main()
