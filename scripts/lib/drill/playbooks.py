# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's playbooks as a person would, with the whole output in the log file."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import DrillError
from .processes import MARK

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:[\w.]+ : )?(.*?)\] \**$")
_FATAL = re.compile(r"^(?:fatal|failed): \[.*?\].*?(?:=> |: )(\{.*)$")
TAIL_LINES = 25


@dataclass
class Run:
    """One playbook run. begin, end: monotonic seconds; report: the flow's own report or {}."""

    name: str
    rc: int
    begin: float
    end: float
    report: dict
    report_file: str | None
    failure: str

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def environment(base, *, collections, lab) -> dict:
    """The environment of ansible-playbook: none of the caller's own Ansible settings, our mark for what it starts."""
    env = {name: text for name, text in base.items() if not name.startswith(("ANSIBLE_", "KDR_"))}
    env.update({
        "ANSIBLE_CONFIG": str(lab.work / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_HOME": str(lab.work / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(lab.work / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
        MARK: str(lab.root),
    })
    return env


def newest_report(directory, before) -> tuple:
    """(report, path) of the report that appeared since before (a set of names), ({}, None) when none did."""
    fresh = [path for path in Path(directory).glob("*.json") if path.name not in before]
    if not fresh:
        return {}, None
    path = max(fresh, key=lambda one: one.stat().st_mtime_ns)
    return json.loads(path.read_text("utf-8")), str(path)


def failure_text(lines) -> str:
    """The message of the last failed task in ansible's output, or "" when it names none."""
    for line in reversed(lines):
        match = _FATAL.match(line)
        if match:
            try:
                found = json.loads(match.group(1))
                return str(found.get("msg") or found.get("reason") or "")
            except ValueError:
                return match.group(1)[:500]
    return ""


class Playbooks:
    """Knows the inventory, the environment and the log; on_task(text) is told each task's name."""

    def __init__(self, lab, *, collections, base, on_task):
        self._lab, self._on_task = lab, on_task
        self._env = environment(base, collections=collections, lab=lab)
        (lab.work / "ansible.cfg").write_text("[defaults]\n", "utf-8")
        self._ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        self.reports = lab.vault / "kestra" / "reports"

    def run(self, name, variables=None, *, playbook=None, inventory=None) -> Run:
        """Runs kestra_community.dr.<name> (or a file) and returns however it ended."""
        argv = [self._ansible, "-i", str(inventory or self._lab.inventory)]
        argv.append(str(playbook or f"kestra_community.dr.{name}"))
        for key, text in (variables or {}).items():
            argv += ["-e", json.dumps({key: text})]
        before = {path.name for path in self.reports.glob("*.json")}
        begin, lines = time.monotonic(), []
        with open(self._lab.log, "a", encoding="utf-8") as log:
            log.write(f"\n===== {time.strftime('%H:%M:%S')} {name} {variables or ''}\n")
            log.flush()
            with subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace", env=self._env, cwd=self._lab.root, start_new_session=True,
            ) as child:
                try:
                    self._read(child.stdout, name, begin, log, lines)
                except BaseException:
                    os.killpg(child.pid, signal.SIGTERM)
                    raise
            rc = child.returncode
        report, report_file = newest_report(self.reports, before)
        return Run(name, rc, begin, time.monotonic(), report, report_file, failure_text(lines) if rc else "")

    def _read(self, output, name, begin, log, lines) -> None:
        """Copies the output into log and lines; a task's line gets the seconds since the start."""
        for line in output:
            lines.append(line.rstrip("\n"))
            match = _TASK.match(lines[-1].rstrip())
            if match:
                self._on_task(f"{name}: {match.group(1)}")
                log.write(f"{time.monotonic() - begin:7.1f} s  ")
            log.write(line)
            log.flush()

    def must(self, name, variables=None, **more) -> Run:
        """As run(), but a failed playbook is the end of the drill."""
        done = self.run(name, variables, **more)
        if done.rc:
            raise DrillError(f"The playbook {name} failed: {done.failure or 'see the log'}", self.tail())
        return done

    def tail(self) -> str:
        """The end of the log, for a failure."""
        with open(self._lab.log, encoding="utf-8", errors="replace") as log:
            lines = log.read().splitlines()[-TAIL_LINES:]
        return "\n".join([f"The last lines of {self._lab.log}:", *("  | " + line[:300] for line in lines)])
