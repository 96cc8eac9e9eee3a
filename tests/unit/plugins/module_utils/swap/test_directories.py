# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories are renamed only where a rename can work, and only the named one is ever removed."""
from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import directories
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /run rw - tmpfs tmpfs rw
41 22 254:0 /srv/data /app/storage\\040one rw - ext4 /dev/vda rw
"""


@pytest.fixture
def names(tmp_path):
    names = Names(str(tmp_path / "storage"), str(tmp_path / "storage.new"), str(tmp_path / "storage.undo"))
    for path in (names.live, names.replacement):
        os.mkdir(path)
    return names


def test_mount_points_are_read_with_their_escapes():
    assert directories.mount_points(MOUNTINFO) == ["/", "/run", "/app/storage one"]


@pytest.mark.parametrize("path, expected", [
    ("/app/storage one/x", "/app/storage one"), ("/app/storage one", "/app/storage one"), ("/app/storage", "/"),
    ("/running", "/"), ("/run/x", "/run")])
def test_the_mount_of_a_path(path, expected):
    assert directories.mount_of(path, directories.mount_points(MOUNTINFO)) == expected


def test_identity_survives_a_rename(tmp_path):
    (tmp_path / "a").mkdir()
    before = directories.identity(str(tmp_path / "a"))
    os.rename(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").mkdir()
    assert directories.identity(str(tmp_path / "b")) == before != directories.identity(str(tmp_path / "a"))
    assert directories.identity(str(tmp_path / "c")) is None


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), lambda path: path.symlink_to("/tmp")])
def test_only_directories_have_an_identity(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(RefusedError) as caught:
        directories.identity(str(tmp_path / "x"))
    assert caught.value.reason == "not_a_directory"


def test_good_names_pass(names):
    directories.check_paths(names)


@pytest.mark.parametrize("change, reason", [
    (lambda n: Names(n.live, n.live + "/inside", n.undo), "storage_nested"),
    (lambda n: Names(n.live + "/inside", n.live, n.undo), "storage_nested"),
    (lambda n: Names(n.live, n.live, n.undo), "storage_nested"),
    (lambda n: Names(n.live, n.replacement, n.live), "storage_nested"),
    (lambda n: Names(n.live, n.replacement, n.live.rsplit("/", 1)[0] + "/nowhere/x"), "storage_parent_missing"),
    (lambda n: Names(n.live, n.replacement, "/proc/x"), "storage_other_file_system"),
    (lambda n: Names("/proc", n.replacement, n.undo), "storage_mount_point")])
def test_bad_names_are_refused(names, change, reason):
    with pytest.raises(RefusedError) as caught:
        directories.check_paths(change(names))
    assert caught.value.reason == reason


def test_a_prefix_is_not_nested(names):
    directories.check_paths(Names(names.live, names.live + "2", names.undo))


@pytest.mark.parametrize("place, reason", [("live", "storage_mount_point"), ("below", "storage_mount_point"),
                                           ("parent of undo", "storage_other_file_system")])
def test_mounts_are_seen(names, monkeypatch, tmp_path, place, reason):
    # the same device number, as a bind mount has it: only the mount table tells
    point = {"live": names.live, "below": names.live + "/big", "parent of undo": str(tmp_path / "elsewhere")}[place]
    os.mkdir(tmp_path / "elsewhere")
    monkeypatch.setattr(directories, "mounts", lambda: ["/", point])
    changed = names if place != "parent of undo" else Names(names.live, names.replacement, str(tmp_path / "elsewhere" / "undo"))
    with pytest.raises(RefusedError) as caught:
        directories.check_paths(changed)
    assert caught.value.reason == reason


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_real_bind_mount_is_refused(names):
    done = subprocess.run(["mount", "--bind", names.replacement, names.live], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("this machine does not let us mount: " + done.stderr.decode().strip())
    try:
        with pytest.raises(RefusedError) as caught:
            directories.check_paths(names)
        assert caught.value.reason == "storage_mount_point" and "base-path" in caught.value.hint
    finally:
        subprocess.run(["umount", names.live], check=True)


def test_a_parent_that_may_not_be_written_is_refused(names, monkeypatch):
    # root may write everywhere, so the answer of access(2) is ours
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RefusedError) as caught:
        directories.check_paths(names)
    assert caught.value.reason == "permission_denied"


def test_rename_does_not_replace_an_empty_directory(names):
    os.mkdir(names.undo)
    with pytest.raises(RefusedError) as caught:
        directories.DirectoryStore().rename([(names.live, names.undo)])
    assert caught.value.reason == "storage_exists" and os.path.isdir(names.live)


def test_a_failed_rename_is_told(names, tmp_path):
    with pytest.raises(DrError) as caught:
        directories.DirectoryStore().rename([(str(tmp_path / "gone"), names.undo)])
    assert caught.value.reason == "not_found"


def test_remove_takes_only_the_directory_it_means(names, tmp_path):
    store = directories.DirectoryStore()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("")
    os.symlink(outside, os.path.join(names.replacement, "link"))
    os.mkdir(os.path.join(names.replacement, "sub"))
    expected = directories.identity(names.replacement)
    with pytest.raises(RefusedError):
        store.remove(names.replacement, expected + 1)
    assert store.remove(names.replacement, expected) is True
    assert not os.path.exists(names.replacement) and (outside / "keep").exists()
    assert store.remove(names.replacement, expected) is False


def test_remove_stops_before_a_mount_point(names, monkeypatch):
    monkeypatch.setattr(directories, "mounts", lambda: ["/", names.replacement + "/nfs"])
    with pytest.raises(RefusedError) as caught:
        directories.DirectoryStore().remove(names.replacement, directories.identity(names.replacement))
    assert caught.value.reason == "storage_mount_point" and os.path.isdir(names.replacement)


def test_resolved_follows_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert directories.resolved(str(tmp_path / "link")) == str(tmp_path / "real")
