# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kestra acknowledged, when, and what must therefore be in a recovery point and what must not."""
from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Write:
    """One acknowledged write. asked, acked: UTC seconds. content: what reading it back must give (text or bytes)."""

    kind: str       # execution, value or file
    name: str       # execution id, KV key, path of the namespace file
    asked: float
    acked: float
    content: object = None
    label: str = ""


class Ledger:
    """Writes in the order of their acknowledgement; safe between threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._writes = []

    def add(self, write) -> None:
        with self._lock:
            self._writes.append(write)

    def writes(self) -> list:
        with self._lock:
            return list(self._writes)


@dataclass
class Expectation:
    """The ledger divided by a recovery point."""

    present: list = field(default_factory=list)
    absent: list = field(default_factory=list)
    either: list = field(default_factory=list)


def divide(writes, pinned, storage_finished) -> Expectation:
    """Which writes a recovery point must hold.

    pinned: UTC seconds of the database snapshot, taken while Kestra was stopped: a write acknowledged before it is in,
    one asked for after it is not. Values and files lie in the storage alone in some versions; those written between the
    pin and the end of the storage copy may be in the copy as surplus that no row names.
    """
    found = Expectation()
    for write in writes:
        if write.acked <= pinned:
            found.present.append(write)
        elif write.asked <= pinned or (write.kind != "execution" and write.asked <= storage_finished):
            found.either.append(write)
        else:
            found.absent.append(write)
    return found


def look(api, namespace, write) -> str:
    """What a write looks like now: present, absent or changed. Raises ApiError."""
    if write.kind == "execution":
        found = api.execution(write.name)
        if found is None:
            return "absent"
        if write.content is None:
            return "present"
        uri = (found.get("inputs") or {}).get("payload")
        return "present" if uri and api.execution_file(write.name, uri) == write.content else "changed"
    found = api.value(namespace, write.name) if write.kind == "value" else api.file(namespace, write.name)
    if found is None:
        return "absent"
    return "present" if found == write.content else "changed"


def compare(api, namespace, expectation) -> dict:
    """Looks every write up. Returns {missing, surplus, changed, present, absent, either_present: [writes]}."""
    result = {name: [] for name in ("missing", "surplus", "changed", "present", "absent", "either_present")}
    for write in expectation.present:
        state = look(api, namespace, write)
        result[{"present": "present", "absent": "missing", "changed": "changed"}[state]].append(write)
    for write in expectation.absent:
        result["absent" if look(api, namespace, write) == "absent" else "surplus"].append(write)
    for write in expectation.either:
        if look(api, namespace, write) != "absent":
            result["either_present"].append(write)
    return result


def by_kind(writes) -> dict:
    """{kind: number} of some writes, every kind named."""
    counts = {"execution": 0, "value": 0, "file": 0}
    for write in writes:
        counts[write.kind] += 1
    return counts


def phrase(writes) -> str:
    """Writes as a person says them: 12 executions, 6 KV values, 4 files."""
    names = {"execution": ("execution", "executions"), "value": ("KV value", "KV values"), "file": ("file", "files")}
    return ", ".join(f"{number} {names[kind][number != 1]}" for kind, number in by_kind(writes).items())
