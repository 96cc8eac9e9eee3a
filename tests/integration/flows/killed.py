# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the controller after a step of a flow. One file for each flow, so that they run beside each other."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

NOT_UNDER_RUNNER = pytest.mark.skipif(os.environ.get("KESTRA_DR_LAUNCHER") == "ansible-runner",
                                      reason="it kills ansible-playbook itself; under ansible-runner another process is between")
FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"
PLUGINS = Path(__file__).parent / "plugins" / "callback"
# Long enough for a step to be reached, since a dead-man that was faster would be another test.
DOWNTIME = 30
# The worst moment of each flow: Kestra is down and its data are in the middle of something.
WORST = {"backup": "Dump | Wait until the snapshot is pinned", "restore": "Pair | Swap database and storage"}


def killer(after="never", steps=None):
    env = {"ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "controller_killer",
           "KESTRA_DR_TEST_KILL_AFTER": str(after)}
    if steps:
        env["KESTRA_DR_TEST_STEPS"] = str(steps)
    return env


def moments(lab, flow, tmp_path, **wanted):
    """After which steps to kill: the worst one, in the full tier each of a whole run."""
    if not FULL:
        print(f"left to --full: kill -9 after every other step of the {flow}")
        return [WORST[flow]]
    steps = tmp_path / "steps"
    lab.play(flow, env=killer(steps=steps), **wanted).ok()
    names = steps.read_text().splitlines()
    assert len(names) >= 12 and any(WORST[flow] in name for name in names), names
    return [name.split(" ")[0] for name in names]


def left(lab):
    """What the killed run left for the next one to know: (its run id, the record on the host)."""
    lock, record = (json.loads(path.read_text()) if path.exists() else None
                    for path in (lab.vault / "kestra" / "lock.json", lab.directory / "state" / "kestra" / "lifecycle.json"))
    return (lock or record or {}).get("run_id"), record


def rerun(lab, flow, killed, **wanted):
    """The same flow again, told that the killed one is dead; nothing of that one is left then, least of all secrets.

    A run that was killed before it had the lock is nobody's: what it left goes once it is old.
    """
    for directory in (lab.directory / "run" / "kestra").iterdir():
        if directory.name != killed:
            os.utime(directory, (0, 0))
    done = lab.play(flow, **wanted, **({"kestra_dr_take_over": killed} if killed else {})).ok()
    assert done.report["outcome"] == "ok"
    assert lab.wait_healthy() and not lab.held.exists() and not lab.unsealed()
    assert not list((lab.directory / "run" / "kestra").iterdir())
