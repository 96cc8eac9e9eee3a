# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mutable part of a storage as it was at the pin, held in a tar while the copy is made beside the running Kestra.

hold() fills it while nothing writes. Once the copy is made, keep() leaves of it what the copy does not have, because it was
changed or deleted meanwhile: what the list marks "pinned". With it settle() makes a tree that was restored from the copy what
it was at the pin. Any tar does the same by hand, except that it leaves what came later.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tarfile

from ..core.errors import IntegrityError, StateError
from ..core.files import CHUNK, AtomicFile, HashingWriter
from . import listing, part

_TYPES = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE}
_NAMES = {"format": tarfile.PAX_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}


def hold(root, entries, path):
    """Passes sorted entries on, files with their digests, and writes these into a tar at path."""
    with AtomicFile(path) as handle, tarfile.open(fileobj=handle, mode="w", **_NAMES) as archive:
        for entry in entries:
            yield _held(root, entry, archive) if entry.type == "f" else entry


def _held(root, entry, archive):
    why = "it grew"
    try:
        with open(os.path.join(os.fsencode(root), entry.path), "rb") as content:
            reading = _Hashing(content)
            _add(archive, entry, reading)
            still = not content.read(1)
    except (FileNotFoundError, tarfile.TarError, OSError) as exc:
        still, why = False, str(exc)
    if not still:
        raise StateError(f"{listing.shown(entry.path)} changed although Kestra is stopped: {why}.",
                         reason="storage_not_still", hint="Find out who else writes there, and run it again.")
    return entry._replace(sha256=reading.digest.hexdigest())


class _Hashing:
    """A reader that hashes what passes."""

    def __init__(self, handle):
        self._handle, self.digest = handle, hashlib.sha256()

    def read(self, size):
        """As of a file."""
        block = self._handle.read(size)
        self.digest.update(block)
        return block


def _add(archive, entry, content=None) -> None:
    member = tarfile.TarInfo(os.fsdecode(entry.path))
    member.type, member.size, member.mode = _TYPES[entry.type], entry.size, entry.mode
    member.uid, member.gid = entry.uid, entry.gid
    # As a number it would lose its last digits.
    member.pax_headers = {"mtime": f"{entry.mtime_ns // 10 ** 9}.{entry.mtime_ns % 10 ** 9:09}"}
    if entry.target is not None:
        member.linkname = os.fsdecode(entry.target)
    archive.addfile(member, content)
    archive.members = []  # it would remember every entry it has seen


def replaced(entries, mutable):
    """Passes sorted entries on, with a list of the mutable part in the place of that part."""
    for now, then in listing.merged((entry for entry in entries if not part.mutable(entry.path)), mutable):
        yield then if then is not None else now


def _members(archive):
    """(path, member) of a tar, in its order."""
    for member in iter(archive.next, None):
        archive.members = []
        yield os.fsencode(member.name), member


def keep(held, list_path, dest) -> dict:
    """Writes to dest what a list marks as pinned, out of what was held. Returns {path, sha256, entries}. Memory grows with it."""
    wanted, count = set(), 0
    with AtomicFile(dest) as handle:
        hashing = HashingWriter(handle)
        with tarfile.open(held, "r:", **_NAMES) as source, tarfile.open(fileobj=hashing, mode="w|", **_NAMES) as archive:
            for entry in listing.read(list_path):
                if entry.drift == listing.PINNED:
                    count += 1
                    if entry.type == "f":
                        wanted.add(entry.path)
                    else:
                        _add(archive, entry)
            for path, member in _members(source):
                if path in wanted:
                    wanted.remove(path)
                    archive.addfile(member, source.extractfile(member))
                    archive.members = []
    if wanted:
        raise IntegrityError(f"{held} does not hold all that changed since the pin.", reason="pinned_incomplete")
    return {"path": os.fspath(dest), "sha256": hashing.sha256, "entries": count}


