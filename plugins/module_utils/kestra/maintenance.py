# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enterprise's maintenance mode (since 0.21): enter, leave, wait until it holds.

It is a drain, not a freeze: executors and workers take nothing new, but the web server and the scheduler go on and
keep creating executions, so the database is still written to.
"""
from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..core.errors import ConnectError, RefusedError, StateError
from .client import refusal
from .info import Api, version_key

# The newest first: /instance since 0.24, /cluster before, below the tenant in 0.23 and earlier.
_PATHS = ("/api/v1/instance", "/api/v1/cluster")
# Without the status endpoint (before 2.0): the services that have to stop taking work.
_WORKING = ("EXECUTOR", "WORKER")
_ALIVE = ("CREATED", "RUNNING", "MAINTENANCE", "ERROR", "TERMINATING")
_PAGE = 100


@dataclass
class Status:
    """active: bool, or None when Kestra does not say. ready: every service follows, or None when not provable.

    services: {type: {"total": n, "in_maintenance": n}}; waiting: names of the services that do not follow yet.
    """

    active: bool | None = None
    ready: bool | None = None
    services: dict = field(default_factory=dict)
    waiting: list = field(default_factory=list)
    running: int | None = None

    def to_result(self) -> dict:
        return {"active": self.active, "ready": self.ready, "services": self.services, "waiting": self.waiting,
                "running": self.running}


class Maintenance:
    """The maintenance mode of one Kestra. Raises ConnectError, and RefusedError for one that has no such mode."""

    def __init__(self, client, clock=time.monotonic, sleep=time.sleep):
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._paths = list(_PATHS)
        self._tenants = []
        self._version = None
        self._api = None

    # -- asking ---------------------------------------------------------------

    def check(self) -> None:
        """Makes sure that this Kestra can have a maintenance mode, before anything is sent to it."""
        answer = self._client.get("/api/v1/configs")
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status in (401, 403):
            raise refusal(answer, "its configuration")
        if not answer.ok or not ("version" in body or "uuid" in body):
            raise refusal(answer, "its configuration")
        self._version = version_key(body.get("version"))
        if body.get("edition") == "OSS":
            raise unavailable("this is the open-source edition")
        if self._version is not None and self._version < (0, 21):
            raise unavailable(f"version {body.get('version')} is older than 0.21")
        if body.get("edition") is None and "inMaintenance" not in body:
            licence = self._client.get("/api/v1/license-info")
            if licence.status in (404, 405):
                raise unavailable("this is the open-source edition")
        tenant = self._client.settings.tenant or "main"
        self._paths = list(_PATHS) + [f"{Api.prefix(tenant)}/cluster"]

    def status(self) -> Status:
        """The present state, by the best means this version offers."""
        answer = self._client.get("/api/v1/instance/maintenance/status")  # since 2.0
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.ok and isinstance(body.get("maintenance"), bool):
            return _from_status(body)
        if answer.status not in (404, 405):
            raise refusal(answer, "its maintenance mode")
        return self._from_services()

    def _from_services(self) -> Status:
        status = Status()
        configs = self._client.get("/api/v1/configs")
        if not configs.ok or not isinstance(configs.body, dict):
            raise refusal(configs, "its configuration")
        active = configs.body.get("inMaintenance")
        status.active = active if isinstance(active, bool) else None
        rows = self._services()
        if rows is None:
            return status
        for row in rows:
            kind, state = row.get("type") or "UNKNOWN", row.get("state")
            if state not in _ALIVE:
                continue
            entry = status.services.setdefault(kind, {"total": 0, "in_maintenance": 0})
            entry["total"] += 1
            entry["in_maintenance"] += state == "MAINTENANCE"
            if kind in _WORKING and state != "MAINTENANCE":
                status.waiting.append(_service_name(row))
        if status.active is None:
            status.active = bool(rows) and not status.waiting and any(
                entry["in_maintenance"] for entry in status.services.values())
        status.ready = bool(status.active) and not status.waiting
        return status

    def _services(self):
        """All service instances, or None when no path gives them."""
        for path in self._paths:
            rows, page = [], 1
            while True:
                answer = self._client.get(f"{path}/services/search", {"page": page, "size": _PAGE})
                if not answer.ok or not isinstance(answer.body, dict):
                    break
                found = [row for row in answer.body.get("results") or [] if isinstance(row, dict)]
                rows += found
                if not found or len(rows) >= int(answer.body.get("total") or 0):
                    return rows
                page += 1
            if answer.status not in (404, 405):
                raise refusal(answer, "its services")
        return None

    def running(self) -> int:
        """How many executions may still hold a worker, over all tenants that can be seen."""
        if self._api is None:
            self._api = Api(self._client, self._version)
            self._tenants = self._api.tenants("EE")
        return self._api.busy(self._tenants)

    # -- acting ---------------------------------------------------------------

    @property
    def paths(self) -> list:
        """Where its requests may be sent to, by version; known after check()."""
        return list(self._paths)

    def send(self, step) -> str:
        """POSTs enter or exit along the path variants; returns the one that took it."""
        for path in self._paths:
            answer = self._client.post(f"{path}/maintenance/{step}")
            if answer.ok:
                return f"{path}/maintenance/{step}"
            if answer.status == 403:
                raise ConnectError(f"Kestra does not let this user {step} the maintenance mode (HTTP 403).",
                                   reason="forbidden",
                                   hint="It takes a Superadmin (Instance Owner since 2.0) or the permission "
                                        "INFRASTRUCTURE.")
            if answer.status not in (404, 405):
                raise refusal(answer, f"{step} maintenance mode")
        raise unavailable("none of its known paths exists")

    def wait(self, wanted, *, timeout, interval=2.0, drained=False) -> Status:
        """Polls until the mode is as wanted: on every service, and with nothing running when drained is asked.

        timeout, interval: seconds. Raises StateError (maintenance_timeout, with the services that do not follow) and
        ConnectError (maintenance_unproven) when this Kestra does not tell its services' states.
        """
        deadline = self._clock() + timeout
        while True:
            status = self.status()
            if wanted and drained and status.active:
                status.running = self.running()
            if _reached(status, wanted, drained):
                return status
            if wanted and status.ready is None and status.active:
                raise ConnectError("Kestra entered maintenance mode, but does not tell whether its services follow.",
                                   reason="maintenance_unproven",
                                   hint="This user may not see the services; use a Superadmin, or wait: false.")
            if self._clock() >= deadline:
                raise _timed_out(status, wanted, timeout)
            self._sleep(min(interval, max(deadline - self._clock(), 0.05)))


def _reached(status, wanted, drained) -> bool:
    if not wanted:
        return status.active is False
    return bool(status.active and status.ready and (not drained or status.running == 0))


def _timed_out(status, wanted, timeout) -> StateError:
    if not wanted:
        why = "it still reports to be in maintenance mode"
    elif not status.active:
        why = "it does not report to be in maintenance mode"
    elif status.waiting:
        why = "these services have not acknowledged: " + ", ".join(status.waiting[:20])
    else:
        why = f"{status.running} executions still run"
    step = "entered" if wanted else "left"
    return StateError(f"Kestra's maintenance mode was not {step} within {timeout:g} s: {why}.",
                      reason="maintenance_timeout",
                      hint="Raise timeout, or look at those services; state: left takes the mode back." if wanted else
                      "Raise timeout, or look at Kestra's log.", detail=status.to_result())


def _from_status(body) -> Status:
    status = Status(active=body["maintenance"], ready=body.get("ready") is True)
    for kind, numbers in sorted((body.get("services") or {}).items()):
        total, inside = int(numbers.get("total") or 0), int(numbers.get("inMaintenance") or 0)
        status.services[kind] = {"total": total, "in_maintenance": inside}
        if status.active and not status.ready and inside < total:
            status.waiting.append(f"{kind} ({inside} of {total})")
    return status


def _service_name(row) -> str:
    server = row.get("server") if isinstance(row.get("server"), dict) else {}
    host = server.get("hostname")
    return f"{row.get('type')} {row.get('id')}" + (f" on {host}" if host else "") + f" ({row.get('state')})"


def unavailable(why) -> RefusedError:
    """Says clearly that there is no maintenance mode here, and what to use instead."""
    return RefusedError(
        f"This Kestra has no maintenance mode: {why}.", reason="maintenance_unavailable",
        hint="Maintenance mode is part of the Enterprise Edition since 0.21. Take the backup with consistency pinned "
             "or offline instead: they stop Kestra's servers for a moment and need no maintenance mode.")
