# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots that recovery points name and that stay in a repository of Elasticsearch: deleted there with their point."""
from __future__ import annotations

from ..core.errors import RefusedError
from ..engines.elasticsearch import catalog, connect, repository


class Snapshots:
    """login: component -> engines.elasticsearch.connect.Login of a cluster that may write to its repository."""

    def __init__(self, login):
        self._login = login

    def require(self, component) -> None:
        """Raises DrError unless the snapshot could be deleted now."""
        name = component["repository"]["name"]
        with connect.connect(self._login(component)) as cluster:
            registered = repository.read(cluster, name)
            if registered is None:
                raise RefusedError(f"The cluster {cluster.place} has no repository {name}.", reason="repository_missing",
                                   hint="Register it there, or name the cluster that has it (login_hosts).")
            if repository.is_readonly(registered):
                raise RefusedError(f"The repository {name} is read-only on {cluster.place}.", reason="repository_readonly",
                                   hint="Name the cluster that takes the snapshots (login_hosts).")
            catalog.everything(cluster, name)

    def delete(self, component) -> None:
        """Deletes the component's snapshot. One that is gone is gone, and one of its name that is another stays."""
        place, name = component["repository"]["name"], component["snapshot_name"]
        with connect.connect(self._login(component)) as cluster:
            found = catalog.found(cluster, place, name)
            if found is not None and found["uuid"] == component["snapshot_uuid"]:
                catalog.require_ours(found)
                catalog.delete(cluster, place, name)
