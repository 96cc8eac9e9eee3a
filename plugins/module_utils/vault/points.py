# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a recovery point up to its seal: open, add components, seal or abort.

An unsealed point lies in open/<id> and exists for nobody but the run that holds the instance lock. Sealing writes
everything into open/<id>/sealing and renames that directory to points/<id>: a point is there whole or not at all.
The caller holds the instance lock in every function that changes something.
"""
from __future__ import annotations

import contextlib
import os
import shutil

from ..core import clock, ids, jobs
from ..core import manifest as manifests
from ..core.errors import IntegrityError, StateError
from ..core.files import atomic_write, fsync_dir, read_json, sha256_file, write_json
from .catalog import SCHEMA, Catalog, sum_line

_PARTS = ("components", "jobs", "staging", "lists")
_FROM_ROLE = ("instance", "kestra", "tools", "consistency", "in_flight", "timings")
_UNKNOWN = {
    "kestra": {"version": None, "edition": None, "facts": "not_run"}, "tools": {}, "timings": {},
    "in_flight": {"total": None, "executions": []},
}


def tags(instance, point, component) -> list:
    """The restic tags of a component's snapshot."""
    return ["kestra-dr", f"instance={instance}", f"point={point}", f"component={component}"]


def tag_value(snapshot_tags, name):
    """The value of the tag name=value, or None."""
    prefix = f"{name}="
    return next((tag[len(prefix):] for tag in snapshot_tags or () if tag.startswith(prefix)), None)


def restic_host(instance) -> str:
    """The host name snapshots carry: that of the instance, so that another worker finds the parent snapshot."""
    return f"kestra-dr-{instance}"


def paths(catalog: Catalog, point) -> dict:
    """Where the run that owns an open point puts things."""
    directory = catalog.open_dir(point)
    return {"id": point, "directory": directory, **{part: os.path.join(directory, part) for part in _PARTS}}


def open_point(catalog: Catalog, *, run_id, point=None) -> dict:
    """Opens a new point, or goes on with the one named (or the one this run opened before); sweeps dead ones.

    Returns paths() plus swept (ids), reattached, created. Raises StateError when the point is already sealed.
    """
    make_vault(catalog)
    if point is not None and catalog.is_sealed(point):
        _remove_open(catalog, point)
        raise StateError(f"The recovery point {point} is already sealed.", reason="already_sealed",
                         hint="Leave the id out to make a new one.")
    point = point or _of_run(catalog, run_id) or ids.new_id()
    swept = sweep(catalog, but=point)
    reattached = os.path.exists(os.path.join(catalog.open_dir(point), "open.json"))
    if reattached:
        facts = catalog.open_facts(point)
        if facts["run_id"] != run_id:
            write_json(os.path.join(catalog.open_dir(point), "open.json"), dict(facts, run_id=run_id))
    else:
        _create(catalog, point, run_id)
    created = catalog.open_facts(point)["created"]
    return dict(paths(catalog, point), swept=swept, reattached=reattached, created=created)


def dead(catalog: Catalog, but=None) -> list:
    """Ids of open points that the holder of the lock may sweep: all but its own and those already sealed."""
    return [point for point in catalog.open_ids() if point != but and not catalog.is_sealed(point)]


def sweep(catalog: Catalog, but=None) -> list:
    """Ends and removes what dead runs left open; returns the ids of points that were given up."""
    given_up = dead(catalog, but)
    for point in catalog.open_ids():
        if point != but:
            _remove_open(catalog, point)
    directory = catalog.below("open")
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        if name.startswith((".new-", ".gone-")):
            shutil.rmtree(os.path.join(directory, name))
    return given_up


def abort(catalog: Catalog, point) -> bool:
    """Ends the jobs of an open point and removes it. False when there is none. Raises StateError for a sealed one."""
    if catalog.is_sealed(point):
        _remove_open(catalog, point)
        raise StateError(f"The recovery point {point} is already sealed; only recovery_point_prune removes it.",
                         reason="already_sealed")
    return _remove_open(catalog, point)


def add_component(catalog: Catalog, point, name, facts) -> bool:
    """Records a component of an open point. False when exactly this was recorded before."""
    manifests.validate_component(name, facts, sealed=False)
    catalog.open_facts(point)
    path = os.path.join(catalog.open_dir(point), "components", f"{name}.json")
    if os.path.exists(path) and read_json(path) == facts:
        return False
    write_json(path, facts)
    return True


