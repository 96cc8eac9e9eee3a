# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing the dead-man to life on this host, and laying it to rest.

Where systemd runs and we are root it is a persistent, enabled unit: it survives the controller, the ssh session, a kill
(Restart=on-failure) and a reboot. A transient timer (systemd-run) would be gone after a reboot, and Kestra with it.
Elsewhere it is a detached process, which a reboot of the host ends; the next call of kestra_service arms it again.
"""
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

from ..core import proc
from ..core.errors import DrError, StateError, ToolError
from ..core.files import atomic_write
from . import lifecycle_dead_man as dead_man
from . import lifecycle_managers as managers

_SYSTEMCTL_TIMEOUT = 60
_ALIVE_WITHIN = 15.0


def program_text() -> str:
    """The source of the dead-man's program, also from inside the zip in which Ansible ships modules."""
    return dead_man.__spec__.loader.get_source(dead_man.__name__)


def quoted(text: str) -> str:
    """A word of ExecStart (systemd.service(5), command lines): no specifier, no variable, no splitting."""
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(char, escape)
    return f'"{text}"'


def unit_text(directory: str, instance: str, python: str) -> str:
    """The unit of the dead-man. KillMode=process: what a start command leaves behind is Kestra, not part of it."""
    program = os.path.join(directory, dead_man.PROGRAM)
    return f"""# Written by kestra_community.dr; removed when the run that stopped Kestra has ended.
[Unit]
Description=Brings Kestra instance {instance} back when a disaster recovery run does not
RequiresMountsFor={quoted(directory)}
StartLimitIntervalSec=0

[Service]
ExecStart={quoted(python)} -I {quoted(program)} {quoted(directory)}
Restart=on-failure
RestartSec=2
KillMode=process

[Install]
WantedBy=multi-user.target
"""


class ProcessDeadMan:
    """A detached process of its own session."""

    how = "process"

    def __init__(self, directory: str, instance: str, python: str | None = None):
        self.directory = directory
        self.instance = instance
        self.python = python or sys.executable

    def install(self) -> str:
        """Copies the program to the host's state directory. Returns its path."""
        path = os.path.join(self.directory, dead_man.PROGRAM)
        atomic_write(path, program_text(), 0o700)
        return path

    def arm(self) -> None:
        """Brings it to life and sees it live. The caller holds lifecycle.lock and has written the record."""
        if dead_man.alive(self.directory):
            return
        program = self.install()
        with open(os.path.join(self.directory, dead_man.LOG), "ab") as log:
            os.fchmod(log.fileno(), 0o600)
            # With little environment: what the play put there (it may be secret) is not the dead-man's business.
            subprocess.Popen([self.python, "-I", program, self.directory], stdin=subprocess.DEVNULL, stdout=log,
                             stderr=log, cwd="/", start_new_session=True, env=managers.plain_environment())
        self._see_alive()

    def disarm(self) -> None:
        """Nothing to do: it ends by itself within a second once there is no record."""

    def _see_alive(self) -> None:
        end = time.monotonic() + _ALIVE_WITHIN
        while not dead_man.alive(self.directory):
            if time.monotonic() >= end:
                raise StateError("The dead-man does not come to life on this host; Kestra is left as it is.",
                                 reason="dead_man_not_armed", detail={"how": self.how, "log": self._log()},
                                 hint=f"See {os.path.join(self.directory, dead_man.LOG)} or the journal.")
            time.sleep(0.05)

    def _log(self) -> list:
        with contextlib.suppress(OSError):
            with open(os.path.join(self.directory, dead_man.LOG), encoding="utf-8", errors="replace") as handle:
                return handle.read().splitlines()[-10:]
        return []


class UnitDeadMan(ProcessDeadMan):
    """A persistent unit of the system manager."""

    how = "unit"

    def __init__(self, directory, instance, python=None, unit_dir="/etc/systemd/system", run=proc.run):
        super().__init__(directory, instance, python)
        self.unit = f"kestra-dr-dead-man-{instance}.service"
        self._path = os.path.join(unit_dir, self.unit)
        self._run = run

    def _systemctl(self, *args):
        return self._run(["systemctl", *args], timeout=_SYSTEMCTL_TIMEOUT)

    def arm(self):
        if dead_man.alive(self.directory) and os.path.exists(self._path):
            return
        self.install()
        atomic_write(self._path, unit_text(self.directory, self.instance, self.python), 0o644)
        self._systemctl("daemon-reload")
        self._systemctl("enable", self.unit)
        self._systemctl("restart", self.unit)
        self._see_alive()

    def disarm(self):
        if not os.path.exists(self._path):
            return
        self._systemctl("disable", "--now", self.unit)
        os.unlink(self._path)
        self._systemctl("daemon-reload")

    def _log(self):
        try:
            return self._run(["journalctl", f"--unit={self.unit}", "--lines=10", "--no-pager", "--output=cat"],
                             timeout=_SYSTEMCTL_TIMEOUT).stdout.splitlines()
        except ToolError:
            return []


def make(directory: str, instance: str):
    """The dead-man that fits this host."""
    if os.geteuid() == 0 and os.path.isdir("/run/systemd/system"):
        return UnitDeadMan(directory, instance)
    return ProcessDeadMan(directory, instance)


def disarm_quietly(keeper):
    """Disarms; returns a warning instead of failing: with no record the dead-man does nothing any more."""
    try:
        keeper.disarm()
    except (DrError, OSError) as exc:
        return f"The unit of the dead-man could not be removed: {exc}"
    return None
