# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic says, as recorded from 0.14.0, 0.18.0 and 0.19.1."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError, IntegrityError, LockedError, StateError, ToolError)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic_output as output

OLD, NEW = (0, 14, 0), (0, 18, 0)
ID = "ab" * 32

LOCKED = (
    "unable to create lock in backend: repository is already locked exclusively by PID 12039 on vm by root "
    "(UID 0, GID 0)\nlock was created at 2026-11-23 00:21:28 (1.948379823s ago)\nstorage ID 9a1f9a66\n"
    "the `unlock` command can be used to remove stale locks")


def as_json(code, message):
    import json
    return json.dumps({"message_type": "exit_error", "code": code, "message": message})


RECORDED = [
    (OLD, 1, "Fatal: wrong password or no key found", "repository_wrong_password"),
    (NEW, 12, as_json(12, "Fatal: wrong password or no key found"), "repository_wrong_password"),
    # 0.17.0 knew 10 and 11, but not yet 12
    ((0, 17, 0), 1, as_json(1, "Fatal: wrong password or no key found"), "repository_wrong_password"),
    (
        OLD,
        1,
        "Fatal: unable to open config file: stat /r/config: no such file or directory\n"
        "Is there a repository at the following location?\n/r",
        "repository_missing",
    ),
    (
        NEW,
        10,
        as_json(
            10,
            "Fatal: repository does not exist: unable to open config file: stat /r/config: no such file or "
            "directory\nIs there a repository at the following location?\n/r",
        ),
        "repository_missing",
    ),
    (
        OLD,
        1,
        "Fatal: unable to open config file: Stat: The specified key does not exist.\n"
        "Is there a repository at the following location?",
        "repository_missing",
    ),
    (
        OLD,
        1,
        "Fatal: unable to open config file: unexpected HTTP response (404): 404 Not Found\nIs there",
        "repository_missing",
    ),
    (
        OLD,
        1,
        "Fatal: unable to open config file: Stat: Access Denied.\nIs there a repository at the following location?",
        "repository_unreachable",
    ),
    (
        OLD,
        1,
        "Fatal: unable to open config file: Head \"http://h:1/\": dial tcp 127.0.0.1:1: connect: connection refused",
        "repository_unreachable",
    ),
    (OLD, 1, LOCKED, "repository_locked"),
    (NEW, 11, as_json(11, LOCKED), "repository_locked"),
    (OLD, 1, "Resolving password failed: Fatal: /pw does not exist", "repository_password_unavailable"),
    (NEW, 1, as_json(1, "Fatal: Resolving password failed: exit status 1"), "repository_password_unavailable"),
    (OLD, 1, "Fatal: create repository at /r failed: config file already exists", "repository_exists"),
    (OLD, 1, 'invalid id "deadbeef": no matching ID found for prefix "deadbeef"', "snapshot_missing"),
    (OLD, 2, 'cannot dump file: path "/nope" not found in snapshot', "path_missing"),
    (NEW, 1, 'Fatal: cannot dump file: path "/nope" not found in snapshot', "path_missing"),
    (
        OLD,
        1,
        "Pack ID does not match, want " + ID + ", got " + "cd" * 32 + "\nFatal: repository contains errors",
        "repository_damaged",
    ),
    (
        OLD,
        1,
        "ignoring error for /storage/big: ciphertext verification failed\nFatal: There were 2 errors",
        "repository_damaged",
    ),
    (
        OLD,
        1,
        "ignoring error for /s/big: StreamPack: open /r/data/64/64f0: no such file or directory\nFatal: There were 1 "
        "errors",
        "repository_damaged",
    ),
    (
        NEW,
        1,
        "ignoring error for /s/f1: ReadFull(<data/e399f2a510>): open /r/data/e3/e399: no such file or directory",
        "repository_damaged",
    ),
    (
        NEW,
        2,
        "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation "
        "code=0x1 addr=0x0 pc=0x893e95]\n\ngoroutine 1 [running]:\ngithub.com/restic/restic/internal/walker.walk({0x1143910, "
        "0xc0000f43c0}, {0x1139520, 0xc0002f7380}, {0xc00021e3a0, 0x10}, ...)\n\t"
        "github.com/restic/restic/internal/walker/walker.go:55 +0x75",
        "repository_damaged",
    ),
    (NEW, 2, "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()", "restic_failed"),
    (OLD, 1, "Fatal: unable to save snapshot: write /r/data/tmp: no space left on device", "disk_full"),
    (OLD, 130, "signal interrupt received, cleaning up", "interrupted"),
    (OLD, -9, "", "interrupted"),
    (OLD, 1, "something nobody has seen", "restic_failed"),
    (NEW, 42, "Fatal: a code of the future", "restic_failed"),
    # codes that mean something from 0.17 on mean nothing before
    (OLD, 12, "odd", "restic_failed"),
]


