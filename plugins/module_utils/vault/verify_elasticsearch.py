# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification asks of Elasticsearch: a snapshot restored under names of its own, counted, and deleted. It comes out of the
vault, or lies in a repository that the cluster reaches.

The cluster may be Kestra's own: nothing of its indices is touched, and the snapshot's repository is registered for reading only.
"""
from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import Any

from ..core import ids
from ..core.errors import RefusedError
from ..engines.elasticsearch import catalog, connect, inventory, landing, repository, restore
from . import restic_restore


@dataclass
class Elasticsearch:
    """login: engines.elasticsearch.connect.Login of the cluster, or None. location: directory below path.repo as the nodes see it;
    path: as this host does."""

    login: Any
    location: str | None
    path: str | None

    def require(self, component) -> None:
        """Refuses before anything is read what could not be shown to any cluster."""
        if self.login is None or not (self.location or component["held"] == "external"):
            raise RefusedError(
                "Nothing names a cluster that the snapshot could be restored into.", reason="scratch_missing",
                hint="Name one (kestra_dr_scratch_host, kestra_dr_scratch_snapshot_location), which may be Kestra's own since "
                     "the copies go beside its indices; or use the depth digest.")

    def opened(self, restic, component, progress):
        """The component's repository on a cluster, as an Opened; nothing of it is left afterwards."""
        name = "kestra-dr-verify-" + ids.new_id().lower()
        return self._outside(name, component) if component["held"] == "external" else self._fetched(name, restic, component, progress)

    @contextlib.contextmanager
    def _outside(self, name, component):
        place = component["repository"]
        with connect.connect(self.login) as cluster:
            with _reading(cluster, name, place["type"], repository.place(place)):
                yield Opened(cluster, name, component)

    @contextlib.contextmanager
    def _fetched(self, name, restic, component, progress):
        path = os.path.join(self.path or self.location, name)
        try:
            with connect.connect(self.login) as cluster:
                restic_restore.restore_path(restic, component["snapshot"], component["path"], path, verify=False,
                                            on_progress=progress.update)
                adopt(path)
                with _reading(cluster, name, "fs", repository.wanted("fs", location=f"{self.location}/{name}")):
                    yield Opened(cluster, name, component)
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _reading(cluster, name, kind, settings):
    try:
        repository.reading(cluster, name, kind, settings)
        yield
    finally:
        if repository.read(cluster, name):
            repository.remove(cluster, name)


class Opened:
    """A repository that a cluster reads."""

    def __init__(self, cluster, name, component):
        self._cluster, self._name, self._component = cluster, name, component

    def described(self) -> tuple:
        """(what the manifest says of the snapshot, what the repository says)."""
        wanted = self._component
        found = catalog.found(self._cluster, self._name, wanted["snapshot_name"])
        return ({"uuid": wanted["snapshot_uuid"], "problems": []},
                {"uuid": found and found["uuid"], "problems": catalog.problems(found, wanted["indices"]) if found else ["missing"]})

    def restore(self, progress) -> dict:
        """Restores beside everything else and deletes it again: {differences, indices, documents, server, seconds}."""
        chosen = restore.Options(repository=self._name, snapshot=self._component["snapshot_name"],
                                 copies="verify-" + ids.new_id().lower())
        prefix = self._component["identity"]["index_prefix"]
        try:
            done = restore.restore(self._cluster, prefix, chosen, progress, self._component)
        finally:
            landing.delete(self._cluster, inventory.listed(self._cluster, chosen.set_prefix + prefix)["indices"])
        return {"differences": done["differences"], "indices": len(done["indices"]), "documents": sum(done["counts"].values()),
                "server": done["server_version"], "seconds": done["seconds"]}


def adopt(path) -> None:
    """Gives a tree the owner of the directory it lies in, as which the nodes read; only root can."""
    if os.geteuid():
        return
    owner = os.stat(os.path.dirname(path))
    for where, _directories, names in os.walk(path):
        for one in (where, *(os.path.join(where, name) for name in names)):
            os.chown(one, owner.st_uid, owner.st_gid, follow_symlinks=False)
