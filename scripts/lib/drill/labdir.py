# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one directory in which a drill lives, its lock, and the state that an aborted drill leaves behind."""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from pathlib import Path

from . import DrillError

KEPT = ("lock", "reports", "state.json", "drill.log", "kestra.log")
REPORTS_KEPT = 20


class LabDir:
    """Paths below the lab directory. Nothing of a drill is written anywhere else but where Kestra's own data lies."""

    def __init__(self, root):
        self.root = Path(root)
        self.state_file = self.root / "state.json"
        self.reports = self.root / "reports"
        self.work = self.root / "work"
        self.log = self.root / "drill.log"
        self.inventory = self.root / "inventory.yml"
        self.state_dir = self.work / "state"
        self.runtime_dir = self.work / "runtime"
        self.vault = self.work / "vault"
        self.repository = self.work / "repository"
        self.password_file = self.work / "restic-password"
        self.put_back = self.root / "put-back"
        self._lock = None

    def lock(self) -> None:
        """Holds the lab until this process ends, however it ends. Raises DrillError when another drill holds it."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = open(self.root / "lock", "a+", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            raise DrillError(
                f"Another drill (process {holder}) is running in {self.root}.",
                "Wait for its end, or give this one a directory of its own: KESTRA_DR_CACHE=/other/dir scripts/drill",
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def read_state(self) -> dict:
        """What the last drill wrote down, {} when there was none or it ended clean."""
        try:
            return json.loads(self.state_file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DrillError(
                f"{self.state_file} is damaged ({error}).",
                f"It says what an earlier drill left behind. Look at {self.root}, then remove that file.",
            ) from None

    def write_state(self, state) -> None:
        """Replaces the state in one step."""
        part = self.state_file.with_name("state.json.part")
        with open(part, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as handle:
            json.dump(state, handle, indent=2, sort_keys=True)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(part, self.state_file)

    def forget_state(self) -> None:
        """The drill left nothing behind that the next one would have to know."""
        with contextlib.suppress(FileNotFoundError):
            self.state_file.unlink()

    def sweep(self) -> list:
        """Removes everything in the lab but the lock, the state and the reports. Returns the names removed."""
        gone = []
        for entry in sorted(self.root.iterdir()):
            if entry.name in KEPT:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
            gone.append(entry.name)
        return gone

    def prepare(self) -> None:
        """The directories a drill needs, empty logs, and room among the reports."""
        for path in (self.log, self.root / "kestra.log"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        for path in (self.reports, self.work, self.state_dir, self.vault, self.repository):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in sorted(self.reports.iterdir())[:-REPORTS_KEPT]:
            shutil.rmtree(old)
