# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module storage_inventory_info as a process, on real trees."""
from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile

import pytest

FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"
MODULE = "ansible_collections.kestra_community.dr.plugins.modules.storage_inventory_info"


def start(params, check_mode=False):
    arguments = {"ANSIBLE_MODULE_ARGS": dict(params, _ansible_check_mode=check_mode)}
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    process = subprocess.Popen([sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=env, text=True)
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    process.stdin = None
    return process


def run(params, check_mode=False):
    """(result, peak memory in KiB) of the module."""
    process = start(
        {name: os.fspath(value) if hasattr(value, "__fspath__") else value for name, value in params.items()},
        check_mode,
    )
    out = process.stdout.read()
    _pid, _status, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return json.loads(out.strip().splitlines()[-1]), usage.ru_maxrss


def grow(root, files, each=40):
    """A tree shaped like Kestra's: a directory for each execution."""
    for number in range(files):
        directory = root / "ns" / f"execution-{number // each:06}"
        if number % each == 0:
            directory.mkdir(parents=True)
        (directory / f"{number:07}.ion").write_bytes(b"x" * (number % 64))
    return root


@pytest.fixture
def storage(tmp_path):
    root = grow(tmp_path / "storage", 100)
    with open(os.fsencode(root) + b"/bad\xff\nname", "wb") as handle:
        handle.write(b"odd")
    return root


def test_a_list_and_what_is_returned(storage, tmp_path):
    result, _memory = run({"path": storage, "dest": tmp_path / "list.gz", "hash": True})
    assert not result["changed"] and result["files"] == 101 and result["hashed_files"] == 101
    with gzip.open(tmp_path / "list.gz", "rt", encoding="ascii") as handle:
        lines = [json.loads(line) for line in handle]
    assert len(lines) == result["list"]["entries"] == result["entries"]
    odd = [line for line in lines if "b" in line]
    assert len(odd) == 1 and odd[0]["t"] == "f" and len(odd[0]["h"]) == 64
    assert oct(os.stat(tmp_path / "list.gz").st_mode & 0o777) == "0o600"


def test_the_mutable_part_is_held_and_kept_where_it_changed(tmp_path):
    storage, names = tmp_path / "storage", {name: tmp_path / name for name in ("mutable.gz", "held.tar", "pin.gz", "list.gz", "kept.tar")}
    keys = storage / "company" / "_kv"
    for number in range(200):
        directory = storage / "company" / "flow" / "executions" / f"{number:022}" / "inputs"
        directory.mkdir(parents=True)
        (directory / "x").write_text("x")
    keys.mkdir()
    for key in ("same", "changed"):
        (keys / key).write_text(f"{key} then")
    held, _memory = run({"path": storage, "part": "mutable", "dest": names["mutable.gz"], "hold": names["held.tar"]})
    # The directories: company, flow, executions, _kv.
    assert (held["files"], held["directories"]) == (2, 4)
    (keys / "changed").write_text("now")
    (keys / "later").write_text("later")
    pinned, _memory = run({"path": storage, "mutable": names["mutable.gz"], "dest": names["pin.gz"]})
    assert pinned["files"] == 202
    listed, _memory = run({"path": storage, "dest": names["list.gz"], "hash": True, "compare": names["pin.gz"],
                           "held": names["held.tar"], "keep": names["kept.tar"]})
    assert listed["drift"] == {"deleted": 0, "changed": 0, "added": 0, "pinned": 1, "later": 1,
                               "examples": {"pinned": ["company/_kv/changed"], "later": ["company/_kv/later"]}}
    with tarfile.open(names["kept.tar"]) as kept:
        assert kept.getnames() == ["company/_kv/changed"] and kept.extractfile("company/_kv/changed").read() == b"changed then"
    refused, _memory = run({"path": storage, "hold": names["held.tar"]})
    assert refused["failed"] and "dest" in refused["msg"]


def test_check_mode_writes_nothing(storage, tmp_path):
    result, _memory = run({"path": storage, "dest": tmp_path / "list.gz", "job_dir": tmp_path / "job"}, check_mode=True)
    assert result["files"] == 101 and result["list"] is None
    assert sorted(os.listdir(tmp_path)) == ["storage"]


def test_drift_and_proof(storage, tmp_path):
    run({"path": storage, "dest": tmp_path / "pinned.gz"})
    (storage / "ns" / "execution-000000" / "0000000.ion").unlink()
    (storage / "ns" / "new").write_bytes(b"")
    after, _memory = run(
        {"path": storage, "dest": tmp_path / "list.gz", "hash": True, "compare": tmp_path / "pinned.gz"}
    )
    assert (after["drift"]["deleted"], after["drift"]["changed"], after["drift"]["added"]) == (1, 0, 1)
    proof, _memory = run({"path": storage, "hash": True, "expect": tmp_path / "list.gz"})
    assert proof["comparison"]["verdict"] == "equal" and proof["comparison"]["drifted"] == 2
    assert proof["comparison"]["compared_digests"] == 100
    (storage / "ns" / "execution-000001" / "0000041.ion").write_bytes(b"other")
    proof, _memory = run({"path": storage, "hash": True, "expect": tmp_path / "list.gz"})
    assert proof["comparison"]["verdict"] == "differs"
    assert proof["comparison"]["examples"] == {"size": ["ns/execution-000001/0000041.ion"]}


@pytest.mark.parametrize("spoil, reason", [
    (lambda root, _path: os.symlink("/etc/passwd", root / "out"), "storage_not_portable"),
    (lambda root, _path: os.mkfifo(root / "fifo"), "storage_not_portable"),
    (lambda root, path: path.write_bytes(path.read_bytes()[:-9]), "storage_list_malformed"),
    (lambda root, path: path.unlink(), "storage_list_missing"),
])
def test_refusals(storage, tmp_path, spoil, reason):
    run({"path": storage, "dest": tmp_path / "list.gz"})
    spoil(storage, tmp_path / "list.gz")
    result, _memory = run({"path": storage, "expect": tmp_path / "list.gz"})
    assert result["failed"] and result["reason"] == reason, result


def test_a_missing_storage_is_told(tmp_path):
    result, _memory = run({"path": tmp_path / "gone"})
    assert result["failed"] and result["reason"] == "storage_missing"


def test_a_full_disk_under_the_list_leaves_none(storage, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "kestra-dr-test", str(small)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("a small file system cannot be mounted here: " + done.stderr.decode().strip())
    try:
        grow(tmp_path / "more", 2000)
        result, _memory = run({"path": tmp_path / "more", "dest": small / "list.gz", "hash": True})
        assert result["failed"] and result["reason"] == "disk_full" and os.listdir(small) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_killed_walk_is_repeated(tmp_path):
    storage = grow(tmp_path / "storage", 4000)
    params = {"path": str(storage), "dest": str(tmp_path / "list.gz"), "hash": True, "job_dir": str(tmp_path / "job")}
    process = start(params)
    while not (tmp_path / "job" / "state.json").exists() and process.poll() is None:
        pass
    process.kill()
    process.communicate()
    assert not (tmp_path / "list.gz").exists()
    result, _memory = run(params)
    assert result["list"]["entries"] == 4000 + 100 + 1 and not result["reattached"]
    again, _memory = run(params)
    assert again["reattached"] and again["list"] == result["list"]


def test_memory_is_flat(tmp_path):
    """A million entries with KESTRA_DR_TEST_FULL=1."""
    small, large = grow(tmp_path / "small", 500), grow(tmp_path / "large", 1_000_000 if FULL else 15_000, 1000)
    _result, before = run({"path": small, "dest": tmp_path / "small.gz", "hash": True})
    result, after = run({"path": large, "dest": tmp_path / "large.gz", "hash": True})
    compared, during = run({"path": large, "expect": tmp_path / "large.gz"})
    assert result["files"] >= 15_000 and compared["comparison"]["verdict"] == "equal"
    assert max(after, during) < before + 8_000, (before, after, during)
