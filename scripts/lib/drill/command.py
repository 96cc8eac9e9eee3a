# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/drill once its set-up is done: lock, leftovers, the drill, its report, cleaning up, the exit code."""
from __future__ import annotations

import getpass
import os
import re
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from ansible_collections.kestra_community.dr.plugins.module_utils.core import ids

from . import DrillError, environment, leftovers, ledger, processes, report, standin
from .console import Console, span
from .flow import Drill
from .labdir import LabDir
from .options import EXIT_DIFFERS, EXIT_NOT_RUN, EXIT_VERIFIED, parse
from .own import OwnKestra
from .playbooks import Playbooks

TEMPLATE = Path("roles/report/templates/report.html.j2")
NOT_COVERED = [
    "The Kestra of this drill is the laboratory's stand-in, not Kestra itself "
    "(scripts/drill --kestra EXECUTABLE --config FILE takes a real one).",
]


class Interrupted(BaseException):
    """A signal asked the drill to end."""


def _interrupt(number, _frame):
    raise Interrupted(signal.Signals(number).name)


class Command:
    """One call of scripts/drill."""

    def __init__(self, root, collections, options):
        started = float(os.environ.get("KDR_STARTED", time.time()))
        began = time.monotonic() - max(0.0, time.time() - started)
        self.options = options
        self.lab = LabDir(root)
        self.console = Console(started=began)
        self.timeline = report.Timeline(began, time.time() - (time.monotonic() - began))
        self.began = began
        self.collections = collections
        self.serial = ids.new_id()
        self.namespace = "company.drill" if not options.kestra else "company.drill" + self.serial[-6:]
        self.caller = environment.take()
        self.kestra = self.drill = self.playbooks = None
        self._state = {}

    def note(self, **facts) -> None:
        """Remembers what a later run would have to know, should this one be killed."""
        self._state.update(facts, **(self.kestra.state() if self.kestra else {}))
        self.lab.write_state(self._state)

    def run(self) -> int:
        """The whole call; the exit code."""
        self.lab.lock()
        self.console.line(f"Kestra disaster drill {self.serial}, size {self.options.size}, in {self.lab.root}")
        for line in leftovers.clean(self.lab, self._remove_laboratory):
            self.console.step(line)
        self.lab.prepare()
        self.note(process=processes.identity(os.getpid()), serial=self.serial, namespace=self.namespace)
        self.console.step("set-up is ready")
        self.timeline.add("set-up", self.began, time.monotonic())
        self.playbooks = self._playbooks()
        self.kestra = self._make_kestra()
        failure = None
        try:
            begin = time.monotonic()
            self.kestra.prepare()
            self.timeline.add("laboratory", begin, time.monotonic())
            self.note()
            self.drill = Drill(
                self.kestra, self.lab, self.options, playbooks=self.playbooks, console=self.console,
                timeline=self.timeline, namespace=self.namespace, serial=self.serial, note=self.note)
            self.drill.run()
        except DrillError as error:
            failure = error
        except Interrupted as signalled:
            failure = DrillError(f"Interrupted by {signalled}.")
        except Exception as error:  # pylint: disable=broad-except  # whatever it is, what was begun has to be cleaned up
            with open(self.lab.log, "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
            failure = DrillError(f"{type(error).__name__}: {error}", self.playbooks.tail())
        return self._finish(failure)

    def _playbooks(self) -> Playbooks:
        return Playbooks(self.lab, collections=self.collections, base=os.environ, on_task=self.console.working)

    def _remove_laboratory(self) -> None:
        self.lab.work.mkdir(mode=0o700, exist_ok=True)
        standin.remove(self.lab, self._playbooks())

    def _make_kestra(self):
        if self.options.kestra:
            return OwnKestra(
                self.lab, self.options, collections=self.collections, environment=self.caller,
                cwd=os.environ.get("KDR_CALLER_DIRECTORY", os.getcwd()), serial=self.serial)
        return standin.StandIn(
            self.lab, self.options, playbooks=self.playbooks, console=self.console,
            python=os.environ.get("KDR_LAB_PYTHON", sys.executable), edition=self.options.edition)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _finish(self, failure) -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.console.working("cleaning up")
        result = self.drill.result if self.drill else None
        verified = bool(result and result.verified and not failure)
        reports = self._write_report(result, failure) if result and result.points else []
        lines = []
        if self._own_work_remains(verified):
            lines.append(self.drill.tidy())
        kept = self.options.keep and self.kestra.target is not None
        if not kept:
            lines += self._tear_down()
        lines += self.kestra.after_verdict(self.options.keep, verified)
        lines += self._kept_lines() if kept else []
        if failure and not result_shown(result):
            self._say_failure(failure, lines)
        else:
            self._say_result(result, failure, reports, lines)
        self._leave(kept)
        if failure is not None and not (result and result.restored):
            return EXIT_NOT_RUN
        return EXIT_VERIFIED if verified else EXIT_DIFFERS

    def _own_work_remains(self, verified) -> bool:
        """Whether a user's Kestra still holds the drill's flows and is not about to be replaced or kept to look at."""
        if not (self.options.kestra and self.drill and self.drill.api) or self.options.keep:
            return False
        return self.kestra.running() and (verified or not self.kestra.aside)

    def _tear_down(self) -> list:
        try:
            self.kestra.tear_down()
        except DrillError as error:
            return [f"{error.message} {error.hint or ''}"]
        finally:
            processes.end_all(processes.marked(str(self.lab.root)))
        return []

    def _leave(self, kept) -> None:
        """What stays on disk: the reports, the log; and the state only while somebody still has to know something."""
        self.note()
        if kept or self._state.get("aside"):
            return
        self.lab.sweep()
        self.lab.forget_state()

    def _kept_lines(self) -> list:
        environ = f"ANSIBLE_COLLECTIONS_PATH={self.collections}"
        ansible = Path(sys.executable).with_name("ansible-playbook")
        return [
            "Kept for you to look at (the next drill removes it): "
            f"Kestra {self.kestra.target.api_url}, inventory {self.lab.inventory}",
            f"  {environ} {ansible} -i {self.lab.inventory} kestra_community.dr.list",
        ]

    def _write_report(self, result, failure) -> list:
        directory = self.lab.reports / self.serial
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self.playbooks.reports.glob("*")):
            (directory / path.name).write_bytes(path.read_bytes())
            (directory / path.name).chmod(0o600)
        template = (Path(self.collections) / "ansible_collections/kestra_community/dr" / TEMPLATE).read_text("utf-8")
        return list(report.write(directory, "drill", self._content(result, failure), template))

    def _content(self, result, failure) -> dict:
        chosen, now = result.chosen, time.monotonic()
        verified = result.verified and not failure
        reason = failure.message if failure else "; ".join(
            f"{one['name']}: expected {one['expected']}, found {one['found']}" for one in result.differs)
        kestra = self.kestra.target
        return {
            "schema": 1, "kind": "drill", "run_id": self.serial, "owner": f"{getpass.getuser()}@{socket.gethostname()}",
            "instance": {"name": "kestra", "id": result.points[0].instance_id},
            "recovery_point": chosen.id if chosen else "", "started": self.timeline.text(self.began),
            "finished": self.timeline.text(now), "seconds": round(now - self.began, 3),
            "outcome": "ok" if verified else "failed", "verdict": result.verdict,
            "headline": headline(result, failure),
            "kestra_line": f"{kestra.title} {self.drill.api.version or ''}".strip(),
            "reason": reason, "next": failure.hint.splitlines()[0] if failure and failure.hint else "",
            "figures": report.figures(figures_of(result)), "timeline": self.timeline.steps, "checks": result.checks,
            "counts": (chosen.manifest["components"].get("database") or chosen.manifest["components"].get("search")
                       or {}).get("counts", {}) if chosen else {},
            "particulars": self._particulars(result), "not_covered": [] if self.options.kestra else NOT_COVERED,
        }

    def _particulars(self, result) -> dict:
        told = {
            f"downtime {one.mode}": f"{span(one.downtime_seen)} seen at the health endpoint, "
            + ("none recorded" if one.downtime_told is None else f"{span(one.downtime_told)} recorded by the backup")
            for one in result.points
        }
        return {
            **told, "lost": result.lost, "came back": ledger.phrase(result.back),
            "not recovered": ledger.phrase(result.not_recovered),
            "in the copy though written after the pin": ledger.phrase(result.newer), "size": self.options.size,
            "recovery points": ", ".join(f"{one.id} ({one.mode})" for one in result.points),
            "proved after": "not reached" if result.rto_proved is None else span(result.rto_proved),
        }

    def _say_failure(self, failure, lines) -> None:
        self.console.line()
        self.console.line(f"The drill could not go on: {failure.message}")
        for line in [failure.hint, *lines]:
            if line:
                self.console.line(line)
        self.console.line(f"Whole output of the playbooks: {self.lab.log}")

    def _say_result(self, result, failure, reports, lines) -> None:
        for line in summary(result, failure, reports):
            self.console.line(line)
        for line in lines:
            if line:
                self.console.line(line)
        self.console.line(f"log       {self.lab.log}")
        self.console.line(f"whole drill {span(time.monotonic() - self.began)}")


