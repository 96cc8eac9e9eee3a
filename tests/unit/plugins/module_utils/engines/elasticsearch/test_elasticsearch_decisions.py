# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about places, names, snapshots, shards, disks and differences that need no cluster."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.kestra_community.dr.plugins.doc_fragments.elasticsearch import ModuleDocFragment
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    ConnectError,
    IntegrityError,
    RefusedError,
    ToolError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import (
    catalog,
    clients,
    connect,
    inventory,
    landing,
    marks,
    names,
    options,
    patience,
    repository,
    restore,
    snapshot,
    space,
    swap,
    versions,
)

# -- options ----------------------------------------------------------------------------------------------------------

NOTHING = {name: spec.get("default") for name, spec in options.argument_spec().items()}
KNOWN = {
    "hosts": ["https://es1:9200", "es2"],
    "user": "kestra",
    "password": "sesame",
    "prefix": "prod_",
    "trust_all_ssl": True,
}


def test_documented_as_specified():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    specified = {name: spec for name, spec in options.argument_spec().items() if name != "config"}
    assert set(documented) == set(specified)
    for name, spec in specified.items():
        for key in ("type", "default", "choices", "elements"):
            assert documented[name].get(key) == spec.get(key), (name, key)


def test_kestras_own_place():
    place = options.resolve(NOTHING, KNOWN)
    assert place.login.hosts == ("https://es1:9200", "http://es2:9200") and place.prefix == "prod_"
    assert (place.login.user, place.login.password) == ("kestra", "sesame")
    # What Kestra trusts is not what we trust.
    assert place.login.validate_certs and place.login.trusting
    assert "sesame" not in repr(place) + str(place.fingerprint())


def test_options_win():
    place = options.resolve(dict(NOTHING, login_user="backup", index_prefix="kestra_"), KNOWN)
    assert (place.login.user, place.login.password, place.prefix) == ("backup", None, "kestra_")
    place = options.resolve(dict(NOTHING, login_api_key="a2V5", login_hosts=["h:1"]), KNOWN)
    assert (place.login.user, place.login.password, place.login.api_key) == (None, None, "a2V5")
    assert place.login.hosts == ("http://h:1",)
    assert options.resolve(dict(NOTHING, login_hosts=["h"])).prefix == "kestra_"


def test_nothing_names_a_host():
    with pytest.raises(ConfigError) as failed:
        options.resolve(NOTHING)
    # What a manifest names is for when nothing else does.
    assert options.resolve(NOTHING, None, ["http://old:9200"]).login.hosts == ("http://old:9200",)
    assert options.resolve(NOTHING, KNOWN, ["http://old:9200"]).login.hosts == options.resolve(NOTHING, KNOWN).login.hosts
    assert failed.value.reason == "config_missing"


@pytest.mark.parametrize(
    "host,url",
    [
        ("es1", "http://es1:9200"),
        ("https://es1/", "https://es1:9200"),
        ("https://es1:443/search", "https://es1:443/search"),
        ("http://[::1]:9201", "http://[::1]:9201"),
    ],
)
def test_hosts(host, url):
    assert options.url_of(host) == url


@pytest.mark.parametrize("host", ["ftp://es1", "http://", "http://es1:port", "https://user:sesame@es1:9200"])
def test_hosts_that_are_none(host):
    with pytest.raises(ConfigError) as failed:
        options.url_of(host)
    assert failed.value.reason == "bad_host" and "sesame" not in failed.value.message


def test_who_we_are():
    assert connect.authorization(connect.Login(("h",))) is None
    assert connect.authorization(connect.Login(("h",), user="u", password="ü")) == "Basic dTrDvA=="
    assert connect.authorization(connect.Login(("h",), user="u", api_key="a2V5")) == "ApiKey a2V5"


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "*", "kestra_*", "a,b", "_all", "-x", ".kibana", "Kestra_", "kdr-x", "a" * 101])
def test_prefixes_that_could_take_more_than_kestras(prefix):
    with pytest.raises(ConfigError) as failed:
        names.require_prefix(prefix)
    assert failed.value.reason == "bad_prefix"


def test_prefixes():
    names.require_prefix("kestra_")
    names.require_prefix("prod-kestra.")


