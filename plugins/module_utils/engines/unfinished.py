# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump in the making: claimed by its run, swept when that has died; and the finished one compared with its list."""
from __future__ import annotations

import contextlib
import os
import shutil

from ..core import clock, files
from ..core.errors import IntegrityError, LockedError, StateError

OWNER = "owner.json"


def claim(part) -> None:
    """Makes the directory of a dump in the making, with the name of its run in it."""
    os.mkdir(part, 0o700)
    pid = os.getpid()
    owner = {"pid": pid, "pid_start": clock.process_start(pid), "boot_id": clock.boot_id(), "started": clock.utc_now()}
    files.write_json(os.path.join(part, OWNER), owner)


def sweep(dest, end_orphans=None) -> bool:
    """Removes what a dead run left in DEST.part. Raises LockedError while the run lives.

    end_orphans(part): ends what that run has left running.
    """
    part = files.part_name(dest)
    if not os.path.isdir(part):
        return False
    owner = {}
    with contextlib.suppress(StateError, IntegrityError):
        owner = files.read_json(os.path.join(part, OWNER))
    if clock.process_alive(owner.get("pid"), owner.get("pid_start"), owner.get("boot_id")):
        raise LockedError(f"Another run (pid {owner['pid']}) is writing to {dest}.", reason="dump_running",
                          hint="Wait for it, or abort it.", detail={"pid": owner["pid"]})
    if end_orphans:
        end_orphans(part)
    shutil.rmtree(part)
    return True


def verify_files(directory, listed, progress=None) -> None:
    """Compares every file of a dump with its size and sha256. Raises IntegrityError naming the first that differs."""
    total, done = sum(item["size"] for item in listed), [0]

    def advance(count):
        done[0] += count
        if progress:
            progress.update(done[0], total, message="digests")

    for item in listed:
        path = os.path.join(directory, item["path"])
        if not os.path.isfile(path):
            raise IntegrityError(f"The file {item['path']} of the dump is missing.", reason="file_missing",
                                 hint="Nothing was restored. Fetch the recovery point again, or use another one.",
                                 detail={"file": item["path"]})
        if os.path.getsize(path) != item["size"] or files.sha256_file(path, advance) != item["sha256"]:
            raise IntegrityError(f"The file {item['path']} of the dump is not what was backed up.",
                                 reason="digest_differs",
                                 hint="Nothing was restored. Fetch the recovery point again, or use another one.",
                                 detail={"file": item["path"], "size": os.path.getsize(path), "expected": item["size"]})
    added = sorted(set(os.listdir(directory)) - {item["path"] for item in listed})
    if added:
        raise IntegrityError(f"The dump holds a file its manifest does not name: {added[0]}.", reason="file_added",
                             hint="Nothing was restored. Fetch the recovery point again.", detail={"files": added[:20]})
