# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores one path of a snapshot exactly at a target: all of it and checked, or nothing at all.

restic puts everything under its whole path in the snapshot, returns 0 when the path does not exist, and 0.14 drops
errors of chmod. So the path is restored into a hidden sibling of the target, compared entry by entry with what the
snapshot says, and moved into its place by one rename.
"""
from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
import time

from ..core.errors import ConfigError, IntegrityError, LockedError, RefusedError, ToolError
from ..core.files import free_bytes, fsync_dir, read_json, write_json
from ..storage import local, pinned
from ..storage.compare import compare, compare_tree, default_ignore, difference
from ..storage.listing import Entry
from . import restic_output as output
from .restic import Restic

SUFFIX = ".kestra-dr-restoring"
_TYPES = {"file": "f", "dir": "d", "symlink": "l"}
# What a file system needs beside the files themselves: blocks rounded up, directories. Per entry and in all.
_BYTES_PER_ENTRY = 4096


def snapshot_entry(node: dict, above: str) -> Entry | None:
    """An entry of a listing for a node of "ls", its path relative to above; None for special files.

    Paths stay as restic prints them (see output.lossy); targets of symbolic links are not known.
    """
    kind = _TYPES.get(node["type"])
    if kind is None:
        return None
    path = node["path"][len(above.rstrip("/")) + 1:]
    return Entry(path.encode("utf-8", "surrogatepass"), kind, node["size"] if kind == "f" else 0, node["mode"],
                 node["uid"], node["gid"], node["mtime_ns"])


def disk_entries(root):
    """The entries of a tree on disk, named as restic would print them."""
    for entry in local.walk(root, local.Refusals()):
        yield entry._replace(path=output.lossy(entry.path).encode("utf-8"), target=None)


def measure(restic: Restic, snapshot: str, path: str) -> dict:
    """{files, directories, symlinks, special, bytes} of what is at and below path (which does not count itself)."""
    found = {"files": 0, "directories": 0, "symlinks": 0, "special": 0, "bytes": 0}
    names = {"file": "files", "dir": "directories", "symlink": "symlinks"}
    for node in restic.ls(snapshot, path):
        if node["type"] != "dir" or node["path"] != path:
            found[names.get(node["type"], "special")] += 1
        found["bytes"] += node["size"]
    return found


def check_target(target) -> None:
    """Raises unless target does not exist, or is an empty directory, below an existing directory."""
    if not os.path.isabs(target):
        raise ConfigError(f"The target {target} must be an absolute path.", reason="bad_path")
    parent = os.path.dirname(os.path.normpath(target))
    if not os.path.isdir(parent):
        raise ConfigError(f"The directory {parent} for the target does not exist.", reason="target_parent_missing")
    if not os.path.lexists(target):
        return
    if os.path.islink(target) or not os.path.isdir(target) or _content(target):
        raise RefusedError(f"The target {target} exists and is not an empty directory; nothing was restored.",
                           reason="target_not_empty",
                           hint="Restore beside it under a new name, or move the old content away first.")


def _content(directory) -> list:
    # Our own unfinished work, and what mkfs makes, do not make a file system non-empty.
    return [name for name in os.listdir(directory) if name not in (SUFFIX, "lost+found")]


def check_space(target, size: dict) -> None:
    """Raises RefusedError (no_space) when the file system of target cannot hold what measure() found."""
    place = target if os.path.isdir(target) else os.path.dirname(os.path.normpath(target))
    needed = size["bytes"] + _BYTES_PER_ENTRY * sum(size[name] for name in ("files", "directories", "symlinks"))
    free = free_bytes(place)
    if free < needed:
        raise RefusedError(f"{place} has {free} bytes free, the restore needs {needed}; nothing was restored.",
                           reason="no_space", detail={"free": free, "needed": needed, "path": place})


def restore_path(restic: Restic, snapshot: str, path: str, target, *, verify=True, expect=None, kept=None,
                 receipt=None, on_phase=None, on_progress=None) -> dict:
    """Restores path of a snapshot so that it lies at target, with owners, modes, times and empty directories.

    verify: restic reads all content back and compares it with its digests. Metadata is always compared.
    expect: list of a storage (storage.listing) that the restored tree must equal, digests included. kept: what was held at the
    pin of it (storage.pinned), which is put in its place before.
    receipt: file in which a finished restore is noted before the last step; with it a rerun after a crash recognises
    its own work at target. on_phase(name): measuring, restoring, comparing, placing.
    Result: {changed, snapshot, path, target, files, directories, symlinks, bytes, seconds, verified, compared}.
    Raises RefusedError (target_not_empty, no_space), StateError (snapshot_missing, path_missing), LockedError (another
    restore to the same target runs), IntegrityError (repository_damaged, restore_differs), ToolError.
    """
    started = time.monotonic()
    on_phase = on_phase or (lambda name: None)
    target = os.path.normpath(os.fspath(target))
    path = os.path.normpath("/" + path.lstrip("/"))
    snapshot = restic.snapshot(snapshot)["id"]
    done = _own_work(receipt, snapshot, path, target)
    if done:
        return dict(done, changed=False)
    check_target(target)
    on_phase("measuring")
    size = measure(restic, snapshot, path)
    check_space(target, dict(size, bytes=size["bytes"] + (os.path.getsize(kept) if kept else 0)))
    if size["special"]:
        raise RefusedError(f"{path} holds {size['special']} special files (devices, sockets), which are not restored.",
                           reason="special_files")
    with _scratch(target) as scratch:
        on_phase("restoring")
        restic.restore(snapshot, scratch, None if path == "/" else path, verify=verify, total_bytes=size["bytes"],
                       on_progress=on_progress)
        restored = scratch if path == "/" else os.path.join(scratch, path[1:])
        if not os.path.lexists(restored):
            raise IntegrityError(f"restic restored nothing of {path}.", reason="restore_differs")
        on_phase("comparing")
        _compare(restic, snapshot, path, restored)
        if kept:
            pinned.settle(restored, expect, kept)
        compared = None if expect is None else _expected(expect, restored, path, bool(kept), on_progress)
        on_phase("placing")
        result = {"changed": True, "snapshot": snapshot, "path": path, "target": target, "verified": verify,
                  "compared": compared,
                  "files": size["files"], "directories": size["directories"], "symlinks": size["symlinks"],
                  "bytes": size["bytes"], "seconds": time.monotonic() - started}
        _place(restored, target, receipt, result)
    return result


def _own_work(receipt, snapshot, path, target):
    if receipt is None or not os.path.exists(receipt) or not os.path.lexists(target):
        return None
    noted = read_json(receipt)
    result = noted["result"]
    if (result["snapshot"], result["path"], result["target"]) != (snapshot, path, target):
        return None
    return result if noted["place"] == _place_of(target) else None


def _place_of(path) -> list:
    status = os.lstat(path)
    return [status.st_dev, status.st_ino]


@contextlib.contextmanager
def _scratch(target):
    """An empty private directory on target's file system: a killed restore's is swept, a living one's is refused."""
    parent, name = os.path.split(target)
    scratch = os.path.join(target, SUFFIX) if os.path.ismount(target) else os.path.join(parent, f".{name}{SUFFIX}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(scratch, 0o700)
    handle = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"Another restore to {target} is running.", reason="restore_running",
                              hint="Wait for it to end.") from None
        try:
            _empty(scratch)
            yield scratch
        finally:
            # After a placing that moved scratch itself there is nothing here, or the next run's: only ours is removed.
            if os.path.isdir(scratch) and os.path.samestat(os.stat(scratch), os.fstat(handle)):
                shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(handle)


