# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker: runs tasks in threads and reports what came of them."""
from __future__ import annotations

import copy
import threading
import time

from . import flows, model, tasks, values
from .render import RenderError
from .storage import StorageError


class Worker:
    """Takes as many jobs as it has threads free."""

    def __init__(self, server, threads, service_id):
        self.server, self.store, self.log = server, server.store, server.log
        self.threads, self.service_id = threads, service_id
        self._running = {}
        self._numbers = list(range(threads - 1, -1, -1))
        self._lock = threading.Lock()
        self.stopping = False

    def poll(self):
        """Take what there is room for; how many jobs."""
        with self._lock:
            room = self.threads - len(self._running)
        if room <= 0 or self.stopping or self.server.maintenance.is_set():
            return 0
        with self.store.tx() as work:
            messages = work.poll("worker", ("runners.WorkerJob",), room)
            for _offset, _kind, key, job in messages:
                row = dict(job, workerInstance={"workerUuid": self.service_id, "partitions": []}, partition=0)
                work.put("worker_job_running", key, row)
            if messages:
                work.consumed("worker", [message[0] for message in messages])
        for _offset, _kind, key, job in messages:
            self._begin(key, job)
        return len(messages)

    def _begin(self, key, job):
        cancel = threading.Event()
        with self._lock:
            number = self._numbers.pop()
            self._running[key] = cancel
        threading.Thread(target=self._run, args=(key, job, cancel, number), name="worker_%d" % number,
                         daemon=True).start()

    def _run(self, key, job, cancel, number):
        try:
            self._job(job, cancel, "worker_%d" % number)
            self._repeat(lambda work: work.delete("worker_job_running", key), cancel)
        except tasks.Interrupted:
            self.log.warning("Task run %s was interrupted", key)
        finally:
            with self._lock:
                self._running.pop(key, None)
                self._numbers.append(number)
            self.server.wake.set()

    def _repeat(self, action, cancel):
        """Do something with the database, however long it is away; only an interruption ends it."""
        while True:
            try:
                with self.store.tx() as work:
                    return action(work)
            except self.server.database_errors as error:
                self.log.error("Cannot report to the database: %s", str(error).strip())
                if cancel.wait(1):
                    raise tasks.Interrupted() from None

    def _tell(self, run, cancel, entries=()):
        def action(work):
            for kind, entry in entries:
                work.emit(kind, values.new_id(), entry)
            work.emit("runners.WorkerTaskResult", run["id"], {"taskRun": run})
        self._repeat(action, cancel)
        self.server.wake.set()

    def _job(self, job, cancel, thread):
        """Run one task to its end; the finished task run."""
        task, run = job["task"], copy.deepcopy(job["taskRun"])
        holder = task["type"] == flows.WORKING_DIRECTORY
        model.move(run["state"], "RUNNING", values.now())
        self._tell(copy.deepcopy(run), cancel)
        attempt = {"state": model.new_state(values.now())}
        model.move(attempt["state"], "RUNNING", values.parse_iso(attempt["state"]["startDate"]))
        context = tasks.Run(self, dict(job, taskRun=run), thread, cancel)
        state = "SUCCESS"
        try:
            if holder:
                outputs = tasks.working_directory(context, lambda child: self._job(child, cancel, thread))
            elif task["type"] in tasks.TASKS:
                outputs = tasks.TASKS[task["type"]](context)
            else:
                raise tasks.TaskFailed("Invalid type: %s" % task["type"])
            if outputs is not None:
                run["outputs"] = outputs
        except (tasks.TaskFailed, RenderError, StorageError, OSError, KeyError, TypeError, ValueError) as error:
            state = "FAILED"
            context.log("ERROR", str(error) or type(error).__name__)
        except self.server.database_errors as error:
            state = "FAILED"
            context.log("ERROR", str(error).strip())
        if cancel.is_set():
            raise tasks.Interrupted()
        moment = values.now()
        model.move(attempt["state"], state, moment)
        if not holder:
            run.setdefault("attempts", []).append(attempt)
        model.move(run["state"], state, moment)
        entries = [("models.executions.LogEntry", one) for one in context.logs]
        entries += [("models.executions.MetricEntry", one) for one in context.metrics]
        self._tell(run, cancel, entries)
        return run

    def check_killed(self):
        """Interrupt what runs here though the database no longer says so: its execution was killed."""
        with self._lock:
            mine = dict(self._running)
        if not mine:
            return
        with self.store.tx() as work:
            known = {key for key, _job in work.documents("worker_job_running", "worker_uuid = %s", (self.service_id,))}
        for key, cancel in mine.items():
            if key not in known:
                cancel.set()

    def busy(self):
        """How many tasks run."""
        with self._lock:
            return len(self._running)

    def stop(self, grace):
        """Take nothing new, wait so many seconds for what runs; True when nothing had to be interrupted."""
        self.stopping = True
        deadline = time.monotonic() + grace
        while self.busy() and time.monotonic() < deadline:
            time.sleep(0.05)
        with self._lock:
            left = list(self._running.values())
        for cancel in left:
            cancel.set()
        return not left
