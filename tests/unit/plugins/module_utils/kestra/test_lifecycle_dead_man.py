# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead-man acts once, at the deadline, and never starts Kestra when that is not known to be safe."""
from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_dead_man as dead_man

PROGRAM = os.path.realpath(dead_man.__file__)


def make_record(tmp_path, seconds=0.0, **changes):
    """A record whose commands start and ask a "Kestra" that is one file."""
    mark = tmp_path / "kestra-runs"
    record = {
        "schema": 1, "instance": "kestra", "run_id": "r1", "flow": "backup", "owner": "me@here", "phase": "stopped",
        "found": {"active": True}, "safe_to_start": True, "reason": None, "stop_patience": 0,
        "deadline": dead_man.utc_text(time.time() + seconds), "boot_id": dead_man.boot_id(),
        "deadline_since_boot": dead_man.boot_seconds() + seconds,
        "commands": {"start": ["touch", str(mark)], "status": ["test", "-e", str(mark)]}}
    record.update(changes)
    dead_man.save(str(tmp_path), record)
    return record, mark


def launch(tmp_path, **options):
    return subprocess.Popen([sys.executable, "-I", PROGRAM, str(tmp_path)], stderr=subprocess.PIPE, text=True, **options)


def wait_alive(tmp_path):
    end = time.monotonic() + 10
    while not dead_man.alive(str(tmp_path)):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_program_needs_nothing_but_the_standard_library():
    with open(PROGRAM, encoding="utf-8") as handle:
        tree = ast.parse(handle.read())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module)
    assert names <= set(sys.stdlib_module_names)


def test_it_compiles_for_python_3_9():
    with open(PROGRAM, encoding="utf-8") as handle:
        ast.parse(handle.read(), feature_version=(3, 9))


@pytest.mark.parametrize("record, now, since_boot, boot, expected", [
    # the same boot: a wall clock that jumped by a day changes nothing
    ({"deadline": "1970-01-01T00:10:00.000000Z", "boot_id": "a", "deadline_since_boot": 700.0}, 86400.0, 100.0, "a", 600.0),
    # after a reboot only the wall clock is left
    ({"deadline": "1970-01-01T00:10:00.000000Z", "boot_id": "a", "deadline_since_boot": 700.0}, 500.0, 3.0, "b", 100.0),
    ({"deadline": "1970-01-01T00:10:00.000000Z"}, 700.0, 3.0, "b", -100.0),
])
def test_seconds_left(record, now, since_boot, boot, expected):
    assert dead_man.seconds_left(record, now, since_boot, boot) == pytest.approx(expected)


@pytest.mark.parametrize("safe, active, expected", [
    (True, True, "start"), (True, False, "nothing"), (False, True, "hold"), (False, False, "hold"),
    (None, True, "hold"), ("yes", True, "hold")])
def test_only_a_plain_true_makes_a_start_safe(safe, active, expected):
    assert dead_man.decide({"safe_to_start": safe, "found": {"active": active}}) == expected


def test_it_starts_kestra_at_the_deadline_and_records_it(tmp_path):
    _record, mark = make_record(tmp_path, seconds=0.6)
    process = launch(tmp_path)
    wait_alive(tmp_path)
    assert not mark.exists()
    assert process.wait(10) == 0
    assert mark.exists()
    fired = dead_man.load(str(tmp_path))["dead_man_fired"]
    assert (fired["action"], fired["outcome"], fired["attempts"]) == ("start", "started", 1)
    assert not (tmp_path / "HELD").exists()


@pytest.mark.parametrize("safe", [False, None])
def test_it_leaves_kestra_down_when_a_start_is_not_safe(tmp_path, safe):
    _record, mark = make_record(tmp_path, safe_to_start=safe, reason="the restored database differs")
    assert launch(tmp_path).wait(10) == 0
    assert not mark.exists()
    held = (tmp_path / "HELD").read_text()
    assert "the restored database differs" in held and "r1" in held and "state=released" in held
    assert dead_man.load(str(tmp_path))["dead_man_fired"]["outcome"] == "held"


def test_a_reason_that_is_already_there_is_kept(tmp_path):
    make_record(tmp_path, safe_to_start=False, reason="second")
    (tmp_path / "HELD").write_text("first\n")
    assert launch(tmp_path).wait(10) == 0
    assert (tmp_path / "HELD").read_text() == "first\n"


def test_a_kestra_that_was_found_down_is_left_down(tmp_path):
    _record, mark = make_record(tmp_path, found={"active": False})
    assert launch(tmp_path).wait(10) == 0
    assert not mark.exists()
    assert dead_man.load(str(tmp_path))["dead_man_fired"]["outcome"] == "nothing"


def test_it_ends_when_the_record_goes(tmp_path):
    _record, mark = make_record(tmp_path, seconds=600)
    process = launch(tmp_path)
    wait_alive(tmp_path)
    with dead_man.locked(str(tmp_path / dead_man.STATE_LOCK)):
        os.unlink(tmp_path / dead_man.RECORD)
    assert process.wait(10) == 0
    assert not mark.exists()


