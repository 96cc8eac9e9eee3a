# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the controller after a step of a flow: Kestra comes back or is held with a reason, and a rerun converges."""
from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.environ.get("KESTRA_DR_LAUNCHER") == "ansible-runner",
                                reason="it kills ansible-playbook itself; under ansible-runner another process is between")
FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"
PLUGINS = Path(__file__).parent / "plugins" / "callback"
DOWNTIME = 45


def killer(after=0, steps=None):
    env = {"ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "controller_killer",
           "KESTRA_DR_TEST_KILL_AFTER": str(after)}
    if steps:
        env["KESTRA_DR_TEST_STEPS"] = str(steps)
    return env


def chosen(count, sample, seed):
    """Every step in the full run, else a sample of fixed seed that always holds the last third's middle."""
    steps = list(range(1, count + 1))
    return steps if FULL else sorted(random.Random(seed).sample(steps, min(sample, count)))


def holder(lab):
    """The run that still holds the instance, as a person reads it from the refusal."""
    for path in (lab.vault / "kestra" / "lock.json", lab.directory / "state" / "kestra" / "lifecycle.json"):
        if path.exists():
            return json.loads(path.read_text())["run_id"]
    return None


def test_backup(lab, tmp_path):
    steps = tmp_path / "steps"
    lab.play("backup", env=killer(steps=steps)).ok()
    names = steps.read_text().splitlines()
    assert len(names) >= 12, names
    before = lab.points()
    picked = chosen(len(names), 3, 11)
    if not FULL:
        print(f"left to --full: kill -9 after {len(names) - len(picked)} further steps of the backup")
    for number in picked:
        run = lab.play("backup", env=killer(after=number), kestra_dr_max_downtime=DOWNTIME)
        assert run.rc == -9, (names[number - 1], run.output[-3000:])
        assert lab.wait_healthy(DOWNTIME + 60), names[number - 1]
        taken = holder(lab)
        listed = lab.play("list").ok()
        assert "unreadable" not in listed.output and "failed" not in listed.output.split("PLAY RECAP")[0], names[number - 1]
        again = lab.play("backup", **({"kestra_dr_take_over": taken} if taken else {})).ok()
        assert again.report["outcome"] == "ok"
        assert lab.healthy(), names[number - 1]
        assert not list((lab.vault / "kestra" / "open").glob("2*")), "an unsealed recovery point was left"
    assert len(lab.points()) > len(before)


def test_restore(lab, tmp_path):
    steps = tmp_path / "steps"
    instance = lab.instance_id
    lab.play("backup").ok()
    point = lab.points()[-1]
    wanted = {"kestra_dr_recovery_point": point, "kestra_dr_confirm": instance}
    lab.play("restore", env=killer(steps=steps), **wanted).ok()
    names = steps.read_text().splitlines()
    assert len(names) >= 12, names
    picked = chosen(len(names), 3, 12)
    if not FULL:
        print(f"left to --full: kill -9 after {len(names) - len(picked)} further steps of the restore")
    held = lab.directory / "state" / "kestra" / "HELD"
    for number in picked:
        run = lab.play("restore", env=killer(after=number), kestra_dr_max_downtime=DOWNTIME, **wanted)
        assert run.rc == -9, (names[number - 1], run.output[-3000:])
        assert lab.wait_healthy(DOWNTIME + 60) or held.exists(), names[number - 1]
        if held.exists():
            assert point in held.read_text(), "the reason on the host names the recovery point"
        taken = holder(lab)
        lab.play("restore", **wanted, **({"kestra_dr_take_over": taken} if taken else {})).ok()
        assert lab.healthy() and not held.exists(), names[number - 1]
        assert lab.instance_id == instance


@pytest.fixture(autouse=True)
def _a_clean_end(lab):
    yield
    assert lab.wait_healthy()
