# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_service with the manager "command": real processes, a real dead-man, and kill -9 of everything else."""
from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_dead_man as dead_man
from ansible_collections.kestra_community.dr.tests.integration.processes import processes
from lifecycle_harness import ModuleFailed, Toy, environment, module_process, run_module, until


@pytest.fixture
def toy(tmp_path):
    toy = Toy(tmp_path / "kestra home")
    # The path has a blank on purpose; commands are split into words, so it has to be quoted.
    toy.commands = {verb: f"'{tmp_path}/kestra home/ctl' {verb}" for verb in toy.commands}
    assert toy.ctl("start") == 0
    toy.state = tmp_path / "state"
    toy.instance_dir = toy.state / "kestra"
    toy.args = {"instance": "kestra", "state_dir": str(toy.state), "manager": "command", "commands": toy.commands,
                "run_id": "r1", "flow": "backup", "owner": "me@here", "timeout": 20,
                "management_url": f"http://127.0.0.1:{toy.port}", "log_file": str(toy.directory / "log")}
    yield toy
    record = toy.instance_dir / "lifecycle.json"
    if record.exists():
        record.unlink()  # the dead-man, if one lives, ends by itself
    (toy.directory / "no-start").write_text("")
    toy.ctl("stop")
    until(lambda: not toy.runs())


def call(toy, state, check=False, **more):
    return run_module("kestra_service", dict(toy.args, state=state, **more), check)


def record(toy):
    return json.loads((toy.instance_dir / "lifecycle.json").read_text())


def test_stop_and_start(toy):
    result = call(toy, "stopped")
    assert result["changed"] and not toy.runs() and result["dead_man"] == {"how": "process", "armed": True, "fired": None}
    assert result["found"]["active"] is True and record(toy)["safe_to_start"] is True
    assert not call(toy, "stopped")["changed"]
    result = call(toy, "started")
    assert result["changed"] and result["started"] and result["health"] == {"status": "UP", "error": None}
    assert toy.runs() and not (toy.instance_dir / "lifecycle.json").exists()
    until(lambda: not dead_man.alive(str(toy.instance_dir)), 10, "the end of the dead-man")
    assert not call(toy, "started")["changed"]


def test_a_kestra_found_down_is_left_down(toy):
    toy.ctl("stop")
    until(lambda: not toy.runs())
    call(toy, "stopped")
    assert call(toy, "started")["started"] is False
    assert not toy.runs()
    call(toy, "stopped")
    assert call(toy, "started", always=True)["started"] is True
    assert toy.runs()


def kill_all_but_the_dead_man(session):
    """kill -9 of every process of a session, as when a host's sshd, its children and the controller vanish."""
    for pid, process in processes().items():
        if process.session == session:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


DRIVER = """
import json, sys, time
from lifecycle_harness import run_module
for args in json.loads(sys.argv[1]):
    run_module("kestra_service", args)
    print(args["state"], flush=True)
time.sleep(600)
"""


def drive(toy, *calls):
    """A controller in a session of its own that calls the module and then does nothing any more. calls: options of each."""
    env = environment()
    env["PYTHONPATH"] = os.path.dirname(__file__) + os.pathsep + env["PYTHONPATH"]
    process = subprocess.Popen([sys.executable, "-c", DRIVER, json.dumps([dict(toy.args, **call) for call in calls])],
                               stdout=subprocess.PIPE, text=True, start_new_session=True, env=env)
    for call in calls:
        assert process.stdout.readline().strip() == call["state"]
    return process


def test_the_dead_man_starts_kestra_when_everything_else_is_killed(toy):
    controller = drive(toy, {"state": "stopped", "dead_man_seconds": 15})
    assert not toy.runs()
    kill_all_but_the_dead_man(controller.pid)
    controller.wait(10)
    assert not toy.runs()
    until(toy.runs, 60, "the start by the dead-man")
    until(lambda: record(toy)["dead_man_fired"]["outcome"] == "started", 10)
    # The late controller comes back, finds that out, and leaves everything in order.
    with pytest.raises(ModuleFailed) as caught:
        call(toy, "held", hold_reason="swap")
    assert caught.value.result["reason"] == "dead_man_fired"
    result = call(toy, "started")
    assert result["dead_man_fired"]["action"] == "start" and not result["started"] and toy.runs()
    assert toy.calls("start") == 2  # the one of the test, the one of the dead-man


def test_the_dead_man_never_starts_a_held_kestra(toy):
    controller = drive(toy, {"state": "stopped"}, {"state": "held", "hold_reason": "swapped, not verified"},
                       {"state": "renewed", "dead_man_seconds": 6})
    kill_all_but_the_dead_man(controller.pid)
    controller.wait(10)
    (toy.instance_dir / "HELD").unlink()  # it writes the reason itself when it is not there
    until(lambda: "dead_man_fired" in record(toy), 20, "the deadline")
    assert not toy.runs() and toy.calls("start") == 1
    assert "swapped, not verified" in (toy.instance_dir / "HELD").read_text()
    with pytest.raises(ModuleFailed) as caught:
        call(toy, "started", always=True)
    assert caught.value.result["reason"] == "held" and "swapped, not verified" in caught.value.result["msg"]
    with pytest.raises(ModuleFailed) as caught:
        call(toy, "stopped", run_id="r2")
    assert caught.value.result["reason"] == "locked" and "take_over=r1" in caught.value.result["msg"]
    call(toy, "stopped", run_id="r2", take_over="r1")
    assert call(toy, "released", run_id="r2")["dead_man"]["armed"]
    assert call(toy, "started", run_id="r2")["started"] and toy.runs()