def differences(kept, entries) -> list:
    """Paths of what was kept that are not what the list says: missing, unexpected, or of other content. At most 20."""
    wanted = {entry.path: entry for entry in entries if entry.drift == listing.PINNED}
    wrong = []
    with tarfile.open(kept, "r:", **_NAMES) as archive:
        for path, member in _members(archive):
            entry = wanted.pop(path, None)
            if entry is None or _TYPES[entry.type] != member.type or _digest(archive, member) != entry.sha256:
                wrong.append(path)
    return [listing.shown(path) for path in sorted({*wrong, *wanted})][:20]


def _digest(archive, member, sink=None):
    if not member.isreg():
        return None
    digest = hashlib.sha256()
    with archive.extractfile(member) as content:
        for block in iter(lambda: content.read(CHUNK), b""):
            digest.update(block)
            if sink is not None:
                sink.write(block)
    return digest.hexdigest()


def settled(entries):
    """Passes the entries of a list on as the tree has them after settle()."""
    for entry in entries:
        if entry.drift != listing.LATER:
            yield entry._replace(drift=None) if entry.drift == listing.PINNED else entry


def settle(root, list_path, kept) -> None:
    """Makes a restored tree what it was at the pin. Raises IntegrityError when kept is not what the list says."""
    wanted, later = {}, []
    for entry in listing.read(list_path):
        if entry.drift == listing.LATER:
            later.append(entry)
        elif entry.drift == listing.PINNED:
            wanted[entry.path] = entry
    tree = _Tree(os.fsencode(root))
    for entry in reversed(later):
        tree.remove(entry.path)
    with tarfile.open(kept, "r:", **_NAMES) as archive:
        for path, member in _members(archive):
            entry = wanted.pop(path, None)
            if entry is None or _TYPES[entry.type] != member.type:
                raise _other(kept, path)
            if not tree.put(entry, archive, member):
                raise _other(kept, path)
    if wanted:
        raise _other(kept, min(wanted))
    tree.finish()


def _other(kept, path) -> IntegrityError:
    return IntegrityError(f"{listing.shown(path)} in {kept} is not what the list says.", reason="pinned_differs",
                          hint="Verify the recovery point.")


class _Tree:
    """A tree that is being settled. The times of directories in which something comes or goes stay as they are."""

    def __init__(self, root):
        self._root = root
        self._times: dict = {}
        self._directories: list = []

    def _at(self, path) -> bytes:
        whole = os.path.join(self._root, path)
        above = os.path.dirname(whole)
        if above not in self._times:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(above)
                self._times[above] = (status.st_atime_ns, status.st_mtime_ns)
        return whole

    def remove(self, path) -> None:
        """What came after the pin. A directory with something in it stays."""
        whole = self._at(path)
        with contextlib.suppress(OSError):
            if os.path.isdir(whole) and not os.path.islink(whole):
                os.rmdir(whole)
            else:
                os.unlink(whole)

    def put(self, entry, archive, member) -> bool:
        """One entry as it was at the pin; False when its content is another one."""
        whole = self._at(entry.path)
        there = stat.S_IFMT(os.lstat(whole).st_mode) if os.path.lexists(whole) else None
        if entry.type == "d":
            if there not in (None, stat.S_IFDIR):
                os.unlink(whole)
            os.makedirs(whole, exist_ok=True)
            self._directories.append((whole, entry))
            return True
        if there == stat.S_IFDIR:
            shutil.rmtree(whole)
        elif there is not None:
            os.unlink(whole)
        if entry.type == "l":
            os.symlink(entry.target, whole)
        else:
            with open(whole, "xb") as handle:
                if _digest(archive, member, handle) != entry.sha256:
                    return False
        _as_listed(whole, entry)
        return True

    def finish(self) -> None:
        """Owners, modes and times of directories, once nothing comes or goes in them any more."""
        for whole, times in self._times.items():
            with contextlib.suppress(FileNotFoundError):
                os.utime(whole, ns=times)
        for whole, entry in reversed(self._directories):
            _as_listed(whole, entry)


def _as_listed(whole, entry) -> None:
    if os.geteuid() == 0:
        os.chown(whole, entry.uid, entry.gid, follow_symlinks=False)
    if entry.type != "l":
        os.chmod(whole, entry.mode)
    os.utime(whole, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
