# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps with their begin and end as the timeline of a report."""
from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
short_description: Steps with their begin and end as the timeline of a report
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Leaves out steps whose begin or end is not known.
positional: begin
options:
  _input:
    description: Steps with C(name), C(from) and C(to), times in UTC, ISO 8601 with a trailing C(Z).
    type: list
    elements: dict
    required: true
  begin:
    description: When the run began.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Two steps
  ansible.builtin.debug:
    msg: >-
      {{ [{'name': 'dump', 'from': '2026-11-23T00:00:01Z', 'to': '2026-11-23T00:00:04Z'}, {'name': 'copy', 'from': '', 'to': ''}]
      | kestra_community.dr.timeline('2026-11-23T00:00:00Z') }}
"""

RETURN = r"""
_value:
  description: Each step with C(at), C(name), C(offset) and C(seconds), by begin.
  type: list
  elements: dict
"""

from ansible_collections.kestra_community.dr.plugins.filter.seconds_between import seconds_between


def timeline(steps, begin):
    known = [step for step in steps if step.get("from") and step.get("to")]
    return sorted(({"at": step["from"], "name": step["name"], "offset": seconds_between(begin, step["from"]),
                    "seconds": max(0.0, seconds_between(step["from"], step["to"]))} for step in known),
                  key=lambda step: step["offset"])


class FilterModule:
    """The filter timeline."""

    def filters(self):
        return {"timeline": timeline}
