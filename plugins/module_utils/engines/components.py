# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine's restore module does with the manifest's component and with a difference."""
from __future__ import annotations

from ..core import manifest
from ..core.errors import IntegrityError


def expected(params, name="database"):
    """The manifest's component, or None for a foreign one. Raises IntegrityError for an invalid one."""
    component = params["component"]
    if params["manifest"]:
        component = manifest.load(params["manifest"])["components"].get(name)
        if component is None:
            raise IntegrityError(f"The recovery point of {params['manifest']} holds no {name}.", reason=f"no_{name}")
    if component is not None:
        manifest.validate_component(name, component, sealed=False)
    return component


def different(result):
    """The error for a restored database that is not what was dumped."""
    first = result["differences"][0]
    more = f" (and {len(result['differences']) - 1} more)" if len(result["differences"]) > 1 else ""
    return IntegrityError(
        f"The restored database differs from what was dumped: {first['kind']} {first['name']}, "
        f"expected {first['expected']}, found {first['found']}{more}.", reason="restore_differs",
        hint=f"The database {result['database']} is kept for a look and replaced by the next attempt. Do not use it.",
        detail={"differences": result["differences"][:50], "database": result["database"]})
