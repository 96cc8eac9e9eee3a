# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of schemas and tables: how they are written in a manifest, and in SQL. Pure."""
from __future__ import annotations

import re

# Tables of this collection's own: of a restore that has not passed its comparison, and of who a schema is.
MARKER = "kestra_dr_restoring"
IDENTITY = "kestra_dr_identity"
OWN_TABLES = (MARKER, IDENTITY)

_PLAIN = re.compile(r"[A-Za-z0-9_$]+")


def display(*parts) -> str:
    """A qualified name as manifests and messages write it: kestra.flows, kestra.`odd name`."""
    return ".".join(part if _PLAIN.fullmatch(part) else quoted(part) for part in parts)


def quoted(*parts) -> str:
    """A qualified name for SQL, every part quoted."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def unquoted(raw) -> str:
    """The name in a quoted one as a script holds it (bytes)."""
    return raw.decode("utf-8", "surrogateescape")[1:-1].replace("``", "`")
