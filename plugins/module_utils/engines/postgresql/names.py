# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of databases and tables: how they are written in a manifest, and in SQL. Pure."""
from __future__ import annotations

import re

from ...core.errors import ConfigError

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def display(*parts) -> str:
    """A qualified name as manifests and messages write it: public.flows, public."Odd name".

    Unambiguous, and independent of the server's list of reserved words (quote_ident is not).
    """
    return ".".join(part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts)


def quoted(*parts) -> str:
    """A qualified name for SQL and for the patterns of pg_dump, every part quoted."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def parse(text) -> tuple:
    """The parts of a name in display() form. Raises ConfigError."""
    parts, rest = [], text
    while True:
        found = re.match(r'"((?:[^"]|"")+)"|([^".]+)', rest)
        if not found:
            raise ConfigError(f"{text!r} is not a table name like flows, public.flows or public.\"Odd name\".",
                              reason="bad_name")
        parts.append(found.group(1).replace('""', '"') if found.group(1) is not None else found.group(2))
        rest = rest[found.end():]
        if not rest:
            return tuple(parts)
        if not rest.startswith("."):
            raise ConfigError(f"{text!r} is not a table name like flows, public.flows or public.\"Odd name\".",
                              reason="bad_name")
        rest = rest[1:]
