# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mutable part: what belongs to it, that it is found without reading executions, and that it comes back as it was at the pin."""
from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import compare, listing, local, part, pinned

ID = "5aXYZ0123456789abcdEFG"
KV, FILES = "main/company/team/_kv", "main/company/team/_files"
TASK = f"main/company/team/flow/executions/{ID}/tasks/t/{ID}"


@pytest.mark.parametrize("path, mutable, execution", [
    (f"{KV}/key.ion", True, False), (KV, True, False), (f"{FILES}/a/b.txt", True, False), ("main/company/_messages/x", True, False),
    ("main/company/team/flow/states/s", True, False), (f"{FILES}/executions/{ID}/x", True, False),
    (f"{TASK}/out.ion", False, True), (f"{TASK}/_files/x", False, True), (f"main/company/states/flow/executions/{ID}", False, True),
    ("main/company/team", False, False), (f"main/company/team/flow/{ID}/cache/cache.zip", False, False),
    (f"backups/full/{ID}.kestra", False, False), ("main/company/executions/flow/_kv/x", True, False)])
def test_what_belongs_to_it(path, mutable, execution):
    assert (part.mutable(path.encode()), part.of_execution(path.encode())) == (mutable, execution)


@pytest.mark.parametrize("path, may", [
    ("main/company/team/flow/executions", True), (f"{FILES}/executions", False), (f"{TASK}/executions", False), ("main/x", False)])
def test_where_executions_may_be(path, may):
    assert part.of_executions(path.encode()) is may


def write(root, path, text):
    whole = root / path
    whole.parent.mkdir(parents=True, exist_ok=True)
    whole.write_text(text)
    return whole


@pytest.fixture
def storage(tmp_path):
    root = tmp_path / "storage"
    for path in (f"{KV}/changed.ion", f"{KV}/deleted.ion", f"{KV}/same.ion", f"{FILES}/dir/deep/file.txt", f"{TASK}/out.ion",
                 f"main/company/team/flow/executions/_kv/{ID}", "main/gone/_kv/k.ion", f"main/company/team/flow/{ID}/cache/cache.zip"):
        write(root, path, f"{path} then")
    (root / FILES / "empty").mkdir()
    os.symlink("dir/deep/file.txt", root / FILES / "link")
    write(root, os.fsdecode(FILES.encode() + b"/bad\xff name"), "odd")
    os.chmod(root / KV / "changed.ion", 0o640)
    return root


def described(root):
    found = {}
    for entry in local.Inventory(root, digests=True).entries():
        found[entry.path] = entry._replace(ctime_ns=None)
    return found


def taken(root, base, work):
    """A backup as the flow makes it, with work() after the pin: the list, and the directory with what was kept."""
    names = {name: base / name for name in ("mutable.gz", "held.tar", "pin.gz", "list.gz", "kept.tar")}
    pin = local.take(root, names["mutable.gz"], what=part.MUTABLE, hold=names["held.tar"])
    work()
    local.take(root, names["pin.gz"], mutable=names["mutable.gz"])
    shutil.copytree(root, base / "copy", symlinks=True)
    result = local.take(root, names["list.gz"], digests=True, compare=names["pin.gz"], held=True)
    result["kept"] = pinned.keep(names["held.tar"], names["list.gz"], names["kept.tar"])
    return names, pin, result


def change(root):
    """All that Kestra may do to the mutable part while the rest is copied."""
    (root / KV / "changed.ion").write_text("now, and longer")
    os.chmod(root / KV / "changed.ion", 0o600)
    (root / KV / "deleted.ion").unlink()
    write(root, f"{KV}/later.ion", "later")
    shutil.rmtree(root / FILES / "dir")
    write(root, f"{FILES}/dir", "a file in the place of a directory")
    (root / FILES / "link").unlink()
    os.symlink("elsewhere", root / FILES / "link")
    write(root, f"{FILES}/new/dir/file", "later")
    (root / os.fsdecode(FILES.encode() + b"/bad\xff name")).unlink()
    shutil.rmtree(root / "main/gone")
    write(root, f"{TASK}/later.ion", "an execution goes on")
    write(root, f"main/company/team/other/executions/{ID}/inputs/x", "another begins")


