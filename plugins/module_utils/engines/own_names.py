# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which databases are this collection's own, to drop and to replace. Pure."""
from __future__ import annotations

import re

from ..core.errors import RefusedError

_ID = r"\d{8}t\d{6}z_[0-9a-f]{6}"
_OURS = re.compile(r"kestra_dr_[a-z0-9_]+|.+_undo_" + _ID, re.DOTALL)


def beside_name(point) -> str:
    """The database a recovery point is restored into before it may take the live one's place. point: its id."""
    return "kestra_dr_" + point.lower().replace("-", "_")


def is_ours(name) -> bool:
    """Whether a database of this name was made, or set aside, by this collection."""
    return _OURS.fullmatch(name) is not None


def require_ours(name) -> None:
    """Raises RefusedError for the name of any database that is not ours to drop."""
    if not is_ours(name):
        raise RefusedError(
            f"The database {name!r} is not one of this collection's own (kestra_dr_* or *_undo_<run id>).",
            reason="not_ours", hint="Nothing was dropped. Drop it by hand if that is meant.", detail={"database": name})
