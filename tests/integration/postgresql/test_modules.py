# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them: a process of their own, arguments on standard input, JSON on standard output."""

from __future__ import annotations

import json
import os
import time

import pytest
from postgresql_harness import PASSWORD

from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import variants
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import connect
from ansible_collections.kestra_community.dr.tests.integration.module_runs import ModuleFailed


@pytest.fixture
def configuration(tmp_path, server):
    """Kestra's configuration for a database, as Kestra itself would read it."""

    def write(database, user="kestra", password=PASSWORD):
        path = tmp_path / "application.yml"
        path.write_text(
            json.dumps(
                {  # JSON is YAML
                    "datasources": {
                        "postgres": {
                            "url": f"jdbc:postgresql://127.0.0.1:{server.port}/{database}",
                            "username": user,
                            "password": password,
                            "driverClassName": "org.postgresql.Driver",
                        }
                    },
                    "kestra": {
                        "repository": {"type": "postgres"},
                        "queue": {"type": "postgres"},
                        "storage": {"type": "local", "local": {"basePath": str(tmp_path)}},
                    },
                }
            )
        )
        return {"files": [str(path)]}

    return write


@pytest.fixture
def owned(server, kestra):
    """A small database all of which is Kestra's own."""
    server.sql(f'ALTER DATABASE "{kestra}" OWNER TO kestra')
    return kestra


def test_from_kestras_configuration_to_a_verified_copy(server, owned, module, configuration, tmp_path):
    config = configuration(owned)
    found = module("postgresql_inventory_info", config=config, counts=True, objects=True, timezones=True, content=True)
    assert found["exists"] and found["user"] == "kestra" and found["privileges_missing"] == [] and not found["empty"]
    assert found["counts"]["public.logs"] == 400 and found["timezone"] == "UTC" and not found["can_create_database"]
    assert module("postgresql_activity_info", config=config)["quiet"]
    dumped = module("postgresql_dump", config=config, dest=str(tmp_path / "dump"), free_ratio=0)
    assert dumped["changed"] and dumped["component"]["counts"] == found["counts"] and dumped["tools"]["pg_dump"]
    admin = {"login_unix_socket": str(server.sockets), "login_port": server.port, "login_user": "admin"}
    restored = module(
        "postgresql_restore",
        source=dumped["dest"],
        component=dumped["component"],
        target="kestra_dr_modules",
        owner="kestra",
        **admin,
    )
    assert restored["verdict"] == "verified" and restored["changed"] and restored["counts"] == found["counts"]
    copy = module("postgresql_inventory_info", config=dict(config), database="kestra_dr_modules", content=True)
    assert copy["content"] == found["content"]
    assert module("postgresql_database", name="kestra_dr_modules", check_mode=True, **admin)["changed"]
    assert module("postgresql_database", name="kestra_dr_modules", **admin)["changed"]
    assert not module("postgresql_database", name="kestra_dr_modules", **admin)["changed"]


def test_check_mode_changes_nothing(server, owned, module, configuration, tmp_path):
    config = configuration(owned)
    plan = module("postgresql_dump", check_mode=True, config=config, dest=str(tmp_path / "dump"), free_ratio=0)
    assert plan["changed"] and plan["plan"]["database"] == owned and plan["plan"]["estimated_bytes"] > 0
    assert os.listdir(tmp_path) == ["application.yml"]
    dumped = module("postgresql_dump", config=config, dest=str(tmp_path / "dump"), free_ratio=0)
    databases = server.sql("SELECT datname FROM pg_database ORDER BY 1")
    rehearsed = module(
        "postgresql_restore",
        check_mode=True,
        config=config,
        source=dumped["dest"],
        target="kestra_dr_check",
        component=dumped["component"],
        login_unix_socket=str(server.sockets),
        login_port=server.port,
        login_user="admin",
    )
    assert rehearsed["changed"] and rehearsed["counts"] == dumped["component"]["counts"]
    assert server.sql("SELECT datname FROM pg_database ORDER BY 1") == databases
    with pytest.raises(ModuleFailed) as failed:
        module("postgresql_restore", check_mode=True, config=config, source=dumped["dest"], target=owned, create=False)
    assert failed.value.result["reason"] == "not_empty"


def test_a_database_that_does_not_exist(server, owned, module, configuration):
    config = configuration("nowhere")
    found = module("postgresql_inventory_info", config=config)
    assert not found["exists"] and found["user"] == "kestra" and owned in [item["name"] for item in found["databases"]]
    activity = module("postgresql_activity_info", config=config)
    assert activity["quiet"] and not activity["exists"]


def test_names_that_are_not_ours_are_refused(server, owned, module, configuration):
    with pytest.raises(ModuleFailed) as failed:
        module("postgresql_database", config=configuration(owned), name=owned)
    assert failed.value.result["reason"] == "not_ours" and failed.value.result["hint"]


def test_a_difference_fails(server, owned, module, configuration, tmp_path):
    dumped = module("postgresql_dump", config=configuration(owned), dest=str(tmp_path / "dump"), free_ratio=0)
    dumped["component"]["counts"]["public.flows"] = 99
    options = {
        "login_unix_socket": str(server.sockets),
        "login_port": server.port,
        "login_user": "admin",
        "source": dumped["dest"],
        "component": dumped["component"],
        "target": "kestra_dr_differs",
    }
    with pytest.raises(ModuleFailed) as failed:
        module("postgresql_restore", **options)
    assert failed.value.result["reason"] == "restore_differs" and "public.flows" in failed.value.result["msg"]
    assert module("postgresql_restore", fail_on_difference=False, **options)["verdict"] == "differs"
    server.drop("kestra_dr_differs")


