# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The executor: brings executions from CREATED to their end."""
from __future__ import annotations

from datetime import timedelta

from . import flows, model, values
from .render import RenderError, Renderer


class Progress:
    """One step of one execution: what changed, and what has to be sent."""

    def __init__(self, flow, execution, moment):
        self.flow, self.execution, self.moment = flow, execution, moment
        self.runs = execution.get("taskRunList", [])
        self.jobs, self.delays, self.logs = [], [], []
        self.changed = False

    # variables ------------------------------------------------------------------------------------------------

    def variables(self, run=None, task=None):
        """What an expression can name."""
        execution = self.execution
        found = {
            "flow": {"id": execution["flowId"], "namespace": execution["namespace"],
                     "revision": execution["flowRevision"]},
            "execution": {"id": execution["id"], "startDate": execution["state"]["startDate"],
                          "originalId": execution["originalId"]},
            "inputs": execution.get("inputs", {}), "outputs": self.outputs(), "vars": self.flow.get("variables", {}),
            "labels": {one["key"]: one["value"] for one in execution.get("labels", ())
                       if not one["key"].startswith("system.")},
        }
        if execution.get("trigger"):
            found["trigger"] = execution["trigger"].get("variables", {})
        if run is not None:
            found["taskrun"] = {"id": run["id"], "startDate": run["state"]["startDate"],
                                "attemptsCount": len(run.get("attempts", ()))}
            if "value" in run:
                found["taskrun"]["value"] = run["value"]
            if "parentTaskRunId" in run:
                found["taskrun"]["parentId"] = run["parentTaskRunId"]
        if task is not None:
            found["task"] = {"id": task["id"], "type": task["type"]}
        return found

    def outputs(self):
        """Outputs by task, and by value inside a loop."""
        found = {}
        for run in self.runs:
            if run.get("outputs") is None:
                continue
            if "value" in run:
                found.setdefault(run["taskId"], {})[run["value"]] = run["outputs"]
            else:
                found[run["taskId"]] = run["outputs"]
        return found

    # the tree of tasks ----------------------------------------------------------------------------------------

    def find(self, task, parent, value):
        """The task run of a task at this place of the tree."""
        wanted = parent["id"] if parent else None
        for run in self.runs:
            if run["taskId"] == task["id"] and run.get("parentTaskRunId") == wanted and run.get("value") == value:
                return run
        return None

    def move(self, run, state):
        """Next state of a task run."""
        model.move(run["state"], state, self.moment)
        self.changed = True

    def sequence(self, tasks, parent=None, value=None):
        """Run tasks one after the other: the list's own state (RUNNING while anything is left)."""
        result = "SUCCESS"
        for task in tasks:
            if task.get("disabled"):
                continue
            state = self.one(task, parent, value)
            if state in ("FAILED", "KILLED"):
                return state
            if state not in model.GOOD:
                return state
            if state == "WARNING":
                result = "WARNING"
        return result

    def one(self, task, parent, value):
        """Start or continue one task; its state."""
        run = self.find(task, parent, value)
        if run is None:
            run = model.new_task_run(self.execution, task, self.moment, parent, value)
            self.runs.append(run)
            self.execution["taskRunList"] = self.runs
            self.changed = True
            if task["type"] == flows.PAUSE:
                self.move(run, "PAUSED")
                if "delay" in task:
                    self.delay(run, float(task["delay"]), "RUNNING", "RESUME_FLOW")
            elif task["type"] in flows.FLOWABLE:
                self.move(run, "RUNNING")
            else:
                self.submit(task, run)
        state = run["state"]["current"]
        if task["type"] in flows.FLOWABLE and state == "RUNNING":
            state = self.flowable(task, run)
            if state in model.TERMINAL:
                self.move(run, state)
        if state == "FAILED" and task.get("allowFailure"):
            return "WARNING"
        return state

    def flowable(self, task, run):
        """State of a task that holds tasks."""
        kind = task["type"].rsplit(".", 1)[1]
        try:
            if kind == "If":
                chosen = Renderer(self.variables(run, task)).render(str(task.get("condition", "")))
                branch = "else" if chosen.strip().lower() in ("", "false", "0") else "then"
                return self.sequence(task.get(branch, []), run)
            if kind == "ForEach":
                found = Renderer(self.variables(run, task)).value(task["values"])
                if isinstance(found, str):
                    found = values.loads(found)
        except (RenderError, ValueError) as error:
            self.logs.append(model.log_entry(run, "ERROR", str(error), "executor", self.moment))
            return "FAILED"
        if kind == "Sequential":
            return self.sequence(task["tasks"], run)
        if kind == "Parallel":
            lanes = [([one], None) for one in task["tasks"]]
            limit = task.get("concurrent", 0)
        else:
            lanes = [(task["tasks"], one if isinstance(one, str) else values.dumps(one)) for one in found]
            limit = task["concurrencyLimit"]
        states, running = [], 0
        for tasks, value in lanes:
            if limit and running >= limit:
                return "RUNNING"
            state = self.sequence(tasks, run, value)
            states.append(state)
            running += state not in model.TERMINAL
        if running:
            return "RUNNING"
        return next((bad for bad in ("KILLED", "FAILED", "WARNING") if bad in states), "SUCCESS")

    def submit(self, task, run):
        """Send a task to the workers."""
        self.jobs.append({"type": "task", "task": task, "taskRun": run,
                          "runContext": {"variables": self.variables(run, task)}})

    def delay(self, run, after, state, kind):
        """Let the executor come back to a task run later."""
        self.delays.append({"executionId": self.execution["id"], "taskRunId": run["id"], "state": state,
                            "date": values.iso(self.moment + timedelta(seconds=after)), "delayType": kind})

    def task_of(self, task_id):
        """The definition of a task, wherever it stands in the flow."""
        pending = list(self.flow["tasks"]) + list(self.flow.get("errors", ()))
        while pending:
            task = pending.pop()
            if task["id"] == task_id:
                return task
            for below in ("tasks", "then", "else"):
                pending.extend(task.get(below, ()))
        return None

    # the execution --------------------------------------------------------------------------------------------

    def set(self, state):
        """Next state of the execution."""
        if self.execution["state"]["current"] != state:
            model.move(self.execution["state"], state, self.moment)
            self.changed = True

    def advance(self):
        """Do whatever can be done now."""
        execution = self.execution
        if model.is_done(execution):
            return
        current = execution["state"]["current"]
        if current == "QUEUED":
            return
        if current == "KILLING":
            self.kill()
            return
        if current in ("CREATED", "RESTARTED"):
            # Recorded rows show the first task runs created a moment before the execution is running.
            self.set("RUNNING")
        state = self.sequence(self.flow["tasks"])
        if state in ("FAILED", "KILLED") and self.flow.get("errors"):
            if self.sequence(self.flow["errors"]) not in model.TERMINAL:
                state = "RUNNING"
        if any(run["state"]["current"] == "PAUSED" for run in self.runs) and state == "PAUSED":
            self.set("PAUSED")
        elif state in model.TERMINAL:
            self.finish(state)
        elif execution["state"]["current"] == "PAUSED":
            self.set("RUNNING")

    def finish(self, state):
        """End the execution, with the flow's outputs."""
        declared = self.flow.get("outputs")
        if declared and state in model.GOOD:
            renderer = Renderer(self.variables())
            try:
                self.execution["outputs"] = {one["id"]: renderer.value(one["value"]) for one in declared}
            except RenderError:
                state = "FAILED"
        self.set(state)

    def kill(self):
        """End every task run that has not ended, then the execution."""
        for run in self.runs:
            if not model.is_done(run):
                self.move(run, "KILLED")
        self.set("KILLED")

    def result(self, incoming):
        """Take a worker's word on a task run; True when it was news."""
        place = next((place for place, run in enumerate(self.runs) if run["id"] == incoming["id"]), None)
        if place is None:
            if model.is_done(self.execution):
                return False
            self.runs.append(incoming)
            self.execution["taskRunList"] = self.runs
            self.changed = True
            return True
        run = self.runs[place]
        if model.is_done(run) or run["state"]["current"] == "RETRYING":
            return False
        self.runs[place] = incoming
        self.changed = True
        if incoming["state"]["current"] == "FAILED":
            self.retry(incoming)
        return True

    def retry(self, run):
        """Plan another attempt of a failed task when its definition allows one."""
        task = self.task_of(run["taskId"])
        retry = (task or {}).get("retry")
        attempts = len(run.get("attempts", ()))
        if not retry or (retry.get("maxAttempt") and attempts >= int(retry["maxAttempt"])):
            return
        wait = float(retry.get("interval", retry.get("minInterval", 1)))
        if retry["type"] == "exponential":
            wait *= float(retry.get("delayFactor", 2)) ** (attempts - 1)
            wait = min(wait, float(retry.get("maxInterval", 3600)))
        run["state"]["current"] = "RETRYING"
        run["state"].pop("endDate", None)
        run["state"]["histories"][-1]["state"] = "RETRYING"
        self.delay(run, wait, "RUNNING", "RESTART_FAILED_TASK")

    def due(self, delay):
        """A delay is over."""
        for run in self.runs:
            if run["id"] != delay["taskRunId"] or model.is_done(run) or model.is_done(self.execution):
                continue
            if delay["delayType"] == "RESTART_FAILED_TASK":
                task = self.task_of(run["taskId"])
                self.move(run, "CREATED")
                self.submit(task, run)
            else:
                self.resume(run)

    def resume(self, run=None):
        """Let paused tasks go on: the given one, or all."""
        for one in [run] if run else self.runs:
            if one["state"]["current"] == "PAUSED":
                self.move(one, "RUNNING")
                self.move(one, "SUCCESS")
        if self.execution["state"]["current"] == "PAUSED":
            self.set("RESTARTED")