def test_sets_of_copies():
    assert names.copies("20261123T001500Z-a1b2c3") == "kdr-20261123t001500z-a1b2c3-"
    for name in ("", "*", "a*", "a,b", "-a", "mark-x", "a/b", "ü", "a" * 65):
        with pytest.raises(ConfigError):
            names.copies(name)
    with pytest.raises(RefusedError):
        names.require_lengths("kdr-a-", ["kestra_" + "x" * 250])


def test_names_that_could_mean_several():
    assert names.repository_path("backup", "20261123t001500z-a1b2c3", "_status") == (
        "/_snapshot/backup/20261123t001500z-a1b2c3/_status"
    )
    for name in ("*", "a*", "a,b", "_all", "_current", "", "-a", "a/b"):
        for parts in ((name,), ("backup", name)):
            with pytest.raises(ConfigError):
                names.repository_path(*parts)


def test_templates_of_kestra():
    assert names.template_is_kestras(["kestra_logs-*", "kestra_x"], "kestra_")
    for patterns in (["*"], ["kestra_*", "other"], ["kest*"], []):
        assert not names.template_is_kestras(patterns, "kestra_")


# -- versions ---------------------------------------------------------------------------------------------------------


def snapshot_of(version, version_id=8190021):
    return {"version": version, "version_id": version_id}


OPENSEARCH = 137297827  # 3.8.0


@pytest.mark.parametrize(
    "taken,cluster,reason",
    [
        (snapshot_of("8.19.21"), "elasticsearch 8.19.21", None),
        (snapshot_of("8.19.9-8.19.21"), "elasticsearch 8.19.21", None),
        (snapshot_of("7.17.0", None), "elasticsearch 8.0.0", None),
        (snapshot_of("8.19.21"), "elasticsearch 9.5.3", None),
        (snapshot_of("8.19.22"), "elasticsearch 8.19.21", "newer_version"),
        (snapshot_of("9.0.0", 9039000), "elasticsearch 8.19.21", "newer_version"),
        (snapshot_of("6.8.23"), "elasticsearch 8.19.21", "too_old"),
        (snapshot_of("3.8.0", OPENSEARCH), "opensearch 3.8.0", None),
        (snapshot_of("2.19.1", 136407927), "opensearch 3.8.0", None),
        (snapshot_of("3.8.0", OPENSEARCH), "opensearch 2.19.1", "newer_version"),
        (snapshot_of("1.3.0", 135249827), "opensearch 3.8.0", "too_old"),
        (snapshot_of("3.8.0", OPENSEARCH), "elasticsearch 8.19.21", "other_product"),
        (snapshot_of("7.10.2", 7100299), "opensearch 1.3.0", "other_product"),
    ],
)
def test_versions(taken, cluster, reason):
    product, version = cluster.split()
    identity = {"product": product, "server_version": version}
    if reason is None:
        versions.require_restorable(taken, identity)
        return
    with pytest.raises(RefusedError) as failed:
        versions.require_restorable(taken, identity)
    assert failed.value.reason == reason and version in failed.value.message


def test_a_version_that_is_none():
    with pytest.raises(ToolError):
        versions.parse("unknown")


# -- errors -----------------------------------------------------------------------------------------------------------


answer = clients.Refusal


@pytest.mark.parametrize(
    "status,kind,text,reason",
    [
        (401, "security_exception", "unable to authenticate", "login_refused"),
        (403, "security_exception", "action [x] is unauthorized", "privileges_missing"),
        (404, "repository_missing_exception", "[backup] missing", "repository_missing"),
        (500, "repository_verification_exception", "[backup] path is not accessible", "repository_unverified"),
        (503, "master_not_discovered_exception", None, "not_ready"),
        (
            429,
            "cluster_block_exception",
            "blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage]",
            "disk_full",
        ),
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)]", "blocked"),
        (400, "illegal_argument_exception", "no", "request_failed"),
    ],
)
def test_what_an_error_means(status, kind, text, reason):
    error = connect.api_error(
        answer(status, {"error": {"root_cause": [{"type": kind, "reason": text}], "type": kind, "reason": text}}),
        "trying",
    )
    assert isinstance(error, ConnectError) and error.reason == reason and "trying" in error.message
    assert error.detail == {"status": status, "type": kind}


