# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts and stops Kestra on a host. Must be kept in sync with MANAGER_SPEC in module_utils/kestra/lifecycle_managers.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  manager:
    description:
      - What starts and stops Kestra on this host.
      - V(systemd) uses O(unit) of the system manager and needs root.
      - V(command) uses the three O(commands).
    type: str
    choices: [systemd, command]
    default: systemd
  unit:
    description: The systemd unit of Kestra, for O(manager=systemd).
    type: str
    default: kestra.service
  commands:
    description:
      - The commands of O(manager=command). A text is split into words as a shell would, but no shell runs it; a list is taken as it is.
    type: dict
    suboptions:
      start:
        description: Starts Kestra and returns; what it leaves in the background is Kestra.
        type: raw
      stop:
        description: Asks Kestra to stop. It may return before Kestra has ended.
        type: raw
      status:
        description:
          - Ends with 0 while Kestra runs or is still stopping, with 1, 2 or 3 when it does not run, as C(pgrep) does.
          - Any other exit code is taken for a failure to tell, never for a stopped Kestra.
        type: raw
  log_file:
    description: Kestra's log on this host for O(manager=command), quoted when Kestra does not come up. With systemd the journal is used.
    type: path
"""
