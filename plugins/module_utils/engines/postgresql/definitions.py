# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions in a database as digests, and their comparison with those of a restored one.

Members of extensions are left out: CREATE EXTENSION makes them, pg_dump does not.
"""
from __future__ import annotations

import hashlib
import json
import re

from . import names

KINDS = ("tables", "constraints", "indexes", "triggers", "functions", "types", "extensions")

_OWN = """n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND (%(schemas)s::pg_catalog.text[] IS NULL OR n.nspname::pg_catalog.text = ANY (%(schemas)s::pg_catalog.text[]))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = {oid} AND e.deptype = 'e'
                   AND e.classid = 'pg_catalog.{catalogue}'::pg_catalog.regclass)"""


def _own(oid, catalogue) -> str:
    return _OWN.format(oid=oid, catalogue=catalogue)


_COLUMNS = f"""
SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relrowsecurity, c.relforcerowsecurity,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END,
       CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid),
       (SELECT pg_catalog.array_agg(i.inhparent::pg_catalog.regclass::text ORDER BY i.inhseqno)
          FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid),
       (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attname,
               pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text, a.attgenerated::text,
               CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::pg_catalog.regcollation::text END,
               pg_catalog.pg_get_expr(d.adbin, d.adrelid)) ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
          LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(p.polname, p.polcmd::text, p.polpermissive,
               pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
               ORDER BY p.polname) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_own('c.oid', 'pg_class')}"""

# NOT NULL became a constraint of its own in 18; it is in the columns above for every version.
_CONSTRAINTS = f"""
SELECT n.nspname, c.relname, k.conname, k.contype::text, pg_catalog.pg_get_constraintdef(k.oid), k.convalidated
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype <> 'n' AND {_own('c.oid', 'pg_class')}"""

_INDEXES = f"""
SELECT n.nspname, i.relname, pg_catalog.pg_get_indexdef(x.indexrelid), x.indisvalid
  FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
 WHERE {_own('c.oid', 'pg_class')}"""

_TRIGGERS = f"""
SELECT n.nspname, c.relname, t.tgname, pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled::text
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND {_own('c.oid', 'pg_class')}"""

# Aggregates have no text of their own; their name and arguments must do.
_FUNCTIONS = f"""
SELECT n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid),
       CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) END, {{sql_body}}
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE {_own('p.oid', 'pg_proc')}"""

_TYPES = f"""
SELECT n.nspname, t.typname, t.typtype::text,
       (SELECT pg_catalog.jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)
          FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
       CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END,
       t.typnotnull, t.typdefault,
       (SELECT pg_catalog.jsonb_agg(pg_catalog.pg_get_constraintdef(k.oid) ORDER BY k.conname)
          FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n'),
       (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attname,
               pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a
         WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT pg_catalog.format_type(r.rngsubtype, NULL) FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) AND {_own('t.oid', 'pg_type')}"""

_EXTENSIONS = "SELECT extname, extversion FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'"

_SEQUENCES = f"""
SELECT n.nspname, c.relname, pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
       s.seqcache, s.seqcycle,
       (SELECT d.refobjid::pg_catalog.regclass::text || '.' || d.refobjsubid FROM pg_catalog.pg_depend d
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass LIMIT 1)
  FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE {_own('c.oid', 'pg_class')} ORDER BY 1, 2"""

_LITERALS = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")")
_CAST = re.compile(r"::\s*[A-Za-z_][\w.]*(?: varying| precision| with(?:out)? time zone|\(\d+(?:,\s*\d+)?\))*(?:\[\])*")
_FILLER = re.compile(r"[\s()]+")


def loose(text):
    """An expression without casts, blanks and parentheses outside of quotes; None stays None.

    The server prints an expression, reads it back from a dump and prints it differently: x IN ('a', 'b') on a varchar
    column gets other casts and parentheses. An exact comparison would cry wolf after a faultless restore.
    """
    if text is None:
        return None
    parts = _LITERALS.split(text)
    return "".join(part if index % 2 else _FILLER.sub("", _CAST.sub("", part)) for index, part in enumerate(parts))


def digest(value) -> str:
    """Hex sha256 of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def read(connection, schemas=None) -> dict:
    """{kind: {name: digest}} for all kinds, and sequences {name: {last_value, is_called, definition}}.

    connection: with an empty search path (connect.connect). schemas: only these (None: all).
    """
    only = {"schemas": None if schemas is None else list(schemas)}
    found: dict = {kind: {} for kind in KINDS}
    for row in connection.execute(_COLUMNS, only):
        columns = [item[:-1] + [loose(item[-1])] for item in row[10] or []]
        policies = [item[:3] + [loose(item[3]), loose(item[4])] for item in row[11] or []]
        found["tables"][names.display(row[0], row[1])] = digest(
            [*row[2:6], loose(row[6]), loose(row[7]), loose(row[8]), row[9], columns, policies])
    for schema, table, name, kind, text, valid in connection.execute(_CONSTRAINTS, only):
        found["constraints"][names.display(schema, table, name)] = digest([kind, loose(text), valid])
    for schema, name, text, valid in connection.execute(_INDEXES, only):
        found["indexes"][names.display(schema, name)] = digest([loose(text), valid])
    for schema, table, name, text, enabled in connection.execute(_TRIGGERS, only):
        found["triggers"][names.display(schema, table, name)] = digest([loose(text), enabled])
    # SQL-standard bodies exist since 14 and are printed from their parsed form, as expressions are.
    sql_body = "p.prosqlbody IS NOT NULL" if connection.info.server_version >= 140000 else "false"
    for schema, name, arguments, text, parsed in connection.execute(_FUNCTIONS.format(sql_body=sql_body), only):
        found["functions"][names.display(schema, name) + f"({arguments})"] = digest(loose(text) if parsed else text)
    for schema, name, *rest in connection.execute(_TYPES, only):
        rest[4] = loose(rest[4])
        rest[5] = [loose(item) for item in rest[5] or []]
        found["types"][names.display(schema, name)] = digest(rest)
    found["extensions"] = dict(connection.execute(_EXTENSIONS).fetchall())
    found["sequences"] = _sequences(connection, only)
    return found


def _sequences(connection, only) -> dict:
    found = {}
    for schema, name, *rest in connection.execute(_SEQUENCES, only).fetchall():
        value = connection.execute(f"SELECT last_value, is_called FROM {names.quoted(schema, name)}").fetchone()
        found[names.display(schema, name)] = {"last_value": value[0], "is_called": value[1], "definition": digest(rest)}
    return found


def compare(expected, found, *, same_major=True) -> list:
    """Differences as [{"kind", "name", "expected", "found"}]; a missing object is None on its side. Pure.

    same_major: servers of different majors print definitions differently, so only names are compared between them.
    Versions of extensions are not compared: the target's own are used.
    """
    differences = []
    for kind in KINDS:
        left, right = expected.get(kind) or {}, found.get(kind) or {}
        for name in sorted(set(left) | set(right)):
            missing = name not in left or name not in right
            changed = same_major and kind != "extensions" and left.get(name) != right.get(name)
            if missing or changed:
                differences.append({"kind": kind, "name": name, "expected": left.get(name), "found": right.get(name)})
    left, right = expected.get("sequences") or {}, found.get("sequences") or {}
    for name in sorted(set(left) | set(right)):
        pair = [{key: side[name].get(key) for key in ("last_value", "is_called")} if name in side else None
                for side in (left, right)]
        if pair[0] != pair[1]:
            differences.append({"kind": "sequences", "name": name, "expected": pair[0], "found": pair[1]})
        elif pair[0] is not None and same_major and "definition" in left[name] \
                and left[name]["definition"] != right[name].get("definition"):
            differences.append({"kind": "sequences", "name": name, "expected": left[name]["definition"],
                                "found": right[name].get("definition")})
    return differences