def test_the_innermost_cause_is_told():
    body = {
        "error": {"type": "a", "reason": "outer", "caused_by": {"reason": "middle", "caused_by": {"reason": "inner."}}}
    }
    assert connect.cause(body) == ("a", "outer; middle; inner")
    assert connect.cause({"error": "no handler found"}) == (None, "no handler found")
    assert connect.cause(None) == (None, "no reason given")
    assert connect.path_of("_snapshot", "a b/c", "ü*") == "/_snapshot/a%20b%2Fc/%C3%BC*"


# -- inventory --------------------------------------------------------------------------------------------------------

RESOLVED = {
    "indices": [
        {"name": "kestra_logs-1", "aliases": ["kestra_logs"], "attributes": ["open"]},
        {"name": "kestra_flows", "attributes": ["open"]},
        {"name": "kestra_old", "attributes": ["closed"]},
    ],
    "aliases": [{"name": "kestra_logs", "indices": ["kestra_logs-1"]}],
    "data_streams": [],
}


def test_selection():
    found = inventory.select(RESOLVED, "kestra_")
    assert found == {
        "indices": ["kestra_flows", "kestra_logs-1", "kestra_old"],
        "closed": ["kestra_old"],
        "data_streams": [],
        "outside": {},
    }
    aliases = [{"name": "kestra_all", "indices": ["kestra_flows", "other"]}]
    assert inventory.select(dict(RESOLVED, aliases=aliases), "kestra_")["outside"] == {"kestra_all": ["other"]}


@pytest.mark.parametrize(
    "found,reason",
    [
        ({"data_streams": ["kestra_s"]}, "data_streams"),
        ({"closed": ["kestra_old"]}, "index_closed"),
        ({"outside": {"kestra_all": ["other"]}}, "alias_outside"),
    ],
)
def test_what_is_not_taken_along(found, reason):
    plain = {"indices": [], "closed": [], "data_streams": [], "outside": {}}
    inventory.require_plain(plain)
    with pytest.raises(RefusedError) as failed:
        inventory.require_plain(dict(plain, **found))
    assert failed.value.reason == reason


def test_settings_that_last():
    lasting = {"index.number_of_shards": "1", "index.analysis.analyzer.x.type": "custom"}
    clone = dict(
        lasting,
        **{
            "index.uuid": "u",
            "index.provided_name": "n",
            "index.blocks.write": "true",
            "index.resize.source.name": "a",
            "index.routing_partition_size": "1",
            "index.number_of_replicas": "2",
        },
    )
    assert inventory.lasting(clone) == lasting
    assert inventory.lasting({"index.routing_partition_size": "2"})
    assert inventory.replicas(clone) == {"index.number_of_replicas": "2"}
    assert inventory.replicas({"index.number_of_replicas": "2", "index.auto_expand_replicas": "0-1"}) == {
        "index.auto_expand_replicas": "0-1"
    }


def test_digests_know_no_order():
    assert (
        inventory.digest({"a": 1, "b": 2}) == inventory.digest({"b": 2, "a": 1}) != inventory.digest({"a": 1, "b": 3})
    )


# -- snapshots --------------------------------------------------------------------------------------------------------

GOOD = {
    "snapshot": "point",
    "uuid": "u1",
    "state": "SUCCESS",
    "version": "8.19.21",
    "indices": ["kestra_b", "kestra_a"],
    "data_streams": [],
    "include_global_state": False,
    "shards": {"total": 2, "successful": 2, "failed": 0},
    "failures": [],
    "metadata": {"taken_by": catalog.OWNER},
}


def test_a_good_snapshot():
    assert catalog.problems(GOOD) == catalog.problems(GOOD, ["kestra_a", "kestra_b"]) == []
    catalog.require_usable(GOOD, ["kestra_a", "kestra_b"])
    told = catalog.told(GOOD)
    assert told["usable"] and told["ours"] and told["indices"] == ["kestra_a", "kestra_b"]


