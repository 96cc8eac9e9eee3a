# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heartbeats of the process's own services, and the watch over everyone else's."""
from __future__ import annotations

import socket
import threading
from datetime import timedelta

from . import model, values

GONE = "The service was detected as non-responsive or terminated after termination grace period."
SILENT = "The service was detected as non-responsive after liveness timeout."


class Liveness:
    """kestra.server.liveness.* and what goes with it, in seconds."""

    def __init__(self, configuration):
        base = "kestra.server.liveness."
        self.enabled = configuration.flag(base + "enabled", True)
        self.interval = configuration.seconds(base + "interval", "5s")
        self.timeout = configuration.seconds(base + "timeout", "45s")
        self.initial_delay = configuration.seconds(base + "initial-delay", "45s")
        self.heartbeat = configuration.seconds(base + "heartbeat-interval", "3s")
        self.grace = configuration.seconds("kestra.server.termination-grace-period", "5m")
        self.restart = str(configuration.get(
            "kestra.server.worker-task-restart-strategy", "AFTER_TERMINATION_GRACE_PERIOD")).upper()

    def document(self):
        """As it stands in service_instance."""
        liveness = {"enabled": self.enabled, "timeout": values.seconds(self.timeout),
                    "interval": values.seconds(self.interval), "initialDelay": values.seconds(self.initial_delay),
                    "heartbeatInterval": values.seconds(self.heartbeat)}
        return {"liveness": liveness, "terminationGracePeriod": values.seconds(self.grace),
                "workerTaskRestartStrategy": self.restart}


class Registry:
    """The services of this process and their heartbeat."""

    def __init__(self, store, log, liveness, kinds, version, server_type, ports):
        self.store, self.log, self.liveness = store, log, liveness
        self.server_id = values.new_id()
        server = {"id": self.server_id, "type": server_type, "version": version, "hostname": socket.gethostname(),
                  "metrics": [], "props": {"server.port": ports[0], "server.management.port": ports[1]}}
        moment = values.now()
        self.services = {kind: model.new_service(kind, server, liveness.document(), moment) for kind in kinds}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="liveness-heartbeat", daemon=True)

    def start(self):
        """Write the services as CREATED, then RUNNING, and keep them alive. Raises when the database refuses."""
        self.write()
        self.move(self.services, "RUNNING")
        self._thread.start()

    def service_id(self, kind):
        """The id under which a component is known."""
        return self.services[kind]["id"]

    def write(self):
        """Write all services as they are."""
        with self._lock, self.store.tx() as work:
            before = work.heartbeat([(one["id"], one) for one in self.services.values()])
        for kind, one in self.services.items():
            state = before.get(one["id"])
            if state is not None and state != one["state"] and state in ("DISCONNECTED", "NOT_RUNNING", "EMPTY"):
                self.log.warning("Service %s [%s] was declared %s by another server and reports itself again",
                                 kind, one["id"], state)

    def move(self, kinds, state, reason=None):
        """Bring services to a state; a database that is away is told later, by the heartbeat."""
        with self._lock:
            for kind in kinds:
                model.move_service(self.services[kind], state, values.now(), reason)
        try:
            self.write()
        except self.store.errors as error:
            if state == "RUNNING":
                raise
            self.log.error("Cannot record state %s: %s", state, str(error).strip())

    def _beat(self):
        while not self._stop.wait(self.liveness.heartbeat):
            with self._lock:
                for one in self.services.values():
                    one["updatedAt"] = values.iso(values.now())
                    one["seqId"] += 1
            try:
                self.write()
            except self.store.errors as error:
                self.log.error("Failed to report the state of services: %s", str(error).strip())

    def stop(self):
        """End the heartbeat."""
        self._stop.set()


class Coordinator:
    """Runs in executors: finds services that no longer report, and restarts the jobs of dead workers."""

    def __init__(self, store, log, registry, wake):
        self.store, self.log, self.registry, self.wake = store, log, registry, wake
        self.liveness = registry.liveness

    def check(self):
        """One look at all services."""
        with self.store.tx() as work:
            for key, service in work.lock_services():
                if service["server"]["id"] != self.registry.server_id:
                    self._look_at(work, key, service)

    def _look_at(self, work, key, service):
        moment = values.now()
        age = moment - values.parse_iso(service["updatedAt"])
        state = service["state"]
        if state in ("CREATED", "RUNNING", "ERROR", "TERMINATING", "MAINTENANCE"):
            theirs = service.get("config", {}).get("liveness", {})
            if not theirs.get("enabled", True) or age <= timedelta(seconds=float(theirs.get("timeout", 45))):
                return
            self.log.warning("Detected non-responding service [id=%s, type=%s, hostname=%s]", service["id"],
                             service["type"], service["server"]["hostname"])
            model.move_service(service, "DISCONNECTED", moment, SILENT)
            # The time of its last sign of life counts for the grace period, not the time of its discovery.
            service["updatedAt"] = values.iso(moment - age)
            if service["type"] == "WORKER" and service["config"].get("workerTaskRestartStrategy") == "IMMEDIATELY":
                self._restart_jobs(work, service)
            work.put("service_instance", key, service)
        elif state in ("DISCONNECTED", "TERMINATED_GRACEFULLY", "TERMINATED_FORCED"):
            grace = float(service.get("config", {}).get("terminationGracePeriod", 300))
            if state == "DISCONNECTED" and age <= timedelta(seconds=grace):
                return
            model.move_service(service, "NOT_RUNNING", moment, GONE)
            work.put("service_instance", key, service)
        elif state == "NOT_RUNNING":
            if service["type"] == "WORKER" and service["config"].get("workerTaskRestartStrategy") != "NEVER":
                self._restart_jobs(work, service)
            model.move_service(service, "EMPTY", moment)
            work.put("service_instance", key, service)

    def _restart_jobs(self, work, service):
        for key, row in work.documents("worker_job_running", "worker_uuid = %s", (service["id"],), "FOR UPDATE"):
            job = {name: value for name, value in row.items() if name not in ("workerInstance", "partition")}
            work.delete("worker_job_running", key)
            work.emit("runners.WorkerJob", key, job)
            self.log.warning("Re-emitting WorkerTask for execution '%s', task run '%s' of dead worker '%s'",
                             job["taskRun"]["executionId"], key, service["id"])
            self.wake.set()
