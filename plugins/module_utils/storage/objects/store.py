# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local copy of a bucket: contents under the names of their digests, and a list of which object has which.

kestra-dr-objects      says what this directory is
list.jsonl.gz          what the last whole copy held
partial.jsonl          what the one under way has so far: lines of the list, the last one may be torn
new/                   files that are being written
ab/ab12…               a content: named by its sha256, so that no key has to be a file name, and equal contents lie once

It is made to be backed up as files: a content never changes, and the list is all that is needed to put objects back.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import shutil

from ...core.errors import RefusedError, StateError
from ...core.files import atomic_write
from ..listing import merged
from ..local import sorted_names
from . import listing

MARK = "kestra-dr-objects"
LIST = "list.jsonl.gz"
_MARK_TEXT = "The contents of a bucket's objects, copied by kestra_community.dr. list.jsonl.gz says which object has which.\n"


class Store:
    """A local copy, by its directory."""

    def __init__(self, path):
        self.path = os.fspath(path)
        self.list = os.path.join(self.path, LIST)
        self._partial = os.path.join(self.path, "partial.jsonl")
        self._new = os.path.join(self.path, "new")

    def make(self) -> None:
        """Makes the directory, or takes up the one that is there. Raises RefusedError when it holds something else."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        mark = os.path.join(self.path, MARK)
        if not os.path.exists(mark):
            if os.listdir(self.path):
                raise RefusedError(f"{self.path} holds other files and is no copy of a bucket.", reason="not_a_copy",
                                   hint="Name a directory of its own.")
            atomic_write(mark, _MARK_TEXT)
        shutil.rmtree(self._new, ignore_errors=True)
        os.mkdir(self._new, 0o700)

    @property
    def present(self) -> bool:
        """Whether the directory is such a copy."""
        return os.path.exists(os.path.join(self.path, MARK))

    def require(self) -> None:
        """Raises StateError when the directory is no such copy."""
        if not self.present:
            raise StateError(f"{self.path} is no copy of a bucket.", reason="copy_missing",
                             hint="Restore it from the repository first.")

    def content(self, sha256: str) -> str:
        """The path of a content."""
        return os.path.join(self.path, sha256[:2], sha256)

    def has(self, entry) -> bool:
        """Whether the content of an entry that was copied is there."""
        if entry.sha256 is None:
            return False
        if entry.size == 0:
            return True
        try:
            return os.stat(self.content(entry.sha256)).st_size == entry.size
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def writing(self, name: str):
        """A Content to write into; nothing of it is left after an error. name: of no other that is being written."""
        path = os.path.join(self._new, name)
        try:
            with open(path, "xb", opener=_private) as handle:
                yield Content(self, path, handle)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    # what is known from before

    def known(self):
        """What earlier copies know of objects, sorted."""
        return listing.read(self.list) if os.path.exists(self.list) else iter(())

    def settle(self) -> None:
        """Takes what a copy that was cut had so far into the list of what is known."""
        if not os.path.exists(self._partial):
            return
        before = listing.read(self.list) if os.path.exists(self.list) else ()
        pairs = merged(before, self._of_partial())
        listing.write(self.list, (new if old is None or (new is not None and new.sha256) else old for old, new in pairs))
        os.unlink(self._partial)

    def _of_partial(self):
        with open(self._partial, "rb") as handle:
            for line in handle:
                if not line.endswith(b"\n"):
                    return  # cut by a kill
                try:
                    entry = listing.decode(line.decode("ascii"))
                except (ValueError, KeyError, TypeError):
                    return  # spoilt by a power failure; what came after it is copied again
                yield entry

    def noting(self, entries):
        """Passes sorted entries on, and notes them for a copy that goes on after this one was cut."""
        with open(self._partial, "w", encoding="ascii", opener=_private) as handle:
            for entry in entries:
                handle.write(listing.encode(entry) + "\n")
                yield entry

    def finish(self) -> dict:
        """The copy is whole and its list is in place: removes what it does not name. Returns {files, bytes} removed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._partial)
        shutil.rmtree(self._new, ignore_errors=True)
        gone = {"files": 0, "bytes": 0}
        wanted = listing.by_digest(listing.read(self.list))
        want = next(wanted, None)
        for digest in self._contents():
            while want is not None and want < digest:
                want = next(wanted, None)
            if digest != want:
                path = self.content(digest)
                gone["files"] += 1
                gone["bytes"] += os.stat(path).st_size
                os.unlink(path)
        return gone

    def _contents(self):
        for directory in sorted_names(os.fsencode(self.path)):
            if len(directory) == 2:
                for name in sorted_names(os.path.join(os.fsencode(self.path), directory)):
                    yield name.decode("ascii")


class Content:
    """A content while it is written."""

    def __init__(self, store, path, handle):
        self._store, self._path, self._handle = store, path, handle
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def write(self, block: bytes) -> None:
        self._handle.write(block)
        self._sha256.update(block)
        self._md5.update(block)
        self.size += len(block)

    def keep(self) -> tuple:
        """Puts it in its place and returns (sha256, md5)."""
        digest = self._sha256.hexdigest()
        if self.size:
            self._handle.flush()
            os.fsync(self._handle.fileno())
            place = self._store.content(digest)
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            os.rename(self._path, place)
        return digest, self._md5.hexdigest()


def _private(path, flags):
    return os.open(path, flags, 0o600)
