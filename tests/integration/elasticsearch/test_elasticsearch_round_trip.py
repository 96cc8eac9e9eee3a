# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots taken and brought back on a real cluster: beside, swapped, undone, in place."""

from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import inventory, restore
from ansible_collections.kestra_community.dr.tests.integration.module_runs import ModuleFailed, Steps

ALWAYS_ON = ("opensearch",)


def aliases(cluster, start="kestra_"):
    found = cluster.ask("GET", f"/{start}*/_alias")
    return {name: item["aliases"] for name, item in found.items() if item["aliases"]}


def count(cluster, index):
    cluster.ask("POST", f"/{index}/_refresh")
    return cluster.ask("GET", f"/{index}/_count")["count"]


def test_a_snapshot_holds_kestras_indices_and_nothing_else(cluster, take):
    counts = cluster.kestra()
    cluster.ask("PUT", "/other", {})
    cluster.repository()
    steps = Steps()
    component = take(cluster, progress=steps)
    assert component["counts"] == counts and component["uncounted"] == [] and component["held"] == "external"
    assert list(steps.phases) == ["preflight", "started", "pinned", "taken", "finished"]
    stored = cluster.ask("GET", "/_snapshot/backup/point")["snapshots"][0]
    assert sorted(stored["indices"]) == component["indices"] == sorted(counts) and not stored["include_global_state"]
    assert stored["uuid"] == component["snapshot_uuid"]
    assert component["objects"]["aliases"]["kestra_logs-1"] == {"kestra_logs": {"is_write_index": True}}
    assert steps.updates[-1][0] > 0 and steps.updates[-1][2].startswith("4 of 4")


def test_what_is_written_after_the_pin_is_not_in_it(cluster, take, give):
    """Kestra may start at the phase "pinned": every shard copies a commit of before."""
    # So slow that the snapshot goes on for a while.
    counts = cluster.kestra({"flows": 10, "logs-1": 3000})
    cluster.repository(max_snapshot_bytes_per_sec="1mb")
    states = []

    def write(facts):
        states.append(cluster.ask("GET", "/_snapshot/backup/point")["snapshots"][0]["state"])
        cluster.fill("kestra_logs-1", 50, start=5000)
        cluster.ask("DELETE", "/kestra_flows/_doc/kestra_flows-0", refresh="true")

    component = take(cluster, progress=Steps(pinned=write))
    assert states == ["IN_PROGRESS"] and component["counts"] == counts
    assert count(cluster, "kestra_logs-1") == 3050 and count(cluster, "kestra_flows") == 9
    assert give(cluster, component=component, copies="point")["verdict"] == "verified"


def update(cluster):
    """As many documents as before."""
    cluster.ask("PUT", "/kestra_flows/_doc/kestra_flows-1", {"id": "1"})


def more(cluster):
    cluster.kestra({"audit": 1})


@pytest.mark.parametrize("write,index", [(update, "kestra_flows"), (more, "kestra_audit")])
def test_somebody_who_still_writes_is_found(cluster, take, write, index):
    cluster.kestra()
    cluster.repository()
    steps = Steps(started=lambda facts: write(cluster))
    with pytest.raises(StateError) as failed:
        take(cluster, progress=steps)
    assert failed.value.reason == "not_quiet" and failed.value.detail["indices"] == [index]
    assert "pinned" not in steps.phases
    assert cluster.ask("GET", "/_snapshot/backup/_all")["snapshots"] == []


def test_a_snapshot_of_indices_that_are_written_to(cluster, take, give):
    counts = cluster.kestra()
    cluster.repository()
    component = take(cluster, progress=Steps(started=lambda facts: update(cluster)), quiet=False)
    assert component["uncounted"] == ["kestra_flows"]
    assert component["counts"] == {name: number for name, number in counts.items() if name != "kestra_flows"}
    restored = give(cluster, component=component, copies="point")
    assert (restored["verdict"], restored["depth"]) == ("unverified", "structure")


