# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage half of a swap where Kestra's storage is a bucket.

A bucket has no name to change: what is in it is written down in a directory, and put back in from one. Such a directory
holds a list of the objects and, unless the bucket keeps versions of them, their contents. It appears under its name when it
is whole and goes when it has been put in, so which of them are there tells how far a swap got, as with directories:

    replacement there, undo not there    what was live before is in the bucket
    both there                           nobody knows what is in the bucket; it is all in one of the two
    undo there, replacement not there    what was restored is in the bucket
"""
from __future__ import annotations

import contextlib
import os
import shutil

from ..core.errors import RefusedError, StateError
from ..core.files import fsync_dir
from ..storage.objects import client, copy_in, copy_out, inventory, listing
from ..storage.objects.store import Store

# What stands for an inode: the names hold the id of the swap, so nobody else's directories have them.
_OLD, _NEW = 1, 2


def live_name(place) -> str:
    """The bucket of an objects.options.Place as the live name of a pair. Pure."""
    return f"{place.shown}/{place.bucket}/{place.prefix}".rstrip("/")


def part_of(path: str) -> str:
    """Where a directory is made before it gets its name; a copy made there beforehand is gone on with. Pure."""
    return f"{path}.part"


def found(names, there) -> dict:
    """{name: identity or None} of a pair. there: whether a directory is there. Pure."""
    undo = _OLD if there(names.undo) else None
    replacement = _NEW if there(names.replacement) else None
    live = _OLD if undo is None else _NEW if replacement is None else None
    return {names.live: live, names.replacement: replacement, names.undo: undo}


class BucketStore:
    """A bucket as the swap sees it. place: objects.options.Place; on_progress as jobs.Progress.update."""

    kind = "storage"

    def __init__(self, place, on_progress=None):
        self._place = place
        self._on_progress = on_progress
        self._live = live_name(place)

    def identities(self, names) -> dict:
        """{name: identity or None}."""
        return found(names, os.path.isdir)

    def possible(self, names) -> None:
        """Raises RefusedError for another bucket than Kestra's, and what a request of the bucket raises."""
        self._require(names.all())
        with client.opened(self._place) as bucket:
            inventory.about(bucket, settle=False)

    def _require(self, names) -> None:
        if self._live not in names:
            raise RefusedError(f"Kestra's storage is {self._live}, and this swap is of another one ({', '.join(names)}).",
                               reason="other_bucket", hint="Give the configuration with which Kestra used that bucket.")

    def check(self, names) -> None:
        """As possible(): whether anybody works in a bucket cannot be seen from outside."""
        self.possible(names)

    def rename(self, pairs) -> None:
        """Writes down what is in the bucket, or puts in what is written down. Raises DrError."""
        for source, target in pairs:
            self._require((source, target))
            if source == self._live:
                self._keep(target)
            else:
                self._put(source)

    def _keep(self, path) -> None:
        part = part_of(path)
        with client.opened(self._place) as bucket:
            about = inventory.about(bucket, settle=False)
            entries = inventory.entries(bucket, about)
            if about["versioning"] == "enabled" and bucket.keeps_versions():
                shutil.rmtree(part, ignore_errors=True)
                os.makedirs(part, mode=0o700)
                listing.write(Store(part).list, entries)
            else:
                pin = f"{part}.list"
                os.makedirs(part, mode=0o700, exist_ok=True)
                listing.write(pin, entries)
                drift = copy_out.Copy(bucket, Store(part), pin, self._on_progress).run(pin)["drift"]
                os.unlink(pin)
                if drift["deleted"] or drift["changed"]:
                    raise StateError(f"Objects of {self._live} change while it is swapped.", reason="storage_in_use",
                                     hint="Somebody still writes there. Stop every Kestra that uses this bucket.", detail=drift)
        os.rename(part, path)
        fsync_dir(os.path.dirname(path))

    def _put(self, path) -> None:
        store = Store(path)
        # What the list does not name is not of that moment; it was written down before.
        how = {"overwrite": True, "delete": True, "on_progress": self._on_progress}
        with client.opened(self._place) as bucket:
            if store.present:
                copy_in.Restore(bucket, store, store.list, **how).run()
            else:
                copy_in.Rewind(bucket, store.list, **how).run()
        _discard(path)

    def remove(self, path, expected) -> bool:
        """Removes what was written down. Returns whether there was anything."""
        there = os.path.isdir(path)
        _discard(path)
        return there


def _discard(path) -> None:
    """Its name is free at once, whatever happens while it is removed."""
    gone = f"{path}.gone"
    for leftover in (gone, part_of(path)):
        shutil.rmtree(leftover, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, gone)
        fsync_dir(os.path.dirname(path))
    shutil.rmtree(gone, ignore_errors=True)
