# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of an instance: one JSON file with an owner and a time to live, seen by every controller.

acquire, renew and release are read-decide-write under a kernel lock on <path>.guard, so two takers of one expired lock
cannot both win; a new lock is also linked into place, which stays atomic where the kernel lock is not shared (NFS).
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import threading
from datetime import datetime, timedelta, timezone

from . import clock
from .errors import DrError, IntegrityError, LockedError, StateError
from .files import fsync_dir, read_json, write_json

FREE, OURS, EXPIRED, TAKEN_OVER = "free", "ours", "expired", "taken_over"


def decide(holder, run_id, now, take_over=None) -> str:
    """What a run may do with a lock: FREE, OURS, EXPIRED or TAKEN_OVER, all of which let it in. Pure.

    holder: the lock's content or None. now: aware datetime. Raises LockedError when the lock stands.
    """
    if holder is None:
        return FREE
    if holder["run_id"] == run_id:
        return OURS
    expires = clock.parse_utc(holder["expires"])
    if expires <= now:
        return EXPIRED
    if take_over and take_over == holder["run_id"]:
        return TAKEN_OVER
    raise _locked(holder, expires, now, take_over)


def _locked(holder, expires, now, take_over) -> LockedError:
    left = int((expires - now).total_seconds()) + 1
    wrong = f" The run named for take-over, {take_over}, is not the one that holds it." if take_over else ""
    return LockedError(
        f"The instance is locked by {holder['owner']} (flow {holder['flow']}, run {holder['run_id']}) since "
        f"{holder['acquired']}; the lock expires in {left} s unless it is renewed.{wrong}",
        hint=f"Wait for that run to end. If it is certainly dead: -e kestra_dr_take_over={holder['run_id']}",
        detail={key: holder.get(key) for key in ("run_id", "flow", "owner", "acquired", "expires", "recovery_point")}
        | {"seconds_left": left})


def acquire(path, *, run_id, flow, owner, ttl, recovery_point=None, take_over=None) -> dict:
    """Takes the lock for ttl seconds. Returns {"lock", "how": one of FREE, OURS, EXPIRED, TAKEN_OVER, "previous"}.

    previous: the lock of the run it was taken from, else None. The same run_id enters again (and renews).
    Raises LockedError when another run holds it.
    """
    with _guarded(path):
        holder = read(path)
        now = datetime.now(timezone.utc)
        how = decide(holder, run_id, now, take_over)
        lock = {"schema": 1, "run_id": run_id, "flow": flow, "owner": owner, "recovery_point": recovery_point,
                "boot_id": clock.boot_id(), "acquired": clock.utc_text(now)}
        if how == OURS:
            lock["acquired"] = holder["acquired"]
            lock["recovery_point"] = recovery_point or holder.get("recovery_point")
        lock = _timed(lock, now, ttl)
        if how == FREE:
            _create(path, lock)
        else:
            write_json(path, lock)
        return {"lock": lock, "how": how, "previous": holder if how in (EXPIRED, TAKEN_OVER) else None}


def renew(path, *, run_id, ttl, recovery_point=None) -> dict:
    """Starts the time to live again. Raises StateError (lock_lost) when the lock is no longer this run's."""
    with _guarded(path):
        holder = _require(path, run_id)
        if recovery_point:
            holder["recovery_point"] = recovery_point
        lock = _timed(holder, datetime.now(timezone.utc), ttl)
        write_json(path, lock)
        return lock


def release(path, *, run_id) -> bool:
    """Gives the lock back. False when this run does not hold it (a second release is no error)."""
    if not os.path.exists(path):
        return False
    with _guarded(path):
        holder = read(path)
        if holder is None or holder["run_id"] != run_id:
            return False
        os.unlink(path)
        fsync_dir(os.path.dirname(path))
        return True


@contextlib.contextmanager
def keeping(path, *, run_id, ttl):
    """Renews the lock every third of ttl while the body runs (one module that works longer than the time to live).

    Yields check(), which raises StateError (lock_lost) once another run has taken the lock over.
    """
    done = threading.Event()

    def renewing():
        while not done.wait(ttl / 3):
            with contextlib.suppress(DrError, OSError):  # check() tells, in the thread that can act on it
                renew(path, run_id=run_id, ttl=ttl)

    thread = threading.Thread(target=renewing, daemon=True)
    thread.start()
    try:
        yield lambda: check(path, run_id=run_id)
    finally:
        done.set()
        thread.join()


def check(path, *, run_id) -> dict:
    """The lock's content, if this run holds it. Raises StateError (lock_lost) otherwise."""
    return _require(path, run_id)


def read(path):
    """The lock's content, or None. Raises IntegrityError for a file that is no lock."""
    try:
        holder = read_json(path)
    except StateError:
        return None
    except IntegrityError:
        holder = {}
    if not {"run_id", "flow", "owner", "acquired", "expires"} <= set(holder):
        raise IntegrityError(f"{path} is not a lock of kestra_community.dr.", reason="malformed_lock",
                             hint="Look at the file; if no run is active, remove it.")
    return holder


def _require(path, run_id) -> dict:
    holder = read(path)
    if holder is None or holder["run_id"] != run_id:
        now_held = f"run {holder['run_id']} of {holder['owner']} holds it" if holder else "it was released"
        raise StateError(f"The lock of the instance is no longer held by run {run_id}: {now_held}.", reason="lock_lost",
                         hint="Another run took over; let it finish, then start again.")
    return holder


def _timed(lock, now, ttl) -> dict:
    return dict(lock, ttl=ttl, expires=clock.utc_text(now + timedelta(seconds=ttl)))


@contextlib.contextmanager
def _guarded(path):
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(f"{path}.guard", "a+b") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
        except OSError as exc:
            if exc.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise DrError(f"The file system of {path} does not support file locks.", reason="no_file_locks",
                              hint="Put the vault directory on a local file system or NFS with locking.") from None
            raise
        yield


def _create(path, lock) -> None:
    directory = os.path.dirname(path)
    fd, temporary = tempfile.mkstemp(prefix=".lock-", dir=directory)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as handle:
            handle.write(json.dumps(lock, sort_keys=True, indent=2) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise LockedError("Another run took the lock of the instance in this very moment.",
                              hint="Run again to see who holds it.") from None
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            os.rename(temporary, path)  # no hard links here; the guard still excludes others
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    fsync_dir(directory)
