# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which recovery points to keep. Pure.

The rules count as those of restic do (the newest of each of the last n days that have one), with two additions: the
newest verified point is always kept, and points known to be bad take no place from good ones. Points that hold no more
than a metadata archive and the configuration take no place from whole ones either: they are counted by themselves.
"""
from __future__ import annotations

from datetime import timedelta

from ..core.clock import parse_utc

RULES = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_within_days")
VERIFIED = "verified"
BAD = ("differs", "failed")
_SMALL = {"metadata", "config"}


def _day(moment):
    return moment.strftime("%Y-%m-%d")


def _week(moment):
    year, week, _weekday = moment.isocalendar()
    return f"{year}-W{week:02d}"


def _month(moment):
    return moment.strftime("%Y-%m")


_PERIODS = (("keep_daily", "daily", _day), ("keep_weekly", "weekly", _week), ("keep_monthly", "monthly", _month))


def plan(points, policy, now) -> dict:
    """What stays and what goes.

    points: [{"id", "created" (UTC text), "verdict", "components" (names)}]. policy: {rule: number}; 0 or None switches a rule off.
    now: aware datetime. Returns {"keep": {id: [reasons]}, "remove": [ids, oldest first], "warnings": [texts]}.
    While no point is verified nothing is removed; a policy without any rule removes nothing.
    """
    newest_first = sorted(points, key=lambda point: (point["created"], point["id"]), reverse=True)
    last_verified = next((point for point in newest_first if point["verdict"] == VERIFIED), None)
    rules = {rule: policy.get(rule) or 0 for rule in RULES}
    everything, warning = None, None
    if not any(rules.values()):
        everything, warning = "no rule given", "No retention rule is set, so nothing is removed."
    elif last_verified is None:
        everything = "nothing is verified"
        warning = ("No recovery point is verified, so nothing sealed is removed. "
                   "Verify one (recovery_point_verify, depth counts).")
    if everything:
        return {"keep": {point["id"]: [everything] for point in newest_first}, "remove": [],
                "warnings": [warning] if points else []}
    keep: dict = {}
    good = [point for point in newest_first if point["verdict"] not in BAD]
    for among in (good, newest_first):
        for kind in (True, False):
            for name, reasons in _apply([point for point in among if whole(point) is kind], rules, now).items():
                keep.setdefault(name, reasons)
    keep.setdefault(last_verified["id"], []).append("last verified")
    remove = [point["id"] for point in reversed(newest_first) if point["id"] not in keep]
    return {"keep": {point["id"]: keep[point["id"]] for point in newest_first if point["id"] in keep},
            "remove": remove, "warnings": []}


def whole(point) -> bool:
    """Whether it is more than an archive and a configuration; one that cannot be read may be."""
    components = set(point.get("components") or ())
    return not components or not components <= _SMALL


def _apply(newest_first, rules, now) -> dict:
    reasons: dict = {}
    moments = [(point["id"], parse_utc(point["created"])) for point in newest_first]
    for index, (name, _moment) in enumerate(moments[:rules["keep_last"]]):
        reasons.setdefault(name, []).append(f"last {index + 1} of {rules['keep_last']}")
    for rule, word, period_of in _PERIODS:
        seen: set = set()
        for name, moment in moments:
            period = period_of(moment)
            if period not in seen and len(seen) < rules[rule]:
                seen.add(period)
                reasons.setdefault(name, []).append(f"{word} {period}")
    if rules["keep_within_days"] and moments:
        # Counted from the newest point when the clock is ahead of it: a clock that jumped, or backups that stopped,
        # must not empty the vault.
        since = min(now, moments[0][1]) - timedelta(days=rules["keep_within_days"])
        for name, moment in moments:
            if moment >= since:
                reasons.setdefault(name, []).append(f"within {rules['keep_within_days']} days")
    return reasons
