# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, and whether it meets its goal. Pure."""
from __future__ import annotations

import statistics
from dataclasses import dataclass, field

MB = 1_000_000
# Bytes of each of many objects.
SMALL_OBJECT = 2000
DUMP_SPEED = 1.7
RESTORE_SPEED = 1.5
PIPE_SHARE = 1.05
SNAPSHOT_SECONDS = 2.0
BACKUP_SHARE, BACKUP_SECONDS = 1.05, 15.0
# "Does not grow" and "flat" within what two runs of the same differ by.
DOWNTIME_GROWTH_SECONDS = 1.0
MEMORY_GROWTH = 1.1


@dataclass
class Figure:
    """One line of the table. ours, plain: all runs in their order; ratio is what goal speaks of; met: None: no goal."""

    section: str
    name: str
    ours: list
    plain: list
    unit: str
    ratio: float | None
    means: str
    goal: str = ""
    met: bool | None = None
    facts: dict = field(default_factory=dict)

    def as_dict(self) -> dict:
        """JSON-ready."""
        return {"section": self.section, "name": self.name, "unit": self.unit, "ours": _median(self.ours),
                "plain": _median(self.plain), "ratio": None if self.ratio is None else round(self.ratio, 3),
                "ratio_means": self.means, "goal": self.goal, "met": self.met,
                "runs": {"ours": _rounded(self.ours), "plain": _rounded(self.plain)}, **self.facts}


def _rounded(values) -> list:
    return [round(value, 3) for value in values]


def _median(values):
    return round(statistics.median(values), 3) if values else None


def speed(section, name, ours, plain, goal=None) -> Figure:
    """How many times faster than the plain tool; goal: at least that."""
    ratio = statistics.median(plain) / statistics.median(ours)
    return Figure(section, name, ours, plain, "s", ratio, "plain / ours", f">= {goal}" if goal else "",
                  ratio >= goal if goal else None)


def whole_backup(name, ours, plain) -> Figure:
    """A whole backup against T, the same tools called by a bare script."""
    took, bare = statistics.median(ours), statistics.median(plain)
    over = took - BACKUP_SHARE * bare
    return Figure("backup", name, ours, plain, "s", took / bare, "ours / T",
                  f"ours - {BACKUP_SHARE} T = {over:.1f} s <= {BACKUP_SECONDS:.0f} s", over <= BACKUP_SECONDS,
                  {"over_seconds": round(over, 3)})


def over(section, name, ours, plain, most) -> Figure:
    """How many seconds ours takes more; goal: at most that."""
    took, bare = statistics.median(ours), statistics.median(plain)
    return Figure(section, name, ours, plain, "s", took / bare, "ours / plain",
                  f"ours - plain = {took - bare:.1f} s <= {most:.0f} s", took - bare <= most, {"over_seconds": round(took - bare, 3)})


def share(section, name, ours, plain, unit, goal=None) -> Figure:
    """What ours takes for each of the plain tool's; goal: at most that."""
    bare = statistics.median(plain)
    ratio = statistics.median(ours) / bare if bare else None
    return Figure(section, name, ours, plain, unit, ratio, "ours / plain", f"<= {goal}" if goal else "",
                  ratio <= goal if goal else None)


def downtime(mode, small, full, sizes) -> Figure:
    """Kestra's downtime at two sizes, (small, full) in MB; pinned must not grow."""
    least, most = statistics.median(small), statistics.median(full)
    bound = mode == "pinned"
    return Figure("downtime", f"{mode}: {sizes[1]} MB, and {sizes[0]} MB", full, small, "s", most / least,
                  "large / small", f"growth {most - least:+.1f} s <= {DOWNTIME_GROWTH_SECONDS:.0f} s" if bound else "",
                  most - least <= DOWNTIME_GROWTH_SECONDS if bound else None)


def memory(name, small, large, sizes, decisive) -> Figure:
    """Peak memory of one module's process at two sizes in MB. decisive: whether large is the size the goal names."""
    ratio = large / small
    goal = f"<= {MEMORY_GROWTH}" + ("" if decisive else " at 2048 MB: not run (--big)")
    return Figure("memory", f"{name}: {sizes[1]} MB, and {sizes[0]} MB", [large], [small], "MB", ratio, "large / small",
                  goal, ratio <= MEMORY_GROWTH if decisive else None)


def verdict(figure) -> str:
    """One word for the table."""
    return "" if figure.met is None else "met" if figure.met else "NOT MET"


def table(figures) -> list:
    """The human table, line by line. In downtime and memory both columns are ours, at two sizes."""
    rows = [("", "ours", "plain", "ratio", "goal", "")]
    section = None
    for one in figures:
        if one.section != section:
            section = one.section
            rows.append((section, *(("large", "small") if section in ("downtime", "memory") else ("", "")), "", "", ""))
        known = one.as_dict()
        ratio = "" if one.ratio is None else f"{one.means} {one.ratio:.2f}"
        rows.append((f"  {one.name}", _cell(known["ours"], one.unit), _cell(known["plain"], one.unit), ratio, one.goal,
                     verdict(one)))
    widths = [max(len(row[place]) for row in rows) for place in range(6)]
    return ["  ".join((row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]),
                       row[3].rjust(widths[3]), row[4].ljust(widths[4]), row[5])).rstrip() for row in rows]


def _cell(value, unit) -> str:
    return "" if value is None else f"{value:.1f} {unit}"
