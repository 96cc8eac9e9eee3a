# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions of the restic wrapper that need no restic."""
from __future__ import annotations

import os

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError, DrError, LockedError, RefusedError, StateError, ToolError)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic as wrapper
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.options import Repository
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic

FULL = "ab" * 32


def reason(call, *args, **kwargs):
    with pytest.raises(DrError) as caught:
        call(*args, **kwargs)
    return caught.value.reason


@pytest.mark.parametrize("given, path", [
    ("storage", "/storage"), ("./storage/", "/storage"), ("/app/storage", "/app/storage"), (".", "/"), ("a//b", "/a/b"),
])
def test_where_a_source_lies_in_the_snapshot(given, path):
    assert wrapper.snapshot_path(given) == path


def test_a_source_above_the_base_is_refused():
    assert reason(wrapper.snapshot_path, "../x") == "bad_path"
    assert wrapper.snapshot_path("..x") == "/..x"


@pytest.mark.parametrize("path, pattern", [
    ("/storage", "/storage"), ("storage", "/storage"), ("/a*b", "/a\\*b"), ("/a[1]?", "/a\\[1\\]\\?"),
    ("/a\\b", "/a\\\\b"),
    ("/with space/x", "/with space/x"),
])
def test_patterns_are_literal(path, pattern):
    assert wrapper.literal_pattern(path) == pattern


@pytest.mark.parametrize("tag", ["", "a,b", " a", "a "])
def test_tags_that_restic_would_change_are_refused(tag):
    assert reason(wrapper.check_tags, ["good", tag]) == "bad_tag"


