# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra ends as it was found; one run at a time; nobody starts it while it is held."""
from __future__ import annotations

import contextlib
import os
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    LockedError,
    RefusedError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_arming as arming
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_dead_man as dead_man
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.lifecycle_managers import Manager, Status

RUN = lifecycle.Run("r1", "backup", "me@here", "20261123T001500Z-a1b2c3")
OTHER = lifecycle.Run("r2", "restore", "you@there")


class FakeManager(Manager):
    """A Kestra that is a variable; notes in which order things happen."""

    name = "fake"
    sees_stopping = True
    blocks_foreign_starts = True

    def __init__(self, active=True, log=None):
        self.up = active
        self.failed = False
        self.blocked = False
        self.log = log if log is not None else []
        self.failing = {}

    def _fail(self, what):
        if what in self.failing:
            raise self.failing[what]

    def preflight(self, *, stop_timeout, grace_period):
        return [], []

    def status(self):
        return Status(active=self.up, running=self.up, failed=self.failed, enabled=True, detail={"fake": "yes"})

    def stop(self, timeout):
        self.log.append("stop")
        self._fail("stop")
        self.up = False
        return []

    def start(self, timeout):
        self.log.append("start")
        self._fail("start")
        self.up = True

    def block(self, held_path):
        changed, self.blocked = not self.blocked, True
        return changed

    def unblock(self):
        changed, self.blocked = self.blocked, False
        return changed

    def commands(self):
        return {"start": ["true"], "status": ["true"]}

    def log_tail(self, lines=30):
        return ["first", "Caused by: no license"]


class FakeKeeper:
    """A dead-man without a process: armed means that its lock is held."""

    how = "fake"

    def __init__(self, directory, log):
        self.directory = directory
        self.log = log
        self.failing = []
        self._stack = contextlib.ExitStack()

    def arm(self):
        for error in self.failing:
            raise error
        self.log.append("arm")
        if not dead_man.alive(self.directory):
            self._stack.enter_context(dead_man.locked(os.path.join(self.directory, dead_man.ALIVE_LOCK)))

    def die(self):
        self._stack.close()

    def disarm(self):
        self.log.append("disarm")
        self.die()


@pytest.fixture
def host(tmp_path):
    log = []
    manager = FakeManager(log=log)
    keeper = FakeKeeper(str(tmp_path / "state" / "kestra"), log)

    class Host:
        pass

    this = Host()
    this.manager, this.keeper, this.log, this.state_dir = manager, keeper, log, str(tmp_path / "state")
    this.directory = keeper.directory

    def make(**more):
        return lifecycle.Lifecycle(manager, this.state_dir, "kestra", keeper=keeper,
                                   health=more.pop("health", lambda: {"status": "UP", "error": None}), **more)

    this.make = make
    this.life = make()
    yield this
    keeper.die()


def stop(host, run=RUN, **more):
    return host.life.stopped(run, **dict({"timeout": 10, "dead_man_seconds": 900}, **more))


def record(host):
    return dead_man.load(host.directory)


def change_record(host, **changes):
    found = record(host)
    found.update(changes)
    dead_man.save(host.directory, found)


def expire(host):
    change_record(host, deadline="2020-01-01T00:00:00.000000Z", deadline_since_boot=0.0)


# Stop and start

def test_the_dead_man_is_armed_before_the_stop(host):
    result = stop(host)
    assert host.log == ["arm", "stop"]
    assert result["changed"] and not host.manager.up and result["dead_man"]["armed"]
    kept = record(host)
    assert kept["found"]["active"] is True and kept["safe_to_start"] is True and kept["phase"] == "stopped"
    assert (kept["run_id"], kept["flow"], kept["owner"], kept["recovery_point"]) == (
        "r1", "backup", "me@here", "20261123T001500Z-a1b2c3")
    assert 890 < dead_man.left(kept) <= 900
    assert "commands" not in result["record"]


def test_without_a_dead_man_nothing_is_stopped(host):
    host.keeper.failing.append(StateError("no python"))
    with pytest.raises(StateError):
        stop(host)
    assert host.manager.up and host.log == [] and record(host) is None


