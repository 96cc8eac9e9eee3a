# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills the controller with SIGKILL right after its n-th effect, so that tests can show what is left behind."""
from __future__ import annotations

import os
import signal

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: controller_killer
type: notification
short_description: kills the controller after an effect of a flow
description: For tests. An effect is a task of this collection that has changed something.
requirements:
  - set KESTRA_DR_TEST_KILL_AFTER to a number or to the name of a task; KESTRA_DR_TEST_STEPS to a file that lists the effects
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "controller_killer"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._seen = 0
        self._limit = os.environ.get("KESTRA_DR_TEST_KILL_AFTER", "never")
        self._steps = os.environ.get("KESTRA_DR_TEST_STEPS")

    def v2_runner_on_ok(self, result):
        task = getattr(result, "task", None) or result._task
        if not task.action.startswith("kestra_community.dr."):
            return
        self._seen += 1
        if self._steps:
            with open(self._steps, "a", encoding="utf-8") as handle:
                handle.write(f"{self._seen} {task.get_name()}\n")
        if self._limit in (str(self._seen), task.name):
            os.kill(os.getpid(), signal.SIGKILL)
