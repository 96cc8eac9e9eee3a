# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds from one UTC time to another."""
from __future__ import annotations

DOCUMENTATION = r"""
name: seconds_between
short_description: Seconds from one UTC time to another
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Subtracts two times as the modules of this collection return them.
positional: later
options:
  _input:
    description: The earlier time, UTC, ISO 8601 with a trailing C(Z). Nothing gives C(0).
    type: str
    required: true
  later:
    description: The later time. Now when not given.
    type: str
"""

EXAMPLES = r"""
- name: How long was it?
  ansible.builtin.debug:
    msg: "{{ '2026-11-23T00:00:00Z' | kestra_community.dr.seconds_between('2026-11-23T00:01:30Z') }}"
"""

RETURN = r"""
_value:
  description: Seconds, rounded to a thousandth.
  type: float
"""

from datetime import datetime, timezone

from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import parse_utc


def seconds_between(earlier, later=None):
    if not earlier:
        return 0.0
    end = parse_utc(later) if later else datetime.now(timezone.utc)
    return round((end - parse_utc(earlier)).total_seconds(), 3)


class FilterModule:
    """The filter seconds_between."""

    def filters(self):
        return {"seconds_between": seconds_between}
