# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket compared with what it should be, as two sorted streams: each object is looked at once, memory stays flat."""
from __future__ import annotations

import hashlib
import re
import time

from ...core.errors import DrError
from ..drift import Tally
from ..listing import merged
from . import failures, inventory, listing
from .parallel import in_turn

DEPTHS = ("listing", "headers", "content")
_KINDS = ("missing", "unexpected", "size", "content", "headers", "metadata")
_MD5 = re.compile(r"[0-9a-f]{32}")


def same_content(expected, found, md5_tags=True):
    """Whether two objects of one size have the same content, None when that cannot be told.

    An entity tag is the MD5 of what was written in one request, unless the server encrypts with keys that it manages
    (md5_tags False); what was written in parts has tags of another form. Equal tags always mean equal content. Some servers
    tell the MD5 beside the tag.
    """
    if expected.sha256 and found.sha256:
        return expected.sha256 == found.sha256
    if found.etag in (expected.etag, expected.md5):
        return True
    if expected.md5 and found.md5:
        return expected.md5 == found.md5
    if not md5_tags or expected.md5 is None or not _MD5.fullmatch(found.etag):
        return None
    return False


def difference(expected, found, md5_tags=True):
    """The first aspect in which two entries of one key differ, or None. Headers and metadata are compared where known."""
    if expected.size != found.size:
        return "size"
    if same_content(expected, found, md5_tags) is False:
        return "content"
    if found.headers is not None and (expected.headers or {}) != found.headers:
        return "headers"
    if found.metadata is not None and (expected.metadata or {}) != found.metadata:
        return "metadata"
    return None


def compare(expected, found, md5_tags=True) -> dict:
    """Compares two sorted streams of entries, each read once. What was deleted before it was copied may be anything.

    Result: {verdict: "equal"|"differs", entries, compared_digests, drifted, differences, counts: {missing, unexpected, size,
    content, headers, metadata}, examples: {kind: [key]}}. Unexpected objects are counted and make no difference: Kestra does
    not name them.
    """
    tally = Tally(*_KINDS)
    entries = digests = drifted = 0
    for wanted, seen in merged(expected, found):
        if wanted is None:
            tally.add("unexpected", seen.path)
        elif wanted.drift == "deleted":
            drifted += 1
        else:
            entries += 1
            kind = "missing" if seen is None else difference(wanted, seen, md5_tags)
            if kind:
                tally.add(kind, wanted.path)
            elif same_content(wanted, seen, md5_tags):
                digests += 1
    total = sum(number for kind, number in tally.counts.items() if kind != "unexpected")
    return {"verdict": "differs" if total else "equal", "entries": entries, "compared_digests": digests, "drifted": drifted,
            "differences": total, "counts": tally.counts, "examples": tally.examples()}


def compare_bucket(bucket, expected, depth="listing", on_progress=None) -> dict:
    """Compares a bucket with a list. depth: what is asked of each object beyond the listing, nothing, its headers
    (one request), or its content too (everything is read)."""
    started = time.monotonic()
    about = inventory.about(bucket, settle=False)
    counting = inventory.Inventory(on_progress)
    found = counting.counted(inventory.entries(bucket, about))
    if depth != "listing":
        found = in_turn(found, lambda entry: _asked(bucket, entry, depth), bucket.place.parallel)
    comparison = compare(listing.read(expected), found, inventory.md5_tags(about))
    return dict(about, **counting.totals, list=None, comparison=comparison, seconds=time.monotonic() - started)


def _asked(bucket, entry, depth):
    try:
        if depth == "headers":
            return bucket.head(entry)
        digest = hashlib.sha256()
        return bucket.read(entry, digest.update)._replace(sha256=digest.hexdigest())
    except DrError as exc:
        if exc.reason not in (failures.GONE, failures.CHANGED):
            raise
        # It is being worked on; what the listing said is as good as anything.
        return entry
