# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill itself, step by step: work, back up twice, work on, lose everything, restore, prove."""
from __future__ import annotations

import time
from dataclasses import dataclass, field

from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import parse_utc
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import read_json

from . import DrillError, disaster, ledger
from .api import Api, ApiError
from .console import size, span
from .health import Poller, downtime, is_up, up_since, wait_up
from .report import check
from .workload import Driver, Workload

MODES = ("offline", "pinned")
FIRST_LABEL = "before the first backup"
# What a recovery point of an Enterprise Edition holds.
EVERYTHING = ["database", "storage", "config", "metadata"]
# Kestra's own start takes up to 90 s on two busy cores (seen on 0.21); a first start migrates the schema besides.
START_SECONDS = 300
BEFORE_WRITES, BETWEEN_WRITES = 12, 12
# With a Kestra of one's own the size is the work done before the first backup; the lab fills its database instead.
OWN_WRITES = {"small": 12, "medium": 200, "large": 2000}


@dataclass
class Point:
    """A recovery point that the drill took. Moments are UTC seconds."""

    mode: str
    id: str
    instance_id: str
    pinned: float
    storage_finished: float
    downtime_seen: float
    downtime_told: float | None
    manifest: dict = field(repr=False)


@dataclass
class Result:
    """What came of it."""

    points: list = field(default_factory=list)
    chosen: Point | None = None
    lost: str = ""
    back: list = field(default_factory=list)
    checks: list = field(default_factory=list)
    verdict: str = "not reached"
    rto: float | None = None
    rto_proved: float | None = None
    rpo: float | None = None
    not_recovered: list = field(default_factory=list)
    newer: list = field(default_factory=list)
    restored: bool = False
    # Executions that were under way and do not go on by themselves, where the queue was in Kafka; None: elsewhere.
    pending: list | None = None

    @property
    def differs(self) -> list:
        """The checks that failed."""
        return [one for one in self.checks if one["verdict"] == "fail"]

    @property
    def verified(self) -> bool:
        """Restored, every check passed, and the recovery point itself verified by its counts."""
        return self.restored and not self.differs and self.verdict in ("verified (counts)", "verified (references)")


