# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents Kestra keeps: executions, task runs, log entries, triggers, services, with exactly its keys."""
from __future__ import annotations

from . import values

TERMINAL = ("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "RETRIED", "SKIPPED")
GOOD = ("SUCCESS", "WARNING", "SKIPPED")


def new_state(moment, current="CREATED"):
    """A state with a history of one."""
    text = values.iso(moment)
    return {"current": current, "duration": values.seconds(0), "startDate": text,
            "histories": [{"date": text, "state": current}]}


def move(state, current, moment):
    """Bring a state to its next value, in place."""
    text = values.iso(moment)
    state["current"] = current
    state["histories"].append({"date": text, "state": current})
    began = values.parse_iso(state["startDate"])
    state["duration"] = values.seconds(max(moment, began) - began)
    if current in TERMINAL:
        state["endDate"] = text
    else:
        state.pop("endDate", None)


def is_done(document):
    """True when an execution or task run has ended."""
    return document["state"]["current"] in TERMINAL


def new_execution(flow, moment, inputs=None, labels=(), trigger=None, schedule_date=None, tenant=None,
                  execution_id=None):
    """A CREATED execution of a flow document."""
    execution_id = execution_id or values.new_id()
    created = values.iso(moment)
    execution = {
        "id": execution_id, "namespace": flow["namespace"], "flowId": flow["id"], "flowRevision": flow["revision"],
        "state": new_state(moment), "originalId": execution_id, "deleted": False,
        "labels": [dict(one) for one in flow.get("labels", ())] + [dict(one) for one in labels] + [
            {"key": "system.correlationId", "value": execution_id}],
        "metadata": {"attemptNumber": 1, "originalCreatedDate": created},
    }
    if inputs:
        execution["inputs"] = inputs
    if trigger:
        execution["trigger"] = trigger
    if schedule_date is not None:
        execution["scheduleDate"] = values.iso(schedule_date)
    if tenant:
        execution["tenantId"] = tenant
    return execution


def new_task_run(execution, task, moment, parent=None, value=None):
    """A CREATED task run."""
    run = {"id": values.new_id(), "executionId": execution["id"], "namespace": execution["namespace"],
           "flowId": execution["flowId"], "taskId": task["id"], "state": new_state(moment)}
    if parent is not None:
        run["parentTaskRunId"] = parent["id"]
    if value is not None:
        run["value"] = value
    if execution.get("tenantId"):
        run["tenantId"] = execution["tenantId"]
    return run


def log_entry(run, level, message, thread, moment, attempt=0):
    """A line of a task's log."""
    entry = {"level": level, "flowId": run["flowId"], "taskId": run["taskId"], "thread": thread, "deleted": False,
             "message": message, "namespace": run["namespace"], "taskRunId": run["id"], "timestamp": values.iso(moment),
             "executionId": run["executionId"], "attemptNumber": attempt}
    if run.get("tenantId"):
        entry["tenantId"] = run["tenantId"]
    return entry


def metric_entry(run, kind, name, value, tags, moment):
    """A measurement of a task."""
    entry = {"name": name, "type": kind, "value": value, "tags": tags, "deleted": False, "namespace": run["namespace"],
             "flowId": run["flowId"], "taskId": run["taskId"], "taskRunId": run["id"],
             "executionId": run["executionId"], "timestamp": values.iso(moment)}
    if run.get("tenantId"):
        entry["tenantId"] = run["tenantId"]
    return entry


def executor_state(execution_id):
    """What an executor keeps about a running execution."""
    return {"executionId": execution_id, "childDeduplication": {}, "workerTaskDeduplication": {},
            "subflowExecutionDeduplication": {}}


def uid(*parts):
    """Kestra's composed keys: the parts that exist, joined by _."""
    return "_".join(str(part) for part in parts if part is not None)


def flow_uid(flow):
    """Key of a flow's row: one per revision."""
    return uid(flow.get("tenantId"), flow["namespace"], flow["id"], flow["revision"])


def trigger_uid(trigger):
    """Key of a trigger's row."""
    return uid(trigger.get("tenantId"), trigger["namespace"], trigger["flowId"], trigger["triggerId"])


def new_service(kind, server, config, moment):
    """A CREATED service of a server."""
    text = values.iso(moment)
    event = {"ts": text, "type": "service.state.updated", "state": "CREATED", "value": "Service connected."}
    return {"id": values.new_id(), "type": kind, "state": "CREATED", "server": server, "config": config, "props": {},
            "metrics": [], "seqId": 0, "createdAt": text, "updatedAt": text, "events": [event]}


def move_service(service, state, moment, reason=None):
    """Bring a service to its next state, in place."""
    text = values.iso(moment)
    service["state"] = state
    service["updatedAt"] = text
    service["seqId"] += 1
    said = "Service transitioned to the '%s' state." % state
    service["events"].append({"ts": text, "type": "service.state.updated", "state": state,
                              "value": "%s %s" % (reason, said) if reason else said})
