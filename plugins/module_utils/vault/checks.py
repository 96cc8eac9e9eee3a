# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a verification, one by one, and the verdict they add up to."""
from __future__ import annotations

import time

from ..core.errors import IntegrityError, StateError, ToolError
from .catalog import DEPTHS, verdict_of

PASS, FAIL = "pass", "fail"

# What says something about this host and nothing about the recovery point: the verification was not done.
_NOT_ABOUT_THE_POINT = frozenset((
    "tool_missing", "tool_not_executable", "tool_too_old", "tool_unusable", "tool_timeout", "disk_full", "interrupted",
    "permission_denied", "psycopg_missing", "user_missing"))

# States of the repository that are facts about the point.
_GONE = frozenset(("snapshot_missing", "path_missing"))


class Checks:
    """Runs checks and remembers how they went. A failed one does not stop the next."""

    def __init__(self):
        self.done: list = []

    def run(self, depth, name, work) -> bool:
        """work() returns what was expected and what was found, as JSON-ready values; equal is a pass.

        An IntegrityError or ToolError of work, or data that is gone, is a fail that could not be carried through.
        Whatever else it raises (no connection, no program, no space) ends the verification and is passed on: nothing
        is known then.
        """
        started = time.monotonic()
        broken = None
        try:
            expected, found = work()
        except (IntegrityError, StateError, ToolError) as exc:
            if exc.reason in _NOT_ABOUT_THE_POINT or (isinstance(exc, StateError) and exc.reason not in _GONE):
                raise
            expected, found, broken = None, exc.message, exc.reason
        passed = broken is None and expected == found
        self.done.append({"name": name, "depth": depth, "verdict": PASS if passed else FAIL, "expected": expected,
                          "found": found, "reason": broken, "seconds": round(time.monotonic() - started, 3)})
        return passed

    def passed(self, prefix="") -> bool:
        """Whether all checks so far whose name begins so have passed."""
        return all(check["verdict"] == PASS for check in self.done if check["name"].startswith(prefix))


def conclude(checks) -> dict:
    """{"outcome", "depth", "verdict"} of a list of checks. Pure.

    differs: something was compared and is not the same. failed: something could not even be read. pass: all passed;
    its depth is the deepest that has a check.
    """
    failing = [check for check in checks if check["verdict"] != PASS]
    if failing:
        outcome = "failed" if any(check["reason"] for check in failing) else "differs"
        depth = min((check["depth"] for check in failing), key=DEPTHS.index)
    else:
        outcome = "pass"
        depth = max((check["depth"] for check in checks), key=DEPTHS.index)
    return {"outcome": outcome, "depth": depth, "verdict": verdict_of(depth, outcome)}


def line(result) -> str:
    """The verdict with its depth, for people: "verified (counts)", "differs (digest)"."""
    return result["verdict"] if "(" in result["verdict"] else f"{result['verdict']} ({result['depth']})"
