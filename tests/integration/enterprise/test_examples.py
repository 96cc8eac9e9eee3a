# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the Enterprise modules and their neighbours, run as a user runs them.

Each example of MODULES has a case here or a reason in NOT_RUN. That the options of all other examples are right is a unit test.
"""
from __future__ import annotations

import json
import shutil

import pytest
import yaml
from ansible_collections.kestra_community.dr.tests.integration.enterprise import conftest as enterprise_tests
from ansible_collections.kestra_community.dr.tests.integration.enterprise import test_in_a_cluster as cluster_tests
from ansible_collections.kestra_community.dr.tests.integration.enterprise import test_in_a_container as container_tests
from ansible_collections.kestra_community.dr.tests.integration.example_runs import Cases, Machine
from ansible_collections.kestra_community.dr.tests.integration.standin import conftest as standin_tests

box = container_tests.box
kubectl = cluster_tests.kubectl

MODULES = ("disk_space_info", "instance_lock", "kestra_config_bundle", "kestra_config_info", "kestra_config_restore", "kestra_info",
           "kestra_maintenance", "kestra_metadata_backup", "kestra_metadata_restore", "kestra_pending", "kestra_service", "report_write",
           "storage_inventory_info")
SYSTEMD = "needs systemd: the molecule scenarios hosts, mysql and enterprise stop and start a unit by these options"
NOT_RUN = {
    "How is Kestra, and could it be stopped?": SYSTEMD,
    "Stop it for a backup, for 15 minutes at most": SYSTEMD,
    "Start it again if it was running, and wait until it is healthy": SYSTEMD,
    "A start is not safe while the database is being swapped": SYSTEMD,
}
TOKEN = "token-of-the-examples"
ARCHIVE = "backup-20261126034500.kestra"
CASES = Cases(MODULES, NOT_RUN)
case = CASES.case


def machine(instance, directory):
    """A machine with an instance on it."""
    found = Machine(CASES, directory, ("/var/lib/kestra-dr", "/etc/kestra-dr", "/run/kestra-dr", "/opt/kestra", "/var/log", "/etc/kestra"), TOKEN)
    found.instance = instance
    found.places["/app/storage"] = str(instance.standin.storage)
    found.variables["vault_kestra_token"] = TOKEN
    return found


@pytest.fixture(scope="module")
def scene(postgres, tmp_path_factory):
    """With a flow and a unit file that the instance is started by."""
    directory = tmp_path_factory.mktemp("examples")
    one = enterprise_tests.Instance(postgres, tmp_path_factory.mktemp("instance"))
    try:
        document = yaml.safe_load(one.config.read_text(encoding="utf-8"))
        one.standin.start(configuration=document, environ=one.environment)
        one.standin.flow(enterprise_tests.FLOW.format(name="quick", namespace="company.team"))
        one.token(TOKEN)
        found = machine(one, directory)
        api, management = one.standin.ports["main"]
        document["micronaut"]["server"]["port"] = api
        document["endpoints"]["all"]["port"] = management
        config, more = found.here("/etc/kestra/application.yml"), found.here("/etc/kestra/production.yml")
        config.write_text(yaml.safe_dump(document), encoding="utf-8")
        more.write_text("kestra: {url: 'http://kestra.example.org'}\n", encoding="utf-8")
        password = standin_tests.PASSWORD.replace("%", "%%")
        environment = [f'Environment="{name}={value}"' for name, value in {
            **one.environment, "STANDIN_TEST_PASSWORD": password, "MICRONAUT_CONFIG_FILES": config}.items()]
        unit = directory / "kestra.service"
        unit.write_text("\n".join(["[Service]", f"ExecStart={enterprise_tests.EXECUTABLE} server standalone", *environment, ""]), encoding="utf-8")
        found.here("/etc/kestra/kestra.env").write_text("".join(f"{name}={value}\n" for name, value in {
            **one.environment, "MICRONAUT_CONFIG_FILES": one.config}.items()), encoding="utf-8")
        found.here("/etc/kestra-dr/archive.key").write_text(container_tests.OTHER_KEY + "\n", encoding="utf-8")
        found.places.update({("unit", "kestra"): str(unit), "https://kestra.example.org:8081": f"http://127.0.0.1:{management}",
                             "https://kestra.example.org": f"http://127.0.0.1:{api}"})
        yield found
    finally:
        one.close()


def in_maintenance(scene):
    return scene.instance.standin.get("configs")["inMaintenance"]


def switch(scene, step):
    assert scene.instance.standin.call("POST", f"/api/v1/instance/maintenance/{step}")[0] == 200


# -- are they all here ------------------------------------------------------------------------------------------------

def test_every_example_has_a_case_or_a_reason():
    CASES.require_all()


# -- asking -----------------------------------------------------------------------------------------------------------

INFO = ("Give what runs ten minutes to end", "Ask the Kestra on this host, with addresses and login from its own configuration",
        "Ask another one with an API token, and insist on an answer")


@case(*INFO)
def test_info(scene):
    waited, here, other = scene.play(*INFO)
    assert waited["idle"]["running"] == 0 and waited["idle"]["not_run"] is None
    assert here["uuid"] == other["uuid"] and here["edition"] == "EE" and here["counts"]["flows"] >= 1
    assert here["health"]["status"] == other["health"]["status"] == "UP"


CONFIG = ("Read the configuration of a systemd service, with everything its unit leads to", "Show where the data is",
          "Read two files and an environment file, without refusing anything")


@case(*CONFIG)
def test_config_info(scene):
    unit, shown, files = scene.play(*CONFIG)
    assert shown["msg"] == f"127.0.0.1, {scene.instance.standin.storage}"
    assert unit["configuration"]["database"]["name"] == scene.instance.standin.database
    assert files["configuration"]["database"]["name"] == scene.instance.standin.database


BUNDLE = ("Take everything the service kestra is started with", "Show which keys were captured", "See what would differ",
          "Put back what is missing on a new host", "Tell systemd")


@case(*BUNDLE)
def test_bundle(scene):
    scene.here("/etc/kestra/tls").mkdir(exist_ok=True)
    scene.here("/etc/kestra/tls/ca.pem").write_text("a certificate")
    scene.here("/var/lib/kestra-dr/staging").mkdir(exist_ok=True)
    taken, _shown, same, kept, told = scene.play(*BUNDLE)
    assert taken["captured"]["keys"] and not kept["changed"] and told["skipped"] and not same["changed"]
    scene.here("/etc/kestra/tls/ca.pem").unlink()
    differs, restored = scene.play(*BUNDLE[2:4])
    assert not differs["changed"] and restored["changed"]
    assert scene.here("/etc/kestra/tls/ca.pem").read_text() == "a certificate"


SPACE = "Is there room for the restored storage and the fetched dump?"
REPORT = "Keep the report of a backup"
LOCK = ("Take the lock of the instance", "Give it back")


@case(SPACE, REPORT, *LOCK)
def test_small_ones(scene):
    scene.play(SPACE)
    scene.play(REPORT)
    assert json.loads(scene.here("/var/lib/kestra-dr/vault/kestra/reports/20261123T001500Z-a1b2c3.json").read_text())["outcome"] == "ok"
    taken, back = scene.play(*LOCK)
    assert taken["changed"] and back["changed"]


STORAGE = ("List the storage at the moment the database is pinned", "List it after the copy, with digests, and mark what changed meanwhile",
           "Prove that a restored storage is what was backed up")


@case(*STORAGE)
def test_storage(scene):
    scene.play(*STORAGE[:2])
    point = scene.here("/var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3")
    point.mkdir(parents=True, exist_ok=True)
    shutil.copy(scene.here("/run/kestra-dr/storage.jsonl.gz"), point)
    restored = scene.instance.standin.storage.with_name("storage.restored")
    shutil.copytree(scene.instance.standin.storage, restored)
    (compared,) = scene.play(STORAGE[2])
    assert compared["comparison"]["verdict"] == "equal"
    shutil.rmtree(restored)


HELD = ("Hold what Kestra writes again, while it is stopped", "List everything else once Kestra runs again, before the copy",
        "After the copy, keep what it does not have as it was then")


@case(*HELD)
def test_what_is_held(scene):
    key = scene.instance.standin.storage / "main" / "company" / "team" / "_kv" / "held.ion"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("then")
    scene.play(*HELD[:2])
    key.write_text("now")
    (kept,) = scene.play(HELD[2])
    assert kept["drift"]["pinned"] >= 1 and kept["kept"]["entries"] == kept["drift"]["pinned"]
    key.unlink()


# -- maintenance mode -------------------------------------------------------------------------------------------------

MODE = ("Enter maintenance mode and wait until nothing runs any more", "Enter it for 15 minutes at most", "Leave it again")


@case(*MODE)
def test_maintenance(scene):
    (entered,) = scene.play(MODE[0])
    assert entered["changed"] and entered["maintenance"]["running"] == 0 and in_maintenance(scene)
    (left,) = scene.play(MODE[2])
    assert left["changed"] and not in_maintenance(scene)
    place = {"dead_man": {"state_dir": str(scene.here("/var/lib/kestra-dr"))}}
    (entered,) = scene.play(MODE[1], also=place)
    assert entered["record"]["run_id"] == "20261123T001500Z-a1b2c3" and in_maintenance(scene)
    scene.play(MODE[1], also={**place, "state": "left"})
    assert not in_maintenance(scene)


WITHOUT = "Kestra without systemd"


@case(WITHOUT)
def test_service(scene):
    program, runs = scene.here("/opt/kestra/ctl"), scene.here("/var/log/runs")
    program.write_text(f"#!/bin/sh\ncase $1 in start) touch '{runs}' ;; stop) rm -f '{runs}' ;; status) [ -e '{runs}' ] ;; esac\n")
    program.chmod(0o755)
    runs.touch()
    place = {"state_dir": str(scene.here("/var/lib/kestra-dr"))}
    (stopped,) = scene.play(WITHOUT, also=place)
    assert stopped["changed"] and not runs.exists()
    scene.play(WITHOUT, also={**place, "state": "started"})
    assert runs.exists()


# -- metadata ---------------------------------------------------------------------------------------------------------

WHOLE = "Take the whole instance, with the configuration, key and user of the service"
IN_STORAGE = "Restore an archive that is in Kestra's storage"
RENAMED = "Bring one tenant back under another name"


@pytest.fixture
def sales(scene):
    """A second tenant, which the stand-in's server does not serve."""
    with scene.instance.standin.server.admin(scene.instance.standin.database) as connection:
        connection.execute(enterprise_tests.SECOND_TENANT)
        yield
        connection.execute("DELETE FROM tenants WHERE key <> 'main'")


