# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees compared with lists: every single change is found, drift is tolerated where it was recorded."""
from __future__ import annotations

import os
import shutil

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import compare, drift, listing, local
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.listing import Entry

BASE = Entry(b"a", "f", 3, 0o644, 1, 2, 100, 100, "ab" * 32)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "storage"
    (root / "ns" / "empty").mkdir(parents=True)
    (root / "ns" / "file").write_bytes(b"content")
    (root / "ns" / "file.metadata").write_bytes(b"{}")
    (root / "ns" / "zero").write_bytes(b"")
    os.symlink("file", root / "ns" / "link")
    local.take(root, tmp_path / "list.gz", digests=True)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    if os.geteuid() == 0:
        for entry in local.walk(root):
            os.chown(os.path.join(os.fsencode(copy), entry.path), entry.uid, entry.gid, follow_symlinks=False)
    return copy


def check(tree, **options):
    return compare.compare_tree(tree.parent / "list.gz", tree, **options)


def test_an_equal_tree_is_equal(tree):
    result = check(tree)
    assert result["verdict"] == "equal" and result["differences"] == 0
    assert result["entries"] == 6 and result["compared_digests"] == 3


def same_times(path, change):
    before = os.lstat(path)
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


def rewrite(tree):
    same_times(tree / "ns" / "file", lambda: (tree / "ns" / "file").write_bytes(b"CONTENT"))


def remove(path):
    parent = path.parent
    same_times(parent, lambda: os.rmdir(path) if path.is_dir() else os.unlink(path))


def relink(tree):
    link = tree / "ns" / "link"
    before = os.lstat(link)
    same_times(link.parent, lambda: (os.unlink(link), os.symlink("zero", link)))
    os.utime(link, ns=(1, before.st_mtime_ns), follow_symlinks=False)


def retype(tree):
    path = tree / "ns" / "zero"
    same_times(path.parent, lambda: (os.unlink(path), os.mkdir(path)))


CHANGES = {
    "content": rewrite,
    "size": lambda tree: (tree / "ns" / "file").write_bytes(b"longer content"),
    "missing": lambda tree: remove(tree / "ns" / "file.metadata"),
    "unexpected": lambda tree: same_times(tree / "ns", lambda: (tree / "ns" / "odd").write_bytes(b"")),
    "mode": lambda tree: os.chmod(tree / "ns" / "file", 0o600),
    "mtime": lambda tree: os.utime(tree / "ns" / "file", ns=(1, 1)),
    "target": relink,
    "type": retype,
}


@pytest.mark.parametrize("kind", sorted(CHANGES))
def test_every_single_change_is_found_and_named(tree, kind):
    CHANGES[kind](tree)
    result = check(tree)
    assert result["verdict"] == "differs"
    assert {name: count for name, count in result["counts"].items() if count} == {kind: 1}
    assert list(result["examples"]) == [kind]


def test_a_lost_empty_directory_is_found(tree):
    remove(tree / "ns" / "empty")
    assert check(tree)["examples"] == {"missing": ["ns/empty"]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_changed_owner_is_found_by_root(tree):
    os.chown(tree / "ns" / "zero", 1234, 5678)
    assert check(tree)["examples"] == {"owner": ["ns/zero"]}
    assert check(tree, ignore=("owner",))["verdict"] == "equal"


def test_without_digests_changed_content_of_the_same_size_and_time_is_not_seen(tree):
    rewrite(tree)
    result = check(tree, digests=False)
    assert (
        result["verdict"] == "equal" and result["compared_digests"] == 0
    ), "so such a result must say that it compared none"


def test_an_empty_tree_against_an_empty_list(tmp_path):
    (tmp_path / "tree").mkdir()
    listing.write(tmp_path / "list.gz", [])
    result = compare.compare_tree(tmp_path / "list.gz", tmp_path / "tree")
    assert result["verdict"] == "equal" and result["entries"] == 0


def test_a_damaged_list_is_no_difference_but_an_error(tree):
    path = tree.parent / "list.gz"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(IntegrityError):
        check(tree)


@pytest.mark.parametrize("mark", ["deleted", "changed", "added"])
@pytest.mark.parametrize("found", [None, BASE, BASE._replace(size=9)])
def test_a_drifted_entry_may_be_anything(mark, found):
    result = compare.compare([BASE._replace(drift=mark)], [found] if found else [])
    assert result["verdict"] == "equal" and result["drifted"] == 1 and result["entries"] == 0


def test_a_directory_in_which_something_drifted_may_differ_in_its_time_only():
    directory = Entry(b"d", "d", 0, 0o755, 0, 0, 100, 100, drift="times")
    assert compare.compare([directory], [directory._replace(mtime_ns=5)])["verdict"] == "equal"
    assert compare.compare([directory], [directory._replace(mode=0o700)])["counts"]["mode"] == 1
    assert compare.compare([directory], [])["counts"]["missing"] == 1


def test_examples_are_bounded_and_counts_are_not():
    expected = [BASE._replace(path=b"%04d" % number) for number in range(500)]
    result = compare.compare(expected, [])
    assert result["counts"]["missing"] == 500 and len(result["examples"]["missing"]) == 20


@pytest.mark.parametrize("later, kind", [
    (BASE, None), (None, "deleted"), (BASE._replace(size=4), "changed"), (BASE._replace(mtime_ns=1), "changed"),
    (BASE._replace(ctime_ns=1), "changed"), (BASE._replace(mode=0o600), "changed"),
    (BASE._replace(type="d"), "changed"),
    (BASE._replace(sha256="cd" * 32), "changed"), (BASE._replace(sha256=None), None), (BASE._replace(uid=7), "changed"),
])
def test_drift(later, kind):
    assert drift.drift_of(BASE, later) == kind


def test_something_new_is_added():
    assert drift.drift_of(None, BASE) == "added"