def test_a_later_deadline_is_followed(tmp_path):
    record, mark = make_record(tmp_path, seconds=1.0)
    process = launch(tmp_path)
    wait_alive(tmp_path)
    with dead_man.locked(str(tmp_path / dead_man.STATE_LOCK)):
        record.update(deadline=dead_man.utc_text(time.time() + 600), deadline_since_boot=dead_man.boot_seconds() + 600)
        dead_man.save(str(tmp_path), record)
    time.sleep(2.5)
    assert process.poll() is None and not mark.exists()
    process.terminate()
    process.wait(10)


def test_a_record_that_cannot_be_read_never_starts_kestra(tmp_path):
    (tmp_path / dead_man.RECORD).write_text("{half")
    assert launch(tmp_path).wait(10) == 0
    assert "cannot be read" in (tmp_path / "HELD").read_text()


def test_it_does_not_act_twice(tmp_path):
    _record, mark = make_record(tmp_path, dead_man_fired={"action": "start", "outcome": "started", "attempts": 1})
    assert launch(tmp_path).wait(10) == 0
    assert not mark.exists()


def test_a_dead_man_killed_in_the_middle_of_its_start_tries_again(tmp_path):
    _record, mark = make_record(tmp_path, dead_man_fired={"at": "x", "action": "start", "outcome": "starting", "attempts": 1})
    assert launch(tmp_path).wait(10) == 0
    assert mark.exists()
    assert dead_man.load(str(tmp_path))["dead_man_fired"]["attempts"] == 2


def test_a_second_one_waits_behind_the_first_and_takes_over_when_it_is_killed(tmp_path):
    _record, mark = make_record(tmp_path, seconds=3.0)
    first = launch(tmp_path)
    wait_alive(tmp_path)
    second = launch(tmp_path)
    time.sleep(0.5)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert second.wait(20) == 0
    assert mark.exists()
    assert dead_man.load(str(tmp_path))["dead_man_fired"]["attempts"] == 1


def test_failed_starts_are_repeated_and_the_last_word_is_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(dead_man, "ATTEMPTS", 3)
    monkeypatch.setattr(dead_man, "PAUSE", 0.01)
    counter = tmp_path / "calls"
    make_record(tmp_path, commands={"start": ["sh", "-c", f"echo x >> {counter}; echo no license >&2; exit 7"],
                                    "status": ["false"]})
    assert dead_man.watch(str(tmp_path)) == 1
    assert counter.read_text().count("x") == 3
    fired = dead_man.load(str(tmp_path))["dead_man_fired"]
    assert fired["outcome"] == "failed" and "no license" in fired["detail"] and "7" in fired["detail"]


def test_a_server_still_stopping_is_not_taken_for_a_running_one(tmp_path):
    # "running" for half a second more, as a server that ends its tasks; a start then brings it up for good
    mark, old = tmp_path / "kestra-runs", tmp_path / "old"
    old.write_text("")
    subprocess.Popen(["sh", "-c", f"sleep 1.5; rm {old}"])
    make_record(tmp_path, phase="stopping", stop_patience=30,
                commands={"start": ["touch", str(mark)], "status": ["sh", "-c", f"test -e {mark} || test -e {old}"]})
    assert dead_man.watch(str(tmp_path)) == 0
    assert mark.exists() and not old.exists()


def test_a_server_that_was_never_stopped_is_left_running(tmp_path):
    record, _mark = make_record(tmp_path, commands={"start": ["false"], "status": ["true"]})
    assert dead_man.start_kestra(record) == ("started", "Kestra was running already.")


def test_a_full_disk_does_not_keep_kestra_down(tmp_path, monkeypatch, capsys):
    _record, mark = make_record(tmp_path)

    def full(directory, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dead_man, "save", full)
    assert dead_man.watch(str(tmp_path)) == 0
    assert mark.exists()
    assert "No space left" in capsys.readouterr().err


def test_a_start_command_that_leaves_a_server_behind_does_not_hang(tmp_path):
    begun = time.monotonic()
    rc, output = dead_man.command(["sh", "-c", "echo up; sleep 20 &"], 10)
    assert (rc, output) == (0, "up")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("argv, rc", [(["/nowhere/at-all"], 127), (["/etc/passwd"], 126), (["sh", "-c", "exit 3"], 3)])
def test_exit_codes_of_commands(argv, rc):
    assert dead_man.command(argv, 10)[0] == rc


def test_a_command_over_its_time_is_ended():
    assert dead_man.command(["sleep", "30"], 0.2)[0] == 124


def test_nothing_is_followed_without_a_directory(tmp_path):
    assert dead_man.main(["dead_man.py", str(tmp_path / "missing")]) == 2


def test_the_record_is_private(tmp_path):
    make_record(tmp_path)
    assert (tmp_path / dead_man.RECORD).stat().st_mode & 0o777 == 0o600
    json.loads((tmp_path / dead_man.RECORD).read_text())
