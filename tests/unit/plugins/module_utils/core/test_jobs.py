# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A detached step: one runner at a time, its result kept, its death noticed, its secrets not written."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs
from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import boot_id, process_alive, process_start
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, StateError, ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor

CHILD = """
import os, signal, sys, time
sys.path[:0] = {path!r}
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, proc
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def body(progress):
{body}
jobs.Job({job_dir!r}, "step", "same").run(body)
"""


def start(job_dir, *statements):
    body = "\n".join("    " + line for line in statements)
    return subprocess.Popen([sys.executable, "-c", CHILD.format(path=sys.path, job_dir=str(job_dir), body=body)],
                            stderr=subprocess.DEVNULL)


def until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def fail_if_run(progress):
    raise AssertionError("must not run again")


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def body(progress):
        progress.phase("one", fact=1)
        progress.update(5, 10)
        return {"x": 1}
    assert jobs.Job(None, "step", "f").run(body) == {"x": 1, "reattached": False}
    assert os.listdir(tmp_path) == []


def test_a_finished_step_is_not_done_again(tmp_path):
    job = jobs.Job(tmp_path / "job", "dump", "same")
    assert job.run(lambda progress: {"x": 1}) == {"x": 1, "reattached": False}
    assert jobs.Job(tmp_path / "job", "dump", "same").run(fail_if_run) == {"x": 1, "reattached": True}


def test_other_options_are_another_question(tmp_path):
    jobs.Job(tmp_path, "dump", "one").run(lambda progress: {"x": 1})
    assert jobs.Job(tmp_path, "dump", "two").run(lambda progress: {"x": 2})["x"] == 2


def test_a_failed_step_says_why_and_runs_again(tmp_path):
    def body(progress):
        raise ToolError("pg_dump failed", reason="tool_failed", hint="Look.", detail={"rc": 1})
    with pytest.raises(ToolError):
        jobs.Job(tmp_path, "dump", "same").run(body)
    state = jobs.read(tmp_path)["state"]
    assert state["outcome"] == "failed" and state["finished"]
    assert state["error"] == {
        "msg": "pg_dump failed Look.",
        "reason": "tool_failed",
        "hint": "Look.",
        "detail": {"rc": 1},
    }
    assert jobs.Job(tmp_path, "dump", "same").run(lambda progress: {"x": 1}) == {"x": 1, "reattached": False}


def test_an_unexpected_error_is_recorded_too(tmp_path):
    with pytest.raises(ZeroDivisionError):
        jobs.Job(tmp_path, "dump", "same").run(lambda progress: 1 / 0)
    assert jobs.read(tmp_path)["state"]["error"]["reason"] == "internal"


def test_phases_and_progress_are_there_to_read_while_it_runs(tmp_path):
    seen = {}

    def body(progress):
        progress.phase("copy", files=3)
        progress._written = None
        progress.update(50, 200, message="half of a half")
        seen.update(jobs.read(tmp_path))
        return {}
    jobs.Job(tmp_path, "dump", "same").run(body)
    assert seen["alive"] and not seen["finished"]
    assert seen["state"]["phases"]["copy"]["facts"] == {"files": 3}
    progress = seen["progress"]
    assert (progress["phase"], progress["done"], progress["total"], progress["message"]) == (
        "copy",
        50,
        200,
        "half of a half",
    )
    assert progress["rate"] > 0 and progress["eta_seconds"] == pytest.approx(150 / progress["rate"])


def test_progress_is_written_at_most_once_a_second(tmp_path):
    written = []
    progress = jobs.Progress(tmp_path)
    progress._write = lambda real=progress._write: (written.append(1), real())
    for done in range(10000):
        progress.update(done, 10000)
    assert 1 <= len(written) <= 3


@pytest.mark.parametrize("done, total, seconds, rate, left", [
    (0, 10, 5, None, None), (10, 20, 0, None, None), (10, 20, 5, 2, 5), (10, None, 5, 2, None), (30, 20, 5, 6, 0)])
def test_the_estimate(done, total, seconds, rate, left):
    assert jobs.estimate(done, total, seconds) == (rate, left)


def test_no_secret_reaches_the_files(tmp_path):
    redactor = Redactor("hunter22")

    def good(progress):
        progress.phase("login hunter22", url="http://x:hunter22@h")
        return {"x": "hunter22"}
    jobs.Job(tmp_path, "dump", "same", redactor).run(good)
    assert "hunter22" not in (tmp_path / "state.json").read_text()

    def bad(progress):
        raise ToolError("refused hunter22", detail={"stderr_tail": "hunter22"})
    with pytest.raises(ToolError):
        jobs.Job(tmp_path, "dump", "other", redactor).run(bad)
    assert "hunter22" not in (tmp_path / "state.json").read_text()


def test_the_directory_is_private(tmp_path):
    jobs.Job(tmp_path / "job", "dump", "same").run(lambda progress: {})
    assert os.stat(tmp_path / "job").st_mode & 0o077 == 0


