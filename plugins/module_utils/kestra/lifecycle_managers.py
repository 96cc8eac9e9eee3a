# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts and stops Kestra on a host, behind one interface: class Manager.

A manager only acts. What was found, who may act, and when Kestra comes back is the business of lifecycle.py.
"""
from __future__ import annotations

import abc
import contextlib
import os
import re
import shlex
import shutil
import time
from dataclasses import dataclass, field

from ..core import proc
from ..core.errors import ConfigError, RefusedError, StateError, ToolError
from ..core.files import atomic_write
from . import lifecycle_dead_man as dead_man

# Kestra's own limit for ending its running work: kestra.server.termination-grace-period, 5 minutes by default.
DEFAULT_GRACE_PERIOD = 300
_POLL = 0.5
_QUERY_TIMEOUT = 60
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+")
_SPAN = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800, "month": 2629800, "y": 31557600}


@dataclass(frozen=True)
class Status:
    """How Kestra is on this host.

    active: something of it runs, starts or is still stopping. running: it is up as its manager sees it.
    failed: it ended by itself and its manager will not try again.
    enabled: it starts with the host (None: the manager does not know). detail: the manager's own words.
    """

    active: bool
    running: bool
    failed: bool = False
    enabled: bool | None = None
    detail: dict = field(default_factory=dict)

    def to_result(self) -> dict:
        return {"active": self.active, "running": self.running, "failed": self.failed, "enabled": self.enabled,
                "detail": dict(self.detail)}


class Manager(abc.ABC):
    """The interface. timeout: seconds. Effects raise DrError."""

    name = ""
    # Whether block() keeps a start away that does not come through this collection.
    blocks_foreign_starts = False
    # Whether the status tells a server that is stopping from one that runs.
    sees_stopping = False
    # What is said of a Kestra that came back while a run counted on it being away.
    others_start = "Kestra was started by somebody else (or by a reboot of its host) while this run held it down."

    @abc.abstractmethod
    def preflight(self, *, stop_timeout: float, grace_period: float):
        """(problems, warnings): texts. A problem makes stopping and starting impossible."""

    @abc.abstractmethod
    def status(self) -> Status:
        """How Kestra is now."""

    @abc.abstractmethod
    def stop(self, timeout: float) -> list:
        """Asks Kestra to stop and waits until it has. Returns warnings. Raises StateError at the timeout."""

    @abc.abstractmethod
    def start(self, timeout: float) -> None:
        """Asks Kestra to start; whether it comes up is the caller's question."""

    @abc.abstractmethod
    def block(self, held_path: str) -> bool:
        """Keeps Kestra from being started while held_path exists. Returns whether anything was changed."""

    @abc.abstractmethod
    def unblock(self) -> bool:
        """Takes the block away. Returns whether anything was changed."""

    @abc.abstractmethod
    def commands(self) -> dict:
        """What the dead-man needs to act alone: {"start": argv, "status": argv that ends with 0 while Kestra runs}.

        Also "forget", files that are of no use once Kestra is back.
        """

    @abc.abstractmethod
    def log_tail(self, lines: int = 30) -> list:
        """The last lines Kestra wrote, for an error message. Never raises."""

    def _until_stopped(self, timeout: float, what: str) -> Status:
        end = time.monotonic() + timeout
        while True:
            status = self.status()
            if not status.active:
                return status
            if time.monotonic() >= end:
                raise StateError(
                    f"Kestra did not stop within {timeout:g} s ({what}).", reason="stop_timeout",
                    hint="It may be ending running tasks (kestra.server.termination-grace-period): give it longer with "
                         "kestra_dr_stop_timeout.",
                    detail={"status": status.to_result(), "log": self.log_tail()})
            time.sleep(_POLL)


def time_span(text: str):
    """Seconds of a time span as systemctl show prints it ("5min 30s"; systemd.time(7)). None: infinity or unknown."""
    total = 0.0
    for part in (text or "infinity").split():
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d|w|month|y)", part)
        if not match:
            return None
        total += float(match.group(1)) * _SPAN[match.group(2)]
    return total


def unit_name(text: str) -> str:
    """The full name of a service unit. Raises ConfigError."""
    name = text if text.endswith(".service") else text + ".service"
    if not _UNIT.fullmatch(name):
        raise ConfigError(f"{text!r} is not the name of a systemd unit.", reason="bad_unit",
                          hint="Give for example kestra.service.")
    return name


