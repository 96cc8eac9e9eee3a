# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local copy into a bucket: only what is not there yet is written, and every write is checked by the server."""
from __future__ import annotations

import contextlib
import hashlib
import threading
import time

from ...core.errors import DrError, IntegrityError, RefusedError, StateError
from ...core.files import CHUNK
from ..drift import Tally
from ..listing import merged, shown
from . import compare, inventory, listing, moments
from .bucket import md5_text
from .copy_out import versioned
from .parallel import in_turn

MIB = 1 << 20
# A part that fails is all that has to be sent again.
PART = 64 * MIB
_MOST_PARTS = 10_000


def part_size(size: int) -> int:
    """How large the parts of an object are: whole MiB, no more parts than the API allows."""
    return max(PART, -(-size // _MOST_PARTS // MIB) * MIB)


def parts(size: int):
    """Yields (number, offset, length) of the parts of an object."""
    step = part_size(size)
    for number, offset in enumerate(range(0, size, step), 1):
        yield number, offset, min(step, size - offset)


def digests(path, size):
    """Yields the MD5 (bytes) of each part of a file."""
    with open(path, "rb") as handle:
        for _number, _offset, length in parts(size):
            digest = hashlib.md5(usedforsecurity=False)
            while length:
                block = handle.read(min(CHUNK, length))
                if not block:
                    raise StateError(f"{path} is shorter than it was.", reason="copy_damaged")
                digest.update(block)
                length -= len(block)
            yield digest.digest()


def tag_of_parts(md5s) -> str:
    """The entity tag of an object that was written in parts with these MD5s."""
    md5s = list(md5s)
    return hashlib.md5(b"".join(md5s), usedforsecurity=False).hexdigest() + f"-{len(md5s)}"


class Restore:
    """Puts what a list names from a local copy into a bucket. on_progress as jobs.Progress.update.

    overwrite: also where the bucket keeps no versions, so that what was there is lost. delete: objects that the list does
    not name are deleted too.
    """

    def __init__(self, bucket, store, path, *, overwrite=False, delete=False, on_progress=None):
        self._bucket, self._store, self._list = bucket, store, path
        self._overwrite, self._delete = overwrite, delete
        self._on_progress = on_progress
        self._guard = threading.Lock()
        self._about: dict = {}
        self._plan: dict = {}
        self._done = 0
        self._totals = {"written_objects": 0, "written_bytes": 0, "deleted_objects": 0}

    def plan(self) -> dict:
        """What would be done, once everything that can be refused was: {objects, bytes, present, overwritten, unexpected,
        not_copied}. Raises StateError (copy_incomplete) and RefusedError (would_overwrite)."""
        self._about = inventory.about(self._bucket)
        self._require_source()
        plan = {"objects": 0, "bytes": 0, "present": 0, "overwritten": 0, "unexpected": 0, "not_copied": 0}
        for wanted, found in self._pairs():
            if wanted is None:
                plan["unexpected"] += 1
            elif wanted.drift == "deleted":
                plan["not_copied"] += 1
            else:
                self._bucket.require_possible(wanted)
                self._tell(plan, wanted, found)
        self._refuse(plan)
        self._plan = plan
        return plan

    def _require_source(self) -> None:
        """Raises StateError unless every content is there."""
        self._store.require()
        for wanted in self._named():
            if wanted.drift != "deleted" and not self._store.has(wanted):
                raise StateError(f"The content of {shown(wanted.path)} is not in {self._store.path}.",
                                 reason="copy_incomplete", hint="Restore the copy from the repository again.")

    def _pairs(self):
        return merged(self._named(), inventory.entries(self._bucket, self._about))

    def _named(self):
        for entry in listing.read(self._list):
            # The mark of the prefix itself: there is none to restore where there is no prefix.
            if entry.key or self._bucket.place.prefix:
                yield entry

    def _tell(self, plan, wanted, found) -> None:
        differs = found is None or self._differs_in_content(wanted, found)
        plan["present"] += not differs
        plan["overwritten"] += differs and found is not None
        plan["objects"] += differs
        plan["bytes"] += wanted.size if differs else 0

    def _differs_in_content(self, wanted, found) -> bool:
        if wanted.size != found.size:
            return True
        if versioned(found) and found.version == wanted.version:
            return False
        same = compare.same_content(wanted, found, inventory.md5_tags(self._about))
        return not (self._same_parts(wanted, found) if same is None else same)

    def _same_parts(self, wanted, found) -> bool:
        """Whether an object was made of the parts that we would send."""
        return wanted.size > self._bucket.parts_from and found.etag == tag_of_parts(
            digests(self._store.content(wanted.sha256), wanted.size))

    def _whole(self, wanted):
        """An entry with headers and metadata."""
        return wanted

    def _refuse(self, plan) -> None:
        if self._about["versioning"] == "enabled" or self._overwrite:
            return
        number = self._lost(plan)
        if number:
            raise RefusedError(
                f"{number} objects in the bucket {self._bucket.place.bucket} would be overwritten or deleted, and it keeps no "
                "versions to go back to.", reason="would_overwrite",
                hint="Switch its versioning on, restore into another bucket, or say that they may be lost (overwrite).",
                detail=plan)

    def _lost(self, plan) -> int:
        """How many objects are overwritten or deleted, and lost where no versions are kept."""
        return plan["overwritten"] + (plan["unexpected"] if self._delete else 0)

    def run(self) -> dict:
        """Restores and compares the bucket with the list. A rerun after a failure goes on where that one ended."""
        started = time.monotonic()
        plan = self.plan()
        if not self._overwrite and self._lost(plan) and not self._bucket.keeps_versions():
            raise RefusedError(f"The bucket {self._bucket.place.bucket} has versions and keeps no more of them: what is overwritten is lost.",
                               reason="versioning_off", hint="Switch versioning on again, or say that objects may be lost (overwrite).")
        for _done in in_turn(self._pairs(), self._one, self._bucket.place.parallel):
            pass
        if self._delete:
            self._totals["deleted_objects"] = self._bucket.delete(
                found.key for wanted, found in self._pairs() if wanted is None)
        found = compare.compare(self._named(), inventory.entries(self._bucket, self._about),
                                inventory.md5_tags(self._about))
        if found["verdict"] != "equal":
            raise IntegrityError(f"{found['differences']} objects in the bucket {self._bucket.place.bucket} are not what was "
                                 "restored.", reason="restore_differs", hint="Does anybody else write there? Run it again.",
                                 detail=found)
        return dict(self._totals, plan=plan, versioning=self._about["versioning"], server_time=self._about["server_time"],
                    comparison=found, seconds=time.monotonic() - started)

    def _one(self, pair) -> None:
        wanted, found = pair
        if wanted is None or wanted.drift == "deleted":
            return
        if found is not None and not self._differs_in_content(wanted, found):
            # Of one version, or told apart by its headers and metadata; where listings tell these, they can change by themselves.
            if versioned(found) and found.version == wanted.version and compare.difference(wanted, found) is None:
                return
            if compare.difference(self._whole(wanted), self._bucket.head(found)) is None:
                return
            self._refuse({"overwritten": 1, "unexpected": 0})
        self._write(wanted)

    def _write(self, wanted) -> None:
        if wanted.size > self._bucket.parts_from:
            self._write_parts(wanted)
        else:
            self._write_whole(wanted)
            self._sent(wanted.size)
        with self._guard:
            self._totals["written_objects"] += 1
            self._totals["written_bytes"] += wanted.size

    def _write_whole(self, wanted) -> None:
        if wanted.size == 0:
            self._bucket.put(wanted)
            return
        # It is read in large blocks anyway. A buffer for each of many files would slowly scatter the memory of these threads.
        with open(self._store.content(wanted.sha256), "rb", buffering=0) as body:
            self._bucket.write(wanted, body, md5_text(bytes.fromhex(wanted.md5)))

    def _write_parts(self, wanted) -> None:
        upload = self._bucket.begin_parts(self._whole(wanted))
        try:
            done = []
            for part in self._parts(wanted, upload):
                done.append(part)
                self._sent(part_size(wanted.size))
            self._bucket.end_parts(wanted, upload, done)
        except BaseException:
            # What cannot be given up now is given up before the next attempt.
            with contextlib.suppress(DrError):
                self._bucket.abort_parts(wanted, upload)
            raise

    def _parts(self, wanted, upload):
        from s3transfer.utils import ReadFileChunk
        path = self._store.content(wanted.sha256)
        for (number, offset, length), md5 in zip(parts(wanted.size), digests(path, wanted.size), strict=True):
            with ReadFileChunk.from_filename(path, offset, length) as body:
                yield self._bucket.write_part(wanted, upload, number, body, md5_text(md5))

    def _sent(self, count) -> None:
        with self._guard:
            self._done += count
        if self._on_progress:
            self._on_progress(min(self._done, self._plan["bytes"]), self._plan["bytes"] or None, f"{self._totals['written_objects']} objects")


class Rewind(Restore):
    """Makes the versions that a list names the ones that are there, inside the server; nothing is moved.

    The mark of a directory that the server keeps no versions of is written anew.
    """

    def __init__(self, bucket, path, **how):
        super().__init__(bucket, None, path, **how)

    def _require_source(self) -> None:
        name = self._bucket.place.bucket
        if self._about["versioning"] == "off":
            raise RefusedError(f"The bucket {name} keeps no versions.", reason="versioning_off", hint="Restore from a copy.")
        gone = Tally("gone")
        for entry in moments.absent(self._named(), self._bucket.version_pages(), self._bucket.named_later):
            gone.add("gone", entry.path)
        if gone.counts["gone"]:
            raise StateError(f"{gone.counts['gone']} versions that the list names are not in the bucket {name} any more.",
                             reason="versions_gone", hint="Restore from a copy. A lifecycle rule may have deleted them.",
                             detail=gone.examples())

    def _same_parts(self, wanted, found) -> bool:
        return False

    def _whole(self, wanted):
        return wanted if wanted.headers else self._bucket.head(wanted, None if moments.unversioned_mark(wanted) else wanted.version)

    def _write_whole(self, wanted) -> None:
        if moments.unversioned_mark(wanted):
            super()._write_whole(wanted)
        else:
            self._bucket.copy_version(wanted)

    def _parts(self, wanted, upload):
        for number, offset, length in parts(wanted.size):
            yield self._bucket.copy_part(wanted, upload, number, offset, length)
