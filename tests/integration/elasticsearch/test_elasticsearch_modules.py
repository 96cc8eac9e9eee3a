# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them, on a cluster with users and TLS."""

from __future__ import annotations

import json
import time

import pytest
from elasticsearch_harness import PASSWORD, Cluster, free_port

from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import variants
from ansible_collections.kestra_community.dr.tests.integration.module_runs import ModuleFailed

# OpenSearch's users and TLS are not published.
RUN_ON = ("8", "9")


@pytest.fixture(scope="module")
def shared(base, server, certificate):
    """Overrides the plain one: with users and TLS."""
    found = Cluster(base, server, secured=True, tls=certificate).start()
    found.ask("PUT", "/_security/user/kestra", {"password": PASSWORD, "roles": ["superuser"]})
    yield found
    found.destroy()


@pytest.fixture
def configuration(tmp_path, shared):
    """Kestra's configuration for the cluster, as Kestra itself would read it."""

    def write(password=PASSWORD, **client):
        path = tmp_path / "application.yml"
        settings = {
            "httpHosts": ",".join(shared.hosts()),
            "basicAuth": {"username": "kestra", "password": password},
            **client,
        }
        path.write_text(
            json.dumps(
                {
                    "kestra": {
                        "repository": {"type": "elasticsearch"},
                        "queue": {"type": "kafka"},
                        "elasticsearch": {"client": settings},
                    }
                }
            )
        )
        return {"files": [str(path)]}

    return write


@pytest.fixture
def ca(shared):
    return str(shared.tls[0])


def test_from_kestras_configuration_to_a_swapped_copy(cluster, module, configuration, ca, tmp_path):
    counts = cluster.kestra()
    how = {"config": configuration(), "ca_path": ca}
    place = {"name": "backup", "location": str(cluster.repositories / "backup")}
    planned = module("elasticsearch_repository", check_mode=True, **place, **how)
    assert planned["changed"] and planned["diff"]["before"] == {} and cluster.ask("GET", "/_snapshot") == {}
    made = module("elasticsearch_repository", **place, **how)
    assert made["changed"] and made["nodes"] == ["node1"]
    assert not module("elasticsearch_repository", **place, **how)["changed"]
    changed = module("elasticsearch_repository", settings={"compress": False}, **place, **how)
    assert changed["changed"] and changed["diff"]["after"]["settings"]["compress"] == "false"
    assert changed["diff"]["before"]["settings"] == {"location": place["location"]}

    found = module("elasticsearch_inventory_info", counts=True, objects=True, **how)
    assert (
        found["counts"] == counts and found["identity"]["product"] == "elasticsearch" and found["size_bytes"] > 0
    )

    named = {"repository": "backup", "snapshot": "point"}
    plan = module("elasticsearch_snapshot", check_mode=True, **named, **how)
    assert plan["changed"] and plan["plan"]["indices"] == sorted(counts)
    assert cluster.ask("GET", "/_snapshot/backup/_all")["snapshots"] == []
    taken = module("elasticsearch_snapshot", job_dir=str(tmp_path / "job"), **named, **how)
    assert taken["changed"] and taken["component"]["counts"] == counts and taken["component"]["repository"]["uuid"]
    state = json.loads((tmp_path / "job" / "state.json").read_text())
    assert set(state["phases"]) == {"preflight", "started", "pinned", "taken", "finished"}
    again = module("elasticsearch_snapshot", job_dir=str(tmp_path / "job"), **named, **how)
    assert again["reattached"] and not again["changed"] and again["component"] == taken["component"]
    listed = module("elasticsearch_snapshot_info", repository="backup", **how)
    assert [(item["name"], item["usable"], item["ours"]) for item in listed["snapshots"]] == [("point", True, True)]

    cluster.ask("DELETE", "/kestra_flows")
    options = {"copies": "point", "component": taken["component"], **how}
    rehearsed = module("elasticsearch_restore", check_mode=True, **named, **options)
    assert rehearsed["indices"][0] == "kdr-point-kestra_executions" and cluster.names("kdr-") == []
    restored = module("elasticsearch_restore", **named, **options)
    assert restored["changed"] and restored["verdict"] == "verified" and restored["counts"] == counts
    copies = module("elasticsearch_inventory_info", copies="point", counts=True, objects=True, **how)
    assert copies["counts"] == counts and copies["objects"]["aliases"] == found["objects"]["aliases"]
    planned = module("elasticsearch_restore", check_mode=True, mode="swap", undo="before", **options)
    assert planned["changed"] and len(planned["deleted"]) == 3
    swapped = module("elasticsearch_restore", mode="swap", undo="before", **options)
    assert swapped["changed"] and swapped["counts"] == counts and len(swapped["kept"]) == 3
    assert not module("elasticsearch_restore", mode="swap", undo="before", **options)["changed"]

    kept = cluster.names("kdr-before-")
    gone = {"mode": "absent", "copies": "before", **how}
    for confirm in ("befor", "*"):
        with pytest.raises(ModuleFailed) as failed:
            module("elasticsearch_restore", confirm=confirm, **gone)
        assert failed.value.result["reason"] == "not_confirmed" and failed.value.result["detail"]["indices"] == kept
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_restore", **{**gone, "copies": "*", "confirm": "*"})
    assert failed.value.result["reason"] == "bad_name" and cluster.names("kdr-before-") == kept
    planned = module("elasticsearch_restore", check_mode=True, confirm="before", **gone)
    assert planned["changed"] and planned["deleted"] == kept == cluster.names("kdr-before-") and len(kept) == 3
    removed = module("elasticsearch_restore", confirm="before", **gone)
    assert removed["changed"] and removed["deleted"] == kept and cluster.names("kdr-") == []
    assert module("elasticsearch_inventory_info", counts=True, **how)["counts"] == counts
    assert not module("elasticsearch_restore", confirm="before", **gone)["changed"]

    assert module("elasticsearch_snapshot", check_mode=True, state="absent", **named, **how)["changed"]
    assert module("elasticsearch_snapshot", state="absent", **named, **how)["changed"]
    assert not module("elasticsearch_snapshot", state="absent", **named, **how)["changed"]
    assert module("elasticsearch_repository", state="absent", name="backup", **how)["changed"]
    assert not module("elasticsearch_repository", state="absent", name="backup", **how)["changed"]


