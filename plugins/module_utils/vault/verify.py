# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proving a sealed recovery point, at one of four depths, each containing the one before.

digest: everything is read out of the repository and is what the manifest says. structure: the dump's archive is whole
and holds the rows it should, a metadata archive that should be encrypted looks so. counts: restored into a scratch
server, every count and definition compared.
references: every file that the restored rows name is in the list of the storage.
A verification is a file beside the manifest; the manifest is never touched.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time

from ..core import clock, files, ids
from ..core import manifest as manifests
from ..core.errors import DrError, IntegrityError, LockedError, RefusedError
from ..kestra import buckets
from ..kestra import metadata as archives
from ..kestra.references import NEEDLE
from ..storage import listing, pinned
from ..storage.compare import compare, default_ignore
from ..storage.objects import listing as objects_listing
from . import checks as checking
from . import contents, references, restic_output, restic_restore, ship, verify_objects
from .catalog import DEPTHS, Catalog
from .points import tags

DEPTHS_HERE = DEPTHS[:DEPTHS.index("references") + 1]
_EXAMPLES = 20
_KNOWN = {"database": ("postgresql", "mysql"), "storage": ("local", *buckets.TYPES), "config": ("bundle",), "metadata": ("kestra",),
          "search": ("elasticsearch",)}


def verify(catalog: Catalog, point, depth, restic, progress, *, engine=None, work_dir=None, percent=100,
           seed=None) -> dict:
    """Runs the checks of a depth and records the verification.

    progress: core.jobs.Progress; phases: repository, one for each component, structure, counts, references, recorded.
    engine: what knows dumps of the database (an object with audit(path, component) and restore(path, component,
    progress, look), see verify_postgresql and verify_mysql; of indices see verify_elasticsearch), needed beyond digest. work_dir: where a dump is put for
    that (default: in the vault). percent, seed: of the files named, see references.References (default: the point's id).
    Returns what was recorded, plus "file". Raises what says nothing about the point (see checks.Checks.run).
    """
    started = time.monotonic()
    manifest = catalog.manifest(point)
    _require_known(manifest, depth)
    # What a restore makes anew has nothing to read.
    parts = {name: component for name, component in sorted(manifest["components"].items())
             if component["strategy"] != manifests.REBUILD}
    outside = {name for name, component in parts.items() if component["held"] == "external"}
    if outside and depth == "digest":
        raise RefusedError(f"The component {min(outside)} is not in the vault, so its files cannot be read and have no digests here.",
                           reason="digest_outside", hint="Use the depth structure or counts, with a cluster that reaches its repository.")
    if depth != "digest" and "search" in parts:
        engine.require(parts["search"])
    if os.path.exists(os.path.join(catalog.point_dir(point), "pruning.json")):
        raise RefusedError(f"The recovery point {point} is being removed.", reason="pruning")
    record = {
        "schema": 1,
        "id": point,
        "instance": manifest["instance"],
        "requested": depth,
        "started": clock.utc_now(),
        "manifest_sha256": catalog.manifest_digest(point),
        "collection": manifests.COLLECTION,
    }
    checks = checking.Checks()
    progress.phase("repository")
    _check_catalog(catalog, point, parts, restic, checks)
    with _work(catalog, point, work_dir) as work:
        for name, component in parts.items():
            if name in outside:
                continue
            progress.phase(name, bytes=component["bytes"])
            _COMPONENTS[name](_Look(catalog, point, name, component, restic, checks, progress, depth, work))
        if depth != "digest" and "search" in parts:
            _check_search(parts["search"], depth, engine, restic, checks, progress)
        if depth != "digest" and "database" in manifest["components"]:
            asked = None
            if depth == "references":
                os.mkdir(os.path.join(work, "references"), 0o700)
                asked = references.References(os.path.join(work, "references"), created=manifest["created"],
                                              percent=percent, seed=seed or point)
            restored = _check_database(manifest["components"]["database"], os.path.join(work, "database"), depth,
                                       engine, checks, progress, asked)
            if asked and restored:
                storage = manifest["components"]["storage"]
                _check_references(asked, _files_of(storage, _sealed_list(catalog, point, storage)), checks)
    record.update(checking.conclude(checks.done), checks=checks.done, finished=clock.utc_now(),
                  seconds=round(time.monotonic() - started, 3))
    record["file"] = _write(catalog, point, record)
    progress.phase("recorded", verdict=record["verdict"])
    return record


