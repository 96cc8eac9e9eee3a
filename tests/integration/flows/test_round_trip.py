# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was there comes back: backup, loss, restore, undo, on real PostgreSQL and real restic, and no secret on the way."""
from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.secret_watch import Watch

# Names as no list of lines, no shell word and no UTF-8 decoder takes them; an empty directory and an empty file.
ODD = (b"main/odd names/a blank.ion", b"main/odd names/two\nlines.ion", b"main/odd names/not utf8 \xff\xfe.ion",
       b"main/odd names/-dash 'quote\" $HOME `x` \\.ion", "main/odd names/naïve € 名.ion".encode(), b"main/odd names/empty")
# The server writes to its other tables by itself as soon as it runs.
STILL = ("public.flows", "public.metrics", "public.flyway_schema_history", "public.settings", "public.dashboards")


def tree(root):
    """{name: (mode, owner, content)} of everything below root, names as bytes."""
    found = {}
    for directory, names, files in os.walk(os.fsencode(root)):
        for path in (os.path.join(directory, name) for name in names + files):
            about = os.lstat(path)
            content = None
            if os.path.isfile(path):
                with open(path, "rb") as handle:
                    content = handle.read()
            found[os.path.relpath(path, os.fsencode(root))] = (about.st_mode, about.st_uid, content)
    return found


@pytest.fixture(scope="module")
def story(lab):
    """An offline recovery point of known content, as the documented tar, with odd file names in the storage."""
    instance = lab.instance_id
    lab.ctl("kestra-server", "stop")
    # From here on nothing writes: what is backed up is what is compared.
    storage = os.fsencode(lab.lab / "storage")
    os.makedirs(os.path.join(storage, b"main/odd names/empty directory"))
    for name in ODD:
        with open(os.path.join(storage, name), "wb") as handle:
            handle.write(b"" if name.endswith(b"/empty") else name * 100)
    rows, files = lab.contents(), tree(storage)
    offline = lab.play("backup", "-vvv", kestra_dr_consistency="offline", kestra_dr_dump_format="tar").ok()
    return {"instance": instance, "rows": rows, "files": files, "offline": offline,
            "point": offline.report["recovery_point"]}


def test_a_kestra_found_stopped_stays_stopped(lab, story):
    assert not lab.healthy()
    assert story["offline"].report["outcome"] == "ok"
    assert story["offline"].report["instance"]["name"] == "kestra"


def test_the_documented_commands_restore_it_by_hand(lab, story, tmp_path):
    """restic and pg_restore alone, as docs/restore.md has it."""
    component = lab.manifest(story["point"])["components"]["database"]
    restic = ["restic", "--repo", lab.repository, "--password-file", lab.lab / "restic-password", "--no-cache"]
    subprocess.run([*restic, "restore", component["snapshot"], "--target", tmp_path], check=True, capture_output=True)
    (dump,) = (tmp_path / component["path"].lstrip("/")).iterdir()
    lab.sql("create database by_hand owner kestra", "postgres")
    try:
        done = subprocess.run(
            ["pg_restore", "--exit-on-error", "--no-owner", "--role=kestra", "-d", "by_hand", dump], capture_output=True, text=True, check=False,
            env=dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(lab.database_port), PGUSER="postgres", PGTZ=component["timezone"],
                     PGPASSWORD=lab.admin_password))
        assert done.returncode == 0, done.stderr
        assert lab.contents("by_hand") == story["rows"]
    finally:
        lab.sql("drop database by_hand with (force)", "postgres")