def test_who_may_not(cluster, module, configuration, ca, tmp_path):
    options = cluster.options()
    for given, reason in (
        ({"login_password": "wrong-" + PASSWORD}, "login_refused"),
        ({"login_password": None}, "login_refused"),
        ({"login_user": None, "login_password": None}, "login_refused"),
        ({"login_user": None, "login_password": None, "login_api_key": "bm90OmtleQ=="}, "login_refused"),
        ({"login_password": None, "login_password_file": str(tmp_path / "none")}, "password_file"),
        ({"ca_path": None}, "tls"),
        ({"ca_path": str(tmp_path / "none")}, "ca_missing"),
        ({"login_hosts": [f"https://localhost:{free_port()}"]}, "unreachable"),
        ({"login_hosts": [cluster.hosts()[0].replace("https", "http")]}, "unreachable"),
    ):
        with pytest.raises(ModuleFailed) as failed:
            chosen = {name: value for name, value in {**options, **given}.items() if value is not None}
            module("elasticsearch_inventory_info", **chosen)
        assert failed.value.result["reason"] == reason, failed.value.result
        assert "localhost" in failed.value.result["msg"] or reason in ("login_refused", "password_file", "ca_missing")
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_inventory_info", config=configuration(trustAllSsl=True))
    assert failed.value.result["reason"] == "tls" and "trust-all-ssl" in failed.value.result["msg"]
    del options["ca_path"]
    assert module("elasticsearch_inventory_info", validate_certs=False, **options)["identity"]


def test_an_api_key_with_just_what_a_snapshot_needs(cluster, module, ca):
    cluster.kestra()
    cluster.repository()
    index = {"names": ["kestra_*"], "privileges": ["read", "view_index_metadata", "monitor", "maintenance"]}
    role = {"cluster": ["monitor", "create_snapshot"], "indices": [index]}
    key = cluster.ask("POST", "/_security/api_key", {"name": "backup", "role_descriptors": {"backup": role}})["encoded"]
    how = {"login_hosts": cluster.hosts(), "login_api_key": key, "ca_path": ca}
    named = {"repository": "backup", "snapshot": "point"}
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_restore", mode="in_place", delete_existing=True, **named, **how)
    assert key not in json.dumps(failed.value.result)
    try:
        taken = module("elasticsearch_snapshot", **named, **how)
    except ModuleFailed as exc:
        raise AssertionError(exc.result) from None
    assert taken["component"]["counts"]["kestra_flows"] == 12
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_restore", mode="in_place", delete_existing=True, **named, **how)
    assert failed.value.result["reason"] == "privileges_missing" and "login" not in failed.value.result["reason"]
    assert len(cluster.names("kestra_")) == 4


