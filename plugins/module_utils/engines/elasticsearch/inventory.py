# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kestra's indices, or copies of them, are and hold: documents, sizes, mappings, aliases, templates."""
from __future__ import annotations

import hashlib

from ...core.errors import RefusedError
from . import connect, names

# Settings that say where and since when an index is, not what it is.
_VOLATILE = ("index.uuid", "index.creation_date", "index.provided_name", "index.version.", "index.number_of_replicas",
             "index.auto_expand_replicas", "index.resize.", "index.blocks.", "index.routing.", "index.history.",
             "index.priority", "index.verified_before_close", "index.search.throttled", "index.shard_limit_group",
             "index.recovery_source", "index.allocation.")

ALL = {"expand_wildcards": "all"}


def digest(value) -> str:
    """sha256 of a value's canonical JSON. Pure."""
    return hashlib.sha256(connect.canonical(value)).hexdigest()


# What a clone says although it is the default.
_DEFAULTS = {"index.routing_partition_size": "1"}


def lasting(settings) -> dict:
    """The settings that make an index what it is. settings: flat. Pure."""
    return {name: value for name, value in settings.items()
            if not name.startswith(_VOLATILE) and value != _DEFAULTS.get(name)}


def replicas(settings) -> dict:
    """The setting that says how many copies of its shards an index has. settings: flat. Pure."""
    expanding = settings.get("index.auto_expand_replicas", "false")
    if expanding != "false":
        return {"index.auto_expand_replicas": expanding}
    return {"index.number_of_replicas": settings.get("index.number_of_replicas", "1")}


def select(resolved, start) -> dict:
    """What of an answer of _resolve/index begins with a text: {indices, closed, data_streams, outside}. Pure.

    outside: aliases of that beginning that lead to other indices too.
    """
    indices = sorted(item["name"] for item in resolved.get("indices", ()) if item["name"].startswith(start))
    closed = sorted(item["name"] for item in resolved.get("indices", ())
                    if item["name"].startswith(start) and "closed" in (item.get("attributes") or ()))
    streams = sorted(item["name"] for item in resolved.get("data_streams", ()))
    outside = {item["name"]: sorted(set(item.get("indices") or ()) - set(indices))
               for item in resolved.get("aliases", ()) if item["name"].startswith(start)}
    return {"indices": indices, "closed": closed, "data_streams": streams,
            "outside": {alias: others for alias, others in sorted(outside.items()) if others}}


def listed(cluster, start) -> dict:
    """See select(); asked of the cluster."""
    resolved = cluster.get(connect.path_of("_resolve", "index", start + "*"), params=ALL, doing="listing the indices")
    return select(resolved, start)


def require_plain(found, what="The cluster") -> None:
    """Refuses what this engine cannot take along. found: of select(). Pure."""
    if found["data_streams"]:
        raise RefusedError(f"{what} has data streams of Kestra's prefix: {', '.join(found['data_streams'][:5])}.",
                           reason="data_streams", detail={"data_streams": found["data_streams"][:50]},
                           hint="Kestra uses none, and they are not covered: check the index prefix, or remove them.")
    if found["closed"]:
        raise RefusedError(f"{what} has closed indices, whose documents cannot be counted: {', '.join(found['closed'][:5])}.",
                           reason="index_closed", hint="Open them (POST INDEX/_open), or delete those nobody needs.",
                           detail={"indices": found["closed"][:50]})
    if found["outside"]:
        alias, others = next(iter(found["outside"].items()))
        raise RefusedError(f"The alias {alias} also leads to {', '.join(others[:3])}, which Kestra's prefix does not cover.",
                           reason="alias_outside", hint="Check the index prefix.", detail={"aliases": found["outside"]})


def counts(cluster, indices) -> dict:
    """{index: exact number of documents}, all of them visible first. Raises RefusedError when a shard does not answer."""
    found = {}
    for index in indices:
        cluster.request("POST", connect.path_of(index, "_refresh"), doing=f"refreshing {index}")
        answer = cluster.get(connect.path_of(index, "_count"), doing=f"counting {index}")
        if answer["_shards"]["failed"] or answer["_shards"]["successful"] < answer["_shards"]["total"]:
            raise RefusedError(f"Shards of the index {index} do not answer.", reason="shards_unassigned",
                               hint="See GET _cluster/allocation/explain for what keeps them.", detail={"index": index})
        found[index] = answer["count"]
    return found


