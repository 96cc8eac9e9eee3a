# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of an instance lies in a vault directory, and what can be read there. Changes nothing.

<vault>/vault.json, <vault>/<instance>/{lock.json, open/<id>/, points/<id>/, removing/<id>/, undo/, reports/}
"""
from __future__ import annotations

import contextlib
import os
import re

from ..core import manifest as manifests
from ..core.errors import ConfigError, DrError, IntegrityError, StateError
from ..core.files import read_json, sha256_file
from ..core.ids import is_id
from .retention import whole

SCHEMA = 1
DEPTHS = ("digest", "structure", "counts", "references", "boot")
VERIFIES = DEPTHS[DEPTHS.index("counts"):]
_INSTANCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def argument_spec() -> dict:
    """The option group C(vault). Must be kept in sync with plugins/doc_fragments/vault.py."""
    return {"vault": {"type": "path", "required": True}, "instance": {"type": "str", "required": True}}


def lock_argument_spec() -> dict:
    """The option group C(vault.lock). Must be kept in sync with plugins/doc_fragments/vault.py."""
    return {"lock": {"type": "dict", "required": True, "options": {
        "run_id": {"type": "str", "required": True}, "owner": {"type": "str", "required": True},
        "ttl": {"type": "int", "default": 900}, "take_over": {"type": "str"}}}}


def verdict_of(depth, outcome) -> str:
    """The word for one verification. outcome: pass, differs or failed."""
    if outcome != "pass":
        return outcome
    return "verified" if depth in VERIFIES else f"unverified ({depth} passed)"


def standing(verifications, manifest_sha256) -> dict:
    """Verdict, depth and time of a point from its verifications (any order): {"verdict", "depth", "verified_at"}.

    A later failure undoes earlier passes; after it, the deepest pass counts. A verification of other manifest bytes
    counts for nothing.
    """
    valid = [item for item in verifications if item.get("manifest_sha256") == manifest_sha256]
    best = None
    for item in sorted(valid, key=lambda entry: entry["finished"], reverse=True):
        if item["outcome"] != "pass":
            best = best or item
            break
        if best is None or DEPTHS.index(item["depth"]) > DEPTHS.index(best["depth"]):
            best = item
    if best is None:
        return {"verdict": "unverified", "depth": None, "verified_at": None}
    return {
        "verdict": verdict_of(best["depth"], best["outcome"]),
        "depth": best["depth"],
        "verified_at": best["finished"],
    }


def sum_line(digest) -> str:
    """The content of manifest.sha256, as sha256sum -c reads it."""
    return f"{digest}  manifest.json\n"


class Catalog:
    """The paths of one instance in a vault directory, and reading below them."""

    def __init__(self, vault, instance):
        if not _INSTANCE.fullmatch(instance or ""):
            raise ConfigError(f"{instance!r} is not the name of an instance: letters, digits, _ . and - only.",
                              reason="bad_instance_name")
        self.vault = os.fspath(vault)
        self.instance = instance
        self.directory = os.path.join(self.vault, instance)
        self.marker = os.path.join(self.vault, "vault.json")
        self.lock = os.path.join(self.directory, "lock.json")
        self.prune_marker = os.path.join(self.directory, "pruning.json")

    def below(self, *names) -> str:
        """A path below the instance's directory."""
        return os.path.join(self.directory, *names)

    def open_dir(self, point) -> str:
        return self.below("open", checked(point))

    def point_dir(self, point) -> str:
        return self.below("points", checked(point))

    def check_vault(self) -> None:
        """Raises StateError when the directory is no vault, or one of a newer schema."""
        if not os.path.isdir(self.vault):
            raise StateError(f"There is no vault at {self.vault}.", reason="vault_missing",
                             hint="Check the path; the first backup creates it, and recovery_point_info with "
                                  "rebuild: true restores a lost one from the repository.")
        if os.path.exists(self.marker):
            schema = read_json(self.marker).get("schema")
            if schema != SCHEMA:
                raise StateError(f"The vault {self.vault} has schema {schema}; this version reads {SCHEMA}.",
                                 reason="vault_schema", hint="Use the version of kestra_community.dr that wrote it.")

    def open_ids(self) -> list:
        """Ids of unsealed points, oldest first."""
        return self._ids("open")

    def sealed_ids(self) -> list:
        """Ids of sealed points, oldest first; those being pruned included."""
        return self._ids("points")

    def removing_ids(self) -> list:
        """Ids of pruned points whose directories are not gone yet."""
        return self._ids("removing")

    def _ids(self, kind) -> list:
        try:
            return sorted(name for name in os.listdir(self.below(kind)) if is_id(name))
        except FileNotFoundError:
            return []

    def is_sealed(self, point) -> bool:
        return os.path.isdir(self.point_dir(point))

    def open_facts(self, point) -> dict:
        """What open.json says. Raises StateError when there is no such open point."""
        path = os.path.join(self.open_dir(point), "open.json")
        if not os.path.exists(path):
            if self.is_sealed(point):
                raise StateError(f"The recovery point {point} is already sealed.", reason="already_sealed")
            raise StateError(f"There is no open recovery point {point} for {self.instance}.", reason="not_open",
                             hint="It was swept or never opened; start the backup again.")
        return read_json(path)

    def open_line(self, point) -> dict:
        """What the list says of an open point; one without open.json, or with a damaged one, is swept by the next backup."""
        facts = {}
        with contextlib.suppress(StateError, IntegrityError):
            facts = read_json(os.path.join(self.open_dir(point), "open.json"))
        return {"id": point, "directory": self.open_dir(point), "run_id": facts.get("run_id"),
                "created": facts.get("created") or _created(point), "components": sorted(self.components(point))}

    def components(self, point) -> dict:
        """The components added to an open point: {name: facts}."""
        directory = os.path.join(self.open_dir(point), "components")
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        return {
            name[: -len(".json")]: read_json(os.path.join(directory, name)) for name in names if name.endswith(".json")
        }

    def manifest(self, point) -> dict:
        """The manifest of a sealed point, its digest and its id checked. Raises StateError or IntegrityError."""
        directory = self.point_dir(point)
        if not os.path.isdir(directory):
            known = ", ".join(self.sealed_ids()[-5:]) or "none"
            raise StateError(f"There is no sealed recovery point {point} for {self.instance}.", reason="no_such_point",
                             hint=f"Known: {known}.")
        manifest = manifests.load(os.path.join(directory, "manifest.json"))
        self.manifest_digest(point)
        if manifest["id"] != point or manifest["instance"]["name"] != self.instance:
            raise IntegrityError(
                f"The manifest in {directory} is that of {manifest['instance']['name']}/{manifest['id']}.",
                reason="manifest_misplaced")
        return manifest

    def manifest_digest(self, point) -> str:
        """The sha256 of manifest.json, which must be the one noted at the seal. Raises IntegrityError."""
        directory = self.point_dir(point)
        try:
            found = sha256_file(os.path.join(directory, "manifest.json"))
            with open(os.path.join(directory, "manifest.sha256"), encoding="ascii", errors="replace") as handle:
                noted = handle.read()
        except FileNotFoundError as exc:
            raise IntegrityError(
                f"The recovery point {point} lacks {exc.filename}.", reason="manifest_missing"
            ) from None
        if noted != sum_line(found):
            raise IntegrityError(f"The manifest of {point} was changed after it was sealed.", reason="manifest_changed",
                                 hint="Do not use it. recovery_point_info with rebuild: true gets the sealed one back "
                                      "from the repository after the changed directory was moved away.",
                                 detail={"expected": noted.split(" ")[0], "found": found})
        return found

    def verifications(self, point) -> list:
        """The verifications of a point, oldest first. Files that cannot be read are left out: they prove nothing."""
        directory = os.path.join(self.point_dir(point), "verifications")
        found = []
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            try:
                item = read_json(os.path.join(directory, name))
            except DrError:
                continue
            if isinstance(item, dict) and item.get("id") == point and item.get("depth") in DEPTHS \
                    and isinstance(item.get("finished"), str) and item.get("outcome") in ("pass", "differs", "failed"):
                found.append(item)
        return found

    def summary(self, point) -> dict:
        """One line of the list. A point that cannot be read is listed as failed, with the reason in "error"."""
        line = {"id": point, "directory": self.point_dir(point), "instance_id": None, "created": None,
                "sealed": None, "mode": None,
                "self_contained": None, "elsewhere": [], "components": {}, "bytes": None, "kestra_version": None, "error": None,
                "pruning": os.path.exists(os.path.join(self.point_dir(point), "pruning.json"))}
        try:
            manifest = self.manifest(point)
            line.update(standing(self.verifications(point), self.manifest_digest(point)))
        except DrError as exc:
            return dict(
                line, verdict="failed", depth=None, verified_at=None, created=_created(point), error=exc.to_result()
            )
        components = manifest["components"]
        line.update(
            instance_id=manifest["instance"]["id"], created=manifest["created"], sealed=manifest["sealed"],
            mode=manifest["consistency"]["mode"],
            self_contained=manifest["self_contained"], elsewhere=elsewhere(components), kestra_version=manifest["kestra"].get("version"),
            components={name: {"held": item["held"], "engine": item["engine"], "bytes": item.get("bytes")}
                        for name, item in components.items()},
            bytes=sum(item.get("bytes") or 0 for item in components.values()))
        return line

    def summaries(self) -> list:
        """All sealed points, newest first."""
        lines = [self.summary(point) for point in self.sealed_ids()]
        return sorted(lines, key=lambda line: (line["created"], line["id"]), reverse=True)

    def undo_points(self) -> list:
        """What the journals of undo points say, newest first. state: unreadable, with "error", for a damaged one."""
        directory = self.below("undo")
        names = sorted(os.listdir(directory), reverse=True) if os.path.isdir(directory) else []
        return [self._undo_point(os.path.join(directory, name)) for name in names if name.endswith(".json")]

    @staticmethod
    def _undo_point(file) -> dict:
        try:
            return dict(read_json(file), file=file)
        except IntegrityError as exc:
            point = os.path.basename(file)[:-len(".json")]
            return {"id": point, "state": "unreadable", "file": file, "error": exc.to_result()}


