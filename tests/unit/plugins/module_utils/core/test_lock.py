# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exactly one run holds an instance, whatever is killed and whoever races."""
from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, lock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    DrError,
    IntegrityError,
    LockedError,
    StateError,
)

NOW = datetime(2026, 11, 23, 0, 15, tzinfo=timezone.utc)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "kestra" / "lock.json")


def take(path, run_id="run-1", ttl=600, **rest):
    return lock.acquire(path, run_id=run_id, flow="backup", owner="ann@tower", ttl=ttl, **rest)


def holder(run_id="run-1", seconds=600):
    return {"run_id": run_id, "flow": "backup", "owner": "ann@tower", "acquired": clock.utc_text(NOW),
            "expires": clock.utc_text(NOW + timedelta(seconds=seconds))}


def test_a_free_lock_is_taken_and_described(path):
    got = take(path, recovery_point="20261123T001500Z-a1b2c3")
    assert got["how"] == lock.FREE and got["previous"] is None
    content = json.loads(open(path, encoding="utf-8").read())
    assert content == got["lock"]
    assert {"run_id", "flow", "recovery_point", "owner", "boot_id", "acquired", "expires", "ttl"} <= set(content)
    life = clock.parse_utc(content["expires"]) - clock.parse_utc(content["acquired"])
    assert life == timedelta(seconds=600)


def test_another_run_is_told_who_since_when_how_long_and_what_to_do(path):
    take(path)
    with pytest.raises(LockedError) as caught:
        take(path, "run-2")
    text = caught.value.to_result()["msg"]
    for word in ("ann@tower", "run-1", "backup", "-e kestra_dr_take_over=run-1"):
        assert word in text
    assert 590 < caught.value.detail["seconds_left"] <= 601


def test_the_same_run_enters_again_and_keeps_its_beginning(path):
    first = take(path, recovery_point="20261123T001500Z-a1b2c3")
    again = take(path, ttl=1200)
    assert again["how"] == lock.OURS
    assert again["lock"]["acquired"] == first["lock"]["acquired"]
    assert again["lock"]["recovery_point"] == "20261123T001500Z-a1b2c3"
    assert again["lock"]["expires"] > first["lock"]["expires"]


def test_an_expired_lock_goes_over_and_names_who_had_it(path):
    take(path, ttl=-1)
    got = take(path, "run-2")
    assert got["how"] == lock.EXPIRED and got["previous"]["run_id"] == "run-1"
    with pytest.raises(StateError) as caught:
        lock.renew(path, run_id="run-1", ttl=600)
    assert caught.value.reason == "lock_lost" and "run-2" in caught.value.message


def test_take_over_needs_the_right_name(path):
    take(path)
    with pytest.raises(LockedError) as caught:
        take(path, "run-2", take_over="run-9")
    assert "run-9" in caught.value.message
    assert take(path, "run-2", take_over="run-1")["how"] == lock.TAKEN_OVER


def test_renewing_moves_the_end(path):
    before = take(path, ttl=10)["lock"]
    after = lock.renew(path, run_id="run-1", ttl=600, recovery_point="20261123T001500Z-a1b2c3")
    assert after["expires"] > before["expires"] and after["acquired"] == before["acquired"]
    assert lock.check(path, run_id="run-1")["recovery_point"] == "20261123T001500Z-a1b2c3"


def test_only_the_holder_releases(path):
    take(path)
    assert lock.release(path, run_id="run-2") is False
    assert lock.read(path)["run_id"] == "run-1"
    assert lock.release(path, run_id="run-1") is True
    assert lock.release(path, run_id="run-1") is False
    assert take(path, "run-2")["how"] == lock.FREE


