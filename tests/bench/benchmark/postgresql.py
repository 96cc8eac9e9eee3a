# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain tools of PostgreSQL, as Kestra documents them and as a bare script calls them."""
from __future__ import annotations

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.dump import Options

from .figures import MB
from .tools import RESTORED, Tools

_SHARES = """SELECT relname || ' ' ||
  round(100 * pg_total_relation_size(relid) / sum(pg_total_relation_size(relid)) OVER ()) || ' %'
  FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC LIMIT 3"""


class PostgresqlTools(Tools):
    """See Tools."""

    engine = "postgresql"

    def __init__(self, lab, kestra, **more):
        super().__init__(lab, kestra, **more)
        admin = self.admin_password_file.read_text("utf-8").strip()
        passwords = self._private("pgpass", "".join(
            f"*:*:*:{user}:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n"
            for user, password in ((self.user, self.known["password"]), (self.admin, admin))))
        self._env.update(PGHOST=self.known["host"], PGPORT=str(self.known["port"]), PGUSER=self.user, PGPASSFILE=str(passwords))

    def _pg(self, program, *arguments, user=None) -> None:
        """A client program, as Kestra's role if not said otherwise."""
        self._run([self._bin / program, "--no-password", *arguments], env={"PGUSER": user} if user else None)

    def _sql(self, database, *statements, user="postgres") -> str:
        """Runs statements one by one; the output of all."""
        wanted = [part for statement in statements for part in ("--command", statement)]
        self._pg("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1",
                 f"--dbname={database}", *wanted, user=user)
        return self._out.read_text("utf-8")

    def checkpoint(self) -> None:
        self._sql("postgres", "CHECKPOINT")

    def size(self, database) -> float:
        return int(self._sql(database, f"SELECT pg_database_size('{database}')")) / MB

    def analyse(self, database) -> str:
        self._sql(database, "VACUUM ANALYZE")
        return ", ".join(self._sql(database, _SHARES).splitlines())

    def tables(self, database) -> list:
        return self._sql(database, (
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1")).split()

    def bare_dump(self, database, dest) -> None:
        self._pg("pg_dump", "--format=directory", f"--jobs={Options().workers()}", "--compress=0", f"--file={dest}",
                 f"--dbname={database}")

    def count(self, database, tables) -> None:
        self._sql(database, *(f"SELECT count(*) FROM {table}" for table in tables), user=self.user)

    def plain_dump(self, database, dest) -> None:
        self._pg("pg_dump", f"--dbname={database}", "-F", "tar", "-f", dest)

    def plain_restore(self, source) -> None:
        self._pg("pg_restore", "-d", RESTORED, source)

    def create(self) -> None:
        self._pg("createdb", f"--owner={self.user}", "--template=template0", RESTORED, user=self.admin)

    def drop(self) -> None:
        self._pg("dropdb", "--force", RESTORED, user=self.admin)

    def _own_restore(self) -> dict:
        return {"owner": self.user, "bin_dir": str(self._bin)}
