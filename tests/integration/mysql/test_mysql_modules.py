# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them: a process of their own, arguments on standard input, JSON on standard output."""

from __future__ import annotations

import json
import os
import time

import pytest
from mysql_harness import BIN, PASSWORD

from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import descendants
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import variants
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
                        "mysql": {
                            "url": f"jdbc:mysql://127.0.0.1:{server.port}/{database}?sslMode=REQUIRED",
                            "username": user,
                            "password": password,
                            "driverClassName": "com.mysql.cj.jdbc.Driver",
                        }
                    },
                    "kestra": {
                        "repository": {"type": "mysql"},
                        "queue": {"type": "mysql"},
                        "storage": {"type": "local", "local": {"basePath": str(tmp_path)}},
                    },
                }
            )
        )
        return {"files": [str(path)]}

    return write


@pytest.fixture
def admin(server):
    return {"login_unix_socket": server.socket, "login_user": "root"}


def test_from_kestras_configuration_to_a_verified_copy(server, kestra, module, configuration, admin, tmp_path):
    config = configuration(kestra)
    found = module("mysql_inventory_info", config=config, counts=True, objects=True, content=True)
    assert found["exists"] and found["user"] == "kestra@%" and found["privileges_missing"] == [] and not found["empty"]
    assert found["counts"][f"{kestra}.logs"] == 400 and found["time_zones"] and not found["can_create_database"]
    assert module("mysql_activity_info", config=config)["quiet"]
    dumped = module("mysql_dump", config=config, dest=str(tmp_path / "dump"), bin_dir=BIN)
    assert dumped["changed"] and dumped["component"]["counts"] == found["counts"] and dumped["tools"]["mysqldump"]
    options = {"source": dumped["dest"], "component": dumped["component"], "target": "kestra_dr_modules", **admin}
    restored = module("mysql_restore", **options)
    assert restored["verdict"] == "verified" and restored["changed"] and restored["counts"] == found["counts"]
    copy = module("mysql_inventory_info", database="kestra_dr_modules", content=True, **admin)
    assert list(copy["content"].values()) == list(found["content"].values())
    assert module("mysql_database", name="kestra_dr_modules", check_mode=True, **admin)["changed"]
    assert module("mysql_database", name="kestra_dr_modules", **admin)["changed"]
    assert not module("mysql_database", name="kestra_dr_modules", **admin)["changed"]


def test_check_mode_changes_nothing(server, kestra, module, configuration, admin, tmp_path):
    config = configuration(kestra)
    plan = module("mysql_dump", check_mode=True, config=config, dest=str(tmp_path / "dump"), bin_dir=BIN)
    assert plan["changed"] and plan["plan"]["database"] == kestra and plan["plan"]["estimated_bytes"] > 0
    assert os.listdir(tmp_path) == ["application.yml"]
    dumped = module("mysql_dump", config=config, dest=str(tmp_path / "dump"), bin_dir=BIN)
    databases = server.sql("SHOW DATABASES")
    options = {"source": dumped["dest"], "component": dumped["component"]}
    rehearsed = module("mysql_restore", check_mode=True, target="kestra_dr_check", **options, **admin)
    assert rehearsed["changed"] and rehearsed["counts"] == dumped["component"]["counts"]
    assert server.sql("SHOW DATABASES") == databases
    with pytest.raises(ModuleFailed) as failed:
        module("mysql_restore", check_mode=True, config=config, target=kestra, create=False, **options)
    assert failed.value.result["reason"] == "not_empty"


def test_a_database_that_does_not_exist(server, kestra, module, configuration, admin):
    found = module("mysql_inventory_info", database="nowhere", **admin)
    assert not found["exists"] and found["user"] == "root@localhost"
    assert kestra in [item["name"] for item in found["databases"]]
    activity = module("mysql_activity_info", database="nowhere", **admin)
    assert activity["quiet"] and not activity["exists"]


def test_names_that_are_not_ours_are_refused(kestra, module, configuration):
    with pytest.raises(ModuleFailed) as failed:
        module("mysql_database", config=configuration(kestra), name=kestra)
    assert failed.value.result["reason"] == "not_ours" and failed.value.result["hint"]


def test_a_difference_fails(server, kestra, module, configuration, admin, tmp_path):
    dumped = module("mysql_dump", config=configuration(kestra), dest=str(tmp_path / "dump"), bin_dir=BIN)
    dumped["component"]["counts"][f"{kestra}.flows"] = 99
    options = {"source": dumped["dest"], "component": dumped["component"], "target": "kestra_dr_differs", **admin}
    with pytest.raises(ModuleFailed) as failed:
        module("mysql_restore", **options)
    assert failed.value.result["reason"] == "restore_differs" and f"{kestra}.flows" in failed.value.result["msg"]
    assert module("mysql_restore", fail_on_difference=False, **options)["verdict"] == "differs"
    server.drop("kestra_dr_differs")