# Where the kill falls is up to the machine; the full run takes many, the other a few.
DELAYS = [step / 10 for step in range(1, 21)] if os.environ.get("KESTRA_DR_TEST_FULL") == "1" else [0.3, 0.6, 1.0]


@pytest.mark.parametrize("delay", DELAYS)
def test_a_module_killed_at_any_moment_of_the_stop_ends_with_a_running_kestra(toy, delay):
    process = module_process("kestra_service", dict(toy.args, state="stopped", dead_man_seconds=2, timeout=4), start_new_session=True)
    time.sleep(delay)
    kill_all_but_the_dead_man(process.pid)
    process.communicate()
    # Nothing is stopped before the dead-man is alive, so one that was killed on its way there leaves a running Kestra.
    until(lambda: not dead_man.alive(str(toy.instance_dir)), 60, "the end of the dead-man")
    fired = record(toy).get("dead_man_fired", {}) if (toy.instance_dir / "lifecycle.json").exists() else {}
    assert fired.get("outcome", "started") == "started"
    assert toy.runs()
    time.sleep(1.0)
    assert toy.runs(), "it was taken for running while it was stopping"
    assert call(toy, "started")["status"]["running"]


def test_a_stop_that_fails_leaves_a_way_back(toy):
    stubborn = dict(toy.commands, stop="sh -c 'echo cannot reach the socket >&2; exit 1'")
    with pytest.raises(ModuleFailed) as caught:
        call(toy, "stopped", commands=stubborn)
    assert caught.value.result["reason"] == "stop_command_failed" and "cannot reach the socket" in caught.value.result["msg"]
    assert toy.runs() and dead_man.alive(str(toy.instance_dir))
    call(toy, "stopped")
    assert not toy.runs()
    call(toy, "started")
    assert toy.runs()


def test_a_start_that_fails_says_why_and_stays_armed(toy):
    call(toy, "stopped")
    (toy.directory / "no-start").write_text("")
    with pytest.raises(ModuleFailed) as caught:
        call(toy, "started")
    assert "no license" in caught.value.result["msg"] and dead_man.alive(str(toy.instance_dir))
    (toy.directory / "no-start").unlink()
    assert call(toy, "started")["started"]


def test_a_kestra_that_never_gets_healthy_is_an_error_with_its_log(toy):
    call(toy, "stopped")
    (toy.directory / "log").write_text("line one\nFlyway: checksum mismatch\n")
    with pytest.raises(ModuleFailed) as caught:
        call(toy, "started", timeout=2, management_url=f"http://127.0.0.1:{toy.port + 1}")
    result = caught.value.result
    assert result["reason"] == "start_timeout" and "checksum mismatch" in result["msg"]
    assert result["detail"]["log"][0] == "line one"


def test_two_runs_do_not_share_a_host(toy):
    call(toy, "stopped")
    for state in ("stopped", "started", "renewed"):
        with pytest.raises(ModuleFailed) as caught:
            call(toy, state, run_id="r2", owner="you@there")
        result = caught.value.result
        assert result["reason"] == "locked" and "r1" in result["msg"] and "me@here" in result["msg"]
    assert not toy.runs()


def test_check_mode_leaves_no_trace(toy):
    assert call(toy, "stopped", check=True)["changed"]
    assert toy.runs() and not toy.state.exists()


def test_query_names_problems(toy):
    until(lambda: call(toy, "query")["health"]["status"] == "UP", 30, "its health")
    result = call(toy, "query", commands=dict(toy.commands, stop="/nowhere/ctl stop"), termination_grace_period=300)
    assert "/nowhere/ctl" in result["problems"][0] and result["health"]["status"] == "UP" and not result["changed"]


def test_a_renewed_deadline_is_followed(toy):
    call(toy, "stopped")
    call(toy, "renewed", dead_man_seconds=1)
    until(toy.runs, 60, "the start by the dead-man")
    assert "dead-man" in call(toy, "started")["disturbed"]


def test_a_start_by_somebody_else_is_told(toy):
    call(toy, "stopped")
    toy.ctl("start")
    assert "somebody else" in call(toy, "started")["disturbed"]


def test_a_killed_dead_man_is_armed_again_by_the_next_call(toy):
    call(toy, "stopped")
    script = os.fsencode(toy.instance_dir / "dead_man.py")
    pids = [pid for pid, process in processes().items() if script in process.arguments]
    assert len(pids) == 1
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: not dead_man.alive(str(toy.instance_dir)), 5)
    assert call(toy, "query")["dead_man"]["armed"] is False
    assert call(toy, "renewed")["dead_man"]["armed"] is True
    call(toy, "started")
