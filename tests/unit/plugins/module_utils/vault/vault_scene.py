# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vault with sealed points for unit tests."""
from __future__ import annotations

import hashlib
import os
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import write_json
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import points, prune, ship
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog
from ansible_collections.kestra_community.dr.tests.unit.directory_repository import DirectoryRepository

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
# Indices whose snapshot stays in a repository of Elasticsearch.
OUTSIDE = {
    "held": "external", "engine": "elasticsearch", "strategy": "snapshot", "system": "the repository kestra (fs) of Elasticsearch at http://es1:9200",
    "endpoint": ["http://es1:9200"], "indices": ["kestra_flows"], "bytes": 12,
    "repository": {"name": "kestra", "type": "fs", "uuid": "4LHxj0v3TqCpbOo4wWPlNA", "settings": {"location": "/mnt/snapshots/kestra"}},
    "snapshot_name": "20261123t001500z-a1b2c3", "snapshot_uuid": "J1ZkYx3oQ2u1mCqg0oYb9w",
    "identity": {"cluster_uuid": "YxcilbHTTdGxTN9p4sy78A", "server_version": "8.19.21", "index_prefix": "kestra_"},
    "counts": {"kestra_flows": 12}, "objects": {}}
BUNDLE = b'{"schema": 1}\n'


class Scene:
    """A vault and a repository with sealed points. ages: days, oldest first; verified: those whose counts passed."""

    def __init__(self, base, ages=(), verified=()):
        self.base = Path(base)
        self.base.mkdir(parents=True, exist_ok=True)
        self.vault = Catalog(self.base / "vault", "kestra")
        self.restic = DirectoryRepository(self.base / "repository")
        self.ids = {age: self.seal(age, age in verified) for age in ages}

    def copy(self, base):
        """The same scene elsewhere: cheaper than sealing everything again."""
        shutil.copytree(self.base, base)
        twin = Scene(base)
        twin.ids = self.ids
        return twin

    def seal(self, age, verified, name="config", file=("h1.json", BUNDLE), facts=None, outside=None):
        """A point with one component of one file. facts: the component's own. outside: a component search that is held elsewhere."""
        moment = NOW - timedelta(days=age)
        point = moment.strftime("%Y%m%dT%H%M%SZ-") + f"{age:06x}"
        opened = points.open_point(self.vault, run_id="run", point=point)
        staged = os.path.join(opened["staging"], name)
        os.mkdir(staged)
        Path(staged, file[0]).write_bytes(file[1])
        snapshot = self.restic.add(
            opened["staging"], name, points.tags("kestra", point, name), clock.utc_text(moment)
        )
        points.add_component(
            self.vault,
            point,
            name,
            {
                "held": "vault",
                "snapshot": snapshot,
                "path": f"/{name}",
                "files": [{"path": file[0], "size": len(file[1]), "sha256": hashlib.sha256(file[1]).hexdigest()}],
                "bytes": len(file[1]),
                **(facts or {"engine": "bundle", "strategy": "files", "hosts": {}}),
            },
        )
        if outside:
            points.add_component(self.vault, point, "search", outside)
        facts = dict(self.vault.open_facts(point), created=clock.utc_text(moment))
        write_json(os.path.join(opened["directory"], "open.json"), facts)
        manifest = points.build_manifest(
            self.vault, point, {"consistency": {"mode": "live"}}, sealed=clock.utc_text(moment)
        )
        points.seal(self.vault, point, manifest)
        if verified:
            directory = Path(self.vault.point_dir(point), "verifications")
            directory.mkdir()
            write_json(directory / "1.json", {
                "id": point, "finished": clock.utc_text(moment), "depth": "counts", "outcome": "pass",
                "manifest_sha256": self.vault.manifest_digest(point)})
        ship.ship(self.vault, point, self.restic)
        return point

    def prune(self, outside=None, **policy):
        return prune.prune(self.vault, policy, self.restic, still_ours=lambda: None, now=NOW, outside=outside)

    def components(self):
        """{(point, component)} of what is in the repository."""
        return {(points.tag_value(item["tags"], "point"), points.tag_value(item["tags"], "component"))
                for item in self.restic.snapshots(["kestra-dr"])}

    def check_whole(self, ids):
        """Each of these points is there with its manifest and all of its data."""
        for point in ids:
            self.vault.manifest(point)
            assert {(point, "config"), (point, "manifest")} <= self.components()
