# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a set of copies, such as what a swap has kept: its indices are deleted, each by its name."""
from __future__ import annotations

from ...core.errors import RefusedError
from . import inventory, landing, marks, names


def doomed(cluster, prefix, name, confirm) -> list:
    """The indices of a set that may go. Raises RefusedError for a set that is needed yet, or is not confirmed."""
    held = inventory.listed(cluster, names.copies(name) + prefix)["indices"]
    if not held:
        return []
    if (confirm or "").lower() != name.lower():
        raise RefusedError(f"The set {name} is not removed without its name typed again.", reason="not_confirmed",
                           hint=f"It would remove {', '.join(held)}. To do it, set confirm to {name}.", detail={"indices": held})
    if name.lower() in marks.unfinished(marks.read(cluster, "kdr-")):
        raise RefusedError(f"A swap with the set {name} has not come to its end.", reason="swap_unfinished",
                           hint="Run that swap again first; until then this may be all that is whole.", detail={"indices": held})
    if not inventory.listed(cluster, prefix)["indices"]:
        raise RefusedError(f"There are no indices of Kestra's beside the set {name}.", reason="nothing_live",
                           hint="It may be all there is. Put it in place with mode: swap, or restore first.", detail={"indices": held})
    return held


def remove(cluster, prefix, name, confirm, check_mode) -> dict:
    """Deletes a set, which is changed and deleted in the result. Raises RefusedError."""
    found = doomed(cluster, prefix, name, confirm)
    if not check_mode:
        landing.delete(cluster, found)
    return {"changed": bool(found), "indices": [], "deleted": found}