class Drill:
    """One drill on one Kestra (a stand-in of the lab or a user's own)."""

    def __init__(self, kestra, lab, options, *, playbooks, console, timeline, namespace, serial, note):
        self._kestra, self._lab, self._options = kestra, lab, options
        self._playbooks, self._console, self._timeline = playbooks, console, timeline
        self._namespace, self._serial, self._note = namespace, serial, note
        self.result = Result()
        self.api = None
        self._ledger = ledger.Ledger()
        self._work = self._driver = self._poller = self._archive = self._waiting = None
        self._enterprise = options.edition == "enterprise"
        # Of a bucket also that every file that the database names is in its list.
        self._depth = "references" if options.storage == "s3" else "counts"

    def run(self) -> Result:
        """Everything up to the verdict. Raises DrillError when it cannot go on."""
        self._meet()
        try:
            self._begin_work()
            if self._enterprise:
                self._back_up_archive()
            for mode in MODES:
                self._back_up(mode)
            lost_at, wall = self._lose()
            self._restore(lost_at, wall)
            self._prove(lost_at)
            if self._enterprise:
                self._restore_archive()
        finally:
            self._end_threads()
        return self.result

    # -- the working Kestra ------------------------------------------------------------------------------------------

    def _step(self, name, begin, text) -> None:
        self._timeline.add(name, begin, time.monotonic())
        self._console.step(text)

    def _meet(self) -> None:
        begin = time.monotonic()
        target = self._kestra.target
        self._console.working("starting Kestra")
        self._kestra.start()
        self._wait_up("Kestra does not become healthy")
        self.api = Api(target.api_url, target.api_user, target.api_password)
        try:
            self.api.discover()
        except ApiError as error:
            raise self._stuck(f"Kestra's API at {target.api_url} does not answer", error) from None
        facts = self._kestra.database.facts()
        self._step(
            "Kestra healthy", begin,
            f"{target.title} {self.api.version or ''} is up on {self._kestra.database.title} {facts['version']}: "
            f"{facts['rows']:,} rows, {size(facts['bytes'])}, storage {target.storage}",
        )

    def _wait_up(self, failure) -> None:
        target = self._kestra.target
        if not wait_up(target.health_url, START_SECONDS, headers=target.health_headers, still=self._kestra.running):
            raise DrillError(f"{failure} at {target.health_url}.", self._kestra.log_tail())

    def _begin_work(self) -> None:
        begin = time.monotonic()
        target = self._kestra.target
        self._poller = Poller(target.health_url, headers=target.health_headers)
        self._poller.start()
        self._work = Workload(self.api, self._namespace, self._ledger, self._serial)
        try:
            self._work.deploy()
            self._work.sentinels(FIRST_LABEL)
            if self._options.engine == "elasticsearch":
                self._waiting = self._work.leave_waiting()
            first = self._work.execution()
            state = self._work.finishes(first, 90)
        except ApiError as error:
            raise self._stuck("Kestra does not take work", error) from None
        if state != "SUCCESS":
            raise DrillError(f"Kestra's first execution ended {state}, not SUCCESS.", self._kestra.log_tail())
        self._driver = Driver(self._work, pause=0.5)
        self._driver.start()
        wanted = OWN_WRITES[self._options.size] if self._options.kestra else BEFORE_WRITES
        self._let_work(wanted, 60 + wanted)
        self._step(
            "work", begin,
            f"Kestra works: flows deployed (one scheduled), {ledger.phrase(self._ledger.writes())} written;"
            " it goes on while we back up",
        )

    def _let_work(self, writes, seconds) -> None:
        if not self._driver.wait_for(writes, seconds):
            error = self._driver.last_error or "none"
            raise self._stuck(f"Kestra acknowledged fewer than {writes} writes in {seconds} s. Last error", error)

    def _stuck(self, text, error) -> DrillError:
        return DrillError(f"{text}: {error}", self._kestra.log_tail())

    # -- the backups -------------------------------------------------------------------------------------------------

    def _back_up_archive(self) -> None:
        """A recovery point of the metadata archive alone, in maintenance mode."""
        done = self._playbooks.must("backup", {"kestra_dr_components": ["metadata"]})
        end = time.monotonic()
        identifier = done.report.get("recovery_point")
        self._archive = read_json(self._lab.vault / "kestra" / "points" / identifier / "manifest.json")
        summary, consistency = self._archive["components"]["metadata"]["summary"], self._archive["consistency"]
        seen = downtime(self._poller.samples(), done.begin, end)
        self.result.checks.append(check("metadata archive taken while Kestra was up", not seen, "no downtime", span(seen)))
        self._timeline.add("backup, metadata archive", done.begin, end)
        self._console.step(
            f"backup {consistency['mode']}: {identifier}, {sum(summary.values())} records of {len(summary)} kinds, Kestra up, "
            f"in maintenance mode for {span(consistency['maintenance_seconds'])}"
        )
        self._let_work(1, 60)

    def _restore_archive(self) -> None:
        """A KV value and a namespace file that are lost once more come back out of the archive alone."""
        begin = time.monotonic()
        identifier, expected = self._archive["id"], self._archive["components"]["metadata"]["summary"]
        lost = [one for one in self._ledger.writes() if one.label == FIRST_LABEL and one.kind != "execution"]
        try:
            for write in lost:
                self._work.forget(write)
        except ApiError as error:
            raise self._stuck("The restored Kestra does not let go", error) from None
        done = self._playbooks.run("restore", {
            "kestra_dr_recovery_point": identifier, "kestra_dr_confirm": self._archive["instance"]["id"],
            "kestra_dr_components": ["metadata"], "kestra_dr_metadata_over_live": True})
        found, checks = done.report.get("counts") or {}, self.result.checks
        back = [one for one in lost if ledger.look(self.api, self._namespace, one) == "present"]
        checks.append(check("metadata archive restored, every kind counted", not done.rc and found == expected,
                            f"{sum(expected.values())} records", f"{sum(found.values())} records"))
        checks.append(check("what was deleted once more came back out of the archive", back == lost and len(lost) == 2,
                            ledger.phrase(lost), ledger.phrase(back)))
        self._timeline.add("restore, metadata archive", begin, time.monotonic())
        self._console.step(f"restored {identifier}: {sum(found.values())} records out of the archive; {ledger.phrase(back)} are back")

    def _back_up(self, mode) -> None:
        more = {"kestra_dr_components": EVERYTHING} if self._enterprise else {}
        done = self._playbooks.must("backup", {"kestra_dr_consistency": mode, **more})
        self._wait_up(f"Kestra does not come back after the {mode} backup")
        end = time.monotonic()
        point = self._read_point(mode, done, end)
        self.result.points.append(point)
        self._note(points=[one.id for one in self.result.points])
        self._timeline.add(f"backup, {mode}", done.begin, end)
        self._console.step(
            f"backup {mode}: {point.id}, Kestra down {span(point.downtime_seen)} of {span(done.seconds)}, "
            f"{size(sum(one.get('bytes', 0) for one in point.manifest['components'].values()))}"
        )
        label = "between the backups" if mode == MODES[0] else "after the last backup"
        try:
            self._work.sentinels(label)
        except ApiError as error:
            raise self._stuck(f"Kestra takes no work after the {mode} backup", error) from None
        self._let_work(BETWEEN_WRITES, 60)

    def _read_point(self, mode, done, end) -> Point:
        identifier = done.report.get("recovery_point")
        if not identifier:
            raise DrillError(f"The {mode} backup ended well and reported no recovery point.", self._playbooks.tail())
        manifest = read_json(self._lab.vault / "kestra" / "points" / identifier / "manifest.json")
        consistency = manifest["consistency"]
        pinned = parse_utc(consistency["pinned"]).timestamp()
        finished = consistency.get("storage_finished")
        return Point(
            mode=mode, id=identifier, instance_id=manifest["instance"]["id"], pinned=pinned,
            storage_finished=parse_utc(finished).timestamp() if finished else pinned,
            downtime_seen=downtime(self._poller.samples(), done.begin, end),
            downtime_told=consistency.get("downtime_seconds"), manifest=manifest,
        )

    # -- the disaster ------------------------------------------------------------------------------------------------

    def _lose(self) -> tuple:
        begin = time.monotonic()
        self.result.chosen = next(one for one in self.result.points if one.mode == self._options.point)
        self._driver.stop()
        try:
            totals = self.api.totals()
            self._work.delete_flows()
        except ApiError as error:
            raise self._stuck("Kestra stopped answering before the disaster", error) from None
        facts = self._kestra.database.facts()
        files, total = disaster.storage_size(self._kestra.target.storage)
        how = self._kestra.plan_loss()
        self._note(aside=getattr(self._kestra, "aside", None))
        storage = self._kestra.target.storage
        before = disaster.storage_trace(storage)
        lost_at, wall = time.monotonic(), time.time()
        self._kestra.lose()
        # A Kestra that still runs may have made a new storage directory, or new objects, at once.
        if self._kestra.database.exists() or before & disaster.storage_trace(storage):
            raise DrillError("The disaster did not happen: the database or the storage is still there.")
        self.result.lost = (
            f"{how}: {facts['rows']:,} rows in {facts['tables']} tables ({size(facts['bytes'])}), "
            f"{files:,} files ({size(total)}); "
            f"the API had listed {totals['flows']:,} flows and {totals['executions']:,} executions"
        )
        self.result.rpo = wall - self.result.chosen.pinned
        self._step("disaster", begin, f"DISASTER: {how}")
        return lost_at, wall

    # -- the recovery ------------------------------------------------------------------------------------------------

    def _restore(self, lost_at, wall) -> None:
        chosen = self.result.chosen
        done = self._playbooks.run(
            "restore", {"kestra_dr_recovery_point": chosen.id, "kestra_dr_confirm": chosen.instance_id}
        )
        if done.rc:
            raise DrillError(f"The restore failed: {done.failure or 'see the log'}", self._playbooks.tail())
        self.result.restored = True
        if self._options.engine == "elasticsearch":
            self.result.pending = done.report["became"]
            told = [one["now"] for one in self.result.pending if one["id"] == self._waiting]
            self.result.checks.append(check(
                "an execution that was under way is told of, and is where it was", told == ["PAUSED"], "PAUSED", ", ".join(map(str, told))))
        if not is_up(self._kestra.target.health_url, headers=self._kestra.target.health_headers):
            self._wait_up("Kestra is not healthy after the restore")
        time.sleep(0.5)  # lets the poller see it too
        healthy = up_since(self._poller.samples()) or time.monotonic()
        self.result.rto = healthy - lost_at
        self.result.checks.append(check(
            "restore playbook", done.report.get("outcome") == "ok", "ok", done.report.get("verdict", "no report")))
        self._timeline.add("restore", done.begin, done.end)
        self._console.step(
            f"restored {chosen.id} ({chosen.mode}); Kestra is healthy again {span(self.result.rto)} after the disaster"
        )
        self._compare(wall)

    def _compare(self, wall) -> None:
        """The drill's own proof, over the API, against what Kestra had acknowledged."""
        begin = time.monotonic()
        chosen, checks = self.result.chosen, self.result.checks
        expectation = ledger.divide(self._ledger.writes(), chosen.pinned, chosen.storage_finished)
        self._console.working(f"looking up {len(self._ledger.writes())} writes through the API")
        try:
            uuid = self.api.uuid
            self.api.discover()
            found = ledger.compare(self.api, self._namespace, expectation)
            flows = self._work.flows_present()
        except ApiError as error:
            raise self._stuck("The restored Kestra does not answer", error) from None
        checks.append(check("instance uuid", self.api.uuid == uuid, uuid, self.api.uuid))
        checks.append(check(
            "flows deleted after the backup are back", len(flows) == 3, "3 flows", ", ".join(flows) or "none"))
        wrong = found["missing"] + found["changed"]
        checks.append(check(
            "writes acknowledged before the recovery point are there, with their content", not wrong,
            ledger.phrase(expectation.present), ledger.phrase(found["present"])))
        checks.append(check(
            "writes after the recovery point are gone", not found["surplus"],
            ledger.phrase([]), ledger.phrase(found["surplus"])))
        for label, sentinels in self._sentinels().items():
            expected = "present" if all(one in expectation.present for one in sentinels) else "absent"
            seen = sorted({ledger.look(self.api, self._namespace, one) for one in sentinels})
            checks.append(check(f"sentinels {label}", seen == [expected], expected, ", ".join(seen)))
        self.result.back, self.result.newer = found["present"], found["either_present"]
        self.result.not_recovered = found["absent"] + [
            one for one in expectation.either if one not in found["either_present"]]
        self._timeline.add("look-up of every write", begin, time.monotonic())
        self._console.step(
            f"came back: {ledger.phrase(found['present'])} and {len(flows)} flows; "
            f"gone with the {span(wall - chosen.pinned)} since the point: {ledger.phrase(self.result.not_recovered)}"
        )
        if wrong or found["surplus"]:
            self._console.step(f"DIFFERS: {len(wrong)} missing or changed, {len(found['surplus'])} too many")

    def _sentinels(self) -> dict:
        groups = {}
        for write in self._ledger.writes():
            if write.label:
                groups.setdefault(write.label, []).append(write)
        return groups

    def _prove(self, lost_at) -> None:
        begin = time.monotonic()
        try:
            state = self._work.finishes(self._work.execution(), 90)
        except ApiError as error:
            state = str(error)
        self.result.checks.append(check("a new execution in the restored Kestra", state == "SUCCESS", "SUCCESS", state))
        self._timeline.add("new execution", begin, time.monotonic())
        done = self._playbooks.run(
            "verify", {"kestra_dr_recovery_point": self.result.chosen.id, "kestra_dr_verify_depth": self._depth}
        )
        self.result.verdict = done.report.get("verdict") or "not reached"
        if done.rc and not done.report:
            raise DrillError(f"The verification could not run: {done.failure or 'see the log'}", self._playbooks.tail())
        self.result.checks.append(check(
            "recovery point restored into a scratch server and counted", self.result.verdict == f"verified ({self._depth})",
            f"verified ({self._depth})", self.result.verdict))
        self.result.checks += [dict(one) for one in done.report.get("checks", [])]
        self.result.rto_proved = done.end - lost_at
        self._timeline.add("verify", done.begin, done.end)
        self._console.step(f"verify --depth {self._depth}: {self.result.verdict} in {span(done.seconds)}")

    def tidy(self) -> str:
        """Takes the drill's own work out of a Kestra that lives on. Returns a line for the person, "" when all went."""
        left = self._work.tidy() if self._work else 0
        text = f"{left} of the drill's own objects could not be removed; they are in the namespace {self._namespace}."
        return text if left else ""

    def _end_threads(self) -> None:
        if self._driver:
            self._driver.stop()
        if self._poller:
            self._poller.stop()
