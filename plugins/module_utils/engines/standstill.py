# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Kestra's work stands still while Kestra is up: two looks at its tables, whatever the server. Pure.

In maintenance mode Kestra takes no new work, but its web server and scheduler go on: heartbeats, dates of triggers,
messages and newly CREATED executions are no work.
"""
from __future__ import annotations

# What a look consists of: numbers, None for a table that is not there.
# Work: executions that are not CREATED any more, what is in those under way (their task runs), what workers hold.
WORK = ("executions", "under_way", "held_by_workers", "logs", "metrics")
# May go on: created counts executions, messages is the newest one's number, which has gaps.
BESIDE = ("created", "messages", "triggers", "heartbeats")
# The states of executions under way that a look has to see into; a CREATED one has done nothing.
UNDER_WAY = ("RUNNING", "PAUSED", "RESTARTED", "KILLING", "QUEUED", "RETRYING", "BREAKPOINT", "SUBMITTED")
_NAMES = {"executions": "executions", "under_way": "task runs", "held_by_workers": "jobs of workers", "logs": "logs",
          "metrics": "metrics"}


def compare(before, after, seconds) -> dict:
    """{"still", "seconds", "advanced", "went_on", "told"} of two looks so many seconds apart.

    advanced: names of WORK that is not the same. went_on: {"created": n, "messages": bool, "triggers": bool, "heartbeats": bool}.
    told: both in one line.
    """
    advanced = [_NAMES[name] for name in WORK if before[name] != after[name]]
    went_on = {"created": max((after["created"] or 0) - (before["created"] or 0), 0),
               **{name: before[name] != after[name] for name in BESIDE[1:]}}
    beside = [f"{went_on['created']} executions created", *(name for name in BESIDE[1:] if went_on[name])]
    told = f"advanced: {', '.join(advanced)}" if advanced else "; ".join(beside)
    return {"still": not advanced, "seconds": round(seconds, 1), "advanced": advanced, "went_on": went_on, "told": told}
