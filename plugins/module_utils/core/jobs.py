# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps that outlive their caller: what they do is in files, so a rerun waits for them or takes their result.

state.json: schema, step, fingerprint, pid, pid_start, boot_id, started, phases, finished, outcome, result | error.
progress.json: phase, done, total, unit, rate, eta_seconds, message, updated.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import threading
import time

from . import clock
from .errors import DrError, IntegrityError, StateError
from .files import read_json, write_json
from .secrets import Redactor

SCHEMA = 1
_WAIT = 0.2


def argument_spec() -> dict:
    """The option of modules that run as a job. Must be kept in sync with plugins/doc_fragments/job.py."""
    return {"job_dir": {"type": "path"}}


def fingerprint_of(value) -> str:
    """A digest of JSON-ready options: the same question has the same fingerprint. Leave secrets out."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _state_path(job_dir):
    return os.path.join(job_dir, "state.json")


def _progress_path(job_dir):
    return os.path.join(job_dir, "progress.json")


def estimate(done, total, seconds):
    """(rate per second, seconds left) or None for what cannot be told yet."""
    if seconds <= 0 or done <= 0:
        return None, None
    rate = done / seconds
    return rate, (max(total - done, 0) / rate if total else None)


class Progress:
    """What a step reports while it runs. Safe to call from several threads."""

    def __init__(self, job_dir=None, on_phase=None, every=1.0):
        self._job_dir = job_dir
        self._on_phase = on_phase
        self._every = every
        self._guard = threading.Lock()
        self._written = None
        self._now = {"phase": None, "done": 0, "total": None, "unit": "bytes", "rate": None, "eta_seconds": None,
                     "message": None}
        self._phase_started = time.monotonic()

    def phase(self, name, **facts) -> None:
        """Enters a phase and records it durably with its facts (JSON-ready, no secrets)."""
        with self._guard:
            self._phase_started = time.monotonic()
            self._now.update(phase=name, done=0, total=None, rate=None, eta_seconds=None, message=None)
            if self._on_phase:
                self._on_phase(name, facts)
            self._write()

    def update(self, done, total=None, message=None, unit="bytes") -> None:
        """Reports how far the phase is. Written at most once a second."""
        with self._guard:
            rate, eta = estimate(done, total, time.monotonic() - self._phase_started)
            self._now.update(done=done, total=total, unit=unit, rate=rate, eta_seconds=eta)
            if message is not None:
                self._now["message"] = message
            if self._written is None or time.monotonic() - self._written >= self._every:
                self._write()

    def _write(self):
        self._written = time.monotonic()
        if self._job_dir is not None:
            write_json(_progress_path(self._job_dir), dict(self._now, updated=clock.utc_now()), durable=False)


class Job:
    """One step with a directory of its own (None: no files, no reattaching).

    fingerprint: text that tells this question from another one (see fingerprint_of).
    redactor: scrubs results and errors before they are written.
    """

    def __init__(self, job_dir, step, fingerprint, redactor=None):
        self._dir = None if job_dir is None else os.fspath(job_dir)
        self._step = step
        self._fingerprint = fingerprint
        self._redactor = redactor if redactor is not None else Redactor()
        self._state: dict = {}

    def run(self, body) -> dict:
        """The result of body(progress), from this run, from a finished one, or from one that is still running.

        body must sweep its own partial output first: an earlier run may have been killed anywhere.
        Raises what body raises; StateError when another question is being answered in this directory.
        """
        if self._dir is None:
            return dict(body(Progress()), reattached=False)
        os.makedirs(self._dir, mode=0o700, exist_ok=True)
        with open(os.path.join(self._dir, "running"), "a+b") as guard:
            waited = self._enter(guard)
            state = _state(self._dir)
            if state and state.get("outcome") == "ok" and state.get("fingerprint") == self._fingerprint:
                return dict(state["result"], reattached=True)
            if waited and state and state.get("outcome") == "failed" and state.get("fingerprint") == self._fingerprint:
                raise _recorded(state)
            return dict(self._run(body), reattached=False)

    def _enter(self, guard) -> bool:
        """Takes the directory's kernel lock, which ends with the process that holds it. True when it had to wait."""
        waited = False
        while True:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return waited
            except BlockingIOError:
                state = _state(self._dir)
                if state and not state.get("finished") and state.get("fingerprint") != self._fingerprint:
                    raise StateError(
                        f"The step {state.get('step')} is still running in {self._dir} with other options.",
                        reason="job_busy", hint="Wait for it, or abort it with job_wait (on_timeout: abort).",
                        detail={"pid": state.get("pid"), "started": state.get("started")}) from None
                waited = True
                time.sleep(_WAIT)

    def _run(self, body) -> dict:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_progress_path(self._dir))
        pid = os.getpid()
        self._state = {
            "schema": SCHEMA, "step": self._step, "fingerprint": self._fingerprint, "pid": pid,
            "pid_start": clock.process_start(pid), "boot_id": clock.boot_id(), "started": clock.utc_now(),
            "phases": {}, "finished": None, "outcome": None, "result": None, "error": None}
        self._save()
        try:
            with terminable():
                result = body(Progress(self._dir, self._phase))
        except BaseException as exc:
            self._finish("failed", error=_describe(exc))
            raise
        self._finish("ok", result=result)
        return result

    def _phase(self, name, facts):
        self._state["phases"][name] = {"at": clock.utc_now(), "facts": facts}
        self._save()

    def _finish(self, outcome, result=None, error=None):
        self._state.update(finished=clock.utc_now(), outcome=outcome, result=result, error=error)
        self._save()

    def _save(self):
        write_json(_state_path(self._dir), self._redactor.scrub(self._state))


