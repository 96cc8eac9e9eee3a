# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an aborted or kept drill left behind: found by what it wrote down, ended and removed; a user's data never."""
from __future__ import annotations

from . import DrillError, processes


def clean(lab, remove_laboratory) -> list:
    """Makes the lab directory fit for a new drill. Returns lines about what was removed.

    remove_laboratory(): called when the earlier drill had a laboratory of its own, after its processes were ended.
    Raises DrillError when an earlier drill moved a user's own data aside and it was neither put back nor given up.
    """
    state = lab.read_state()
    aside = state.get("aside")
    if aside:
        raise DrillError(
            f"An earlier drill moved your Kestra's data aside and it still is: database {aside['database']['to']}, "
            f"storage {aside['storage']['to']}.",
            f"Put it back: {lab.put_back}\n"
            f"Or, to go on with the restored data: drop that database, remove that directory and {lab.state_file}.",
        )
    lines = []
    for mark in (f"{lab.root}#kestra", str(lab.root)):
        ended = processes.end_all(processes.marked(mark), grace=30.0 if mark.endswith("#kestra") else 10.0)
        if ended:
            lines.append(f"ended {ended} {'processes' if ended > 1 else 'process'} of an earlier drill")
    if state.get("kind") == "stand-in" and lab.inventory.exists():
        remove_laboratory()
        lines.append("removed the laboratory of an earlier drill")
    if lab.sweep():
        lines.append("removed what an earlier drill left in the lab directory")
    lab.forget_state()
    return lines
