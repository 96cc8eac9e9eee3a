# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup covers and how."""
from __future__ import annotations

DOCUMENTATION = r"""
name: to_take
short_description: What a backup covers and how
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Resolves the components and the consistency of a recovery point, and says what cannot be meant.
positional: consistency
options:
  _input:
    description: Names of components, or null for the usual ones.
    type: list
    elements: str
    required: true
  consistency:
    description: How it is to be taken, or null for what fits the components.
    type: str
"""

EXAMPLES = r"""
- name: Without a database the archive is taken in maintenance mode
  ansible.builtin.debug:
    msg: "{{ (['metadata'] | kestra_community.dr.to_take(none)).mode }}"
"""

RETURN = r"""
_value:
  description: C(components), C(mode) and C(problems), a list of texts.
  type: dict
"""

from ansible_collections.kestra_community.dr.plugins.module_utils.core.covered import to_take


class FilterModule:
    """The filter to_take."""

    def filters(self):
        return {"to_take": to_take}
