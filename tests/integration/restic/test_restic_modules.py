# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restic modules as Ansible runs them: check mode, idempotence, guards, secrets, other backends."""
from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from urllib.parse import quote

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.storage import compare, local

POINT = "20261123T001500Z-a1b2c3"
URL_PASSWORD = "p@ss:w%rd ä"


def options(restic, **more):
    repository = restic.repository
    return dict({"repository": repository.location, "repository_password_file": repository.password_file,
                 "restic_binary": repository.binary, "cache_dir": repository.cache_dir, "lock_wait": 0}, **more)


def test_repository(make, installed, module):
    restic = make(installed)
    planned = module("restic_repository", options(restic), check_mode=True)
    assert planned["changed"] and not planned["exists"] and not os.path.exists(restic.repository.location)
    refused = module("restic_repository", options(restic, create=False))
    assert refused["failed"] and refused["reason"] == "repository_missing"
    made = module("restic_repository", options(restic))
    assert made["changed"] and made["exists"] and len(made["repository_id"]) == 64
    again = module("restic_repository", options(restic))
    assert not again["changed"] and again["repository_id"] == made["repository_id"]


def test_stale_locks_are_removed_on_request(one_restic, module, wait_for, tmp_path):
    (tmp_path / "more").write_bytes(os.urandom(60_000_000))
    process = module.start("restic_backup", options(one_restic, paths=[str(tmp_path / "more")], limit_upload=8000))
    wait_for(one_restic.locks)
    process.kill()
    process.communicate()
    wait_for(lambda: one_restic.locks()[0]["stale"])
    assert not module("restic_repository", options(one_restic))["changed"]
    planned = module("restic_repository", options(one_restic, remove_stale_locks=True), check_mode=True)
    assert planned["changed"] and len(one_restic.locks()) == 1
    done = module("restic_repository", options(one_restic, remove_stale_locks=True))
    assert done["changed"] and done["locks_removed"] == 1 and done["locks"] == []
    assert not module("restic_repository", options(one_restic, remove_stale_locks=True))["changed"]


def test_backup_and_restore(one_restic, storage, tmp_path, module):
    local.take(storage, tmp_path / "list.gz", digests=True)
    what = dict(base_dir=str(storage.parent), paths=["storage"], tags=[f"point={POINT}"], host="kestra-dr-kestra")
    planned = module("restic_backup", options(one_restic, **what), check_mode=True)
    assert (
        planned["changed"]
        and planned["snapshot"] is None
        and planned["bytes_added"] > 0
        and one_restic.snapshots() == []
    )
    job = str(tmp_path / "job-backup")
    done = module("restic_backup", options(one_restic, job_dir=job, **what))
    assert done["changed"] and done["snapshot_paths"] == ["/storage"] and done["host"] == "kestra-dr-kestra"
    again = module("restic_backup", options(one_restic, job_dir=job, **what))
    assert not again["changed"] and again["reattached"] and again["snapshot"] == done["snapshot"]
    progress = json.loads((tmp_path / "job-backup" / "progress.json").read_text())
    assert progress["phase"] == "backing_up"
    found = module("restic_snapshot_info", options(one_restic, tags=[f"point={POINT}"], sizes=True))
    assert [item["id"] for item in found["snapshots"]] == [done["snapshot"]] and not found["changed"]
    assert found["snapshots"][0]["restore_size"]["bytes"] == done["bytes_total"]

    where = dict(
        snapshot=done["snapshot"], path="/storage", target=str(tmp_path / "out"), list=str(tmp_path / "list.gz")
    )
    planned = module("restic_restore", options(one_restic, **where), check_mode=True)
    assert planned["changed"] and planned["bytes"] == done["bytes_total"] and not (tmp_path / "out").exists()
    restored = module("restic_restore", options(one_restic, **where))
    assert restored["changed"] and restored["compared"]["verdict"] == "equal"
    assert compare.compare_tree(tmp_path / "list.gz", tmp_path / "out")["verdict"] == "equal"
    refused = module("restic_restore", options(one_restic, **where))
    assert refused["failed"] and refused["reason"] == "target_not_empty"
    assert module("restic_restore", options(one_restic, **where), check_mode=True)["reason"] == "target_not_empty"


def test_backup_in_check_mode_before_there_is_a_repository(make, installed, storage, module):
    restic = make(installed)
    where = str(storage.parent)
    planned = module("restic_backup", options(restic, base_dir=where, paths=["storage"]), check_mode=True)
    assert planned["changed"] and planned["repository_exists"] is False
    missing = module("restic_backup", options(restic, base_dir=where, paths=["gone"]), check_mode=True)
    assert missing["failed"] and missing["reason"] == "source_missing"


def test_check(kept, module, tmp_path):
    assert module("restic_check", options(kept.restic), check_mode=True)["snapshots"] == 0
    done = module("restic_check", options(kept.restic, read_data=True, job_dir=str(tmp_path / "job")))
    assert not done["changed"] and done["packs"] >= 2 and not done["reattached"]


