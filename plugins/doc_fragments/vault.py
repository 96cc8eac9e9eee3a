# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where recovery points live, and whose. Must be kept in sync with the argument specs in vault/catalog.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  vault:
    description:
      - The vault directory on the worker host. Holds manifests, lists, locks and reports, never the data itself.
    type: path
    required: true
  instance:
    description: Name of the instance, which is the name of its inventory group. Letters, digits, C(_), C(.) and C(-).
    type: str
    required: true
"""

    LOCK = r"""
options:
  lock:
    description:
      - Who is asking. One run holds an instance at a time; the lock lies in the vault, where every controller sees it.
    type: dict
    required: true
    suboptions:
      run_id:
        description: Id of this run of a playbook. The same id enters again.
        type: str
        required: true
      owner:
        description: Who runs it and from where, for the message another run gets, for example V(ann@controller).
        type: str
        required: true
      ttl:
        description: Seconds after which the lock counts as abandoned unless it was renewed.
        type: int
        default: 900
      take_over:
        description: Id of a run that is certainly dead and whose lock is to be taken although it has not expired.
        type: str
"""
