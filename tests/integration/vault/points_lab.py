# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vault, a repository, a storage tree and a small database, from which a recovery point is taken."""
from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs
from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest as manifests
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import dump
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import local
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import (
    catalog,
    checks,
    options,
    points,
    ship,
    verify,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.verify_postgresql import Postgresql

SCHEMA = """
CREATE TYPE state_type AS ENUM ('CREATED', 'RUNNING', 'SUCCESS');
CREATE TABLE flows (key text PRIMARY KEY, value jsonb NOT NULL,
                    namespace text GENERATED ALWAYS AS (value ->> 'namespace') STORED);
CREATE TABLE executions (key text PRIMARY KEY, state state_type NOT NULL);
CREATE TABLE empty_one (key text PRIMARY KEY);
CREATE TABLE queues ("offset" serial PRIMARY KEY, value text);
CREATE INDEX flows_namespace ON flows (namespace);
INSERT INTO flows SELECT n::text, pg_catalog.jsonb_build_object('namespace', 'dev' || n % 7)
  FROM generate_series(1, 500) n;
INSERT INTO executions SELECT n::text, 'SUCCESS' FROM generate_series(1, 1200) n;
INSERT INTO queues (value) SELECT pg_catalog.repeat('x', n) FROM generate_series(1, 300) n;
"""


class Lab:
    """A vault, a repository and a storage tree below one directory."""

    def __init__(self, base):
        self.base = Path(base)
        self.base.mkdir(parents=True, exist_ok=True)
        self.vault = Catalog(self.base / "vault", "kestra")
        self.storage = self.base / "storage"
        password = self.base / "password"
        password.write_text("correct horse battery staple\n")
        password.chmod(0o600)
        self.restic = Restic(options.from_options({
            "repository": str(self.base / "repository"), "repository_password_file": str(password),
            "cache_dir": str(self.base / "cache")}))
        self.point = None

    def copy(self, base):
        shutil.copytree(self.base, base, symlinks=True)
        twin = Lab(base)
        twin.point = self.point
        return twin

    def make_storage(self):
        chance = random.Random(20261123)
        for number, name in enumerate(
            [b"plain.ion", b"with space", b"new\nline", b"not utf8 \xff\xfe", "naïve".encode()]
        ):
            directory = os.fsencode(self.storage) + b"/main/dev/%d" % number
            os.makedirs(directory)
            with open(directory + b"/" + name, "wb") as handle:
                handle.write(chance.randbytes(1000 * number))
            os.utime(directory + b"/" + name, ns=(10**18 + 123, 10**18 + 456 + number))
        os.makedirs(self.storage / "main" / "empty directory")
        os.symlink("plain.ion", self.storage / "main" / "dev" / "0" / "link")

    def tags(self, component):
        return points.tags("kestra", self.point, component)

    def take(self, source, edit=lambda name, facts: facts):
        """Takes a point the way the backup flow does. edit(name, facts): a last word on each component."""
        opened = points.open_point(self.vault, run_id="run")
        self.point = opened["id"]
        staging = opened["staging"]
        component = dump.dump(
            source, "kestra", os.path.join(staging, "database"), dump.Options(jobs=2), jobs.Progress()
        )
        stored = self.restic.backup(
            ["database"], base_dir=staging, tags=self.tags("database"), host=points.restic_host("kestra")
        )
        self._add("database", dict(component, snapshot=stored["snapshot"], path="/database"), edit)
        stored = self.restic.backup(["storage"], base_dir=str(self.base), tags=self.tags("storage"),
                                    host=points.restic_host("kestra"))
        taken = local.take(str(self.storage), dest=os.path.join(opened["lists"], "storage.jsonl.gz"), digests=True)
        self._add(
            "storage",
            {
                "held": "vault",
                "engine": "local",
                "strategy": "files",
                "snapshot": stored["snapshot"],
                "path": "/storage",
                "list": {
                    "file": "storage.jsonl.gz",
                    "sha256": taken["list"]["sha256"],
                    "entries": taken["list"]["entries"],
                },
                "files": taken["files"],
                "directories": taken["directories"],
                "bytes": taken["bytes"],
            },
            edit,
        )
        bundle = json.dumps({"schema": 1, "host": "h1", "files": []}).encode()
        os.mkdir(os.path.join(staging, "config"))
        Path(staging, "config", "h1.json").write_bytes(bundle)
        stored = self.restic.backup(
            ["config"], base_dir=staging, tags=self.tags("config"), host=points.restic_host("kestra")
        )
        self._add("config", {
            "held": "vault", "engine": "bundle", "strategy": "files", "snapshot": stored["snapshot"], "path": "/config",
            "hosts": {"h1": {"files": [], "keys": []}}, "bytes": len(bundle),
            "files": [{"path": "h1.json", "size": len(bundle), "sha256": hashlib.sha256(bundle).hexdigest()}]}, edit)
        known = {item["id"]: item["tags"] for item in ship.own_snapshots(self.vault, self.restic)}
        points.check_before_seal(self.vault, self.point, ["config", "database", "storage"], known)
        sealed = points.build_manifest(
            self.vault, self.point, {"consistency": {"mode": "live"}}, sealed="2026-11-23T00:20:00Z"
        )
        points.seal(self.vault, self.point, sealed)
        ship.ship(self.vault, self.point, self.restic)

    def _add(self, name, facts, edit):
        points.add_component(self.vault, self.point, name, edit(name, facts))

    def verify(self, depth="digest", **engine):
        return verify.verify(
            self.vault, self.point, depth, self.restic, jobs.Progress(), engine=Postgresql(jobs=2, **engine)
        )

    def failing(self, record):
        return sorted(check["name"] for check in record["checks"] if check["verdict"] != checks.PASS)

    def verdict(self):
        return self.vault.summary(self.point)["verdict"]

    def edit_manifest(self, change):
        """Changes the sealed manifest and its digest, as someone who knows how would."""
        path = Path(self.vault.point_dir(self.point), "manifest.json")
        manifest = json.loads(path.read_text())
        change(manifest)
        data = manifests.dumps(manifest)
        path.write_bytes(data)
        Path(self.vault.point_dir(self.point), "manifest.sha256").write_text(catalog.sum_line(manifests.digest(data)))

    def packs(self):
        return sorted((self.base / "repository" / "data").glob("*/*"), key=lambda path: path.stat().st_size)