def whole_ids(catalog: Catalog, point, snapshots) -> None:
    """Replaces the beginning of a snapshot's id in the point's components by the whole of it, where it is unique.

    snapshots: the full ids of the repository's snapshots of this instance.
    """
    for name, facts in catalog.components(point).items():
        matching = [full for full in snapshots if facts.get("snapshot") and full.startswith(facts["snapshot"])]
        if len(matching) == 1 and matching[0] != facts["snapshot"]:
            add_component(catalog, point, name, dict(facts, snapshot=matching[0]))


def check_before_seal(catalog: Catalog, point, expected, snapshots) -> list:
    """Everything that must hold before a point may be sealed; returns what was checked as [{"name", "verdict"}].

    expected: names of the components that must be there (and no others), or None for whatever was added.
    snapshots: {full snapshot id: tags} of the repository. Raises StateError or IntegrityError for the first that fails.
    """
    components = catalog.components(point)
    _check_names(components, expected)
    checks = []
    for name, facts in components.items():
        manifests.validate_component(name, facts)
        if facts["held"] == "external":
            checks.append({"name": f"{name}: held by {facts['system']}", "verdict": "not_run"})
            continue
        checks.append({"name": f"{name}: staged files", "verdict": _check_staged(catalog, point, name, facts)})
        for entry in manifests.beside(facts):
            _check_list(catalog, point, name, entry)
        if "list" in facts:
            checks.append({"name": f"{name}: list", "verdict": "pass"})
        _check_snapshot(catalog, point, name, facts["snapshot"], snapshots)
        checks.append({"name": f"{name}: snapshot", "verdict": "pass"})
    return checks


def build_manifest(catalog: Catalog, point, given, *, sealed) -> dict:
    """The manifest of an open point. given: the sections only the role knows. Raises IntegrityError when invalid."""
    unknown = sorted(set(given) - set(_FROM_ROLE))
    if unknown:
        raise StateError(f"The manifest has no section {unknown[0]!r}.", reason="bad_manifest_section",
                         hint=f"Sections: {', '.join(_FROM_ROLE)}.")
    components = catalog.components(point)
    instance = dict({"name": catalog.instance, "uuid": None, "hosts": []}, **(given.get("instance") or {}))
    instance["id"] = instance.get("id") or instance["uuid"] or catalog.instance
    manifest = {
        **_UNKNOWN, **{name: given[name] for name in _FROM_ROLE if given.get(name)},
        "schema": manifests.SCHEMA, "id": point, "created": catalog.open_facts(point)["created"], "sealed": sealed,
        "collection": manifests.COLLECTION, "instance": instance, "components": components,
        "self_contained": manifests.self_contained(components)}
    manifests.validate(manifest)
    if instance["name"] != catalog.instance:
        raise IntegrityError(f"The manifest is of {instance['name']!r}, the vault's instance is {catalog.instance!r}.",
                             reason="manifest_misplaced")
    return manifest


def seal(catalog: Catalog, point, manifest) -> None:
    """Makes a checked point appear in points/ by one rename, then removes what was open.

    Killed anywhere, the point is unsealed or whole; run again, the rest is done.
    """
    if not catalog.is_sealed(point):
        data = manifests.dumps(manifest)
        work = os.path.join(catalog.open_dir(point), "sealing")
        if os.path.isdir(work):
            shutil.rmtree(work)
        os.mkdir(work, 0o700)
        for component in manifest["components"].values():
            for entry in manifests.beside(component):
                _copy(os.path.join(catalog.open_dir(point), "lists", entry["file"]), work)
        atomic_write(os.path.join(work, "manifest.json"), data)
        atomic_write(os.path.join(work, "manifest.sha256"), sum_line(manifests.digest(data)))
        os.makedirs(catalog.below("points"), mode=0o700, exist_ok=True)
        os.rename(work, catalog.point_dir(point))
        fsync_dir(catalog.below("points"))
    _remove_open(catalog, point)


def make_vault(catalog: Catalog) -> None:
    """Makes the directories of the vault and of the instance where they are missing."""
    os.makedirs(catalog.directory, mode=0o700, exist_ok=True)
    if not os.path.exists(catalog.marker):
        write_json(catalog.marker, {"schema": SCHEMA})
    catalog.check_vault()


