# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks do. Every function takes a Run and returns the task's outputs (None for none)."""
from __future__ import annotations

import base64
import fnmatch
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from datetime import timedelta

from . import flows, model, storage, values
from .render import Renderer

CORE = flows.CORE


class TaskFailed(Exception):
    """The task failed; the text goes into its log."""


class Interrupted(Exception):
    """The worker is going away or the execution was killed: no result."""


class Run:
    """One attempt of one task on a worker."""

    def __init__(self, worker, job, thread, cancel):
        self.worker, self.thread, self.cancel = worker, thread, cancel
        self.task, self.task_run = job["task"], job["taskRun"]
        self.variables = job["runContext"]["variables"]
        self.storage, self.store = worker.server.storage, worker.server.store
        self.attempt = len(self.task_run.get("attempts", ()))
        self.logs, self.metrics = [], []
        self.directory = None
        self.renderer = Renderer(self.variables, {
            "read": self.read, "kv": self.kv, "secret": self.secret, "fileURI": self.read})

    def read(self, name):
        """read('kestra:///...') of internal storage, or of a namespace file."""
        uri = str(name)
        if not uri.startswith("kestra://"):
            uri = storage.namespace_file(self.task_run["namespace"], uri)
        return self.storage.get(uri).decode("utf-8", "replace")

    def kv(self, key, namespace=None):
        """kv('key')."""
        return get_kv(self.storage, namespace or self.task_run["namespace"], key)

    def secret(self, name):
        """secret('NAME'): the open-source way, SECRET_NAME in the environment, base64."""
        text = os.environ.get("SECRET_" + str(name).upper())
        if text is None:
            raise TaskFailed("Cannot find secret for key '%s'." % name)
        return base64.b64decode(text).decode()

    def get(self, key, default=None):
        """A property of the task, rendered to text."""
        found = self.task.get(key, default)
        return self.renderer.render(found) if isinstance(found, (str, list, dict)) else found

    def value(self, key):
        """A property that may be a whole structure."""
        return self.renderer.value(self.task.get(key))

    def log(self, level, message):
        """A line in the task's log."""
        self.logs.append(model.log_entry(self.task_run, level, message, self.thread, values.now(), self.attempt))

    def metric(self, kind, name, value, tags=None):
        """A measurement."""
        self.metrics.append(model.metric_entry(self.task_run, kind, name, value, tags or {}, values.now()))

    def keep(self, name, content):
        """Store a file among the task's; its URI."""
        return self.storage.put("%s/%s" % (storage.task_path(self.task_run), name), content)


def get_kv(store, namespace, key):
    """A key's value from storage, or None."""
    path = storage.kv_file(namespace, key)
    if not store.exists(path):
        return None
    return values.loads(store.get(path).decode())


def put_kv(store, namespace, key, value, metadata=None):
    """Write a key's value: its ION form, which for JSON values is JSON, with a side file."""
    store.put(storage.kv_file(namespace, key), values.dumps(value).encode(), metadata if metadata is not None else {})


def log(run):
    messages = run.task.get("message", "")
    for message in messages if isinstance(messages, list) else [messages]:
        run.log(run.task.get("level", "INFO"), run.renderer.render(str(message)))
    return {}


def fetch_logs(run):
    execution = run.get("executionId") or run.task_run["executionId"]
    with run.store.tx() as work:
        rows = work.documents("logs", "execution_id = %s", (execution,), "ORDER BY timestamp")
    lines = "".join(values.dumps(value) + "\n" for _key, value in rows)
    return {"uri": run.keep("%d.ion" % values.file_number(), lines.encode()), "size": len(rows)}


def debug_return(run):
    found = run.get("format")
    started = values.now()
    length = values.seconds(len(found or "")).quantize(values.Decimal("0.1"))
    run.metric("counter", "length", length, {"format": found or ""})
    run.metric("timer", "duration", values.seconds(values.now() - started), {"format": found or ""})
    return {"value": found}


def sleep(run):
    seconds = values.duration(run.get("duration"))
    if run.cancel.wait(seconds):
        raise Interrupted()
    return {}


