# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managers ask and act with exactly the argv they should, and never take "cannot tell" for "stopped"."""
from __future__ import annotations

import os
import stat
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, RefusedError, StateError, ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.proc import Completed
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_managers as managers


class Systemctl:
    """Answers systemctl from a list of states; remembers what it was called with."""

    def __init__(self, *states, **shown):
        self.calls = []
        self.states = list(states)
        self.shown = dict({"LoadState": "loaded", "SubState": "", "UnitFileState": "enabled", "MainPID": "0",
                           "Result": "success", "TimeoutStopUSec": "6min"}, **shown)

    def __call__(self, argv, timeout=None):
        self.calls.append(argv)
        out = ""
        if argv[1] == "show":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            out = "\n".join(f"{key}={value}" for key, value in dict(self.shown, ActiveState=state).items())
        return Completed(0, out, "", 0.0)

    def verbs(self):
        return [argv[1:] for argv in self.calls if argv[1] != "show"]


@pytest.mark.parametrize("text, seconds", [
    ("5min 30s", 330), ("2min 30s", 150), ("1min 30.500s", 90.5), ("150s", 150), ("1h 1us", 3600.000001), ("infinity", None),
    ("", None), (None, None), ("soon", None)])
def test_time_spans_of_systemctl_show(text, seconds):
    assert managers.time_span(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("name", ["kestra", "kestra.service", "kestra@prod.service", r"kes\x2dtra.service"])
def test_unit_names(name):
    assert managers.unit_name(name).endswith(".service")


@pytest.mark.parametrize("name", ["", "a b", "../kestra", "kestra;reboot", "kestra\n.service"])
def test_no_unit_names(name):
    with pytest.raises(ConfigError):
        managers.SystemdManager(name or "/")


@pytest.mark.parametrize("state, active, running, failed", [
    ("active", True, True, False), ("reloading", True, True, False), ("activating", True, False, False),
    ("deactivating", True, False, False), ("inactive", False, False, False), ("failed", False, False, True)])
def test_states_of_a_unit(state, active, running, failed):
    status = managers.unit_status({"ActiveState": state, "UnitFileState": "disabled"})
    assert (status.active, status.running, status.failed, status.enabled) == (active, running, failed, False)


def test_stop_waits_until_the_unit_is_down(monkeypatch):
    monkeypatch.setattr(managers, "_POLL", 0)
    run = Systemctl("deactivating", "deactivating", "inactive")
    assert managers.SystemdManager("kestra", run=run).stop(10) == []
    assert run.verbs() == [["stop", "--no-block", "kestra.service"]]
    assert len(run.calls) == 4


def test_a_kill_by_systemd_is_told(monkeypatch):
    run = Systemctl("failed", Result="timeout")
    assert "killed" in managers.SystemdManager(run=run).stop(10)[0]


def test_a_stop_that_takes_too_long_is_an_error(monkeypatch):
    monkeypatch.setattr(managers, "_POLL", 0)
    with pytest.raises(StateError) as caught:
        managers.SystemdManager(run=Systemctl("deactivating")).stop(0.05)
    assert caught.value.reason == "stop_timeout" and "kestra_dr_stop_timeout" in caught.value.hint


def test_start_clears_a_failure_first():
    run = Systemctl("failed")
    managers.SystemdManager(run=run).start(10)
    assert run.verbs() == [["reset-failed", "kestra.service"], ["start", "--no-block", "kestra.service"]]


def test_start_of_a_stopped_unit():
    run = Systemctl("inactive")
    managers.SystemdManager(run=run).start(10)
    assert run.verbs() == [["start", "--no-block", "kestra.service"]]


def test_a_missing_unit_is_named():
    with pytest.raises(ConfigError) as caught:
        managers.SystemdManager("kestrel", run=Systemctl("inactive", LoadState="not-found")).status()
    assert "kestrel.service" in str(caught.value)


def test_block_writes_an_assertion_once_and_unblock_removes_it(tmp_path):
    run = Systemctl("inactive")
    manager = managers.SystemdManager(unit_dir=str(tmp_path), run=run)
    held = "/var/lib/kestra 100%/kestra/HELD"
    assert manager.block(held) is True
    drop_in = tmp_path / "kestra.service.d" / "50-kestra-dr-hold.conf"
    assert drop_in.read_text().splitlines()[1:] == ["[Unit]", "AssertPathExists=!/var/lib/kestra 100%%/kestra/HELD"]
    assert stat.S_IMODE(drop_in.stat().st_mode) == 0o644
    assert run.verbs() == [["daemon-reload"]]
    assert manager.block(held) is False
    assert manager.unblock() is True
    assert not drop_in.parent.exists()
    assert manager.unblock() is False
    assert run.verbs() == [["daemon-reload"]] * 2


def test_unblock_leaves_the_drop_ins_of_others(tmp_path):
    manager = managers.SystemdManager(unit_dir=str(tmp_path), run=Systemctl("inactive"))
    manager.block("/x/HELD")
    other = tmp_path / "kestra.service.d" / "memory.conf"
    other.write_text("[Service]\n")
    manager.unblock()
    assert other.exists()


@pytest.mark.parametrize("unit, stop, words", [
    (150, 330, ["TimeoutStopSec of the unit is 150 s"]), (None, 330, []), (360, 330, []),
    (360, 300, ["kestra_dr_stop_timeout is 300 s"]), (300, 200, ["TimeoutStopSec", "kestra_dr_stop_timeout"])])
def test_limits_shorter_than_the_grace_period_are_told(unit, stop, words):
    found = managers.grace_warnings(unit_timeout=unit, stop_timeout=stop, grace_period=300)
    assert len(found) == len(words) and all(word in text for word, text in zip(words, found))


def test_the_dead_man_asks_systemd_for_a_plain_yes():
    commands = managers.SystemdManager("kestra", run=Systemctl("active")).commands()
    assert commands == {"start": ["systemctl", "start", "kestra.service"],
                        "status": ["systemctl", "is-active", "--quiet", "kestra.service"]}


def test_log_tail_asks_the_journal():
    run = Systemctl("active")
    managers.SystemdManager(run=run).log_tail(7)
    assert run.calls[0][:3] == ["journalctl", "--unit=kestra.service", "--lines=7"]


def test_log_tail_without_a_journal_is_empty():
    def missing(argv, timeout=None):
        raise ToolError("no journalctl")

    assert managers.SystemdManager(run=missing).log_tail() == []


# The command manager

def command_manager(**changes):
    return managers.CommandManager(**dict({"start": "true", "stop": "true", "status": "false"}, **changes))


@pytest.mark.parametrize("given, argv", [
    ("/opt/kestra/ctl start --wait", ["/opt/kestra/ctl", "start", "--wait"]),
    ("'/opt/my kestra/ctl' 'a;b' $HOME", ["/opt/my kestra/ctl", "a;b", "$HOME"]),
    (["ctl", 7], ["ctl", "7"])])
def test_commands_are_split_but_never_given_to_a_shell(given, argv):
    assert managers.words(given) == argv


@pytest.mark.parametrize("what", ["start", "stop", "status"])
@pytest.mark.parametrize("value", ["", None, []])
def test_every_command_is_needed(what, value):
    with pytest.raises(ConfigError) as caught:
        command_manager(**{what: value})
    assert f"kestra_dr_{what}_command" in caught.value.hint


def test_an_open_quote_is_told():
    with pytest.raises(ConfigError):
        command_manager(start="ctl 'start")


@pytest.mark.parametrize("rc, active", [(0, True), (1, False), (2, False), (3, False)])
def test_status_codes(rc, active):
    assert command_manager(status=["sh", "-c", f"exit {rc}"]).status().active is active


@pytest.mark.parametrize("status", [["sh", "-c", "exit 4"], ["sh", "-c", "kill -9 $$"], "/nowhere/ctl status", "/etc/passwd"])
def test_a_status_that_cannot_be_told_is_not_stopped(status):
    with pytest.raises(ToolError) as caught:
        command_manager(status=status).status()
    assert caught.value.reason == "status_command_failed"


def test_a_failing_stop_shows_its_last_line():
    with pytest.raises(ToolError) as caught:
        command_manager(stop=["sh", "-c", "echo one; echo cannot reach the socket >&2; exit 5"]).stop(5)
    assert "cannot reach the socket" in str(caught.value) and caught.value.detail["rc"] == 5


def test_stop_waits_for_the_status(tmp_path):
    mark = tmp_path / "runs"
    mark.write_text("")
    manager = command_manager(stop=["sh", "-c", f"(sleep 1; rm {mark}) &"], status=["test", "-e", str(mark)])
    begun = time.monotonic()
    manager.stop(20)
    assert not mark.exists() and time.monotonic() - begun >= 0.9


def test_stop_gives_up_at_its_timeout():
    with pytest.raises(StateError) as caught:
        command_manager(status="true").stop(0.6)
    assert caught.value.reason == "stop_timeout"


def test_the_log_file_is_shown_from_its_end(tmp_path):
    log = tmp_path / "kestra.log"
    log.write_bytes(b"x" * 200_000 + b"\nlast but one\nlast \xff line\n")
    assert command_manager(log_file=str(log)).log_tail(2) == ["last but one", "last � line"]


def test_without_a_log_file_the_start_command_speaks(tmp_path):
    manager = command_manager(start=["sh", "-c", "echo started with pid 7"])
    manager.start(10)
    assert manager.log_tail() == ["started with pid 7"]


def test_preflight_names_what_cannot_be_run():
    problems, warnings = command_manager(start="/nowhere/ctl start").preflight(stop_timeout=330, grace_period=300)
    assert len(problems) == 1 and "/nowhere/ctl" in problems[0] and warnings == []


def test_no_secret_environment_for_the_dead_man(monkeypatch):
    monkeypatch.setenv("RESTIC_PASSWORD", "s3cret")
    assert set(command_manager().commands()["environment"]) <= {"PATH", "HOME", "LANG"}


def test_make():
    options = {"manager": "systemd", "unit": "k", "commands": None, "log_file": None}
    assert managers.make(options).unit == "k.service"
    options = {"manager": "command", "unit": None, "commands": {"start": "a", "stop": "b", "status": "c"}, "log_file": None}
    assert managers.make(options).name == "command"
    with pytest.raises(RefusedError):
        managers.make({"manager": "compose"})


def test_preflight_without_systemd(monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    problems, _warnings = managers.SystemdManager(run=Systemctl("active")).preflight(stop_timeout=1, grace_period=1)
    assert "systemd does not run" in problems[0]


def test_preflight_with_systemd(monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    run = Systemctl("active", TimeoutStopUSec="2min 30s")
    problems, warnings = managers.SystemdManager(run=run).preflight(stop_timeout=330, grace_period=300)
    assert "needs root" in problems[0] and "150 s" in warnings[0]
    run = Systemctl("inactive", LoadState="masked")
    problems, _warnings = managers.SystemdManager(run=run).preflight(stop_timeout=330, grace_period=300)
    assert "is masked" in problems[1]
