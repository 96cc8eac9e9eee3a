# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's internal storage in a bucket, whoever's it is."""
from __future__ import annotations

import contextlib

from .storage import LocalStorage, StorageError


class BucketStorage:
    """The same as LocalStorage in a bucket: every directory above an object has an empty one of its name with a slash,
    and what would be in a side file is the object's user metadata. Keys begin without a slash, as since Kestra 0.23.

    Each provider's has _open(settings), _keys(start), _write(key, content, metadata), _read(key), _metadata(key),
    _remove(key), and ERRORS."""

    SCHEME = LocalStorage.SCHEME

    def __init__(self, settings, tenant=None):
        self._prefix = "".join(part.strip("/") + "/" for part in (settings.get("path") or "", tenant or "") if part.strip("/"))
        self._made = set()
        self._open(settings)

    @contextlib.contextmanager
    def _told(self, uri):
        try:
            yield
        except self.ERRORS as error:
            raise StorageError("%s: %s" % (uri, error)) from None

    def _key(self, uri):
        if uri.startswith(self.SCHEME):
            uri = uri[len(self.SCHEME):]
        if not uri.startswith("/") or ".." in uri.split("/"):
            raise StorageError("Invalid storage path %s" % uri)
        return self._prefix + uri.strip("/")

    def missing(self):
        """Whether it is there is not asked: Kestra's health does not tell of a bucket."""
        return False

    def put(self, path, content, metadata=None):
        """Write an object (bytes) and the marks of the directories above it; returns the URI."""
        key = self._key(path)
        with self._told(path):
            self._mark(key.rpartition("/")[0])
            self._write(key, content, {name: str(value) for name, value in (metadata or {}).items()})
        return self.SCHEME + path

    def _mark(self, directory):
        parts = directory.split("/")
        for number in range(1, len(parts) + 1):
            mark = "/".join(parts[:number]) + "/"
            if mark != "/" and mark not in self._made:
                self._write(mark, b"", {})
                self._made.add(mark)

    def get(self, uri):
        """An object's bytes."""
        with self._told(uri):
            return self._read(self._key(uri))

    def metadata(self, uri):
        """An object's user metadata; None when it has none."""
        with self._told(uri):
            return dict(self._metadata(self._key(uri)) or {}) or None

    def exists(self, uri):
        """True for an object or directory."""
        key = self._key(uri)
        return any(found == key or found.startswith(key + "/") for found in self._keys(key))

    def make_directory(self, path):
        """Mark a directory that may stay empty."""
        self._mark(self._key(path))

    def delete(self, uri):
        """Delete an object, or a whole directory; True when there was something."""
        key = self._key(uri)
        gone = [found for found in self._keys(key) if found == key or found.startswith(key + "/")]
        for found in gone:
            self._remove(found)
        self._made.clear()
        return bool(gone)

    def files(self, path):
        """Storage paths of all objects below a directory, sorted."""
        top = self._key(path)
        top = top and top.rstrip("/") + "/"
        return sorted(path.rstrip("/") + "/" + found[len(top):] for found in self._keys(top) if not found.endswith("/"))
