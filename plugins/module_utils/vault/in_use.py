# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads a sealed point and who removes it, so that none is pruned away beneath a verification.

One kernel lock for each point, which ends with the process that holds it. It is not the lock of the instance: a
verification takes as long as a restore, and backups go on meanwhile.
"""
from __future__ import annotations

import contextlib
import fcntl
import os

from ..core.errors import RefusedError


@contextlib.contextmanager
def reading(catalog, point):
    """Keeps the point while the body runs. Raises RefusedError when it is being removed."""
    with open(_path(catalog, point), "a+b") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(f"The recovery point {point} is being removed.", reason="pruning") from None
        yield


@contextlib.contextmanager
def removing(catalog, point):
    """Keeps readers away while the body runs. Yields False, and keeps nobody away, when somebody reads the point."""
    path = _path(catalog, point)
    with open(path, "a+b") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        # A reader that has opened it meanwhile gets its lock, and then finds no such point.
        os.unlink(path)


def _path(catalog, point) -> str:
    directory = catalog.below("verifying")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return os.path.join(directory, f"{point}.lock")
