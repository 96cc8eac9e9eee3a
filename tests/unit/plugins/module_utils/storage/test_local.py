# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The walk through a storage: any name, flat memory, nothing that a copy would lose."""
from __future__ import annotations

import hashlib
import os
import random
import socket
import tracemalloc

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import listing, local

NAMES = [
    b"plain",
    b"with space",
    b"nl\nname",
    b"bad\xff\xfe",
    "äß€".encode(),
    b"a-b",
    b"a",
    b"a.metadata",
    b"-rf",
    b"*",
]


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "storage"
    root.mkdir()
    base = os.fsencode(root)
    os.makedirs(base + b"/ns/empty")
    for name in NAMES:
        with open(base + b"/ns/" + name, "wb") as handle:
            handle.write(name * 3)
    os.symlink("a", base + b"/ns/link")
    return root


def entries(root, **options):
    return {entry.path: entry for entry in local.Inventory(root, **options).entries()}


def test_everything_is_found_once_in_the_order_of_lists(tree):
    paths = [entry.path for entry in local.walk(tree)]
    assert sorted(paths, key=listing.key) == paths
    assert set(paths) == {b"ns", b"ns/empty", b"ns/link"} | {b"ns/" + name for name in NAMES}


def test_what_is_recorded(tree):
    path = tree / "ns" / "plain"
    os.chmod(path, 0o2640)
    os.utime(path, ns=(1, 1577836800123456789))
    found = entries(tree, digests=True)
    entry = found[b"ns/plain"]
    status = os.lstat(path)
    assert (entry.type, entry.size, entry.mode, entry.mtime_ns) == ("f", 15, 0o2640, 1577836800123456789)
    assert (entry.uid, entry.gid, entry.ctime_ns) == (status.st_uid, status.st_gid, status.st_ctime_ns)
    assert entry.sha256 == hashlib.sha256(b"plain" * 3).hexdigest()
    assert found[b"ns/empty"].type == "d" and found[b"ns/link"].target == b"a"


def test_totals(tree):
    result = local.take(tree, digests=True)
    assert (result["files"], result["directories"], result["symlinks"]) == (len(NAMES), 2, 1)
    assert result["entries"] == len(NAMES) + 3 and result["hashed_files"] == len(NAMES)
    assert result["bytes"] == result["hashed_bytes"] == sum(len(name) * 3 for name in NAMES)
    assert result["list"] is None


@pytest.mark.parametrize("in_memory", [1, 2, 3, 7, 1000])
def test_names_are_sorted_whatever_fits_in_memory(tree, in_memory):
    assert list(local.sorted_names(os.fsencode(tree / "ns"), in_memory)) == sorted(NAMES + [b"empty", b"link"])


def test_memory_does_not_grow_with_the_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "NAMES_IN_MEMORY", 200)

    def peak(count):
        root = tmp_path / str(count)
        root.mkdir()
        for number in range(count):
            (root / f"file-with-a-rather-long-name-to-be-remembered-{number:06}").touch()
        tracemalloc.start()
        local.take(root, tmp_path / "list.gz")
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)
    # A run on disk costs one block while the runs are merged.
    assert peak(3000) < peak(300) + 15 * 3 * local._RUN_BLOCK


@pytest.mark.parametrize("target, why", [
    ("/etc/passwd", "absolute"), ("../../outside", "above"), ("../..", "the parent of the root"),
])
def test_a_link_that_leaves_the_tree_is_refused(tree, target, why):
    (tree.parent / "outside").write_text("x")
    os.symlink(target, tree / "ns" / "escape")
    with pytest.raises(RefusedError) as caught:
        local.take(tree)
    assert caught.value.reason == "storage_not_portable", why
    assert caught.value.detail["symlinks"] == 1 and caught.value.detail["examples"][0]["path"] == "ns/escape"


def test_an_absolute_link_into_the_tree_is_refused_too(tree):
    os.symlink(tree / "ns" / "a", tree / "absolute")
    with pytest.raises(RefusedError):
        local.take(tree)