@case(WHOLE, IN_STORAGE, RENAMED)
def test_metadata_of_a_service(scene, sales, tmp_path):
    one = scene.instance
    scene.here("/var/lib/kestra-dr/staging").mkdir(exist_ok=True)
    (made,) = scene.play(WHOLE)
    assert made["component"]["key"] == "instance" and made["component"]["summary"]["FLOW"] == 2
    full, tenants = (one.standin.storage / "backups" / place for place in ("full", "tenants/sales"))
    shutil.copy(full / made["component"]["files"][0]["path"], full / ARCHIVE)
    one.rows("DELETE FROM flows WHERE tenant_id = 'main' RETURNING key")
    (restored,) = scene.play(IN_STORAGE)
    assert restored["restored"] == made["component"]["summary"] and len(one.rows("SELECT 1 FROM flows")) == 2

    tenant = one.backup(tmp_path / "sales", type="TENANT", tenant="sales", encryption_key=container_tests.OTHER_KEY)
    shutil.copy(tenants / tenant["component"]["files"][0]["path"], tenants / ARCHIVE)
    (renamed,) = scene.play(RENAMED)
    assert renamed["restored"] == tenant["component"]["summary"]
    assert one.rows("SELECT tenant_id FROM flows ORDER BY 1") == [("main",), ("sales",), ("sales-rehearsal",)]


