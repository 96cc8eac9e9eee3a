# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest, schema version 1: what one recovery point is. Pure: no file but the one load() reads.

A verification is never written into a manifest; it is a file beside it.
"""
from __future__ import annotations

import hashlib
import json
import re

from .clock import parse_utc
from .errors import ConfigError, IntegrityError
from .ids import is_id

SCHEMA = 1
COLLECTION = "1.0.0"  # the version in galaxy.yml; a test compares them
MODES = ("offline", "pinned", "drained", "live")
COMPONENTS = ("database", "storage", "metadata", "config", "search", "queue")
REBUILD = "rebuild"  # the strategy of a component that is only described: a restore makes it anew
SNAPSHOT = "snapshot"  # the strategy of indices: a snapshot in a repository of the cluster
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TABLE = re.compile(r"[^.]+\..+", re.DOTALL)


def dumps(manifest: dict) -> bytes:
    """The canonical bytes: sorted keys, two spaces, ASCII, one newline. Equal manifests have equal bytes."""
    return (json.dumps(manifest, sort_keys=True, indent=2, ensure_ascii=True) + "\n").encode("ascii")


def digest(data: bytes) -> str:
    """Hex sha256 of the canonical bytes."""
    return hashlib.sha256(data).hexdigest()


def load(path) -> dict:
    """Reads and validates a manifest. Raises IntegrityError with the wrong field's path in detail["path"]."""
    try:
        with open(path, "rb") as handle:
            manifest = json.loads(handle.read().decode("utf-8"))
    except FileNotFoundError:
        raise IntegrityError(f"There is no manifest at {path}.", reason="manifest_missing") from None
    except ValueError as exc:
        raise IntegrityError(f"The manifest {path} is not valid JSON: {exc}.", reason="manifest_malformed") from None
    validate(manifest)
    return manifest


def compare_counts(expected: dict, found: dict) -> list:
    """Differences of two {name: number} maps as [{"name", "expected", "found"}], sorted; None where there is none."""
    return [{"name": name, "expected": expected.get(name), "found": found.get(name)}
            for name in sorted(set(expected) | set(found)) if expected.get(name) != found.get(name)]


def validate(manifest) -> None:
    """Raises IntegrityError (manifest_invalid, detail.path) for the first field that is not as schema 1 wants it."""
    _map(manifest, "manifest")
    if manifest.get("schema") != SCHEMA:
        raise _wrong("schema", f"is {manifest.get('schema')!r}; this version of the collection reads {SCHEMA}",
                     hint="Use the version of kestra_community.dr that wrote it, or a newer one.")
    if not is_id(manifest.get("id")):
        raise _wrong("id", "is not the id of a recovery point")
    _times(manifest, "", required=("created", "sealed"))
    _text(manifest, "", "collection")
    _instance(_child(manifest, "", "instance"))
    kestra = _child(manifest, "", "kestra")
    _one_of(kestra, "kestra", "facts", ("api", "not_run"))
    _optional_text(kestra, "kestra", ("version", "edition"))
    tools = _child(manifest, "", "tools")
    for name in tools:
        _text(tools, "tools", name)
    consistency = _child(manifest, "", "consistency")
    _one_of(consistency, "consistency", "mode", MODES)
    _times(
        consistency, "consistency", optional=("stopped", "pinned", "storage_started", "storage_finished", "restarted")
    )
    _number(consistency, "consistency", "downtime_seconds", optional=True)
    components = _child(manifest, "", "components")
    if not components:
        raise _wrong("components", "is empty: a recovery point without components protects nothing")
    for name in sorted(components):
        validate_component(name, components[name])
    held_inside = self_contained(components)
    if manifest.get("self_contained") is not held_inside:
        raise _wrong("self_contained", f"must be {str(held_inside).lower()} for these components")
    _in_flight(_child(manifest, "", "in_flight"))
    timings = _child(manifest, "", "timings")
    for name in timings:
        _number(timings, "timings", name)


def self_contained(components) -> bool:
    """Whether the vault alone is enough: nothing is held elsewhere but what is made anew from the other components."""
    return not any(is_outside(component) for component in components.values())


def is_outside(component) -> bool:
    """Whether a component's data lie where only another system has them."""
    return component["held"] == "external" and component["strategy"] != REBUILD


def validate_component(name: str, component, *, sealed=True) -> None:
    """Raises IntegrityError for a component that is not as schema 1 wants it.

    sealed=False: before its data is in the repository, when snapshot and path are not known yet.
    """
    at = f"components.{name}"
    if name not in COMPONENTS:
        raise _wrong(at, f"is not one of {', '.join(COMPONENTS)}")
    _map(component, at)
    _one_of(component, at, "held", ("vault", "external"))
    for key in ("engine", "strategy"):
        _text(component, at, key)
    if component["held"] == "external":
        _text(component, at, "system")
        if component["strategy"] == SNAPSHOT:
            _outside(component, at)
        return
    _count(component, at, "bytes")
    _number(component, at, "seconds", optional=True)
    if sealed:
        for key in ("snapshot", "path"):
            _text(component, at, key)
    if "files" in component and isinstance(component["files"], list):
        _files(component["files"], f"{at}.files")
    elif "files" in component:
        _count(component, at, "files")
    if name == "database":
        _database(component, at)
    if name == "search":
        _search(component, at)
    if "kept" in component:
        _list(_child(component, at, "kept"), f"{at}.kept")
    if "list" in component:
        _list(_child(component, at, "list"), f"{at}.list")
    elif name in ("storage", "search"):
        raise _wrong(f"{at}.list", "is missing")