@pytest.mark.parametrize(
    "change,indices,reason",
    [
        ({"state": "PARTIAL", "shards": {"total": 2, "successful": 1, "failed": 1}}, None, "snapshot_partial"),
        ({"state": "FAILED"}, None, "snapshot_failed"),
        ({"state": "IN_PROGRESS"}, None, "snapshot_running"),
        ({"state": "INCOMPATIBLE"}, None, "snapshot_incompatible"),
        # SUCCESS alone is not enough.
        ({"shards": {"total": 2, "successful": 1, "failed": 1}}, None, "snapshot_incomplete"),
        ({"shards": {"total": 2, "successful": 1, "failed": 0}}, None, "snapshot_incomplete"),
        ({"failures": [{"index": "kestra_a", "shard_id": 0, "reason": "gone"}]}, None, "snapshot_incomplete"),
        ({"data_streams": ["kestra_s"]}, None, "snapshot_incomplete"),
        ({}, ["kestra_a"], "snapshot_incomplete"),
        ({}, ["kestra_a", "kestra_b", "kestra_c"], "snapshot_incomplete"),
    ],
)
def test_snapshots_that_are_none(change, indices, reason):
    with pytest.raises(IntegrityError) as failed:
        catalog.require_usable(dict(GOOD, **change), indices)
    assert failed.value.reason == reason


def test_whose_a_snapshot_is():
    catalog.require_ours(GOOD)
    for metadata in (None, {}, {"taken_by": "slm"}):
        with pytest.raises(RefusedError):
            catalog.require_ours(dict(GOOD, metadata=metadata))


def test_whose_a_repository_is():
    def taken(name, uuid, by=catalog.OWNER):
        return dict(GOOD, snapshot=name, metadata={"taken_by": by, "cluster_uuid": uuid})

    known = [taken("a", "here"), taken("b", "there"), taken("c", "there", by="slm"), dict(GOOD, metadata=None)]
    assert catalog.of_others(known, "here") == ["b"] and catalog.of_others(known[:1], "here") == []


def test_a_name_that_is_free():
    chosen = snapshot.Options("backup", "point")
    assert snapshot.require_free(None, chosen) is False
    assert snapshot.require_free(dict(GOOD, state="FAILED"), chosen) is True
    for existing, reason in (
        (GOOD, "snapshot_exists"),
        (dict(GOOD, state="FAILED", metadata=None), "snapshot_exists"),
        (dict(GOOD, state="IN_PROGRESS"), "snapshot_running"),
    ):
        with pytest.raises(RefusedError) as failed:
            snapshot.require_free(existing, chosen)
        assert failed.value.reason == reason


def status(*stages, total=None, node="n1"):
    shards = {str(number): {"stage": stage, "node": node} for number, stage in enumerate(stages)}
    return {
        "indices": {"a": {"shards": shards}} if stages else {},
        "shards_stats": {"total": len(stages) if total is None else total},
    }


def test_when_every_shard_has_begun():
    assert snapshot.begun(status("STARTED", "DONE", "FINALIZE", "FAILURE"))
    assert snapshot.begun(status("DONE", "FINALIZE", node=None))
    assert not snapshot.begun(status("STARTED", "INIT"))
    assert not snapshot.begun(status("STARTED", total=2))
    assert not snapshot.begun(status())
    # It waits for another snapshot, or its node has not said anything yet.
    assert not snapshot.begun(status("STARTED", node=None))


def test_what_was_written_to():
    before = {"a": {"0": 5}, "b": {"0": 7}, "c": {"0": 1}}
    assert snapshot.written(before, before) == []
    assert snapshot.written(before, {"a": {"0": 5}, "b": {"0": 8}, "d": {"0": 0}}) == ["b", "c", "d"]


def test_what_is_asked_for():
    body = snapshot.request(["kestra_a"], "u")
    assert body["indices"] == ["kestra_a"] and body["partial"] is False and body["include_global_state"] is False
    assert not catalog.told(dict(GOOD, metadata=body["metadata"]))["staged"]
    assert catalog.told(dict(GOOD, metadata=snapshot.request(["kestra_a"], "u", staged=True)["metadata"]))["staged"]
    assert not catalog.told(dict(GOOD, metadata={"taken_by": "slm", "staged": True}))["staged"]
    body = restore.request(["kestra_a"], "kdr-x-")
    assert body["rename_replacement"] == "kdr-x-$1" and body["include_aliases"] is False and body["partial"] is False
    assert restore.request(["kestra_a"], "")["include_aliases"] is True and "rename_pattern" not in restore.request(
        ["kestra_a"], ""
    )


