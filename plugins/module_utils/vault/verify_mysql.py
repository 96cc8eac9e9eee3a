# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification asks of MySQL: rows in a dump, and a restore into a scratch server."""
from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import Any

from ..core import ids
from ..engines.mysql import connect, inventory, restore, scratch, search, source, swap, target, versions
from .verify_postgresql import require_other


@dataclass
class Mysql:
    """login: a server to use for scratch databases (None: a private one is started from the programs on this host).

    base: directory a private server lives below. user: account it runs as when we are root. jobs: sessions that load.
    """

    login: Any = None
    base: str | None = None
    user: str | None = None
    bin_dir: str | None = None
    jobs: int | None = None

    def audit(self, path, component) -> dict:
        """{table: rows} as the dump itself holds them. Raises IntegrityError for a cut or damaged dump."""
        facts = source.audit(*source.detect(path))
        return inventory.qualified(component["identity"]["database"], facts.counts)

    def restore(self, path, component, progress, look=None) -> dict:
        """Restores into a database that is dropped again. look(search): called before that, unless something differs;
        search(text) yields the rows that hold it, as (table, {column: text}).

        Returns {differences, tables, rows, server (its version), private, seconds {phase: s}, warnings}.
        """
        name = "kestra_dr_verify_" + ids.new_id().lower().replace("-", "_")
        with self._server(component) as login:
            try:
                done = restore.restore(login, path, target.Options(name, jobs=self.jobs), progress, expected=component)
                if look and not done["differences"]:
                    look(functools.partial(search.search, login, name))
            finally:
                if self.login is not None:
                    swap.drop(login, name)
        return {"differences": done["differences"], "tables": len(done["counts"]), "rows": sum(done["counts"].values()),
                "server": done["server_version"], "private": self.login is None, "seconds": done["seconds"],
                "warnings": done["warnings"]}

    @contextlib.contextmanager
    def _server(self, component):
        if self.login is None:
            version = versions.parse(component["identity"]["server_version"])
            with scratch.server(version=version, base=self.base, user=self.user, bin_dir=self.bin_dir) as login:
                yield login
            return
        with connect.connect(self.login, application="kestra_dr verify") as session:
            require_other(component["identity"].get("server_uuid"), session.value("SELECT @@server_uuid"), "MySQL")
        yield self.login
