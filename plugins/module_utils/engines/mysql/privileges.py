# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an account may do, read from its grants. Decisions are pure; read() asks the server.

It matters before a dump: mysqldump leaves out the triggers, events and routines its account may not see, and ends with
0.
"""
from __future__ import annotations

import re

from ...core.errors import RefusedError

_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<where>.+?) TO ", re.DOTALL)
_REVOKE = re.compile(r"REVOKE (?P<what>.+?) ON (?P<where>.+?) FROM ", re.DOTALL)
_PLACE = re.compile(r"(?:(?:TABLE|FUNCTION|PROCEDURE) )?(\*|`(?:[^`]|``)+`)\.(\*|`(?:[^`]|``)+`)")

# What stands for a privilege that is not granted by its own name.
_IMPLIED = {"SET_USER_ID": ("SET_ANY_DEFINER",), "SHOW_ROUTINE": ("SELECT",)}


class Grants:
    """What an account may do: everywhere, in a schema, on a table."""

    def __init__(self):
        self._everywhere: set = set()
        self._schemas: list = []   # [(pattern, privileges)]
        self._tables: dict = {}
        self._revoked: dict = {}

    def add(self, line) -> None:
        """Takes one line of SHOW GRANTS."""
        found = _GRANT.match(line)
        revoked = None if found else _REVOKE.match(line)
        place = (found or revoked) and _PLACE.fullmatch((found or revoked)["where"])
        if not place:
            return  # a role, or a proxy
        privileges = _privileges((found or revoked)["what"])
        schema, table = (part if part == "*" else part[1:-1].replace("``", "`") for part in place.groups())
        if revoked:
            self._revoked.setdefault(schema, set()).update(privileges)
        elif schema == "*":
            self._everywhere |= privileges
        elif table == "*":
            self._schemas.append((_pattern(schema), privileges))
        else:
            self._tables.setdefault((schema, table), set()).update(privileges)

    def globally(self, privilege) -> bool:
        """Whether it is granted everywhere (or something that implies it)."""
        wanted = {privilege, *_IMPLIED.get(privilege, ())}
        return bool(wanted & self._everywhere) or ("ALL PRIVILEGES" in self._everywhere and " " not in privilege)

    def on(self, schema, privilege, table=None) -> bool:
        """Whether it is granted in a schema, or on a table of it."""
        if privilege in self._revoked.get(schema, ()):
            return False
        sets = [self._everywhere] + [held for pattern, held in self._schemas if pattern.fullmatch(schema)]
        if table is not None:
            sets.append(self._tables.get((schema, table), set()))
        return any(privilege in held or "ALL PRIVILEGES" in held for held in sets)


def _privileges(text) -> set:
    # Privileges on columns, "SELECT (a, b)", are none on the table.
    return {part.strip().upper() for part in re.sub(r"[A-Z ]+\([^)]*\),?", "", text).split(",") if part.strip()}


def _pattern(schema):
    """A schema in a grant is a pattern: % and _, unless escaped."""
    parts = re.findall(r"\\.|.", schema, re.DOTALL)
    return re.compile("".join(re.escape(part[-1]) if len(part) == 2 or part not in "%_"
                              else ".*" if part == "%" else "." for part in parts), re.DOTALL)


def of_lines(lines) -> Grants:
    """The Grants in the lines of SHOW GRANTS. Pure."""
    found = Grants()
    for line in lines:
        found.add(line)
    return found


def read(session) -> Grants:
    """What the connected account may do, with the roles that are active."""
    roles = session.value("SELECT CURRENT_ROLE()")
    using = "" if roles in (None, "NONE", "") else f" FOR CURRENT_USER() USING {roles}"
    return of_lines(row[0] for row in session.rows("SHOW GRANTS" + using))


def missing_for_dump(grants, schema, tables, views, routines) -> list:
    """What an account lacks to dump all of a schema: [{"object", "kind", "missing"}]. Pure.

    tables, views: names. routines: [(type, name, whether its text is visible)] as far as the account sees any.
    """
    missing = []
    for kind, found, wanted in (("table", tables, ("SELECT", "LOCK TABLES")), ("view", views, ("SELECT", "SHOW VIEW"))):
        for name in found:
            lacks = [item for item in wanted if not grants.on(schema, item, name)]
            if lacks:
                missing.append({"object": name, "kind": kind, "missing": lacks})
    lacks = [item for item in ("TRIGGER", "EVENT") if not grants.on(schema, item)]
    if lacks:
        missing.append({"object": schema, "kind": "schema", "missing": lacks})
    hidden = [name for unused, name, visible in routines if not visible]
    seeing = grants.globally("SHOW_ROUTINE") or any(
        grants.on(schema, item) for item in ("CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE"))
    if hidden or not seeing:
        missing.append({"object": ", ".join(hidden) or schema, "kind": "routines", "missing": ["SHOW_ROUTINE"]})
    return missing


def require_for_dump(missing, account) -> None:
    """Raises RefusedError naming everything account may not read."""
    if missing:
        listed = "; ".join(f"{item['kind']} {item['object']}: {', '.join(item['missing'])}" for item in missing[:10])
        more = f"; and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise RefusedError(f"The account {account} may not read everything a dump needs ({listed}{more}).",
                           reason="privileges_missing",
                           hint="Grant it (GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON the database; GRANT "
                                "SHOW_ROUTINE ON *.*), or connect as another account.",
                           detail={"account": account, "missing": missing})
