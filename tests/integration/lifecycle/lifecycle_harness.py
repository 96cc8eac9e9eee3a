# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules as Ansible does on a host (a process of their own, JSON in and out), and a small server to stop and start."""
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.kestra_community.dr.plugins.modules"

# A server with a pid file and a /health that is UP after a while; ends a while after SIGTERM.
SERVER = textwrap.dedent('''
    import http.server, os, signal, sys, threading, time
    pid_file, port, start_seconds, stop_seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    with open(pid_file + ".part", "w") as handle:
        handle.write(str(os.getpid()))
    os.rename(pid_file + ".part", pid_file)
    begun = time.monotonic()
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            up = time.monotonic() - begun >= start_seconds
            self.send_response(200 if up else 503)
            self.end_headers()
            self.wfile.write(b'{"name": "kestra", "status": "%s"}' % (b"UP" if up else b"DOWN"))
        def log_message(self, *args):
            pass
    def end(*args):
        def later():
            time.sleep(stop_seconds)
            os.unlink(pid_file)
            os._exit(143)
        threading.Thread(target=later).start()
    signal.signal(signal.SIGTERM, end)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
''')

CTL = textwrap.dedent('''\
    #!/bin/sh
    # ctl start|stop|status: Kestra under a service manager of the user's own
    here=$(dirname "$0")
    alive() { [ -e "$here/pid" ] && kill -0 "$(cat "$here/pid")" 2>/dev/null; }
    echo "$1" >>"$here/calls"
    case $1 in
      start)
        [ -e "$here/no-start" ] && { echo "no license" >&2; exit 9; }
        alive && exit 0
        rm -f "$here/pid"
        %(python)s "$here/server.py" "$here/pid" %(port)d %(start)s %(stop)s >>"$here/log" 2>&1 &
        while ! [ -e "$here/pid" ]; do sleep 0.05; done ;;
      stop) alive && kill "$(cat "$here/pid")"; exit 0 ;;
      status) alive && exit 0; exit 3 ;;
    esac
''')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds=30.0, what="it"):
    """Waits for a condition; fails the test when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


class ModuleFailed(AssertionError):
    """fail_json; its result is in .result."""

    def __init__(self, result):
        super().__init__(result.get("msg"))
        self.result = result


def parse(stdout: str, stderr: str) -> dict:
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    assert lines, f"no result: {stdout}\n{stderr}"
    result = json.loads(lines[-1])
    if result.get("failed"):
        raise ModuleFailed(result)
    return result


def environment() -> dict:
    """An environment in which the collection and ansible can be imported by a process of its own."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(entry for entry in sys.path if entry))


def module_process(name, args, check=False, python=sys.executable, **popen):
    """Starts a module; the caller ends it."""
    process = subprocess.Popen([python, "-m", f"{PACKAGE}.{name}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment(), **popen)
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": dict(args, _ansible_check_mode=check)}))
    process.stdin.close()
    process.stdin = None
    return process


def run_module(name, args, check=False, **popen) -> dict:
    """Runs a module to its end: its result. Raises ModuleFailed."""
    out, err = module_process(name, args, check, **popen).communicate(timeout=120)
    return parse(out, err)


class Toy:
    """A server under ctl in a directory of its own."""

    def __init__(self, directory: Path, start_seconds=0.3, stop_seconds=0.3):
        self.directory = directory
        directory.mkdir()
        self.port = free_port()
        (directory / "server.py").write_text(SERVER)
        ctl = directory / "ctl"
        ctl.write_text(CTL % {"python": sys.executable, "port": self.port, "start": start_seconds, "stop": stop_seconds})
        ctl.chmod(0o755)
        self.commands = {verb: f"{ctl} {verb}" for verb in ("start", "stop", "status")}

    def ctl(self, verb) -> int:
        return subprocess.run([str(self.directory / "ctl"), verb], check=False, stdin=subprocess.DEVNULL).returncode

    def runs(self) -> bool:
        return self.ctl("status") == 0

    def calls(self, verb) -> int:
        return (self.directory / "calls").read_text().split().count(verb)
