# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a bucket is replicated: what both sides say, an object that goes the way, and every object of both compared."""
from __future__ import annotations

from datetime import timedelta

from ...core import clock
from ...core.errors import DrError
from ..drift import Tally
from ..listing import merged
from ..sampling import sampled
from . import failures, inventory, probe, replication
from .parallel import in_turn

# Objects that are not in the target as in the source are asked for whatever the sample, the first so many.
_ASKED_BEHIND = 1000
# What the server says of an object's replication. A replica came from elsewhere; nothing said: it never was to be replicated.
# Not counted: the object has been deleted or overwritten meanwhile.
_MOVED = "moved"
_SAID = {"COMPLETED": "completed", "COMPLETE": "completed", "PENDING": "pending", "FAILED": "failed", "REPLICA": "replica", None: "none"}


def prove(source, target, *, limit, percent=100, seed="", probing=True, retention_days=None, progress) -> dict:
    """Collects what replication.judge() judges, and its judgement: {source, target, rules, covering, lag, objects, status,
    problems, risks, verdict: "proved"|"not_proved"}.

    source, target: bucket.Bucket with the same prefix. limit: seconds until an object has to be there. percent, seed: of the
    objects whose status is asked for. probing: measure the lag. What fails at the target is a problem, at the source an error.
    """
    progress.phase("configuration")
    rules = source.replication()
    rules = None if rules is None else [replication.described(rule) for rule in rules.get("Rules") or ()]
    found = {
        "source": _about(source, retention_days), "target": None, "target_error": None, "target_bucket": target.place.bucket,
        "rules": rules, "own": source.own_replication, "covering": replication.covering(rules or (), source.place.prefix, target.place.bucket),
        "lag": None, "objects": None, "probe_left": None, "probing": probing}
    status = Statuses(source, percent, seed, _recent(found["source"]["server_time"], limit))
    try:
        found["target"] = _about(target, retention_days)
        if probing and (rules is None or found["covering"]):
            progress.phase("lag")
            lag = probe.measure(source, target, limit, found["source"]["server_time"])
            found["probe_left"] = lag.pop("left")
            found["lag"] = lag
        progress.phase("comparing")
        found["objects"] = _compared(source, target, found, status, progress.update)
    except DrError as exc:
        if (exc.detail.get("bucket"), exc.detail.get("endpoint")) != (target.place.bucket, target.place.shown):
            raise
        found.update(target_error=exc.message, objects=None)
        progress.phase("statuses")
        status.begin()
        for entry, said in in_turn(inventory.entries(source, found["source"]), lambda entry: (entry, status.ask(entry)),
                                   source.place.parallel):
            status.count(entry, said)
    found["status"] = status.counts
    problems, risks = replication.judge(found)
    for name in ("target_bucket", "target_error", "probe_left", "probing", "own"):
        del found[name]
    return dict(found, problems=problems, risks=risks, verdict="not_proved" if problems else "proved")


def _about(bucket, retention_days) -> dict:
    return dict(inventory.about(bucket, retention_days, settle=False), **bucket.place.facts())


def _recent(server_time, limit) -> str:
    """Objects that were written from then on may be under way."""
    return clock.utc_text(clock.parse_utc(server_time) - timedelta(seconds=limit))


class Statuses:
    """What the source says of the replication of objects: of a sample, and of those that are not in the target."""

    def __init__(self, source, percent, seed, recent):
        self._source, self._percent, self._seed, self._recent = source, percent, seed, recent
        self.begin()

    def begin(self) -> None:
        """Counts from nothing."""
        self.counts = dict.fromkeys(("asked", "late", *_SAID.values()), 0)

    def recent(self, entry) -> bool:
        """Whether an object may still be under way."""
        return entry.modified >= self._recent

    def ask(self, entry, whatever=False):
        """What the server says of an object, None when it is not asked, or never tells. whatever: asked also outside the sample."""
        if not self._source.marks_replicas or not (whatever or sampled(entry.path, self._percent, self._seed)):
            return None
        try:
            return _SAID.get(self._source.replicated(entry), "none")
        except DrError as exc:
            if exc.reason not in (failures.GONE, failures.CHANGED):
                raise
            return _MOVED

    def count(self, entry, said) -> None:
        """Counts what ask() said of an object."""
        if said not in (None, _MOVED):
            self.counts["asked"] += 1
            self.counts[said] += 1
            self.counts["late"] += said == "pending" and not self.recent(entry)


def _compared(source, target, found, status, on_progress) -> dict:
    """Every object of the source against the target: {compared, in_flight, missing, never_tried, differs, unexpected, examples}."""
    md5_tags = source.tags_tell and inventory.md5_tags(found["source"]) and inventory.md5_tags(found["target"])
    # Of an object that waits nothing is said where no rules are told either.
    settled = ("failed",) if found["own"] else ("failed", "none")
    counting, tally = inventory.Inventory(on_progress), Tally("missing", "differs", "unexpected")
    in_flight = never = behind = 0
    pairs = merged(counting.counted(inventory.entries(source, found["source"])), inventory.entries(target, found["target"]))

    def look(pair):
        one, two, kind, whatever = pair
        return one or two, kind, one and status.ask(one, whatever)

    def judged():
        nonlocal behind
        for one, two in pairs:
            kind = _kind(one, two, md5_tags)
            whatever = kind in ("missing", "differs") and behind < _ASKED_BEHIND
            behind += whatever
            yield one, two, kind, whatever

    for entry, kind, said in in_turn(judged(), look, source.place.parallel):
        status.count(entry, said)
        if said == _MOVED:
            continue
        if kind in ("missing", "differs") and said not in settled and status.recent(entry):
            in_flight += 1
        elif kind:
            tally.add(kind, entry.path)
            never += kind == "missing" and said == "none" and said in settled
    totals = counting.totals
    return {"compared": totals["objects"] + totals["markers"], "in_flight": in_flight, "never_tried": never, **tally.counts,
            "examples": tally.examples()}


def _kind(one, two, md5_tags):
    """How an object differs on the two sides, or None."""
    if two is None:
        return "missing"
    if one is None:
        return "unexpected"
    if one.md5 and two.md5:
        differs = one.md5 != two.md5
    else:
        differs = md5_tags and one.etag != two.etag
    return "differs" if differs or one.size != two.size else None
