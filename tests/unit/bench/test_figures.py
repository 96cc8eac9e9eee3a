# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/bench makes of its measurements, and the form of its command line."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "scripts" / "lib")]

from benchmark import command, figures  # noqa: E402


@pytest.mark.parametrize("plain, met", [(17.0, True), (16.9, False)])
def test_speed_is_how_many_times_faster_by_medians(plain, met):
    found = figures.speed("dump", "mixed", [10.0, 99.0, 1.0], [plain, 1.0, 500.0], 1.7)
    assert found.ratio == pytest.approx(plain / 10)
    assert found.met is met


def test_a_figure_without_goal_is_neither_met_nor_missed():
    found = figures.speed("dump", "kestra", [10.0], [1.0])
    assert found.met is None and figures.verdict(found) == "" and found.goal == ""


@pytest.mark.parametrize("took, met", [(120.0, True), (120.1, False), (30.0, True)])
def test_a_whole_backup_may_take_a_twentieth_and_fifteen_seconds_more(took, met):
    found = figures.whole_backup("pinned", [took], [100.0])
    assert found.met is met
    assert found.as_dict()["over_seconds"] == pytest.approx(took - 105)


@pytest.mark.parametrize("mode, full, met", [("pinned", 5.0, True), ("pinned", 5.1, False), ("offline", 50.0, None)])
def test_only_the_downtime_of_pinned_must_not_grow(mode, full, met):
    assert figures.downtime(mode, [4.0], [full], (100, 300)).met is met


@pytest.mark.parametrize("large, decisive, met", [(55.0, True, True), (56.0, True, False), (56.0, False, None)])
def test_memory_is_judged_at_the_size_of_its_goal_only(large, decisive, met):
    found = figures.memory("postgresql_dump", 50.0, large, (100, 2048), decisive)
    assert found.met is met
    assert ("not run" in found.goal) is not decisive


@pytest.mark.parametrize("took, met", [(3.0, True), (3.1, False)])
def test_a_snapshot_may_take_two_seconds_more_than_the_call(took, met):
    found = figures.over("dump", "first", [took], [1.0], 2.0)
    assert found.met is met and found.ratio == pytest.approx(took)


@pytest.mark.parametrize("backend, only, big", [
    ("postgresql", ["dump", "memory"], True), ("mysql", ["dump", "memory"], True), ("elasticsearch", ["dump"], False)])
def test_what_a_backend_is_measured_for(backend, only, big):
    found = command.parse(["--backend", backend, "--only", "dump,memory", "--big"])
    # The laboratory asks for the last two.
    assert (found.only, found.big, found.engine, found.storage) == (only, big, backend, None)


def test_nothing_sent_gives_no_ratio():
    assert figures.share("restic", "sent", [1.0], [0.0], "MB").ratio is None


def test_the_table_names_sections_goals_and_verdicts():
    lines = figures.table([figures.speed("dump", "mixed", [10.0], [16.0], 1.7),
                           figures.downtime("pinned", [4.0], [4.5], (100, 300))])
    text = "\n".join(lines)
    assert "plain / ours 1.60" in text and "NOT MET" in text and ">= 1.7" in text
    assert [line.split() for line in lines if line.startswith("downtime")] == [["downtime", "large", "small"]]
    assert lines[-1].endswith("met") and "growth +0.5 s" in lines[-1]


@pytest.mark.parametrize("arguments, said", [
    (["--only", "dump,speed"], "--only cannot be dump,speed"),
    (["--only=dump,"], "--only cannot be dump,"),
    (["--size-mb", "0"], "--size-mb cannot be 0"),
    (["--repeat"], "--repeat needs a value"),
    (["--json", "/nowhere/at/all.json"], "/nowhere/at is not a directory"),
    (["quick"], "unknown argument: quick"),
    (["--storage", "gcs"], "--storage cannot be gcs"),
    (["--objects=none"], "--objects cannot be none"),
])
def test_a_wrong_command_line_is_refused_before_any_set_up(arguments, said):
    done = subprocess.run(["bash", str(ROOT / "tests" / "bench" / "run"), *arguments], capture_output=True, text=True,
                          timeout=20, check=False, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    assert done.returncode == 64
    assert said in done.stderr
