# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the history: the last verified point stays, and the rules keep what they say."""
from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import parse_utc, utc_text
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import retention

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
VERDICTS = ["verified", "unverified", "unverified (structure passed)", "differs", "failed"]


def point(age_hours, verdict="verified", name=None):
    return {
        "id": name or f"p{age_hours:06.1f}",
        "created": utc_text(NOW - timedelta(hours=age_hours)),
        "verdict": verdict,
    }


def history(chance):
    ages = sorted({round(chance.uniform(-24, 24 * 400), 1) for _n in range(chance.randint(0, 40))})
    return [point(age, chance.choice(VERDICTS)) for age in ages]


def random_policy(chance):
    return {rule: chance.choice([None, 0, 1, 2, 3, 7]) for rule in retention.RULES}


def test_for_random_histories_the_last_verified_is_never_removed():
    chance = random.Random(20261123)
    removed_something = 0
    for _round in range(1000):
        points, policy = history(chance), random_policy(chance)
        chance.shuffle(points)
        plan = retention.plan(points, policy, NOW)
        verified = sorted((item for item in points if item["verdict"] == "verified"), key=lambda item: item["created"])
        if verified:
            assert verified[-1]["id"] in plan["keep"]
        else:
            assert plan["remove"] == [] and (plan["warnings"] or not points)
        assert sorted(plan["remove"] + list(plan["keep"])) == sorted(item["id"] for item in points)
        assert all(plan["keep"].values())
        removed_something += bool(plan["remove"])
    assert removed_something > 300  # else the histories prove nothing


def test_pruning_again_removes_nothing_more():
    chance = random.Random(7)
    for _round in range(500):
        points, policy = history(chance), random_policy(chance)
        kept = retention.plan(points, policy, NOW)["keep"]
        again = retention.plan([item for item in points if item["id"] in kept], policy, NOW)
        assert again["remove"] == []


def test_a_bad_point_never_pushes_a_good_one_out():
    chance = random.Random(11)
    for _round in range(500):
        points, policy = history(chance), random_policy(chance)
        good = [item for item in points if item["verdict"] not in retention.BAD]
        if any(item["verdict"] == "verified" for item in points):
            with_bad = set(retention.plan(points, policy, NOW)["keep"])
            # within_days counts from the newest point, so the newest must be the same in both.
            if good and max(points, key=lambda item: item["created"]) in good:
                assert set(retention.plan(good, policy, NOW)["keep"]) <= with_bad


def test_the_newest_so_many():
    plan = retention.plan([point(n) for n in range(5)], {"keep_last": 2}, NOW)
    assert plan["remove"] == ["p0004.0", "p0003.0", "p0002.0"]
    assert plan["keep"]["p0001.0"] == ["last 2 of 2"]
    assert plan["keep"]["p0000.0"] == ["last 1 of 2", "last verified"]


def test_the_newest_of_each_day_and_days_without_one_do_not_count():
    points = [point(1), point(2), point(25), point(100), point(101), point(200)]
    assert list(retention.plan(points, {"keep_daily": 3}, NOW)["keep"]) == ["p0001.0", "p0025.0", "p0100.0"]


def test_weeks_are_iso_weeks_across_the_turn_of_the_year():
    def at(text):
        return {"id": text, "created": f"{text}T00:00:00Z", "verdict": "verified"}
    points = [at("2025-12-28"), at("2025-12-29"), at("2026-01-01"), at("2026-01-04"), at("2026-01-05")]
    plan = retention.plan(points, {"keep_weekly": 2}, NOW)
    assert plan["keep"] == {"2026-01-05": ["weekly 2026-W02", "last verified"], "2026-01-04": ["weekly 2026-W01"]}


def test_months():
    points = [point(24 * days) for days in (0, 1, 22, 23, 40, 75)]
    kept = retention.plan(points, {"keep_monthly": 3}, NOW)["keep"]
    assert [reasons[0] for reasons in kept.values()] == ["monthly 2026-11", "monthly 2026-10", "monthly 2026-09"]


def test_within_days_counts_from_the_newest_when_backups_stopped_or_the_clock_runs_ahead():
    points = [point(24 * days) for days in (100, 101, 108)]
    assert retention.plan(points, {"keep_within_days": 7}, NOW)["remove"] == ["p2592.0"]
    later = NOW + timedelta(days=3650)
    assert retention.plan(points, {"keep_within_days": 7}, later)["remove"] == ["p2592.0"]


def test_within_days_counts_from_now_when_the_newest_is_dated_ahead():
    points = [point(-24 * 30), point(1), point(24 * 20)]
    assert "p0001.0" in retention.plan(points, {"keep_within_days": 7}, NOW)["keep"]


def test_the_last_verified_stays_however_old():
    points = [point(1, "unverified"), point(2, "unverified"), point(9000, "verified"), point(9001, "verified")]
    plan = retention.plan(points, {"keep_last": 1}, NOW)
    assert plan["keep"]["p9000.0"] == ["last verified"] and plan["remove"] == ["p9001.0", "p0002.0"]


def test_passing_less_than_counts_is_not_verified():
    points = [point(1, "unverified (structure passed)"), point(2, "unverified (digest passed)")]
    plan = retention.plan(points, {"keep_last": 1}, NOW)
    assert plan["remove"] == [] and "verified" in plan["warnings"][0]


def test_bad_points_take_no_place():
    points = [point(1, "differs"), point(2, "failed"), point(3), point(4)]
    plan = retention.plan(points, {"keep_last": 2}, NOW)
    assert plan["remove"] == [] and set(plan["keep"]) == {item["id"] for item in points}


@pytest.mark.parametrize("policy", [{}, {"keep_last": 0}, dict.fromkeys(retention.RULES)])
def test_no_rule_removes_nothing_and_says_so(policy):
    plan = retention.plan([point(1), point(2)], policy, NOW)
    assert plan["remove"] == [] and plan["warnings"]


def test_no_points_no_plan_no_warning():
    assert retention.plan([], {"keep_last": 1}, NOW) == {"keep": {}, "remove": [], "warnings": []}


def test_two_in_one_moment_are_told_apart_by_id():
    points = [point(1, name="b"), point(1, name="a")]
    assert retention.plan(points, {"keep_last": 1}, NOW)["remove"] == ["a"]


def test_every_kept_daily_is_the_newest_of_its_day():
    chance = random.Random(13)
    for _round in range(300):
        points = [dict(item, verdict="verified") for item in history(chance)]
        if not points:
            continue
        count = chance.randint(1, 9)
        kept = retention.plan(points, {"keep_daily": count}, NOW)["keep"]
        days = {}
        for item in points:
            day = parse_utc(item["created"]).date()
            days[day] = max(days.get(day, item["created"]), item["created"])
        wanted = {days[day] for day in sorted(days, reverse=True)[:count]}
        assert {item["created"] for item in points if item["id"] in kept} == wanted


def test_archives_take_no_place_from_whole_points():
    whole = [dict(point(age), components={"database": {}, "storage": {}}) for age in (30, 20)]
    archives = [dict(point(age, "unverified"), components={"metadata": {}}) for age in (9, 6, 3)]
    plan = retention.plan(whole + archives, {"keep_last": 2}, NOW)
    assert plan["remove"] == [archives[0]["id"]]
    unreadable = dict(point(1, "failed"), components={})
    assert "last 1 of 2" in retention.plan([*whole, unreadable], {"keep_last": 2}, NOW)["keep"][unreadable["id"]]