class _Look:
    """One component under verification."""

    def __init__(self, catalog, point, name, component, restic, checks, progress, depth, work):
        self.catalog, self.point, self.name, self.component, self.restic = catalog, point, name, component, restic
        self.checks, self.progress, self.depth, self.work = checks, progress, depth, work
        self._done = 0

    def advance(self, count):
        self._done += count
        self.progress.update(self._done, max(self.component["bytes"], self._done))

    def entries(self, content=None):
        return contents.entries(self.restic, self.component["snapshot"], self.component["path"], on_bytes=self.advance,
                                content=content)


def _require_known(manifest, depth) -> None:
    if depth == "references" and not {"database", "storage"} <= set(manifest["components"]):
        raise RefusedError("This recovery point does not hold both database and storage, so neither can be checked "
                           "against the other.", reason="references_need_both", hint="Use the depth counts.")
    for name, component in manifest["components"].items():
        if component["strategy"] == manifests.REBUILD:
            continue
        if (component["held"] != "vault" and name != "search") or component["engine"] not in _KNOWN.get(name, ()):
            raise RefusedError(
                f"The component {name} ({component['engine']}, held: {component['held']}) cannot be verified "
                "by this version of the collection.",
                reason="not_verifiable",
            )


def _check_catalog(catalog, point, parts, restic, checks) -> None:
    own = ship.own_snapshots(catalog, restic)
    snapshots = {item["id"]: item for item in own}

    def same_manifest():
        shipped = ship.shipped(own).get(point)
        if not shipped:
            raise IntegrityError(
                "The repository holds no manifest of this recovery point.",
                reason="manifest_not_shipped",
                hint="Seal again to ship it.",
            )
        held = {entry.path: entry.sha256 for entry in contents.entries(restic, shipped[-1]["id"], f"/{point}")}
        return catalog.manifest_digest(point), held.get(b"manifest.json")

    def tagged(name, component):
        wanted = tags(catalog.instance, point, name)
        found = snapshots.get(component["snapshot"])
        return wanted, found and [tag for tag in wanted if tag in found["tags"]]

    checks.run("digest", "manifest: the same in the repository", same_manifest)
    checks.run("digest", "lists: as sealed", lambda: ({}, ship.list_differences(catalog, point)))
    for name, component in parts.items():
        if component["held"] == "external":
            continue
        checks.run("digest", f"{name}: snapshot is in the repository",
                   lambda name=name, component=component: tagged(name, component))


def _compare_files(look, found) -> tuple:
    """Expected and found, where they differ: {path: "size, sha256"}."""
    expected = {entry["path"]: f"{entry['size']} bytes, {entry['sha256']}" for entry in look.component["files"]}
    differing = [name for name in sorted(set(expected) | set(found)) if expected.get(name) != found.get(name)][
        :_EXAMPLES
    ]
    whole = {"files": len(expected), "bytes": sum(entry["size"] for entry in look.component["files"])}
    if not differing:
        return whole, dict(whole)
    return ({name: expected.get(name) for name in differing}, {name: found.get(name) for name in differing})


def _streamed(look, content=None) -> dict:
    return {os.fsdecode(entry.path): f"{entry.size} bytes, {entry.sha256}"
            for entry in look.entries(content) if entry.type != "d"}


def _database(look) -> None:
    if look.depth == "digest":
        look.checks.run("digest", "database: files", lambda: _compare_files(look, _streamed(look)))
        return
    target = os.path.join(look.work, "database")

    def fetched():
        # restic checks what it writes against its digests only with verify; the digests below do better.
        restic_restore.restore_path(
            look.restic,
            look.component["snapshot"],
            look.component["path"],
            target,
            verify=False,
            on_progress=look.progress.update,
        )
        found = {}
        for where, _directories, names in os.walk(target):
            for name in names:
                path = os.path.join(where, name)
                found[os.path.relpath(path, target)] = f"{os.path.getsize(path)} bytes, {files.sha256_file(path)}"
        return _compare_files(look, found)

    look.checks.run("digest", "database: files", fetched)