def elsewhere(components) -> list:
    """What of a recovery point the vault does not hold: [{"component", "system", "snapshot", "uuid"}]. Pure."""
    return [{"component": name, "system": item["system"], "snapshot": item.get("snapshot_name"), "uuid": item.get("snapshot_uuid")}
            for name, item in sorted(components.items()) if manifests.is_outside(item)]


def choose(lines, wanted, instance) -> dict:
    """The line of an id, of "latest" or of "latest_verified". lines: summaries(), newest first. Raises StateError.

    Points being pruned and, for the two words, those that cannot be read or are known to be bad are passed over; so are
    those of no more than a metadata archive, as long as there is a whole one.
    """
    usable = [line for line in lines if not line["pruning"]]
    if wanted == "latest":
        usable = [line for line in usable if line["verdict"] not in ("differs", "failed")]
        usable = [line for line in usable if whole(line)] or usable
    elif wanted == "latest_verified":
        usable = [line for line in usable if line["verdict"] == "verified"]
    else:
        usable = [line for line in usable if line["id"] == checked(wanted)]
    if not usable:
        known = ", ".join(f"{line['id']} ({line['verdict']})" for line in lines[:5]) or "none"
        raise StateError(f"There is no recovery point {wanted} for {instance}.", reason="no_such_point",
                         hint=f"Known: {known}.")
    return usable[0]


def checked(point) -> str:
    """The id itself, if it is one. Raises ConfigError; nothing else may become part of a path."""
    if not is_id(point):
        raise ConfigError(
            f"{point!r} is not the id of a recovery point (like 20261123T001500Z-a1b2c3).", reason="bad_id"
        )
    return point


def _created(point) -> str:
    """The time an id was made, as a UTC text."""
    return f"{point[0:4]}-{point[4:6]}-{point[6:8]}T{point[9:11]}:{point[11:13]}:{point[13:15]}.000000Z"