# -- repositories -----------------------------------------------------------------------------------------------------


def test_repositories():
    assert repository.wanted("fs", location="/r", readonly=True, settings={"compress": False}) == {
        "location": "/r",
        "readonly": "true",
        "compress": "false",
    }
    assert repository.wanted("s3", bucket="b", base_path="p", client="dr") == {
        "bucket": "b",
        "base_path": "p",
        "client": "dr",
    }
    assert repository.wanted("url", url="file:/r", readonly=True) == {"url": "file:/r"}


@pytest.mark.parametrize(
    "kind,given,reason",
    [
        ("fs", {}, "repository_options"),
        ("fs", {"location": "/r", "bucket": "b"}, "repository_options"),
        ("s3", {"location": "/r"}, "repository_options"),
        ("s3", {"bucket": "b", "settings": {"secret_key": "sesame"}}, "repository_secret"),
        ("fs", {"location": "/r", "settings": {"readonly": True}}, "repository_options"),
        ("fs", {"location": "/r", "settings": {"location": "/s"}}, "repository_options"),
    ],
)
def test_repositories_that_are_none(kind, given, reason):
    with pytest.raises(ConfigError) as failed:
        repository.wanted(kind, **given)
    assert failed.value.reason == reason and "sesame" not in str(failed.value.to_result())


def test_a_repository_never_moves():
    current = {"type": "fs", "settings": {"location": "/r", "compress": "true"}, "uuid": "u"}
    repository.require_movable(None, "fs", {"location": "/r"})
    repository.require_movable(current, "fs", {"location": "/r", "readonly": "true"})
    assert repository.differs(current, "fs", {"location": "/r"}) and not repository.differs(
        current, "fs", dict(current["settings"])
    )
    for kind, settings in (("fs", {"location": "/s"}), ("url", {"url": "file:/r"})):
        with pytest.raises(RefusedError):
            repository.require_movable(current, kind, settings)


def test_a_name_for_reading_only_may_move():
    current = {"type": "fs", "settings": {"location": "/r", "readonly": "true"}, "uuid": "u"}
    repository.require_movable(current, "fs", {"location": "/s", "readonly": "true"})
    with pytest.raises(RefusedError):
        repository.require_movable(current, "fs", {"location": "/s"})


def test_who_only_reads():
    assert repository.is_readonly({"type": "url", "settings": None})
    repository.require_readonly("r", {"type": "fs", "settings": {"readonly": "true"}})
    for settings in ({}, None, {"readonly": "false"}):
        with pytest.raises(RefusedError) as failed:
            repository.require_readonly("r", {"type": "fs", "settings": settings})
        assert failed.value.reason == "repository_writable"
    assert repository.place({"settings": {"location": "/r", "readonly": "false", "compress": "true"}}) == {"location": "/r", "compress": "true"}


NODES = {"1": {"name": "a", "host": "10.0.0.1", "ip": "10.0.0.1"}, "2": {"name": "es2", "host": "es2.example.com", "ip": "10.0.0.2"}}


@pytest.mark.parametrize("kind, settings, told", [
    ("fs", {"location": "/mnt/snapshots"}, "/mnt/snapshots belongs to the account"),
    ("s3", {"bucket": "b", "endpoint": "http://10.0.0.2:9000"}, "served by 10.0.0.2"),
    ("s3", {"bucket": "b", "endpoint": "es2.example.com:9000"}, "served by es2.example.com"),
    ("s3", {"bucket": "b", "endpoint": "http://localhost:9000"}, "served by localhost"),
    ("url", {"url": "https://es2.example.com/snapshots"}, "served by es2.example.com"),
    ("s3", {"bucket": "b", "endpoint": "https://s3.example.com"}, None), ("s3", {"bucket": "b"}, None)])
def test_what_a_repository_shares_with_its_cluster(kind, settings, told):
    found = repository.shared(kind, settings, NODES)
    assert told in found[0] if told else found == []


