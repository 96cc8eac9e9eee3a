# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a set of copies, written on it as aliases, so that it is known after a kill too.

kdr-mark-SET.whole.NUMBER: all NUMBER indices of the set are there. kdr-mark-SET.STAGE.OTHER: how far the swap of the set
OTHER is that keeps what it replaces as SET.
"""
from __future__ import annotations

from . import connect, inventory

KEPT, SWAPPED = "kept", "swapped"
_START = "kdr-mark-"


def whole(name, number) -> str:
    """The mark of a set that is whole. Pure."""
    return f"{_START}{name.lower()}.whole.{number}"


def stage(name, reached, other) -> str:
    """The mark of a set that keeps what a swap replaces. Pure."""
    return f"{_START}{name.lower()}.{reached}.{other.lower()}"


def read(cluster, start) -> dict:
    """{index: its marks} of the indices that begin so."""
    answer = cluster.get(connect.path_of(start + "*", "_alias"), params=inventory.ALL, doing="looking at the copies")
    return {name: sorted(alias for alias in item["aliases"] if alias.startswith(_START))
            for name, item in answer.items() if name.startswith(start)}


def is_whole(name, found) -> bool:
    """Whether a set is whole. found: of read(). Pure."""
    return bool(found) and all(whole(name, len(found)) in marks for marks in found.values())


def unfinished(found) -> set:
    """The sets that a swap which has not come to its end takes from and keeps. found: of read(), of all sets. Pure."""
    told = {tuple(mark[len(_START):].split(".")) for marks in found.values() for mark in marks}
    pairs = {(one[0], one[2]) for one in told if one[1] == KEPT} - {(one[0], one[2]) for one in told if one[1] == SWAPPED}
    return {name for pair in pairs for name in pair}


def write(cluster, indices, *marks) -> None:
    """Writes marks on indices, all at once."""
    actions = [{"add": {"index": index, "alias": mark}} for index in indices for mark in marks]
    if actions:
        cluster.request("POST", "/_aliases", body={"actions": actions}, doing="marking the copies")
