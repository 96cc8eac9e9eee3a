# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Executions that had not ended, from Kestra's indices: what a queue that is lost takes with it, and what became of them."""
from __future__ import annotations

from ...kestra.info import FINISHED
from . import connect

_FIELD = "state.current"
_PAGE, _KEEP = 1000, "2m"
_WANTED = ["id", "tenantId", "namespace", "flowId", "state.current", "deleted"]


def exact_field(mapping):
    """The field that holds the state as it is written; None when it cannot be searched for. Pure.

    mapping: the answer of _mapping/field. Of several indices behind an alias all have to agree.
    """
    found = set()
    for index in mapping.values():
        described = (index.get("mappings") or {}).get(_FIELD, {}).get("mapping", {}).get("current", {})
        keyword = next((f"{_FIELD}.{name}" for name, below in sorted((described.get("fields") or {}).items())
                        if below.get("type") == "keyword"), None)
        found.add(_FIELD if described.get("type") == "keyword" else keyword)
    return found.pop() if len(found) == 1 else None


def execution(source) -> dict:
    """An execution's document as the manifest lists it. Pure."""
    found = {"id": source["id"], "namespace": source.get("namespace") or "?", "flow": source.get("flowId") or "?",
             "state": (source.get("state") or {}).get("current") or "?"}
    return {**found, "tenant": source["tenantId"]} if source.get("tenantId") else found


def is_pending(source) -> bool:
    """Whether a document is of an execution that has not ended. Pure."""
    return not source.get("deleted") and (source.get("state") or {}).get("current") not in FINISHED


def read(cluster, prefix, limit=None) -> dict:
    """{total, truncated, executions}, as the manifest's in_flight holds them; ordered by tenant, namespace, flow and id."""
    index = prefix + "executions"
    cluster.request("POST", connect.path_of(index, "_refresh"), doing=f"refreshing {index}")
    mapping = cluster.get(connect.path_of(index, "_mapping", "field", _FIELD), doing="reading how states are kept")
    field = exact_field(mapping)
    query = {"bool": {"must_not": {"terms": {field: list(FINISHED)}}}} if field else {"match_all": {}}
    found = sorted((execution(source) for source in _all(cluster, index, query) if is_pending(source)),
                   key=lambda item: (item.get("tenant", ""), item["namespace"], item["flow"], item["id"]))
    kept = found if limit is None else found[:limit]
    return {"total": len(found), "truncated": len(kept) < len(found), "executions": kept}


def _all(cluster, index, query):
    """The documents a query finds, page by page."""
    body = {"size": _PAGE, "sort": ["_doc"], "_source": _WANTED, "query": query}
    params = {"scroll": _KEEP, "allow_partial_search_results": "false"}
    page = cluster.request("POST", connect.path_of(index, "_search"), body=body, params=params, doing=f"searching {index}")
    try:
        while page["hits"]["hits"]:
            yield from (hit["_source"] for hit in page["hits"]["hits"])
            page = cluster.request("POST", "/_search/scroll", body={"scroll": _KEEP, "scroll_id": page["_scroll_id"]},
                                   doing=f"searching {index}")
    finally:
        cluster.request("DELETE", "/_search/scroll", body={"scroll_id": page["_scroll_id"]}, missing=True,
                        doing="ending the search")


def states(cluster, prefix, ids) -> dict:
    """{id: state} of those executions that are there."""
    index, found = prefix + "executions", {}
    for first in range(0, len(ids), _PAGE):
        some = list(ids[first:first + _PAGE])
        query = {"bool": {"minimum_should_match": 1, "should": [{"ids": {"values": some}}, {"terms": {"id": some}}]}}
        found.update((source["id"], execution(source)["state"]) for source in _all(cluster, index, query)
                     if not source.get("deleted"))
    return found


def became(recorded, now) -> list:
    """What the recorded executions are now: each with was and now, which is None for one that is not there. Pure.

    recorded: of the manifest's in_flight. now: states().
    """
    return [dict({name: item[name] for name in ("id", "namespace", "flow", "tenant") if name in item}, was=item["state"],
                 now=now.get(item["id"])) for item in recorded]


def stuck(changes) -> list:
    """Those of became() that are in a state that has not ended. Pure."""
    return [item for item in changes if item["now"] is not None and item["now"] not in FINISHED]