def writes(cluster, start) -> dict:
    """{index: {shard: number of its last change}}: every write, also one that leaves as many documents, changes it."""
    answer = cluster.get(connect.path_of(start + "*", "_stats", "docs"), params=dict(ALL, level="shards"),
                         doing="asking for the indices' last changes")
    return {name: {number: shard["seq_no"]["max_seq_no"] for number, copies in item["shards"].items()
                   for shard in copies if shard["routing"]["primary"]}
            for name, item in (answer.get("indices") or {}).items() if name.startswith(start)}


def templates(cluster, prefix) -> dict:
    """{kind/name: digest} of the index templates for indices of the prefix only."""
    found = {}
    for item in cluster.get("/_index_template", doing="reading the index templates")["index_templates"]:
        if names.template_is_kestras(item["index_template"]["index_patterns"], prefix):
            found[f"index_template/{item['name']}"] = digest(item["index_template"])
    for name, body in (cluster.get("/_template", doing="reading the index templates") or {}).items():
        if names.template_is_kestras(body["index_patterns"], prefix):
            found[f"template/{name}"] = digest(body)
    return found


def health(cluster, start) -> dict:
    """{index: {status, shards, unassigned}} by index; unassigned: primaries without a node."""
    answer = cluster.get(connect.path_of("_cluster", "health", start + "*"), params=dict(ALL, level="shards"),
                         doing="asking for the indices' health")
    return {name: {"status": item["status"], "shards": item["number_of_shards"], "replicas": item["number_of_replicas"],
                   "unassigned": sorted(int(number) for number, shard in item["shards"].items() if not shard["primary_active"])}
            for name, item in (answer.get("indices") or {}).items() if name.startswith(start)}


def definitions(cluster, start, strip="") -> dict:
    """{mappings {index: digest}, settings {index: digest}, aliases {index: {alias: how}}, replicas {index: settings}}
    without the text strip before every name."""
    answer = cluster.get(connect.path_of(start + "*"), params=dict(ALL, flat_settings="true"),
                         doing="reading the indices' definitions")
    found: dict = {"mappings": {}, "settings": {}, "aliases": {}, "replicas": {}}
    for name, item in sorted(answer.items()):
        if not name.startswith(start):
            continue
        index = name[len(strip):]
        found["mappings"][index] = digest(item.get("mappings") or {})
        found["settings"][index] = digest(lasting(item.get("settings") or {}))
        found["replicas"][index] = replicas(item.get("settings") or {})
        found["aliases"][index] = {alias[len(strip):]: how for alias, how in sorted((item.get("aliases") or {}).items())
                                   if alias.startswith(strip)}
    return found


def sizes(cluster, start) -> dict:
    """{index: bytes of its primary shards}."""
    answer = cluster.get(connect.path_of(start + "*", "_stats", "store"), params=dict(ALL, forbid_closed_indices="false"),
                         doing="asking for the indices' sizes")
    return {name: item["primaries"].get("store", {}).get("size_in_bytes", 0)
            for name, item in (answer.get("indices") or {}).items() if name.startswith(start)}


def read(cluster, prefix, *, of_copies="", with_counts=False, with_objects=False) -> dict:
    """The inventory of Kestra's indices, or of a set of copies; names are without the set's prefix.

    of_copies: the set's prefix. Returns {identity, exists, indices, closed, data_streams, size_bytes, health}; with_counts:
    counts; with_objects: objects {mappings, settings, aliases, templates}.
    """
    start = of_copies + prefix
    found = listed(cluster, start)
    kept = len(of_copies)
    shards, bytes_of = health(cluster, start), sizes(cluster, start)
    result = {
        "identity": dict(cluster.identity, index_prefix=prefix), "exists": bool(found["indices"]),
        "indices": [name[kept:] for name in found["indices"]], "closed": [name[kept:] for name in found["closed"]],
        "data_streams": found["data_streams"], "aliases_outside": found["outside"],
        "health": {name[kept:]: item for name, item in sorted(shards.items())},
        "size_bytes": sum(bytes_of.values()), "sizes": {name[kept:]: size for name, size in sorted(bytes_of.items())}}
    if with_counts:
        opened = [name for name in found["indices"] if name not in found["closed"]]
        result["counts"] = {name[kept:]: number for name, number in counts(cluster, opened).items()}
    if with_objects:
        result["objects"] = dict(definitions(cluster, start, of_copies),
                                 templates={} if of_copies else templates(cluster, prefix))
    return result