def test_start_brings_back_what_was_found_and_forgets(host):
    stop(host)
    result = host.life.started(RUN, timeout=10)
    assert host.manager.up and result["changed"] and result["started"] and result["health"]["status"] == "UP"
    assert record(host) is None and host.log == ["arm", "stop", "start", "disarm"]
    again = host.life.started(RUN, timeout=10)
    assert not again["changed"] and not again["started"] and host.manager.up


def test_a_kestra_found_down_stays_down(host):
    host.manager.up = False
    result = stop(host)
    assert result["found"]["active"] is False and "arm" not in host.log
    assert host.life.started(RUN, timeout=10)["started"] is False
    assert not host.manager.up and record(host) is None


def test_always_starts_what_was_found_down(host):
    host.manager.up = False
    stop(host)
    assert host.life.started(RUN, timeout=10, always=True)["started"] is True
    assert host.manager.up


def test_a_second_stop_changes_nothing(host):
    first = stop(host)
    second = stop(host)
    assert not second["changed"] and second["record"] == first["record"]


def test_a_rerun_of_the_stop_remembers_what_the_first_one_found(host):
    stop(host)
    host.manager.up = False
    stop(host)
    assert record(host)["found"]["active"] is True


def test_a_stop_that_fails_keeps_the_dead_man_armed(host):
    host.manager.failing["stop"] = StateError("timeout")
    with pytest.raises(StateError):
        stop(host)
    assert dead_man.alive(host.directory) and record(host)["phase"] == "stopping"
    assert host.life.started(RUN, timeout=10)["health"]["status"] == "UP"
    assert record(host) is None


def test_a_start_that_fails_keeps_record_and_dead_man(host):
    stop(host)
    host.manager.failing["start"] = StateError("no")
    with pytest.raises(StateError):
        host.life.started(RUN, timeout=10)
    assert record(host)["run_id"] == "r1" and dead_man.alive(host.directory)


def test_the_dead_man_does_not_start_beside_a_slow_start(host):
    stop(host, dead_man_seconds=1)
    seen = []
    host.manager.start = lambda timeout: (seen.append(dead_man.left(record(host))), setattr(host.manager, "up", True))
    host.life.started(RUN, timeout=300)
    assert seen[0] > 300


def test_unhealthy_is_an_error_with_the_log(host, monkeypatch):
    monkeypatch.setattr(lifecycle, "_POLL", 0.01)
    stop(host)
    life = host.make(health=lambda: {"status": "DOWN", "error": "HTTP 503"})
    with pytest.raises(StateError) as caught:
        life.started(RUN, timeout=0.1)
    assert caught.value.reason == "start_timeout"
    assert "no license" in str(caught.value) and "503" in str(caught.value)
    assert caught.value.detail["log"] == ["first", "Caused by: no license"]
    assert record(host) is not None and dead_man.alive(host.directory)


def test_a_failed_unit_is_tried_again_and_then_not_waited_for(host, monkeypatch):
    monkeypatch.setattr(lifecycle, "_AGAIN", (0.0, 0.01))
    stop(host)
    starts = []

    def crash(timeout):
        starts.append(timeout)
        host.manager.failed = True

    host.manager.start = crash
    begun = time.monotonic()
    with pytest.raises(StateError) as caught:
        host.life.started(RUN, timeout=60)
    assert caught.value.reason == "start_failed" and time.monotonic() - begun < 5 and len(starts) == 3
    assert record(host) is not None and dead_man.alive(host.directory)


def dying(host, monkeypatch, times):
    """A Kestra that is seen running and dies, that many times."""
    monkeypatch.setattr(lifecycle, "_POLL", 0.01)
    monkeypatch.setattr(lifecycle, "_AGAIN", (0.01, 0.01))
    starts, looks = [], []
    begin, look = host.manager.start, host.manager.status

    def start(timeout):
        starts.append(timeout)
        looks.clear()
        begin(timeout)

    def status():
        looks.append(1)
        if starts and len(starts) <= times and len(looks) > 2:
            host.manager.up = False
        return look()

    host.manager.start, host.manager.status = start, status
    return starts