def _empty(directory):
    for item in os.scandir(directory):
        if item.is_dir(follow_symlinks=False):
            shutil.rmtree(item.path)
        else:
            os.unlink(item.path)


def _compare(restic, snapshot, path, restored):
    ignore = default_ignore() + ("target",)
    nodes = restic.ls(snapshot, path)
    root = snapshot_entry(next(nodes), os.path.dirname(path)) if path != "/" else None
    wrong = None
    if root is not None:
        name = os.path.basename(path).encode("utf-8", "surrogateescape")
        wrong = difference(root, _single(restored, name), ignore)
    if os.path.isdir(restored) and not os.path.islink(restored):
        found = compare((entry for entry in (snapshot_entry(node, path) for node in nodes) if entry),
                        disk_entries(restored), ignore)
    else:
        found = {"differences": 0, "counts": {}, "examples": {}}
    nodes.close()
    if wrong or found["differences"]:
        raise IntegrityError(
            f"What restic restored of {path} differs from the snapshot: "
            + (f"{wrong} of {path} itself" if wrong else f"{found['differences']} entries")
            + ". It was removed again, the target was not touched.", reason="restore_differs",
            detail={"counts": found["counts"], "examples": found["examples"], "root": wrong})


def _expected(expect, restored, path, settled, on_progress) -> dict:
    found = compare_tree(expect, restored, settled=settled, on_progress=on_progress)
    if found["verdict"] != "equal":
        raise IntegrityError(
            f"What was restored of {path} differs from its list in {found['differences']} entries. It was removed "
            "again, the target was not touched.", reason="restore_differs",
            detail={"counts": found["counts"], "examples": found["examples"]})
    return found


def _single(path, name: bytes) -> Entry:
    status = os.lstat(path)
    kind = "d" if stat.S_ISDIR(status.st_mode) else "l" if stat.S_ISLNK(status.st_mode) else "f"
    return Entry(name, kind, status.st_size if kind == "f" else 0, stat.S_IMODE(status.st_mode), status.st_uid,
                 status.st_gid, status.st_mtime_ns)


def _place(restored, target, receipt, result):
    """Moves what was restored to its target: durable first, then one rename (a mount point gets its content moved)."""
    _sync_file_system(os.path.dirname(restored))
    mount = os.path.ismount(target)
    if receipt is not None:
        write_json(receipt, {"place": _place_of(target if mount else restored), "result": result})
    if not mount:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(target)
        os.rename(restored, target)
        fsync_dir(os.path.dirname(target))
        return
    status = os.lstat(restored)
    for name in os.listdir(restored):
        if name != SUFFIX:
            os.rename(os.path.join(restored, name), os.path.join(target, name))
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    fsync_dir(target)


def _sync_file_system(path):
    """syncfs(2): restic does not sync what it restores."""
    library = ctypes.CDLL(None, use_errno=True)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise ToolError(f"The restored files could not be written to disk: {os.strerror(number)}.",
                            reason="disk_full" if number == errno.ENOSPC else "io_error")
    finally:
        os.close(handle)
