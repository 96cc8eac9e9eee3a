# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an exact restore checks before it begins; restoring itself is tested with real programs."""
from __future__ import annotations

import os

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import write_json
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic_restore
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.options import Repository
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic

ID = "ab" * 32
SIZE = {"files": 10, "directories": 1, "symlinks": 0, "special": 0, "bytes": 100_000}


def reason(call, *args):
    with pytest.raises(DrError) as caught:
        call(*args)
    return caught.value.reason


def node(path, kind="file", **more):
    return dict({"path": path, "type": kind, "size": 5, "mode": 0o644, "uid": 1, "gid": 2, "mtime_ns": 3}, **more)


def test_targets(tmp_path):
    restic_restore.check_target(str(tmp_path / "new"))
    (tmp_path / "empty").mkdir()
    restic_restore.check_target(str(tmp_path / "empty"))
    (tmp_path / "empty" / "lost+found").mkdir()
    restic_restore.check_target(str(tmp_path / "empty"))
    (tmp_path / "empty" / "x").touch()
    assert reason(restic_restore.check_target, str(tmp_path / "empty")) == "target_not_empty"
    (tmp_path / "broken").symlink_to("nowhere")
    assert reason(restic_restore.check_target, str(tmp_path / "broken")) == "target_not_empty"
    assert reason(restic_restore.check_target, "relative/path") == "bad_path"
    assert reason(restic_restore.check_target, str(tmp_path / "no" / "parent")) == "target_parent_missing"


def test_space_counts_the_files_and_what_each_entry_costs(tmp_path, monkeypatch):
    needed = 100_000 + 11 * 4096
    monkeypatch.setattr(restic_restore, "free_bytes", lambda path: needed)
    restic_restore.check_space(str(tmp_path / "new"), SIZE)
    monkeypatch.setattr(restic_restore, "free_bytes", lambda path: needed - 1)
    assert reason(restic_restore.check_space, str(tmp_path / "new"), SIZE) == "no_space"


def test_entries_of_a_snapshot_are_relative():
    entry = restic_restore.snapshot_entry(node("/app/storage/a/b"), "/app/storage")
    assert (entry.path, entry.type, entry.size, entry.uid) == (b"a/b", "f", 5, 1)
    assert restic_restore.snapshot_entry(node("/a/b"), "/").path == b"a/b"
    assert restic_restore.snapshot_entry(node("/a/b", "dir"), "/a").size == 0
    assert restic_restore.snapshot_entry(node("/a/b", "fifo"), "/a") is None


def test_measuring_does_not_count_the_path_itself(monkeypatch):
    restic = Restic(Repository("/r"))
    monkeypatch.setattr(restic, "ls", lambda snapshot, path: iter([
        node("/s", "dir", size=0), node("/s/a"), node("/s/d", "dir", size=0), node("/s/l", "symlink", size=0),
        node("/s/p", "fifo", size=0)]))
    assert restic_restore.measure(restic, ID, "/s") == {
        "files": 1, "directories": 1, "symlinks": 1, "special": 1, "bytes": 5}


def test_a_receipt_is_for_one_place_and_one_question(tmp_path):
    target, receipt = tmp_path / "out", tmp_path / "receipt"
    target.mkdir()
    result = {"snapshot": ID, "path": "/s", "target": str(target)}
    status = os.lstat(target)
    write_json(receipt, {"place": [status.st_dev, status.st_ino], "result": result})
    assert restic_restore._own_work(receipt, ID, "/s", str(target)) == result
    assert restic_restore._own_work(receipt, ID, "/other", str(target)) is None
    assert restic_restore._own_work(None, ID, "/s", str(target)) is None
    os.rename(target, tmp_path / "away")
    assert restic_restore._own_work(receipt, ID, "/s", str(target)) is None
    target.mkdir()
    assert restic_restore._own_work(receipt, ID, "/s", str(target)) is None