def test_a_kestra_that_dies_of_its_start_is_started_again(host, monkeypatch):
    """As it does when its database is still on its way up."""
    stop(host)
    starts = dying(host, monkeypatch, 2)
    life = host.make(health=lambda: {"status": "UP" if len(starts) > 2 else "DOWN", "error": None})
    assert life.started(RUN, timeout=10)["started"] is True
    assert len(starts) == 3 and record(host) is None


def test_a_kestra_that_dies_every_time_is_told_before_the_time_is_over(host, monkeypatch):
    stop(host)
    starts = dying(host, monkeypatch, 99)
    begun = time.monotonic()
    with pytest.raises(StateError) as caught:
        host.make(health=lambda: {"status": "DOWN", "error": None}).started(RUN, timeout=60)
    assert caught.value.reason == "start_failed" and time.monotonic() - begun < 5 and len(starts) == 3


def test_a_kestra_that_somebody_else_started_is_not_started_again(host, monkeypatch):
    stop(host)
    host.manager.up = True
    starts = dying(host, monkeypatch, 99)
    with pytest.raises(StateError):
        host.make(health=lambda: {"status": "DOWN", "error": None}).started(RUN, timeout=0.1)
    assert not starts


def test_without_a_health_address_the_manager_has_to_be_steady(host, monkeypatch):
    monkeypatch.setattr(lifecycle, "_POLL", 0.01)
    monkeypatch.setattr(lifecycle, "_STEADY", 0.2)
    stop(host)
    begun = time.monotonic()
    result = host.make(health=None).started(RUN, timeout=10)
    assert result["health"]["status"] == "not_run" and time.monotonic() - begun >= 0.2


def test_a_health_port_that_wants_a_login_is_not_run(host, monkeypatch):
    monkeypatch.setattr(lifecycle, "_POLL", 0.01)
    monkeypatch.setattr(lifecycle, "_STEADY", 0.2)
    stop(host)
    result = host.make(health=lambda: {"status": lifecycle.LOGIN, "error": "HTTP 401"}).started(RUN, timeout=10)
    assert result["health"] == {"status": "not_run", "error": "HTTP 401"} and "login" in result["warnings"][0]


def test_a_stop_under_way_is_waited_for_before_the_start(host, monkeypatch):
    monkeypatch.setattr(lifecycle, "_POLL", 0.01)
    host.manager.sees_stopping = False
    host.manager.failing["stop"] = StateError("timeout")
    with pytest.raises(StateError):
        stop(host)
    looks = []
    real = host.manager.status

    def status():
        looks.append(1)
        if len(looks) == 4:
            host.manager.up = False
        return real()

    host.manager.status = status
    assert host.life.started(RUN, timeout=10)["started"] is True
    assert host.log[-2:] == ["start", "disarm"]


# The host's lock

def test_another_run_is_refused_and_told_how_to_take_over(host):
    stop(host)
    for verb in (lambda: stop(host, OTHER), lambda: host.life.started(OTHER, timeout=1), lambda: host.life.held(OTHER, "x"),
                 lambda: host.life.released(OTHER, dead_man_seconds=9), lambda: host.life.renewed(OTHER, dead_man_seconds=9)):
        with pytest.raises(LockedError) as caught:
            verb()
        text = str(caught.value)
        assert "r1" in text and "me@here" in text and record(host)["since"] in text
        assert "kestra_dr_take_over=r1" in caught.value.hint
        assert caught.value.detail["seconds_left"] > 800
    assert record(host)["run_id"] == "r1"


def test_take_over_inherits_what_was_found(host):
    stop(host)
    result = stop(host, lifecycle.Run("r2", "backup", "you@there", None, take_over="r1"))
    assert record(host)["run_id"] == "r2" and record(host)["found"]["active"] is True
    assert result["previous"]["run_id"] == "r1"
    host.life.started(lifecycle.Run("r2"), timeout=10)
    assert host.manager.up


def test_take_over_of_the_wrong_run_is_refused(host):
    stop(host)
    with pytest.raises(LockedError):
        stop(host, lifecycle.Run("r2", take_over="r0"))


