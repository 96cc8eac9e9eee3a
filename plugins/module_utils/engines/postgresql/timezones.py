# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated columns whose value depends on the session's time zone, and the zone a dump must be restored in.

Kestra's executions.start_date and end_date are timestamps without zone, generated from a time with zone. pg_dump leaves
generated columns out and the restore computes them again, in its own session's zone: restored in another zone than
they were written in, they are shifted by hours, silently. So the zone is found by computing the server's own
expressions again beside the stored values, whatever the columns are called.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from . import names

# timestamp, date and time without zone: the types whose value a session's zone can change.
_COLUMNS = """
SELECT a.attrelid::pg_catalog.int8, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
       pg_catalog.pg_get_expr(d.adbin, d.adrelid)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attgenerated = 's' AND NOT a.attisdropped AND a.attrelid = ANY (%s::pg_catalog.int8[]::pg_catalog.oid[])
   AND a.atttypid IN ('pg_catalog.timestamp'::pg_catalog.regtype, 'pg_catalog.date'::pg_catalog.regtype,
                      'pg_catalog.time'::pg_catalog.regtype)
 ORDER BY 1, a.attnum"""

# How many zones that explain the ends of a column are tried on every row; neighbours differ only in rare years.
_TRIES = 8


@dataclass(frozen=True)
class Column:
    """A generated column. expression: as the server prints it. type: as format_type prints it."""

    relation: object
    column: str
    type: str
    expression: str

    @property
    def name(self) -> str:
        return f"{self.relation.name}.{names.display(self.column)}"

    @property
    def stored(self) -> str:
        return names.quoted(self.column)

    @property
    def computed(self) -> str:
        return f"(({self.expression})::{self.type})"


@dataclass
class Finding:
    """zone: to restore in. checks: {column: {rows, sum}} as a restore in that zone will have them.

    strays: {column: rows stored with a value of some other zone}.
    """

    zone: str
    checks: dict = field(default_factory=dict)
    strays: dict = field(default_factory=dict)

    def facts(self) -> dict:
        """As a manifest holds it."""
        return {"timezone": self.zone, "generated_timestamps": self.checks, "timezone_strays": self.strays}


def columns(connection, relations) -> list:
    """The generated columns concerned."""
    by_oid = {relation.oid: relation for relation in relations if relation.has_rows}
    return [Column(by_oid[oid], name, kind, expression)
            for oid, name, kind, expression in connection.execute(_COLUMNS, (list(by_oid),)).fetchall()]


def inspect(connection, relations) -> Finding:
    """Finds the zone the rows were written in and what the columns hold when computed in it.

    UTC when nothing says otherwise. With rows of several zones the most frequent one is taken; the others are strays.
    """
    found = columns(connection, relations)
    default = connection.execute(
        "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'").fetchone()[0]
    for zone in dict.fromkeys(("UTC", default)):
        finding = _measure(connection, found, zone)
        if not finding.strays:
            return finding
    candidates = _candidates(connection, found)
    measured = [_measure(connection, found, zone) for zone in candidates[:_TRIES]] or [finding]
    return min(measured, key=lambda item: sum(item.strays.values()))


def checks(connection, relations) -> dict:
    """{column: {rows, sum}} of the values as they are stored."""
    result = {}
    for relation, group in _by_table(columns(connection, relations)):
        wanted = ", ".join(f"pg_catalog.count({column.stored}), {_sum(column.stored)}" for column in group)
        row = connection.execute(f"SELECT {wanted} FROM ONLY {relation.quoted}").fetchone()
        for index, column in enumerate(group):
            result[column.name] = {"rows": row[2 * index], "sum": row[2 * index + 1]}
    return result


def _by_table(found) -> list:
    """[(relation, its columns)]: one pass over each table."""
    groups: dict = {}
    for column in found:
        groups.setdefault(column.relation, []).append(column)
    return list(groups.items())


def _sum(value) -> str:
    return f"COALESCE(pg_catalog.sum(EXTRACT(epoch FROM {value})::pg_catalog.numeric), 0)::pg_catalog.text"


def _measure(connection, found, zone) -> Finding:
    finding = Finding(zone)
    connection.execute("SELECT pg_catalog.set_config('TimeZone', %s, false)", (zone,))
    try:
        for relation, group in _by_table(found):
            values = ", ".join(f"{column.computed} AS again{index}, {column.stored} AS stored{index}"
                               for index, column in enumerate(group))
            wanted = ", ".join(f"pg_catalog.count(v.again{index}), {_sum(f'v.again{index}')}, pg_catalog.count(*) "
                               f"FILTER (WHERE v.again{index} IS DISTINCT FROM v.stored{index})"
                               for index in range(len(group)))
            # OFFSET 0 keeps the expressions from being computed once for every use.
            row = connection.execute(
                f"SELECT {wanted} FROM (SELECT {values} FROM ONLY {relation.quoted} OFFSET 0) v").fetchone()
            for index, column in enumerate(group):
                rows, total, strays = row[3 * index:3 * index + 3]
                finding.checks[column.name] = {"rows": rows, "sum": total}
                if strays:
                    finding.strays[column.name] = strays
    finally:
        connection.execute("SELECT pg_catalog.set_config('TimeZone', 'UTC', false)")
    return finding


def _candidates(connection, found) -> list:
    """Zones that explain the first and last row of every distinct offset; if none does, of the most frequent one."""
    for limit in (100, 1):
        zones = None
        for column in found:
            if not column.type.startswith("timestamp"):
                continue
            # Computed in UTC, the value is the time itself; what is stored is that time as some zone's clock shows it.
            rows = connection.execute(f"""
                SELECT v.stored - v.again, pg_catalog.min(v.again), pg_catalog.max(v.again)
                  FROM (SELECT {column.computed} AS again, {column.stored} AS stored
                          FROM ONLY {column.relation.quoted} OFFSET 0) v
                 WHERE v.stored IS NOT NULL AND pg_catalog.isfinite(v.stored) AND pg_catalog.isfinite(v.again)
                 GROUP BY 1 ORDER BY pg_catalog.count(*) DESC LIMIT {limit}""").fetchall()
            for offset, first, last in rows:
                explained = connection.execute("""
                    SELECT z.name FROM pg_catalog.pg_timezone_names z
                     WHERE %(first)s::timestamp AT TIME ZONE 'UTC' AT TIME ZONE z.name = %(first)s::timestamp + %(by)s
                       AND %(last)s::timestamp AT TIME ZONE 'UTC' AT TIME ZONE z.name = %(last)s::timestamp + %(by)s
                       AND z.name !~ '^(posix|right)/'""", {"first": first, "last": last, "by": offset}).fetchall()
                these = {row[0] for row in explained}
                zones = these if zones is None else zones & these
        if zones:
            # Names of places before fixed offsets and abbreviations: they survive a change of summer time.
            return sorted(zones, key=lambda zone: ("/" not in zone or zone.startswith("Etc/"), zone))
    return []
