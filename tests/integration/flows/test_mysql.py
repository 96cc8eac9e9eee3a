# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows on MySQL: what differs from PostgreSQL, and the same stories told once more."""
from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.killed import FULL
from ansible_collections.kestra_community.dr.tests.integration.flows.test_faults import again, when
from ansible_collections.kestra_community.dr.tests.integration.flows.test_round_trip import tree
from ansible_collections.kestra_community.dr.tests.integration.processes import processes

# The server writes to its other tables by itself as soon as it runs.
STILL = ("kestra.flows", "kestra.metrics", "kestra.flyway_schema_history", "kestra.settings", "kestra.dashboards")


@pytest.fixture(scope="session")
def lab(mysql_lab):
    return mysql_lab


@pytest.fixture(scope="module")
def story(lab):
    """An offline recovery point of known content. Kestra stays stopped."""
    instance = lab.instance_id
    lab.ctl("kestra-server", "stop")
    rows, files = lab.contents(), tree(lab.lab / "storage")
    offline = lab.play("backup", "-vvv", kestra_dr_consistency="offline").ok()
    return {"instance": instance, "rows": rows, "files": files, "point": offline.report["recovery_point"]}


def test_a_wrong_client_is_refused_before_anything_stops(lab, tmp_path):
    program = tmp_path / "mysqldump"
    program.write_text("#!/bin/sh\necho 'mysqldump from 11.8.3-MariaDB, client 10.19 for debian-linux-gnu (x86_64)'\n")
    program.chmod(0o755)
    lab.play("backup", kestra_dr_database_bin_dir=str(tmp_path)).failed("MariaDB")
    assert lab.healthy() and not lab.points() and not lab.unsealed()