def test_a_weak_password_does_not_damage_the_facts(server, module, configuration, tmp_path):
    """The password is the name of the database, of the user and of half of the tables' schema."""
    server.sql("CREATE ROLE weak LOGIN PASSWORD 'public'")
    name = server.kestra({"flows": 1}, owner="weak")
    dumped = module(
        "postgresql_dump", config=configuration(name, "weak", "public"), dest=str(tmp_path / "dump"), free_ratio=0
    )
    assert dumped["component"]["counts"]["public.flows"] == 1
    server.drop(name)


def test_job_states_and_progress(server, owned, module, configuration, tmp_path):
    job = tmp_path / "job"
    module("postgresql_dump", config=configuration(owned), dest=str(tmp_path / "dump"), free_ratio=0, job_dir=str(job))
    state = json.loads((job / "state.json").read_text())
    assert list(state["phases"]) == ["preflight", "pinned", "dumped", "finished"] or set(state["phases"]) == {
        "preflight",
        "pinned",
        "dumped",
        "finished",
    }
    facts = state["phases"]["pinned"]["facts"]
    assert facts["snapshot"] and facts["server_time"].endswith("Z") and facts["tables"] > 15
    assert (
        state["result"]["component"]["bytes"] > 0
        and json.loads((job / "progress.json").read_text())["phase"] == "finished"
    )
    scan(PASSWORD, *[path.read_text() for path in job.iterdir()])


def scan(secret, *texts):
    for form in variants(secret):
        for text in texts:
            assert form not in text, "a password was shown"


def seen_of_children(process):
    """Command lines and environments of everything below a process, sampled until it ends."""
    seen = set()
    while process.poll() is None:
        for pid in connected_pids(process.pid):
            for kind in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{pid}/{kind}", "rb") as handle:
                        seen.add((kind, handle.read()))
                except OSError:
                    continue
        time.sleep(0.005)
    return seen


def connected_pids(root):
    from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import descendants

    return [root, *descendants(root)]


@pytest.mark.parametrize("form", ["directory", "plain"])
def test_no_password_in_arguments_environments_or_output(server, owned, module, tmp_path, form):
    login = {"login_host": "127.0.0.1", "login_port": server.port, "login_user": "kestra", "login_password": PASSWORD}
    empty = server.database("kestra")
    for name, options in (
        ("postgresql_dump", {"database": owned, "dest": str(tmp_path / "dump"), "format": form, "free_ratio": 0}),
        ("postgresql_restore", {"source": str(tmp_path / "dump"), "target": empty, "create": False}),
    ):
        process = module(name, background=True, job_dir=str(tmp_path / name), **login, **options)
        seen = seen_of_children(process)
        output = process.stdout.read() + process.stderr.read()
        assert process.returncode == 0, output
        programs = {os.path.basename(text.split(b"\0")[0]) for kind, text in seen if kind == "cmdline"}
        assert programs & {b"pg_dump", b"pg_restore", b"psql"}, "no child was seen"
        scan(
            PASSWORD,
            output,
            *[text.decode("utf-8", "replace") for kind, text in seen],
            *[path.read_text() for path in (tmp_path / name).iterdir()],
        )
    server.drop(empty)


def test_wrong_credentials_and_options(server, owned, module, tmp_path):
    login = {"login_host": "127.0.0.1", "login_port": server.port, "login_user": "kestra", "database": owned}
    for options, reason in (
        ({"login_password": "wrong-" + PASSWORD}, "login_refused"),
        ({}, "login_refused"),
        ({"login_password_file": str(tmp_path / "none")}, "password_file"),
    ):
        with pytest.raises(ModuleFailed) as failed:
            module("postgresql_inventory_info", **dict(login, **options))
        assert failed.value.result["reason"] == reason and failed.value.result["msg"]
    with pytest.raises(ModuleFailed) as failed:
        module("postgresql_inventory_info", login_host="127.0.0.1", login_unix_socket="/tmp")
    assert "mutually exclusive" in failed.value.result["msg"]


def test_the_manifest_file_serves_as_well(server, owned, module, configuration, tmp_path):
    dumped = module("postgresql_dump", config=configuration(owned), dest=str(tmp_path / "dump"), free_ratio=0)
    manifest = {
        "schema": 1,
        "id": "20261123T001500Z-a1b2c3",
        "created": "2026-11-23T00:15:00Z",
        "sealed": "2026-11-23T00:16:00Z",
        "collection": "1.0.0",
        "instance": {"name": "kestra", "id": "kestra", "uuid": None, "hosts": []},
        "kestra": {"version": None, "edition": None, "facts": "not_run"},
        "tools": {},
        "consistency": {"mode": "offline"},
        "self_contained": True,
        "components": {"database": dict(dumped["component"], snapshot="abc", path="/database")},
        "in_flight": {"total": 0, "executions": []},
        "timings": {},
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    options = {
        "login_unix_socket": str(server.sockets),
        "login_port": server.port,
        "login_user": "admin",
        "source": dumped["dest"],
        "target": "kestra_dr_manifest",
        "manifest": str(path),
    }
    assert module("postgresql_restore", **options)["verdict"] == "verified"
    server.drop("kestra_dr_manifest")
    manifest["components"]["database"]["bytes"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModuleFailed) as failed:
        module("postgresql_restore", **options)
    assert failed.value.result["reason"] == "manifest_invalid"


def test_connections_are_gone_afterwards(server, owned, module, configuration):
    module("postgresql_inventory_info", config=configuration(owned), counts=True)
    with connect.connect(server.admin()) as connection:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            left = connection.execute(
                "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = %s", (owned,)
            ).fetchone()[0]
            if not left:
                break
            time.sleep(0.1)
        assert left == 0