def _of_run(catalog, run_id):
    for point in catalog.open_ids():
        with contextlib.suppress(StateError, IntegrityError):
            if not catalog.is_sealed(point) and catalog.open_facts(point).get("run_id") == run_id:
                return point
    return None


def _create(catalog, point, run_id) -> None:
    if os.path.isdir(catalog.open_dir(point)):  # half a directory, by a kill in an older removal
        _remove_open(catalog, point)
    new = catalog.below("open", f".new-{point}")
    for part in _PARTS:
        os.makedirs(os.path.join(new, part), mode=0o700, exist_ok=True)
    write_json(os.path.join(new, "open.json"), {
        "schema": SCHEMA, "id": point, "instance": catalog.instance, "run_id": run_id, "created": clock.utc_now(),
        "boot_id": clock.boot_id()})
    os.rename(new, catalog.open_dir(point))
    fsync_dir(catalog.below("open"))


def _remove_open(catalog, point) -> bool:
    """Ends the point's jobs, takes its directory away by one rename, and deletes it."""
    directory = catalog.open_dir(point)
    if not os.path.isdir(directory):
        return False
    running = os.path.join(directory, "jobs")
    for step in sorted(os.listdir(running)) if os.path.isdir(running) else []:
        jobs.abort(os.path.join(running, step))
    gone = catalog.below("open", f".gone-{point}")
    if os.path.isdir(gone):
        shutil.rmtree(gone)
    os.rename(directory, gone)
    shutil.rmtree(gone)
    return True


def _check_names(components, expected) -> None:
    if not components:
        raise StateError("The recovery point has no component yet.", reason="no_components")
    missing = sorted(set(expected or components) - set(components))
    surplus = sorted(set(components) - set(expected or components))
    if missing or surplus:
        what = f"lacks the component {missing[0]!r}" if missing else f"has a component nobody asked for: {surplus[0]!r}"
        raise StateError(f"The recovery point {what}.", reason="components_incomplete",
                         detail={"missing": missing, "surplus": surplus})


def _check_staged(catalog, point, name, facts) -> str:
    """Sizes of staged files against the component. Not run when nothing is staged (streamed, or read in place)."""
    staging = os.path.join(catalog.open_dir(point), "staging", name)
    if not isinstance(facts.get("files"), list) or not os.path.isdir(staging):
        return "not_run"
    declared = {entry["path"]: entry["size"] for entry in facts["files"]}
    found = {os.path.relpath(os.path.join(where, file), staging): os.lstat(os.path.join(where, file)).st_size
             for where, _directories, files in os.walk(staging) for file in files}
    differences = manifests.compare_counts(declared, found)
    if differences:
        first = differences[0]
        raise IntegrityError(
            f"The staged file {first['name']!r} of {name} has {_bytes(first['found'])}, "
            f"the component says {_bytes(first['expected'])}.", reason="staged_differs",
            hint="The dump was changed or cut after it was made; start the backup again.",
            detail={"component": name, "differences": differences[:20]})
    return "pass"


def _bytes(number) -> str:
    return "no such file" if number is None else f"{number} bytes"


def _check_list(catalog, point, name, entry) -> None:
    path = os.path.join(catalog.open_dir(point), "lists", entry["file"])
    if not os.path.isfile(path):
        raise IntegrityError(
            f"The list {entry['file']} of {name} is missing.", reason="list_missing", detail={"path": path}
        )
    if sha256_file(path) != entry["sha256"]:
        raise IntegrityError(
            f"The list {entry['file']} of {name} was changed after it was made.",
            reason="list_differs",
            detail={"path": path},
        )


def _check_snapshot(catalog, point, name, snapshot, snapshots) -> None:
    if snapshot not in snapshots:
        raise IntegrityError(f"The snapshot {snapshot} of {name} is not in the repository.", reason="snapshot_missing",
                             hint="The data never arrived there; start the backup again.", detail={"component": name})
    missing = sorted(set(tags(catalog.instance, point, name)) - set(snapshots[snapshot] or ()))
    if missing:
        raise IntegrityError(f"The snapshot {snapshot} given for {name} does not carry the tag {missing[0]}.",
                             reason="snapshot_mistagged", detail={"component": name, "missing": missing})


def _copy(source, directory) -> None:
    target = os.path.join(directory, os.path.basename(source))
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)
    fd = os.open(target, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
