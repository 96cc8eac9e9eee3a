# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows that hold a text in any column, read as a stream."""
from __future__ import annotations

from . import connect, inventory, names

_COLUMNS = """
SELECT a.attname, t.typname
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = %s::pg_catalog.int8::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
   AND a.attgenerated = '' AND t.typname IN ('json', 'jsonb', 'text', 'varchar', 'bpchar', 'bytea')
 ORDER BY a.attnum"""


def search(login, database, text, *, rows_at_once=500):
    """Yields (table, {column: content as text}) of every row in which a column holds text (ASCII), table by table.

    Columns that are computed from others are left out. Bytes that are no UTF-8 come as replacement characters.
    """
    psycopg = connect.driver()
    with connect.connect(login, database, application="kestra_dr search", autocommit=False) as connection:
        try:
            for relation in inventory.relations(connection):
                columns = connection.execute(_COLUMNS, (relation.oid,)).fetchall() if relation.has_rows else []
                if not columns:
                    continue
                with connection.cursor(name="kestra_dr_search") as cursor:
                    cursor.itersize = rows_at_once
                    cursor.execute(_statement(relation.quoted, columns), {"text": text})
                    for row in cursor:
                        yield relation.table, {
                            name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                            for (name, _type), value in zip(columns, row) if value is not None}
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"searching the database {database}") from None


def _statement(table, columns) -> str:
    """Pure."""
    wanted, conditions = [], []
    for name, kind in columns:
        quoted = names.quoted(name).replace("%", "%%")
        if kind == "bytea":
            wanted.append(quoted)
            conditions.append(f"pg_catalog.strpos(pg_catalog.encode({quoted}, 'escape'), %(text)s::pg_catalog.text) > 0")
        else:
            wanted.append(f"{quoted}::pg_catalog.text")
            conditions.append(f"pg_catalog.strpos({quoted}::pg_catalog.text, %(text)s::pg_catalog.text) > 0")
    table = table.replace("%", "%%")
    return f"SELECT {', '.join(wanted)} FROM ONLY {table} WHERE {' OR '.join(conditions)}"