def properties(text: str) -> dict:
    """The KEY=value lines of systemctl show."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def unit_status(shown: dict) -> Status:
    """The status out of systemctl show. A unit between two restarts counts as active: someone wants it to run."""
    state = shown.get("ActiveState", "")
    file_state = shown.get("UnitFileState", "")
    detail = {key: shown.get(key, "") for key in _SHOWN if key != "TimeoutStopUSec"}
    return Status(active=state not in ("inactive", "failed"), running=state in ("active", "reloading", "refreshing"),
                  failed=state == "failed", enabled=file_state in _ENABLED, detail=detail)


def grace_warnings(*, unit_timeout, stop_timeout: float, grace_period: float) -> list:
    """What is shorter than the time Kestra may need to end its tasks. unit_timeout: TimeoutStopSec, None: no limit."""
    found = []
    if unit_timeout is not None and unit_timeout <= grace_period:
        found.append(
            f"TimeoutStopSec of the unit is {unit_timeout:g} s, not longer than Kestra's termination grace period of "
            f"{grace_period:g} s: systemd kills Kestra while it still ends running tasks. Set TimeoutStopSec to "
            f"{grace_period + 60:g} s or more (systemctl edit).")
    if stop_timeout <= grace_period:
        found.append(
            f"kestra_dr_stop_timeout is {stop_timeout:g} s, not longer than Kestra's termination grace period of "
            f"{grace_period:g} s: a stop with tasks running can end in a timeout.")
    return found


_ENABLED = ("enabled", "enabled-runtime", "alias", "linked", "linked-runtime")
_SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "Result", "TimeoutStopUSec")


class SystemdManager(Manager):
    """Kestra as a systemd service of the system manager; needs root for everything but questions."""

    name = "systemd"
    blocks_foreign_starts = True
    sees_stopping = True

    def __init__(self, unit="kestra.service", unit_dir="/etc/systemd/system", run=proc.run):
        self.unit = unit_name(unit)
        self._drop_in = os.path.join(unit_dir, self.unit + ".d", "50-kestra-dr-hold.conf")
        self._run = run

    def _systemctl(self, *args, timeout=_QUERY_TIMEOUT):
        return self._run(["systemctl", *args], timeout=timeout)

    def _show(self) -> dict:
        return properties(self._systemctl("show", "--property=" + ",".join(_SHOWN), self.unit).stdout)

    def preflight(self, *, stop_timeout, grace_period):
        problems = []
        if not os.path.isdir("/run/systemd/system"):
            return ["systemd does not run on this host; use another kestra_dr_manager."], []
        if os.geteuid() != 0:
            problems.append("Stopping and starting a unit needs root; set become for the Kestra hosts.")
        shown = self._show()
        load = shown.get("LoadState")
        if load != "loaded":
            why = {"not-found": "does not exist", "masked": "is masked"}.get(load, f"cannot be used (LoadState {load})")
            return problems + [f"The unit {self.unit} {why} on this host. kestra_dr_unit names it."], []
        return problems, grace_warnings(unit_timeout=time_span(shown.get("TimeoutStopUSec")), stop_timeout=stop_timeout,
                                        grace_period=grace_period)

    def status(self):
        shown = self._show()
        if shown.get("LoadState") == "not-found":
            raise ConfigError(f"The unit {self.unit} does not exist on this host.", reason="unit_missing",
                              hint="Name it with kestra_dr_unit, or choose another kestra_dr_manager.")
        return unit_status(shown)

    def stop(self, timeout):
        # Without waiting for the job: its end is seen in the status, and the limit is ours.
        self._systemctl("stop", "--no-block", self.unit)
        status = self._until_stopped(timeout, f"systemctl stop {self.unit}")
        if status.detail.get("Result") == "timeout":
            return [f"systemd killed Kestra at the end of {self.unit}'s TimeoutStopSec; running tasks were cut and "
                    "will run again."]
        return []

    def start(self, timeout):
        # Clears a failure or a start limit of the past. (Refused for a unit that is not loaded, so only then.)
        if self.status().failed:
            self._systemctl("reset-failed", self.unit)
        self._systemctl("start", "--no-block", self.unit)

    def drop_in_text(self, held_path: str) -> str:
        """An assertion, not a condition: a refused start is an error that somebody sees (systemd.unit(5))."""
        return ("# Written by kestra_community.dr. Kestra must not start while this file exists; it holds the reason.\n"
                f"[Unit]\nAssertPathExists=!{held_path.replace('%', '%%')}\n")

    def block(self, held_path):
        text = self.drop_in_text(held_path)
        with contextlib.suppress(FileNotFoundError):
            with open(self._drop_in, encoding="utf-8") as handle:
                if handle.read() == text:
                    return False
        os.makedirs(os.path.dirname(self._drop_in), mode=0o755, exist_ok=True)
        atomic_write(self._drop_in, text, 0o644)
        self._systemctl("daemon-reload")
        return True

    def unblock(self):
        try:
            os.unlink(self._drop_in)
        except FileNotFoundError:
            return False
        with contextlib.suppress(OSError):  # others may have drop-ins there
            os.rmdir(os.path.dirname(self._drop_in))
        self._systemctl("daemon-reload")
        return True

    def commands(self):
        return {"start": ["systemctl", "start", self.unit], "status": ["systemctl", "is-active", "--quiet", self.unit]}

    def log_tail(self, lines=30):
        try:
            out = self._run(["journalctl", f"--unit={self.unit}", f"--lines={lines}", "--no-pager",
                             "--output=short-iso", "--boot"], timeout=_QUERY_TIMEOUT).stdout
        except ToolError:
            return []
        return out.splitlines()[-lines:]


def plain_environment() -> dict:
    """The few variables that every command may count on."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}


