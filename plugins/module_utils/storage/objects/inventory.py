# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a bucket: now, or at an earlier moment where it keeps versions."""
from __future__ import annotations

import itertools
import os
import time

from ...core.errors import DrError, RefusedError
from .. import part, pinned
from . import failures, lifecycle, listing, moments, mutable

_EXAMPLES = 10
_SHOWN_EVERY = 1000
# Servers tell times by whole seconds: what is written after this many belongs to another one.
_SETTLE = 1.1
# Servers that give a version the time at which it was overwritten: a listing of an earlier moment would lack it.
_WRONG_TIMES = ("VERSITYGW",)


def about(bucket, retention_days=None, settle=True) -> dict:
    """What can be told of a bucket without listing it: {server, versioning, encryption, server_time, provider, lifecycle,
    unfinished_uploads}.

    settle: return when nothing that is written from now on is of the second of server_time, so that this can be given as
    moment later.
    """
    facts = bucket.facts()
    rules = bucket.lifecycle_rules()
    found = {"server": facts["server"],
             "versioning": {"Enabled": "enabled", "Suspended": "suspended"}.get(facts["versioning"], "off"),
             "encryption": facts["encryption"], "server_time": facts["server_time"], "provider": facts["provider"],
             "lifecycle": {"known": rules is not None,
                           "problems": lifecycle.problems(rules or (), bucket.place.prefix, retention_days)},
             "unfinished_uploads": _unfinished(bucket)}
    if settle:
        time.sleep(_SETTLE)
    return found


def _unfinished(bucket):
    try:
        found = bucket.unfinished_uploads()
        return None if found is None else [key for key, _upload in itertools.islice(found, _EXAMPLES)]
    except DrError as exc:
        if exc.detail.get("code") in failures.NOT_TOLD:
            return None
        raise


def md5_tags(found) -> bool:
    """Whether the entity tags of a bucket are the MD5 of what is written into it. found: of about()."""
    return not (found["encryption"] or "").startswith("aws:kms")


def entries(bucket, found, moment=None, what=part.ALL):
    """Yields the objects, sorted. found: of about(). moment: UTC text. Raises RefusedError where that cannot be told.

    what: part.MUTABLE is that part alone, now.
    """
    if moment is not None:
        _require_moment(bucket.place.bucket, found, moment)
    if what == part.MUTABLE:
        return listing.in_order(mutable.entries(bucket, found["versioning"] != "off"))
    if found["versioning"] == "off":
        return listing.in_order(bucket.objects())
    return listing.in_order(moments.pick(bucket.version_pages(), moment))


def _require_moment(name, found, moment) -> None:
    hint = "List the bucket while Kestra is stopped instead."
    if found["versioning"] == "off":
        raise RefusedError(f"The bucket {name} keeps no versions: nobody can tell what was there at {moment}.",
                           reason="versioning_off", hint="Switch versioning on. " + hint)
    if found["versioning"] == "suspended":
        raise RefusedError(f"Versioning of the bucket {name} is suspended: what is overwritten is lost.",
                           reason="versioning_suspended", hint="Switch it on again. " + hint)
    if found["server"] in _WRONG_TIMES:
        raise RefusedError(f"The server of the bucket {name} ({found['server']}) does not tell when a version was written.",
                           reason="moment_unknown", hint=hint)


class Inventory:
    """Counts what passes. on_progress as jobs.Progress.update."""

    def __init__(self, on_progress=None):
        self.totals = {"objects": 0, "markers": 0, "bytes": 0}
        self._on_progress = on_progress

    def counted(self, found):
        """Passes entries on."""
        for entry in found:
            self.totals["markers" if entry.type == "d" else "objects"] += 1
            self.totals["bytes"] += entry.size
            number = self.totals["objects"] + self.totals["markers"]
            if self._on_progress and number % _SHOWN_EVERY == 0:
                self._on_progress(number, None, f"{number} objects", "objects")
            yield entry


def take(bucket, dest=None, *, moment=None, retention_days=None, count=True, what=part.ALL, pin=None, on_progress=None) -> dict:
    """about() a bucket, with the numbers of what is in it, and its list written to dest when given.

    count: without it and without dest the bucket is not listed. what: part.MUTABLE takes only that part. pin: a list of it, in
    the place of what is there now.
    """
    started = time.monotonic()
    found = about(bucket, retention_days, settle=what == part.ALL)
    written = None
    if count or dest is not None:
        inventory = Inventory(on_progress)
        passing = entries(bucket, found, moment, what)
        if pin is not None:
            passing = pinned.replaced(passing, listing.read(pin))
        passing = inventory.counted(passing)
        if dest is not None:
            written = dict(listing.write(dest, passing), path=os.fspath(dest))
        else:
            for _entry in passing:
                pass
        found.update(inventory.totals)
    return dict(found, list=written, seconds=time.monotonic() - started)
