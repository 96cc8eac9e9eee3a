# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository for unit tests that is a plain directory, in place of vault.restic.Restic."""
from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import write_json


class DirectoryRepository:
    """Does what vault.restic.Restic does, as far as the vault asks: one JSON and one tar for each snapshot."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.mkdir(exist_ok=True)
        self.repository = SimpleNamespace(fingerprint=lambda: {"repository": str(path)})

    def add(self, base_dir, name, tags, time):
        identity = hashlib.sha256(f"{name}{tags}{time}{len(os.listdir(self.path))}".encode()).hexdigest()
        with tarfile.open(self.path / f"{identity}.tar", "w") as archive:
            archive.add(os.path.join(base_dir, name), arcname=name)
        write_json(self.path / f"{identity}.json", {"id": identity, "tags": list(tags), "time": time})
        return identity

    def backup(self, paths, *, base_dir, tags, host):
        return {"snapshot": self.add(base_dir, paths[0], tags, clock.utc_now())}

    def snapshots(self, tags):
        found = [json.loads(path.read_text(encoding="utf-8")) for path in self.path.glob("*.json")]
        return sorted((item for item in found if set(tags) <= set(item["tags"])), key=lambda item: item["time"])

    def ls(self, snapshot, path):
        with self.dump_tar(snapshot, path) as source:
            try:
                with tarfile.open(fileobj=source, mode="r|") as archive:
                    names = [(member.name, member.isdir()) for member in archive]
            except tarfile.TarError:
                raise IntegrityError("The repository is damaged.", reason="repository_damaged") from None
        return [{"path": f"/{name}", "type": "dir" if directory else "file"} for name, directory in names]

    def dump_tar(self, snapshot, path):
        try:
            return open(self.path / f"{snapshot}.tar", "rb")
        except FileNotFoundError:
            raise StateError("The snapshot is not there.", reason="snapshot_missing") from None

    def forget(self, ids):
        for identity in ids:
            for suffix in ("json", "tar"):
                (self.path / f"{identity}.{suffix}").unlink(missing_ok=True)

    def prune(self, on_progress=None):
        with open(self.path / "pruned", "a", encoding="ascii") as handle:
            handle.write("x")