def test_everything_lost_comes_back_exactly(lab, story):
    """Database, storage, configuration, vault directory: the repository alone has to be enough.

    As managed services have it: Kestra's own role with neither SUPERUSER nor CREATEDB, TLS only, into an empty database
    that somebody else has made.
    """
    manifest = lab.manifest(story["point"])
    assert lab.sql("select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = 'kestra'") == [(False,) * 3]
    wanted = {"kestra_dr_recovery_point": story["point"], "kestra_dr_restore_mode": "into"}
    confirmed = dict(wanted, kestra_dr_confirm=manifest["instance"]["id"])
    configuration = [lab.lab / "kestra" / "application.yml", lab.lab / "kestra" / "kestra.env", lab.certificate]
    before = {path: (path.stat().st_mode, path.stat().st_uid, path.read_bytes()) for path in configuration}
    lab.write_inventory(known={name: value for name, value in lab.variables.items() if "_admin_" not in name})
    try:
        lab.play("restore", **confirmed).failed("needs the database kestra to exist and to be empty", "Nothing was touched")
        assert lab.contents() == story["rows"] and tree(lab.lab / "storage") == story["files"]
        lab.sql("drop database kestra with (force)", "postgres")
        lab.sql("create database kestra owner kestra", "postgres")
        shutil.rmtree(lab.lab / "storage")
        shutil.rmtree(lab.vault / "kestra" / "points")
        for path in configuration:
            path.unlink()
        lab.play("restore", **wanted).failed("kestra_dr_confirm=" + manifest["instance"]["id"])
        assert not any(path.exists() for path in configuration)
        done = lab.play("restore", **confirmed).ok()
    finally:
        lab.write_inventory()
    assert done.report["verdict"].startswith("verified (counts)")
    assert {path: (path.stat().st_mode, path.stat().st_uid, path.read_bytes()) for path in configuration} == before
    assert lab.wait_healthy()
    assert lab.sql("select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'kestra'") == [(True,)]
    lab.ctl("kestra-server", "stop")
    restored = tree(lab.lab / "storage")
    assert set(ODD) <= set(restored)
    assert {name: value for name, value in restored.items() if name in story["files"]} == story["files"]
    rows = lab.contents()
    assert {table: rows[table] for table in STILL} == {table: story["rows"][table] for table in STILL}
    lab.ctl("kestra-server", "start")
    assert lab.wait_healthy()
    assert lab.instance_id == story["instance"]


@pytest.mark.smoke
def test_pinned_runs_beside_kestra_and_verifies(lab):
    run = lab.play("backup", "-vvv").ok()
    assert lab.healthy()
    assert run.report["outcome"] == "ok" and "Kestra is as it was found" in run.report["kestra_line"]
    verified = lab.play("verify", "-vvv", kestra_dr_recovery_point="latest").ok()
    assert verified.report["verdict"] == "verified (counts)"
    listed = lab.play("list").ok()
    assert run.report["recovery_point"] in listed.output and "verified (counts)" in listed.output


