# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the data nodes have room: a shard that finds none waits for ever."""
from __future__ import annotations

from ...core.errors import RefusedError
from ...core.waiting import human_bytes
from . import inventory

_UNITS = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50}


def kept_free(watermark, total) -> int:
    """The bytes a node keeps free below a watermark. watermark: "85%", "0.85" or the bytes to keep, "500mb". Pure."""
    text = str(watermark).strip().lower()
    if text.endswith("%"):
        return int(total * (100 - float(text[:-1])) / 100)
    for unit in sorted(_UNITS, key=len, reverse=True):
        if text.endswith(unit):
            return int(float(text[:-len(unit)]) * _UNITS[unit])
    return int(total * (1 - float(text)))


def room(nodes, watermark, headroom=None) -> int:
    """Bytes the data nodes take before they reach the watermark. nodes: of _nodes/stats/fs. Pure.

    headroom: the most that a watermark in percent keeps free; None where it is not limited.
    """
    free = 0
    for node in nodes.values():
        if not any(role.startswith("data") for role in node.get("roles", ())):
            continue
        disk = node["fs"]["total"]
        kept = kept_free(watermark, disk["total_in_bytes"])
        if headroom is not None:
            kept = min(kept, kept_free(headroom, disk["total_in_bytes"]))
        free += max(0, disk["available_in_bytes"] - kept)
    return free


def unwatched(nodes, settings) -> bool:
    """Whether the watermarks do not hold, because a single data node is left alone with its disk, as OpenSearch does. Pure.

    settings: of the cluster, flat, with their defaults.
    """
    holders = [node for node in nodes.values() if any(role.startswith("data") for role in node.get("roles", ()))]
    alone = settings.get("cluster.routing.allocation.disk.watermark.enable_for_single_data_node", "true")
    return len(holders) == 1 and str(alone).lower() == "false"


def require(cluster, needed, freed=()) -> None:
    """Refuses when the nodes lack room for so many bytes. freed: indices that go first."""
    settings = cluster.get("/_cluster/settings", params={"include_defaults": "true", "flat_settings": "true"},
                           doing="reading the disk watermarks")
    merged = dict(settings.get("defaults") or {}, **settings.get("persistent") or {}, **settings.get("transient") or {})
    start = "cluster.routing.allocation.disk."
    if str(merged.get(start + "threshold_enabled", "true")) != "true":
        return
    watermark = merged.get(start + "watermark.low", "85%")
    # The limit only holds for watermarks nobody has set.
    headroom = merged.get(start + "watermark.low.max_headroom")
    headroom = None if headroom in (None, "-1") else headroom
    nodes = cluster.get("/_nodes/stats/fs", doing="asking for free space")["nodes"]
    if unwatched(nodes, merged):
        watermark = "0b"
    free = room(nodes, watermark, headroom)
    if freed:
        sizes = [inventory.sizes(cluster, name).get(name, 0) for name in freed]
        free += sum(sizes)
    if needed > free:
        raise RefusedError(
            f"The snapshot has {human_bytes(needed)}, and the data nodes take {human_bytes(free)} before they reach the low disk "
            f"watermark ({watermark}).", reason="disk_full", hint="Free space on the data nodes, or add one.",
            detail={"needed_bytes": needed, "free_bytes": free, "watermark": watermark})
