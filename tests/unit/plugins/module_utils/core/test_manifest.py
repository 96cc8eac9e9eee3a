# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is wrong in a manifest is found: its fields one by one, its bytes by the digest."""
from __future__ import annotations

import copy
import json
import random

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.vault.vault_scene import OUTSIDE

SUM = "0123456789abcdef" * 4


def good():
    return {
        "schema": 1,
        "id": "20261123T001500Z-a1b2c3",
        "created": "2026-11-23T00:15:00.000000Z",
        "sealed": "2026-11-23T00:16:00Z",
        "collection": "1.0.0",
        "instance": {
            "name": "kestra",
            "id": "uuid-1",
            "uuid": "uuid-1",
            "hosts": [{"name": "h1", "role": "standalone"}],
        },
        "kestra": {"version": "0.21.0", "edition": "OSS", "facts": "api"},
        "tools": {"pg_dump": "15.18", "restic": "0.14.0"},
        "consistency": {
            "mode": "pinned",
            "stopped": "2026-11-23T00:15:01Z",
            "pinned": "2026-11-23T00:15:02Z",
            "storage_started": None,
            "storage_finished": None,
            "restarted": "2026-11-23T00:15:03Z",
            "downtime_seconds": 2.0,
            "drift": {"deleted": 0, "changed": 0, "added": 3},
        },
        "self_contained": True,
        "components": {
            "database": {
                "held": "vault",
                "engine": "postgresql",
                "strategy": "logical",
                "format": "directory",
                "snapshot": "abc",
                "path": "/database",
                "timezone": "UTC",
                "schema": "public",
                "identity": {
                    "system_identifier": "7",
                    "database": "kestra",
                    "database_oid": 16384,
                    "server_version": "15.18",
                },
                "counts": {"public.flows": 12, "public.logs": 0},
                "objects": {"tables": {"public.flows": SUM}},
                "files": [
                    {"path": "toc.dat", "size": 1, "sha256": SUM},
                    {"path": "1.dat.gz", "size": 4, "sha256": SUM},
                ],
                "bytes": 5,
                "seconds": 1.0,
            },
            "storage": {
                "held": "vault",
                "engine": "local",
                "strategy": "files",
                "snapshot": "def",
                "path": "/app/storage",
                "list": {"file": "storage.jsonl.gz", "sha256": SUM, "entries": 5},
                "files": 3,
                "directories": 2,
                "bytes": 100,
                "seconds": 1.0,
            },
            "config": {
                "held": "vault",
                "engine": "bundle",
                "strategy": "files",
                "snapshot": "123",
                "path": "/config",
                "hosts": {"h1": {"files": ["/etc/kestra/application.yml"], "keys": []}},
                "files": [{"path": "h1.json", "size": 3, "sha256": SUM}],
                "bytes": 3,
            },
        },
        "in_flight": {"total": 1, "executions": [{"id": "e", "namespace": "n", "flow": "f", "state": "RUNNING"}]},
        "timings": {"dump": 1.2},
    }


def put(value, path, new):
    """Replaces (or with DROP removes) the field at path in a copy."""
    value = copy.deepcopy(value)
    at = value
    for key in path[:-1]:
        at = at[key]
    if new is DROP:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return value


DROP = object()


def refused(value):
    with pytest.raises(IntegrityError) as caught:
        manifest.validate(value)
    return caught.value.detail["path"]


def test_a_good_one_is_good():
    manifest.validate(good())


def test_counts_of_zero_are_no_fault():
    manifest.validate(put(good(), ["components", "database", "counts"], {"public.flows": 0}))
    manifest.validate(put(good(), ["components", "database", "counts"], {}))


def test_facts_that_were_not_gathered_are_no_fault():
    manifest.validate(put(good(), ["kestra"], {"version": None, "edition": None, "facts": "not_run"}))
    manifest.validate(put(good(), ["in_flight"], {"total": None, "executions": []}))