def test_nodes_that_have_to_reach_it():
    nodes = {
        "1": {"name": "a", "roles": ["master"]},
        "2": {"name": "b", "roles": ["data_hot"]},
        "3": {"name": "c", "roles": ["ingest"]},
    }
    assert repository.unverified(nodes, {"1": {}, "2": {}}) == []
    assert repository.unverified(nodes, {"1": {}}) == ["b"]


# -- disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watermark,kept", [("85%", 150), ("0.85", 150), ("100b", 100), ("1kb", 1024), (" 2KB", 2048)])
def test_watermarks(watermark, kept):
    assert space.kept_free(watermark, 1000) == pytest.approx(kept, abs=1)


def test_room():
    nodes = {
        "1": {"roles": ["data"], "fs": {"total": {"total_in_bytes": 1000, "available_in_bytes": 500}}},
        "2": {"roles": ["master"], "fs": {"total": {"total_in_bytes": 1000, "available_in_bytes": 900}}},
        "3": {"roles": ["data_content"], "fs": {"total": {"total_in_bytes": 1000, "available_in_bytes": 100}}},
    }
    assert space.room(nodes, "85%") == 350
    assert space.room(nodes, "85%", headroom="50b") == 450 + 50


@pytest.mark.parametrize("nodes,said,expected", [(1, "false", True), (1, "true", False), (1, None, False), (2, "false", False)])
def test_a_single_data_node_may_be_left_alone(nodes, said, expected):
    holders = {str(number): {"roles": ["data_hot"]} for number in range(nodes)}
    settings = {} if said is None else {"cluster.routing.allocation.disk.watermark.enable_for_single_data_node": said}
    assert space.unwatched({**holders, "m": {"roles": ["master"]}}, settings) is expected


# -- shards and differences -------------------------------------------------------------------------------------------


def shard(state, kind="p", index="a", why=None):
    return {
        "index": index,
        "shard": "0",
        "prirep": kind,
        "state": state,
        "unassigned.reason": why,
        "unassigned.details": None,
    }


def test_when_every_shard_has_started():
    assert landing.whole([shard("STARTED"), shard("UNASSIGNED", "r")], {"a"})
    assert landing.whole([shard("STARTED"), shard("STARTED", "r")], {"a"})
    assert not landing.whole([shard("STARTED"), shard("INITIALIZING", "r")], {"a"})
    assert not landing.whole([shard("STARTED")], {"a", "b"})
    assert not landing.whole([shard("UNASSIGNED", why="NEW_INDEX_RESTORED")], {"a"})
    assert (
        landing.failures(
            [shard("UNASSIGNED", why="NEW_INDEX_RESTORED"), shard("UNASSIGNED", "r", why="ALLOCATION_FAILED")]
        )
        == []
    )
    assert landing.failures([shard("UNASSIGNED", why="ALLOCATION_FAILED")]) == ["a[0]: ALLOCATION_FAILED"]


def test_a_shard_that_gets_no_node():
    assert landing.forlorn([shard("STARTED"), shard("INITIALIZING", index="b"), shard("UNASSIGNED", index="c")]) is None
    assert landing.forlorn([shard("STARTED"), shard("UNASSIGNED", "r")]) is None
    assert landing.forlorn([shard("STARTED"), shard("UNASSIGNED", index="c")])["index"] == "c"
    full = {"decider": "disk_threshold", "decision": "NO", "explanation": "too full"}
    done = {"decider": "restore_in_progress", "decision": "NO", "explanation": "failed"}
    fine = {"decider": "same_shard", "decision": "YES", "explanation": "fine"}
    answer = {"node_allocation_decisions": [{"deciders": [done, full, fine]}]}
    assert landing.reasons(answer) == (True, "too full")
    assert landing.reasons({"node_allocation_decisions": [{"deciders": [done]}]}) == (True, "failed")
    assert landing.reasons({"allocate_explanation": "wait"}) == (False, "wait")
    assert landing.reasons({}) == (False, "no reason given")


OBJECTS = {
    "mappings": {"a": "1"},
    "settings": {"a": "2"},
    "aliases": {"a": {}},
    "replicas": {"a": {}},
    "templates": {"x": "3"},
}


