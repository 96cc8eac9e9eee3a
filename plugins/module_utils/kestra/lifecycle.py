# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping Kestra on a host for a while without losing it: who holds it down, how it was found, when it comes back.

The record <state_dir>/<instance>/lifecycle.json is the host's lock and memory at once. It is written before anything is
stopped and removed after Kestra is healthy again. The dead-man (lifecycle_dead_man.py) follows it.
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from dataclasses import dataclass
from typing import Any, Callable

from ..core.errors import ConfigError, DrError, LockedError, RefusedError, StateError
from . import lifecycle_arming as arming
from . import lifecycle_dead_man as dead_man

SCHEMA = 1
# The name of the manager that stops nothing.
MAINTENANCE = "maintenance"
# What a health check says. LOGIN: the server is up, but wants a login for more. NOT_RUN: nobody was asked.
UP, LOGIN, NOT_RUN = "UP", "login_wanted", "not_run"
_POLL = 1.0
# Without a health address: seconds the manager has to call Kestra running without a break before that counts.
_STEADY = 5.0
# Seconds before each further start of a Kestra that has died of its start: its database may be on its way up too.
_AGAIN = (2.0, 4.0, 8.0)
_LOCK_WAIT = 30.0
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# What a refused run is told of the one that holds the host.
_TOLD = ("run_id", "flow", "owner", "since", "deadline", "safe_to_start", "reason", "recovery_point")
# How a dead-man ends that has left nothing behind which another run could break.
_PEACEFUL = ("started", "nothing", "failed")


@dataclass(frozen=True)
class Run:
    """Who asks. take_over: the run id of a dead run whose place is taken."""

    run_id: str
    flow: str = "manual"
    owner: str = "unknown"
    recovery_point: str | None = None
    take_over: str | None = None


def claim(record, run: Run, *, left: float, armed: bool) -> str:
    """How a run stands to the record on the host: "free", "own", "taken" (by take_over) or "stale" (nobody's any more).

    left: seconds to the record's deadline; armed: whether a dead-man lives. Raises LockedError.
    """
    if record is None:
        return "free"
    holder = record.get("run_id")
    if holder == run.run_id:
        return "own"
    if run.take_over and run.take_over == holder:
        return "taken"
    fired = record.get("dead_man_fired") or {}
    if fired.get("outcome") in _PEACEFUL:
        return "stale"
    if record.get("safe_to_start") is True and left <= 0 and not armed:
        return "stale"  # a reboot took the dead-man, or there was none because Kestra was down
    held = "" if record.get("safe_to_start") is True else f" It is held down: {record.get('reason')}"
    raise LockedError(
        f"Kestra on this host is in the hands of run {holder} ({record.get('flow')}) of {record.get('owner')} since "
        f"{record.get('since')}.{held}",
        hint=f"Wait for it; or, if you know that its controller is dead, take over: -e kestra_dr_take_over={holder}",
        detail=dict({key: record.get(key) for key in _TOLD}, seconds_left=round(max(left, 0.0), 1)))


def was_active(active_now: bool, record) -> bool:
    """Whether Kestra counts as found running. A run that inherits a record inherits what that run found and stopped."""
    if active_now or not record:
        return active_now
    outcome = (record.get("dead_man_fired") or {}).get("outcome")
    if outcome in ("started", "nothing"):
        return False  # it was brought back, so that it is down now is somebody's own will
    return bool((record.get("found") or {}).get("active"))


def shown(record):
    """What a result tells of a record: everything but the commands."""
    return None if record is None else {key: value for key, value in record.items() if key != "commands"}


