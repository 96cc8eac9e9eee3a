# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a swap, which is also the undo point: <vault>/<instance>/undo/<id>.json.

Written before and after each step, atomically and durably. state: swapping, swapped, reverting, reverted, removing.
"""
from __future__ import annotations

import contextlib
import fcntl
import os

from ..core import clock
from ..core.errors import IntegrityError, LockedError, StateError
from ..core.files import fsync_dir, read_json, write_json

SCHEMA = 1
DIRECTORY = "undo"


class Journal:
    """One undo point's file. data: its content, or None while there is none."""

    def __init__(self, directory: str, point: str):
        self.directory = directory
        self.id = point
        self.path = os.path.join(directory, point + ".json")
        self.data = None
        with contextlib.suppress(StateError):
            self.data = read_json(self.path)
        if self.data is not None and (self.data.get("schema") != SCHEMA or self.data.get("id") != point):
            raise IntegrityError(f"{self.path} is not the journal of undo point {point} in schema {SCHEMA}.",
                                 reason="journal_schema", hint="Use the version of kestra_community.dr that wrote it.")

    def begin(self, facts: dict) -> None:
        """The first entry. facts: what is planned, JSON-ready, no secrets."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self.data = dict(facts, schema=SCHEMA, id=self.id, created=clock.utc_now(), steps=[], error=None)
        self.write()

    def state(self, state: str, error=None) -> None:
        """Changes the state. error: {reason, msg} of what went wrong, or None."""
        self.data.update(state=state, error=error)
        self.write()

    def step(self, store: str, step: str, event: str) -> None:
        """Notes begin, done or failed of one step."""
        self.data["steps"].append({"at": clock.utc_now(), "store": store, "step": step, "event": event})
        self.write()

    def write(self) -> None:
        """Makes the content durable."""
        self.data["updated"] = clock.utc_now()
        write_json(self.path, self.data)

    def remove(self) -> None:
        """The undo point is no more."""
        os.unlink(self.path)
        fsync_dir(self.directory)
        self.data = None


@contextlib.contextmanager
def only_one(directory: str):
    """Keeps a second process from working on the undo points of an instance; a killed one leaves nothing behind."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"Another process works on the undo points in {directory}.",
                              hint="Wait for it to end, then run again.") from None
        yield
    finally:
        os.close(fd)
