# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file is whole or it is the old one, wherever its writer is killed."""
from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import files
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, StateError


def test_replaces_with_the_mode_asked_for_whatever_the_umask(tmp_path):
    path = tmp_path / "f"
    before = os.umask(0o277)
    try:
        files.atomic_write(path, "one")
        files.atomic_write(path, b"two", mode=0o640)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["f"]


def test_an_error_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.AtomicFile(path) as handle:
        handle.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_part_left_by_a_killed_writer_is_not_mixed_in(tmp_path):
    (tmp_path / "f.part").write_bytes(b"x" * 100)
    files.atomic_write(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


def test_a_part_that_is_a_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "f.part").symlink_to(victim)
    files.atomic_write(tmp_path / "f", b"new")
    assert victim.read_text() == "mine"


def test_a_full_disk_is_an_error_and_leaves_no_part(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError):
        files.atomic_write(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == []


KILLED_AT = """
import os, signal, sys
sys.path[:0] = {path!r}
from ansible_collections.kestra_community.dr.plugins.module_utils.core import files
step = {step!r}
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "before rename":
    files.os.rename = die
if step == "after rename":
    files.fsync_dir = die
with files.AtomicFile({target!r}) as handle:
    handle.write(b"new" * 100000)
    if step == "in the middle":
        handle.flush()
        die()
"""


@pytest.mark.parametrize("step", ["in the middle", "before rename", "after rename", "never"])
def test_kill_9_leaves_old_or_new(tmp_path, step):
    target = tmp_path / "f"
    target.write_bytes(b"old")
    program = KILLED_AT.format(path=sys.path, step=step, target=str(target))
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == (0 if step == "never" else -9)
    expected = b"old" if step in ("in the middle", "before rename") else b"new" * 100000
    assert target.read_bytes() == expected
    files.atomic_write(target, b"next")
    assert os.listdir(tmp_path) == ["f"]


def test_the_hashing_writer_counts_and_passes_on():
    sink = io.BytesIO()
    writer = files.HashingWriter(sink)
    assert [writer.write(block) for block in (b"ab", b"", b"c")] == [2, 0, 1]
    assert sink.getvalue() == b"abc"
    assert (writer.size, writer.sha256) == (3, hashlib.sha256(b"abc").hexdigest())


def test_sha256_of_a_file_larger_than_a_block(tmp_path):
    data = os.urandom(files.CHUNK * 2 + 17)
    (tmp_path / "f").write_bytes(data)
    seen = []
    assert files.sha256_file(tmp_path / "f", seen.append) == hashlib.sha256(data).hexdigest()
    assert sum(seen) == len(data)


def test_json_is_sorted_ends_in_a_newline_and_comes_back(tmp_path):
    value = {"b": [1, 2], "a": "ä"}
    files.write_json(tmp_path / "f", value)
    text = (tmp_path / "f").read_text()
    assert text.endswith("}\n") and text.index('"a"') < text.index('"b"')
    assert json.loads(text) == files.read_json(tmp_path / "f") == value


def test_missing_and_malformed_json_are_told_apart(tmp_path):
    with pytest.raises(StateError):
        files.read_json(tmp_path / "none")
    for bad in (b"{", b"\xff", b"", b"[]", b"null"):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(IntegrityError):
            files.read_json(tmp_path / "bad")


def test_free_bytes_are_those_of_an_ordinary_user(tmp_path):
    assert 0 < files.free_bytes(tmp_path) <= os.statvfs(tmp_path).f_bfree * os.statvfs(tmp_path).f_frsize