@pytest.mark.parametrize(
    "path, new, named",
    [
        (["schema"], 2, "schema"),
        (["schema"], DROP, "schema"),
        (["id"], "latest", "id"),
        (["created"], "today", "created"),
        (["sealed"], DROP, "sealed"),
        (["collection"], "", "collection"),
        (["instance"], [], "instance"),
        (["instance", "name"], DROP, "instance.name"),
        (["instance", "hosts", 0, "role"], 5, "instance.hosts[0].role"),
        (["kestra", "facts"], "guess", "kestra.facts"),
        (["tools", "restic"], 14, "tools.restic"),
        (["consistency", "mode"], "maybe", "consistency.mode"),
        (["consistency", "pinned"], "then", "consistency.pinned"),
        (["consistency", "downtime_seconds"], -1, "consistency.downtime_seconds"),
        (["self_contained"], False, "self_contained"),
        (["self_contained"], 1, "self_contained"),
        (["components"], {}, "components"),
        (["components", "database", "held"], "elsewhere", "components.database.held"),
        (["components", "database", "held"], "external", "components.database.system"),
        (["components", "database", "snapshot"], DROP, "components.database.snapshot"),
        (["components", "database", "counts", "public.flows"], -1, "components.database.counts.public.flows"),
        (["components", "database", "counts", "public.flows"], True, "components.database.counts.public.flows"),
        (["components", "database", "counts", "public.flows"], 1.5, "components.database.counts.public.flows"),
        (["components", "database", "counts", "flows"], 1, "components.database.counts"),
        (["components", "database", "files"], [], "components.database.files"),
        (["components", "database", "files", 0, "size"], 2, "components.database.bytes"),
        (["components", "database", "files", 0, "sha256"], SUM.upper(), "components.database.files[0].sha256"),
        (["components", "database", "files", 0, "path"], "/etc/passwd", "components.database.files[0].path"),
        (["components", "database", "files", 0, "path"], "a/../../b", "components.database.files[0].path"),
        (["components", "database", "files", 1, "path"], "toc.dat", "components.database.files[1].path"),
        (["components", "storage", "list"], DROP, "components.storage.list"),
        (["components", "storage", "list", "file"], "../x", "components.storage.list.file"),
        (["components", "storage", "list", "entries"], None, "components.storage.list.entries"),
        (["components", "mystery"], {}, "components.mystery"),
        (["in_flight", "executions"], None, "in_flight.executions"),
        (["timings", "dump"], "fast", "timings.dump"),
    ],
)
def test_a_wrong_field_is_named(path, new, named):
    assert refused(put(good(), path, new)) == named


def test_no_object_at_all():
    for value in (None, [], "x", 7):
        assert refused(value) == "manifest"


def paths(value, at=()):
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from paths(below, (*at, key))


def test_a_field_of_another_kind_is_refused_or_harmless_but_never_a_crash():
    strange = [None, True, -1, 1.5, "", "x", [], {}, [None], {"x": None}]
    for path in paths(good()):
        for new in strange:
            if path:
                try:
                    manifest.validate(put(good(), list(path), new))
                except IntegrityError as exc:
                    assert exc.detail["path"]


def flip(value, chance):
    """A copy with one leaf changed."""
    leaves = [path for path in paths(value) if path]
    while True:
        path = list(chance.choice(leaves))
        at = value
        for key in path:
            at = at[key]
        if isinstance(at, (dict, list)):
            continue
        new = not at if isinstance(at, bool) else at + 1 if isinstance(at, (int, float)) else (at or "") + "x"
        return put(value, path, new)


def test_any_flipped_field_changes_the_digest():
    chance = random.Random(20261123)
    original = manifest.digest(manifest.dumps(good()))
    for _round in range(500):
        assert manifest.digest(manifest.dumps(flip(good(), chance))) != original


def test_any_flipped_bit_changes_the_digest():
    chance = random.Random(20261123)
    data = manifest.dumps(good())
    for _round in range(500):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        assert manifest.digest(bytes(damaged)) != manifest.digest(data)


def test_equal_manifests_have_equal_bytes():
    shuffled = json.loads(json.dumps(good()))
    shuffled = {key: shuffled[key] for key in sorted(shuffled, reverse=True)}
    assert manifest.dumps(shuffled) == manifest.dumps(good())
    assert manifest.dumps({"name": "é"}).isascii()


