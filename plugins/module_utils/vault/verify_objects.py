# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a copy of a bucket in the repository has to be: as a stream against the sealed list of the recovery point."""
from __future__ import annotations

import re

from ..storage.drift import Tally
from ..storage.objects import listing
from ..storage.objects.store import LIST

_CONTENT = re.compile(rb"[0-9a-f]{2}/([0-9a-f]{64})")


def counted(sealed_list, component) -> tuple:
    """(expected, found) numbers of the list."""
    found = {"entries": 0, "objects": 0, "markers": 0, "bytes": 0, "not_copied": 0}
    for entry in listing.read(sealed_list):
        found["entries"] += 1
        if entry.drift == "deleted":
            found["not_copied"] += 1
        else:
            found["markers" if entry.type == "d" else "objects"] += 1
            found["bytes"] += entry.size
    expected = {"entries": component["list"]["entries"], "not_copied": component["drift"]["deleted"],
                **{name: component[name] for name in ("objects", "markers", "bytes")}}
    return expected, {name: found[name] for name in expected}


def content(sealed_list, component, entries) -> tuple:
    """(expected, found): every content that the list names is there and is what its name says, and the list lies beside them.

    entries: of the snapshot, in its order, with digests (contents.entries).
    """
    tally = Tally("missing", "damaged", "unexpected")
    wanted = listing.by_digest(listing.read(sealed_list))
    want = next(wanted, None)
    number, beside = 0, None
    for entry in entries:
        if entry.path == LIST.encode():
            beside = entry.sha256
        found = _CONTENT.fullmatch(entry.path)
        if found is None:
            continue
        name = found.group(1).decode()
        while want is not None and want < name:
            tally.add("missing", want.encode())
            want = next(wanted, None)
        if want != name:
            tally.add("unexpected", name.encode())
            continue
        want = next(wanted, None)
        number += 1
        if entry.sha256 != name:
            tally.add("damaged", name.encode())
    while want is not None:
        tally.add("missing", want.encode())
        want = next(wanted, None)
    expected = {"contents": number + tally.counts["missing"], "list": component["list"]["sha256"], "differences": {}}
    return expected, {"contents": number, "list": beside, "differences": tally.examples()}