@pytest.mark.parametrize("statements", [
    ["die()"],
    ["progress.phase('one')", "die()"],
    ["progress.phase('one')", "progress.update(1, 2)", "die()"],
    ["jobs.write_json = lambda *args, **rest: die()", "return {}"],
    ["jobs.Job._finish = lambda *args, **rest: die()", "return {}"],
])
def test_a_killed_step_is_seen_dead_and_runs_again(tmp_path, statements):
    assert start(tmp_path, *statements).wait() == -signal.SIGKILL
    job = jobs.read(tmp_path)
    assert not job["alive"] and not job["finished"]
    assert jobs.Job(tmp_path, "step", "same").run(lambda progress: {"x": 1}) == {"x": 1, "reattached": False}


def test_killed_before_its_first_line_is_as_if_never_started(tmp_path):
    assert jobs.read(tmp_path) == {"state": None, "progress": None, "alive": False, "finished": False}
    assert jobs.Job(tmp_path, "step", "same").run(lambda progress: {"x": 1})["x"] == 1


def test_a_running_step_is_waited_for_and_its_result_taken(tmp_path):
    child = start(tmp_path, "progress.phase('on')", "time.sleep(1)", "return {'x': 7}")
    until(lambda: jobs.read(tmp_path)["alive"])
    assert jobs.Job(tmp_path, "step", "same").run(fail_if_run) == {"x": 7, "reattached": True}
    assert child.wait() == 0


def test_a_running_step_that_fails_fails_for_the_waiting_one_too(tmp_path):
    child = start(tmp_path, "progress.phase('on')", "time.sleep(1)", "raise DrError('broken', reason='odd')")
    until(lambda: jobs.read(tmp_path)["alive"])
    with pytest.raises(DrError) as caught:
        jobs.Job(tmp_path, "step", "same").run(fail_if_run)
    assert (caught.value.reason, caught.value.message) == ("odd", "broken")
    child.wait()


def test_a_running_step_that_is_killed_is_run_again_by_the_waiting_one(tmp_path):
    child = start(tmp_path, "progress.phase('on')", "time.sleep(1)", "die()")
    until(lambda: jobs.read(tmp_path)["alive"])
    assert jobs.Job(tmp_path, "step", "same").run(lambda progress: {"x": 1}) == {"x": 1, "reattached": False}
    child.wait()


def test_another_question_does_not_wait_behind_a_running_step(tmp_path):
    child = start(tmp_path, "progress.phase('on')", "time.sleep(30)")
    try:
        until(lambda: jobs.read(tmp_path)["alive"])
        with pytest.raises(StateError) as caught:
            jobs.Job(tmp_path, "step", "other").run(fail_if_run)
        assert caught.value.reason == "job_busy" and caught.value.detail["pid"] == child.pid
    finally:
        child.kill()
        child.wait()


def test_abort_lets_the_step_clean_up(tmp_path):
    mark = tmp_path / "cleaned"
    child = start(tmp_path / "job", "try:", "    progress.phase('on')", "    proc.run(['sleep', '60'])", "finally:",
                  f"    open({str(mark)!r}, 'w').close()")
    until(lambda: (jobs.read(tmp_path / "job")["state"] or {}).get("phases"))
    assert jobs.abort(tmp_path / "job") is True
    child.wait()
    assert mark.exists()
    assert jobs.read(tmp_path / "job")["state"]["error"]["reason"] == "aborted"
    assert jobs.abort(tmp_path / "job") is False


def test_abort_kills_what_will_not_go_and_what_it_started(tmp_path):
    note = tmp_path / "note"
    child = start(tmp_path / "job", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "import subprocess",
                  "below = subprocess.Popen(['sleep', '60'])", f"open({str(note)!r}, 'w').write(str(below.pid))",
                  "progress.phase('on')", "time.sleep(60)")
    until(lambda: (jobs.read(tmp_path / "job")["state"] or {}).get("phases"))
    below = int(note.read_text())
    started = process_start(below)
    assert process_alive(below, started, boot_id())
    assert jobs.abort(tmp_path / "job", grace=0.3) is True
    assert child.wait() == -signal.SIGKILL
    until(lambda: not process_alive(below, started, boot_id()))


def test_abort_does_not_touch_a_stranger_with_the_same_pid(tmp_path):
    stranger = subprocess.Popen(["sleep", "60"])
    time.sleep(0.1)  # start times are told apart by clock ticks of 10 ms
    try:
        child = start(tmp_path, "die()")
        child.wait()
        state = json.loads((tmp_path / "state.json").read_text())
        state["pid"] = stranger.pid
        (tmp_path / "state.json").write_text(json.dumps(state))
        assert jobs.abort(tmp_path) is False
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("left", [b"", b"{"])
def test_a_progress_file_that_a_power_failure_left_empty_stops_nobody(tmp_path, left):
    start(tmp_path, "progress.phase('copy')", "die()").wait()
    assert jobs.read(tmp_path)["progress"]["phase"] == "copy"
    (tmp_path / "progress.json").write_bytes(left)
    job = jobs.read(tmp_path)
    assert job["progress"] is None and job["state"]["step"] == "step" and job["alive"] is False
    assert jobs.abort(tmp_path) is False


def test_the_fingerprint_tells_options_apart_and_nothing_else():
    assert jobs.fingerprint_of({"a": 1, "b": 2}) == jobs.fingerprint_of({"b": 2, "a": 1})
    assert jobs.fingerprint_of({"a": 1}) != jobs.fingerprint_of({"a": "1"})
