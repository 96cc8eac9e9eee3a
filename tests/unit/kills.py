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
import sysconfig
import tempfile
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


def places(work) -> list:
    """Of each effect of work(), in their order, where in the code it comes from. work() runs to its end in a child."""
    library = sysconfig.get_path("stdlib") + os.sep

    def note():
        frame, place = sys._getframe(1), []
        while frame:
            # Not the library's: a tree is removed in as many depths as it has.
            if not frame.f_code.co_filename.startswith((library, "<frozen")):
                place.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            frame = frame.f_back
        os.write(found.fileno(), (" ".join(place) + "\n").encode())

    with tempfile.TemporaryFile() as found:
        _child(work, note)
        found.seek(0)
        return found.read().decode().splitlines()


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
    """As every_kill, of the effects that come from the same place in the code only before the first, one in the middle
    and the last: the removal of a large tree is one step, not a thousand. Of those, count, chosen at random with this
    seed (None: all)."""
    whole, same = prepare(), {}
    for number, place in enumerate(places(lambda: work(whole))):
        same.setdefault(place, []).append(number)
    numbers = sorted({of[at] for of in same.values() for at in (0, len(of) // 2, -1)})
    if count is not None:
        numbers = sorted(random.Random(seed).sample(numbers, min(count, len(numbers))))
    for number in numbers:
        scene = prepare()
        if kill_before(number, lambda scene=scene: work(scene)):
            yield number, scene
