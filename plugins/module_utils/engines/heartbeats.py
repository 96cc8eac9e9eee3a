# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sessions and heartbeats on Kestra's database mean, whatever the server. Pure."""
from __future__ import annotations

# Kestra's states of a service that will not write any more (io.kestra.core.server.Service, 0.21 to 2.x).
ENDED = ("TERMINATED_GRACEFULLY", "TERMINATED_FORCED", "NOT_RUNNING", "INACTIVE", "EMPTY")


def describe(found) -> str:
    """Sessions in one line, for messages."""
    listed = [f"{item['user']} (pid {item['pid']}, {item['application'] or 'no name'}"
              f"{', from ' + item['client'] if item['client'] else ''})" for item in found[:5]]
    return "; ".join(listed) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")


def summary(found) -> str:
    """judge()'s answer in one line."""
    parts = []
    if found["kestra_sessions"]:
        parts.append("sessions of Kestra: " + describe(found["kestra_sessions"]))
    if found["heartbeats"]:
        parts.append("fresh heartbeats: " + "; ".join(
            f"{item['type']} on {item['host'] or 'unknown host'} ({item['state']}, {item['age_seconds']:.0f} s ago)"
            for item in found["heartbeats"][:5]))
    if found["other_sessions"]:
        parts.append("other sessions: " + describe(found["other_sessions"]))
    return ". ".join(parts) + "." if parts else "Nobody is at work on the database."


def judge(found, beats, kestra_user) -> dict:
    """What sessions and heartbeats mean. Pure.

    quiet: no session of Kestra's user that is not ours, and no fresh heartbeat. Sessions of other users (monitoring,
    a person with psql) do not disturb a dump; they do keep a database from being renamed, so they are listed.
    """
    foreign = [item for item in found if not item["ours"]]
    kestra = [item for item in foreign if item["user"] == kestra_user]
    return {"quiet": not kestra and not beats, "kestra_sessions": kestra,
            "other_sessions": [item for item in foreign if item not in kestra], "heartbeats": beats}