def words(command):
    """A command as an argv list: a list is taken as it is, a text is split as a shell would, but never run by one."""
    if isinstance(command, (list, tuple)):
        return [str(item) for item in command]
    try:
        return shlex.split(command or "")
    except ValueError as exc:
        raise ConfigError(f"The command {command!r} cannot be split into words: {exc}.", reason="bad_command") from None


class CommandManager(Manager):
    """Kestra started, stopped and asked by three commands of the user.

    status ends with 0 while Kestra runs or is stopping, with 1, 2 or 3 when it does not run (as pgrep, and the status
    action of an init script: LSB 3.1 §20.2); anything else is a failure to tell, never "stopped".
    A start from elsewhere cannot be blocked, but the user's start command can look for the HELD file.
    """

    name = "command"
    _STOPPED = (1, 2, 3)

    def __init__(self, start, stop, status, log_file=None):
        self._argv = {"start": words(start), "stop": words(stop), "status": words(status)}
        self._log_file = log_file
        self._output: list = []
        for what, argv in self._argv.items():
            if not argv:
                raise ConfigError(f"The manager command needs a {what} command.", reason="command_missing",
                                  hint=f"Set kestra_dr_{what}_command.")

    def preflight(self, *, stop_timeout, grace_period):
        problems = [f"The {what} command's program {argv[0]} is not there or may not be executed."
                    for what, argv in self._argv.items() if shutil.which(argv[0]) is None]
        return problems, grace_warnings(unit_timeout=None, stop_timeout=stop_timeout, grace_period=grace_period)

    def _call(self, what, timeout, ok):
        argv = self._argv[what]
        # Not core.proc: its children die with us, and what a start command leaves behind must not.
        rc, output = dead_man.command(argv, timeout)
        if rc not in ok:
            text = {124: f"did not end within {timeout:g} s", 126: "could not be run", 127: "was not found"}.get(
                rc, f"ended with exit code {rc}")
            last = output.splitlines()[-1:] or [""]
            raise ToolError(f"The {what} command {text}: {last[0]}".rstrip(": ") + ".", reason=f"{what}_command_failed",
                            hint=("It has to end with 0 while Kestra runs and with 1, 2 or 3 when it does not."
                                  if what == "status" else f"Try it by hand as this user: {shlex.join(argv)}"),
                            detail={"argv0": argv[0], "rc": rc, "stderr_tail": output, "command": argv})
        return rc, output

    def status(self):
        rc, output = self._call("status", _QUERY_TIMEOUT, (0,) + self._STOPPED)
        last = output.splitlines()[-1:]
        return Status(active=rc == 0, running=rc == 0, enabled=None,
                      detail={"rc": rc, "output": last[0] if last else ""})

    def stop(self, timeout):
        begun = time.monotonic()
        self._call("stop", timeout, (0,))
        self._until_stopped(max(0.0, timeout - (time.monotonic() - begun)), "stop command")
        return []

    def start(self, timeout):
        self._output = self._call("start", timeout, (0,))[1].splitlines()

    def block(self, held_path):
        return False

    def unblock(self):
        return False

    def commands(self):
        # Systemd runs the dead-man with next to no environment of its own.
        return {"start": self._argv["start"], "status": self._argv["status"], "environment": plain_environment()}

    def log_tail(self, lines=30):
        found = list(self._output)
        if self._log_file:
            with contextlib.suppress(OSError):
                with open(self._log_file, "rb") as handle:
                    handle.seek(max(0, os.fstat(handle.fileno()).st_size - (64 << 10)))
                    found = handle.read().decode("utf-8", "replace").splitlines()
        return found[-lines:]


# Kept in step with plugins/doc_fragments/lifecycle.py.
MANAGER_SPEC = {
    "manager": {"type": "str", "choices": ["systemd", "command"], "default": "systemd"},
    "unit": {"type": "str", "default": "kestra.service"},
    "commands": {"type": "dict", "options": {verb: {"type": "raw"} for verb in ("start", "stop", "status")}},
    "log_file": {"type": "path"},
}


def make(options: dict) -> Manager:
    """The manager that the options of MANAGER_SPEC name."""
    if options["manager"] == "systemd":
        return SystemdManager(options["unit"])
    if options["manager"] == "command":
        commands = options.get("commands") or {}
        return CommandManager(*(commands.get(verb) for verb in ("start", "stop", "status")), options.get("log_file"))
    raise RefusedError(f"The manager {options['manager']!r} is not covered.", reason="manager_unknown")
