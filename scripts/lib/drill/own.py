# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's own Kestra: EXECUTABLE server standalone --config FILE. Its data is moved aside, not destroyed."""
from __future__ import annotations

import os
import secrets
import shlex
import stat
import sys
from pathlib import Path

from . import DrillError, control, disaster, inventory
from .bucket import Bucket
from .database import database_of
from .health import is_up
from .target import describe, own_configuration, write_environment_file

ENTRY = str(Path(__file__).resolve().parent)


class OwnKestra:
    """The drill's side of a Kestra given by --kestra and --config. environment, cwd: the caller's."""

    def __init__(self, lab, options, *, collections, environment, cwd, serial):
        self._lab, self._options, self._serial = lab, options, serial
        self._environment, self._cwd = environment, cwd
        self._command = [sys.executable, ENTRY, "--lab", str(lab.root), "--collections", str(collections)]
        self._control = None
        self.target = None
        self.database = None
        self.aside = None

    def state(self) -> dict:
        """What a later run has to know to clean up or to put back."""
        files = self.target.environment_files if self.target else []
        return {
            "kind": "own", "config": self._options.config, "environment_file": files[0] if files else None,
            "aside": self.aside,
        }

    def prepare(self) -> None:
        """Reads the configuration, refuses what a drill could not give back, writes the inventory; touches nothing."""
        environment_file = self._lab.work / "kestra.env"
        needed = write_environment_file(environment_file, self._environment, self._options.config)
        configuration = own_configuration(self._options.config, environment_file if needed else None)
        scripts = control.write(
            self._lab.work, argv=[self._options.kestra, "server", "standalone", "--config", self._options.config],
            cwd=self._cwd, environment=self._environment, log=self._lab.root / "kestra.log",
            mark=f"{self._lab.root}#kestra", command=[*self._command, "control"],
        )
        self._control = control.Control(self._lab.work / "kestra.json")
        self.target = describe(
            configuration, title=f"{self._options.kestra}", config_files=[self._options.config],
            environment_files=[str(environment_file)] if needed else [], scripts=scripts,
        )
        self.database = database_of(self.target.credentials)
        if is_up(self.target.health_url, headers=self.target.health_headers):
            raise DrillError(
                f"A Kestra runs already at {self.target.health_url}.",
                "The drill starts and stops Kestra itself. Stop yours first (systemctl stop kestra).",
            )
        reason = self.database.why_not_movable()
        if isinstance(self.target.storage, Bucket):
            reason = f"its storage is the {self.target.storage}, which has no name to change"
        if reason is None and self.target.storage.exists():
            reason = disaster.why_not_movable(self.target.storage)
        if reason:
            raise DrillError(
                f"Your Kestra's data could not be moved aside: {reason}.",
                "The drill loses the data by renaming it and restores a copy in its place. Nothing was touched.",
            )
        with open(self._lab.password_file, "x", encoding="ascii", opener=_private) as handle:
            handle.write(secrets.token_urlsafe(32) + "\n")
        structure = inventory.build(
            python=sys.executable, lab=self._lab, config_files=self.target.config_files,
            environment_files=self.target.environment_files, scripts=scripts,
        )
        inventory.write(self._lab.inventory, structure)

    def running(self) -> bool:
        """Whether the server that the drill started lives."""
        return bool(self._control.members())

    def start(self) -> None:
        """Starts it; the caller waits for its health."""
        self._control.start()

    def stop(self) -> bool:
        """SIGTERM, and waits. False when it does not stop."""
        return self._control is None or self._control.stop() == 0

    def log_tail(self) -> str:
        """The end of Kestra's own output."""
        try:
            lines = (self._lab.root / "kestra.log").read_text("utf-8", "replace").splitlines()[-15:]
        except FileNotFoundError:
            lines = []
        head = f"The last lines of {self._lab.root / 'kestra.log'}:"
        return "\n".join([head, *("  | " + line[:300] for line in lines)])

    def plan_loss(self) -> str:
        """Settles and returns what the disaster will be; nothing is done yet."""
        self.aside = disaster.plan_aside(self.database.name, self.target.storage, self._serial)
        self._lab.put_back.write_text(f"#!/bin/sh\nexec {shlex.join([*self._command, 'put-back'])}\n", "utf-8")
        self._lab.put_back.chmod(stat.S_IRWXU)
        gone = f"database {self.aside['database']['from']} and storage {self.aside['storage']['from']}"
        return gone + " moved out of Kestra's reach"

    def lose(self) -> None:
        """The disaster."""
        disaster.move_aside(self.database, self.aside)

    def after_verdict(self, keep, verified) -> list:
        """What becomes of the original pair; returns lines for the person."""
        if not self.aside:
            return []
        kept = f"{self.aside['database']['to']} and {self.aside['storage']['to']}"
        if verified and not keep:
            disaster.forget_aside(self.database, self.aside)
            self.aside = None
            return ["Your Kestra is stopped, as it was found, and runs on the restored data when you start it."]
        return [
            f"The original database and storage are kept as {kept}.",
            f"To put them back (stops Kestra, renames both): {self._lab.put_back}",
        ]

    def tear_down(self) -> None:
        """Ends the server that the drill started."""
        if not self.stop():
            raise DrillError("Kestra does not stop.", f"See {self._lab.root / 'kestra.log'}; end it by hand.")


def _private(path, flags):
    return os.open(path, flags, 0o600)
