# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults, on real restic programs: each one is told by its reason, nothing half is left, a rerun converges."""
from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError, DrError, IntegrityError, LockedError, ToolError)
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import compare, local
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic as wrapper
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import contents, restic_process, restic_restore

FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"
# Slow enough to be caught at work, with data that does not fit into restic's buffers.
SLOW = 8_000


def caught(call, *args, **kwargs):
    with pytest.raises(DrError) as found:
        call(*args, **kwargs)
    return found.value


def backup(restic, storage, **options):
    return restic.backup([storage.name], base_dir=str(storage.parent), **options)


def heavy(tmp_path, files=8, size=8_000_000):
    """A storage that takes several seconds at SLOW."""
    root = tmp_path / "app" / "storage"
    root.mkdir(parents=True)
    for number in range(files):
        (root / f"{number:02}").write_bytes(os.urandom(size))
    return root


def packs_of(restic):
    """The paths of all files below the repository's data."""
    return sorted(
        os.path.join(directory, name)
        for directory, _names, files in os.walk(os.path.join(restic.repository.location, "data"))
        for name in files
    )


def largest_pack(restic):
    """The path of the largest of them: it holds the big file's content."""
    return max(packs_of(restic), key=os.path.getsize)


def flip(path, place):
    os.chmod(path, 0o600)
    with open(path, "r+b") as handle:
        handle.seek(place)
        byte = handle.read(1)[0]
        handle.seek(place)
        handle.write(bytes([byte ^ 1]))


# Opening

def test_a_wrong_password_is_not_a_missing_repository(restic, make, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("something else")
    wrong.chmod(0o600)
    other = make(restic.repository.binary, password_file=str(wrong))
    for call in (other.exists, other.config, other.snapshots, other.check, lambda: list(other.ls("deadbeef")),
                 lambda: other.backup([str(tmp_path / "wrong")])):
        error = caught(call)
        assert isinstance(error, ConnectError) and error.reason == "repository_wrong_password"


def test_a_missing_repository_is_told_by_every_command(make, binary, tmp_path):
    restic = make(binary)
    assert restic.exists() is False
    for call in (restic.config, restic.snapshots, restic.stats, restic.check, lambda: restic.backup([str(tmp_path)]),
                 lambda: restic.restore("deadbeef", tmp_path / "out")):
        assert caught(call).reason == "repository_missing"


@pytest.mark.parametrize("options, reason", [
    ({"password_file": "/nonexistent/password"}, "repository_password_unavailable"),
    ({"password_file": None, "password_command": "/bin/false"}, "repository_password_unavailable"),
])
def test_a_password_that_cannot_be_had(restic, make, options, reason):
    assert caught(make(restic.repository.binary, **options).config).reason == reason


def test_a_password_by_command(restic, make, password_file):
    other = make(restic.repository.binary, password_file=None, password_command=f"cat {password_file}")
    assert other.config() == restic.config()


def test_settings_of_the_caller_do_not_leak_in(restic, monkeypatch):
    for name, value in (("RESTIC_PASSWORD", "wrong"), ("RESTIC_PASSWORD_COMMAND", "false"),
                        ("RESTIC_HOST", "elsewhere"), ("RESTIC_REPOSITORY_FILE", "/nonexistent")):
        monkeypatch.setenv(name, value)
    assert restic.exists()


class Answering(http.server.BaseHTTPRequestHandler):
    """A server that answers everything with one status."""

    status = 404

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_DELETE = do_GET

    def log_message(self, *_arguments):
        """Stay silent."""


@pytest.fixture
def serve():
    servers = []

    def start(status):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Answering,), {"status": status}))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status, reason", [(404, "repository_missing"), (403, "repository_unreachable"),
                                            (401, "repository_unreachable")])
def test_a_rest_server_that_refuses_is_not_a_missing_repository(make, binary, serve, monkeypatch, status, reason):
    monkeypatch.setattr(wrapper, "OPEN_TIMEOUT", 8.0)
    restic = make(binary, f"rest:http://ann:p4ssword@127.0.0.1:{serve(status)}/")
    error = caught(restic.config)
    assert error.reason == reason
    assert "p4ssword" not in repr(error.to_result()) and "ann:***@127.0.0.1" in str(error)


def test_a_server_that_is_down_is_told_in_time(make, binary, serve, monkeypatch):
    monkeypatch.setattr(wrapper, "OPEN_TIMEOUT", 5.0)
    port = serve(200)
    restic = make(binary, f"rest:http://127.0.0.1:{port + 1 if port < 65535 else 1}/")
    started = time.monotonic()
    assert caught(restic.config).reason == "repository_unreachable"
    assert time.monotonic() - started < 30