def _config(look) -> None:
    texts: dict = {}
    keep = look.depth != "digest"

    def collect(name, block):
        texts.setdefault(os.fsdecode(name), []).append(block)

    intact = look.checks.run(
        "digest", "config: files", lambda: _compare_files(look, _streamed(look, collect if keep else None))
    )
    if keep and intact:
        look.checks.run("structure", "config: bundles can be read", lambda: (
            dict.fromkeys(texts, "bundle"), {name: _bundle(b"".join(blocks)) for name, blocks in texts.items()}))


def _bundle(data) -> str:
    try:
        bundle = json.loads(data)
        return "bundle" if bundle["schema"] == 1 and isinstance(bundle["files"], list) else "unknown schema"
    except (ValueError, KeyError, TypeError):
        return "not a bundle"


def _metadata(look) -> None:
    """Without the key nothing is known of the inside of an encrypted archive, and of a readable one its form is not public."""
    heads: dict = {}

    def collect(name, block):
        head = heads.get(os.fsdecode(name), b"")
        heads[os.fsdecode(name)] = head + bytes(block[:archives.HEADER - len(head)])

    intact = look.checks.run("digest", "metadata: files", lambda: _compare_files(look, _streamed(look, collect)))
    if intact and look.depth != "digest" and look.component.get("key") != "none":
        sizes = {entry["path"]: entry["size"] for entry in look.component["files"]}
        look.checks.run("structure", "metadata: archive looks encrypted", lambda: (
            dict.fromkeys(sizes, archives.ENCRYPTED),
            {name: archives.form(heads.get(name, b""), size) for name, size in sizes.items()}))


def _files_of(component, sealed_list):
    """The entries of a storage's list, by the paths that Kestra's URIs name."""
    read = objects_listing.read_as_named if component["engine"] in buckets.TYPES else listing.read
    return read(sealed_list)


def _bucket(look) -> None:
    sealed_list = _sealed_list(look.catalog, look.point, look.component)
    look.checks.run("digest", "storage: the list adds up", lambda: verify_objects.counted(sealed_list, look.component))
    look.checks.run("digest", "storage: content",
                    lambda: verify_objects.content(sealed_list, look.component, look.entries()))


def _storage(look) -> None:
    if look.component["engine"] in buckets.TYPES:
        _bucket(look)
        return
    sealed_list = _sealed_list(look.catalog, look.point, look.component)

    def counted():
        found = {"files": 0, "directories": 0, "bytes": 0, "entries": 0}
        for entry in listing.read(sealed_list):
            found["entries"] += 1
            if entry.drift not in listing.ABSENT:
                found["files"] += entry.type == "f"
                found["directories"] += entry.type == "d"
                found["bytes"] += entry.size if entry.type == "f" else 0
        expected = {"entries": look.component["list"]["entries"], **{
            key: look.component[key] for key in ("files", "directories", "bytes") if key in look.component}}
        return expected, {key: found[key] for key in expected}

    def metadata():
        nodes = (restic_restore.snapshot_entry(node, look.component["path"]) for node in
                 look.restic.ls(look.component["snapshot"], look.component["path"]))
        # Names as restic prints them; digests and the targets of links come with the content.
        wanted = (entry._replace(path=restic_output.lossy(entry.path).encode("utf-8"), target=None, sha256=None)
                  for entry in listing.read(sealed_list))
        return _storage_verdict(compare(wanted, (entry for entry in nodes if entry and entry.path)))

    def content():
        return _storage_verdict(compare(listing.read(sealed_list), look.entries(), ("mtime", *default_ignore())))

    look.checks.run("digest", f"{look.name}: the list adds up", counted)
    look.checks.run("digest", f"{look.name}: names, sizes, owners, modes, times", metadata)
    look.checks.run("digest", f"{look.name}: content", content)
    if "kept" in look.component:
        kept = os.path.join(look.catalog.point_dir(look.point), look.component["kept"]["file"])
        look.checks.run("digest", f"{look.name}: what was held at the pin",
                        lambda: ([], pinned.differences(kept, listing.read(sealed_list))))


def _sealed_list(catalog, point, component) -> str:
    return os.path.join(catalog.point_dir(point), component["list"]["file"])


def _storage_verdict(compared) -> tuple:
    expected = {"entries": compared["entries"], "differences": {}}
    return expected, dict(expected, differences=compared["examples"])


