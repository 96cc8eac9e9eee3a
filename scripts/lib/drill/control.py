# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, stop and status of the Kestra given by --kestra: what the inventory's three commands run.

The server runs in a session of its own. SIGTERM goes to its first process, as a service manager would send it; where
that was a wrapper that did not exec and died alone, what it left behind in its session gets SIGTERM too.
"""
from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from . import processes

STOP_SECONDS = 320  # longer than Kestra's own termination grace period of 300


class Control:
    """One server, described by a 0600 JSON file: argv, cwd, environment, log, mark, pid_file."""

    def __init__(self, spec_file):
        self.spec = json.loads(Path(spec_file).read_text("utf-8"))
        self._pid_file = Path(self.spec["pid_file"])

    def _leader(self) -> dict:
        try:
            return json.loads(self._pid_file.read_text("utf-8"))
        except FileNotFoundError:
            return {}

    def members(self) -> list:
        """The living processes of the server, its first one in front."""
        leader = self._leader()
        if not leader:
            return []
        found = [leader] if processes.alive(leader) else []
        for known in processes.marked(self.spec["mark"]):
            if known["pid"] != leader["pid"] and _session(known["pid"]) == leader["pid"]:
                found.append(known)
        return found

    def start(self) -> int:
        """Starts the server unless it runs, and returns at once. Exit code for the caller."""
        if self.members():
            return 0
        environment = dict(self.spec["environment"])
        environment[processes.MARK] = self.spec["mark"]
        known = processes.start_detached(
            self.spec["argv"], log=self.spec["log"], cwd=self.spec["cwd"], env=environment
        )
        self._pid_file.write_text(json.dumps(known), "utf-8")
        return 0

    def stop(self, seconds=STOP_SECONDS) -> int:
        """Asks the server to stop and waits for it. 0 when it is down, 1 when it is not after that many seconds."""
        deadline = time.monotonic() + seconds
        asked = set()
        while True:
            members = self.members()
            if not members:
                return 0
            if time.monotonic() > deadline:
                return 1
            leader = members[0]
            targets = [leader] if leader == self._leader() else members
            for known in targets:
                if known["pid"] not in asked:
                    processes.end(known, signal.SIGTERM)
                    asked.add(known["pid"])
            time.sleep(0.1)

    def status(self) -> int:
        """0 while the server runs, 3 (as LSB init scripts say "not running") otherwise."""
        return 0 if self.members() else 3


def _session(pid) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def write(directory, *, argv, cwd, environment, log, mark, command) -> dict:
    """Writes the specification and the three scripts into directory; command: argv prefix that reaches main() below.

    Returns {"start": path, "stop": path, "status": path}.
    """
    directory = Path(directory)
    spec_file = directory / "kestra.json"
    spec = {
        "argv": argv, "cwd": cwd, "environment": environment, "log": str(log), "mark": mark,
        "pid_file": str(directory / "kestra.pid.json"),
    }
    with open(spec_file, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as handle:
        json.dump(spec, handle, indent=2)
    scripts = {}
    for verb in ("start", "stop", "status"):
        path = directory / f"kestra-{verb}"
        line = shlex.join([*command, verb, str(spec_file)])
        path.write_text(f"#!/bin/sh\nexec {line}\n", "utf-8")
        path.chmod(0o700)
        scripts[verb] = str(path)
    return scripts


def main(argv) -> int:
    """<start|stop|status> <specification>."""
    if len(argv) != 2 or argv[0] not in ("start", "stop", "status"):
        print("usage: start|stop|status SPECIFICATION", file=sys.stderr)
        return 64
    return getattr(Control(argv[1]), argv[0])()