CONTAINER = "Take one tenant out of a container, with a key of its own"
ONE_OFF = "Restore a copy, with everything the backup recorded, into an instance that is stopped"


@case(CONTAINER, ONE_OFF)
def test_metadata_of_a_container(box, tmp_path):
    one, name, image, _options = box
    inside = machine(one, tmp_path)
    inside.places.update({("container", "kestra"): name, ("image", "kestra-ee:v1.3.26"): image, ("server_version", "1.3.26"): one.version,
                          "--volumes-from=kestra": f"--volumes-from={name}", "--network=kestra_default": "--network=host"})
    inside.here("/etc/kestra-dr/archive.key").write_text(container_tests.OTHER_KEY + "\n")
    inside.here("/var/lib/kestra-dr/staging").mkdir()
    assert one.command("backups", "create", "FULL").returncode == 0, "it makes the tables"
    one.rows("INSERT INTO tenants (key, value) VALUES ('sales', %s) RETURNING key", '{"id": "sales", "deleted": false}')
    podman = {"cli": {"engine": "podman"}}
    (made,) = inside.play(CONTAINER, also=podman)
    assert made["component"]["summary"] == {"TENANT": 1} and made["component"]["key"] == "given"

    whole = one.backup(tmp_path / "whole", encrypt=False)
    (one.standin.storage / whole["component"]["uri"][len("kestra:///"):]).unlink()
    fetched = inside.here("/var/lib/kestra-dr/fetched")
    shutil.copytree(whole["dest"], fetched)
    inside.here("/etc/kestra/kestra.env").write_text("".join(f"{key}={value}\n" for key, value in {
        **one.environment, "MICRONAUT_CONFIG_FILES": one.config}.items()), encoding="utf-8")
    inside.variables["component"] = whole["component"]
    (restored,) = inside.play(ONE_OFF, also=podman)
    assert restored["put_back"] and restored["restored"] == whole["component"]["summary"]


