# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the job_wait module again and again, and shows one line of progress for each change in between.

Ansible has no intermediate results; a line given to Display reaches a terminal and, under ansible-runner, AWX alike.
"""
from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.kestra_community.dr.plugins.module_utils.core import waiting

SLICE = 5.0
# Seconds a host may be out of reach while a step on it goes on without us.
PATIENCE = 120.0


class ActionModule(ActionBase):
    """Waits in slices; the module does the looking, and the failing."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = {key: value for key, value in self._task.args.items() if key != "slice"}
        limit = arguments.pop("timeout", None)
        limit = None if limit is None else float(limit)
        self._started = self._shown = time.monotonic()
        self._last = None
        while True:
            left = None if limit is None else limit - (time.monotonic() - self._started)
            if left is not None and left <= 0:
                # The module looks once more and then does what on_timeout says.
                question = dict(arguments, timeout=0)
            else:
                question = dict(arguments, slice=SLICE if left is None else min(SLICE, left))
            answer = self._ask(question, task_vars)
            if answer.get("failed") or answer.get("skipped") or answer.get("reached") or self._task.check_mode:
                result.update(answer)
                return result
            self._show(answer)

    def _ask(self, arguments, task_vars):
        since = time.monotonic()
        while True:
            try:
                return self._execute_module(module_name="kestra_community.dr.job_wait", module_args=arguments,
                                            task_vars=task_vars)
            except AnsibleConnectionFailure as exc:
                if time.monotonic() - since > PATIENCE:
                    raise
                Display().warning(f"The host cannot be reached ({exc}); the step goes on there, asking again.")
                self._connection.reset()
                time.sleep(SLICE)

    def _show(self, answer):
        progress = answer.get("progress")
        if not progress:
            return
        now = time.monotonic()
        text = waiting.line(progress)
        phase_changed = self._last is None or self._last[0] != progress.get("phase")
        if (self._last is None or self._last[1] != text) and waiting.due(
            now - self._started, now - self._shown, phase_changed
        ):
            self._last, self._shown = (progress.get("phase"), text), now
            Display().display(f"  {self._task.get_name()}: {text}")
