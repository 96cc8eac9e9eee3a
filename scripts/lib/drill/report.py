# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's own report in the form of the flows' reports: as JSON, and as one HTML page of their look."""
from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import jinja2

from .console import span


class Timeline:
    """Steps in their order. origin: monotonic and UTC seconds of the drill's start."""

    def __init__(self, monotonic, utc):
        self._monotonic, self._utc = monotonic, utc
        self.steps = []

    def text(self, moment) -> str:
        """A monotonic moment as UTC text."""
        utc = datetime.fromtimestamp(self._utc + moment - self._monotonic, timezone.utc)
        return utc.strftime("%Y-%m-%dT%H:%M:%SZ")

    def add(self, name, begin, end) -> None:
        """One step between two monotonic moments."""
        self.steps.append({
            "at": self.text(begin), "name": name, "seconds": round(end - begin, 3),
            "offset": round(begin - self._monotonic, 3),
        })


def check(name, passed, expected, found) -> dict:
    """One line of the table of checks. passed: True, False, or None for not run."""
    verdict = "not_run" if passed is None else ("pass" if passed else "fail")
    return {"name": name, "verdict": verdict, "expected": expected, "found": found}


def figures(result) -> list:
    """The numbers a person looks for first. result: {rto, rpo, downtime: {mode: seconds}}; None: not reached."""
    rows = [("RTO achieved", result.get("rto")), ("RPO achieved", result.get("rpo"))]
    rows += [(f"downtime, {mode}", seconds) for mode, seconds in result.get("downtime", {}).items()]
    return [{"name": name, "value": "not reached" if seconds is None else span(seconds)} for name, seconds in rows]


def render(template, content) -> str:
    """The HTML page. template: text of the report role's page, which escapes what it shows."""
    environment = jinja2.Environment(trim_blocks=True, autoescape=False, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(report_content=content)


def write(directory, name, content, template) -> tuple:
    """Writes <name>.json and <name>.html, readable by the owner alone. Returns their paths."""
    paths = Path(directory) / f"{name}.json", Path(directory) / f"{name}.html"
    texts = json.dumps(content, indent=2, sort_keys=True) + "\n", render(template, content)
    for path, text in zip(paths, texts):
        with open(path, "w", encoding="utf-8", opener=lambda file, flags: os.open(file, flags, 0o600)) as handle:
            handle.write(text)
    return paths