@pytest.mark.full("a dump of MySQL restored by hand (here one of PostgreSQL)")
def test_it_restores_by_hand(lab, story, tmp_path):
    """restic and mysql alone, as docs/restore.md has it."""
    component = lab.manifest(story["point"])["components"]["database"]
    restic = ["restic", "--repo", lab.repository, "--password-file", lab.lab / "restic-password", "--no-cache"]
    subprocess.run([*restic, "restore", component["snapshot"], "--target", tmp_path], check=True, capture_output=True)
    options = tmp_path / "client.cnf"
    options.write_text('[client]\nuser=root\nhost=127.0.0.1\nport={}\npassword="{}"\n'.format(
        lab.database_port, lab.admin_password.replace("\\", "\\\\").replace('"', '\\"')))
    identity = component["identity"]
    lab.sql(f"create database by_hand character set {identity['character_set']} collate {identity['collation']}", "mysql")
    try:
        with open(tmp_path / component["path"].lstrip("/") / "database.sql", "rb") as dump:
            done = subprocess.run([shutil.which("mysql", path=lab.variables["kestra_dr_database_bin_dir"]),
                                   f"--defaults-file={options}", "by_hand"],
                                  stdin=dump, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert {table.partition(".")[2]: rows for table, rows in lab.contents("by_hand").items()} == {
            table.partition(".")[2]: rows for table, rows in story["rows"].items()}
    finally:
        lab.sql("drop database by_hand", "mysql")


def test_everything_lost_comes_back_exactly(lab, story):
    """Into an empty database that somebody else has made, as Kestra's own account, without a vault directory."""
    manifest = lab.manifest(story["point"])
    wanted = {"kestra_dr_recovery_point": story["point"], "kestra_dr_restore_mode": "into",
              "kestra_dr_confirm": manifest["instance"]["id"]}
    identity = manifest["components"]["database"]["identity"]
    lab.write_inventory(known={name: value for name, value in lab.variables.items() if "_admin_" not in name})
    try:
        lab.play("restore", **wanted).failed("needs the database kestra to exist and to be empty", "Nothing was touched")
        assert lab.contents() == story["rows"] and tree(lab.lab / "storage") == story["files"]
        lab.sql("drop database kestra", "mysql")
        lab.sql(f"create database kestra character set {identity['character_set']} collate {identity['collation']}", "mysql")
        shutil.rmtree(lab.lab / "storage")
        shutil.rmtree(lab.vault / "kestra" / "points")
        done = lab.play("restore", "-vvv", **wanted).ok()
    finally:
        lab.write_inventory()
    assert done.report["verdict"].startswith("verified (counts)")
    assert lab.wait_healthy()
    lab.ctl("kestra-server", "stop")
    restored = tree(lab.lab / "storage")
    assert {name: value for name, value in restored.items() if name in story["files"]} == story["files"]
    rows = lab.contents()
    assert {table: rows[table] for table in STILL} == {table: story["rows"][table] for table in STILL}
    lab.ctl("kestra-server", "start")
    assert lab.wait_healthy()
    assert lab.instance_id == story["instance"]


def test_pinned_runs_beside_kestra_and_verifies(lab):
    run = lab.play("backup", "-vvv", kestra_dr_dump_compress="zstd").ok()
    assert lab.healthy()
    assert run.report["outcome"] == "ok" and "Kestra is as it was found" in run.report["kestra_line"]
    verified = lab.play("verify", "-vvv", kestra_dr_recovery_point="latest").ok()
    assert verified.report["verdict"] == "verified (counts)"
    assert run.report["recovery_point"] in lab.play("list").ok().output


@pytest.mark.full("a restore over a living MySQL and its undo as playbooks (here its modules, and that of PostgreSQL)")
def test_restore_over_a_live_instance_and_undo(lab):
    lab.api("/api/v1/flows", b"id: after\nnamespace: company.team\ntasks:\n  - id: log\n    type: io.kestra.plugin.core.log.Log\n"
            b"    message: made after the recovery point\n", "POST")
    before = lab.identity()
    lab.play("restore", "-vvv", kestra_dr_recovery_point=lab.points()[-1], kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() != before
    assert lab.sql("select count(*) from flows where id = 'after'") == [(0,)]
    lab.play("undo", "-vvv", kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and lab.identity() == before
    assert lab.sql("select count(*) from flows where id = 'after'") == [(1,)]


def dumping():
    """Whether a mysqldump is at work. (Unpacked programs are started by a loader.)"""
    return any(b"--single-transaction" in process.arguments and any(word.endswith(b"/mysqldump") for word in process.arguments)
               for process in processes().values())


@pytest.fixture
def bulk(lab):
    """A table whose dump takes a while."""
    lab.sql("create table bulk (id int auto_increment primary key, text longtext)")
    lab.sql("insert into bulk (text) values (repeat('words ', 3000))")
    for _doubling in range(12):
        lab.sql("insert into bulk (text) select text from bulk")
    yield
    lab.sql("drop table bulk")


def test_mysql_killed_during_the_dump(lab, bulk):
    before, rows = lab.points(), lab.sql("select count(*) from flows")
    with when(dumping, lambda: again(lab)):
        run = lab.play("backup").failed()
    assert run.report["outcome"] == "failed" and run.report["headline"] == "no recovery point was made"
    assert "as it was found" in run.report["kestra_line"]
    assert lab.wait_healthy(120) and not lab.unsealed()
    assert lab.points() == before and lab.sql("select count(*) from flows") == rows


def test_no_secret_was_shown(lab):
    wanted = {("backup", True, 0), ("verify", True, 0), ("restore", True, 0)} | ({("undo", True, 0)} if FULL else set())
    assert wanted <= lab.played
    assert lab.watch.tree(lab.directory, but=[lab.lab, lab.repository, lab.collections]) > 20
    assert not list((lab.directory / "run").glob("*/*")), "configuration with secrets was left in the runtime directory"
    assert lab.watch.samples > 100 and lab.watch.arguments > 100
    assert lab.watch.seen == []