def test_a_missing_snapshot_is_no_empty_list(one_kept, module):
    found = module("restic_snapshot_info", options(one_kept.restic, snapshots=["deadbeef"]))
    assert found["failed"] and found["reason"] == "snapshot_missing"


def test_forget_refuses_what_is_sealed(one_restic, tmp_path, module):
    source = tmp_path / "source"
    source.write_text("x")

    def snapshot(*tags):
        return one_restic.backup([str(source)], tags=["kestra-dr", *tags])["snapshot"]

    named = snapshot()  # carries no tag; only a manifest names it
    tagged = snapshot(f"point={POINT}", "component=storage")
    lost = snapshot("point=20261124T001500Z-d4e5f6", "component=storage")
    manifest = snapshot("point=20261124T001500Z-d4e5f6", "component=manifest")
    stray = snapshot("point=20261125T001500Z-000000")
    vault = tmp_path / "vault"
    directory = vault / "kestra" / "points" / POINT
    directory.mkdir(parents=True)
    (vault / "vault.json").write_text('{"schema": 1}')
    sealed_manifest(directory, named)

    def forget(check_mode=False, **what):
        return module(
            "restic_forget", options(one_restic, **dict({"vault": str(vault)}, **what)), check_mode=check_mode
        )

    for snapshots in ([named], [tagged], [lost], [manifest], [stray, tagged]):
        refused = forget(snapshots=snapshots)
        assert refused["failed"] and refused["reason"] == "snapshot_sealed", refused
    assert forget(tags=["kestra-dr"])["reason"] == "snapshot_sealed"
    assert forget(tags=[])["failed"] and forget(snapshots=[stray[:8]])["failed"]
    assert forget(snapshots=[stray], vault=str(tmp_path / "typo"))["reason"] == "vault_missing"
    assert len(one_restic.snapshots()) == 5, "nothing of a refused request is removed"

    planned = forget(check_mode=True, snapshots=[stray])
    assert planned["changed"] and planned["removed"] == [stray] and stray in planned["diff"]["before"]
    assert len(one_restic.snapshots()) == 5
    done = forget(tags=["point=20261125T001500Z-000000"], prune=True)
    assert done["changed"] and done["removed"] == [stray] and done["pruned"]
    again = forget(snapshots=[stray])
    assert not again["changed"] and again["absent"] == [stray]
    assert {item["id"] for item in one_restic.snapshots()} == {named, tagged, lost, manifest}


def sealed_manifest(directory, snapshot):
    """The smallest manifest the collection accepts, with one component in a snapshot."""
    from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest
    content = manifest.dumps({
        "schema": 1, "id": directory.name, "created": "2026-11-23T00:15:00Z", "sealed": "2026-11-23T00:16:00Z",
        "collection": "1.0.0", "instance": {"name": "kestra", "id": "kestra", "uuid": None, "hosts": []},
        "kestra": {"version": None, "edition": None, "facts": "not_run"}, "tools": {}, "consistency": {"mode": "live"},
        "self_contained": True, "in_flight": {"total": 0, "executions": []}, "timings": {},
        "components": {"config": {"held": "vault", "engine": "bundle", "strategy": "files", "snapshot": snapshot,
                                  "path": "/config", "bytes": 0, "files": []}}})
    (directory / "manifest.json").write_bytes(content)
    (directory / "manifest.sha256").write_text(f"{manifest.digest(content)}  manifest.json\n")
    manifest.load(directory / "manifest.json")


# Secrets

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def rest_server(rclone, tmp_path, wait_for):
    """A REST repository behind a user and a password; the URL that holds them."""
    port = free_port()
    (tmp_path / "served").mkdir()
    process = subprocess.Popen(
        [rclone, "serve", "restic", str(tmp_path / "served"), "--addr", f"127.0.0.1:{port}", "--user", "ann"],
        env=dict(os.environ, RCLONE_PASS=URL_PASSWORD, RCLONE_CONFIG=str(tmp_path / "rclone.conf")),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def answers():
        assert process.poll() is None, process.stderr.read()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(answers)
    yield f"rest:http://ann:{quote(URL_PASSWORD, safe='')}@127.0.0.1:{port}/repository"
    process.terminate()
    process.wait()


def forms(secret):
    return [secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]]


def test_no_secret_is_shown_anywhere(make, binary, rest_server, storage, tmp_path, module, watch, password_file):
    """All modules over a REST server with a password in its URL: command lines sampled, results and files searched."""
    restic = make(binary, rest_server)
    with open(password_file, encoding="utf-8") as handle:
        repository_password = handle.read()
    secrets = forms(URL_PASSWORD) + forms(repository_password) + forms("qu'ote \"and\" %41")
    common = options(
        restic, lock_wait=5, repository_environment={"SOME_TOKEN": "qu'ote \"and\" %41", "GOMAXPROCS": "2"}
    )
    results = []
    with watch() as watching:
        def run(name, **params):
            results.append(module(name, dict(common, **params)))
            return results[-1]

        run("restic_repository")
        done = run(
            "restic_backup", base_dir=str(storage.parent), paths=["storage"], job_dir=str(tmp_path / "jobs" / "1")
        )
        run("restic_snapshot_info")
        run("restic_check", job_dir=str(tmp_path / "jobs" / "2"))
        run("restic_restore", snapshot=done["snapshot"], path="/storage", target=str(tmp_path / "out"),
            job_dir=str(tmp_path / "jobs" / "3"))
        (tmp_path / "vault").mkdir()
        run("restic_forget", snapshots=[done["snapshot"]], vault=str(tmp_path / "vault"), prune=True)
        assert not any(result.get("failed") for result in results), results
        for broken in (dict(common, repository_password_file=str(tmp_path / "none")),
                       dict(common, repository=rest_server + "-missing"),
                       dict(common, repository=rest_server.replace("ann", "eve")), dict(common, no_such_option=1)):
            results.append(module("restic_snapshot_info", broken))
            assert results[-1]["failed"]
    restic_lines = [line for line in watching.lines if line.startswith(str(binary))]
    assert any(" backup " in line for line in restic_lines), "the sampling saw restic at work"
    shown = "\n".join(watching.lines) + "\n" + json.dumps(results, ensure_ascii=False) + json.dumps(results)
    for directory, _names, files in os.walk(tmp_path / "jobs"):
        for name in files:
            with open(os.path.join(directory, name), encoding="utf-8", errors="surrogateescape") as handle:
                shown += handle.read()
    for secret in secrets:
        assert secret not in shown, secret
    assert done["snapshot"] in shown and "ann:***@127.0.0.1" in shown


def test_everything_works_over_a_rest_server(make, binary, rest_server, storage, tmp_path):
    from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic_restore
    restic = make(binary, rest_server)
    assert restic.exists() is False, "missing is told from unreachable over HTTP too"
    restic.init()
    local.take(storage, tmp_path / "list.gz", digests=True)
    done = restic.backup(["storage"], base_dir=str(storage.parent))
    found = restic_restore.restore_path(
        restic, done["snapshot"], "/storage", tmp_path / "out", expect=tmp_path / "list.gz"
    )
    assert found["compared"]["verdict"] == "equal"
    restic.forget([done["snapshot"]], prune=True)
    restic.check(read_data=True)
    assert restic.locks() == []


def test_nothing_is_shown_by_ansible_at_its_loudest(make, one_restic, rest_server, tmp_path):
    ansible = os.path.join(os.path.dirname(sys.executable), "ansible")
    if not os.path.exists(ansible):
        ansible = shutil.which("ansible")
    if not ansible:
        pytest.skip("ansible is not installed")
    arguments = {"repository": rest_server, "repository_password_file": one_restic.repository.password_file,
                 "repository_environment": {"SOME_TOKEN": "very secret token", "GOMAXPROCS": "2"}, "lock_wait": 2}
    (tmp_path / "args.json").write_text(json.dumps(arguments))
    collections = next(
        path for path in sys.path if os.path.isdir(os.path.join(path, "ansible_collections/kestra_community/dr"))
    )
    done = subprocess.run(
        [
            ansible,
            "localhost",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-vvv",
            "-m",
            "kestra_community.dr.restic_repository",
            "-a",
            json.dumps(arguments),
        ],
        env=dict(
            os.environ, ANSIBLE_COLLECTIONS_PATH=collections, ANSIBLE_LOCALHOST_WARNING="false", HOME=str(tmp_path)
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for secret in forms(URL_PASSWORD) + ["very secret token"]:
        assert secret not in done.stdout + done.stderr
    assert '"exists": true' in done.stdout


# SFTP: restic's own backend and the server of OpenSSH, with an ssh that stays on this machine.

@pytest.fixture
def ssh(tmp_path, monkeypatch, sftp_server):
    """ssh(script) puts a program named ssh first in PATH."""
    def put(script):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\n" + script)
        (tmp_path / "bin" / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    put(f"exec {sftp_server}\n")
    return put


def test_backup_and_restore_by_sftp(make, binary, ssh, storage, tmp_path, module):
    local.take(storage, tmp_path / "list.gz", digests=True)
    restic = make(binary, f"sftp:backup@host:{tmp_path}/far")
    assert module("restic_repository", options(restic, create=False))["reason"] == "repository_missing"
    assert module("restic_repository", options(restic))["changed"]
    done = module("restic_backup", options(restic, base_dir=str(storage.parent), paths=["storage"]))
    found = module("restic_restore", options(restic, snapshot=done["snapshot"], path="/storage",
                                             target=str(tmp_path / "out"), list=str(tmp_path / "list.gz")))
    assert found["compared"]["verdict"] == "equal"


def test_a_refused_login_by_sftp_is_no_missing_repository(make, binary, ssh, module):
    ssh("echo 'backup@host: Permission denied (publickey,password).' >&2\nexit 255\n")
    result = module("restic_repository", options(make(binary, "sftp:backup@host:/far")))
    assert result["failed"] and result["reason"] == "repository_unreachable", result