def test_a_link_that_leaves_by_another_link_is_refused(tree):
    os.makedirs(tree / "deep" / "er")
    os.symlink("deep/er", tree / "short")
    os.symlink("short/../../../x", tree / "by")  # as written it stays inside one level up; followed it leaves
    with pytest.raises(RefusedError):
        local.take(tree)


def test_links_inside_the_tree_are_kept_also_broken_ones(tree):
    os.symlink("../ns/nothing", tree / "ns" / "broken")
    os.symlink("..", tree / "ns" / "up")
    found = entries(tree)
    assert found[b"ns/broken"].target == b"../ns/nothing" and found[b"ns/up"].target == b".."


def test_a_link_whose_target_restic_may_not_keep_is_refused(tree):
    os.symlink(b"bad\xff", os.fsencode(tree) + b"/link")
    with pytest.raises(RefusedError) as caught:
        local.take(tree)
    assert "UTF-8" in str(caught.value)


def test_special_files_are_refused(tree):
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "sock"))
        with pytest.raises(RefusedError) as caught:
            local.take(tree)
    assert caught.value.detail["special"] == 2


def test_all_refusals_are_counted_and_some_named(tree):
    for number in range(30):
        os.symlink("/", tree / f"l{number}")
    with pytest.raises(RefusedError) as caught:
        local.take(tree)
    assert caught.value.detail["symlinks"] == 30 and len(caught.value.detail["examples"]) == 10


