# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either whole or absent, digests on the way, and JSON with sorted keys."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os

from .errors import IntegrityError, StateError

CHUNK = 1 << 20


def fsync_dir(path) -> None:
    """Makes a rename or a creation inside the directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def part_name(path) -> str:
    """The name of the unfinished file of path: same directory, so that the last step is one rename."""
    return os.fspath(path) + ".part"


class AtomicFile:
    """Writes path by way of path.part: O_EXCL, fsync, rename, fsync of the directory. After an error .part is removed.

    A .part left by a killed process is replaced: whoever writes here holds the lock of its job or instance.
    durable=False leaves the fsyncs out (for files that only inform, like progress).
    """

    def __init__(self, path, mode=0o600, durable=True):
        self.path = os.fspath(path)
        self._mode = mode
        self._durable = durable
        self._handle = None

    def __enter__(self):
        part = part_name(self.path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self._mode)
        os.fchmod(fd, self._mode)
        self._handle = os.fdopen(fd, "wb")
        return self._handle

    def __exit__(self, kind, value, trace):
        part = part_name(self.path)
        try:
            if kind is None:
                self._handle.flush()
                if self._durable:
                    os.fsync(self._handle.fileno())
                self._handle.close()
                os.rename(part, self.path)
                if self._durable:
                    fsync_dir(os.path.dirname(self.path) or ".")
        finally:
            with contextlib.suppress(OSError):
                self._handle.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)


def atomic_write(path, data, mode=0o600, durable=True) -> None:
    """Replaces path by data (str or bytes) in one step."""
    with AtomicFile(path, mode, durable) as handle:
        handle.write(data.encode("utf-8") if isinstance(data, str) else data)


class HashingWriter:
    """A writer that counts and hashes what passes. fileobj None: count and hash only."""

    def __init__(self, fileobj=None):
        self._file = fileobj
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data) -> int:
        if self._file is not None:
            self._file.write(data)
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def sha256_file(path, on_bytes=None) -> str:
    """Hex sha256 of a file. on_bytes(n): called with the size of each block read."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while True:
            block = handle.read(CHUNK)
            if not block:
                return digest.hexdigest()
            digest.update(block)
            if on_bytes:
                on_bytes(len(block))


def read_json(path) -> dict:
    """The JSON object in path. Raises StateError (missing) or IntegrityError (anything else)."""
    try:
        with open(path, "rb") as handle:
            value = json.loads(handle.read().decode("utf-8"))
    except FileNotFoundError:
        raise StateError(f"There is no file {path}.", reason="not_found") from None
    except ValueError as exc:
        raise IntegrityError(f"{path} is not valid JSON: {exc}.", reason="malformed_json") from None
    if not isinstance(value, dict):
        raise IntegrityError(f"{path} holds no JSON object.", reason="malformed_json")
    return value


def write_json(path, value, mode=0o600, durable=True) -> None:
    """Writes value atomically: sorted keys, two spaces, one newline at the end."""
    atomic_write(path, json.dumps(value, sort_keys=True, indent=2) + "\n", mode, durable)


def free_bytes(path) -> int:
    """Bytes an unprivileged user may still write on the file system of path (statvfs f_bavail)."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize
