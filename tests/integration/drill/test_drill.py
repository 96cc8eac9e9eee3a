# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole drill on somebody's own Kestra: an executable that behaves as the real server, its own configuration."""
from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drill import disaster, leftovers, processes
from drill.labdir import LabDir
from drill.target import own_configuration

ROOT = Path(__file__).resolve().parents[3]
full = pytest.mark.full("drills on a Kestra of one's own that are killed, differ, or do not come up, or take an older recovery point")
PASSWORD = "p@ss w%rd:'ü"

pytestmark = [
    pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed"),
    pytest.mark.skipif(not Path(sys.executable).with_name("ansible-playbook").exists(),
                       reason="no ansible-playbook beside this Python"),
]


def argv(lab, collections, own, *more):
    return [sys.executable, str(ROOT / "scripts/lib/drill"), "--lab", str(lab), "--collections", str(collections),
            "run", "--kestra", str(own.executable), "--config", str(own.config), *more]


def drill(lab, collections, own, *more):
    done = subprocess.run(argv(lab, collections, own, *more), env=own.environment(), capture_output=True, text=True,
                          timeout=1800, check=False, stdin=subprocess.DEVNULL)
    return done, done.stdout + done.stderr


def databases(own):
    with own.postgres.admin() as connection:
        query = "select datname from pg_database where datname like %s"
        found = connection.execute(query, [own.database + "%"]).fetchall()
    return sorted(name for name, in found)


def everything_below(directory):
    for path in Path(directory).rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


@pytest.mark.long
def test_a_drill_on_a_kestra_of_ones_own(own, tmp_path, collections):
    lab = tmp_path / "lab"
    done, said = drill(lab, collections, own)
    assert done.returncode == 0, said
    assert "\nVERIFIED\n" in said and "verified (counts)" in said
    for word in ("lost ", "came back", "RTO ", "RPO ", "downtime  offline", "report "):
        assert word in said, word
    page, = lab.glob("reports/*/drill.html")
    content = json.loads(page.with_suffix(".json").read_text("utf-8"))
    assert content["outcome"] == "ok" and content["verdict"] == "verified (counts)"
    assert {one["verdict"] for one in content["checks"]} <= {"pass", "not_run"}
    steps = {one["name"] for one in content["timeline"]}
    assert steps >= {"backup, offline", "backup, pinned", "disaster", "restore", "verify"}
    kinds = sorted(json.loads(path.read_text("utf-8"))["kind"] for path in page.parent.glob("*.json"))
    assert kinds == ["backup", "backup", "drill", "restore", "verify"]
    # Nothing is left behind but reports and logs; the original pair is gone, Kestra is down as it was found.
    assert databases(own) == [own.database]
    assert [path.name for path in own.storage.parent.iterdir()] == [own.storage.name]
    assert sorted(path.name for path in lab.iterdir()) == ["drill.log", "kestra.log", "lock", "reports"]
    assert processes.marked(str(lab)) == [] and processes.marked(f"{lab}#kestra") == []
    # Its password is nowhere.
    secrets = [PASSWORD.encode(), PASSWORD.encode("unicode_escape"), b"p%40ss"]
    for path, found in everything_below(lab):
        assert not any(secret in found for secret in secrets), path
    assert PASSWORD not in said


@full
def test_the_older_point_can_be_chosen(own, tmp_path, collections):
    done, said = drill(tmp_path / "lab", collections, own, "--point", "offline")
    assert done.returncode == 0, said
    content = json.loads(next((tmp_path / "lab").glob("reports/*/drill.json")).read_text("utf-8"))
    found = {one["name"]: one["found"] for one in content["checks"] if one["name"].startswith("sentinels")}
    assert found == {"sentinels before the first backup": "present", "sentinels between the backups": "absent",
                     "sentinels after the last backup": "absent"}


@full
def test_a_difference_after_the_restore_is_seen_and_the_original_can_be_put_back(own, tmp_path, collections):
    """The fourth start is the one after the restore: there a value is lost that was in the recovery point."""
    count = tmp_path / "starts"
    own.write_executable(f"""\
echo start >> '{count}'
if [ "$(wc -l < '{count}')" -eq 4 ]; then find '{own.storage}' -path '*_kv*' -name '*.ion' | head -n 1 | xargs rm; fi
exec "$standin" "$@\"""")
    lab = tmp_path / "lab"
    done, said = drill(lab, collections, own)
    assert done.returncode == 2, said
    assert "RESTORED, BUT DIFFERS" in said and "1 missing or changed" in said
    assert str(lab / "put-back") in said
    assert len(databases(own)) == 2
    again, words = drill(lab, collections, own)
    assert again.returncode == 1 and "moved your Kestra's data aside" in words
    back = subprocess.run([str(lab / "put-back")], env=own.environment(), capture_output=True, text=True, timeout=60,
                          check=False)
    assert back.returncode == 0, back.stderr
    assert len(databases(own)) == 2  # the restored one is kept under another name
    assert own.database in databases(own) and own.storage.is_dir()
    assert LabDir(lab).read_state()["aside"] is None


@full
def test_a_kestra_that_does_not_start_after_the_restore_leaves_the_original_aside(own, tmp_path, collections):
    count = tmp_path / "starts"
    own.write_executable(f"""\
echo start >> '{count}'
if [ "$(wc -l < '{count}')" -ge 4 ]; then sleep 2; echo 'no licence'; exit 1; fi
exec "$standin" "$@\"""")
    lab = tmp_path / "lab"
    done, said = drill(lab, collections, own)
    assert done.returncode == 1, said
    assert "could not go on" in said and str(lab / "put-back") in said
    aside = LabDir(lab).read_state()["aside"]
    assert aside["database"]["to"] in databases(own) and Path(aside["storage"]["to"]).is_dir()


@full
def test_a_killed_drill_is_cleaned_up_by_the_next(own, tmp_path, collections):
    lab = LabDir(tmp_path / "lab")
    with open(tmp_path / "out", "wb") as out:
        child = subprocess.Popen(argv(lab.root, collections, own), env=own.environment(), stdout=out, stderr=out,
                                 stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 400
        while not (lab.log.exists() and "Pin" in lab.log.read_text("utf-8", "replace")):
            assert time.monotonic() < deadline and child.poll() is None, (tmp_path / "out").read_text("utf-8")
            time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert processes.marked(str(lab.root)) or processes.marked(f"{lab.root}#kestra")
    lab.lock()
    assert leftovers.clean(lab, lambda: None)
    assert processes.marked(str(lab.root)) == [] and processes.marked(f"{lab.root}#kestra") == []
    assert not lab.work.exists()
    configuration = own_configuration(write_config(own))
    assert configuration.database_credentials()["name"] in databases(own)
    assert disaster.why_not_movable(own.storage) is None


def write_config(own):
    """The same configuration with the password in it, to be read without the environment."""
    plain = own.config.with_name("plain.yml")
    plain.write_text(own.config.read_text("utf-8").replace("${DRILL_TEST_PASSWORD}", "x"), "utf-8")
    return plain