def test_comparison():
    expected = {"counts": {"a": 1}, "uncounted": [], "objects": OBJECTS}
    found = {"counts": {"a": 1}, "objects": dict(OBJECTS, templates={})}
    assert landing.judge(expected, found) == {
        "verdict": "verified",
        "depth": "counts",
        "counts": {"a": 1},
        "differences": [],
    }
    result = landing.judge(expected, {"counts": {"a": 2}, "objects": dict(OBJECTS, aliases={"a": {"x": {}}})})
    assert result["verdict"] == "differs" and [item["kind"] for item in result["differences"]] == ["counts", "aliases"]
    with pytest.raises(IntegrityError) as failed:
        landing.require_equal(result, "Look.")
    assert failed.value.reason == "restore_differs" and "(and 1 more)" in failed.value.message
    assert landing.judge(None, found)["verdict"] == "unverified"


def test_comparison_of_what_was_not_counted():
    expected = {"counts": {}, "uncounted": ["a"], "objects": OBJECTS}
    result = landing.judge(expected, {"counts": {"a": 5}, "objects": OBJECTS})
    assert (result["verdict"], result["depth"]) == ("unverified", "structure")
    assert landing.judge(expected, {"counts": {}, "objects": OBJECTS})["verdict"] == "differs"


def test_aliases_of_copies():
    by_index = {"kestra_logs-1": {"kestra_logs": {"is_write_index": True}}, "kestra_flows": {}}
    assert restore.alias_actions(by_index, "kdr-x-") == [
        {"add": {"index": "kdr-x-kestra_logs-1", "alias": "kdr-x-kestra_logs", "is_write_index": True}}
    ]


def test_another_snapshot():
    restore.require_same(GOOD, None)
    restore.require_same(GOOD, {"snapshot_uuid": "u1"})
    with pytest.raises(IntegrityError):
        restore.require_same(GOOD, {"snapshot_uuid": "u2"})


def test_marks_of_sets():
    mark = marks.whole("Point", 2)
    assert marks.is_whole("point", {"a": [mark], "b": [mark, "kdr-mark-x.kept.y"]})
    assert not marks.is_whole("point", {"a": [mark]}) and not marks.is_whole("point", {})
    assert not marks.is_whole("point", {"a": [mark], "b": []}) and not marks.is_whole(
        "other", {"a": [mark], "b": [mark]}
    )
    # No mark is taken for an alias of a copy.
    assert not mark.startswith(names.copies("point"))


def test_which_sets_a_swap_needs_yet():
    kept, swapped = (marks.stage("before", reached, "point") for reached in (marks.KEPT, marks.SWAPPED))
    assert marks.unfinished({}) == set() == marks.unfinished({"a": [marks.whole("before", 1), kept, swapped]})
    assert marks.unfinished({"a": [marks.whole("before", 1), kept], "b": []}) == {"before", "point"}
    assert marks.unfinished({"a": [swapped], "b": [marks.stage("x-1", marks.KEPT, "point")]}) == {"x-1", "point"}


def test_how_far_a_swap_is():
    chosen = swap.Options(copies="point", undo="Before")
    kept, swapped = (marks.stage("before", reached, "point") for reached in (marks.KEPT, marks.SWAPPED))
    assert swap.stage_of({}, chosen) is None and swap.stage_of({"a": []}, chosen) is None
    assert swap.stage_of({"a": [kept]}, chosen) == marks.KEPT
    assert swap.stage_of({"a": [kept, swapped]}, chosen) == marks.SWAPPED
    # Another swap that kept under the same name.
    assert swap.stage_of({"a": [marks.stage("before", marks.SWAPPED, "other")]}, chosen) is None


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_patience(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    waiting = patience.Patience(stall=10, lost=5)

    def gone():
        raise ConnectError("gone", reason="unreachable")

    def refused():
        raise ConnectError("refused", reason="login_refused")

    assert waiting.ask(gone) is None
    now[0] = 4.0
    assert waiting.ask(lambda: 1) == 1
    now[0] = 8.0
    assert waiting.ask(gone) is None
    with pytest.raises(ConnectError):
        waiting.ask(refused)
    now[0] = 9.5
    with pytest.raises(ConnectError):
        waiting.ask(gone)
    assert not waiting.stalled("a")
    now[0] = 19.0
    assert not waiting.stalled("a") and not waiting.stalled("b")
    now[0] = 29.5
    assert waiting.stalled("b")
