# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows: from the YAML a person writes to the document Kestra stores."""
from __future__ import annotations

import re

import yaml

from . import schedule, values

CORE = "io.kestra.plugin.core."
FLOWABLE = tuple(CORE + "flow." + name for name in ("Sequential", "Parallel", "ForEach", "If"))
PAUSE = CORE + "flow.Pause"
WORKING_DIRECTORY = CORE + "flow.WorkingDirectory"
RUNNABLE = tuple(CORE + name for name in (
    "log.Log", "log.Fetch", "debug.Return", "flow.Sleep", "storage.Split", "storage.Concat", "storage.Write",
    "storage.Delete", "kv.Set", "kv.Get", "kv.Delete", "state.Set", "state.Get", "namespace.UploadFiles",
    "http.Request", "http.Download", "execution.Fail"))
SCHEDULE = CORE + "trigger.Schedule"

# What Kestra does not write because it is the default.
DEFAULTS = {
    CORE + "kv.Set": {"overwrite": True}, CORE + "namespace.UploadFiles": {"destination": "/", "conflict": "OVERWRITE"},
    CORE + "log.Log": {"level": "INFO"},
}
# Properties that are expressions, hence text, whatever the YAML said.
TEXTS = {CORE + "storage.Split": ("rows", "partitions", "bytes")}


class InvalidFlow(Exception):
    """The YAML is not a flow this stand-in can run."""


class _Loader(yaml.SafeLoader):
    """Without timestamps: a date in a flow is text."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for key, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}


def _seconds(owner, value):
    try:
        return values.seconds(values.duration(value))
    except ValueError:
        raise InvalidFlow("%s: %r is not a duration" % (owner, value)) from None


def _retry(owner, retry):
    kind = retry.get("type", "constant")
    if kind not in ("constant", "exponential", "random"):
        raise InvalidFlow("%s: unknown retry type %s" % (owner, kind))
    found = {"type": kind, "behavior": "RETRY_FAILED_TASK", "warningOnRetry": False}
    times = ("interval", "maxInterval", "minInterval", "maxDuration")
    for key, value in retry.items():
        found[key] = _seconds(owner, value) if key in times else value
    return found


def _task(task):
    if not isinstance(task, dict) or not task.get("id") or not task.get("type"):
        raise InvalidFlow("tasks: every task needs an id and a type")
    kind = task["type"]
    if kind not in FLOWABLE + RUNNABLE + (PAUSE, WORKING_DIRECTORY):
        raise InvalidFlow("Invalid type: %s" % kind)
    found = {}
    for key, value in task.items():
        if value is None or DEFAULTS.get(kind, {}).get(key) == value:
            continue
        if key in ("tasks", "then", "else", "errors"):
            value = [_task(one) for one in value]
        elif key == "retry":
            value = _retry(task["id"], value)
        elif key in ("timeout", "delay") or (key == "duration" and kind == CORE + "flow.Sleep"):
            value = value if isinstance(value, str) and "{{" in value else _seconds(task["id"], value)
        elif key in TEXTS.get(kind, ()):
            value = str(value)
        found[key] = value
    if kind == CORE + "flow.ForEach":
        found.setdefault("concurrencyLimit", 1)
    return found


def _input(one):
    found = {"id": one["id"], "type": one.get("type", "STRING"), "required": True}
    found.update({key: value for key, value in one.items() if value is not None})
    if found["type"] == "FILE":
        found.setdefault("extension", ".upl")
    return found


def _trigger(one):
    if one.get("type") != SCHEDULE:
        raise InvalidFlow("Invalid type: %s" % one.get("type"))
    found = {key: value for key, value in one.items() if value is not None}
    try:
        schedule.check(found)
    except ValueError as error:
        raise InvalidFlow("triggers: %s" % error) from None
    return found


def parse(source):
    """A flow document (without revision) from YAML text; InvalidFlow says what is wrong."""
    try:
        raw = yaml.load(source, Loader=_Loader)
    except yaml.YAMLError as error:
        raise InvalidFlow("Illegal flow YAML: %s" % error) from None
    if not isinstance(raw, dict):
        raise InvalidFlow("Illegal flow YAML: not a map")
    for key in ("id", "namespace", "tasks"):
        if not raw.get(key):
            raise InvalidFlow("%s: must not be empty" % key)
    if not re.match(r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$", str(raw["id"])):
        raise InvalidFlow("id: must match a simple name")
    if not re.match(r"^[a-z0-9][a-z0-9._-]*$", str(raw["namespace"])):
        raise InvalidFlow("namespace: must be lower case")
    flow = {"id": str(raw["id"]), "namespace": str(raw["namespace"]), "deleted": False, "disabled": False}
    for key, value in raw.items():
        if value is None or key in ("id", "namespace", "revision"):
            continue
        if key in ("tasks", "errors"):
            value = [_task(one) for one in value]
        elif key == "inputs":
            value = [_input(one) for one in value]
        elif key == "triggers":
            value = [_trigger(one) for one in value]
        elif key == "labels" and isinstance(value, dict):
            value = [{"key": name, "value": str(text)} for name, text in value.items()]
        elif key == "retry":
            value = _retry("flow", value)
        flow[key] = value
    return flow
