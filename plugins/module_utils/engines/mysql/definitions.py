# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions in a schema as digests, and their comparison with those of a restored one."""
from __future__ import annotations

import hashlib
import json
import re

from ...core.errors import RefusedError
from . import names, script

KINDS = ("tables", "views", "routines", "triggers", "events")
# Where the counter stands is compared by itself.
_CHARACTER_SET = re.compile(r" CHARACTER SET \w+(?= COLLATE )")
_COLLATION = re.compile(r"^\) ENGINE=.*? COLLATE=(\w+)", re.MULTILINE)
_COUNTER = re.compile(r"(?<=\) )(ENGINE=\w+ )AUTO_INCREMENT=\d+ ")


def digest(value) -> str:
    """Hex sha256 of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def table_text(text) -> str:
    """A CREATE TABLE without where its counter stands, and without what a server says of a column or leaves out,
    depending on how the table was made: a collation tells its character set, and the table's own is every column's. Pure.
    """
    text = _CHARACTER_SET.sub("", _COUNTER.sub(r"\1", text))
    own = _COLLATION.findall(text)
    return text.replace(f" COLLATE {own[-1]}", "") if own else text


def object_text(text) -> str:
    """A CREATE of anything else without its DEFINER: that is the account of whoever restores. Pure."""
    return script.without_definer(text.encode("utf-8", "surrogateescape"))[0].decode("utf-8", "surrogateescape")


def listed(session, database) -> dict:
    """{kind: [names]}; routines as (type, name). Without tables of our own."""
    def column(statement):
        return [row[0] if len(row) == 1 else row for row in session.rows(statement, (database,))
                if row[0] not in names.OWN_TABLES]

    return {
        "tables": column("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
                         "AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"),
        "views": column("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
                        "AND TABLE_TYPE = 'VIEW' ORDER BY 1"),
        "routines": column("SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES "
                           "WHERE ROUTINE_SCHEMA = %s ORDER BY 1, 2"),
        "triggers": column("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s ORDER BY 1"),
        "events": column("SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY 1")}


# kind -> (what SHOW CREATE asks for, the columns of its answer that matter)
_SHOW = {"views": ("VIEW", (1, 2, 3)), "triggers": ("TRIGGER", (1, 2, 3, 4)), "events": ("EVENT", (1, 2, 3, 4, 5))}


def read(session, database) -> dict:
    """{kind: {name: digest}} for all kinds, and auto_increment {table: next value}.

    session: in the schema itself, so that the server leaves its name out. Raises RefusedError when the text of a
    routine is hidden from this account.
    """
    found: dict = {kind: {} for kind in KINDS}
    names_of = listed(session, database)
    for name in names_of["tables"]:
        found["tables"][name] = digest(table_text(session.row(f"SHOW CREATE TABLE {names.quoted(name)}")[1]))
    for kind, (word, columns) in _SHOW.items():
        for name in names_of[kind]:
            row = session.row(f"SHOW CREATE {word} {names.quoted(name)}")
            found[kind][name] = digest([object_text(row[index]) for index in columns])
    for word, name in names_of["routines"]:
        row = session.row(f"SHOW CREATE {word} {names.quoted(name)}")
        if row[2] is None:
            raise RefusedError(f"The text of the {word.lower()} {name} is hidden from this account.",
                               reason="privileges_missing", hint="GRANT SHOW_ROUTINE ON *.* TO the account.")
        found["routines"][name] = digest([word, object_text(row[2]), row[1], row[3], row[4]])
    # The tables of our own have none.
    found["auto_increment"] = dict(session.rows(
        "SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "AND TABLE_TYPE = 'BASE TABLE' AND AUTO_INCREMENT IS NOT NULL", (database,)))
    return found


def compare(expected, found, *, same_release=True) -> list:
    """Differences as [{"kind", "name", "expected", "found"}]; a missing object is None on its side. Pure.

    same_release: servers of different releases print definitions differently, so only names are compared between them.
    A counter that has gone further is no difference: values skipped are never used again.
    """
    differences = []
    for kind in KINDS:
        left, right = expected.get(kind) or {}, found.get(kind) or {}
        for name in sorted(set(left) | set(right)):
            missing = name not in left or name not in right
            if missing or (same_release and left.get(name) != right.get(name)):
                differences.append({"kind": kind, "name": name, "expected": left.get(name), "found": right.get(name)})
    right = found.get("auto_increment") or {}
    for name, value in sorted((expected.get("auto_increment") or {}).items()):
        if (right.get(name) or 0) < value:
            differences.append({"kind": "auto_increment", "name": name, "expected": value, "found": right.get(name)})
    return differences
