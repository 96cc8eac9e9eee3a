# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine is: the database behind Kestra, behind one interface, whatever it is.

Flows and modules of the vault use this; the strategies (logical, physical) of an engine differ in what they hand out
as a component, not in these methods. All of them raise DrError and nothing else on purpose.
"""
from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol


class Engine(Protocol):
    """One database of Kestra on one server, or the place for one.

    A component is the manifest's database component, a dict. progress is core.jobs.Progress.
    """

    name: str
    strategies: tuple

    def inventory(self, *, counts: bool = False, objects: bool = False) -> dict:
        """What it is and holds: identity, role, size_bytes, empty, contents, privileges_missing, databases."""

    def activity(self, *, kestra_user: str, within: float) -> dict:
        """{quiet, kestra_sessions, other_sessions, heartbeats}."""

    def preflight(self, dest: str, options: Any) -> dict:
        """What a dump needs and finds; refuses what would fail later."""

    def dump(self, dest: str, options: Any, progress: Any) -> dict:
        """Dumps one moment into dest and returns the component; phase "pinned" when Kestra may run again."""

    def check(self, path: str, component: dict | None, progress: Any = None) -> dict:
        """Proves a dump whole without a server. Returns {format, bytes, counts, warnings}."""

    def restore(self, path: str, options: Any, progress: Any, component: dict | None = None) -> dict:
        """Restores into a new or empty database and compares: {verdict, counts, differences, …}."""

    def rename(self, pairs: list) -> None:
        """Renames databases [(old, new)], all or none; refuses while they are in use, naming who uses them."""

    def drop(self, name: str) -> dict:
        """Removes a database of this collection's own making."""

    def scratch(self, component: dict | None = None) -> AbstractContextManager[Engine]:
        """A throw-away server able to take the component, as an engine of its own."""