def test_a_released_lock_cannot_be_renewed(path):
    take(path)
    lock.release(path, run_id="run-1")
    with pytest.raises(StateError):
        lock.renew(path, run_id="run-1", ttl=1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run_id": "x"}'])
def test_a_broken_lock_is_not_taken_for_a_free_one(path, content):
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(content)
    with pytest.raises(IntegrityError) as caught:
        take(path)
    assert path in str(caught.value.to_result())


def test_decisions_for_random_holders():
    chance = random.Random(20261123)
    for _round in range(2000):
        seconds = chance.randint(-100, 100)
        held = holder(chance.choice("ab"), seconds)
        me, over = chance.choice("abc"), chance.choice([None, "a", "b", "c"])
        try:
            how = lock.decide(held, me, NOW, over)
        except LockedError:
            assert me != held["run_id"] and seconds > 0 and over != held["run_id"]
            continue
        assert how == (lock.OURS if me == held["run_id"] else lock.EXPIRED if seconds <= 0 else lock.TAKEN_OVER)


RACER = """
import sys, time
sys.path[:0] = {path!r}
from ansible_collections.kestra_community.dr.plugins.module_utils.core import lock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import LockedError
sys.stdin.readline()
try:
    lock.acquire({target!r}, run_id=sys.argv[1], flow="backup", owner="x", ttl=600)
    print("won")
except LockedError:
    print("lost")
"""


@pytest.mark.parametrize("expired", [False, True])
def test_exactly_one_of_many_racers_wins(path, expired):
    if expired:
        take(path, "dead", ttl=-1)
    program = RACER.format(path=sys.path, target=path)
    racers = [subprocess.Popen([sys.executable, "-c", program, f"run-{number}"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True) for number in range(8)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outcomes = [racer.communicate()[0].strip() for racer in racers]
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert lock.read(path)["run_id"] == f"run-{outcomes.index('won')}"


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from ansible_collections.kestra_community.dr.plugins.module_utils.core import files, lock
step, target = {step!r}, {target!r}
def die(*args, **rest):
    os.kill(os.getpid(), signal.SIGKILL)
def die_after(function):
    def both(*args, **rest):
        function(*args, **rest)
        die()
    return both
module, name, when = step
setattr(eval(module), name, die if when == "before" else die_after(getattr(eval(module), name)))
{call}
"""

STEPS = {
    "acquire": ([("lock", "read", "before"), ("lock.tempfile", "mkstemp", "after"), ("lock.os", "fsync", "before"),
                 ("lock.os", "link", "before"), ("lock.os", "link", "after"), ("lock", "fsync_dir", "before")],
                "lock.acquire(target, run_id='run-1', flow='backup', owner='x', ttl=600)"),
    "take over": ([("lock", "read", "before"), ("files.os", "fsync", "before"), ("files.os", "rename", "before"),
                   ("files.os", "rename", "after")],
                  "lock.acquire(target, run_id='run-1', flow='backup', owner='x', ttl=600)"),
    "renew": ([("lock", "read", "before"), ("files.os", "rename", "before"), ("files.os", "rename", "after")],
              "lock.renew(target, run_id='dead', ttl=600)"),
    "release": ([("lock", "read", "before"), ("lock.os", "unlink", "before"), ("lock.os", "unlink", "after")],
                "lock.release(target, run_id='dead')"),
}


@pytest.mark.parametrize("what, step", [(what, step) for what, (steps, _call) in STEPS.items() for step in steps])
def test_kill_9_at_every_step_leaves_a_lock_or_none_never_a_broken_one(path, what, step):
    if what != "acquire":
        take(path, "dead", ttl=-1)
    program = KILLED.format(path=sys.path, step=step, target=path, call=STEPS[what][1])
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    now_held = lock.read(path)
    assert now_held is None or now_held["run_id"] in ("run-1", "dead")
    # The run that was killed goes on; and nobody waits for the guard it held.
    if now_held is not None and now_held["run_id"] == "dead" and what == "renew" and step[2] == "after":
        assert take(path, "dead")["how"] == lock.OURS
    else:
        assert take(path, "run-1")["lock"]["run_id"] == "run-1"


def test_a_file_system_without_locks_is_named(path, monkeypatch):
    def unsupported(handle, how):
        raise OSError(37, "No locks available")
    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with pytest.raises(DrError) as caught:
        take(path)
    assert caught.value.reason == "no_file_locks"


def test_a_file_system_without_hard_links_works(path, monkeypatch):
    def unsupported(source, target):
        raise OSError(1, "Operation not permitted")
    monkeypatch.setattr(lock.os, "link", unsupported)
    take(path)
    assert sorted(os.listdir(os.path.dirname(path))) == ["lock.json", "lock.json.guard"]


def test_a_link_taken_in_this_very_moment_is_respected(path, monkeypatch):
    def taken(source, target):
        raise FileExistsError(17, "File exists")
    monkeypatch.setattr(lock.os, "link", taken)
    with pytest.raises(LockedError):
        take(path)
