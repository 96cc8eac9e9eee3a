# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows that hold a text in any column, read as a stream."""
from __future__ import annotations

from . import connect, inventory, names

_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_TEXTS = ("json", "char", "varchar", "tinytext", "text", "mediumtext", "longtext")

_COLUMNS = """
SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND GENERATION_EXPRESSION = '' ORDER BY ORDINAL_POSITION"""


def search(login, database, text):
    """Yields (table, {column: content as text}) of every row in which a column holds text (ASCII), table by table.

    Columns that are computed from others are left out. Bytes that are no UTF-8 come as replacement characters.
    """
    with connect.connect(login, database, application="kestra_dr search") as session:
        try:
            for table in inventory.tables(session, database):
                columns = [(name, kind) for name, kind in session.rows(_COLUMNS, (database, table.name))
                           if kind.lower() in _BYTES + _TEXTS]
                if not columns:
                    continue
                for row in session.stream(_statement(table.name, columns), (text,) * len(columns)):
                    yield table.name, {
                        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                        for (name, _type), value in zip(columns, row) if value is not None}
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"searching the database {database}") from None


def _statement(table, columns) -> str:
    """Pure."""
    wanted, conditions = [], []
    for name, kind in columns:
        quoted = names.quoted(name).replace("%", "%%")
        column = f"CAST({quoted} AS CHAR)" if kind.lower() == "json" else quoted
        wanted.append(column)
        conditions.append(f"LOCATE(%s, {column}) > 0")
    table = names.quoted(table).replace("%", "%%")
    return f"SELECT {', '.join(wanted)} FROM {table} WHERE {' OR '.join(conditions)}"