def beside(component) -> list:
    """What of a component lies beside the manifest: [{"file", "sha256", "entries"}]."""
    return [component[name] for name in ("list", "kept") if name in component]


def _database(component, at) -> None:
    _text(component, at, "format")
    identity = _child(component, at, "identity")
    for key in ("database", "server_version"):
        _text(identity, f"{at}.identity", key)
    counts = _child(component, at, "counts")
    for table in counts:
        if not _TABLE.fullmatch(table):
            raise _wrong(f"{at}.counts", f"names {table!r}, which is not schema.table")
        _count(counts, f"{at}.counts", table)
    _child(component, at, "objects")
    if not isinstance(component.get("files"), list) or not component["files"]:
        raise _wrong(f"{at}.files", "must list the files of the dump")
    if sum(entry["size"] for entry in component["files"]) != component["bytes"]:
        raise _wrong(f"{at}.bytes", "is not the sum of the files' sizes")


def _search(component, at) -> None:
    for key in ("snapshot_name", "snapshot_uuid"):
        _text(component, at, key)
    identity = _child(component, at, "identity")
    for key in ("cluster_uuid", "server_version", "index_prefix"):
        _text(identity, f"{at}.identity", key)
    counts = _child(component, at, "counts")
    for index in counts:
        _count(counts, f"{at}.counts", index)
    _child(component, at, "objects")


def _outside(component, at) -> None:
    """A snapshot that stays in its repository: enough to find it there, and to know it again."""
    _search(component, at)
    _count(component, at, "bytes")
    _texts(component, at, "endpoint")
    _texts(component, at, "indices")
    repository = _child(component, at, "repository")
    for key in ("name", "type"):
        _text(repository, f"{at}.repository", key)
    settings = _child(repository, f"{at}.repository", "settings")
    for key in settings:
        _text(settings, f"{at}.repository.settings", key)


def _files(entries, at) -> None:
    seen = set()
    for index, entry in enumerate(entries):
        here = f"{at}[{index}]"
        _map(entry, here)
        _text(entry, here, "path")
        if entry["path"].startswith("/") or ".." in entry["path"].split("/"):
            raise _wrong(f"{here}.path", "must stay below the component's directory")
        if entry["path"] in seen:
            raise _wrong(f"{here}.path", f"appears twice: {entry['path']!r}")
        seen.add(entry["path"])
        _count(entry, here, "size")
        _digest(entry, here, "sha256")


def _list(entry, at) -> None:
    _text(entry, at, "file")
    if "/" in entry["file"]:
        raise _wrong(f"{at}.file", "must be a plain name beside the manifest")
    _digest(entry, at, "sha256")
    _count(entry, at, "entries")


def _instance(instance) -> None:
    for key in ("name", "id"):
        _text(instance, "instance", key)
    _optional_text(instance, "instance", ("uuid",))
    hosts = instance.get("hosts")
    if not isinstance(hosts, list):
        raise _wrong("instance.hosts", "must be a list")
    for index, host in enumerate(hosts):
        _map(host, f"instance.hosts[{index}]")
        for key in ("name", "role"):
            _text(host, f"instance.hosts[{index}]", key)


def _in_flight(in_flight) -> None:
    executions = in_flight.get("executions")
    if not isinstance(executions, list):
        raise _wrong("in_flight.executions", "must be a list")
    _count(in_flight, "in_flight", "total", optional=True)
    for index, execution in enumerate(executions):
        _map(execution, f"in_flight.executions[{index}]")
        for key in ("id", "namespace", "flow", "state"):
            _text(execution, f"in_flight.executions[{index}]", key)


def _wrong(path, why, hint=None) -> IntegrityError:
    return IntegrityError(f"The manifest is not valid: {path} {why}.", reason="manifest_invalid", hint=hint,
                          detail={"path": path})


def _at(prefix, key) -> str:
    return f"{prefix}.{key}" if prefix else key


def _map(value, path) -> None:
    if not isinstance(value, dict):
        raise _wrong(path, "must be an object")


def _child(parent, prefix, key) -> dict:
    value = parent.get(key)
    _map(value, _at(prefix, key))
    return value


def _text(parent, prefix, key) -> None:
    if not isinstance(parent.get(key), str) or not parent[key]:
        raise _wrong(_at(prefix, key), "must be a text")


def _texts(parent, prefix, key) -> None:
    value = parent.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise _wrong(_at(prefix, key), "must be a list of texts")


def _optional_text(parent, prefix, keys) -> None:
    for key in keys:
        if parent.get(key) is not None:
            _text(parent, prefix, key)


def _one_of(parent, prefix, key, allowed) -> None:
    if parent.get(key) not in allowed:
        raise _wrong(_at(prefix, key), f"must be one of {', '.join(allowed)}")


def _count(parent, prefix, key, optional=False) -> None:
    value = parent.get(key)
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(_at(prefix, key), "must be a whole number, zero or more")


def _number(parent, prefix, key, optional=False) -> None:
    value = parent.get(key)
    if optional and value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
        raise _wrong(_at(prefix, key), "must be a number, zero or more")


def _digest(parent, prefix, key) -> None:
    if not isinstance(parent.get(key), str) or not _SHA256.fullmatch(parent[key]):
        raise _wrong(_at(prefix, key), "must be a sha256 in hex")


def _times(parent, prefix, required=(), optional=()) -> None:
    for key in required + tuple(key for key in optional if parent.get(key) is not None):
        try:
            parse_utc(parent.get(key))
        except ConfigError:
            raise _wrong(_at(prefix, key), "must be a UTC time") from None