def test_beside_then_swapped_then_undone(cluster, take, give, put):
    counts = cluster.kestra()
    before = aliases(cluster)
    cluster.repository()
    component = take(cluster)
    # A disaster: one index gone, one with less, one that was not there.
    cluster.ask("DELETE", "/kestra_flows")
    cluster.ask("DELETE", "/kestra_executions/_doc/kestra_executions-3", refresh="true")
    cluster.kestra({"audit": 3})
    live = cluster.names("kestra_")
    restored = give(cluster, component=component, copies="20261126T000000Z-a1b2c3")
    assert restored["verdict"] == "verified" and restored["depth"] == "counts" and restored["deleted"] == []
    assert restored["counts"] == counts and restored["indices"][0] == "kdr-20261126t000000z-a1b2c3-kestra_executions"
    assert cluster.names("kestra_") == live and count(cluster, "kestra_executions") == 39
    # An alias of Kestra's leads to the live index alone.
    assert list(cluster.ask("GET", "/_alias/kestra_logs")) == ["kestra_logs-1"]

    done = put(cluster, component=component, copies="20261126t000000z-a1b2c3", undo="before")
    assert done["counts"] == counts and done["indices"] == sorted(counts)
    assert cluster.names("kestra_") == sorted(counts) and aliases(cluster) == before
    assert done["kept"] == [f"kdr-before-{name}" for name in live]
    assert cluster.names("kdr-2026") == []
    # Kestra can write again, by name and by alias.
    cluster.fill("kestra_flows", 1, start=900)
    cluster.fill("kestra_logs", 1, start=900)
    assert count(cluster, "kestra_flows") == 13 and count(cluster, "kestra_logs-1") == 61
    assert component["objects"]["mappings"] == definitions(cluster)["mappings"]
    assert component["objects"]["settings"] == definitions(cluster)["settings"]

    undone = put(cluster, copies="before", undo="after")
    assert (
        undone["indices"] == live and count(cluster, "kestra_executions") == 39 and count(cluster, "kestra_audit") == 3
    )
    assert aliases(cluster) == before
    assert count(cluster, "kdr-after-kestra_flows") == 13


def definitions(cluster):
    with cluster.connect() as connected:
        return inventory.definitions(connected, "kestra_")


def test_into_an_empty_cluster(cluster, own_cluster, take, give, module):
    """Another cluster that reads the same repository, as after the loss of the first."""
    counts = cluster.kestra()
    cluster.repository()
    component = take(cluster)
    other = own_cluster(repositories=cluster.repositories)
    place = {"name": "backup", "location": str(cluster.repositories / "backup"), **other.options()}
    # Two that write would destroy it.
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_repository", **place)
    assert failed.value.result["reason"] == "repository_shared" and other.ask("GET", "/_snapshot") == {}
    assert module("elasticsearch_repository", readonly=True, **place)["changed"]
    restored = give(other, component=component)
    assert restored["verdict"] == "verified" and restored["deleted"] == [] and restored["indices"] == sorted(counts)
    assert aliases(other) == aliases(cluster)
    # The first is gone, this one takes its place.
    assert module("elasticsearch_repository", take_over=True, **place)["changed"]
    assert take(other, "next")["counts"] == counts
    # Through what it may write to, it does not read what another one wrote: that one may not be gone.
    with pytest.raises(RefusedError) as failed:
        give(other, component=component, copies="again")
    assert failed.value.reason == "repository_writable"


def test_an_older_cluster_is_refused(cluster, take):
    cluster.kestra()
    cluster.repository()
    take(cluster)
    with cluster.connect() as connected:
        connected.identity["server_version"] = "2.1.0"
        with pytest.raises(RefusedError) as failed:
            restore.preflight(connected, "kestra_", restore.Options("backup", "point", copies="point"), None)
    assert failed.value.reason == "newer_version" and "2.1.0" in failed.value.message


def test_in_place_deletes_by_name(cluster, take, give):
    counts = cluster.kestra()
    cluster.ask("PUT", "/kestrel", {})
    cluster.repository()
    component = take(cluster)
    cluster.ask("PUT", "/_cluster/settings", {"persistent": {"action.destructive_requires_name": True}})
    cluster.kestra({"audit": 3})
    cluster.ask("POST", "/kestra_triggers/_close")
    with pytest.raises(RefusedError) as failed:
        give(cluster, component=component)
    assert failed.value.reason == "not_empty" and "kestra_audit" in failed.value.message
    assert len(cluster.names("kestra_")) == 5
    restored = give(cluster, component=component, delete_existing=True)
    assert restored["verdict"] == "verified" and restored["deleted"] == sorted([*counts, "kestra_audit"])
    assert cluster.names() == sorted([*counts, "kestrel"])


def test_without_a_manifest_nothing_is_called_verified(cluster, take, give):
    counts = cluster.kestra()
    cluster.repository()
    take(cluster)
    restored = give(cluster, copies="look")
    assert restored["verdict"] == "unverified" and restored["counts"] == counts


def test_beside_again_replaces_the_copies(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    first = give(cluster, component=component, copies="again")
    second = give(cluster, component=component, copies="again")
    assert second["deleted"] == first["indices"] and second["verdict"] == "verified"