def test_a_dump_made_by_hand(server, small, module, admin, tmp_path):
    """The warnings of an import reach the user."""
    import subprocess

    with open(tmp_path / "kestra.sql", "wb") as handle:
        subprocess.run(
            [
                os.path.join(BIN or "/usr/bin", "mysqldump"),
                "--no-defaults",
                f"--socket={server.socket}",
                "--user=root",
                small,
            ],
            stdout=handle,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    result = module("mysql_restore", source=str(tmp_path / "kestra.sql"), target="kestra_dr_import", **admin)
    assert result["verdict"] == "verified" and result["audited"]
    assert "--routines" in str(result["warnings"])
    server.drop("kestra_dr_import")


def scan(secret, *texts):
    for form in variants(secret):
        for text in texts:
            assert form not in text, "a password was shown"


def seen_of_children(process):
    """Command lines and environments of everything below a process, sampled until it ends."""
    seen = set()
    while process.poll() is None:
        for pid in [process.pid, *descendants(process.pid)]:
            for kind in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{pid}/{kind}", "rb") as handle:
                        seen.add((kind, handle.read()))
                except OSError:
                    continue
        time.sleep(0.005)
    return seen


@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_no_password_in_arguments_environments_or_output(server, kestra, module, tmp_path, compress):
    login = {"login_host": "127.0.0.1", "login_port": server.port, "login_user": "kestra", "login_password": PASSWORD}
    server.sql("GRANT ALL ON kestra_dr_secret.* TO kestra@'%'")
    for name, options in (
        ("mysql_dump", {"database": kestra, "dest": str(tmp_path / "dump"), "compress": compress, "bin_dir": BIN}),
        ("mysql_restore", {"source": str(tmp_path / "dump"), "target": "kestra_dr_secret"}),
    ):
        process = module(name, background=True, job_dir=str(tmp_path / name), **login, **options)
        seen = seen_of_children(process)
        output = process.stdout.read() + process.stderr.read()
        assert process.returncode == 0, output
        if name == "mysql_dump":
            assert any(b"--single-transaction" in text for kind, text in seen), "no child was seen"
        scan(
            PASSWORD,
            output,
            *[text.decode("utf-8", "replace") for kind, text in seen],
            *[path.read_text() for path in (tmp_path / name).iterdir() if path.is_file()],
        )
    server.drop("kestra_dr_secret")


def test_job_states_and_progress(kestra, module, configuration, tmp_path):
    job = tmp_path / "job"
    module("mysql_dump", config=configuration(kestra), dest=str(tmp_path / "dump"), bin_dir=BIN, job_dir=str(job))
    state = json.loads((job / "state.json").read_text())
    assert set(state["phases"]) == {"preflight", "pinned", "dumped", "finished"}
    facts = state["phases"]["pinned"]["facts"]
    assert facts["server_time"].endswith("Z") and facts["tables"] == 11 and facts["locked_seconds"] > 0


def test_wrong_credentials_and_options(server, kestra, module, tmp_path):
    login = {"login_host": "127.0.0.1", "login_port": server.port, "login_user": "kestra", "database": kestra}
    for options, reason in (
        ({"login_password": "wrong-" + PASSWORD}, "login_refused"),
        ({}, "login_refused"),
        ({"login_password_file": str(tmp_path / "none")}, "password_file"),
    ):
        with pytest.raises(ModuleFailed) as failed:
            module("mysql_inventory_info", **dict(login, **options))
        assert failed.value.result["reason"] == reason and failed.value.result["msg"]


def test_a_weak_password_does_not_damage_the_facts(server, module, configuration, tmp_path):
    """The password is the name of a table and of the user."""
    server.sql("CREATE USER flows@'%' IDENTIFIED BY 'flows'")
    name = server.kestra({"flows": 1})
    server.sql(f"GRANT ALL ON `{name}`.* TO flows@'%'")
    server.sql("GRANT SHOW_ROUTINE ON *.* TO flows@'%'")
    dumped = module(
        "mysql_dump", config=configuration(name, "flows", "flows"), dest=str(tmp_path / "dump"), bin_dir=BIN
    )
    assert dumped["component"]["counts"][f"{name}.flows"] == 1
    server.drop(name)


def test_postgresqls_configuration_is_refused(module, tmp_path):
    path = tmp_path / "application.yml"
    path.write_text(
        "datasources: {postgres: {url: 'jdbc:postgresql://h/d', username: u, password: sesame}}\n"
        "kestra: {repository: {type: postgres}, queue: {type: postgres}}\n"
    )
    with pytest.raises(ModuleFailed) as failed:
        module("mysql_inventory_info", config={"files": [str(path)]})
    assert failed.value.result["reason"] == "unsupported_database"
