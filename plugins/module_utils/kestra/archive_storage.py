# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives in Kestra's storage, which is a directory or a bucket.

A directory is where the command line is: it is reached in the same way and as the same user, by cat, tee, sha256sum and the
like. A bucket is reached from the host the module runs on.
"""
from __future__ import annotations

import hashlib
import os
import re

from ..core import files
from ..core.errors import ConfigError, DrError, IntegrityError, RefusedError, StateError, ToolError
from ..storage.objects import client
from ..storage.objects import options as objects
from ..storage.objects.bucket import md5_text
from ..storage.objects.listing import Entry
from . import metadata


def of_module(module, redactor, cli, configuration):
    """The storage that the options name. configuration: as the command line reads it, or None.

    Raises ConfigError, RefusedError (unsupported_storage).
    """
    params = module.params
    if not params["storage_path"]:
        place = objects.of_kestra(module, redactor, configuration, params["storage_credentials_file"])
        if place:
            return Bucket(place)
    return Directory(cli, local_base(params["storage_path"], configuration))


def local_base(storage_path, configuration) -> str:
    """Root of the local storage where the command line is. Raises ConfigError, RefusedError (unsupported_storage)."""
    if storage_path:
        return storage_path.rstrip("/") or "/"
    if configuration is None:
        raise ConfigError("Nothing says where Kestra's internal storage is.", reason="config_missing",
                          hint="Give storage_path, or config with Kestra's configuration.")
    described = configuration.describe_storage()
    if described["type"] != "local":
        raise RefusedError(f"Kestra's internal storage is {described['type'] or 'not set'}, which is not covered.",
                           reason="unsupported_storage", hint="Copy the archive by the storage's own means.")
    if not described["base_path"]:
        raise ConfigError("kestra.storage.local.base-path cannot be told.", reason="config_missing",
                          hint="Give storage_path.")
    return str(described["base_path"]).rstrip("/") or "/"


class _Storage:
    """What both can do. base: where it is, for people."""

    base: str

    def fetch(self, location, path, progress=None):
        """Copies an archive out to path. Returns the HashingWriter; its digest is that of the storage."""
        expected = self.sha256(location)
        if expected is None:
            raise StateError(f"Kestra says it made {location.uri}, but {self.path(location)} is not there.",
                             reason="archive_missing",
                             hint="Check storage_path, and that the command line and the storage are those of one "
                                  "instance.", detail={"uri": location.uri})
        with files.AtomicFile(path) as handle:
            writer = files.HashingWriter(handle)
            self._read(location, writer, (lambda _n: progress.update(writer.size)) if progress else None)
            if writer.sha256 != expected:
                raise IntegrityError(f"The copy of {location.uri} is not what is in the storage.",
                                     reason="digest_differs", hint="Run the backup again.",
                                     detail={"sha256": writer.sha256, "expected": expected, "size": writer.size})
        return writer

    def put(self, location, path, sha256) -> None:
        """Copies an archive from path into the storage, and compares."""
        self._write(location, path)
        if self.sha256(location) != sha256:
            self._discard(self.path(location))
            raise IntegrityError(f"What was put into Kestra's storage as {location.uri} is not {path}.",
                                 reason="digest_differs", hint="Nothing was restored. Run it again.")

    def surplus(self, location, keep) -> list:
        """Paths of the older archives beside this one, oldest first, beyond the newest keep."""
        directory = os.path.dirname(self.path(location))
        return [f"{directory}/{name}" for name in older(self._beside(directory), location.name, keep)]

    def _discard(self, path) -> None:
        try:
            self.remove([path])
        except DrError:
            return  # the error on its way says more


class Directory(_Storage):
    """A local storage. base: its root where the command line is."""

    def __init__(self, cli, base):
        self._cli = cli
        self.base = base

    def require(self) -> None:
        """Whether it is there shows when Kestra has written into it."""

    def path(self, location) -> str:
        """Archives lie at the root, not in a tenant's directory."""
        return (self.base if self.base != "/" else "") + location.path

    def sha256(self, location):
        """Hex sha256 of an archive, None when it is not there."""
        path = self.path(location)
        done = self._cli.program(["sha256sum", path], ok=(0, 1))
        found = re.match(r"([0-9a-f]{64})\b", done.stdout)
        if done.rc == 0 and found:
            return found.group(1)
        if "No such file" in done.stderr_tail or "Not a directory" in done.stderr_tail:
            return None
        last = done.stderr_tail.splitlines()
        raise ToolError(f"{path} in Kestra's storage cannot be read: {last[-1] if last else 'no reason given'}",
                        reason="archive_unreadable", detail={"rc": done.rc, "stderr_tail": done.stderr_tail})

    def _read(self, location, writer, on_bytes) -> None:
        self._cli.read(["cat", self.path(location)], writer, on_bytes=on_bytes)

    def _write(self, location, path) -> None:
        target = self.path(location)
        part = files.part_name(target)
        self._cli.program(["mkdir", "-p", os.path.dirname(target)])
        try:
            with open(path, "rb") as handle:
                self._cli.write(["tee", part], handle)
            self._cli.program(["mv", part, target])
        except BaseException:
            self._discard(part)
            raise

    def _beside(self, directory) -> list:
        return self._cli.program(["ls", "-1", directory]).stdout.splitlines()

    def remove(self, paths) -> None:
        """Removes archives, with their side files."""
        if paths:
            self._cli.program(["rm", "-f", *paths, *[path + ".metadata" for path in paths]])