def result_shown(result) -> bool:
    """Whether there is a result to show: something was restored."""
    return bool(result and result.restored)


def headline(result, failure) -> str:
    """One sentence for the top of the report."""
    if failure:
        return f"the drill ended early: {failure.message}"
    if result.verified:
        return "everything acknowledged before the recovery point came back, nothing else did"
    return f"restored, but {len(result.differs)} of {len(result.checks)} checks differ"


def figures_of(result) -> dict:
    """The input of report.figures."""
    return {"rto": result.rto, "rpo": result.rpo, "downtime": {one.mode: one.downtime_seen for one in result.points}}


def downtime_text(point) -> str:
    """The downtime of one backup: what a caller of the health endpoint met, and what the backup says of itself."""
    told = "" if point.downtime_told is None else f" ({span(point.downtime_told)} from stop to proved start)"
    return f"{point.mode} {span(point.downtime_seen)}{told}"


def pending_lines(pending) -> list:
    """What was under way and does not go on."""
    if pending is None:
        return []
    listed = ", ".join(f"{one['flow']} {one['id']} ({one['now']})" for one in pending[:5]) or "none"
    more = f" and {len(pending) - 5} more" if len(pending) > 5 else ""
    return [f"pending   {listed}{more}" + (": under way at the recovery point, and nothing moves them" if pending else "")]


def summary(result, failure, reports) -> list:
    """The human result, line by line."""
    chosen = result.chosen
    passed = sum(one["verdict"] == "pass" for one in result.checks)
    word = "RESTORED, BUT NOT VERIFIED" if failure else "VERIFIED" if result.verified else "RESTORED, BUT DIFFERS"
    rto = "not reached" if result.rto is None else f"{span(result.rto)} from the disaster to a healthy Kestra"
    lines = [
        "",
        word,
        f"lost      {result.lost}",
        f"restored  {chosen.id} ({chosen.mode})",
        f"came back {ledger.phrase(result.back)}",
        f"not back  {ledger.phrase(result.not_recovered)} (written after the recovery point)",
        *pending_lines(result.pending),
        f"verdict   {result.verdict}; {passed} of {len(result.checks)} checks passed",
        f"RTO       {rto}",
        f"RPO       {span(result.rpo)} of work lost",
        "downtime  " + ", ".join(downtime_text(one) for one in result.points),
    ]
    lines += [f"DIFFERS   {one['name']}: expected {one['expected']}, found {one['found']}" for one in result.differs]
    if failure:
        lines.append(f"FAILED    {failure.message}")
    lines += [f"report    {path}" for path in reports]
    return lines


def main(root, collections, argv) -> int:
    """Entry of the drill. Exit code: 0 verified, 2 restored but differs, 1 could not run, 64 usage."""
    if not re.fullmatch(r"/[^\0]*", root):
        raise ValueError("the lab directory must be an absolute path")
    options = parse(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return Command(root, collections, options).run()
    except DrillError as error:
        print(f"scripts/drill: {error.message}", *filter(None, [error.hint]), sep="\n", file=sys.stderr)
    except Interrupted as signalled:
        print(f"scripts/drill: interrupted by {signalled}", file=sys.stderr)
    return EXIT_NOT_RUN
