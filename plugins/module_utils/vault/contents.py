# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a snapshot really holds: all of its data read out of the repository once, as a stream, to no disk.

restic packs the path into a tar; content is hashed here. Times in it are whole seconds (seen with 0.14): who compares
times asks restic_restore.snapshot_entry.
"""
from __future__ import annotations

import hashlib
import os
import tarfile

from ..core.errors import IntegrityError
from ..storage.listing import Entry, shown

_BLOCK = 1 << 20
_TYPES = {tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l"}


def entries(restic, snapshot, path, *, on_bytes=None, content=None):
    """Yields a storage.listing Entry, digest included, for everything below path, in the order of the snapshot.

    on_bytes(n): progress. content(entry path as bytes, block): receives the data itself, block by block.
    Raises what restic raises for a damaged repository, and IntegrityError for a stream that is no tar.
    """
    above = os.fsencode(path.strip("/"))
    with restic.dump_tar(snapshot, path) as source:
        try:
            with tarfile.open(fileobj=source, mode="r|", bufsize=_BLOCK, errors="surrogateescape") as archive:
                while True:
                    member = archive.next()
                    if member is None:
                        break
                    archive.members = []  # it would remember every entry it has seen
                    entry = _entry(archive, member, above, on_bytes, content)
                    if entry.path:
                        yield entry
        except tarfile.TarError as exc:
            raise IntegrityError(f"The data of the snapshot {snapshot[:8]} cannot be read: {exc}.",
                                 reason="snapshot_unreadable") from None


def _entry(archive, member, above, on_bytes, content) -> Entry:
    name = os.fsencode(member.name).strip(b"/")
    if above:
        if name != above and not name.startswith(above + b"/"):
            raise IntegrityError(
                f"The snapshot gave {shown(name)!r}, which was not asked for.", reason="snapshot_unreadable"
            )
        name = name[len(above) + 1:]
    kind = _TYPES.get(member.type)
    if kind is None:
        raise IntegrityError(f"The snapshot holds {shown(name)!r}, which is neither file, directory nor symbolic link.",
                             reason="snapshot_special_file")
    digest = None
    if kind == "f":
        digest = _read(archive.extractfile(member), name, on_bytes, content)
    return Entry(name, kind, member.size if kind == "f" else 0, member.mode & 0o7777, member.uid, member.gid,
                 int(member.mtime) * 10**9, None, digest, os.fsencode(member.linkname) if kind == "l" else None)


def _read(source, name, on_bytes, content) -> str:
    digest = hashlib.sha256()
    while True:
        block = source.read(_BLOCK)
        if not block:
            return digest.hexdigest()
        digest.update(block)
        if on_bytes:
            on_bytes(len(block))
        if content:
            content(name, block)
