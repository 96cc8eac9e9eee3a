# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the restic modules decide, with a restic that is only told about."""
from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.options import Repository
from ansible_collections.kestra_community.dr.plugins.modules import (
    restic_backup, restic_forget, restic_repository, restic_snapshot_info)

ONE, TWO = "1" * 64, "2" * 64


class Told:
    """Stands for Restic: a repository that exists or not, with these snapshots and locks."""

    def __init__(self, exists=True, snapshots=(), locks=()):
        self.repository = Repository("rest:http://ann:p4ssword@host/")
        self.there = exists
        self._snapshots = list(snapshots)
        self._locks = list(locks)
        self.calls = []

    def version_text(self):
        return "0.14.0"

    def exists(self):
        return self.there

    def init(self):
        self.calls.append("init")
        self.there = True
        return self.config_if_exists()

    def config_if_exists(self):
        return {"id": "r" * 64, "version": 2} if self.there else None

    def locks(self):
        return list(self._locks)

    def unlock(self):
        self.calls.append("unlock")
        before = len(self._locks)
        self._locks = [lock for lock in self._locks if not lock["stale"]]
        return before - len(self._locks)

    def snapshots(self, tags=(), host=None):
        return [item for item in self._snapshots if set(tags) <= set(item["tags"]) and host in (None, item["host"])]

    def snapshot(self, snapshot):
        return next(item for item in self._snapshots if item["id"].startswith(snapshot))

    def stats(self, snapshot, mode):
        assert mode == "restore-size"
        return {"bytes": 7, "files": 1, "snapshots": 1}

    def backup(self, paths, **arguments):
        self.calls.append(("backup", paths, arguments["dry_run"]))
        return {"snapshot": None, "paths": paths}


def snapshot(snapshot_id, *tags, host="h"):
    return {"id": snapshot_id, "tags": list(tags), "host": host, "time": "2026-11-23T00:00:00Z"}


CREATE = {"create": True, "remove_stale_locks": False}


def test_a_missing_repository_is_made_once():
    told = Told(exists=False)
    result = restic_repository.ensure(told, CREATE, check_mode=False)
    assert result["changed"] and result["exists"] and told.calls == ["init"]
    assert not restic_repository.ensure(told, CREATE, check_mode=False)["changed"] and told.calls == ["init"]
    assert result["repository"] == "rest:http://ann:***@host/"


def test_check_mode_makes_nothing():
    told = Told(exists=False)
    result = restic_repository.ensure(told, CREATE, check_mode=True)
    assert result["changed"] and not result["exists"] and told.calls == []


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_restore_makes_no_repository(check_mode):
    with pytest.raises(ConnectError) as caught:
        restic_repository.ensure(Told(exists=False), dict(CREATE, create=False), check_mode)
    assert caught.value.reason == "repository_missing"


def test_only_stale_locks_go_and_only_on_request():
    told = Told(locks=[{"id": "a", "stale": True}, {"id": "b", "stale": False}])
    assert not restic_repository.ensure(told, CREATE, False)["changed"] and told.calls == []
    params = dict(CREATE, remove_stale_locks=True)
    assert restic_repository.ensure(told, params, True)["changed"] and told.calls == []
    done = restic_repository.ensure(told, params, False)
    assert done["changed"] and done["locks_removed"] == 1 and [lock["id"] for lock in done["locks"]] == ["b"]
    assert not restic_repository.ensure(told, params, False)["changed"]


def test_forgetting_by_tags_wants_all_of_them():
    everything = [snapshot(ONE, "a", "b"), snapshot(TWO, "a")]
    going, absent = restic_forget.chosen(everything, {"tags": ["a", "b"], "snapshots": None})
    assert [item["id"] for item in going] == [ONE] and absent == []


def test_forgetting_by_id_tells_what_is_absent():
    going, absent = restic_forget.chosen([snapshot(ONE)], {"tags": None, "snapshots": [TWO, ONE]})
    assert [item["id"] for item in going] == [ONE] and absent == [TWO]
    assert restic_forget.lines(going).startswith(ONE)


def test_listing():
    told = Told(snapshots=[snapshot(ONE, "a"), snapshot(TWO, "a", host="other")])

    def ids(**params):
        asked = dict({"snapshots": [], "tags": [], "host": None, "sizes": False}, **params)
        found = restic_snapshot_info.listed(told, asked)
        return [item["id"] for item in found]

    assert ids() == [ONE, TWO] and ids(tags=["a"], host="other") == [TWO]
    assert ids(snapshots=[ONE[:8]]) == [ONE] and ids(snapshots=[ONE[:8]], host="other") == []


def test_sizes_on_request():
    told = Told(snapshots=[snapshot(ONE)])
    found = restic_snapshot_info.listed(told, {"snapshots": [], "tags": [], "host": None, "sizes": True})
    assert found[0]["restore_size"] == {"bytes": 7, "files": 1}


def test_a_rehearsed_backup_only_reads(tmp_path):
    params = {"base_dir": None, "files_from": None, "files_from_format": "verbatim"}
    told = Told()
    assert restic_backup.rehearse(told, params, [str(tmp_path)], {})["repository_exists"]
    assert told.calls == [("backup", [str(tmp_path)], True)]
    told = Told(exists=False)
    result = restic_backup.rehearse(told, params, [str(tmp_path)], {})
    assert result["changed"] and not result["repository_exists"] and told.calls == []
