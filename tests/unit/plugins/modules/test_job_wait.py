# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a step: the module looks and fails, its action plugin asks again and shows progress."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.kestra_community.dr.plugins.action import job_wait as action
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, lock
from ansible_collections.kestra_community.dr.plugins.modules import job_wait
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import kestra_runner

STEP = """
import os, signal, sys, time
sys.path[:0] = {path!r}
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ToolError
def body(progress):
{body}
jobs.Job({job_dir!r}, "dump", "f").run(body)
"""


@pytest.fixture
def step(tmp_path):
    """step(*statements) starts a job with this body; what still runs at the end of the test is ended."""
    running = []

    def begin(*statements, wait=True):
        body = "\n".join("    " + line for line in statements)
        running.append(subprocess.Popen(
            [sys.executable, "-c", STEP.format(path=sys.path, job_dir=str(tmp_path / "job"), body=body)],
            stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + 20
        while wait and jobs.read(tmp_path / "job")["state"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return running[-1]

    yield begin
    for child in running:
        child.kill()
        child.wait()


def ask(tmp_path, check=False, **more):
    return kestra_runner.run(job_wait, check=check, job_dir=str(tmp_path / "job"), **more)


def test_a_finished_step_gives_its_result(tmp_path, step):
    step("progress.phase('pinned', lsn='0/1')", "return {'component': {'bytes': 7}}")
    told = ask(tmp_path)
    assert told["finished"] is True and told["reached"] is True and told["changed"] is False
    assert told["result"] == {"component": {"bytes": 7}} and told["phase"] == "pinned"
    assert told["phases"]["pinned"]["facts"] == {"lsn": "0/1"}


def test_waiting_for_a_phase_ends_with_it(tmp_path, step):
    step("time.sleep(0.5)", "progress.phase('pinned')", "time.sleep(60)")
    told = ask(tmp_path, until="pinned", timeout=20)
    assert (told["reached"], told["finished"], told["phase"], told["result"]) == (True, False, "pinned", None)


def test_a_failed_step_fails_the_module_with_its_own_words(tmp_path, step):
    step("raise ToolError('pg_dump failed', reason='disk_full', hint='Free space.', detail={'rc': 1})").wait()
    told = ask(tmp_path)
    assert told["failed"] is True
    assert (told["msg"], told["reason"], told["detail"]) == ("pg_dump failed Free space.", "disk_full", {"rc": 1})


def test_a_killed_step_fails_the_module(tmp_path, step):
    step("progress.phase('copy')", "os.kill(os.getpid(), signal.SIGKILL)").wait()
    told = ask(tmp_path)
    assert told["failed"] is True and told["reason"] == "job_died" and "copy" in told["msg"]


def test_a_slice_ends_without_an_answer_and_without_failing(tmp_path, step):
    step("progress.phase('copy')", "progress.update(5, 10)", "time.sleep(60)")
    told = ask(tmp_path, slice=0.5)
    assert (told["reached"], told["finished"], told["phase"]) == (False, False, "copy")
    assert told["progress"]["phase"] == "copy"


def test_a_time_limit_leaves_the_step_running(tmp_path, step):
    child = step("progress.phase('copy')", "time.sleep(60)")
    told = ask(tmp_path, timeout=0.5)
    assert told["reason"] == "job_timeout" and told["detail"]["aborted"] is False
    assert child.poll() is None


def test_a_time_limit_may_end_the_step(tmp_path, step):
    child = step("progress.phase('copy')", "time.sleep(60)")
    told = ask(tmp_path, timeout=0.5, on_timeout="abort")
    assert told["reason"] == "job_timeout" and told["detail"]["aborted"] is True and "ended" in told["msg"]
    assert child.wait(10) != 0
    assert jobs.read(tmp_path / "job")["state"]["error"]["reason"] == "aborted"


def test_several_steps_are_waited_for_together(tmp_path, step):
    step("return {'n': 1}")
    asked = [{"name": "one", "job_dir": str(tmp_path / "job")}, {"name": "other", "job_dir": str(tmp_path / "other")}]
    told = kestra_runner.run(job_wait, jobs=asked, slice=0.5)
    assert told["reached"] is False and told["steps"]["other"] is None
    told = kestra_runner.run(job_wait, jobs=asked, timeout=0.5)
    assert told["reason"] == "job_timeout" and "other" in told["msg"] and str(tmp_path / "job ") not in told["msg"]
    (tmp_path / "job").rename(tmp_path / "other")
    step("return {'n': 2}")
    told = kestra_runner.run(job_wait, jobs=asked, timeout=20)
    assert told["reached"] is True and told["steps"] == {"one": {"n": 2}, "other": {"n": 1}}
    assert kestra_runner.run(job_wait)["failed"] and kestra_runner.run(job_wait, jobs=asked, job_dir="/x")["failed"]


def test_a_step_that_died_before_its_first_word_is_told_by_ansible(tmp_path):
    (tmp_path / "results").write_text(json.dumps({"failed": True, "msg": "missing required arguments: dest"}))
    told = ask(tmp_path, results_file=str(tmp_path / "results"))
    assert told["failed"] is True and "missing required arguments" in told["msg"]


def test_what_an_earlier_run_left_is_not_taken_for_the_present_one(tmp_path, step):
    step("return {'old': True}").wait()
    time.sleep(0.1)
    (tmp_path / "results").write_text(json.dumps({"started": 1, "finished": 0, "ansible_job_id": "j1"}))
    told = ask(tmp_path, results_file=str(tmp_path / "results"), slice=0.3)
    assert told["reached"] is False and told["result"] is None
    (tmp_path / "results").write_text(json.dumps({"changed": True, "old": True, "reattached": True}))
    assert ask(tmp_path, results_file=str(tmp_path / "results"))["result"] == {"old": True}


def test_the_lock_is_renewed_and_its_loss_told(tmp_path, step):
    path = str(tmp_path / "kestra" / "lock.json")
    lock.acquire(path, run_id="run-1", flow="backup", owner="ann", ttl=5)
    step("return {}").wait()
    ask(tmp_path, lock={"path": path, "run_id": "run-1", "ttl": 900})
    assert lock.read(path)["ttl"] == 900
    told = ask(tmp_path, lock={"path": path, "run_id": "run-2"})
    assert told["failed"] is True and told["reason"] == "lock_lost"


def test_check_mode_does_not_wait_for_what_was_never_started(tmp_path):
    told = ask(tmp_path, check=True)
    assert told["reached"] is False and "failed" not in told


class Action(action.ActionModule):
    """The action plugin with answers instead of a host."""

    def __init__(self, answers, **arguments):
        self._task = SimpleNamespace(
            args=arguments,
            check_mode=False,
            get_name=lambda: "Wait for the dump",
            async_val=0,
            diff=False,
            environment=None,
            delegate_to=None,
        )
        self._connection = SimpleNamespace(reset=lambda: None, _shell=SimpleNamespace(tmpdir=None))
        self.answers, self.asked = list(answers), []

    def _execute_module(self, module_name=None, module_args=None, task_vars=None):
        assert module_name == "kestra_community.dr.job_wait"
        self.asked.append(module_args)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by five seconds with each question; and the lines shown."""
    moved = SimpleNamespace(now=1000.0, lines=[], warnings=[])
    monkeypatch.setattr(action.ActionBase, "run", lambda self, tmp, task_vars: {})
    monkeypatch.setattr(action.time, "monotonic", lambda: moved.now)
    monkeypatch.setattr(action.time, "sleep", lambda seconds: setattr(moved, "now", moved.now + seconds))
    monkeypatch.setattr(
        action, "Display", lambda: SimpleNamespace(display=moved.lines.append, warning=moved.warnings.append)
    )
    ask_really = Action._execute_module

    def asking(self, **arguments):
        moved.now += 5
        return ask_really(self, **arguments)
    monkeypatch.setattr(Action, "_execute_module", asking)
    return moved


def running(phase="copy", done=1):
    return {"reached": False, "progress": {"phase": phase, "done": done << 20, "total": 100 << 20, "unit": "bytes"}}


def test_progress_is_shown_once_for_each_change(clock):
    plugin = Action(
        [running(done=1), running(done=1), running(done=2), {"reached": True, "result": {"x": 1}}], job_dir="/j"
    )
    assert plugin.run()["result"] == {"x": 1}
    assert clock.lines == ["  Wait for the dump: copy: 1.0 MiB of 100.0 MiB (1 %)",
                           "  Wait for the dump: copy: 2.0 MiB of 100.0 MiB (2 %)"]
    assert all(arguments["slice"] == 5.0 and "timeout" not in arguments for arguments in plugin.asked)


def test_a_long_run_is_not_flooded_but_a_phase_shows_at_once(clock):
    answers = [running(done=number % 90) for number in range(720)] + [running("index")] + [{"reached": True}]
    Action(answers, job_dir="/j").run()
    assert len(clock.lines) < 120
    assert "index" in clock.lines[-1]


def test_a_failure_is_the_answer(clock):
    plugin = Action([running(), {"failed": True, "msg": "no", "reason": "disk_full"}], job_dir="/j")
    assert plugin.run() == {"failed": True, "msg": "no", "reason": "disk_full"}


def test_the_limit_is_counted_here_and_told_when_it_has_passed(clock):
    answers = [running()] * 3 + [{"failed": True, "reason": "job_timeout"}]
    plugin = Action(answers, job_dir="/j", timeout="12", on_timeout="abort")
    assert plugin.run()["reason"] == "job_timeout"
    assert [arguments.get("slice") for arguments in plugin.asked] == [5.0, 5.0, 2.0, None]
    assert plugin.asked[-1] == {"job_dir": "/j", "on_timeout": "abort", "timeout": 0}


def test_a_step_that_ended_at_the_last_moment_is_no_time_out(clock):
    plugin = Action([running()] * 3 + [{"reached": True}], job_dir="/j", timeout=12)
    assert plugin.run() == {"reached": True}


def test_a_host_out_of_reach_for_a_while_is_asked_again(clock):
    plugin = Action(
        [AnsibleConnectionFailure("gone"), AnsibleConnectionFailure("gone"), {"reached": True}], job_dir="/j"
    )
    assert plugin.run()["reached"] is True
    assert len(clock.warnings) == 2


def test_a_host_out_of_reach_for_long_is_unreachable(clock):
    with pytest.raises(AnsibleConnectionFailure):
        Action([AnsibleConnectionFailure("gone")] * 100, job_dir="/j").run()
    assert clock.now - 1000 < 2 * action.PATIENCE


def test_check_mode_asks_once(clock):
    plugin = Action([{"reached": False}], job_dir="/j")
    plugin._task.check_mode = True
    assert plugin.run() == {"reached": False}


def test_the_options_reach_the_module(clock):
    plugin = Action(
        [{"reached": True}],
        job_dir="/j",
        until="pinned",
        results_file="/r",
        lock={"path": "/l", "run_id": "r"},
        slice=99,
    )
    plugin.run()
    assert plugin.asked == [{"job_dir": "/j", "until": "pinned", "results_file": "/r",
                             "lock": {"path": "/l", "run_id": "r"}, "slice": 5.0}]
