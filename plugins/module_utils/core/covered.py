# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which components a recovery point is to cover, in which way, and which of them come back. Pure."""
from __future__ import annotations

from .manifest import MODES

# What this version takes; the first three unless asked otherwise.
KNOWN = ("database", "storage", "config", "metadata")
USUAL = ("database", "storage", "config")
# The ways in which Kestra's servers stop.
STOPPING = ("pinned", "offline")


def to_take(asked, consistency) -> dict:
    """{"components", "mode", "problems"} of a backup. problems: why this cannot be meant, as texts.

    asked: kestra_dr_components, or None. consistency: kestra_dr_consistency, or None for what fits the components.
    """
    components = list(USUAL) if asked is None else _listed(asked)
    fits = "pinned" if "database" in components or "metadata" not in components else "drained"
    mode = consistency or fits
    return {"components": components, "mode": mode, "problems": _wrong_names(components) + _wrong_mode(components, mode)}


def to_restore(asked, held) -> dict:
    """{"components", "problems"} of a restore. held: the names of the recovery point's components.

    A database holds all that is in the metadata archive: beside it the archive is left out. In Elasticsearch the data are
    the component search; its queue is filled anew from that.
    """
    held = ["database" if name == "search" else name for name in held if name != "queue"]
    listed = list(KNOWN) if asked is None else _listed(asked)
    problems = _wrong_names(listed)
    components = [name for name in listed if name in held]
    if "metadata" in components and "database" in components:
        components.remove("metadata")
    if asked is None and "metadata" in components:
        components = ["metadata"]
    if not components and not problems:
        problems = [f"The recovery point holds {', '.join(sorted(held))}, and none of it is in kestra_dr_components."]
    elif "metadata" in components and "storage" in components:
        problems = problems + [
            "kestra_dr_components names metadata and storage: the archive is restored into an instance that is up and has a "
            "storage of its own."]
    return {"components": components, "problems": problems}


def _listed(asked) -> list:
    if isinstance(asked, str):  # as -e name=value gives it
        return [name.strip() for name in asked.split(",") if name.strip()]
    return [str(name) for name in asked]


def _wrong_names(components) -> list:
    if not components:
        return ["kestra_dr_components is empty: a recovery point without components protects nothing."]
    unknown = [name for name in components if name not in KNOWN]
    twice = sorted({name for name in components if components.count(name) > 1})
    problems = [f"kestra_dr_components names {', '.join(unknown)}; there are {', '.join(KNOWN)}."] if unknown else []
    return problems + ([f"kestra_dr_components names {', '.join(twice)} twice."] if twice else [])


def _wrong_mode(components, mode) -> list:
    if mode not in MODES:
        return [f"kestra_dr_consistency is {mode}; there are {', '.join(MODES)}."]
    if "metadata" not in components or "database" in components:
        return []
    if "storage" in components:
        return ["kestra_dr_components names storage and metadata without database: the files belong to rows that would "
                "not be in the recovery point. Add database, or leave storage out."]
    if mode in STOPPING:
        return [f"kestra_dr_consistency is {mode}, but there is no database in kestra_dr_components: the metadata archive "
                "is taken while Kestra is up, in maintenance mode (drained) or without (live)."]
    return []