@pytest.mark.parametrize("version, code, stderr, reason", RECORDED)
def test_reason(version, code, stderr, reason):
    assert output.reason_of(code, stderr, version) == reason


@pytest.mark.parametrize("code, stderr, kind", [
    (1, "wrong password or no key found", ConnectError), (1, LOCKED, LockedError),
    (1, "Fatal: repository contains errors", IntegrityError), (1, "no matching ID found", StateError),
    (99, "", ToolError), (1, "no space left on device", ToolError),
])
def test_failure_is_of_the_right_kind(code, stderr, kind):
    error = output.failure(code, stderr, where="/r", command=["restic", "x"], version=OLD)
    assert isinstance(error, kind)
    assert error.detail["rc"] == code and error.detail["command"] == ["restic", "x"]


def test_an_unknown_failure_tells_its_fatal_line():
    error = output.failure(1, "Fatal: odd thing\nalso, something else", where="/r", command=["restic"], version=OLD)
    assert "odd thing" in str(error) and "exit code 1" in str(error)


def test_a_lock_names_its_holder():
    error = output.failure(1, LOCKED, where="/r", command=["restic"], version=OLD)
    assert error.detail["holder"] == {"exclusive": True, "pid": 12039, "host": "vm", "user": "root",
                                      "since": "2026-11-23 00:21:28"}
    assert "PID 12039 on vm" in str(error)


def test_a_damaged_repository_names_its_packs():
    old = "pack " + ID + ": does not exist\nFatal: repository contains errors"
    assert output.failure(1, old, where="/r", command=["restic"], version=OLD).detail["packs"] == [ID]
    assert output.broken_packs("Pack ID does not match, want " + ID + ", got " + "cd" * 32) == [ID]
    assert output.broken_packs("pack " + ID + " contains 2 errors: [blob " + "ef" * 32) == [ID]


def test_versions():
    assert output.parse_version("restic 0.14.0 compiled with go1.19.8 on linux/amd64") == (0, 14, 0)
    assert output.parse_version("restic 0.19.1-dev (v0.19) compiled with") == (0, 19, 1)
    with pytest.raises(ToolError):
        output.parse_version("rclone v1.60")


@pytest.mark.parametrize("line, found", [
    ("[0:00] 100.00%  1 / 1 snapshots", (1, 1, "snapshots")),
    ("[1:02:03] 50.00%  10 / 20 packs", (10, 20, "packs")),
    ("[0:00]          0 packs processed", (0, None, "packs processed")),
    ("no errors were found", None), ("", None),
])
def test_progress(line, found):
    assert output.progress_of(line) == found


@pytest.mark.parametrize("line, vanished", [
    ('{"message_type":"error","error":{"Op":"lstat","Path":"s/b","Err":2},"during":"archival","item":"/s/b"}', True),
    ('{"message_type":"error","error":{"Op":"open","Path":"s/b","Err":13},"during":"archival","item":"/s/b"}', False),
    ('{"message_type":"error","error":{},"during":"archival","item":"s/c"}', False),
    ('{"message_type":"error","error":{"message":"lstat s/b: no such file or directory"},"item":"b"}', True),
    ('{"message_type":"error","error":{"message":"/s/b: open s/b: permission denied"},"item":"b"}', False),
    ("nonexist does not exist, skipping", False),
])
def test_source_errors(line, vanished):
    assert output.source_error(line)["vanished"] is vanished


@pytest.mark.parametrize("line", [
    '{"message_type":"error","error":{},"during":"scan","item":"/s/c"}', "unable to open cache: mkdir", "{broken",
    '{"message_type":"exit_error","code":3,"message":"Warning: at least one source file could not be read"}', "",
])
def test_no_source_errors(line):
    assert output.source_error(line) is None


def test_item_of_a_skipped_source_keeps_its_odd_name():
    assert (
        output.source_error("a does not exist, skipping does not exist, skipping")["item"]
        == "a does not exist, skipping"
    )


