# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of tests/bench/run: lock, leftovers, the laboratory, the figures, cleaning up."""
from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, ids
from drill import DrillError, leftovers, processes, standin
from drill.console import Console, size
from drill.labdir import LabDir
from drill.options import engine_of
from drill.playbooks import Playbooks

from . import figures
from .mysql import MysqlTools
from .postgresql import PostgresqlTools
from .scene import BIG_MB, SECTIONS, Scene
from .search import SearchScene, SearchTools

EXIT_NOT_RUN, EXIT_USAGE = 1, 64
OBJECT_SECTIONS = ("backup", "restore", "requests", "sent", "memory")
SEARCH_SECTIONS = ("dump", "restore", "downtime")
TOOLS = {"postgresql": PostgresqlTools, "mysql": MysqlTools, "elasticsearch": SearchTools}
PROGRAMS = {"postgresql": "KDR_PG_BIN", "mysql": "KDR_MYSQL_BIN", "elasticsearch": "KDR_LAB_BIN"}
ROOM = 6  # times the size of the largest database: it, its copy, two dumps, two repositories


class Interrupted(BaseException):
    """A signal asked to end."""


def _interrupt(number, _frame):
    raise Interrupted(signal.Signals(number).name)


def parse(argv):
    """The options; tests/bench/run has checked their form."""
    parser = argparse.ArgumentParser(prog="tests/bench/run", add_help=False, allow_abbrev=False)
    parser.add_argument("--backend", choices=tuple(TOOLS), default="postgresql")
    parser.add_argument("--size-mb", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SECTIONS))
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--storage", choices=("s3",))
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--large-mb", type=int, default=2000)
    found = parser.parse_args(argv)
    if found.storage:
        found.only, found.big = [], False
        found.size_mb = found.large_mb + max(1, found.objects * figures.SMALL_OBJECT // figures.MB)
    if found.backend == "elasticsearch":
        found.only, found.big = [name for name in found.only if name in SEARCH_SECTIONS], False
    found.small_mb = max(1, found.size_mb // 3)
    found.engine = engine_of(found.backend)
    return found


def machine() -> dict:
    """What the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    restic = subprocess.run(["restic", "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return {"cores": os.cpu_count(), "memory_bytes": memory, "load": round(os.getloadavg()[0], 2), "restic": restic,
            "python": platform.python_version(), "ansible_core": version("ansible-core")}


class Command:
    """One call."""

    def __init__(self, root, collections, options):
        self.options, self._collections = options, collections
        self.lab = LabDir(root)
        self.console = Console()
        self._serial = ids.new_id()
        self._kestra = self._scene = self._playbooks = None
        self._facts = {}

    def run(self) -> int:
        """The exit code."""
        self.lab.lock()
        # What is started from here on carries the mark by which it is ended.
        os.environ[processes.MARK] = str(self.lab.root)
        os.environ["XDG_CACHE_HOME"] = str(self.lab.work / "cache")
        for line in leftovers.clean(self.lab, self._remove_laboratory):
            self.console.step(line)
        self._require_room()
        self.lab.prepare()
        self.lab.write_state({"kind": "objects" if self.options.storage else "stand-in", "aside": None})
        self._facts = {"schema": 1, "run": self._serial, "started": clock.utc_now(), "machine": machine()}
        failure = None
        try:
            self._measure()
        except DrillError as error:
            failure = "\n".join(filter(None, (error.message, error.hint)))
        except Interrupted as signalled:
            failure = f"Interrupted by {signalled}."
        except Exception as error:  # pylint: disable=broad-except  # what was begun has to be cleaned up
            with open(self.lab.log, "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
            failure = f"{type(error).__name__}: {error} (see {self.lab.log})"
        return self._finish(failure)

    def _require_room(self) -> None:
        needed = (BIG_MB if self.options.big else self.options.size_mb) * figures.MB * ROOM
        free = shutil.disk_usage(self.lab.root).free
        if free < needed:
            raise DrillError(f"{size(needed)} of disk are needed below {self.lab.root} and {size(free)} are free.",
                             "Name another directory in KESTRA_DR_CACHE, or a smaller --size-mb.")

    def _new_playbooks(self) -> Playbooks:
        return Playbooks(self.lab, collections=self._collections, base=os.environ, on_task=self.console.working)

    def _remove_laboratory(self) -> None:
        self.lab.work.mkdir(mode=0o700, exist_ok=True)
        standin.remove(self.lab, self._new_playbooks())

    def _measure_objects(self) -> None:
        from .objects import ObjectScene  # pylint: disable=import-outside-toplevel  # needs what only this bench has
        program = os.environ["KESTRA_DR_TEST_S3_SERVER"]
        for name, argv in (("server", [program, "--version"]), ("rclone", ["rclone", "version"])):
            said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            self._facts["machine"][name] = " ".join(said.splitlines()[0].split())
        self._scene = ObjectScene(self.options, self.lab, console=self.console, collections=self._collections)
        self._kestra = self._scene  # what is to be torn down
        self._scene.run()

    def _measure(self) -> None:
        if self.options.storage:
            self._measure_objects()
            return
        self._playbooks = self._new_playbooks()
        self._kestra = standin.StandIn(self.lab, self.options, playbooks=self._playbooks, console=self.console,
                                       python=os.environ["KDR_LAB_PYTHON"])
        self._kestra.prepare((0, 0))
        self._facts["machine"]["database"] = f"{self._kestra.database.title} {self._kestra.database.facts()['version']}"
        backend = self.options.backend
        tools = TOOLS[backend](self.lab, self._kestra, collections=self._collections, programs=os.environ[PROGRAMS[backend]])
        scene = SearchScene if backend == "elasticsearch" else Scene
        self._scene = scene(self.options, self.lab, self._kestra, playbooks=self._playbooks, console=self.console, tools=tools)
        self._scene.run()

    def _finish(self, failure) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.console.working("cleaning up")
        path = self._write(failure)
        if self._kestra is not None:
            try:
                self._kestra.tear_down()
            except DrillError as error:
                failure = "\n".join(filter(None, (failure, error.message, error.hint)))
            finally:
                processes.end_all(processes.marked(str(self.lab.root)))
        self.lab.sweep()
        self.lab.forget_state()
        self._say(failure, path)
        return EXIT_NOT_RUN if failure else 0

    def _write(self, failure) -> Path:
        path = self.options.json
        if path is None:
            path = self.lab.reports / self._serial / "bench.json"
            path.parent.mkdir(mode=0o700)
        content = dict(
            self._facts, finished=clock.utc_now(), complete=failure is None, reason=failure or "",
            backend=self.options.backend, storage=self.options.storage, objects=self.options.objects if self.options.storage else None,
            size_mb=self.options.size_mb, repeat=self.options.repeat, only=self.options.only, big=self.options.big,
            databases=self._scene.databases if self._scene else {},
            figures=[one.as_dict() for one in self._scene.figures] if self._scene else [])
        path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        return path

    def _say(self, failure, path) -> None:
        known = self._facts["machine"]
        self.console.line()
        objects = f"{self.options.objects} objects, " if self.options.storage else ""
        self.console.line(f"{objects}{self.options.size_mb} MB, median of {self.options.repeat}, {known['cores']} cores, "
                          f"{known.get('database', known.get('rclone', '?'))}, restic {known['restic']}, "
                          f"ansible-core {known['ansible_core']}, load at the start {known['load']}")
        if known["load"] > known["cores"] / 4:
            self.console.line("THE MACHINE WAS BUSY: these figures say little.")
        measured = self._scene.figures if self._scene else []
        sections = OBJECT_SECTIONS if self.options.storage else SECTIONS
        for line in figures.table(sorted(measured, key=lambda one: sections.index(one.section))):
            self.console.line(line)
        if failure:
            self.console.line(f"Not complete: {failure}")
        self.console.line(f"JSON {path}")


def main(root, collections, argv) -> int:
    """Entry. Exit code: 0 measured, 1 could not run, 64 usage."""
    options = parse(argv)
    if options.size_mb >= BIG_MB and not options.storage:
        print(f"tests/bench/run: --size-mb must be below {BIG_MB}; --big measures memory there", file=sys.stderr)
        return EXIT_USAGE
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return Command(root, collections, options).run()
    except DrillError as error:
        print(f"tests/bench/run: {error.message}", *filter(None, [error.hint]), sep="\n", file=sys.stderr)
    except Interrupted as signalled:
        print(f"tests/bench/run: interrupted by {signalled}", file=sys.stderr)
    return EXIT_NOT_RUN