# Sources

def test_a_missing_source_beside_an_existing_one_is_a_failure(restic, storage):
    error = caught(restic.backup, [storage.name, "gone"], base_dir=str(storage.parent))
    assert isinstance(error, ToolError) and error.reason == "source_missing" and restic.snapshots() == []


def test_a_source_that_goes_after_it_was_checked_is_a_failure(restic, storage, monkeypatch):
    monkeypatch.setattr(wrapper, "check_sources", lambda paths, base_dir=None: None)
    error = caught(restic.backup, [storage.name, "gone"], base_dir=str(storage.parent))
    assert error.reason == "source_incomplete" and restic.snapshots() == [], "restic 0.14 and 0.18 return 0 for this"


def test_a_linked_source_is_refused(one_restic, storage):
    (storage.parent / "link").symlink_to("storage")
    assert caught(one_restic.backup, ["link"], base_dir=str(storage.parent)).reason == "source_is_symlink"


@pytest.fixture
def unprivileged(make, binary):
    """A directory that everybody may enter, and restic run as nobody with a repository in it."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become somebody who may not read everything")
    place = Path(tempfile.mkdtemp(prefix="kestra-dr-nobody-"))
    place.chmod(0o755)
    for name in ("repository", "cache"):
        (place / name).mkdir()
        os.chown(place / name, 65534, 65534)
    shutil.copy(binary, place / "restic")
    (place / "password").write_text("of nobody")
    for name, mode in (("restic", 0o755), ("password", 0o600)):
        os.chmod(place / name, mode)
    os.chown(place / "password", 65534, 65534)
    program = place / "restic-as-nobody"
    program.write_text(f'#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups {place}/restic "$@"\n')
    program.chmod(0o755)
    restic = make(
        program, str(place / "repository"), password_file=str(place / "password"), cache_dir=str(place / "cache")
    )
    restic.init()
    yield place, restic
    shutil.rmtree(place)


def test_an_unreadable_source_is_a_failure_and_leaves_no_half_snapshot(unprivileged):
    place, restic = unprivileged
    storage = place / "storage"
    (storage / "closed").mkdir(parents=True)
    os.chmod(storage / "closed", 0o700)
    (storage / "open").write_bytes(b"x")
    (storage / "secret").write_bytes(b"x")
    os.chmod(storage / "secret", 0o600)
    error = caught(backup, restic, storage)
    assert error.reason == "source_incomplete" and error.detail["rc"] == 3, error.detail
    items = " ".join(entry["item"] for entry in error.detail["errors"])
    assert "closed" in items and "secret" in items
    assert len(error.detail["snapshot_removed"]) == 64 and restic.snapshots() == []
    assert caught(backup, restic, storage, vanished="report").reason == "source_incomplete", "it did not vanish"


@pytest.mark.parametrize("vanished", ["fail", "report"])
def test_a_file_that_vanishes_while_it_is_read(restic, tmp_path, vanished):
    """0.14 calls it an error, which is told apart from others; 0.18.1 and newer leave the file out without a word."""
    old = restic.version() < (0, 17)
    # Names are read first; the last file's turn comes when most data is through, and that takes seconds.
    storage = heavy(tmp_path, files=10, size=20_000_000)
    (storage / "zz").write_text("goes away")
    restic.repository.limit_upload = 25_000

    def vanish(done, *_more):
        if done > 0 and (storage / "zz").exists():
            (storage / "zz").unlink()

    if old and vanished == "fail":
        error = caught(backup, restic, storage, vanished=vanished, on_progress=vanish)
        assert error.reason == "source_incomplete" and restic.snapshots() == []
        return
    done = backup(restic, storage, vanished=vanished, on_progress=vanish)
    assert done["files_total"] == 10 and done["vanished"]["count"] == (1 if old else 0)
    names = [node["path"] for node in restic.ls(done["snapshot"])]
    assert "/storage/zz" not in names and "/storage/09" in names


# Locks

def slow_backup(module, restic, storage, **params):
    """A module at work, slowly, in a process of its own."""
    return module.start("restic_backup", dict({
        "repository": restic.repository.location, "repository_password_file": restic.repository.password_file,
        "restic_binary": restic.repository.binary, "cache_dir": restic.repository.cache_dir, "limit_upload": SLOW,
        "base_dir": str(storage.parent), "paths": [storage.name]}, **params))


@pytest.mark.full("a backup waits for another one that lives (here a reader does)")
def test_a_living_lock_is_respected_and_waited_for(restic, tmp_path, module, wait_for):
    storage = heavy(tmp_path)
    process = slow_backup(module, restic, storage)
    lock = wait_for(restic.locks)[0]
    assert not lock["stale"] and lock["pid"] in clock.descendants(process.pid)
    os.kill(lock["pid"], signal.SIGSTOP)  # alive, for as long as this needs
    try:
        error = caught(restic.check)
        assert isinstance(error, LockedError) and error.reason == "repository_locked"
        assert error.detail["holder"]["pid"] == lock["pid"] and str(lock["pid"]) in str(error)
        assert restic.unlock() == 0 and len(restic.locks()) == 1, "a living lock is never removed"
        assert backup(restic, storage, dry_run=True)["files_total"] == 8, "reading needs no exclusive lock"
        messages = []

        def go_on(_done, _total, message=None, _unit=None):
            if message and "locked" in message:
                messages.append(message)
                with contextlib.suppress(ProcessLookupError):  # told again, and gone meanwhile
                    os.kill(lock["pid"], signal.SIGCONT)

        restic.repository.lock_wait = 300.0
        restic.check(on_progress=go_on)
        assert messages, "it waited, and said so"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(lock["pid"], signal.SIGCONT)
        out, _err = process.communicate(timeout=300)
    assert '"failed": true' not in out and len(restic.snapshots()) == 1


def test_readers_wait_for_an_exclusive_lock_too(restic, storage, tmp_path, module, wait_for):
    done = backup(restic, storage)
    process = module.start("restic_check", {
        "repository": restic.repository.location, "repository_password_file": restic.repository.password_file,
        "restic_binary": restic.repository.binary, "cache_dir": restic.repository.cache_dir, "read_data": True,
        "limit_download": 200})
    wait_for(lambda: os.listdir(os.path.join(restic.repository.location, "locks")))
    worker = clock.descendants(process.pid)[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        assert [(lock["pid"], lock["exclusive"]) for lock in restic.locks()] == [(worker, True)]
        readers = [lambda: restic.dump_tar(done["snapshot"]),
                   lambda: restic.restore(done["snapshot"], tmp_path / "out")]
        if restic.version() >= (0, 17):  # older ones list without a lock
            readers.append(lambda: list(restic.ls(done["snapshot"])))
        for call in readers:
            assert caught(call).reason == "repository_locked"
        restic.repository.lock_wait = 300.0
        threading.Timer(2.0, os.kill, (worker, signal.SIGKILL)).start()
        with restic.dump_tar(done["snapshot"]) as source:
            assert source.read(512), "and it goes on once the other is gone"
    finally:
        process.kill()
        process.communicate()
    assert restic.locks() == []


def test_a_stale_lock_is_removed(restic, tmp_path, module, wait_for):
    storage = heavy(tmp_path)
    process = slow_backup(module, restic, storage)
    lock = wait_for(restic.locks)[0]
    os.kill(lock["pid"], signal.SIGKILL)
    process.communicate(timeout=60)
    assert [item["stale"] for item in restic.locks()] == [True]
    restic.check()
    assert restic.locks() == []


def test_the_lock_of_another_host_is_not_stale_because_its_process_is_not_here(restic, storage, tmp_path, wait_for):
    tried = subprocess.run(["unshare", "--uts", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or tried.returncode != 0:
        pytest.skip("needs the right to give a process another host name")
    heavy(tmp_path / "more")
    env = {**os.environ, **{name: value for name, value in restic.repository.env().items() if value is not None}}
    process = subprocess.Popen(
        [
            "unshare",
            "--uts",
            "sh",
            "-c",
            'hostname elsewhere; exec "$@"',
            "sh",
            restic.repository.binary,
            "backup",
            "--limit-upload",
            str(SLOW),
            str(tmp_path / "more"),
        ],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lock = wait_for(restic.locks)[0]
    process.kill()
    process.wait()
    assert lock["host"] == "elsewhere" and not restic.locks()[0]["stale"]
    assert restic.unlock() == 0
    assert caught(restic.check).reason == "repository_locked" and len(restic.locks()) == 1


# Damage

def test_a_damaged_pack_is_found_by_reading_and_never_restored(restic, storage, tmp_path):
    done = backup(restic, storage)
    pack = largest_pack(restic)
    flip(pack, 5000)
    restic.check()  # the structure is whole: this is why such a check is no verification
    error = caught(restic.check, read_data=True)
    assert isinstance(error, IntegrityError) and error.reason == "repository_damaged"
    assert error.detail["packs"] == [os.path.basename(pack)]
    error = caught(restic_restore.restore_path, restic, done["snapshot"], "/storage", tmp_path / "out")
    assert isinstance(error, IntegrityError) and error.reason == "repository_damaged"
    assert not (tmp_path / "out").exists() and not any(name.startswith(".out") for name in os.listdir(tmp_path))
    assert restic.locks() == []


def test_a_damaged_directory_of_a_snapshot_is_told_as_damage(restic, storage, tmp_path):
    """Whatever reads it: 0.18.0 crashes over it in ls and dump, and leaves the lock of dump."""
    done = backup(restic, storage)
    whole = [entry.path for entry in contents.entries(restic, done["snapshot"], "/storage")]
    content = largest_pack(restic)
    trees = [path for path in packs_of(restic) if path != content]
    assert trees
    for path in trees:
        flip(path, os.path.getsize(path) // 2)
    shutil.rmtree(restic.repository.cache_dir)

    try:
        found = [entry.path for entry in contents.entries(restic, done["snapshot"], "/storage")]
    except DrError as exc:
        assert exc.reason in ("repository_damaged", "snapshot_unreadable"), exc.detail
    else:
        assert found != whole and restic.version() < (0, 19), "who compares finds what these versions leave out in silence"

    (storage / "new").write_bytes(b"new")
    reading = [lambda: list(restic.ls(done["snapshot"])),
               lambda: restic_restore.restore_path(restic, done["snapshot"], "/storage", tmp_path / "out"), restic.check]
    if restic.version() >= (0, 17):  # before, a backup does not say why it could not go on
        reading.append(lambda: backup(restic, storage))
    for read in reading:
        error = caught(read)
        assert isinstance(error, IntegrityError) and error.reason == "repository_damaged", error.detail
    restic.unlock()
    assert not (tmp_path / "out").exists() and restic.locks() == []
    assert [item["id"] for item in restic.snapshots()] == [done["snapshot"]]


def test_a_lost_pack_is_found_without_reading(restic, storage):
    backup(restic, storage)
    pack = largest_pack(restic)
    os.unlink(pack)
    error = caught(restic.check)
    assert error.reason == "repository_damaged" and error.detail["packs"] == [os.path.basename(pack)]


@pytest.mark.full("a lost pack: restic tries for a minute to read it")
def test_a_lost_pack_is_never_restored_over(restic, storage, tmp_path):
    done = backup(restic, storage)
    os.unlink(largest_pack(restic))
    error = caught(restic_restore.restore_path, restic, done["snapshot"], "/storage", tmp_path / "out")
    assert error.reason == "repository_damaged" and not (tmp_path / "out").exists()


def test_damage_anywhere_is_never_a_good_restore(one_restic, storage, tmp_path):
    """One flipped bit at sampled places of all packs: restored exactly (the place is not needed) or refused."""
    import random
    local.take(storage, tmp_path / "list.gz", digests=True)
    done = backup(one_restic, storage)
    chance = random.Random(13)
    packs = packs_of(one_restic)
    refused = 0
    for number in range(60 if FULL else 6):
        pack = packs[number % len(packs)]
        place = chance.randrange(os.path.getsize(pack))
        flip(pack, place)
        shutil.rmtree(one_restic.repository.cache_dir)
        try:
            restic_restore.restore_path(one_restic, done["snapshot"], "/storage", tmp_path / "out")
        except DrError:
            refused += 1
            assert not (tmp_path / "out").exists()
        else:
            assert compare.compare_tree(tmp_path / "list.gz", tmp_path / "out")["verdict"] == "equal", (pack, place)
            shutil.rmtree(tmp_path / "out")
        flip(pack, place)
    assert refused, "no sampled place mattered"


# Space

def test_a_full_disk_under_the_repository(make, binary, tmp_path, tmpfs):
    storage = heavy(tmp_path)
    place = tmpfs("30m")
    restic = make(binary, str(place / "repository"))
    restic.init()
    error = caught(backup, restic, storage)
    assert error.reason == "disk_full", error.detail
    subprocess.run(["mount", "-o", "remount,size=200m", str(place)], check=True)
    assert restic.snapshots() == []
    done = backup(restic, storage)
    restic.check(read_data=True)
    assert done["files_total"] == 8 and len(restic.snapshots()) == 1


def test_a_restic_that_hangs_after_it_gave_up_is_ended(make, installed, tmp_path, monkeypatch):
    """0.18.0 does so once in about 25 times on a full disk; here a program in front of it, which leaves a child behind."""
    program = tmp_path / "hangs"
    program.write_text(f'''#!/bin/sh
case $1 in backup) ;; *) exec {installed} "$@" ;; esac
echo 'Save(<data/6036445453>) failed: write /vault/data/60/60364454-tmp: no space left on device' >&2
trap "" INT
sleep 600
''')
    program.chmod(0o755)
    restic = make(program)
    restic.init()
    monkeypatch.setattr(restic_process, "_LAST_WORDS", 0.5)
    monkeypatch.setattr(restic_process, "_GRACE", 1.0)
    started = time.monotonic()
    error = caught(backup, restic, heavy(tmp_path))
    assert error.reason == "disk_full" and time.monotonic() - started < 30
    assert restic.snapshots() == []


def test_a_full_disk_under_the_target_is_refused_before_and_caught_during(restic, tmp_path, tmpfs, monkeypatch):
    done = backup(restic, heavy(tmp_path))
    place = tmpfs("30m")
    error = caught(restic_restore.restore_path, restic, done["snapshot"], "/storage", place / "out")
    assert error.reason == "no_space" and error.detail["needed"] > 64_000_000 and os.listdir(place) == []
    monkeypatch.setattr(restic_restore, "check_space", lambda target, size: None)
    error = caught(restic_restore.restore_path, restic, done["snapshot"], "/storage", place / "out")
    assert error.reason == "disk_full" and os.listdir(place) == []


# Death

def test_a_killed_backup_is_repeated_whole(restic, tmp_path, module, wait_for):
    storage = heavy(tmp_path)
    params = {"tags": ["point=x"], "job_dir": str(tmp_path / "job")}
    process = slow_backup(module, restic, storage, **params)
    worker = wait_for(restic.locks)[0]["pid"]
    process.kill()
    process.communicate()
    wait_for(lambda: not os.path.exists(f"/proc/{worker}"), 5)  # restic dies with the module
    assert restic.snapshots() == []
    result = slow_backup(module, restic, storage, **dict(params, limit_upload=None))
    out, _err = result.communicate(timeout=120)
    assert '"changed": true' in out
    again, _err = slow_backup(module, restic, storage, **params).communicate(timeout=120)
    assert '"reattached": true' in again and '"changed": false' in again
    assert len(restic.snapshots(["point=x"])) == 1
    restic.check(read_data=True)


def test_a_killed_restore_is_swept_and_repeated(restic, tmp_path, module, wait_for):
    storage = heavy(tmp_path)
    local.take(storage, tmp_path / "list.gz", digests=True)
    done = backup(restic, storage)
    params = {"repository": restic.repository.location, "repository_password_file": restic.repository.password_file,
              "restic_binary": restic.repository.binary, "cache_dir": restic.repository.cache_dir, "path": "/storage",
              "snapshot": done["snapshot"], "target": str(tmp_path / "out"), "job_dir": str(tmp_path / "job")}
    process = module.start("restic_restore", dict(params, limit_download=SLOW))
    scratch = tmp_path / f".out{restic_restore.SUFFIX}"
    wait_for(lambda: scratch.exists() and any(scratch.rglob("0*")))
    busy = module("restic_restore", dict(params, job_dir=None))
    assert busy["reason"] == "restore_running" and scratch.exists(), "a second one keeps away"
    process.kill()
    process.communicate()
    assert scratch.exists() and not (tmp_path / "out").exists()
    result = module("restic_restore", params)
    assert result.get("changed"), result
    assert compare.compare_tree(tmp_path / "list.gz", tmp_path / "out")["verdict"] == "equal" and not scratch.exists()
    again = module("restic_restore", params)
    assert not again["changed"] and again["reattached"]


def test_a_restore_killed_after_its_last_step_is_recognised(one_restic, storage, tmp_path, module):
    """Killed between the rename and the note that the job is done: the target is its own work."""
    done = backup(one_restic, storage)
    params = {"repository": one_restic.repository.location, "snapshot": done["snapshot"], "path": "/storage",
              "repository_password_file": one_restic.repository.password_file, "target": str(tmp_path / "out"),
              "cache_dir": one_restic.repository.cache_dir, "job_dir": str(tmp_path / "job")}
    assert module("restic_restore", params)["changed"]
    os.unlink(tmp_path / "job" / "state.json")
    again = module("restic_restore", params)
    assert not again["changed"] and not again["reattached"] and again["files"] > 0


def test_an_aborted_module_takes_restic_with_it_and_leaves_no_lock(restic, tmp_path, module, wait_for):
    storage = heavy(tmp_path)
    process = slow_backup(module, restic, storage, job_dir=str(tmp_path / "job"))
    worker = wait_for(restic.locks)[0]["pid"]
    process.send_signal(signal.SIGTERM)  # what job_wait sends first
    out, _err = process.communicate(timeout=60)
    assert '"reason": "aborted"' in out
    assert not os.path.exists(f"/proc/{worker}") and restic.locks() == [] and restic.snapshots() == []
