# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disaster: database and storage gone while Kestra runs.

Destroyed in the lab; for a user's own Kestra moved out of its reach.
"""
from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import DrillError
from .bucket import Bucket
from .database import aside_name


def storage_size(storage) -> tuple:
    """(files, bytes) of a directory or a Bucket."""
    return storage.size() if isinstance(storage, Bucket) else tree_size(storage)


def storage_trace(storage) -> set:
    """What tells a storage that is there from one that was made in its place: a set, empty when there is none."""
    if isinstance(storage, Bucket):
        return storage.trace()
    return {storage.stat().st_ino} if storage.exists() else set()


def tree_size(path) -> tuple:
    """(files, bytes) below a directory; what vanishes meanwhile is not counted."""
    files = total = 0
    for directory, _names, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size
                files += 1
            except FileNotFoundError:
                continue
    return files, total


def destroy(database, storage) -> None:
    """Destroys both for good. A directory is renamed first: Kestra may still be writing into it."""
    database.drop()
    if isinstance(storage, Bucket):
        storage.destroy()
        return
    doomed = Path(storage).with_name(Path(storage).name + ".destroyed")
    os.rename(storage, doomed)
    shutil.rmtree(doomed)


def why_not_movable(storage):
    """Why a storage directory cannot be moved aside by rename, or None."""
    path = Path(storage)
    if not path.is_dir():
        return f"{path} is not a directory"
    if path.is_symlink() or os.path.ismount(path):
        return f"{path} is a mount point or a link; Kestra's storage has to be a directory below it"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"{path.parent} may not be written"
    return None


def plan_aside(database_name, storage, serial) -> dict:
    """Where both are moved to: {"database": {"from", "to"}, "storage": {"from", "to"}}."""
    path = Path(storage)
    return {
        "database": {"from": database_name, "to": aside_name(database_name, serial)},
        "storage": {"from": str(path), "to": str(path.with_name(f"{path.name}.drill-{serial}"))},
    }


def move_aside(database, aside) -> None:
    """Carries the plan out: database first, as a backup does."""
    database.rename(aside["database"]["from"], aside["database"]["to"])
    os.rename(aside["storage"]["from"], aside["storage"]["to"])


def put_back(database, aside, serial, say) -> None:
    """Undoes move_aside(), whatever lies in the way being kept under a name of its own. say(text): told each step.

    Safe to repeat; does nothing for a part that was never moved or is back already. Raises DrillError.
    """
    old, new = aside["database"]["from"], aside["database"]["to"]
    if database.exists(new):
        if database.exists(old):
            kept = aside_name(old, serial, "restored")
            database.rename(old, kept)
            say(f"database {old} (restored by the drill) is now {kept}")
        database.rename(new, old)
        say(f"database {new} is {old} again")
    elif not database.exists(old):
        raise DrillError(f"There is neither a database {new} nor {old}; nothing can be put back.")
    home, away = Path(aside["storage"]["from"]), Path(aside["storage"]["to"])
    if away.is_dir():
        if home.exists():
            kept = home.with_name(f"{home.name}.restored-{serial}")
            os.rename(home, kept)
            say(f"storage {home} (restored by the drill) is now {kept}")
        os.rename(away, home)
        say(f"storage {away} is {home} again")
    elif not home.is_dir():
        raise DrillError(f"There is neither a directory {away} nor {home}; nothing can be put back.")


def forget_aside(database, aside) -> None:
    """Removes what was moved aside, once the verdict is in."""
    database.drop(aside["database"]["to"])
    shutil.rmtree(aside["storage"]["to"])
