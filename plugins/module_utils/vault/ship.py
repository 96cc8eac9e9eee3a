# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealed points into the repository and back: a lost vault directory is rebuilt from the repository alone.

The directory of a point (manifest, lists, verifications) is backed up after the seal and after each verification, with
the tag component=manifest. The newest such snapshot of a point is the one that counts; where it is damaged, an older one
still holds the manifest, and lacks only the verifications after it.
"""
from __future__ import annotations

import os
import shutil
import tarfile

from ..core import manifest as manifests
from ..core.errors import DrError, IntegrityError, StateError
from ..core.files import fsync_dir, sha256_file
from .catalog import Catalog
from .points import make_vault, restic_host, tag_value, tags

MANIFEST = "manifest"
_DAMAGE = (IntegrityError, StateError)  # StateError: it does not hold what its tags say


def own_snapshots(catalog: Catalog, restic) -> list:
    """All snapshots of the instance, oldest first."""
    return restic.snapshots(["kestra-dr", f"instance={catalog.instance}"])


def shipped(snapshots) -> dict:
    """{point id: its manifest snapshots, oldest first} of a list of snapshots, oldest first."""
    found = {}
    for snapshot in snapshots:
        if tag_value(snapshot["tags"], "component") == MANIFEST:
            found.setdefault(tag_value(snapshot["tags"], "point"), []).append(snapshot)
    return found


def ship(catalog: Catalog, point, restic) -> str:
    """Backs up the directory of a sealed point; returns the snapshot's id."""
    done = restic.backup([point], base_dir=catalog.below("points"), tags=tags(catalog.instance, point, MANIFEST),
                         host=restic_host(catalog.instance))
    return done["snapshot"]


def missing_points(catalog: Catalog, snapshots) -> list:
    """Ids of points the repository knows and the vault directory does not."""
    here = set(catalog.sealed_ids()) | set(catalog.removing_ids())
    return sorted(point for point in shipped(snapshots) if point not in here)


def rebuild(catalog: Catalog, restic, on_progress=None) -> dict:
    """Restores every missing point's directory: {"restored": [ids], "older": [...], "failed": [...]}.

    A point appears by one rename, after its manifest and lists were checked; one bad point does not stop the others.
    older: restored points whose newest snapshot is damaged, as {"id", "time" of the one taken, "msg", "reason"}.
    failed: {"id", "msg", "reason", "damaged"}. msg and reason are those of the newest snapshot; what is not damaged may
    come another time.
    """
    make_vault(catalog)
    os.makedirs(catalog.below("points"), mode=0o700, exist_ok=True)
    snapshots = own_snapshots(catalog, restic)
    known = shipped(snapshots)
    restored, older, failed = [], [], []
    wanted = missing_points(catalog, snapshots)
    for done, point in enumerate(wanted):
        if on_progress:
            on_progress(done, len(wanted), point, "points")
        taken, errors = _restore_newest(catalog, point, known[point][::-1], restic)
        told = {"id": point, "msg": str(errors[0]), "reason": errors[0].reason} if errors else None
        if taken is None:
            failed.append(dict(told, damaged=isinstance(errors[-1], _DAMAGE)))
            continue
        restored.append(point)
        if told:
            older.append(dict(told, time=taken["time"]))
    return {"restored": restored, "older": older, "failed": failed}


def _restore_newest(catalog, point, newest_first, restic) -> tuple:
    """(the snapshot that was restored or None, the errors before it). Only damage makes it turn to an older one."""
    errors = []
    for snapshot in newest_first:
        try:
            _restore(catalog, point, snapshot["id"], restic)
            return snapshot, errors
        except DrError as exc:
            errors.append(exc)
            if not isinstance(exc, _DAMAGE):
                break
    return None, errors


def _restore(catalog, point, snapshot, restic) -> None:
    work = catalog.below("rebuilding")
    if os.path.isdir(work):
        shutil.rmtree(work)
    # Laid out as an instance of its own, so that the catalog's checks apply before the point appears.
    there = Catalog(work, catalog.instance)
    os.makedirs(there.point_dir(point), mode=0o700)
    try:
        held = {node["path"] for node in restic.ls(snapshot, f"/{point}") if node["type"] == "file"}
        came = set()
        with restic.dump_tar(snapshot, f"/{point}") as source:
            with tarfile.open(fileobj=source, mode="r|") as archive:
                for member in archive:
                    if not member.isdir():
                        came.add(f"/{point}/{_extract(archive, member, point, there.point_dir(point))}")
        if came != held:  # see dump_tar: a directory of verifications may be left out
            raise IntegrityError(f"The repository gave {len(came)} of the {len(held)} files of the manifest of {point}.",
                                 reason="manifest_unreadable")
        _check_lists(there, point)
        fsync_dir(there.point_dir(point))
        os.rename(there.point_dir(point), catalog.point_dir(point))
        fsync_dir(catalog.below("points"))
    except tarfile.TarError as exc:
        raise IntegrityError(f"The manifest of {point} cannot be read from the repository: {exc}.",
                             reason="manifest_unreadable") from None
    finally:
        shutil.rmtree(work)


def _extract(archive, member, point, directory) -> str:
    """Writes one member and returns its name; only plain files directly in the point's directory or in verifications/
    belong there.
    """
    name = os.path.relpath(os.path.normpath("/" + member.name), f"/{point}")
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
    return name


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
