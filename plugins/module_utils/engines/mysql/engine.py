# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL as an engine. Only puts the parts of this package behind the interface of engines/base.py."""
from __future__ import annotations

import contextlib

from . import activity, dump, inventory, restore, scratch, source, swap, versions


class MySQL:
    """A schema on a server. login: connect.Login."""

    name = "mysql"
    strategies = ("logical",)

    def __init__(self, login, database, redactor=None):
        self.login, self.database = login, database
        self._redactor = redactor

    def inventory(self, *, counts=False, objects=False) -> dict:
        """See Engine."""
        return inventory.read(self.login, self.database, with_counts=counts, with_objects=objects)

    def activity(self, *, kestra_user, within=30.0) -> dict:
        """See Engine."""
        return activity.read(self.login, self.database, kestra_user=kestra_user, within=within)

    def preflight(self, dest, options) -> dict:
        """See Engine. options: dump.Options."""
        plan = dump.preflight(self.login, self.database, dest, options)
        dump.require_space(plan, dest, options.free_ratio)
        return plan.facts()

    def dump(self, dest, options, progress) -> dict:
        """See Engine. options: dump.Options."""
        return dump.dump(self.login, self.database, dest, options, progress, self._redactor)

    def check(self, path, component=None, progress=None) -> dict:
        """See Engine."""
        found = source.inspect(path, component, progress=progress)
        return {"format": "sql", "counts": found.expected["counts"], "warnings": found.warnings, "audited": found.audited}

    def restore(self, path, options, progress, component=None) -> dict:
        """See Engine. options: target.Options."""
        return restore.restore(self.login, path, options, progress, expected=component)

    def rename(self, pairs) -> None:
        """See Engine."""
        swap.rename(self.login, pairs)

    def drop(self, name) -> dict:
        """See Engine."""
        return swap.drop(self.login, name)

    @contextlib.contextmanager
    def scratch(self, component=None, **options):
        """See Engine. options: of scratch.server()."""
        wanted = (0, 0, 0)
        if component is not None:
            wanted = versions.parse(component["identity"]["server_version"])
        with scratch.server(version=wanted, **options) as login:
            yield MySQL(login, None, redactor=self._redactor)