def test_a_lost_dead_man_and_a_passed_deadline_leave_a_stale_record(host):
    stop(host)
    expire(host)
    with pytest.raises(LockedError):
        stop(host, OTHER)  # the dead-man is about to act
    host.keeper.die()
    stop(host, OTHER)
    assert record(host)["run_id"] == "r2" and record(host)["found"]["active"] is True


def test_a_held_record_never_expires(host):
    stop(host)
    host.life.held(RUN, "swapped, not verified")
    expire(host)
    host.keeper.die()
    with pytest.raises(LockedError) as caught:
        stop(host, OTHER)
    assert "swapped, not verified" in str(caught.value)


@pytest.mark.parametrize("outcome, up, found", [
    ("started", True, True), ("started", False, False), ("failed", False, True), ("nothing", False, False)])
def test_after_the_dead_man_another_run_may_begin(host, outcome, up, found):
    stop(host)
    change_record(host, dead_man_fired={"at": "t", "action": "start", "outcome": outcome, "attempts": 1})
    host.keeper.die()
    host.manager.up = up
    stop(host, OTHER)
    assert record(host)["found"]["active"] is found and "dead_man_fired" not in record(host)


@pytest.mark.parametrize("given", ["", "../x", "a/b", ".hidden", "a b", "x" * 101])
def test_names_that_are_no_instance(host, given):
    with pytest.raises(ConfigError):
        lifecycle.Lifecycle(host.manager, host.state_dir, given, keeper=host.keeper)


# After the dead-man

def test_the_late_controller_learns_that_the_dead_man_was_there(host):
    stop(host)
    change_record(host, dead_man_fired={"at": "t", "action": "start", "outcome": "started", "attempts": 1})
    host.keeper.die()
    host.manager.up = True
    for verb in (lambda: host.life.held(RUN, "x"), lambda: host.life.renewed(RUN, dead_man_seconds=9)):
        with pytest.raises(StateError) as caught:
            verb()
        assert caught.value.reason == "dead_man_fired"
    result = host.life.started(RUN, timeout=10)
    assert result["dead_man_fired"]["outcome"] == "started" and not result["started"]
    assert "dead-man" in result["disturbed"] and record(host) is None


def test_a_start_by_somebody_else_is_told(host):
    stop(host)
    host.manager.up = True
    result = host.life.started(RUN, timeout=10)
    assert "somebody else" in result["disturbed"] and not result["started"]
    stop(host)
    assert host.life.started(RUN, timeout=10)["disturbed"] is None


def test_a_rerun_of_our_own_start_is_nobody_elses(host, monkeypatch):
    monkeypatch.setattr(lifecycle, "_POLL", 0.01)
    stop(host)
    with pytest.raises(StateError):
        host.make(health=lambda: {"status": None, "error": "not yet"}).started(RUN, timeout=0.05)
    assert host.manager.up
    assert host.life.started(RUN, timeout=10)["disturbed"] is None


def test_a_disturbance_is_still_told_by_the_rerun(host, monkeypatch):
    monkeypatch.setattr(lifecycle, "_POLL", 0.01)
    stop(host)
    host.manager.up = True
    with pytest.raises(StateError):
        host.make(health=lambda: {"status": None, "error": "not yet"}).started(RUN, timeout=0.05)
    assert "somebody else" in host.life.started(RUN, timeout=10)["disturbed"]


def test_a_person_who_is_not_root_can_read_why(host):
    stop(host)
    host.life.held(RUN, "swapped, not verified")
    assert os.stat(host.directory).st_mode & 0o777 == 0o755
    assert os.stat(os.path.join(host.directory, "HELD")).st_mode & 0o777 == 0o644
    assert os.stat(os.path.join(host.directory, dead_man.RECORD)).st_mode & 0o777 == 0o600


def test_a_dead_man_that_fires_during_a_slow_stop_is_told(host):
    real = host.manager.stop

    def slow(timeout):
        real(timeout)
        change_record(host, dead_man_fired={"at": "t", "action": "start", "outcome": "started", "attempts": 1})
        return []

    host.manager.stop = slow
    with pytest.raises(StateError) as caught:
        stop(host)
    assert caught.value.reason == "dead_man_fired"