def _describe(exc) -> dict:
    if isinstance(exc, DrError):
        return exc.to_result()
    return DrError(f"{type(exc).__name__}: {exc}", reason="internal").to_result()


def _recorded(state) -> DrError:
    error = state.get("error") or {}
    return DrError(error.get("msg") or "The step failed.", reason=error.get("reason"),
                   detail=error.get("detail"))


@contextlib.contextmanager
def terminable():
    """SIGTERM becomes an error in the main thread, so that clean-up code runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise DrError("The step was aborted.", reason="aborted")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _state(job_dir):
    path = _state_path(job_dir)
    return read_json(path) if os.path.exists(path) else None


def read(job_dir) -> dict:
    """What is known of a job: {state: dict|None, progress: dict|None, alive: bool, finished: bool}."""
    state = _state(job_dir)
    if state is None:
        return {"state": None, "progress": None, "alive": False, "finished": False}
    progress = None
    with contextlib.suppress(StateError, IntegrityError):  # it only informs, and a power failure may leave it empty
        progress = read_json(_progress_path(job_dir))
    finished = bool(state.get("finished"))
    alive = not finished and clock.process_alive(state.get("pid"), state.get("pid_start"), state.get("boot_id"))
    return {"state": state, "progress": progress, "alive": alive, "finished": finished}


def abort(job_dir, grace=10.0) -> bool:
    """Ends a running job: SIGTERM to its process, after grace seconds SIGKILL to it and everything it started.

    Only when pid, start time and boot id are those recorded. Returns whether there was anything to end.
    """
    job = read(job_dir)
    if not job["alive"]:
        return False
    state = job["state"]
    who = (state["pid"], state["pid_start"], state["boot_id"])
    tree = _identified(clock.descendants(state["pid"]))
    with contextlib.suppress(ProcessLookupError):
        os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + grace
    while clock.process_alive(*who) and time.monotonic() < deadline:
        time.sleep(0.1)
    if clock.process_alive(*who):
        tree += _identified(clock.descendants(state["pid"]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], signal.SIGKILL)
    for pid, start in tree:
        if clock.process_alive(pid, start, state["boot_id"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return True


def _identified(pids) -> list:
    return [(pid, clock.process_start(pid)) for pid in pids]