class Lifecycle:
    """The verbs of one instance on this host.

    manager: a Manager. health: callable() -> {"status": UP | LOGIN | other | None, "error": text | None}, or None when
    there is no address to ask. check_mode: answer what would be changed, change nothing.
    """

    def __init__(self, manager, state_dir: str, instance: str, *, health: Callable[[], dict] | None = None, keeper=None,
                 check_mode: bool = False):
        if not _INSTANCE.fullmatch(instance):
            raise ConfigError(f"{instance!r} cannot be the name of an instance.", reason="bad_instance",
                              hint="Use letters, digits, dot, dash and underscore.")
        self.manager = manager
        self.instance = instance
        self.directory = os.path.join(os.path.abspath(state_dir), instance)
        self.held_path = os.path.join(self.directory, dead_man.HELD)
        self._health = health
        self._keeper = keeper or arming.make(self.directory, instance)
        self._check = check_mode

    # What lies on the host

    @contextlib.contextmanager
    def _locked(self):
        """Holds lifecycle.lock, which is only ever held for moments, by us or by the dead-man."""
        if self._check and not os.path.isdir(self.directory):
            yield
            return
        if not self._check:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
        fd = os.open(os.path.join(self.directory, dead_man.STATE_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = time.monotonic() + _LOCK_WAIT
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as exc:
                    if exc.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                    if time.monotonic() >= end:
                        raise LockedError("Another kestra_service call is at work on this host.",
                                          hint="Run again in a minute.") from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(fd)

    def _load(self):
        try:
            return dead_man.load(self.directory)
        except ValueError as exc:
            raise StateError(
                f"{os.path.join(self.directory, dead_man.RECORD)} cannot be read ({exc}).", reason="record_damaged",
                hint="It said who holds Kestra down and why. Find that out by hand, then remove it.") from None

    def _held(self):
        """The text of HELD, or None."""
        try:
            with open(self.held_path, encoding="utf-8", errors="replace") as handle:
                return handle.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _claim(self, record, run):
        if record is None:
            return "free"
        how = claim(record, run, left=dead_man.left(record), armed=dead_man.alive(self.directory))
        over = (record.get("dead_man_fired") or {}).get("outcome") in _PEACEFUL
        drains = [name == MAINTENANCE for name in (record.get("manager"), self.manager.name)]
        if how in ("own", "taken") and not over and any(drains) and not all(drains):
            raise RefusedError(
                f"Run {record.get('run_id')} keeps Kestra from its work with the manager {record.get('manager')}, not "
                f"{self.manager.name}: what it did could not be taken back.", reason="other_manager",
                hint=f"Run it again in the same way, or wait for its dead-man ({record.get('deadline')}).",
                detail={"record": shown(record)})
        return how

    def _deadline(self, seconds: float) -> dict:
        return {"deadline": dead_man.utc_text(time.time() + seconds), "boot_id": dead_man.boot_id(),
                "deadline_since_boot": dead_man.boot_seconds() + seconds}

    def _result(self, changed, status, record, **more) -> dict:
        held = self._held()
        return dict({
            "changed": changed, "instance": self.instance, "manager": self.manager.name,
            "status": status.to_result() if status else None,
            "record": shown(record), "held": None if held is None else {"path": self.held_path, "text": held},
            "dead_man": {"how": self._keeper.how,
                         "armed": os.path.isdir(self.directory) and dead_man.alive(self.directory),
                         "fired": (record or {}).get("dead_man_fired")},
            "warnings": []}, **more)

    # The verbs

    def query(self, *, stop_timeout: float, grace_period: float, run: Run | None = None) -> dict:
        """Everything there is to know, and what would stand in the way of a stop by run."""
        problems, warnings = self.manager.preflight(stop_timeout=stop_timeout, grace_period=grace_period)
        problems += self._directory_problems()
        try:
            status = self.manager.status()
        except DrError as exc:
            status, problems = None, problems or [exc.message]
        record = self._load() if os.path.isdir(self.directory) else None
        health = self._health() if self._health and status and status.running else None
        locked = None
        try:
            if record is not None:
                claim(record, run or Run(""), left=dead_man.left(record), armed=dead_man.alive(self.directory))
        except LockedError as exc:
            locked = exc.to_result()
        return self._result(False, status, record, problems=problems, warnings=warnings, health=health, locked=locked)

    def _directory_problems(self) -> list:
        path = self.directory
        while not os.path.lexists(path):
            path = os.path.dirname(path)
        if not os.path.isdir(path):
            return [f"{path} is no directory, so {self.directory} cannot be made."]
        if not os.access(path, os.W_OK | os.X_OK):
            return [f"{path} may not be written by this user; set become for the Kestra hosts."]
        return []

    def stopped(self, run: Run, *, timeout: float, dead_man_seconds: float, hold_reason: str | None = None) -> dict:
        """Remembers what it finds, arms the dead-man, stops Kestra and sees it stopped.

        With hold_reason a start is not safe from the first moment on (as after state held).
        """
        begun = time.monotonic()
        with self._locked():
            record = self._load()
            own = self._claim(record, run) == "own"
            status = self.manager.status()
            fired = (record or {}).get("dead_man_fired")
            again = own and not fired  # a rerun: what was found stays as it was
            changed = status.active or not again
            if self._check:
                return self._result(changed, status, record, found=(record or {}).get("found") if again else None)
            previous = None if again else record
            now = dead_man.utc_text(time.time())
            if not again:
                record = {"schema": SCHEMA, "instance": self.instance, "since": now, "stopped_at": None,
                          "found": {"active": was_active(status.active, previous), "enabled": status.enabled,
                                    "detail": status.detail}}
            held = self._held()
            if hold_reason or held is not None or (previous or {}).get("safe_to_start") is False:
                record["safe_to_start"] = False
                record["reason"] = hold_reason or record.get("reason") or (previous or {}).get("reason") or held
            else:
                record.setdefault("safe_to_start", True)
                record.setdefault("reason", None)
            record.update(
                run_id=run.run_id, flow=run.flow, owner=run.owner, recovery_point=run.recovery_point,
                manager=self.manager.name, commands=self.manager.commands(), stop_timeout=timeout,
                stop_patience=0 if self.manager.sees_stopping else timeout)
            if status.active or record["stopped_at"] is None or dead_man.left(record) <= 0:
                record.update(self._deadline(dead_man_seconds))
            if status.active:
                record["phase"] = "stopping"
            else:
                record["phase"] = "stopped"
                record["stopped_at"] = record["stopped_at"] or now
            dead_man.save(self.directory, record)
            if record["found"]["active"]:
                self._arm_or_undo(previous)
            if hold_reason:
                self._block(record, hold_reason)
        warnings = self.manager.stop(timeout) if status.active else []
        with self._locked():
            record = self._load()
            self._refuse_fired(record, run)
            if record["phase"] != "stopped":
                record.update(phase="stopped", stopped_at=dead_man.utc_text(time.time()))
                dead_man.save(self.directory, record)
            return self._result(changed, self.manager.status(), record, found=record["found"], warnings=warnings,
                                previous=shown(previous), seconds=round(time.monotonic() - begun, 3))

    def _arm_or_undo(self, previous) -> None:
        """Without a dead-man nothing is stopped, so there is nothing to remember either."""
        try:
            self._keeper.arm()
        except (DrError, OSError):
            if previous is None:
                os.unlink(os.path.join(self.directory, dead_man.RECORD))
            else:
                dead_man.save(self.directory, previous)
            raise

    def _refuse_fired(self, record, run) -> None:
        if record is None or record.get("run_id") != run.run_id:
            raise StateError("This run does not hold Kestra on this host (any more).", reason="not_held_by_run",
                             hint="Stop it first (state: stopped).", detail={"record": shown(record)})
        fired = record.get("dead_man_fired")
        if fired and fired.get("action") == "start":
            raise StateError(
                f"The dead-man has started Kestra at {fired['at']}, because the deadline {record['deadline']} of this "
                "run had passed. What this run does can no longer count on a stopped Kestra.", reason="dead_man_fired",
                hint="Run again with a longer kestra_dr_max_downtime.", detail={"fired": fired})

    def _block(self, record, reason) -> bool:
        changed = False
        if self._held() is None:
            dead_man.hold(self.directory, record, reason)
            changed = True
        return self.manager.block(self.held_path) or changed

    def held(self, run: Run, reason: str) -> dict:
        """From now on a start is not safe: nobody starts Kestra, not even the dead-man, until state released.

        Refused when Kestra runs or was started by the dead-man: what the caller is about to do needs it down.
        """
        with self._locked():
            record = self._load()
            self._claim(record, run)
            self._refuse_fired(self._adopt(record, run), run)
            status = self.manager.status()
            if status.active:
                raise StateError("Kestra is not stopped on this host, so it cannot be held down.", reason="not_stopped",
                                 hint="Stop it first (state: stopped).", detail={"status": status.to_result()})
            changed = record.get("safe_to_start") is not False or record.get("reason") != reason
            if self._check:
                return self._result(changed, status, record)
            if changed:
                record.update(safe_to_start=False, reason=reason)
                dead_man.save(self.directory, record)
                if self._held() is not None:
                    os.unlink(self.held_path)  # the reason is another one now
            changed = self._block(record, reason) or changed
            warnings = [] if self.manager.blocks_foreign_starts else [
                f"A start of Kestra by others cannot be blocked with the manager {self.manager.name}; let the start "
                f"command refuse while {self.held_path} exists."]
            return self._result(changed, status, record, warnings=warnings)

    def _adopt(self, record, run):
        """Puts our name on a record we may act on (ours, or taken over)."""
        if record is not None:
            record.update(run_id=run.run_id, flow=run.flow, owner=run.owner,
                          recovery_point=run.recovery_point or record.get("recovery_point"))
        return record

    def released(self, run: Run, *, dead_man_seconds: float) -> dict:
        """A start is safe again. Kestra is not started; the dead-man is given a fresh deadline to do so."""
        with self._locked():
            record = self._load()
            self._claim(record, run)
            held = self._held() is not None or bool(record and record.get("safe_to_start") is False)
            status = self.manager.status()
            if self._check:
                return self._result(held, status, record)
            # The block goes first: a dead-man that meets it after the record says "safe" would try in vain.
            changed = self.manager.unblock()
            if self._held() is not None:
                os.unlink(self.held_path)
                dead_man.sync_directory(self.directory)
                changed = True
            if record is not None and held:
                self._adopt(record, run).update(safe_to_start=True, reason=None)
                record.pop("dead_man_fired", None)
                record.update(self._deadline(dead_man_seconds))
                dead_man.save(self.directory, record)
                changed = True
                if record["found"]["active"]:
                    self._keeper.arm()
            return self._result(changed or held, status, record)

    def renewed(self, run: Run, *, dead_man_seconds: float) -> dict:
        """Sets the deadline anew from now on, and arms a dead-man that was lost (a reboot without systemd)."""
        with self._locked():
            record = self._load()
            self._claim(record, run)
            self._refuse_fired(self._adopt(record, run), run)
            status = self.manager.status()
            if not self._check:
                record.pop("dead_man_fired", None)
                record.update(self._deadline(dead_man_seconds))
                dead_man.save(self.directory, record)
                if record["found"]["active"]:
                    self._keeper.arm()
            return self._result(True, status, record)

    def started(self, run: Run, *, timeout: float, always: bool = False) -> dict:
        """Starts Kestra if it was found running (or always), waits until it is healthy, and lets go of the host.

        The record goes first and the dead-man after it, so that no moment is left in which Kestra is nobody's.
        """
        begun = time.monotonic()
        with self._locked():
            record = self._load()
            self._claim(record, run)
            status = self.manager.status()
            held = self._held()
            if held is not None or (record and record.get("safe_to_start") is False):
                raise RefusedError(
                    f"Kestra is held down on this host: {(record or {}).get('reason') or held}", reason="held",
                    hint=f"See {self.held_path}. Only a release (state: released) lets it start.",
                    detail={"path": self.held_path, "text": held, "record": shown(record)})
            wanted = always or bool(record and record["found"]["active"])
            fired = (record or {}).get("dead_man_fired") or {}
            others_start = (fired.get("outcome") == "starting" and "ended" not in fired
                            and dead_man.alive(self.directory))
            start = wanted and not others_start and (not status.running or (record or {}).get("phase") == "stopping")
            if self._check:
                return self._result(bool(record) or (wanted and not status.running), status, record, started=start,
                                    health=None)
            disturbed = self._disturbed(record, status, fired)
            if record is not None and wanted and not others_start:
                stopping = record.get("phase") == "stopping"
                patience = record.get("stop_patience", 0) if stopping else 0
                # Keeps the dead-man from starting beside us; if we die on the way it still comes.
                self._adopt(record, run).update(self._deadline(timeout + patience + 60))
                record.update(phase="stopping" if stopping else "starting", disturbed=disturbed)
                dead_man.save(self.directory, record)
        if start:
            start = self._start(record, timeout)
        health = self._wait_up(timeout, _AGAIN if start else ()) if wanted or status.active else None
        with self._locked():
            current = self._load()
            if current is not None and current.get("run_id") == (record or {}).get("run_id"):
                os.unlink(os.path.join(self.directory, dead_man.RECORD))
                dead_man.sync_directory(self.directory)
        warnings = [text for text in (arming.disarm_quietly(self._keeper),) if text]
        if health and health["error"]:
            warnings.append(f"Kestra's health could not be asked ({health['error']}): its management port wants a "
                            "login.")
        return self._result(bool(record) or start, self.manager.status(), None, started=start, health=health,
                            found=(record or {}).get("found"), previous=shown(record),
                            dead_man_fired=fired or None, disturbed=disturbed, warnings=warnings,
                            seconds=round(time.monotonic() - begun, 3))

    def _disturbed(self, record, status, fired):
        """Why this run cannot count on a Kestra that was down from its stop until now, as a text, or None."""
        if record is None or record.get("disturbed"):
            return (record or {}).get("disturbed")
        if fired.get("action") == "start":
            return f"The dead-man started Kestra at {fired['at']}, because the deadline of this run had passed."
        if record.get("phase") == "stopped" and status.active:
            return self.manager.others_start
        return None

    def _start(self, record, timeout) -> bool:
        """Starts Kestra, but not into a stop that is still under way. Returns whether it had to be started."""
        if record is not None and record.get("phase") == "stopping":
            end = time.monotonic() + record.get("stop_patience", 0)
            while self.manager.status().running:
                if time.monotonic() >= end:
                    return False  # the stop never took effect
                time.sleep(_POLL)
        self.manager.start(timeout)
        return True

    def _wait_up(self, timeout: float, again: tuple) -> dict:
        """Waits until manager and health agree. Raises StateError with the last lines of Kestra's log.

        again: pauses in seconds, one for each further start of a Kestra that was seen running and is not any more, or
        that its manager has given up.
        """
        end = time.monotonic() + timeout
        pauses, seen = list(again), False
        health: dict[str, Any] = {"status": NOT_RUN, "error": None}
        steady_since = None
        while True:
            status = self.manager.status()
            now = time.monotonic()
            died = not status.running and (status.failed or seen)
            seen = status.running or seen
            if died and pauses and now + pauses[0] < end:
                time.sleep(pauses.pop(0))
                self.manager.start(max(1.0, end - time.monotonic()))
                steady_since, seen = None, False
                continue
            if not status.running:
                steady_since = None
            elif steady_since is None:
                steady_since = now
            if status.running and self._health:
                health = self._health()
                if health["status"] == UP:
                    return health
            # No address to ask, or one that wants a login we have not: the manager's word has to do, and says so.
            if status.running and health["status"] in (NOT_RUN, LOGIN) and now - steady_since >= _STEADY:
                return dict(health, status=NOT_RUN)
            if died or now >= end:
                log = self.manager.log_tail()
                why = "failed to start" if died else f"did not become healthy within {timeout:g} s"
                said = health.get("error") or health.get("status")
                last = f" Last line of its log: {log[-1].strip()}" if log else ""
                raise StateError(
                    f"Kestra {why} (manager: {'running' if status.running else 'not running'}, health: {said}).{last}",
                    reason="start_failed" if died else "start_timeout",
                    hint="detail.log has the last lines of its log. The dead-man stays armed.",
                    detail={"status": status.to_result(), "health": health, "log": log})
            time.sleep(_POLL)