def test_what_kestra_writes_again_is_of_the_pin(lab, tmp_path):
    """Keys that change, go and come between the start of Kestra and the copy: the restore has them as they were when it was stopped."""
    for key in ("changed", "deleted"):
        lab.api(f"/api/v1/namespaces/company.team/kv/{key}", b'"then"', "PUT", "application/json")
    keys = next(path for path in (lab.lab / "storage").rglob("_kv") if path.is_dir() and (path / "changed.ion").exists())
    then = {name: about for name, about in tree(keys).items() if name in (b"changed.ion", b"deleted.ion")}
    assert len(then) == 2
    start = tmp_path / "start"
    start.write_text(f"""#!/bin/sh
{lab.lab}/bin/kestra-server start || exit 1
printf now >{keys}/changed.ion
rm {keys}/deleted.ion
printf now >{keys}/later.ion
""")
    start.chmod(0o755)
    backup = lab.play("backup", kestra_dr_start_command=str(start), kestra_dr_escrow_path=str(tmp_path / "kit.asc")).ok()
    assert backup.report["particulars"]["escrow_kit"] == f"{tmp_path}/kit.asc: MISSING, there is none"
    assert (keys / "later.ion").exists() and not (keys / "deleted.ion").exists()
    drift = backup.report["drift"]
    assert drift["pinned"] >= 2 and drift["later"] >= 1 and drift["deleted"] == 0
    point = backup.report["recovery_point"]
    assert lab.play("verify", kestra_dr_recovery_point=point, kestra_dr_verify_depth="digest").ok()
    # Out of the repository alone.
    shutil.rmtree(lab.vault / "kestra" / "points")
    lab.play("restore", kestra_dr_recovery_point=point, kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy()
    now = tree(keys)
    assert {name: now.get(name) for name in then} == then and b"later.ion" not in now
    lab.play("undo", kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and (keys / "changed.ion").read_text() == "now"


@pytest.mark.full("an escrow kit that a preflight calls stale (here its module)")
def test_an_escrow_kit_that_is_stale_is_told(lab, tmp_path):
    passphrase, known = tmp_path / "passphrase", {"kestra_dr_escrow_path": str(tmp_path / "kit.asc")}
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    assert "kit.asc: MISSING, there is none" in lab.play("preflight", **known).ok().output
    lab.play("escrow", kestra_dr_escrow_passphrase_file=str(passphrase), **known).ok()
    assert "kit.asc: current" in lab.play("preflight", **known).ok().output
    environment = lab.lab / "kestra" / "kestra.env"
    before = environment.read_text()
    try:
        environment.write_text(before + "SECRET_NEW=bmV3\n")
        told = lab.play("preflight", **known).ok()
    finally:
        environment.write_text(before)
    assert "kit.asc: STALE, it was made for other keys, passwords or settings of Kestra" in told.output


@pytest.mark.smoke
def test_restore_over_a_live_instance_and_undo(lab):
    """Undo takes the newest restore that can be swapped back: the second one takes back the restore before.

    A power failure left the note of a restore that had begun empty, and so the journal of one that was.
    """
    lab.api("/api/v1/flows", b"id: after\nnamespace: company.team\ntasks:\n  - id: log\n    type: io.kestra.plugin.core.log.Log\n"
            b"    message: made after the recovery point\n", "POST")
    begun = lab.vault / "kestra" / "restore" / lab.points()[-1]
    begun.mkdir(mode=0o700, parents=True, exist_ok=True)
    (begun / "id").write_bytes(b"")
    lab.play("restore", "-vvv", kestra_dr_recovery_point=lab.points()[-1], kestra_dr_confirm=lab.instance_id).ok()
    assert lab.healthy() and not begun.exists()
    assert lab.sql("select count(*) from flows where id = 'after'") == [(0,)]
    damaged = lab.vault / "kestra" / "undo" / "20300101T000000Z-000000.json"
    damaged.write_bytes(b"")
    try:
        lab.play("undo", kestra_dr_confirm=lab.instance_id).failed("is not valid JSON", "Nothing was touched")
    finally:
        damaged.unlink()
    assert lab.healthy()
    undone = lab.play("undo", "-vvv", kestra_dr_confirm=lab.instance_id).ok()
    assert undone.report["outcome"] == "ok" and undone.report["particulars"]["restored_database"].startswith("kestra_dr_")
    assert lab.healthy()
    assert lab.sql("select count(*) from flows where id = 'after'") == [(1,)]


def test_an_undo_that_is_refused_leaves_kestra_running(lab, stray):
    """Another server is at work on the database: nothing is swapped, Kestra comes back at once, the report says so."""
    point = max(path.stem for path in (lab.vault / "kestra" / "undo").glob("*.json"))
    live = [lab.identity(), (lab.lab / "storage").stat().st_ino]
    run = lab.play("undo", kestra_dr_undo_point=point, kestra_dr_confirm=lab.instance_id, kestra_dr_quiet_seconds=4).failed("not quiet")
    assert run.report["outcome"] == "failed" and run.report["kestra_line"] == "Kestra is as it was found"
    assert live == [lab.identity(), (lab.lab / "storage").stat().st_ino]
    assert lab.healthy() and not lab.held.exists() and not (lab.vault / "kestra" / "lock.json").exists()


def test_check_mode_writes_nothing(lab):
    lab.point()
    before = sorted(str(path) for path in lab.vault.rglob("*"))
    lab.play("backup", "--check").ok()
    lab.play("restore", "--check", kestra_dr_recovery_point="latest").ok()
    assert lab.healthy()
    assert sorted(str(path) for path in lab.vault.rglob("*")) == before


@pytest.mark.full("a whole flow without any row (here its dump, in the part integration)")
def test_no_row_anywhere_is_no_alarm(lab, tmp_path):
    admin = dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(lab.database_port), PGUSER="postgres",
                 PGPASSWORD=lab.admin_password)
    lab.sql("create database nothing owner kestra", "postgres")
    schema = subprocess.run(["pg_dump", "--schema-only", "-d", "kestra"], env=admin, check=True, capture_output=True).stdout
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "nothing"], env=admin, input=schema, check=True, capture_output=True)
    (tmp_path / "storage").mkdir()
    other = tmp_path / "env"
    other.write_text(f"DATASOURCES_POSTGRES_URL={lab.jdbc_url('nothing')}\nKESTRA_STORAGE_LOCAL_BASE_PATH={tmp_path / 'storage'}\n")
    apart = {"kestra_dr_config_environment_files": [str(lab.lab / "kestra" / "kestra.env"), str(other)],
             "kestra_dr_consistency": "live", "kestra_dr_state_dir": str(tmp_path / "state"),
             "kestra_dr_repository": str(tmp_path / "repository")}
    try:
        taken = lab.play("backup", **apart).ok()
        assert taken.report["counts"] and set(taken.report["counts"].values()) == {0}
        verified = lab.play("verify", **apart).ok()
        assert verified.report["verdict"] == "verified (counts)"
        assert {check["verdict"] for check in verified.report["checks"]} == {"pass"}
    finally:
        lab.sql("drop database nothing with (force)", "postgres")