def split(run):
    content = run.storage.get(run.get("from"))
    lines = content.splitlines(keepends=True)
    rows = int(run.get("rows") or 0)
    if not rows:
        count = int(run.get("partitions") or 1)
        rows = max(1, -(-len(lines) // count))
    ending = os.path.splitext(run.get("from"))[1]
    parts = [b"".join(lines[start:start + rows]) for start in range(0, len(lines), rows)] or [b""]
    return {"uris": [run.keep("%d%s" % (values.file_number(), ending), part) for part in parts]}


def concat(run):
    files = run.value("files")
    if isinstance(files, str):
        files = values.loads(files)
    joined = run.get("separator", "").encode().join(run.storage.get(uri) for uri in files)
    return {"uri": run.keep("%d%s" % (values.file_number(), run.get("extension", ".tmp")), joined)}


def write(run):
    name = "%d%s" % (values.file_number(), run.get("extension", ".txt"))
    return {"uri": run.keep(name, str(run.get("content", "")).encode())}


def delete(run):
    uri = run.get("uri")
    deleted = run.storage.delete(uri)
    if not deleted and run.task.get("errorOnMissing"):
        raise TaskFailed("Unable to delete file '%s'" % uri)
    return {"uri": uri, "deleted": deleted}


def kv_set(run):
    namespace = run.get("namespace") or run.task_run["namespace"]
    key = run.get("key")
    if not run.task.get("overwrite", True) and run.storage.exists(storage.kv_file(namespace, key)):
        raise TaskFailed("Cannot set value for key '%s'. Key already exists and `overwrite` is set to `false`." % key)
    metadata = {}
    if run.task.get("kvDescription"):
        metadata["description"] = run.get("kvDescription")
    if run.task.get("ttl"):
        metadata["expirationDate"] = values.iso(values.now() + timedelta(seconds=values.duration(run.get("ttl"))))
    put_kv(run.storage, namespace, key, run.value("value"), metadata)
    return {}


def kv_get(run):
    namespace = run.get("namespace") or run.task_run["namespace"]
    found = get_kv(run.storage, namespace, run.get("key"))
    if found is None and run.task.get("errorOnMissing"):
        raise TaskFailed("No value found for key '%s'" % run.get("key"))
    return {"value": found}


def kv_delete(run):
    namespace = run.get("namespace") or run.task_run["namespace"]
    return {"deleted": run.storage.delete(storage.kv_file(namespace, run.get("key")))}


def _state_key(run):
    return "%s_states_%s_%s" % (storage.slug(run.task_run["flowId"]), "tasks-states", run.get("name", "default"))


def state_set(run):
    key = _state_key(run)
    found = get_kv(run.storage, run.task_run["namespace"], key) or {}
    found.update(run.renderer.render(run.task.get("data", {})))
    put_kv(run.storage, run.task_run["namespace"], key, found)
    return {"key": key, "count": len(found)}


def state_get(run):
    found = get_kv(run.storage, run.task_run["namespace"], _state_key(run))
    if found is None and run.task.get("errorOnMissing"):
        raise TaskFailed("Unable to find the state")
    return {"data": found or {}, "count": len(found or {})}


def upload(run):
    namespace = run.get("namespace") or run.task_run["namespace"]
    destination = run.get("destination", "/").strip("/")
    files = run.renderer.render(run.task.get("filesMap", {}))
    for name, uri in files.items():
        path = "%s/%s" % (destination, name) if destination else name
        run.storage.put(storage.namespace_file(namespace, path), run.storage.get(uri))
    return {"files": None}


def _call(run):
    body = run.get("body")
    request = urllib.request.Request(
        run.get("uri"), data=body.encode() if body else None, method=run.get("method", "GET"),
        headers=dict({"User-Agent": "kestra-standin"}, **run.renderer.render(run.task.get("headers", {}))))
    # A proxy of the environment is not for the laboratory's own calls.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        raise TaskFailed("Failed http request with response code '%d'" % error.code) from None
    except (OSError, ValueError) as error:
        raise TaskFailed("Request to '%s' failed: %s" % (run.get("uri"), error)) from None


def http_request(run):
    code, headers, body = _call(run)
    run.metric("counter", "response.length", values.seconds(len(body)).quantize(values.Decimal("0.1")))
    return {"code": code, "uri": run.get("uri"), "body": body.decode("utf-8", "replace"),
            "headers": {name.lower(): [value] for name, value in headers.items()}}


def http_download(run):
    code, headers, body = _call(run)
    ending = os.path.splitext(run.get("uri").split("?")[0])[1]
    return {"code": code, "length": len(body), "uri": run.keep("%d%s" % (values.file_number(), ending), body),
            "headers": {name.lower(): [value] for name, value in headers.items()}}


def fail(run):
    condition = run.get("condition")
    if condition is not None and condition.strip().lower() in ("", "false", "0"):
        return {}
    raise TaskFailed(run.get("errorMessage") or "Task failure")


TASKS = {CORE + name: function for name, function in {
    "log.Log": log, "log.Fetch": fetch_logs, "debug.Return": debug_return, "flow.Sleep": sleep, "storage.Split": split,
    "storage.Concat": concat, "storage.Write": write, "storage.Delete": delete, "kv.Set": kv_set, "kv.Get": kv_get,
    "kv.Delete": kv_delete, "state.Set": state_set, "state.Get": state_get, "namespace.UploadFiles": upload,
    "http.Request": http_request, "http.Download": http_download, "execution.Fail": fail}.items()}


def working_directory(run, execute):
    """Run the children one after the other in one directory; execute(job) runs one and returns its task run.

    The task's own outputs are the files that match outputFiles, each stored under a fresh id.
    """
    root = tempfile.mkdtemp(prefix="kestra-wd-", dir=run.worker.server.temporary)
    try:
        for name, content in run.renderer.render(run.task.get("inputFiles", {})).items():
            target = os.path.join(root, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            data = run.storage.get(content) if content.startswith("kestra://") else content.encode()
            with open(target, "wb") as handle:
                handle.write(data)
        run.storage.make_directory(storage.task_path(run.task_run))
        outputs = run.variables.setdefault("outputs", {})
        for task in run.task["tasks"]:
            execution = dict(run.task_run, id=run.task_run["executionId"])
            child = model.new_task_run(execution, task, values.now(), run.task_run)
            variables = dict(run.variables, outputs=outputs, task={"id": task["id"], "type": task["type"]},
                             taskrun={"id": child["id"], "startDate": child["state"]["startDate"],
                                      "parentId": run.task_run["id"], "attemptsCount": 0})
            child = execute({"task": task, "taskRun": child, "runContext": {"variables": variables}})
            if child["state"]["current"] == "FAILED" and not task.get("allowFailure"):
                raise TaskFailed("Task '%s' failed" % task["id"])
            outputs[task["id"]] = child.get("outputs") or {}
        found = {}
        for directory, _directories, names in os.walk(root):
            for name in sorted(names):
                full = os.path.join(directory, name)
                below = os.path.relpath(full, root)
                if any(fnmatch.fnmatch(below, pattern.replace("**/", "*").replace("**", "*"))
                       for pattern in run.task.get("outputFiles", ())):
                    with open(full, "rb") as handle:
                        found[below] = run.keep("%s-%s" % (values.new_id(), name), handle.read())
        return {"outputFiles": found}
    finally:
        shutil.rmtree(root, ignore_errors=True)