def test_stopping_again_after_the_dead_man_is_a_new_stop(host):
    stop(host)
    change_record(host, dead_man_fired={"at": "t", "action": "start", "outcome": "started", "attempts": 1})
    host.keeper.die()
    host.manager.up = True
    result = stop(host)
    assert result["changed"] and result["previous"]["dead_man_fired"]["outcome"] == "started"
    assert "dead_man_fired" not in record(host) and dead_man.alive(host.directory)


def test_while_the_dead_man_starts_we_only_wait(host):
    stop(host)
    change_record(host, dead_man_fired={"at": "t", "action": "start", "outcome": "starting", "attempts": 1})
    before = record(host)["deadline"]
    seen = []

    def health():
        seen.append(record(host)["deadline"])
        return {"status": "UP", "error": None}

    host.manager.up = True
    result = host.make(health=health).started(RUN, timeout=10)
    assert not result["started"] and "start" not in host.log and seen == [before]


def test_between_two_tries_of_the_dead_man_we_start_ourselves(host):
    stop(host)
    change_record(host, dead_man_fired={"at": "t", "action": "start", "outcome": "starting", "attempts": 1, "ended": "t"})
    assert host.life.started(RUN, timeout=10)["started"] and host.log[-2:] == ["start", "disarm"]


# Held

def test_held_blocks_every_start(host):
    stop(host)
    result = host.life.held(RUN, "swapped, not verified")
    assert result["changed"] and host.manager.blocked and "swapped, not verified" in result["held"]["text"]
    assert record(host)["safe_to_start"] is False
    with pytest.raises(RefusedError) as caught:
        host.life.started(RUN, timeout=10, always=True)
    assert caught.value.reason == "held" and "swapped, not verified" in str(caught.value)
    assert not host.manager.up
    assert not host.life.held(RUN, "swapped, not verified")["changed"]


def test_a_new_reason_replaces_the_old_one(host):
    stop(host)
    host.life.held(RUN, "one")
    assert host.life.held(RUN, "two")["changed"]
    assert "two" in host.life.held(RUN, "two")["held"]["text"] and record(host)["reason"] == "two"


def test_release_lets_it_start_with_a_fresh_deadline(host):
    stop(host)
    host.life.held(RUN, "x")
    expire(host)
    change_record(host, dead_man_fired={"at": "t", "action": "hold", "outcome": "held", "attempts": 0})
    host.keeper.die()
    result = host.life.released(RUN, dead_man_seconds=600)
    assert result["changed"] and not host.manager.blocked and result["held"] is None
    assert record(host)["safe_to_start"] is True and dead_man.left(record(host)) > 590
    assert "dead_man_fired" not in record(host) and dead_man.alive(host.directory)
    assert not host.life.released(RUN, dead_man_seconds=600)["changed"]
    host.life.started(RUN, timeout=10)
    assert host.manager.up


def test_a_running_kestra_cannot_be_held(host):
    stop(host)
    host.manager.up = True
    with pytest.raises(StateError) as caught:
        host.life.held(RUN, "x")
    assert caught.value.reason == "not_stopped" and record(host)["safe_to_start"] is True


def test_hold_needs_the_run_that_stopped(host):
    with pytest.raises(StateError) as caught:
        host.life.held(RUN, "x")
    assert caught.value.reason == "not_held_by_run"


def test_a_stop_with_a_hold_reason_is_held_from_the_start(host):
    blocked_at_stop = []
    real = host.manager.stop
    host.manager.stop = lambda timeout: (blocked_at_stop.append(host.manager.blocked), real(timeout))[1]
    result = stop(host, hold_reason="the target is being overwritten")
    assert blocked_at_stop == [True] and result["record"]["safe_to_start"] is False and result["held"]


def test_a_hold_outlives_its_run(host):
    stop(host)
    host.life.held(RUN, "differs")
    heir = lifecycle.Run("r2", "undo", "you@there", None, take_over="r1")
    stop(host, heir)
    assert record(host)["safe_to_start"] is False and record(host)["reason"] == "differs"
    with pytest.raises(RefusedError):
        host.life.started(heir, timeout=1)
    host.life.released(heir, dead_man_seconds=60)
    host.life.started(heir, timeout=10)
    assert host.manager.up


