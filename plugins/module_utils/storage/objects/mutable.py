# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mutable part of a bucket (see storage.part), found directory by directory: what executions left is not listed."""
from __future__ import annotations

from .. import part
from . import moments
from .parallel import in_turn


def entries(bucket, versioned):
    """Yields its objects as they are now, in any order."""
    for found in in_turn(_places(bucket), lambda below: list(_objects(bucket, below, versioned)), bucket.place.parallel):
        yield from found


def _objects(bucket, below, versioned):
    found = moments.pick(bucket.version_pages(below)) if versioned else bucket.objects(below)
    return (entry for entry in found if part.mutable(entry.path))


def _places(bucket):
    """Yields what the keys of the mutable part begin with. Directories of one depth are asked for at once."""
    level = [""]
    while level:
        deeper: list = []
        for inside, on in in_turn(level, lambda above: _look(bucket, above), bucket.place.parallel):
            yield from inside
            deeper += on
        level = deeper


def _look(bucket, above):
    """(directories in the mutable part, directories to look into) of one directory."""
    inside, on = [], []
    for directory in bucket.directories(above):
        path = _path(directory)
        if part.mutable(path):
            inside.append(directory)
        elif part.of_executions(path) and _holds_executions(bucket, directory):
            inside += [name for name in bucket.directories(directory, "_") if part.mutable(_path(name))]
        elif not part.of_execution(path):
            on.append(directory)
    return inside, on


def _holds_executions(bucket, directory) -> bool:
    first = next(bucket.directories(directory, most=1), "")
    return part.is_id(_path(first).rpartition(b"/")[2])


def _path(directory: str) -> bytes:
    return directory.rstrip("/").encode("utf-8", "surrogatepass")