class Executor:
    """Polls executions, workers' results and delays."""

    KINDS = ("models.executions.Execution", "runners.WorkerTaskResult")
    BATCH = 20

    def __init__(self, server):
        self.server, self.store, self.log = server, server.store, server.log
        self._flows = {}

    def flow(self, work, execution):
        """The revision of the flow an execution runs."""
        key = (execution["namespace"], execution["flowId"], execution["flowRevision"])
        if key not in self._flows:
            found = work.flow(*key)
            if found is None:
                return None
            if len(self._flows) > 1000:
                self._flows.clear()
            self._flows[key] = found[0]
        return self._flows[key]

    def poll(self):
        """Handle one batch of messages; how many there were."""
        if self.server.maintenance.is_set():
            return 0
        with self.store.tx() as work:
            messages = work.poll("executor", self.KINDS, self.BATCH)
            for _offset, kind, key, value in messages:
                try:
                    with work.savepoint():
                        if kind == "runners.WorkerTaskResult":
                            run = value["taskRun"]
                            self.step(work, run["executionId"], lambda progress, run=run: progress.result(run))
                        else:
                            self.step(work, key)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    self.log.error("Cannot handle message %s of %s: %r", key, kind, error)
            if messages:
                work.consumed("executor", [message[0] for message in messages])
        if messages:
            self.server.wake.set()
        return len(messages)

    def step(self, work, execution_id, before=None):
        """Lock an execution, apply what came in, advance it, save and send what follows. Returns the execution."""
        execution = work.get("executions", execution_id, lock=True)
        if execution is None:
            return None
        flow = self.flow(work, execution)
        if flow is None:
            self.log.warning("Execution %s belongs to an unknown flow", execution_id)
            return execution
        progress = Progress(flow, execution, values.now())
        if before is None and execution["state"]["current"] == "CREATED":
            if not self.may_run(work, flow, execution):
                return execution
            work.add("executorstate", execution_id, model.executor_state(execution_id))
        if before is not None:
            before(progress)
        progress.advance()
        for job in progress.jobs:
            work.emit("runners.WorkerJob", job["taskRun"]["id"], job)
        for delay in progress.delays:
            work.put("executordelayed", model.uid(delay["executionId"], delay["taskRunId"]), delay)
        for entry in progress.logs:
            work.emit("models.executions.LogEntry", values.new_id(), entry)
        if progress.changed:
            save(work, execution)
            if model.is_done(execution):
                self.ended(work, flow, execution)
        return execution

    def may_run(self, work, flow, execution):
        """Apply the flow's concurrency limit: True, or the execution was queued, cancelled or failed."""
        limit = flow.get("concurrency")
        if not limit:
            return True
        running = work.count("executions", "namespace = %s AND flow_id = %s AND NOT deleted AND state_current IN"
                             " ('RUNNING', 'PAUSED', 'KILLING', 'RETRYING', 'RESTARTED')",
                             (execution["namespace"], execution["flowId"]))
        if running < int(limit["limit"]):
            return True
        moment = values.now()
        behavior = limit.get("behavior", "QUEUE")
        model.move(execution["state"], {"QUEUE": "QUEUED", "CANCEL": "CANCELLED"}.get(behavior, "FAILED"), moment)
        if behavior == "QUEUE":
            row = {"namespace": execution["namespace"], "flowId": execution["flowId"], "date": values.iso(moment),
                   "execution": execution}
            if execution.get("tenantId"):
                row["tenantId"] = execution["tenantId"]
            work.put("execution_queued", execution["id"], row)
        save(work, execution)
        return False

    def ended(self, work, flow, execution):
        """Clear what was kept for a running execution, and let a queued one go."""
        work.delete("executorstate", execution["id"])
        work.remove("executordelayed", self.store.text("executionId") + " = %s", (execution["id"],))
        if execution["state"]["current"] == "KILLED":
            # Workers notice that their row is gone and interrupt the task.
            work.remove("worker_job_running", self.store.text("taskRun.executionId") + " = %s", (execution["id"],))
        if flow.get("concurrency"):
            waiting = work.claim("execution_queued", "namespace = %s AND flow_id = %s",
                                 (execution["namespace"], execution["flowId"]), "date", 1)
            for key, _row in waiting:
                work.delete("execution_queued", key)
                queued = work.get("executions", key, lock=True)
                if queued is not None:
                    model.move(queued["state"], "RUNNING", values.now())
                    save(work, queued)

    def delays(self):
        """Handle what is due; how many there were."""
        if self.server.maintenance.is_set():
            return 0
        with self.store.tx() as work:
            due = work.claim("executordelayed", "date <= " + self.store.NOW, (), "date", 20)
            for key, delay in due:
                work.delete("executordelayed", key)
                self.step(work, delay["executionId"], lambda progress, delay=delay: progress.due(delay))
        return len(due)


def save(work, execution):
    """Write an execution and tell everyone."""
    work.put("executions", execution["id"], execution)
    work.emit("models.executions.Execution", execution["id"], execution)
