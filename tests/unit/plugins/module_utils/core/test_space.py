# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room is added up by file system, not by path."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import space
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError

NEEDS = [{"path": "/a/new", "bytes": 60, "what": "the storage"}, {"path": "/b", "bytes": 30, "what": "the dump"},
         {"path": "/c", "bytes": 50, "what": "the database"}]


def found(devices, free):
    return space.by_file_system(NEEDS, device=lambda path: devices[path[:2]], free=lambda path: free)


@pytest.fixture(autouse=True)
def _no_paths(monkeypatch):
    monkeypatch.setattr(space, "nearest", lambda path: path)


def test_one_file_system_takes_the_sum():
    assert [item["needed_bytes"] for item in found({"/a": 1, "/b": 1, "/c": 1}, 100)] == [140]


def test_other_file_systems_take_their_own():
    assert [(item["path"], item["needed_bytes"]) for item in found({"/a": 1, "/b": 2, "/c": 1}, 100)] == [("/a/new", 110), ("/b", 30)]


def test_room_for_each_alone_is_not_room_for_both():
    space.require(found({"/a": 1, "/b": 2, "/c": 3}, 60))
    with pytest.raises(RefusedError) as refused:
        space.require(found({"/a": 1, "/b": 1, "/c": 3}, 60))
    assert refused.value.reason == "disk_full"
    assert "the storage and the dump need 90" in refused.value.message and "the database" not in refused.value.message


def test_exactly_enough_is_enough():
    space.require(found({"/a": 1, "/b": 1, "/c": 1}, 140))


def test_the_nearest_directory_that_exists(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert space.nearest(tmp_path / "not" / "there") == str(tmp_path)
    assert space.nearest("/") == "/"
