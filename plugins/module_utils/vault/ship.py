# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealed points into the repository and back: a lost vault directory is rebuilt from the repository alone.

The directory of a point (manifest, lists, verifications) is backed up after the seal and after each verification, with
the tag component=manifest. The newest such snapshot of a point is the one that counts.
"""
from __future__ import annotations

import os
import shutil
import tarfile

from ..core import manifest as manifests
from ..core.errors import DrError, IntegrityError
from ..core.files import fsync_dir, sha256_file
from .catalog import Catalog
from .points import make_vault, restic_host, tag_value, tags

MANIFEST = "manifest"


def own_snapshots(catalog: Catalog, restic) -> list:
    """All snapshots of the instance, oldest first."""
    return restic.snapshots(["kestra-dr", f"instance={catalog.instance}"])


def newest_shipped(snapshots) -> dict:
    """{point id: its newest manifest snapshot} of a list of snapshots, oldest first."""
    return {tag_value(snapshot["tags"], "point"): snapshot for snapshot in snapshots
            if tag_value(snapshot["tags"], "component") == MANIFEST}


def ship(catalog: Catalog, point, restic) -> str:
    """Backs up the directory of a sealed point; returns the snapshot's id."""
    done = restic.backup([point], base_dir=catalog.below("points"), tags=tags(catalog.instance, point, MANIFEST),
                         host=restic_host(catalog.instance))
    return done["snapshot"]


def missing_points(catalog: Catalog, snapshots) -> list:
    """Ids of points the repository knows and the vault directory does not."""
    here = set(catalog.sealed_ids()) | set(catalog.removing_ids())
    return sorted(point for point in newest_shipped(snapshots) if point not in here)


def rebuild(catalog: Catalog, restic, on_progress=None) -> dict:
    """Restores every missing point's directory. Returns {"restored": [ids], "failed": [{"id", "msg", "reason"}]}.

    A point appears by one rename, after its manifest and lists were checked; one bad point does not stop the others.
    """
    make_vault(catalog)
    os.makedirs(catalog.below("points"), mode=0o700, exist_ok=True)
    snapshots = own_snapshots(catalog, restic)
    shipped = newest_shipped(snapshots)
    restored, failed = [], []
    wanted = missing_points(catalog, snapshots)
    for done, point in enumerate(wanted):
        if on_progress:
            on_progress(done, len(wanted), point, "points")
        try:
            _restore(catalog, point, shipped[point]["id"], restic)
            restored.append(point)
        except DrError as exc:
            failed.append({"id": point, "msg": str(exc), "reason": exc.reason})
    return {"restored": restored, "failed": failed}


def _restore(catalog, point, snapshot, restic) -> None:
    work = catalog.below("rebuilding")
    if os.path.isdir(work):
        shutil.rmtree(work)
    # Laid out as an instance of its own, so that the catalog's checks apply before the point appears.
    there = Catalog(work, catalog.instance)
    os.makedirs(there.point_dir(point), mode=0o700)
    try:
        with restic.dump_tar(snapshot, f"/{point}") as source:
            with tarfile.open(fileobj=source, mode="r|") as archive:
                for member in archive:
                    _extract(archive, member, point, there.point_dir(point))
        _check_lists(there, point)
        fsync_dir(there.point_dir(point))
        os.rename(there.point_dir(point), catalog.point_dir(point))
        fsync_dir(catalog.below("points"))
    except tarfile.TarError as exc:
        raise IntegrityError(f"The manifest of {point} cannot be read from the repository: {exc}.",
                             reason="manifest_unreadable") from None
    finally:
        shutil.rmtree(work)


def _extract(archive, member, point, directory) -> None:
    """Writes one member; only plain files directly in the point's directory or in verifications/ belong there."""
    name = os.path.relpath(os.path.normpath("/" + member.name), f"/{point}")
    if member.isdir():
        return
    parts = name.split("/")
    if not member.isfile() or parts[0] == ".." or len(parts) > 2 or (len(parts) == 2 and parts[0] != "verifications"):
        raise IntegrityError(f"The snapshot of {point} holds {member.name!r}, which does not belong to a manifest.",
                             reason="manifest_foreign_file")
    target = os.path.join(directory, name)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    source = archive.extractfile(member)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as handle:
        shutil.copyfileobj(source, handle, 1 << 20)
        handle.flush()
        os.fsync(handle.fileno())


def _check_lists(there, point) -> None:
    for name, difference in list_differences(there, point).items():
        raise IntegrityError(f"The list {name} of {point} {difference}.", reason="list_differs")


def list_differences(catalog: Catalog, point) -> dict:
    """{file name: what is wrong} of the lists a sealed manifest names; empty when all are as they were sealed."""
    wrong = {}
    for component in catalog.manifest(point)["components"].values():
        for entry in manifests.beside(component):
            path = os.path.join(catalog.point_dir(point), entry["file"])
            if not os.path.isfile(path):
                wrong[entry["file"]] = "is missing"
            elif sha256_file(path) != entry["sha256"]:
                wrong[entry["file"]] = "was changed after the seal"
    return wrong
