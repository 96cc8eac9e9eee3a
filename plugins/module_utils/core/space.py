# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is there room on every file system for all that is going to be written to it?"""
from __future__ import annotations

import os

from .errors import RefusedError
from .files import free_bytes
from .waiting import human_bytes


def nearest(path) -> str:
    """The path itself, or the nearest directory above it that exists."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def by_file_system(needs, device=lambda path: os.stat(path).st_dev, free=free_bytes) -> list:
    """What each file system has and has to take: [{path, free_bytes, needed_bytes, what}].

    needs: [{path, bytes, what}]; a path need not exist yet. The path of the answer is one on that file system.
    """
    found: dict = {}
    for need in needs:
        place = nearest(need["path"])
        entry = found.setdefault(device(place), {"path": place, "free_bytes": free(place), "needed_bytes": 0, "what": []})
        entry["needed_bytes"] += need["bytes"]
        entry["what"].append(need["what"])
    return list(found.values())


def require(file_systems) -> None:
    """Raises RefusedError (reason disk_full) naming every file system without room."""
    short = [item for item in file_systems if item["needed_bytes"] > item["free_bytes"]]
    if short:
        raise RefusedError(
            "There is not enough room. " + " ".join(
                f"{' and '.join(item['what'])} need {human_bytes(item['needed_bytes'])} on the file system of {item['path']}, "
                f"which has {human_bytes(item['free_bytes'])} free." for item in short),
            reason="disk_full", hint="Free space there, then run again.", detail={"file_systems": file_systems})