def test_times_are_exact():
    assert output.nanoseconds("2020-01-01T00:00:00.123456789Z") == 1577836800123456789
    assert output.nanoseconds("2020-01-01T02:00:00+02:00") == 1577836800000000000
    assert output.nanoseconds("1969-12-31T23:59:59.5Z") == -500000000
    assert output.utc("2026-11-23T01:21:28.948379823+01:00") == datetime(2026, 11, 23, 0, 21, 28, 948379, timezone.utc)
    with pytest.raises(ToolError):
        output.utc("yesterday")


@pytest.mark.parametrize("go_mode, posix", [
    (420, 0o644), (2147484141, 0o755), (2151678445, 0o2755), (134218239, 0o777), (1 << 23 | 0o755, 0o4755),
    (1 << 31 | 1 << 20 | 0o777, 0o1777),
])
def test_modes(go_mode, posix):
    assert output.posix_mode(go_mode) == posix


@pytest.mark.parametrize("name, text", [
    (b"plain", "plain"), ("äß€".encode(), "äß€"), (b"bad\xff\xfename", "bad\ufffd\ufffdname"),
    (b"cut\xe2\x82", "cut\ufffd\ufffd"), (b"nl\nname", "nl\nname"), (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
])
def test_names_as_go_prints_them(name, text):
    assert output.lossy(name) == text


def test_nodes():
    node = output.node_of({
        "name": "f1", "type": "file", "path": "/storage/f1", "uid": 1234, "gid": 2345, "size": 2, "mode": 416,
        "mtime": "2020-01-01T00:00:00.123456789Z", "struct_type": "node"})
    assert node == {"path": "/storage/f1", "type": "file", "size": 2, "mode": 0o640, "uid": 1234, "gid": 2345,
                    "mtime_ns": 1577836800123456789}
    assert output.node_of({"struct_type": "snapshot"}) is None
    assert output.node_of(
        {"message_type": "node", "path": "/a", "type": "dir", "mode": 0, "mtime": "2020-01-01T00:00:00Z"}
    )


def test_snapshots_have_the_same_keys_in_every_version():
    old = output.snapshot_of(
        {
            "id": ID,
            "time": "2026-11-23T00:20:12Z",
            "hostname": "h",
            "username": "root",
            "tree": "t",
            "paths": ["/a"],
            "short_id": "x",
        }
    )
    new = output.snapshot_of({"id": ID, "time": "2026-11-23T00:20:12Z", "tags": ["a"], "parent": "p", "paths": None,
                              "program_version": "restic 0.18.0", "summary": {"files_new": 1}})
    assert set(old) == set(new) and old["tags"] == [] and new["paths"] == [] and old["short_id"] == ID[:8]


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize("age, host, alive, stale", [
    (timedelta(minutes=29), "other", False, False),  # nothing is known of another host's processes
    (timedelta(minutes=31), "other", True, True), (timedelta(minutes=1), "here", True, False),
    (timedelta(minutes=1), "here", False, True), (timedelta(minutes=31), "here", True, True),
    (timedelta(minutes=-5), "other", False, False),  # a clock that runs ahead
])
def test_stale_locks(age, host, alive, stale):
    lock = {"time": (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ"), "hostname": host, "pid": 7}
    assert output.stale(lock, host="here", alive=lambda pid: alive, now=NOW) is stale


def test_ids():
    assert output.is_full_id(ID) and not output.is_full_id(ID[:8]) and not output.is_full_id("latest")
    assert output.is_id(ID[:8]) and not output.is_id("latest") and not output.is_id("ab") and not output.is_id(None)


@pytest.mark.parametrize("line, gave_up", [
    ("Save(<data/6036445453>) failed: write /vault/data/60/60364454-tmp-4105833068: no space left on device", True),
    ("Save(<index/ab01>) failed: client.PutObject: Access Denied", True),
    ("Save(<lock/ab01>) failed: dial tcp: i/o timeout", False),
    ("Save(<data/6036445453>) returned error, retrying after 1.2s: dial tcp: i/o timeout", False),
    ('{"message_type":"error","item":"/Save(<data/ab>) failed: ","error":{"message":"gone"}}', False),
])
def test_what_could_not_be_stored(line, gave_up):
    assert output.gave_up(line) is gave_up
