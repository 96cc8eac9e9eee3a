# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks add up to a verdict, and only what says something about the point may fail one."""
from __future__ import annotations

import random

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError, ConnectError, IntegrityError, LockedError, RefusedError, StateError, ToolError)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import checks

DEPTHS = ["digest", "structure", "counts"]


def raising(error):
    def work():
        raise error
    return work


def test_equal_is_a_pass_and_anything_else_is_not():
    done = checks.Checks()
    assert done.run("digest", "a: same", lambda: ({"n": 1}, {"n": 1})) is True
    assert done.run("digest", "b: other", lambda: (1, 2)) is False
    assert [(item["verdict"], item["expected"], item["found"], item["reason"]) for item in done.done] == [
        ("pass", {"n": 1}, {"n": 1}, None), ("fail", 1, 2, None)]
    assert done.passed("a:") and not done.passed("b:") and not done.passed()


@pytest.mark.parametrize("error", [
    IntegrityError("cut", reason="repository_damaged"), ToolError("pg_restore failed"),
    StateError("gone", reason="snapshot_missing"), StateError("gone", reason="path_missing")])
def test_what_cannot_be_read_fails_with_its_reason(error):
    done = checks.Checks()
    assert done.run("digest", "x", raising(error)) is False
    assert done.done[0]["reason"] == error.reason and done.done[0]["found"] == error.message
    assert checks.conclude(done.done)["outcome"] == "failed"


@pytest.mark.parametrize("error", [
    ConnectError("no"), ConfigError("no"), LockedError("no"), RefusedError("no"), StateError("no"),
    ToolError("no", reason="tool_missing"), ToolError("no", reason="disk_full"), ToolError("no", reason="interrupted"),
    ToolError("no", reason="tool_timeout"), KeyboardInterrupt()])
def test_what_says_nothing_about_the_point_is_no_check(error):
    done = checks.Checks()
    with pytest.raises(type(error)):
        done.run("digest", "x", raising(error))
    assert done.done == []


def entry(depth, verdict="pass", reason=None):
    return {"name": "x", "depth": depth, "verdict": verdict, "reason": reason}


@pytest.mark.parametrize("done, outcome, depth, verdict", [
    ([entry("digest")], "pass", "digest", "unverified (digest passed)"),
    ([entry("digest"), entry("structure")], "pass", "structure", "unverified (structure passed)"),
    ([entry("digest"), entry("structure"), entry("counts")], "pass", "counts", "verified"),
    ([entry("digest"), entry("structure", "fail")], "differs", "structure", "differs"),
    ([entry("digest", "fail"), entry("counts", "fail", "x")], "failed", "digest", "failed")])
def test_the_conclusion(done, outcome, depth, verdict):
    assert checks.conclude(done) == {"outcome": outcome, "depth": depth, "verdict": verdict}


def test_verified_needs_every_check_and_one_of_counts():
    chance = random.Random(20261123)
    for _round in range(2000):
        done = [
            entry(chance.choice(DEPTHS), chance.choice(["pass", "pass", "pass", "fail"]), chance.choice([None, "x"]))
            for _n in range(chance.randint(1, 6))
        ]
        verdict = checks.conclude(done)["verdict"]
        proved = all(item["verdict"] == "pass" for item in done) and any(item["depth"] == "counts" for item in done)
        assert (verdict == "verified") is proved


@pytest.mark.parametrize("verdict, depth, line", [
    ("verified", "counts", "verified (counts)"), ("differs", "structure", "differs (structure)"),
    ("unverified (digest passed)", "digest", "unverified (digest passed)")])
def test_the_line_for_people(verdict, depth, line):
    assert checks.line({"verdict": verdict, "depth": depth}) == line