# Snapshots of indices lie in the vault as a tree of files, like a local storage.
_COMPONENTS = {"database": _database, "storage": _storage, "config": _config, "metadata": _metadata, "search": _storage}


def _check_database(component, path, depth, engine, checks, progress, asked=None) -> bool:
    """Only a dump whose files are the sealed ones is looked at further. asked: references.References, shown the rows.

    Returns whether it was restored as it should be.
    """
    if not checks.passed("database: files"):
        return False
    progress.phase("structure")

    def rows():
        found = engine.audit(path, component)
        return _without_zeros(component["counts"]), _without_zeros(found)

    whole = checks.run("structure", "database: rows in the archive", lambda: _only_differences(*rows()))
    if DEPTHS.index(depth) < DEPTHS.index("counts") or not whole:
        return False
    progress.phase("counts")
    restored: dict = {}

    def compared():
        restored.update(engine.restore(path, component, progress, look=look if asked else None))
        return [], restored["differences"][:_EXAMPLES]

    def look(search):
        progress.phase("references")
        asked.read(search(NEEDLE))

    passed = checks.run("counts", "database: restored, every count and definition", compared)
    if restored:
        checks.done[-1]["detail"] = {key: value for key, value in restored.items() if key != "differences"}
    return passed


def _check_search(component, depth, engine, restic, checks, progress) -> None:
    """Out of the vault only a repository of snapshots whose files are the sealed ones is shown to a cluster."""
    if not checks.passed("search: "):
        return
    progress.phase("structure")
    with engine.opened(restic, component, progress) as opened:
        whole = checks.run("structure", "search: the snapshot is whole, and that of the manifest", opened.described)
        if not whole or DEPTHS.index(depth) < DEPTHS.index("counts"):
            return
        progress.phase("counts")
        restored: dict = {}

        def compared():
            restored.update(opened.restore(progress))
            return [], restored["differences"][:_EXAMPLES]

        checks.run("counts", "search: restored, every count and definition", compared)
        if restored:
            checks.done[-1]["detail"] = {key: value for key, value in restored.items() if key != "differences"}


def _check_references(asked, entries, checks) -> None:
    found: dict = {}

    def looked_up():
        found.update(asked.judge(entries))
        lost = found["missing"][references.LOST]
        return {"lost": 0, "first": []}, {"lost": lost, "first": found["first"].get(references.LOST, [])}

    checks.run("references", "storage: every file that the database names", looked_up)
    if found:
        checks.done[-1]["detail"] = dict(found, line=references.summary(found))


def _without_zeros(counts) -> dict:
    """An archive holds no data for some tables without rows, so zero and absent are the same there."""
    return {name: number for name, number in counts.items() if number}


def _only_differences(expected, found) -> tuple:
    differing = manifests.compare_counts(expected, found)[:_EXAMPLES]
    if not differing:
        return ({"tables": len(expected), "rows": sum(expected.values())},) * 2
    return ({item["name"]: item["expected"] for item in differing}, {item["name"]: item["found"] for item in differing})


@contextlib.contextmanager
def _work(catalog, point, work_dir):
    """A private directory for this verification. What a killed one left is removed; a living one excludes others."""
    above = os.path.join(work_dir, f"verifying-{catalog.instance}") if work_dir else catalog.below("verifying")
    os.makedirs(above, mode=0o700, exist_ok=True)
    with open(os.path.join(above, "running"), "a+b") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"Another verification of {catalog.instance} is running.", reason="verifying",
                              hint="Wait for it to end.") from None
        for name in os.listdir(above):
            if ids.is_id(name):
                shutil.rmtree(os.path.join(above, name))
        work = os.path.join(above, point)
        os.mkdir(work, 0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work)


def _write(catalog, point, record) -> str:
    directory = os.path.join(catalog.point_dir(point), "verifications")
    if not catalog.is_sealed(point):
        raise RefusedError(f"The recovery point {point} was removed while it was verified.", reason="pruned")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, record["finished"].replace("-", "").replace(":", "") + ".json")
    files.write_json(path, record)
    return path


def ship_again(catalog, point, restic) -> list:
    """Backs the point's directory up with the new verification in it. Returns warnings: the verdict stands without."""
    try:
        ship.ship(catalog, point, restic)
    except DrError as exc:
        return [f"The verification is recorded in the vault directory, but could not be backed up: {exc.message}"]
    return []