def test_a_held_file_without_a_record_still_holds(host):
    os.makedirs(host.directory)
    with open(os.path.join(host.directory, "HELD"), "w", encoding="utf-8") as handle:
        handle.write("the record was damaged\n")
    host.manager.up = False
    with pytest.raises(RefusedError):
        host.life.started(RUN, timeout=1, always=True)
    stop(host)
    assert record(host)["safe_to_start"] is False
    host.life.released(RUN, dead_man_seconds=60)
    assert record(host)["safe_to_start"] is True


def test_a_killed_hold_is_finished_by_the_next(host):
    stop(host)
    change_record(host, safe_to_start=False, reason="x")  # killed before HELD and the block were written
    assert host.life.held(RUN, "x")["changed"]
    assert host.manager.blocked and os.path.exists(os.path.join(host.directory, "HELD"))


def test_a_damaged_record_is_not_guessed_at(host):
    stop(host)
    with open(os.path.join(host.directory, dead_man.RECORD), "w", encoding="utf-8") as handle:
        handle.write("{")
    with pytest.raises(StateError) as caught:
        host.life.started(RUN, timeout=1)
    assert caught.value.reason == "record_damaged"


# Renew, query, check mode

def test_renew_moves_the_deadline_and_arms_a_lost_dead_man(host):
    stop(host)
    host.keeper.die()
    assert host.life.renewed(RUN, dead_man_seconds=5000)["dead_man"]["armed"]
    assert dead_man.left(record(host)) > 4990


def test_query_changes_nothing(host):
    result = host.life.query(stop_timeout=330, grace_period=300)
    assert not result["changed"] and result["record"] is None and result["held"] is None
    assert result["health"]["status"] == "UP" and result["problems"] == []
    assert not os.path.exists(host.state_dir)


def test_query_tells_who_would_be_refused(host):
    assert host.life.query(stop_timeout=1, grace_period=1)["locked"] is None
    stop(host)
    assert host.life.query(stop_timeout=1, grace_period=1, run=RUN)["locked"] is None
    for run in (OTHER, None):
        locked = host.life.query(stop_timeout=1, grace_period=1, run=run)["locked"]
        assert locked["reason"] == "locked" and "r1" in locked["msg"]
    taking = lifecycle.Run("r2", take_over="r1")
    assert host.life.query(stop_timeout=1, grace_period=1, run=taking)["locked"] is None


def test_query_tells_a_directory_that_cannot_be_made(host, tmp_path):
    (tmp_path / "state").write_text("a file")
    assert "is no directory" in host.life.query(stop_timeout=1, grace_period=1)["problems"][0]


def test_query_turns_a_manager_that_cannot_answer_into_a_problem(host):
    def broken():
        raise ConfigError("The unit x does not exist on this host.")

    host.manager.status = broken
    result = host.life.query(stop_timeout=1, grace_period=1)
    assert result["status"] is None and result["problems"] == ["The unit x does not exist on this host."]


def test_check_mode_touches_nothing(host):
    life = host.make(check_mode=True)
    assert life.stopped(RUN, timeout=1, dead_man_seconds=9)["changed"]
    assert not os.path.exists(host.state_dir) and host.manager.up and host.log == []
    stop(host)
    before = record(host)
    assert life.held(RUN, "x")["changed"]
    assert not life.released(RUN, dead_man_seconds=9)["changed"]
    assert life.started(RUN, timeout=1)["changed"]
    assert life.renewed(RUN, dead_man_seconds=9)["changed"]
    assert record(host) == before and not host.manager.up and not host.manager.blocked


def test_a_killed_disarm_is_repeated(host):
    stop(host)
    host.life.started(RUN, timeout=10)
    host.log.clear()
    host.life.started(RUN, timeout=10)
    assert host.log == ["disarm"]


def test_a_unit_that_cannot_be_removed_is_a_warning(host):
    stop(host)

    def busy():
        raise StateError("busy")

    host.keeper.disarm = busy
    assert "busy" in host.life.started(RUN, timeout=10)["warnings"][0]
    assert arming.disarm_quietly(host.keeper)
