# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of an engine run as Ansible runs them, and what their tests do meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs

# The directory that holds ansible_collections, for processes of their own. Not resolved: it may be a link to the checkout.
COLLECTIONS = str(next(path for path in Path(jobs.__file__).parents if path.name == "ansible_collections").parent)


class Steps(jobs.Progress):
    """Progress that remembers its phases and can act when one is reached."""

    def __init__(self, **actions):
        super().__init__()
        self.phases = {}
        self.updates = []
        self._actions = actions

    def phase(self, name, **facts):
        self.phases[name] = facts
        if name in self._actions:
            self._actions[name](facts)

    def update(self, done, total=None, message=None, unit="bytes"):
        self.updates.append((done, total, message))


def later(seconds, action):
    """Runs action after so many seconds, in a thread of its own."""

    def run():
        time.sleep(seconds)
        action()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class ModuleFailed(Exception):
    """fail_json of a module run as Ansible runs it."""

    def __init__(self, result, output):
        super().__init__(result.get("msg", output))
        self.result = result


# ansible-core 2.19 keeps a module's arguments with a serialization profile; set as its own tests do.
_LAUNCH = (
    "from ansible.module_utils import basic; import sys; basic._ANSIBLE_ARGS = sys.stdin.buffer.read(); "
    "basic._ANSIBLE_PROFILE = 'legacy'; "
)


def run_module(secret, module, check_mode=False, background=False, **parameters):
    """A module as Ansible runs it: its result, or with background its Popen. Raises ModuleFailed.

    secret: what it must not show.
    """
    code = (
        f"import sys; sys.path.insert(0, {COLLECTIONS!r}); from ansible_collections.kestra_community.dr.plugins.modules "
        f"import {module} as module; module.main()"
    )
    given = {"ANSIBLE_MODULE_ARGS": dict(parameters, _ansible_check_mode=check_mode, _ansible_remote_tmp="/tmp")}
    argv = [sys.executable, "-c", _LAUNCH + code]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    if background:
        return process
    output, errors = process.stdout.read(), process.stderr.read()
    process.wait()
    assert secret not in output + errors, "a password was shown"
    result = json.loads(output.strip().splitlines()[-1]) if output.strip() else {"msg": errors}
    if result.get("failed") or process.returncode:
        raise ModuleFailed(result, output + errors)
    return result