def test_a_root_that_is_none(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    for root in (tmp_path / "missing", tmp_path / "link", tree / "ns" / "plain"):
        with pytest.raises(ConfigError):
            list(local.walk(root))


def test_what_vanishes_during_the_walk_is_left_out(tree):
    walk = local.walk(tree)
    assert next(walk).path == b"ns"
    os.unlink(tree / "ns" / "plain")
    os.rmdir(tree / "ns" / "empty")
    paths = {entry.path for entry in walk}
    assert b"ns/plain" not in paths and b"ns/empty" not in paths and b"ns/a" in paths


def test_a_directory_that_vanishes_before_it_is_opened_is_left_out(tree, monkeypatch):
    before = local._opened

    def gone(directory, executions):
        if directory.endswith(b"/empty"):
            os.rmdir(directory)
        return before(directory, executions)

    monkeypatch.setattr(local, "_opened", gone)
    assert b"ns/empty" not in {entry.path for entry in local.walk(tree)}


def test_an_unreadable_directory_is_an_error_not_a_hole(tree, monkeypatch):
    def denied(directory):
        raise PermissionError(13, "Permission denied", directory)

    monkeypatch.setattr(local.os, "scandir", denied)
    with pytest.raises(PermissionError):
        list(local.walk(tree))


def test_digests_of_unchanged_files_are_reused_and_others_are_not(tree, tmp_path):
    local.take(tree, tmp_path / "first.gz", digests=True)
    (tree / "ns" / "plain").write_bytes(b"PLAIN" * 3)  # same size
    kept = os.lstat(tree / "ns" / "a")
    (tree / "ns" / "a").write_bytes(b"AAA")  # same size and, below, same mtime: only ctime tells
    os.utime(tree / "ns" / "a", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    result = local.take(tree, tmp_path / "second.gz", digests=True, reuse=tmp_path / "first.gz")
    assert result["hashed_files"] == 2 and result["reused_files"] == len(NAMES) - 2
    found = {entry.path: entry.sha256 for entry in listing.read(tmp_path / "second.gz")}
    assert found == {entry.path: entry.sha256 for entry in local.Inventory(tree, digests=True).entries()}
    assert found[b"ns/a"] == hashlib.sha256(b"AAA").hexdigest()


def test_a_file_that_grows_while_it_is_read_is_read_again(tree, monkeypatch):
    path = tree / "ns" / "plain"
    written = []

    def grow(count):
        if not written:
            written.append(count)
            with open(path, "ab") as handle:
                handle.write(b"more")

    entry = next(item for item in local.walk(tree) if item.path == b"ns/plain")
    found = local.digest(tree, entry, grow)
    assert (
        found.size == 19 and found.sha256 == hashlib.sha256(b"plain" * 3 + b"more").hexdigest() and found.drift is None
    )


def test_a_file_that_never_rests_has_no_digest_and_is_marked(tree):
    path = tree / "ns" / "plain"
    entry = next(item for item in local.walk(tree) if item.path == b"ns/plain")
    touched = []

    def touch(count):
        touched.append(count)
        os.utime(path, ns=(1, len(touched)))

    found = local.digest(tree, entry, touch)
    assert len(touched) == 2 and found.sha256 is None and found.drift == "changed"


def test_a_change_in_the_same_tick_of_the_clock_is_seen(tree):
    path = tree / "ns" / "plain"
    for _round in range(20):
        path.write_bytes(b"before")
        entry = next(item for item in local.walk(tree) if item.path == b"ns/plain")
        found = local.digest(tree, entry)
        path.write_bytes(b"AFTER!")
        later = next(item for item in local.walk(tree) if item.path == b"ns/plain")
        assert not local.unchanged(found, later)


def test_a_file_that_turns_into_a_link_is_left_out(tree):
    entry = next(item for item in local.walk(tree) if item.path == b"ns/plain")
    os.unlink(tree / "ns" / "plain")
    assert local.digest(tree, entry) is None
    os.symlink("/etc/passwd", tree / "ns" / "plain")
    assert local.digest(tree, entry) is None


def test_drift_is_counted_and_marked(tree, tmp_path):
    local.take(tree, tmp_path / "pinned.gz")
    (tree / "ns" / "plain").write_bytes(b"different")
    os.unlink(tree / "ns" / "a-b")
    (tree / "ns" / "new").write_bytes(b"")
    os.chmod(tree / "ns" / "with space", 0o600)
    result = local.take(tree, tmp_path / "after.gz", digests=True, compare=tmp_path / "pinned.gz")
    assert result["drift"] == {"deleted": 1, "changed": 2, "added": 1, "examples": {
        "deleted": ["ns/a-b"], "changed": ["ns/plain", "ns/with space"], "added": ["ns/new"]}}
    marks = {entry.path: entry.drift for entry in listing.read(tmp_path / "after.gz") if entry.drift}
    assert marks == {b"ns": "times", b"ns/a-b": "deleted", b"ns/plain": "changed", b"ns/with space": "changed",
                     b"ns/new": "added"}
    assert result["files"] == len(NAMES), "what is gone is listed, not counted"
    assert result["list"]["entries"] == result["entries"] + 1


def test_without_change_there_is_no_drift(tree, tmp_path):
    local.take(tree, tmp_path / "pinned.gz")
    result = local.take(tree, tmp_path / "after.gz", compare=tmp_path / "pinned.gz")
    assert result["drift"] == {"deleted": 0, "changed": 0, "added": 0, "examples": {}}
    assert not any(entry.drift for entry in listing.read(tmp_path / "after.gz"))


def test_progress_is_reported(tree):
    seen = []
    local.take(tree, digests=True, on_progress=lambda *args: seen.append(args))
    assert seen and seen[-1][0] == sum(len(name) * 3 for name in NAMES) and seen[-1][3] == "bytes"


def test_random_trees_are_walked_as_find_would(tmp_path):
    chance = random.Random(11)
    for number in range(20):
        root = os.fsencode(tmp_path / str(number))
        os.mkdir(root)
        wanted = set()
        for _count in range(30):
            parts = [chance.choice(NAMES) for _depth in range(chance.randint(1, 4))]
            above = root
            for depth, part in enumerate(parts):
                above = os.path.join(above, part)
                if os.path.lexists(above):
                    if not os.path.isdir(above):
                        break
                    continue
                if depth == len(parts) - 1 and chance.random() < 0.7:
                    open(above, "wb").close()
                else:
                    os.mkdir(above)
                wanted.add(os.path.relpath(above, root))
        paths = [entry.path for entry in local.walk(root)]
        assert set(paths) == wanted and len(paths) == len(wanted)
        assert paths == sorted(paths, key=listing.key)
