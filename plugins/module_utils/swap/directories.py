# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage half of a swap: directories that change names within one file system."""
from __future__ import annotations

import itertools
import os
import re
import shutil

from ..core.errors import RefusedError, from_os_error
from ..core.files import fsync_dir


def mount_points(text: str) -> list:
    """Mount points of /proc/self/mountinfo (proc(5): fifth field, blanks and the like as octal escapes). Pure."""
    return [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), line.split()[4])
            for line in text.splitlines() if len(line.split()) > 4]


def mounts() -> list:
    """The mount points that this process sees."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as handle:
        return mount_points(handle.read())


def is_below(path: str, ancestor: str) -> bool:
    """Whether path lies inside ancestor (or is it). Both absolute and without symbolic links. Pure."""
    return path == ancestor or path.startswith(ancestor.rstrip("/") + "/")


def mount_of(path: str, points) -> str:
    """The mount point that holds path. Pure."""
    return max((point for point in points if is_below(path, point)), key=len, default="/")


def _file_system(directory: str, points) -> tuple:
    """What two directories have to share for a rename between them: a bind mount has the device of another one."""
    return os.stat(directory).st_dev, mount_of(directory, points)


def resolved(path: str) -> str:
    """The path with the symbolic links of the directory itself and above it followed."""
    return os.path.realpath(path)


def identity(path: str):
    """The inode of a directory, or None when there is nothing. A rename keeps it; a new directory has another one.

    The device number is left out: it may change with a reboot, and all names are on one file system.
    Raises RefusedError when something else than a directory has the name.
    """
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not os.path.isdir(path) or os.path.islink(path):
        raise RefusedError(f"{path} is not a directory.", reason="not_a_directory",
                           hint="Storage is swapped by renaming directories; give the path of one.",
                           detail={"path": path})
    return found.st_ino


def check_paths(names) -> None:
    """Refuses names that cannot be renamed into each other: nested, on different file systems, mount points.

    names: position.Names of resolved absolute paths. Raises RefusedError; nothing was touched.
    """
    paths = names.all()
    for path, other in itertools.permutations(paths, 2):
        if is_below(other, path):
            raise RefusedError(f"{other} is {path} or lies inside it; a rename of one would move the other.",
                               reason="storage_nested", hint="Put the directories beside each other.",
                               detail={"paths": list(paths)})
    points = mounts()
    live_parent = os.path.dirname(names.live)
    for path in paths:
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            raise RefusedError(f"The directory {parent} does not exist, so {path} cannot be there.",
                               reason="storage_parent_missing", hint=f"Put it beside {names.live}.",
                               detail={"path": path})
        if not os.access(parent, os.W_OK | os.X_OK):
            raise RefusedError(f"Names in {parent} may not be changed by this user.", reason="permission_denied",
                               hint="Run with become on the worker host.", detail={"path": parent})
        for point in points:
            if is_below(point, path):
                what = "is a mount point" if point == path else f"holds the mount point {point}"
                raise RefusedError(
                    f"{path} {what}, which cannot be renamed away.", reason="storage_mount_point",
                    hint="Let kestra.storage.local.base-path name a directory below the mount point.",
                    detail={"path": path, "mount_point": point})
        if _file_system(parent, points) != _file_system(live_parent, points):
            raise RefusedError(f"{path} and {names.live} are on different file systems; a rename cannot cross them.",
                               reason="storage_other_file_system", hint=f"Put it beside {names.live}.",
                               detail={"path": path, "live": names.live})


class DirectoryStore:
    """Storage as the swap sees it."""

    kind = "storage"

    def identities(self, names) -> dict:
        """{path: identity or None}."""
        return {path: identity(path) for path in names.all()}

    def possible(self, names) -> None:
        """Raises RefusedError for names that cannot be renamed into each other."""
        check_paths(names)

    def check(self, names) -> None:
        """Raises RefusedError when a rename cannot work now."""
        check_paths(names)

    def rename(self, pairs) -> None:
        """Renames one after the other, each durable before the next. Raises DrError."""
        for source, target in pairs:
            if os.path.lexists(target):  # rename(2) would replace an empty directory without a word
                raise RefusedError(f"{target} exists already.", reason="storage_exists", detail={"path": target})
            try:
                os.rename(source, target)
                for parent in sorted({os.path.dirname(source), os.path.dirname(target)}):
                    fsync_dir(parent)
            except OSError as exc:
                raise from_os_error(exc, f"renaming {source} to {target}") from exc

    def remove(self, path, expected) -> bool:
        """Removes a whole directory whose identity is the expected one. Returns whether there was anything.

        rmtree does not follow symbolic links out of the tree; a rerun goes on where a killed one ended.
        """
        found = identity(path)
        if found is None:
            return False
        if found != expected:
            raise RefusedError(f"{path} is not the directory that this undo point names; it stays.", reason="not_ours",
                               detail={"path": path})
        for point in mounts():
            if is_below(point, path):
                raise RefusedError(f"{path} holds the mount point {point}; it stays.", reason="storage_mount_point",
                                   hint="Unmount it first.", detail={"path": path, "mount_point": point})
        try:
            shutil.rmtree(path)
            fsync_dir(os.path.dirname(path))
        except OSError as exc:
            raise from_os_error(exc, f"removing {path}") from exc
        return True
