# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database half of a swap: databases of PostgreSQL that change names in one transaction, or schemas of MySQL whose
tables change places in one statement."""
from __future__ import annotations

from ..core.errors import RefusedError
from ..engines.mysql import connect as mysql_connect
from ..engines.mysql import swap as mysql_swap
from ..engines.postgresql import connect, swap

# NAMEDATALEN - 1; the server cuts longer names silently, and two of them could become one.
_LONGEST = 63  # MySQL's limit is 64 characters


def undo_name(live: str, point: str) -> str:
    """The name under which a live database is kept, of the form that engines.own_names takes for ours. Pure."""
    tail = "_undo_" + point.lower().replace("-", "_")
    return live.encode("utf-8")[:_LONGEST - len(tail)].decode("utf-8", "ignore") + tail


class PostgresqlStore:
    """Databases as the swap sees them. login: connect.Login."""

    kind = "database"

    def __init__(self, login):
        self._login = login

    def _existing(self) -> dict:
        with connect.connect(self._login, application="kestra_dr swap") as connection:
            return swap.existing(connection)

    def identities(self, names) -> dict:
        """{name: oid or None}; a rename keeps the oid."""
        found = self._existing()
        return {name: found.get(name) for name in names.all()}

    def possible(self, names) -> None:
        """Raises RefusedError when this role may not rename what is there."""
        with connect.connect(self._login, application="kestra_dr swap") as connection:
            swap.require_renaming(connection, names.all())

    def check(self, names) -> None:
        """Raises RefusedError while sessions exist, naming them."""
        with connect.connect(self._login, application="kestra_dr swap") as connection:
            found = swap.existing(connection)
            swap.require_free(connection, [name for name in names.all() if name in found])

    def rename(self, pairs) -> None:
        """Renames all or none."""
        swap.rename(self._login, pairs)

    def remove(self, name, expected) -> bool:
        """Drops a database whose oid is the expected one. Returns whether there was one."""
        found = self._existing().get(name)
        if found is None:
            return False
        if found != expected:
            raise RefusedError(f"The database {name} is not the one that this undo point names; it stays.",
                               reason="not_ours", detail={"database": name})
        return swap.drop(self._login, name)["changed"]


class MysqlStore:
    """Schemas as the swap sees them. login: engines.mysql.connect.Login."""

    kind = "database"

    def __init__(self, login):
        self._login = login

    def _connect(self):
        return mysql_connect.connect(self._login, application="kestra_dr swap")

    def identities(self, names) -> dict:
        """{name: number or None}; the tables take it along."""
        with self._connect() as session:
            return mysql_swap.identities(session, names.all())

    def possible(self, names) -> None:
        """Raises RefusedError when this account may not move what is there."""
        with self._connect() as session:
            mysql_swap.require_renaming(session, names.all())

    def check(self, names) -> None:
        """Raises RefusedError while sessions exist, naming them."""
        with self._connect() as session:
            found = mysql_swap.existing(session)
            mysql_swap.require_free(session, [name for name in names.all() if name in found])

    def rename(self, pairs) -> None:
        """Renames all or none."""
        mysql_swap.rename(self._login, pairs)

    def remove(self, name, expected) -> bool:
        """Drops a schema whose identity is the expected one. Returns whether there was one."""
        with self._connect() as session:
            found = mysql_swap.identities(session, [name])[name]
        if found is None:
            return False
        if found != expected:
            raise RefusedError(f"The database {name} is not the one that this undo point names; it stays.",
                               reason="not_ours", detail={"database": name})
        return mysql_swap.drop(self._login, name)["changed"]