# What Kestra names the empty object that stands for a directory, after the directory: nothing more where it is not told.
_MARKS = {"azure": ".kestradirectory"}


class Bucket(_Storage):
    """A storage in a bucket. place: objects.Place."""

    def __init__(self, place):
        self._place = place
        self.base = f"{place.bucket}/{place.prefix}".rstrip("/")
        self._slash = None  # what keys begin with

    def require(self) -> None:
        """Raises DrError when the bucket does not let itself be listed."""
        with client.opened(self._place) as bucket:
            self._first(bucket)

    def _first(self, bucket) -> str:
        # Before 0.23 every key began with a slash.
        if self._slash is None:
            self._slash = "/" if list(bucket.directories("")) == ["/"] else ""
        return self._slash

    def path(self, location) -> str:
        """Archives lie at the root, not in a tenant's directory."""
        return self.base + location.path

    def _key(self, bucket, path) -> str:
        """The key of what path() names."""
        return self._first(bucket) + path[len(self.base):].lstrip("/")

    def _entry(self, bucket, location):
        key = self._key(bucket, self.path(location))
        return next((entry for entry in bucket.objects(key) if entry.key == key), None)

    def sha256(self, location):
        """Hex sha256 of an archive, None when it is not there."""
        digest = hashlib.sha256()
        with client.opened(self._place) as bucket:
            entry = self._entry(bucket, location)
            if entry is None:
                return None
            bucket.read(entry, digest.update)
        return digest.hexdigest()

    def _read(self, location, writer, on_bytes) -> None:
        def sink(block):
            writer.write(block)
            if on_bytes:
                on_bytes(len(block))

        with client.opened(self._place) as bucket:
            bucket.read(Entry(self._key(bucket, self.path(location)), 0, "", ""), sink, same=False)

    def _write(self, location, path) -> None:
        with client.opened(self._place) as bucket, open(path, "rb") as body:
            key, digest = self._key(bucket, self.path(location)), hashlib.md5(usedforsecurity=False)
            size = 0
            for block in iter(lambda: body.read(files.CHUNK), b""):
                digest.update(block)
                size += len(block)
            for mark in self._marks(key):
                if not any(entry.key == mark for entry in bucket.objects(mark)):
                    bucket.put(Entry(mark, 0, "", ""))
            bucket.write(Entry(key, size, "", ""), body, md5_text(digest.digest()))

    def _marks(self, key):
        """The empty objects that stand for the directories above a key."""
        name = _MARKS.get(self._place.kind, "")
        return [key[:end + 1] + name for end, letter in enumerate(key) if letter == "/" and end]

    def _beside(self, directory) -> list:
        with client.opened(self._place) as bucket:
            below = self._key(bucket, directory) + "/"
            return [entry.key[len(below):] for entry in bucket.objects(below)]

    def remove(self, paths) -> None:
        """Removes archives; where the bucket keeps versions they stay as such."""
        if paths:
            with client.opened(self._place) as bucket:
                bucket.delete(self._key(bucket, path) for path in paths)


def older(names, newest, keep) -> list:
    """Which archives to remove so that keep remain, the newest among them: only older ones, oldest first. Pure."""
    before = sorted(name for name in set(names) if metadata.NAME.fullmatch(name) and name < newest)
    return before[:max(len(before) - (keep - 1), 0)]
