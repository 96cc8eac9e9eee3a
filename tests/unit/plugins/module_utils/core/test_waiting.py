# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a job: running, done, failed, dead, or of an earlier run; and one line for a person."""
from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, waiting
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError

NOW = datetime(2026, 11, 23, 0, 15, tzinfo=timezone.utc)


def job(outcome=None, *, alive=False, phases=(), started=NOW, error=None, result=None):
    state = {
        "step": "dump",
        "pid": 7,
        "started": clock.utc_text(started),
        "finished": outcome and clock.utc_text(NOW),
        "outcome": outcome,
        "error": error,
        "result": result,
        "phases": {
            name: {"at": clock.utc_text(NOW + timedelta(seconds=n)), "facts": {}} for n, name in enumerate(phases)
        },
    }
    return {"state": state, "progress": {"phase": "copy"}, "alive": alive, "finished": bool(outcome)}


NOTHING = {"state": None, "progress": None, "alive": False, "finished": False}
AT_WORK = {"finished": False, "since": NOW - timedelta(seconds=5), "result": {"finished": False}}
STARTED_LATER = {"finished": False, "since": NOW + timedelta(seconds=5), "result": {"finished": False}}


def ended(**result):
    return {"finished": True, "since": NOW + timedelta(seconds=9), "result": result}


KILLED = ended(failed=True, cmd="x", data="", msg="Traceback: no json")


@pytest.mark.parametrize("state, results, until, expected", [
    (NOTHING, None, "finished", waiting.PENDING),
    (NOTHING, AT_WORK, "finished", waiting.PENDING),
    (NOTHING, ended(changed=True), "finished", waiting.REACHED),
    (job(alive=True), AT_WORK, "finished", waiting.RUNNING),
    (job(alive=True), None, "pinned", waiting.RUNNING),
    (job(alive=True, phases=["pinned"]), None, "pinned", waiting.REACHED),
    (job("ok", phases=["pinned"]), None, "pinned", waiting.REACHED),
    (job("ok"), None, "finished", waiting.REACHED),
    (job("ok"), ended(changed=True), "finished", waiting.REACHED),
    (job("ok"), STARTED_LATER, "finished", waiting.PENDING),
    (job("failed"), STARTED_LATER, "finished", waiting.PENDING),
    (job(), STARTED_LATER, "finished", waiting.PENDING),
    (job("failed"), ended(changed=False), "finished", waiting.REACHED),
])
def test_what_is_known_becomes_one_word(state, results, until, expected):
    assert waiting.judge(state, results, until) == expected


@pytest.mark.parametrize(
    "state, results, until, reason",
    [
        (job("failed", error={"msg": "no", "reason": "disk_full"}), None, "finished", "disk_full"),
        (job("failed", error={"msg": "no", "reason": "disk_full"}), AT_WORK, "pinned", "disk_full"),
        (job("ok"), None, "pinned", "phase_never_reached"),
        (job(), None, "finished", "job_died"),
        (job(), AT_WORK, "finished", "job_died"),
        (job(), KILLED, "finished", "job_died"),
        (NOTHING, KILLED, "finished", "step_failed"),
        (NOTHING, ended(failed=True, msg="missing argument"), "finished", "step_failed"),
        (NOTHING, ended(failed=True, msg="no", reason="tool_missing"), "pinned", "tool_missing"),
        (job("ok"), ended(failed=True, msg="no", reason="tool_missing"), "finished", "tool_missing"),
        (job("ok"), ended(failed=True, msg="missing argument"), "finished", "step_failed"),
        (job("ok"), KILLED, "finished", "step_failed"),
        (
            job("failed", phases=["pinned"], error={"msg": "old"}),
            ended(failed=True, msg="no", reason="new"),
            "pinned",
            "new",
        ),
    ],
)
def test_a_failure_is_told_and_never_taken_for_success(state, results, until, reason):
    with pytest.raises(DrError) as caught:
        waiting.judge(state, results, until)
    assert caught.value.reason == reason


@pytest.mark.parametrize("stderr, told", [
    ("Traceback:\n  File x\nOSError: [Errno 28] No space left on device\n", "No space left on device"),
    ("", "Traceback: no json"),
])
def test_a_module_without_an_answer_is_quoted_with_its_last_line(stderr, told):
    with pytest.raises(DrError) as caught:
        waiting.judge(NOTHING, ended(**KILLED["result"], stderr=stderr), "finished")
    assert told in caught.value.message and "File x" not in caught.value.message


def test_the_error_of_the_step_keeps_its_details():
    error = {"msg": "pg_dump failed Look.", "reason": "tool_failed", "hint": "Look.", "detail": {"rc": 1}}
    with pytest.raises(DrError) as caught:
        waiting.judge(job("failed", error=error), None, "finished")
    assert caught.value.to_result() == {
        "msg": "pg_dump failed Look.",
        "reason": "tool_failed",
        "hint": None,
        "detail": {"rc": 1},
    }


def test_the_phase_of_death_is_named():
    with pytest.raises(DrError) as caught:
        waiting.judge(job(phases=["pinned", "copy"]), None, "finished")
    assert "copy" in caught.value.message


def test_the_outcome_of_a_running_step():
    told = waiting.outcome(job(alive=True, phases=["pinned", "copy"]), AT_WORK, waiting.RUNNING)
    assert (told["finished"], told["reached"], told["phase"], sorted(told["phases"])) == (
        False,
        False,
        "copy",
        ["copy", "pinned"],
    )


def test_the_outcome_of_a_finished_step():
    told = waiting.outcome(job("ok", result={"x": 1}), None, waiting.REACHED)
    assert (told["finished"], told["reached"], told["result"]) == (True, True, {"x": 1})


def test_the_outcome_without_a_state_is_that_of_the_module():
    told = waiting.outcome(NOTHING, ended(changed=True), waiting.REACHED)
    assert (told["finished"], told["result"], told["phase"]) == (True, {"changed": True}, None)


def test_nothing_of_an_earlier_run_is_shown():
    told = waiting.outcome(job("ok", result={"x": 1}), STARTED_LATER, waiting.PENDING)
    assert told["result"] is None and told["phases"] == {} and told["progress"] is None


@pytest.mark.parametrize("content, finished", [
    ({"started": 1, "finished": 0, "ansible_job_id": "j1"}, False),
    ({"started": True, "finished": False, "ansible_job_id": "j1"}, False),
    ({"changed": True, "ansible_job_id": "j1"}, True), ({"failed": True, "msg": "no"}, True)])
def test_the_results_file_of_ansible(tmp_path, content, finished):
    (tmp_path / "f").write_text(json.dumps(content))
    os.utime(tmp_path / "f", (1000, 1000))
    read = waiting.read_results(tmp_path / "f")
    assert read["finished"] is finished and read["result"] == content
    assert read["since"] == datetime.fromtimestamp(1000, timezone.utc)


def test_a_results_file_that_is_not_there_or_half_written(tmp_path):
    assert waiting.read_results(tmp_path / "none") is None
    (tmp_path / "half").write_text('{"sta')
    assert waiting.read_results(tmp_path / "half") is None


@pytest.mark.parametrize(
    "number, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (3000 << 40, "3000.0 TiB"),
    ],
)
def test_sizes(number, text):
    assert waiting.human_bytes(number) == text


@pytest.mark.parametrize("seconds, text", [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min")])
def test_durations(seconds, text):
    assert waiting.human_seconds(seconds) == text


@pytest.mark.parametrize(
    "progress, text",
    [
        ({}, "running"),
        ({"phase": "pinned"}, "pinned"),
        (
            {
                "phase": "copy",
                "done": 1 << 20,
                "total": 4 << 20,
                "unit": "bytes",
                "rate": 1 << 19,
                "eta_seconds": 6.2,
                "message": None,
            },
            "copy: 1.0 MiB of 4.0 MiB (25 %), 512.0 KiB/s, about 6 s left",
        ),
        (
            {"phase": "count", "done": 3, "total": 12, "unit": "tables", "rate": 1.0, "eta_seconds": 9},
            "count: 3 of 12 tables (25 %), about 9 s left",
        ),
        ({"phase": "list", "done": 7, "unit": "files", "message": "storage"}, "list: 7 files, storage"),
        ({"phase": "copy", "done": 9, "total": 4, "unit": "bytes"}, "copy: 9 B of 4 B (100 %)"),
    ],
)
def test_the_line(progress, text):
    assert waiting.line(progress) == text


@pytest.mark.parametrize("elapsed, since, changed, expected", [
    (1, 0, True, True), (10, 4.9, False, False), (10, 5, False, True), (600, 29, False, False), (600, 30, False, True),
    (10**6, 59, False, False), (10**6, 60, False, True)])
def test_lines_get_rarer(elapsed, since, changed, expected):
    assert waiting.due(elapsed, since, changed) is expected