def test_a_host_that_is_down_is_passed_over(cluster, module):
    cluster.kestra()
    cluster.repository()
    hosts = [f"https://localhost:{free_port()}", *cluster.hosts(), f"https://localhost:{free_port()}"]
    taken = module(
        "elasticsearch_snapshot", repository="backup", snapshot="point", **cluster.options(login_hosts=hosts)
    )
    assert taken["changed"]


def test_a_repository_stays_where_it_is(cluster, module):
    how = cluster.options()
    module("elasticsearch_repository", name="backup", location=str(cluster.repositories / "one"), **how)
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_repository", name="backup", location=str(cluster.repositories / "two"), **how)
    assert failed.value.result["reason"] == "repository_differs"
    # One that cannot be verified is not left registered.
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_repository", name="outside", location="/elsewhere", **how)
    assert failed.value.result["reason"] == "repository_failed" and list(cluster.ask("GET", "/_snapshot")) == ["backup"]
    read = module(
        "elasticsearch_repository", name="reader", location=str(cluster.repositories / "one"), readonly=True, **how
    )
    assert read["repository"]["settings"]["readonly"] == "true" and read["nodes"] == ["node1"]


def test_a_module_that_is_killed_is_followed_by_another(cluster, module, tmp_path):
    cluster.kestra({"flows": 10, "logs-1": 2500})
    cluster.repository(max_snapshot_bytes_per_sec="1mb")
    named = {"repository": "backup", "snapshot": "point", "job_dir": str(tmp_path / "job"), **cluster.options()}
    process = module("elasticsearch_snapshot", background=True, **named)
    until = time.monotonic() + 120
    while (
        not (tmp_path / "job" / "state.json").exists() or "pinned" not in (tmp_path / "job" / "state.json").read_text()
    ):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    progress = json.loads((tmp_path / "job" / "progress.json").read_text())
    assert progress["phase"] in ("started", "pinned")
    process.kill()
    process.wait()
    # The cluster goes on by itself; its snapshot is never taken for one of a recovery point.
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_snapshot", **named)
    assert failed.value.result["reason"] in ("snapshot_running", "snapshot_exists")
    module("elasticsearch_snapshot", repository="backup", snapshot="point", state="absent", **cluster.options())
    assert module("elasticsearch_snapshot", **named)["changed"]


def test_somebody_elses_snapshot_is_not_deleted(cluster, module):
    cluster.kestra()
    cluster.repository()
    cluster.ask("PUT", "/_snapshot/backup/theirs", {"indices": "kestra_*"}, wait_for_completion="true")
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_snapshot", repository="backup", snapshot="theirs", state="absent", **cluster.options())
    assert failed.value.result["reason"] == "not_ours"


def test_no_password_in_arguments_output_or_files(cluster, module, tmp_path):
    cluster.kestra()
    cluster.repository()
    process = module(
        "elasticsearch_snapshot",
        background=True,
        repository="backup",
        snapshot="point",
        job_dir=str(tmp_path / "job"),
        **cluster.options(),
    )
    with open(f"/proc/{process.pid}/cmdline", encoding="utf-8", errors="replace") as handle:
        argv = handle.read()
    output = process.stdout.read() + process.stderr.read()
    assert process.wait() == 0, output
    texts = [argv, output, *[path.read_text() for path in (tmp_path / "job").iterdir() if path.is_file()]]
    for form in variants(PASSWORD):
        assert not any(form in text for text in texts)


def test_other_repositories_configuration_is_refused(module, tmp_path):
    path = tmp_path / "application.yml"
    path.write_text(
        "datasources: {postgres: {url: 'jdbc:postgresql://h/d', username: u, password: sesame}}\n"
        "kestra: {repository: {type: postgres}, queue: {type: postgres}}\n"
    )
    with pytest.raises(ModuleFailed) as failed:
        module("elasticsearch_inventory_info", config={"files": [str(path)]})
    assert failed.value.result["reason"] == "unsupported_database"
