# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on a real cluster, and what is left of it."""

from __future__ import annotations

import signal
import time

import pytest
from elasticsearch_harness import PREFIX

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError,
    DrError,
    IntegrityError,
    RefusedError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import catalog, repository, sets
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps, later

NOWHERE = {"index.routing.allocation.require._name": "nowhere"}


def snapshots(cluster, name="backup"):
    return [item["snapshot"] for item in cluster.ask("GET", f"/_snapshot/{name}/_all")["snapshots"]]


# -- the repository ---------------------------------------------------------------------------------------------------


def test_a_repository_that_a_node_does_not_reach(own_cluster, tmp_path):
    cluster = own_cluster(nodes=2, second={"path.repo": [str(tmp_path)]})
    with cluster.connect() as connected:
        repository.put(connected, "backup", "fs", {"location": str(cluster.repositories / "backup")})
        with pytest.raises(ConnectError) as failed:
            repository.verify(connected, "backup")
        assert failed.value.reason == "repository_unverified" and "node2" in failed.value.message
    cluster.nodes[1].stop()
    with cluster.connect() as connected:
        connected.get("/_cluster/health", params={"wait_for_nodes": "1"}, doing="waiting until it has left")
        assert repository.verify(connected, "backup") == ["node1"]


def test_a_repository_that_is_not_there(cluster, take, give):
    cluster.kestra()
    for work in (take, give):
        with pytest.raises(ConnectError) as failed:
            work(cluster)
        assert failed.value.reason == "repository_missing" and "backup" in failed.value.message
    with cluster.connect() as connected, pytest.raises(ConnectError) as failed:
        repository.put(connected, "backup", "fs", {"location": "/elsewhere"})
        repository.verify(connected, "backup")
    assert failed.value.reason == "repository_failed" and "path.repo" in failed.value.hint