def test_loading(tmp_path):
    (tmp_path / "m").write_bytes(manifest.dumps(good()))
    assert manifest.load(tmp_path / "m") == good()
    for content in (b"", b"{", b"\xff\xfe", b"{}"):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(IntegrityError):
            manifest.load(tmp_path / "m")
    with pytest.raises(IntegrityError) as caught:
        manifest.load(tmp_path / "none")
    assert caught.value.reason == "manifest_missing"


def test_a_component_before_its_data_is_in_the_repository():
    component = good()["components"]["database"]
    del component["snapshot"], component["path"]
    manifest.validate_component("database", component, sealed=False)
    with pytest.raises(IntegrityError):
        manifest.validate_component("database", component)


def test_an_external_component_makes_the_point_not_self_contained():
    value = put(good(), ["components", "search"], OUTSIDE)
    assert refused(value) == "self_contained"
    manifest.validate(put(value, ["self_contained"], False))


@pytest.mark.parametrize("path, new, named", [
    (["snapshot_uuid"], DROP, "snapshot_uuid"), (["endpoint"], [], "endpoint"), (["endpoint"], "http://es1:9200", "endpoint"),
    (["indices"], [1], "indices"), (["bytes"], -1, "bytes"), (["repository"], DROP, "repository"),
    (["repository", "type"], "", "repository.type"), (["repository", "settings", "location"], None, "repository.settings.location")])
def test_a_snapshot_outside_is_told_so_that_it_is_found(path, new, named):
    value = put(put(good(), ["components", "search"], OUTSIDE), ["self_contained"], False)
    assert refused(put(value, ["components", "search", *path], new)) == "components.search." + named


def search():
    """Indices in the vault, and the queue that is made anew from them."""
    value = put(good(), ["components", "search"], {
        "held": "vault", "engine": "elasticsearch", "strategy": "snapshot", "snapshot": "5" * 64, "path": "/kestra", "bytes": 12, "files": 3,
        "snapshot_name": "20261123t001500z-a1b2c3", "snapshot_uuid": "J1ZkYx3oQ2u1mCqg0oYb9w",
        "identity": {"cluster_uuid": "YxcilbHTTdGxTN9p4sy78A", "server_version": "8.19.21", "index_prefix": "kestra_"},
        "counts": {"kestra_flows": 12}, "objects": {}, "list": {"file": "search.jsonl.gz", "sha256": "a" * 64, "entries": 3}})
    return put(value, ["components", "queue"], {
        "held": "external", "engine": "kafka", "strategy": "rebuild", "system": "kafka:9092", "cluster_id": "PiI-ret1SQu3ebNtLzG1Mg"})


def test_a_queue_that_is_made_anew_is_not_missed():
    manifest.validate(search())
    assert refused(put(search(), ["components", "queue", "strategy"], "copy")) == "self_contained"


@pytest.mark.parametrize("path, new, named", [
    (["snapshot_uuid"], DROP, "snapshot_uuid"), (["identity", "cluster_uuid"], DROP, "identity.cluster_uuid"),
    (["counts"], {"kestra_flows": -1}, "counts.kestra_flows"), (["objects"], DROP, "objects"), (["list"], DROP, "list")])
def test_indices_in_the_vault_are_told_whole(path, new, named):
    assert refused(put(search(), ["components", "search", *path], new)) == "components.search." + named


@pytest.mark.parametrize(
    "expected, found, differences",
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [{"name": "a", "expected": 1, "found": 2}]),
        ({"a": 1}, {}, [{"name": "a", "expected": 1, "found": None}]),
        ({}, {"a": 0}, [{"name": "a", "expected": None, "found": 0}]),
        (
            {"b": 0, "a": 1},
            {"a": 2, "c": 3},
            [
                {"name": "a", "expected": 1, "found": 2},
                {"name": "b", "expected": 0, "found": None},
                {"name": "c", "expected": None, "found": 3},
            ],
        ),
    ],
)
def test_counts_are_compared_exactly(expected, found, differences):
    assert manifest.compare_counts(expected, found) == differences