POD = "Take it from Kubernetes, and keep three archives in Kestra's storage"
SCALED_DOWN = "Restore a copy into an instance in Kubernetes that is scaled to 0"


@case(POD, SCALED_DOWN)
def test_metadata_in_kubernetes(instance, kubectl, tmp_path):
    cluster = cluster_tests.Cluster(instance(), kubectl)
    one = cluster.instance
    inside = machine(one, tmp_path)
    inside.here("/var/lib/kestra-dr/staging").mkdir()
    here = {"cli": {"executable": cluster.cli["executable"]}}
    (made,) = inside.play(POD, also=here)
    fetched = inside.here("/var/lib/kestra-dr/fetched")
    shutil.move(made["dest"], fetched)
    (one.standin.storage / made["component"]["uri"][len("kestra:///"):]).unlink()
    inside.variables["component"] = made["component"]
    (restored,) = inside.play(SCALED_DOWN, also=here)
    assert restored["put_back"] and restored["restored"] == made["component"]["summary"]
    cluster.require_gone()


# -- executions under way ---------------------------------------------------------------------------------------------

PENDING = ("What would be killed", "Run again what was under way")
ASLEEP = "id: asleep\nnamespace: company.team\ntasks:\n  - id: sleep\n    type: io.kestra.plugin.core.flow.Sleep\n    duration: PT600S\n"


@case(*PENDING)
def test_pending(scene):
    standin = scene.instance.standin
    standin.flow(ASLEEP)
    name = standin.execute("company.team", "asleep", wait=False)["id"]
    standin_tests.until(lambda: standin.get(f"executions/{name}")["state"]["current"] == "RUNNING", 60)
    recorded = {"id": name, "namespace": "company.team", "flow": "asleep", "tenant": "main", "state": "RUNNING"}
    scene.variables["manifest"] = {"in_flight": {"executions": [recorded]}}
    planned, done = scene.play(*PENDING)
    assert planned["changed"] and planned["became"][0]["now"] == "RUNNING"
    again = done["became"][0]["new_id"]
    assert again != name and done["became"][0]["now"] == "KILLED" == standin.get(f"executions/{name}")["state"]["current"]
    standin_tests.until(lambda: standin.get(f"executions/{again}")["state"]["current"] == "RUNNING", 60)