def test_sources_are_checked_before_restic_runs(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    wrapper.check_sources(["there"], str(tmp_path))
    assert reason(wrapper.check_sources, ["there", "gone"], str(tmp_path)) == "source_missing"
    with pytest.raises(RefusedError) as caught:
        wrapper.check_sources([str(tmp_path / "link")])
    assert caught.value.reason == "source_is_symlink" and str(tmp_path / "there") in caught.value.hint


def test_listed_sources_are_checked_in_both_exact_formats(tmp_path):
    names = [b"plain", b"with space", b"bad\xff"]
    for name in names + [b"nl\nname"]:
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    lines, raw = tmp_path / "lines", tmp_path / "raw"
    lines.write_bytes(b"\n".join(names) + b"\n\n")
    raw.write_bytes(b"\0".join(names + [b"nl\nname"]))
    assert wrapper.check_listed_sources(lines, "verbatim", str(tmp_path)) == 3
    assert wrapper.check_listed_sources(raw, "raw", str(tmp_path)) == 4
    assert wrapper.check_listed_sources(raw, "pattern", str(tmp_path)) == 0
    lines.write_bytes(b"plain\ngone\n")
    assert reason(wrapper.check_listed_sources, lines, "verbatim", str(tmp_path)) == "source_missing"
    lines.write_bytes(b"")
    assert reason(wrapper.check_listed_sources, lines, "verbatim", str(tmp_path)) == "source_missing"


def test_a_list_longer_than_a_block_is_cut_at_its_separators_only(tmp_path):
    name = b"n" * 200
    (tmp_path / os.fsdecode(name)).write_bytes(b"")
    path = tmp_path / "list"
    path.write_bytes((name + b"\n") * 20000)  # four blocks
    assert wrapper.check_listed_sources(path, "verbatim", str(tmp_path)) == 20000


def test_deletion_takes_whole_ids_only():
    restic = Restic(Repository("/r"))
    for snapshot in (FULL[:8], "latest", FULL + "0", FULL.upper()):
        assert reason(restic.forget, [snapshot]) == "bad_snapshot_id"


@pytest.mark.parametrize("subset", ["0/2", "half", "", "1/2 --read-data", "-1%"])
def test_odd_parts_of_the_data_are_refused(subset):
    assert reason(Restic(Repository("/r")).check, subset=subset) == "bad_option"


def test_a_backup_needs_exactly_one_kind_of_source():
    restic = Restic(Repository("/r"))
    assert reason(restic.backup) == "bad_option"
    assert reason(restic.backup, ["a"], files_from="/list") == "bad_option"


def test_command_line_holds_neither_location_nor_password(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    repository = Repository("rest:https://ann:p4ssword@host/", password_command="echo geheim", limit_upload=5)
    argv = Restic(repository)._argv(["backup", "--json", "--", "x"])
    assert argv == ["restic", "backup", "--limit-upload", "5", "--no-cache", "--json", "--", "x"]


class Clock:
    """Time that only passes in sleep()."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Locked:
    """A restic whose repository is locked: how often work is tried, and what unlock finds."""

    def __init__(self, monkeypatch, lock_wait, free_after, stale=0):
        self.clock = Clock()
        monkeypatch.setattr(wrapper, "time", self.clock)
        self.restic = Restic(Repository("/r", lock_wait=lock_wait))
        self.tries = 0
        self.free_after = free_after
        self.stale = stale
        self.restic.unlock = self.unlock

    def unlock(self):
        removed, self.stale = self.stale, 0
        return removed

    def work(self):
        self.tries += 1
        if self.clock.now < self.free_after or self.stale:
            raise LockedError("locked by PID 7", reason="repository_locked")
        return "done"


def test_a_living_lock_is_waited_for(monkeypatch):
    locked = Locked(monkeypatch, lock_wait=60, free_after=20)
    messages = []
    assert locked.restic._with_lock(locked.work, lambda done, total, message: messages.append(message)) == "done"
    assert 20 <= locked.clock.now <= 60 and messages and set(messages) == {"locked by PID 7"}


def test_waiting_for_a_lock_ends(monkeypatch):
    locked = Locked(monkeypatch, lock_wait=30, free_after=1000)
    assert reason(locked.restic._with_lock, locked.work) == "repository_locked"
    assert locked.clock.now == 30


def test_without_waiting_a_stale_lock_still_goes(monkeypatch):
    locked = Locked(monkeypatch, lock_wait=0, free_after=0, stale=1)
    assert locked.restic._with_lock(locked.work) == "done"
    assert locked.tries == 2 and locked.clock.now == 0


def test_unlock_touches_nothing_that_lives(monkeypatch):
    restic = Restic(Repository("/r"))
    monkeypatch.setattr(restic, "locks", lambda: [{"id": "a", "stale": False}])
    monkeypatch.setattr(restic, "_ask", lambda arguments: pytest.fail("restic was asked to unlock"))
    assert restic.unlock() == 0


def test_a_short_id_must_be_found_exactly_once(monkeypatch):
    restic = Restic(Repository("/r"))
    there = []
    monkeypatch.setattr(restic, "snapshots", lambda ids: there)
    assert reason(restic.snapshot, "abababab") == "snapshot_missing"
    there.extend([{"id": FULL}, {"id": "abababab" + "0" * 56}])
    assert reason(restic.snapshot, "abababab") == "snapshot_ambiguous"
    assert restic.snapshot(FULL)["id"] == FULL
    with pytest.raises(ConfigError):
        restic.snapshot("latest")


def test_a_missing_program_is_named(tmp_path):
    restic = Restic(Repository("/r", binary=str(tmp_path / "restic")))
    with pytest.raises(ToolError) as caught:
        restic.version()
    assert caught.value.reason == "tool_missing"


def test_a_program_that_is_too_old_or_another_one_is_refused(tmp_path):
    program = tmp_path / "restic"
    for says, expected in (("restic 0.13.1 compiled with go1.18", "tool_too_old"), ("borg 1.2", "tool_unusable")):
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
        assert reason(Restic(Repository("/r", binary=str(program))).version) == expected


def test_forget_proves_that_the_snapshots_are_gone(monkeypatch):
    restic = Restic(Repository("/r"))
    monkeypatch.setattr(restic, "snapshots", lambda: [{"id": FULL}])
    monkeypatch.setattr(restic, "_ask", lambda arguments, timeout=None: "")
    with pytest.raises(StateError) as caught:
        restic.forget([FULL])
    assert caught.value.reason == "forget_incomplete"