def test_no_secret_was_shown(lab):
    """Outputs at -vvv and arguments of all flows so far; the files that are left; what a fact cache would keep."""
    wanted = {("backup", True, 0), ("verify", True, 0), ("restore", True, 0), ("undo", True, 0)}
    if not wanted <= lab.played:
        test_pinned_runs_beside_kestra_and_verifies(lab)
        test_restore_over_a_live_instance_and_undo(lab)
    assert wanted <= lab.played
    cache = lab.directory / "facts"
    lab.play("list", "-vvv", env={"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache)}).ok()
    secret = [lab.lab, lab.repository, lab.collections]
    assert lab.watch.tree(lab.directory, but=secret) > 20
    assert not list((lab.directory / "run").glob("*/*")), "configuration with secrets was left in the runtime directory"
    assert lab.watch.samples > 100 and lab.watch.arguments > 100
    assert lab.watch.seen == []


def test_the_watch_finds_what_is_planted(tmp_path):
    """The positive control of the test before."""
    core = "plantedQ3wErTy9"
    watch = Watch({"planted": core})
    watch.begin()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)", f"--password={core} 'x'"])
    child.wait()
    watch.end()
    assert any("planted in the arguments" in line for line in watch.seen)
    watch.seen.clear()
    encoded = [base64.b64encode(f"{before}{core}%@".encode()).decode() for before in ("", "x", "xy", "xyz")]
    for text in (json.dumps(f'é"{core}'), f"url%20{core}%40", *encoded):
        assert watch.find(f"before {text} after") == ["planted"], text
    assert watch.find("nothing here") == []
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / f"{core}.json").write_text("clean")
    (tmp_path / "directory" / "clean.json").write_bytes(b"\xff" + core.encode())
    assert watch.tree(tmp_path) == 2 and len(watch.seen) == 2
    watch.seen.clear()
    assert watch.tree(tmp_path, but=[tmp_path / "directory"]) == 0 and watch.seen == []
