# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead-man is copied whole, comes to life before anything is stopped, and its unit survives a reboot."""
from __future__ import annotations

import os
import subprocess
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.proc import Completed
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_arming as arming
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_dead_man as dead_man


def write_record(directory, seconds, mark):
    dead_man.save(str(directory), {
        "instance": "kestra", "run_id": "r1", "flow": "backup", "owner": "o", "found": {"active": True}, "safe_to_start": True,
        "deadline": dead_man.utc_text(time.time() + seconds), "boot_id": dead_man.boot_id(),
        "deadline_since_boot": dead_man.boot_seconds() + seconds,
        "commands": {"start": ["touch", str(mark)], "status": ["test", "-e", str(mark)]}})


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_program_is_the_whole_file():
    with open(dead_man.__file__, encoding="utf-8") as handle:
        assert arming.program_text() == handle.read()


def test_a_process_is_armed_alive_and_ends_with_the_record(tmp_path):
    write_record(tmp_path, 600, tmp_path / "mark")
    keeper = arming.ProcessDeadMan(str(tmp_path), "kestra")
    keeper.arm()
    assert dead_man.alive(str(tmp_path))
    log = tmp_path / dead_man.LOG
    assert log.stat().st_mode & 0o777 == 0o600
    keeper.arm()  # one is enough
    os.unlink(tmp_path / dead_man.RECORD)
    until(lambda: not dead_man.alive(str(tmp_path)))
    assert not (tmp_path / "mark").exists()


def test_the_process_acts_at_the_deadline(tmp_path):
    write_record(tmp_path, 0.3, tmp_path / "mark")
    arming.ProcessDeadMan(str(tmp_path), "kestra").arm()
    until((tmp_path / "mark").exists)


def test_a_process_that_does_not_come_to_life_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(arming, "_ALIVE_WITHIN", 0.3)
    write_record(tmp_path, 600, tmp_path / "mark")
    with pytest.raises(StateError) as caught:
        arming.ProcessDeadMan(str(tmp_path), "kestra", python="/bin/false").arm()
    assert caught.value.reason == "dead_man_not_armed"


def test_the_environment_of_the_play_stays_out(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTIC_PASSWORD", "s3cret")
    seen = []
    real = subprocess.Popen
    monkeypatch.setattr(arming.subprocess, "Popen", lambda argv, **more: (seen.append(more["env"]), real(argv, **more))[1])
    write_record(tmp_path, 600, tmp_path / "mark")
    arming.ProcessDeadMan(str(tmp_path), "kestra").arm()
    os.unlink(tmp_path / dead_man.RECORD)
    assert "RESTIC_PASSWORD" not in seen[0]


class Systemctl:
    """Plays the systemd that runs the unit: restart brings a real dead-man to life."""

    def __init__(self, directory):
        self.directory = directory
        self.calls = []

    def __call__(self, argv, timeout=None):
        self.calls.append(argv[1:])
        if argv[1] == "restart":
            arming.ProcessDeadMan.arm(arming.ProcessDeadMan(self.directory, "kestra"))
        return Completed(0, "", "", 0.0)


def test_the_unit_is_persistent_and_removed_again(tmp_path):
    state, units = tmp_path / "state dir 100%", tmp_path / "units"
    state.mkdir()
    units.mkdir()
    write_record(state, 600, tmp_path / "mark")
    run = Systemctl(str(state))
    keeper = arming.UnitDeadMan(str(state), "kestra", python="/usr/bin/python3", unit_dir=str(units), run=run)
    keeper.arm()
    unit = units / "kestra-dr-dead-man-kestra.service"
    text = unit.read_text()
    assert f'ExecStart="/usr/bin/python3" -I "{tmp_path}/state dir 100%%/dead_man.py" "{tmp_path}/state dir 100%%"' in text
    assert "Restart=on-failure" in text and "WantedBy=multi-user.target" in text and "KillMode=process" in text
    assert run.calls == [["daemon-reload"], ["enable", unit.name], ["restart", unit.name]]
    keeper.arm()
    assert len(run.calls) == 3
    os.unlink(state / dead_man.RECORD)
    keeper.disarm()
    assert run.calls[3:] == [["disable", "--now", unit.name], ["daemon-reload"]] and not unit.exists()
    keeper.disarm()
    assert len(run.calls) == 5


def test_a_unit_left_by_a_killed_run_is_armed_anew(tmp_path):
    write_record(tmp_path, 600, tmp_path / "mark")
    unit = tmp_path / "kestra-dr-dead-man-kestra.service"
    unit.write_text("old")
    run = Systemctl(str(tmp_path))
    arming.UnitDeadMan(str(tmp_path), "kestra", unit_dir=str(tmp_path), run=run).arm()
    assert "ExecStart" in unit.read_text() and ["restart", unit.name] in run.calls
    os.unlink(tmp_path / dead_man.RECORD)


@pytest.mark.parametrize("text, expected", [
    ("/plain", '"/plain"'), ("/a b", '"/a b"'), ('/a"b', '"/a\\"b"'), ("/100%/$x", '"/100%%/$$x"'), ("/a\\b", '"/a\\\\b"')])
def test_words_of_a_unit_file(text, expected):
    assert arming.quoted(text) == expected


@pytest.mark.parametrize("uid, systemd, kind", [
    (0, True, arming.UnitDeadMan), (1000, True, arming.ProcessDeadMan), (0, False, arming.ProcessDeadMan)])
def test_the_dead_man_that_fits(monkeypatch, uid, systemd, kind):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os.path, "isdir", lambda path: systemd)
    assert arming.make("/x", "kestra").how == kind.how