def test_a_repository_whose_directory_is_lost(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    (cluster.repositories / "backup").rename(cluster.repositories / "lost")
    with pytest.raises(DrError) as failed:
        give(cluster, component=component, copies="point")
    assert failed.value.reason in ("snapshot_missing", "repository_failed", "request_failed")
    assert cluster.names("kdr-") == []


def test_a_readonly_repository_takes_no_snapshot(cluster, take):
    cluster.kestra()
    cluster.repository()
    cluster.ask("DELETE", "/_snapshot/backup")
    cluster.repository(readonly=True)
    with pytest.raises(RefusedError) as failed:
        take(cluster)
    assert failed.value.reason == "repository_readonly"


# -- the snapshot -----------------------------------------------------------------------------------------------------


def test_a_shard_without_a_node(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    cluster.ask("PUT", "/kestra_lost", {"settings": NOWHERE}, wait_for_active_shards=0)
    with pytest.raises(RefusedError) as failed:
        take(cluster)
    assert failed.value.reason == "shards_unassigned" and "kestra_lost[0]" in failed.value.message
    # What somebody else took all the same is told, and not restored.
    cluster.ask("PUT", "/_snapshot/backup/point", {"indices": "kestra_*", "partial": True}, wait_for_completion="true")
    with cluster.connect() as connected:
        told = catalog.told(catalog.found(connected, "backup", "point"))
    assert told["state"] == "PARTIAL" and not told["usable"] and told["shards"]["failed"] == 1
    with pytest.raises(IntegrityError) as failed:
        give(cluster, copies="point")
    assert failed.value.reason == "snapshot_partial" and cluster.names("kdr-") == []


def test_a_shard_that_goes_while_the_snapshot_runs(own_cluster, take):
    cluster = own_cluster(nodes=2)
    cluster.kestra({"flows": 10})
    body = {"settings": {"number_of_replicas": 0, "index.routing.allocation.require._name": "node2"}}
    cluster.ask("PUT", "/kestra_logs-1", body, wait_for_active_shards=1)
    cluster.fill("kestra_logs-1", 3000)
    cluster.repository(max_snapshot_bytes_per_sec="500kb")
    steps = Steps(pinned=lambda facts: cluster.nodes[1].stop(signal.SIGKILL))
    with pytest.raises(IntegrityError) as failed:
        take(cluster, progress=steps)
    assert failed.value.reason in ("snapshot_failed", "snapshot_partial") and "kestra_logs-1[0]" in failed.value.message
    assert "taken" not in steps.phases and snapshots(cluster) == []


def test_the_only_node_dies_while_the_snapshot_runs(own_cluster, take, give, monkeypatch):
    from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import patience, snapshot

    cluster = own_cluster()
    cluster.kestra({"flows": 10, "logs-1": 3000})
    cluster.repository(max_snapshot_bytes_per_sec="500kb")
    monkeypatch.setattr(snapshot, "Patience", lambda stall: patience.Patience(stall, lost=2))
    steps = Steps(pinned=lambda facts: cluster.nodes[0].stop(signal.SIGKILL))
    with pytest.raises(ConnectError) as failed:
        take(cluster, progress=steps)
    assert failed.value.reason == "unreachable" and "taken" not in steps.phases
    cluster.nodes[0].log.write_text("")
    cluster.start()
    cluster.ask("GET", "/_cluster/health/kestra_*", wait_for_status="yellow")
    with cluster.connect() as connected:
        left = catalog.found(connected, "backup", "point")
    # The cluster itself says that it came to nothing, and the next attempt takes the name.
    assert left is None or left["state"] != "SUCCESS"
    cluster.ask(
        "PUT", "/_snapshot/backup", {"type": "fs", "settings": {"location": str(cluster.repositories / "backup")}}
    )
    component = take(cluster)
    assert give(cluster, component=component, copies="point")["verdict"] == "verified"


def test_the_name_is_taken(cluster, take):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    with pytest.raises(RefusedError) as failed:
        take(cluster)
    assert failed.value.reason == "snapshot_exists"
    assert cluster.ask("GET", "/_snapshot/backup/point")["snapshots"][0]["uuid"] == component["snapshot_uuid"]


def test_a_snapshot_is_being_taken(cluster, take, give):
    """Of the same name: refused. Of another: its shards wait, and the pin is not told before they have begun."""
    cluster.kestra({"flows": 10, "logs-1": 3000})
    cluster.repository(max_snapshot_bytes_per_sec="700kb")
    cluster.ask("PUT", "/_snapshot/backup/other", {"indices": "kestra_*"})
    with pytest.raises(RefusedError) as failed:
        take(cluster, "other")
    assert failed.value.reason == "snapshot_running"
    steps = Steps(pinned=lambda facts: cluster.fill("kestra_logs-1", 5, start=5000))
    component = take(cluster, "point", progress=steps)
    assert component["counts"]["kestra_logs-1"] == 3000
    assert give(cluster, component=component, copies="point")["verdict"] == "verified"


def test_a_snapshot_that_does_not_move_is_given_up(cluster, take):
    cluster.kestra({"logs-1": 2000})
    cluster.repository(max_snapshot_bytes_per_sec="20kb")
    with pytest.raises(StateError) as failed:
        take(cluster, stall_timeout=1)
    assert failed.value.reason == "stalled" and snapshots(cluster) == []


def test_what_cannot_be_taken_along_is_refused(own_cluster, take):
    cluster = own_cluster()
    cluster.repository()
    with pytest.raises(RefusedError) as failed:
        take(cluster)
    assert failed.value.reason == "no_indices"
    cluster.kestra()
    cluster.ask("POST", "/kestra_triggers/_close")
    with pytest.raises(RefusedError) as failed:
        take(cluster)
    assert failed.value.reason == "index_closed" and "kestra_triggers" in failed.value.message
    cluster.ask("POST", "/kestra_triggers/_open")
    cluster.ask("PUT", "/other", {"aliases": {"kestra_triggers_all": {}}})
    with pytest.raises(RefusedError) as failed:
        take(cluster)
    assert failed.value.reason == "alias_outside" and "other" in failed.value.message
    cluster.ask("DELETE", "/other")
    cluster.ask(
        "PUT", "/_index_template/stream", {"index_patterns": ["kestra_stream*"], "data_stream": {}, "priority": 500}
    )
    cluster.ask("PUT", "/_data_stream/kestra_stream")
    with pytest.raises(RefusedError) as failed:
        take(cluster)
    assert failed.value.reason == "data_streams" and "kestra_stream" in failed.value.message
    assert snapshots(cluster) == []


# -- the restore ------------------------------------------------------------------------------------------------------


def removed(path):
    path.unlink()


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [removed, flipped, cut])
def test_a_damaged_repository(cluster, take, give, harm):
    counts = cluster.kestra({"flows": 12, "logs-1": 200})
    cluster.repository()
    component = take(cluster)
    harm(cluster.blobs()[0])
    with pytest.raises(IntegrityError) as failed:
        give(cluster, component=component, copies="point")
    assert failed.value.reason == "shard_failed" and "kdr-point-kestra_logs-1[0]" in failed.value.message
    # Nothing that cannot end is left, and Kestra's indices are as they were.
    assert cluster.names() == sorted(counts)
    assert cluster.ask("GET", "/_cluster/health")["status"] == "green"
    with pytest.raises(IntegrityError):
        give(cluster, component=component, delete_existing=True)


def test_another_snapshot_of_the_same_name(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    cluster.ask("DELETE", "/_snapshot/backup/point")
    take(cluster)
    with pytest.raises(IntegrityError) as failed:
        give(cluster, component=component, copies="point")
    assert failed.value.reason == "snapshot_differs"


def test_a_snapshot_with_other_indices(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    cluster.ask("PUT", "/other", {})
    component = take(cluster)
    cluster.ask("PUT", "/_snapshot/backup/whole", {"indices": "*"}, wait_for_completion="true")
    with pytest.raises(IntegrityError) as failed:
        give(cluster, "whole", component=component, copies="point")
    assert failed.value.reason == "snapshot_incomplete" and "other" in failed.value.message
    with pytest.raises(RefusedError) as failed:
        give(cluster, "whole", copies="point")
    assert failed.value.reason == "strange_indices"


def test_a_difference_is_found(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    component["counts"]["kestra_flows"] = 13
    component["objects"]["mappings"]["kestra_triggers"] = "0" * 64
    found = give(cluster, component=component, copies="point")
    assert found["verdict"] == "differs"
    assert [(item["kind"], item["name"]) for item in found["differences"]] == [
        ("counts", "kestra_flows"),
        ("mappings", "kestra_triggers"),
    ]


class KillAt(Steps):
    """Kills a node at the first progress for which when(done, total, message) is true."""

    def __init__(self, node, when):
        super().__init__()
        self.node, self.when, self.killed = node, when, False

    def update(self, done, total=None, message=None, unit="bytes"):
        super().update(done, total, message, unit)
        if not self.killed and self.when(done, total, message):
            self.node.stop(signal.SIGKILL)
            self.killed = True


def test_a_node_dies_while_it_restores(own_cluster, take, give):
    """The other node takes over what was on its way to it, or the cluster gives that up."""
    cluster = own_cluster(nodes=2)
    cluster.kestra({"logs-1": 1500, "executions": 1500}, replicas=1)
    cluster.ask("GET", "/_cluster/health", wait_for_status="green")
    cluster.repository(max_restore_bytes_per_sec="200kb")
    component = take(cluster)
    steps = KillAt(cluster.nodes[1], lambda done, total, message: 0 < done < total)
    try:
        assert give(cluster, component=component, copies="point", progress=steps)["verdict"] == "verified"
    except DrError as exc:
        assert exc.reason in ("shard_failed", "no_node"), exc
        assert cluster.names("kdr-") == []
    assert steps.killed and len(cluster.names(PREFIX)) == 2


@pytest.mark.full("a node that dies with the only copy of a restored shard (here one of which there is another)")
def test_a_node_dies_with_the_only_copy_of_what_it_restored(own_cluster, take, give):
    """It may come back with it: it is waited for, and then told by name."""
    cluster = own_cluster(nodes=2)
    cluster.kestra({"flows": 10, "executions": 1500})
    for index, node in (("flows", cluster.nodes[1]), ("executions", cluster.nodes[0])):
        cluster.ask("PUT", f"/kestra_{index}/_settings", {"index.routing.allocation.require._name": node.name})
    cluster.ask("GET", "/_cluster/health", wait_for_no_relocating_shards="true")
    cluster.repository(max_restore_bytes_per_sec="200kb")
    component = take(cluster)
    steps = KillAt(cluster.nodes[1], lambda done, total, message: message == "1 of 2 shards")
    with pytest.raises(StateError) as failed:
        give(cluster, component=component, copies="point", progress=steps, stall_timeout=3)
    assert steps.killed and failed.value.reason == "stalled"
    assert "kdr-point-kestra_flows[0] has no node" in failed.value.message
    assert cluster.names("kdr-") == []


def test_the_only_node_dies_while_it_restores(own_cluster, take, give, monkeypatch):
    from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import landing, patience

    cluster = own_cluster()
    cluster.kestra({"flows": 10, "logs-1": 1500})
    cluster.repository(max_restore_bytes_per_sec="300kb")
    component = take(cluster)
    monkeypatch.setattr(landing, "Patience", lambda stall: patience.Patience(stall, lost=2))
    steps = Steps(restoring=lambda facts: later(1, lambda: cluster.nodes[0].stop(signal.SIGKILL)))
    with pytest.raises(ConnectError) as failed:
        give(cluster, component=component, copies="point", progress=steps)
    assert failed.value.reason == "unreachable"
    cluster.nodes[0].log.write_text("")
    cluster.start()
    cluster.ask("GET", "/_cluster/health/kestra_*", wait_for_status="yellow")
    cluster.ask(
        "PUT", "/_snapshot/backup", {"type": "fs", "settings": {"location": str(cluster.repositories / "backup")}}
    )
    # What it left is swept, and it goes on.
    again = give(cluster, component=component, copies="point")
    assert again["verdict"] == "verified" and len(again["deleted"]) == 2


def test_disks_that_are_too_full(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    cluster.watch_disks("1000tb")
    with pytest.raises(RefusedError) as failed:
        give(cluster, component=component, copies="point")
    assert failed.value.reason == "disk_full" and "1000tb" in failed.value.message and cluster.names("kdr-") == []


def test_disks_that_fill_up_when_it_has_begun(cluster, take, give):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    cluster.watch_disks("1mb")
    shard = {"index": "kestra_flows", "shard": 0, "primary": True}
    until = time.monotonic() + 60
    # The cluster looks at its disks every ten seconds.
    while not cluster.ask("POST", "/_cluster/allocation/explain", shard, include_disk_info="true")["cluster_info"][
        "nodes"
    ]:
        assert time.monotonic() < until
        time.sleep(0.5)
    steps = Steps(restoring=lambda facts: cluster.watch_disks("1000tb"))
    with pytest.raises(DrError) as failed:
        give(cluster, component=component, copies="point", progress=steps)
    assert failed.value.reason == "no_node" and "watermark" in failed.value.message and cluster.names("kdr-") == []


# -- the swap ---------------------------------------------------------------------------------------------------------


def test_a_swap_that_fails_brings_the_replaced_indices_back(cluster, take, give, put):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    give(cluster, component=component, copies="point")
    cluster.fill("kestra_flows", 3, start=700)

    def lose(facts):
        cluster.ask("DELETE", "/kdr-point-kestra_logs-1")

    with pytest.raises(DrError):
        put(cluster, component=component, copies="point", undo="before", progress=Steps(swapping=lose))
    assert cluster.names("kestra_") == component["indices"] and cluster.names("kdr-before") == []
    cluster.fill("kestra_logs", 1, start=700)
    cluster.ask("POST", "/kestra_*/_refresh")
    assert cluster.ask("GET", "/kestra_flows/_count")["count"] == 15
    assert cluster.ask("GET", "/kestra_logs/_count")["count"] == 61


def test_a_swap_that_cannot_keep_what_is_live_changes_nothing(cluster, take, give, put):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    give(cluster, component=component, copies="point")
    cluster.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.max_shards_per_node": 10}})
    with pytest.raises(ConnectError) as failed:
        put(cluster, component=component, copies="point", undo="before")
    assert "shards" in failed.value.message
    assert cluster.names("kestra_") == component["indices"]
    cluster.fill("kestra_flows", 1, start=700)
    cluster.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.max_shards_per_node": None}})
    assert put(cluster, component=component, copies="point", undo="before")["counts"]["kestra_flows"] == 12


def test_copies_that_are_not_the_recovery_points_are_not_put_in_place(cluster, take, give, put):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    with pytest.raises(RefusedError) as failed:
        put(cluster, component=component, copies="point", undo="before")
    assert failed.value.reason == "copies_missing"
    give(cluster, component=component, copies="point")
    cluster.ask("DELETE", "/kdr-point-kestra_flows/_doc/kestra_flows-1", refresh="true")
    with pytest.raises(IntegrityError) as failed:
        put(cluster, component=component, copies="point", undo="before")
    assert failed.value.reason == "restore_differs" and "kestra_flows" in failed.value.message
    cluster.ask("DELETE", "/kdr-point-kestra_triggers")
    with pytest.raises(RefusedError) as failed:
        put(cluster, copies="point", undo="before")
    assert failed.value.reason == "copies_incomplete"
    assert cluster.names("kestra_") == component["indices"]


def test_a_kept_set_is_not_written_over(cluster, take, give, put):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    give(cluster, component=component, copies="one")
    put(cluster, component=component, copies="one", undo="before")
    give(cluster, component=component, copies="two")
    kept = cluster.names("kdr-before")
    for undo in ("before", "two", "three"):
        if undo == "three":
            give(cluster, component=component, copies="three")
        with pytest.raises(RefusedError) as failed:
            put(cluster, component=component, copies="two", undo=undo)
        assert failed.value.reason == ("bad_name" if undo == "two" else "undo_exists")
    assert cluster.names("kdr-before") == kept and len(cluster.names("kdr-two")) == 4


def test_a_set_is_removed_only_beside_live_indices(cluster, take, give, put):
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    give(cluster, component=component, copies="one")
    put(cluster, component=component, copies="one", undo="before")
    live, kept = cluster.names("kestra_"), cluster.names("kdr-before")
    give(cluster, component=component, copies="before-2")
    for name in live:
        cluster.ask("DELETE", f"/{name}")
    with cluster.connect() as connected:
        with pytest.raises(RefusedError) as failed:
            sets.remove(connected, PREFIX, "before", "BEFORE", False)
        assert failed.value.reason == "nothing_live" and cluster.names("kdr-before-k") == kept
        put(cluster, component=component, copies="before-2", undo="none")
        # Nothing of a set whose name only begins so.
        give(cluster, component=component, copies="before-3")
        assert sets.remove(connected, PREFIX, "BEFORE", "before", False)["deleted"] == kept
    assert cluster.names("kdr-before-k") == [] and len(cluster.names("kdr-before-3")) == 4 == len(cluster.names("kestra_"))


@pytest.mark.parametrize("phase,request_number", [("keeping", 3), ("swapping", 2), ("swapping", 9)])
def test_a_swap_that_was_killed_goes_on(cluster, take, give, put, phase, request_number, monkeypatch):
    """Killed at a request in the middle of a phase: nothing of its own runs afterwards."""
    from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import connect

    class Killed(BaseException):
        pass

    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    give(cluster, component=component, copies="point")
    cluster.fill("kestra_flows", 3, start=700)
    cluster.ask("POST", "/kestra_flows/_refresh")
    real, left = connect.Cluster.request, [None]

    def request(self, method, *arguments, **options):
        if left[0] is not None and method in ("PUT", "DELETE"):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        return real(self, method, *arguments, **options)

    def arm(facts):
        left[0] = request_number

    monkeypatch.setattr(connect.Cluster, "request", request)
    with pytest.raises(Killed):
        put(cluster, component=component, copies="point", undo="before", progress=Steps(**{phase: arm}))
    left[0] = None
    for name in ("point", "before") if phase == "swapping" else ():
        with cluster.connect() as connected, pytest.raises(RefusedError) as failed:
            sets.remove(connected, PREFIX, name, name, False)
        assert failed.value.reason == "swap_unfinished"
    done = put(cluster, component=component, copies="point", undo="before")
    assert done["counts"] == component["counts"] and cluster.names("kdr-point") == []
    assert cluster.ask("GET", "/kdr-before-kestra_flows/_count")["count"] == 15
    assert list(cluster.ask("GET", "/_alias/kestra_logs")) == ["kestra_logs-1"]
    again = put(cluster, component=component, copies="point", undo="before")
    assert again["already"]
    cluster.fill("kestra_logs", 1, start=700)
