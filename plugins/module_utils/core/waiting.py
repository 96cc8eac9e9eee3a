# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a detached job: what its files say, as one judgement, and as one line for a person."""
from __future__ import annotations

import json
import os
from datetime import datetime, timezone

from . import clock, jobs
from .errors import DrError, StateError

FINISHED = "finished"
PENDING = "pending"
RUNNING = "running"
REACHED = "reached"


def read_results(path):
    """What an Ansible async results file says: {"finished": bool, "since": aware datetime, "result": dict}, or None.

    While the module runs the file holds "finished": false (or 0); at the end it is replaced by the module's result,
    which has no such key (ansible-core modules/async_wrapper.py, jwrite).
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            since = datetime.fromtimestamp(os.fstat(handle.fileno()).st_mtime, timezone.utc)
            content = json.loads(handle.read())
    except (FileNotFoundError, ValueError):
        return None
    return {"finished": content.get("finished", True) not in (False, 0), "since": since, "result": content}


def look(job_dir) -> dict:
    """jobs.read(), once more when the process went between its last word and our question."""
    job = jobs.read(job_dir)
    if job["state"] and not job["finished"] and not job["alive"]:
        job = jobs.read(job_dir)
    return job


def judge(job, results, until) -> str:
    """PENDING, RUNNING or REACHED. Pure. Raises the step's error when it failed or died.

    job: look(). results: read_results() or None. until: a phase's name or FINISHED.
    """
    ended = results["result"] if results and results["finished"] else None
    state = _current(job, results)
    died_at_work = bool(state) and not state["finished"] and ended is not None and _was_killed(ended)
    if ended is not None and _failed(ended) and not died_at_work:
        raise _of(_said(ended) if _was_killed(ended) else ended, "The step failed before it began.")
    if state is None:
        return PENDING if ended is None else REACHED
    if until != FINISHED and until in state["phases"]:
        return REACHED
    if state["finished"]:
        if state["outcome"] == "failed":
            raise _of(state["error"] or {}, "The step failed.")
        if until != FINISHED:
            raise StateError(f"The step {state['step']} ended without reaching the phase {until}.",
                             reason="phase_never_reached", detail={"phases": sorted(state["phases"])})
        return REACHED
    if job["alive"]:
        return RUNNING
    where = f"in the phase {_phase(state)}" if _phase(state) else "before its first phase"
    raise StateError(f"The step {state['step']} died {where} (process {state['pid']}).", reason="job_died",
                     hint="Run the playbook again: the step sweeps what it left and starts again.",
                     detail={"pid": state["pid"], "started": state["started"], "phases": sorted(state["phases"])})


def _current(job, results):
    """The job's state, unless an earlier run of the step left it.

    It did when it is older than the async task that is still running, or says "failed" although that task ended well.
    """
    state = job["state"]
    if state is None or results is None or job["alive"]:
        return state
    if results["finished"]:
        return None if state["outcome"] == "failed" and not _failed(results["result"]) else state
    return None if clock.parse_utc(state["started"]) < results["since"] else state


def _failed(result) -> bool:
    return bool(result.get("failed"))


def _was_killed(result) -> bool:
    """Whether this is async_wrapper's word for a module that gave no answer, not an answer."""
    return "cmd" in result and "reason" not in result


def _said(ended) -> dict:
    """In place of async_wrapper's own traceback: the last line that the module said before it broke, if it said any."""
    lines = [line.strip() for line in (ended.get("stderr") or "").splitlines() if line.strip()]
    return {"msg": f"The step could not begin: {lines[-1][:500]}"} if lines else ended


def _of(error, otherwise) -> DrError:
    return DrError(
        error.get("msg") or otherwise, reason=error.get("reason") or "step_failed", detail=error.get("detail")
    )


def _phase(state):
    phases = state["phases"] if state else {}
    return max(phases, key=lambda name: phases[name]["at"]) if phases else None


def outcome(job, results, kind) -> dict:
    """What job_wait returns: {finished, reached, phase, phases, result, progress}."""
    state = _current(job, results)
    result = (state or {}).get("result")
    if state is None and kind == REACHED:
        result = results["result"]
    return {"finished": kind == REACHED and (state is None or bool(state["finished"])), "reached": kind == REACHED,
            "phase": _phase(state), "phases": (state or {}).get("phases") or {}, "result": result,
            "progress": job["progress"] if state else None}


def human_bytes(number) -> str:
    """1536 -> "1.5 KiB"."""
    size = float(number)
    if size < 1024:
        return f"{size:.0f} B"
    units = ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and units:
        size, unit = size / 1024, units.pop(0)
    return f"{size:.1f} {unit}"


def human_seconds(seconds) -> str:
    """3725 -> "1 h 2 min"."""
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {whole % 60} s"


def line(progress) -> str:
    """One line of what a job is doing: phase, how far, rate, estimate."""
    def amount(number):
        return human_bytes(number) if progress.get("unit") == "bytes" else f"{int(number)}"

    parts = []
    done, total, rate = progress.get("done") or 0, progress.get("total"), progress.get("rate")
    if total:
        share = min(100, int(100 * done / total))
        parts.append(f"{amount(done)} of {amount(total)}{_unit(progress)} ({share} %)")
    elif done:
        parts.append(amount(done) + _unit(progress))
    if rate and progress.get("unit") == "bytes":
        parts.append(f"{human_bytes(rate)}/s")
    if progress.get("eta_seconds"):
        parts.append(f"about {human_seconds(progress['eta_seconds'])} left")
    if progress.get("message"):
        parts.append(progress["message"])
    phase = progress.get("phase") or "running"
    return f"{phase}: {', '.join(parts)}" if parts else phase


def _unit(progress) -> str:
    unit = progress.get("unit")
    return "" if unit in (None, "bytes") else f" {unit}"


def due(elapsed, since_line, phase_changed) -> bool:
    """Whether to show another line. Every five seconds at first, once a minute in a long run. All in seconds."""
    return phase_changed or since_line >= min(60.0, max(5.0, elapsed / 20))
