# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain tools of MySQL: mysqldump through zstd, and back into mysql."""
from __future__ import annotations

import shlex

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql.connect import option_value

from .figures import MB
from .tools import RESTORED, Tools

# What ours is given too, besides the counts; the documented command lacks the functions and fails on a server with GTIDs.
_WHOLE = ("--single-transaction", "--quick", "--routines", "--triggers", "--events", "--hex-blob", "--set-gtid-purged=OFF",
          "--no-tablespaces")
_BYTES = "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}'"
_TABLES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}' AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"
_SHARES = """SELECT CONCAT(TABLE_NAME, ' ', ROUND(100 * (DATA_LENGTH + INDEX_LENGTH) /
  (SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{0}')), ' %')
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{0}' ORDER BY DATA_LENGTH + INDEX_LENGTH DESC LIMIT 3"""


class MysqlTools(Tools):
    """See Tools."""

    engine = "mysql"
    piped = True

    def __init__(self, lab, kestra, **more):
        super().__init__(lab, kestra, **more)
        admin = self.admin_password_file.read_text("utf-8").strip()
        self._options = {
            user: self._private(f"{user}.cnf", "[client]\n" + "".join(f"{name} = {option_value(str(value))}\n" for name, value in (
                ("user", user), ("password", password), ("host", self.known["hosts"][0][0]), ("port", self.known["hosts"][0][1]),
                ("protocol", "tcp"))))
            for user, password in ((self.user, self.known["password"]), (self.admin, admin))}

    def _argv(self, program, *arguments, user=None) -> list:
        """A client program, as Kestra's account if not said otherwise."""
        return [str(self._bin / program), f"--defaults-file={self._options[user or self.user]}", *map(str, arguments)]

    def _sql(self, statement, database="mysql", user=None) -> str:
        self._run(self._argv("mysql", "--batch", "--skip-column-names", "-e", statement, database, user=user or self.admin))
        return self._out.read_text("utf-8")

    def _pipe(self, *commands) -> None:
        """Programs one after the other, as a bare script has them; every exit code counts."""
        self._run(["bash", "-o", "pipefail", "-c", " ".join(
            word if word in ("|", ">", "<") else shlex.quote(str(word)) for word in commands)])

    def checkpoint(self) -> None:
        self._sql("FLUSH LOGS")

    def size(self, database) -> float:
        return float(self._sql("SET SESSION information_schema_stats_expiry = 0; " + _BYTES.format(database)).strip() or 0) / MB

    def analyse(self, database) -> str:
        self._sql("ANALYZE TABLE " + ", ".join(f"`{name}`" for name in self.tables(database)), database)
        return ", ".join(self._sql("SET SESSION information_schema_stats_expiry = 0; " + _SHARES.format(database)).splitlines())

    def tables(self, database) -> list:
        return self._sql(_TABLES.format(database)).split()

    def bare_dump(self, database, dest) -> None:
        dest.mkdir()
        self._pipe(*self._argv("mysqldump", *_WHOLE, database), ">", dest / "database.sql")

    def count(self, database, tables) -> None:
        self._sql("; ".join(f"SELECT COUNT(*) FROM `{name}`" for name in tables), database, user=self.user)

    def plain_dump(self, database, dest) -> None:
        self._pipe(*self._argv("mysqldump", *_WHOLE, database), "|", "zstd", "-q", "-3", "-c", ">", dest)

    def plain_restore(self, source) -> None:
        self._pipe("zstd", "-dcq", source, "|", *self._argv("mysql", RESTORED, user=self.admin))

    def create(self) -> None:
        self._sql(f"CREATE DATABASE {RESTORED} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")

    def drop(self) -> None:
        self._sql(f"DROP DATABASE {RESTORED}")
