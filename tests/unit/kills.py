# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills a piece of work with SIGKILL before each of its effects on the file system, one after the other.

Python's audit hooks (PEP 578) see every rename, creation, removal and opening for writing before it happens.
"""
from __future__ import annotations

import os
import random
import signal
import sys
import traceback

_EFFECTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "subprocess.Popen"}


def _changes(event, args) -> bool:
    if event == "open":
        return bool(isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)) and args[0] != os.devnull
    return event in _EFFECTS


def _child(work, on_effect) -> int:
    """Runs work() in a child, on_effect() before each of its effects; returns the wait status."""
    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(lambda event, args: on_effect() if _changes(event, args) else None)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work failed by itself, see its traceback"
    return status


def kill_before(number, work) -> bool:
    """Runs work() in a child that dies before its effect of that number (from 0). True: killed; False: it had fewer.

    Raises AssertionError when work fails by itself.
    """
    left = [number]

    def on_effect():
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    return os.WIFSIGNALED(_child(work, on_effect))


def count_effects(work) -> int:
    """How many effects work() has, run to its end in a child."""
    reading, writing = os.pipe()
    try:
        _child(work, lambda: os.write(writing, b"x"))
        os.close(writing)
        with os.fdopen(reading, "rb") as handle:
            return len(handle.read())
    except BaseException:
        os.close(reading)
        raise


def every_kill(prepare, work):
    """Yields (number, what prepare() returned) after work(that) was killed before each of its effects in turn."""
    number = 0
    while True:
        scene = prepare()
        if not kill_before(number, lambda scene=scene: work(scene)):
            return
        yield number, scene
        number += 1


def some_kills(prepare, work, count, seed):
    """As every_kill, for count of the effects, chosen at random with this seed (None: all of them)."""
    whole = prepare()
    total = count_effects(lambda: work(whole))
    numbers = range(total) if count is None else sorted(random.Random(seed).sample(range(total), min(count, total)))
    for number in numbers:
        scene = prepare()
        if kill_before(number, lambda scene=scene: work(scene)):
            yield number, scene