def test_it_comes_back_as_it_was_at_the_pin(storage, tmp_path):
    then = described(storage)
    names, pin, result = taken(storage, tmp_path, lambda: change(storage))
    assert result["drift"]["pinned"] and result["drift"]["later"] == 4 and result["drift"]["deleted"] == 0
    assert pinned.differences(names["kept.tar"], listing.read(names["list.gz"])) == []
    copy = tmp_path / "copy"
    pinned.settle(copy, names["list.gz"], names["kept.tar"])
    found = compare.compare_tree(names["list.gz"], copy, settled=True)
    assert found["verdict"] == "equal" and found["drifted"] == 0, found
    now = described(copy)
    for path, entry in then.items():
        # A directory that the list calls unchanged but for its time has that of the copy.
        assert now.pop(path)._replace(mtime_ns=0) == entry._replace(mtime_ns=0), path
        if entry.type == "f" or path == f"{FILES}/link".encode():
            assert described(copy)[path].mtime_ns == entry.mtime_ns
    assert all(b"executions" in path or path.endswith(b"/other") for path in now), now
    assert result["files"] + result["directories"] + result["symlinks"] == len(described(copy))


def test_a_tar_by_hand_does_nearly_the_same(storage, tmp_path):
    then = described(storage)
    names, _pin, _result = taken(storage, tmp_path, lambda: change(storage))
    (tmp_path / "copy" / FILES / "dir").unlink()
    subprocess.run(["tar", "-xpf", str(names["kept.tar"]), "-C", str(tmp_path / "copy")], check=True)
    now = described(tmp_path / "copy")
    for path, entry in then.items():
        assert now[path]._replace(mtime_ns=0) == entry._replace(mtime_ns=0), path
        if part.mutable(path) and entry.type == "f":
            assert now[path].mtime_ns == entry.mtime_ns


def test_nothing_is_kept_when_nothing_changed(storage, tmp_path):
    names, pin, result = taken(storage, tmp_path, lambda: None)
    assert pin["files"] == 7 and result["kept"]["entries"] == 0
    assert result["drift"] == {"deleted": 0, "changed": 0, "added": 0, "pinned": 0, "later": 0, "examples": {}}
    pinned.settle(tmp_path / "copy", names["list.gz"], names["kept.tar"])
    assert described(tmp_path / "copy") == described(storage)


def test_a_purge_of_executions_is_drift_as_before(storage, tmp_path):
    def purged():
        local.take(storage, tmp_path / "pin.gz", mutable=tmp_path / "mutable.gz")
        shutil.rmtree(storage / f"main/company/team/flow/executions/{ID}")
    local.take(storage, tmp_path / "mutable.gz", what=part.MUTABLE, hold=tmp_path / "held.tar")
    purged()
    result = local.take(storage, tmp_path / "list.gz", digests=True, compare=tmp_path / "pin.gz", held=True)
    assert result["drift"]["deleted"] == 5 and result["drift"]["pinned"] == 0


def test_the_directories_of_executions_are_not_read(storage, tmp_path, monkeypatch):
    executions = storage / "main/company/team/flow/executions"
    for number in range(300):
        write(storage, f"main/company/team/flow/executions/{number:022}/inputs/x", "x")
    looked = []
    lstat = os.lstat
    monkeypatch.setattr(local.os, "lstat", lambda path, **how: looked.append(path) or lstat(path, **how))
    found = [entry.path for entry in local.walk(storage, what=part.MUTABLE)]
    assert f"main/company/team/flow/executions/_kv/{ID}".encode() in found
    assert not [path for path in looked if b"/000" in os.fsencode(path)] and len(looked) < 60
    assert os.fsencode("main/company/team/flow/executions") in found and executions.is_dir()


def test_a_storage_that_does_not_stand_still_is_refused(storage, tmp_path):
    entries = list(local.walk(storage, what=part.MUTABLE))
    write(storage, f"{KV}/same.ion", "longer than it was when it was listed, and so on")
    with pytest.raises(StateError) as caught:
        list(pinned.hold(storage, entries, tmp_path / "held.tar"))
    assert caught.value.reason == "storage_not_still" and not (tmp_path / "held.tar").exists()


def test_what_was_kept_must_be_what_the_list_says(storage, tmp_path):
    names, _pin, _result = taken(storage, tmp_path, lambda: change(storage))
    whole = names["kept.tar"].read_bytes()
    names["kept.tar"].write_bytes(whole.replace(b"changed.ion then", b"changed.ion thEn"))
    assert pinned.differences(names["kept.tar"], listing.read(names["list.gz"])) == [f"{KV}/changed.ion"]
    with pytest.raises(IntegrityError) as caught:
        pinned.settle(tmp_path / "copy", names["list.gz"], names["kept.tar"])
    assert caught.value.reason == "pinned_differs"
