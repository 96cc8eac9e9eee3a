# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a recovery point a restore brings back."""
from __future__ import annotations

DOCUMENTATION = r"""
name: to_restore
short_description: What of a recovery point a restore brings back
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Resolves which components of a recovery point come back, and says what cannot be meant.
positional: held
options:
  _input:
    description: Names of components, or null for what is usual.
    type: list
    elements: str
    required: true
  held:
    description: Names of the recovery point's components.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: A database holds all that is in the archive
  ansible.builtin.debug:
    msg: "{{ (none | kestra_community.dr.to_restore(['database', 'metadata', 'storage'])).components }}"
"""

RETURN = r"""
_value:
  description: C(components) and C(problems), a list of texts.
  type: dict
"""

from ansible_collections.kestra_community.dr.plugins.module_utils.core.covered import to_restore


class FilterModule:
    """The filter to_restore."""

    def filters(self):
        return {"to_restore": to_restore}
