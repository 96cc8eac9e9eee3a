# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification asks of PostgreSQL: rows in an archive, and a restore into a scratch server."""
from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import Any

from ..core import ids
from ..core.errors import RefusedError
from ..engines.postgresql import audit, connect, inventory, restore, scratch, search, swap, target, versions

# Everywhere there; counts and definitions do not depend on the order of letters.
_ANY_LOCALE = "C"


@dataclass
class Postgresql:
    """login: a server to use for scratch databases (None: a private one is started from the programs on this host).

    base: directory a private server lives below. user: account it runs as when we are root. jobs: parallel connections.
    """

    login: Any = None
    base: str | None = None
    user: str | None = None
    bin_dir: str | None = None
    jobs: int | None = None
    redactor: Any = None

    def audit(self, path, component) -> dict:
        """{table: rows} as the archive itself holds them. Raises IntegrityError for a cut or damaged archive."""
        clients = versions.find_clients(self.bin_dir)
        newest = max(clients, key=lambda client: client.version) if clients else None
        return audit.audit(path, client=newest)["counts"]

    def restore(self, path, component, progress, look=None) -> dict:
        """Restores into a database that is dropped again. look(search): called before that, unless something differs;
        search(text) yields the rows that hold it, as (table, {column: text}).

        Returns {differences, tables, rows, server (its version), private, seconds {phase: s}, warnings}.
        """
        name = "kestra_dr_verify_" + ids.new_id().lower().replace("-", "_")
        with self._server(component) as login:
            try:
                done = self._restore(login, path, component, name, progress)
                if look and not done["differences"]:
                    look(functools.partial(search.search, login, name))
            finally:
                if self.login is not None:
                    swap.drop(login, name)
        return {"differences": done["differences"], "tables": len(done["counts"]), "rows": sum(done["counts"].values()),
                "server": done["server_version"], "private": self.login is None, "seconds": done["seconds"],
                "warnings": done["warnings"]}

    def _restore(self, login, path, component, name, progress) -> dict:
        def attempt(locale):
            options = target.Options(name, jobs=self.jobs, bin_dir=self.bin_dir, locale=locale)
            return restore.restore(login, path, options, progress, expected=component, redactor=self.redactor)

        try:
            return attempt(None)
        except RefusedError as exc:
            if exc.reason != "locale_missing":
                raise
            done = attempt(_ANY_LOCALE)
            done["warnings"].append(
                f"Restored with the locale {_ANY_LOCALE}, because the scratch server lacks the source's.")
            return done

    @contextlib.contextmanager
    def _server(self, component):
        if self.login is None:
            major = versions.parse(component["identity"]["server_version"])[0]
            with scratch.server(major=major, base=self.base, user=self.user, bin_dir=self.bin_dir) as login:
                yield login
            return
        source = component["identity"].get("system_identifier")
        with connect.connect(self.login, application="kestra_dr verify") as connection:
            found = inventory.system_identifier(connection)
        require_other(source, found)
        yield self.login


def require_other(source, found, server="PostgreSQL") -> None:
    """Raises RefusedError when the scratch server is the one the recovery point was taken from. Pure."""
    if source is not None and source == found:
        raise RefusedError(
            "The scratch server named is the very server the recovery point was taken from.",
            reason="scratch_is_source",
            hint=f"Name another one, or none: then a private one is started from local {server} programs.",
            detail={"server": source},
        )
