# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both stores are on the same side in the end: after failures, after kill -9 at every single effect, and a rerun."""
from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import files
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    DrError,
    IntegrityError,
    LockedError,
    RefusedError,
    StateError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import directories, journal, undo_point
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import NEW, OLD, Names

ID = "20261123T001500Z-a1b2c3"
DATABASES = Names("kestra", "kestra_dr_new", "kestra_undo")


class FakeDatabases:
    """A server whose databases are a file {name: oid}; a rename is one replacement of that file."""

    kind = "database"

    def __init__(self, path, tick=lambda: None):
        self.path = str(path)
        self.tick = tick
        self.in_use = None

    def read(self):
        with open(self.path, encoding="utf-8") as handle:
            return json.load(handle)

    def _write(self, content):
        self.tick()
        with open(self.path + ".part", "w", encoding="utf-8") as handle:
            json.dump(content, handle)
        os.rename(self.path + ".part", self.path)
        self.tick()

    def identities(self, names):
        return {name: self.read().get(name) for name in names.all()}

    def possible(self, names):
        pass

    def check(self, names):
        if self.in_use:
            raise RefusedError(f"The database is in use: {self.in_use}.", reason="database_in_use")

    def rename(self, pairs):
        self.check(None)
        content = self.read()
        for source, target in pairs:
            assert target not in content
            content[target] = content.pop(source)
        self._write(content)

    def remove(self, name, expected):
        content = self.read()
        if name not in content:
            return False
        assert content[name] == expected
        del content[name]
        self._write(content)
        return True


class Place:
    """A directory with a database file, storage directories and a journal."""

    def __init__(self, base, live=True):
        self.base = base
        self.storage = Names(str(base / "storage"), str(base / "storage.new"), str(base / "storage.undo"))
        databases = {"kestra": 1, "kestra_dr_new": 2, "other": 9}
        for path, content in ((self.storage.live, "old"), (self.storage.replacement, "new")):
            os.mkdir(path)
            with open(os.path.join(path, "which"), "w", encoding="utf-8") as handle:
                handle.write(content)
        if not live:
            del databases["kestra"]
            os.unlink(os.path.join(self.storage.live, "which"))
            os.rmdir(self.storage.live)
        with open(base / "databases.json", "w", encoding="utf-8") as handle:
            json.dump(databases, handle)
        self.undo_dir = str(base / "vault" / "kestra" / "undo")

    def point(self, tick=lambda: None, kinds=("database", "storage")):
        stores = {"database": FakeDatabases(self.base / "databases.json", tick), "storage": directories.DirectoryStore()}
        return undo_point.UndoPoint(journal.Journal(self.undo_dir, ID), {kind: stores[kind] for kind in kinds})

    def names(self, kinds=("database", "storage")):
        return {kind: {"database": DATABASES, "storage": self.storage}[kind] for kind in kinds}

    def swap(self, point=None, kinds=("database", "storage")):
        """What the module does for state swapped."""
        point = point or self.point(kinds=kinds)
        if point.journal.data is None:
            point.begin(point.plan(self.names(kinds)), {"instance": "kestra"})
        return point.converge(NEW)

    def revert(self, point=None):
        return (point or self.point()).converge(OLD)

    def look(self):
        """(which database is live, which storage is live)."""
        with open(self.base / "databases.json", encoding="utf-8") as handle:
            database = {1: "old", 2: "new", None: None}[json.load(handle).get("kestra")]
        try:
            with open(os.path.join(self.storage.live, "which"), encoding="utf-8") as handle:
                return database, handle.read()
        except FileNotFoundError:
            return database, None

    def everything(self):
        """All databases, and what each storage directory holds."""
        with open(self.base / "databases.json", encoding="utf-8") as handle:
            oids = sorted(json.load(handle).values())
        found = []
        for path in self.storage.all():
            if os.path.isdir(path):
                with open(os.path.join(path, "which"), encoding="utf-8") as handle:
                    found.append(handle.read())
        return oids, sorted(found)

    def state(self):
        return journal.Journal(self.undo_dir, ID).data["state"]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_there_and_back(place):
    assert place.swap() is True
    assert place.look() == ("new", "new") and place.state() == "swapped"
    assert place.swap() is False
    assert place.revert() is True
    assert place.look() == ("old", "old") and place.state() == "reverted"
    assert place.revert() is False
    assert place.everything() == ([1, 2, 9], ["new", "old"])
    assert os.path.isdir(place.storage.replacement)  # the restored pair is kept
    assert place.swap() is True and place.look() == ("new", "new")


def test_what_is_written_down(place):
    place.swap()
    data = journal.Journal(place.undo_dir, ID).data
    assert data["id"] == ID and data["schema"] == 1 and data["instance"] == "kestra"
    assert data["stores"]["database"] == {"live": "kestra", "replacement": "kestra_dr_new", "undo": "kestra_undo", "old": 1, "new": 2}
    assert [(step["store"], step["event"]) for step in data["steps"]] == [
        ("storage", "begin"), ("storage", "done"), ("database", "begin"), ("database", "done")]
    assert os.stat(os.path.join(place.undo_dir, ID + ".json")).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kinds", [("database",), ("storage",)])
def test_one_half_alone(place, kinds):
    place.swap(kinds=kinds)
    assert place.look() == (("new", "old") if kinds == ("database",) else ("old", "new"))
    place.point(kinds=kinds).converge(OLD)
    assert place.look() == ("old", "old")


def test_a_lost_live_pair_is_simply_put_in_place(tmp_path):
    place = Place(tmp_path, live=False)
    place.swap()
    assert place.look() == ("new", "new")
    assert place.point().remove() == {"database": None, "storage": None}
    assert place.look() == ("new", "new")


def test_a_lost_live_pair_and_back(tmp_path):
    place = Place(tmp_path, live=False)
    place.swap()
    place.revert()
    assert place.look() == (None, None) and place.everything() == ([2, 9], ["new"])


# Refusals before anything

@pytest.mark.parametrize("spoil, reason", [
    (lambda place: os.mkdir(place.storage.undo), "undo_exists"),
    (lambda place: os.rename(place.storage.replacement, place.storage.replacement + ".gone"), "replacement_missing")])
def test_what_cannot_work_is_refused_untouched(place, spoil, reason):
    spoil(place)
    with pytest.raises(RefusedError) as caught:
        place.swap()
    assert caught.value.reason == reason and place.look() == ("old", "old") and not os.path.exists(place.undo_dir)


def test_an_undo_database_of_that_name_is_refused(place):
    content = json.loads((place.base / "databases.json").read_text())
    (place.base / "databases.json").write_text(json.dumps(dict(content, kestra_undo=5)))
    with pytest.raises(RefusedError) as caught:
        place.swap()
    assert caught.value.reason == "undo_exists" and place.look() == ("old", "old")


def test_sessions_refuse_both_ways_before_the_storage_is_touched(place):
    point = place.point()
    point.stores["database"].in_use = "psql of alice"
    with pytest.raises(RefusedError) as caught:
        place.swap(point)
    assert "alice" in str(caught.value) and place.look() == ("old", "old")
    place.swap()
    point = place.point()
    point.stores["database"].in_use = "psql of alice"
    with pytest.raises(RefusedError):
        place.revert(point)
    assert place.look() == ("new", "new") and os.path.isdir(place.storage.undo) and place.state() == "swapped"


def test_nothing_to_swap(place):
    with pytest.raises(RefusedError) as caught:
        place.point().plan({})
    assert caught.value.reason == "nothing_to_swap"


def test_a_name_used_twice_is_refused(place):
    with pytest.raises(RefusedError) as caught:
        place.point().plan({"database": Names("kestra", "kestra", "kestra_undo")})
    assert caught.value.reason == "same_names"


def test_other_names_for_the_same_undo_point_are_refused(place):
    place.swap()
    point = place.point()
    point.same_names(place.names())
    point.same_names({})
    with pytest.raises(RefusedError) as caught:
        point.same_names({"database": Names("kestra", "kestra_dr_other", "kestra_undo")})
    assert caught.value.reason == "undo_point_differs"


def test_a_directory_that_somebody_made_meanwhile_stops_everything(place):
    place.swap(kinds=("storage",))
    os.rename(place.storage.live, place.storage.live + ".away")
    os.mkdir(place.storage.live)
    with pytest.raises(StateError) as caught:
        place.point(kinds=("storage",)).converge(OLD)
    assert caught.value.reason == "swap_state" and os.path.isdir(place.storage.undo)


# Failures on the way

def fail_after(store, method, count=0, error=None):
    """Makes a method of a store fail after count calls."""
    real, calls = getattr(store, method), []

    def broken(*args):
        calls.append(args)
        if len(calls) > count:
            raise error or DrError("The server went away.", reason="unreachable", hint="Start it.")
        return real(*args)

    setattr(store, method, broken)


def test_a_failing_second_step_is_taken_back(place):
    point = place.point()
    fail_after(point.stores["database"], "rename")
    with pytest.raises(StateError) as caught:
        place.swap(point)
    assert caught.value.reason == "rolled_back" and "The server went away" in str(caught.value)
    assert caught.value.detail["cause"]["reason"] == "unreachable"
    assert place.look() == ("old", "old") and place.everything() == ([1, 2, 9], ["new", "old"])
    assert place.state() == "reverted" and journal.Journal(place.undo_dir, ID).data["error"]["reason"] == "unreachable"
    assert place.swap() is True and place.look() == ("new", "new")


def test_a_failing_revert_is_taken_back_too(place):
    place.swap()
    point = place.point()
    fail_after(point.stores["database"], "rename")
    with pytest.raises(StateError) as caught:
        place.revert(point)
    assert caught.value.reason == "rolled_back" and place.look() == ("new", "new") and place.state() == "swapped"


def test_a_storage_that_fails_between_its_two_renames_is_taken_back(place, monkeypatch):
    real, calls = os.rename, []

    def broken(source, target):
        if str(source).startswith(place.storage.live) and not str(target).endswith(".json"):
            calls.append(source)
            if len(calls) == 2:
                raise OSError(5, "Input/output error", source)
        return real(source, target)

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(StateError) as caught:
        place.swap()
    assert caught.value.reason == "rolled_back" and caught.value.detail["cause"]["reason"] == "io_error"
    assert place.look() == ("old", "old")


def test_when_the_way_back_fails_too_it_says_so_and_a_rerun_finishes(place):
    point = place.point()
    fail_after(point.stores["database"], "rename")
    fail_after(point.stores["storage"], "rename", count=1)
    with pytest.raises(StateError) as caught:
        place.swap(point)
    assert caught.value.reason == "half_swapped" and "must not start" in str(caught.value)
    assert place.look() == ("old", "new")
    assert place.swap() is True and place.look() == ("new", "new")


def test_a_half_swapped_pair_can_also_be_taken_back_by_the_rerun(place):
    point = place.point()
    fail_after(point.stores["database"], "rename")
    fail_after(point.stores["storage"], "rename", count=1)
    with pytest.raises(StateError):
        place.swap(point)
    assert place.revert() is True and place.look() == ("old", "old") and place.state() == "reverted"


def test_a_full_disk_of_the_journal_does_not_keep_the_storage_away(place, monkeypatch):
    point = place.point()
    real, calls = files.write_json, []

    def full(path, value, *more):
        calls.append(value["state"])
        if len(calls) > 3:
            raise OSError(28, "No space left on device", path)
        return real(path, value, *more)

    monkeypatch.setattr(journal, "write_json", full)
    with pytest.raises(StateError) as caught:
        place.swap(point)
    assert caught.value.reason == "rolled_back" and caught.value.detail["cause"]["reason"] == "disk_full"
    assert place.look() == ("old", "old")
    monkeypatch.undo()
    assert place.swap() is True and place.look() == ("new", "new")


# kill -9 at every effect

class Effects:
    """Counts every effect on the disk (before and after each), and kills this process at the n-th."""

    def __init__(self, at=None):
        self.at = at
        self.count = 0

    def tick(self):
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, function):
        def counted(*args, **more):
            self.tick()
            result = function(*args, **more)
            self.tick()
            return result
        return counted

    def everywhere(self):
        """Renames, the fsyncs behind them, the unlink of the journal, the removal of directories."""
        for name in ("rename", "unlink", "rmdir", "fsync"):
            setattr(os, name, self.wrap(getattr(os, name)))


def in_child(work) -> int:
    """Runs work in a forked child: its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(3)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def count_effects(prepare, work, base) -> int:
    """How many effects work has."""
    place = Place(base)
    prepare(place)
    reader, writer = os.pipe()

    def counted():
        effects = Effects()
        effects.everywhere()
        work(place, place.point(effects.tick))
        os.write(writer, str(effects.count).encode())

    assert in_child(counted) == 0
    os.close(writer)
    with os.fdopen(reader) as handle:
        return int(handle.read())


def swapped(place):
    place.swap()


def swapped_and_reverted(place):
    place.swap()
    place.revert()


@pytest.mark.parametrize("prepare, work, rerun, expected", [
    (lambda place: None, Place.swap, Place.swap, ("new", "new")),
    (lambda place: None, Place.swap, None, ("old", "old")),
    (swapped, Place.revert, Place.revert, ("old", "old")),
    (swapped, Place.revert, Place.swap, ("new", "new")),
    (swapped_and_reverted, Place.swap, Place.swap, ("new", "new"))],
    ids=["swap, again", "swap, then revert", "revert, again", "revert, then swap", "swap once more"])
def test_killed_at_every_effect(tmp_path, prepare, work, rerun, expected):
    (tmp_path / "count").mkdir()
    total = count_effects(prepare, work, tmp_path / "count")
    assert total > 30
    for at in range(1, total + 1):
        base = tmp_path / str(at)
        base.mkdir()
        place = Place(base)
        prepare(place)

        def killed(place=place, at=at):
            effects = Effects(at)
            effects.everywhere()
            work(place, place.point(effects.tick))

        status = in_child(killed)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, at
        assert place.everything() == ([1, 2, 9], ["new", "old"]), at  # whatever the moment, nothing is lost
        if rerun is not None:
            rerun(place)
        elif os.path.exists(os.path.join(place.undo_dir, ID + ".json")):
            place.revert()
        assert place.look() == expected, at
        assert place.everything() == ([1, 2, 9], ["new", "old"]), at


# Removal

@pytest.mark.parametrize("prepare, live, left", [
    (swapped, ("new", "new"), ([2, 9], ["new"])), (swapped_and_reverted, ("old", "old"), ([1, 9], ["old"]))])
def test_removal_takes_the_half_that_is_not_live(place, prepare, live, left):
    prepare(place)
    doomed = place.point().remove()
    assert set(doomed) == {"database", "storage"}
    assert place.look() == live and place.everything() == left
    assert not os.path.exists(os.path.join(place.undo_dir, ID + ".json"))


def test_removal_is_finished_after_a_kill_at_every_effect(tmp_path):
    (tmp_path / "count").mkdir()

    def work(place, point):
        point.remove()

    total = count_effects(swapped, work, tmp_path / "count")
    assert total > 15
    for at in range(1, total + 1):
        base = tmp_path / str(at)
        base.mkdir()
        place = Place(base)
        place.swap()

        def killed(place=place, at=at):
            effects = Effects(at)
            effects.everywhere()
            work(place, place.point(effects.tick))

        assert os.WIFSIGNALED(in_child(killed)), at
        assert place.look() == ("new", "new"), at
        if os.path.exists(os.path.join(place.undo_dir, ID + ".json")):
            place.point().remove()
        assert place.look() == ("new", "new") and not os.path.exists(place.storage.undo), at
        assert place.everything() == ([2, 9], ["new"]), at


def test_a_half_swapped_pair_is_not_removed(place):
    point = place.point()
    fail_after(point.stores["database"], "rename")
    fail_after(point.stores["storage"], "rename", count=1)
    with pytest.raises(StateError):
        place.swap(point)
    with pytest.raises(RefusedError) as caught:
        place.point().remove()
    assert caught.value.reason == "half_swapped" and place.everything() == ([1, 2, 9], ["new", "old"])


def test_after_a_begun_removal_there_is_no_way_back(place):
    place.swap()
    point = place.point()
    fail_after(point.stores["database"], "remove")
    with pytest.raises(DrError):
        point.remove()
    with pytest.raises(StateError) as caught:
        place.revert()
    assert caught.value.reason in ("removing", "swap_state") and place.look() == ("new", "new")
    place.point().remove()
    assert place.look() == ("new", "new")


# The journal's file

def test_a_journal_of_another_id_or_schema_is_refused(place):
    place.swap()
    path = os.path.join(place.undo_dir, ID + ".json")
    for change in ({"schema": 2}, {"id": "other"}):
        content = json.loads(open(path, encoding="utf-8").read())
        with open(path, "w", encoding="utf-8") as handle:
            json.dump(dict(content, **change), handle)
        with pytest.raises(IntegrityError):
            journal.Journal(place.undo_dir, ID)
        with open(path, "w", encoding="utf-8") as handle:
            json.dump(content, handle)


def test_a_damaged_journal_is_not_taken_for_a_missing_one(place):
    place.swap()
    with open(os.path.join(place.undo_dir, ID + ".json"), "w", encoding="utf-8") as handle:
        handle.write("{")
    with pytest.raises(IntegrityError):
        journal.Journal(place.undo_dir, ID)


def test_only_one_works_on_an_instance(tmp_path):
    with journal.only_one(str(tmp_path / "undo")):
        with pytest.raises(LockedError):
            with journal.only_one(str(tmp_path / "undo")):
                pass
    with journal.only_one(str(tmp_path / "undo")):
        pass


# What the module does with it

def ensure(place, state, names=True, stores=None, **more):
    return undo_point.ensure(state, place.undo_dir, ID, place.names() if names else {}, stores or place.point().stores,
                             {"instance": "kestra", "recovery_point": "p"}, **more)


def test_ensure_there_back_and_gone(place):
    result = ensure(place, "swapped")
    assert result["changed"] and not result["resumed"] and place.look() == ("new", "new")
    assert result["database"] == {"live": "kestra", "replacement": "kestra_dr_new", "undo": "kestra_undo", "kept": "kestra_undo"}
    assert result["storage"]["kept"] == place.storage.undo
    assert not ensure(place, "swapped")["changed"]
    result = ensure(place, "reverted", names=False)
    assert result["changed"] and result["database"]["kept"] == "kestra_dr_new" and place.look() == ("old", "old")
    with pytest.raises(RefusedError) as caught:
        ensure(place, "absent", names=False)
    assert caught.value.reason == "not_confirmed" and "kestra_dr_new" in caught.value.hint and place.everything()[0] == [1, 2, 9]
    assert ensure(place, "absent", names=False, confirm=ID, check_mode=True)["removed"]["database"] == "kestra_dr_new"
    assert place.everything()[0] == [1, 2, 9]
    assert ensure(place, "absent", names=False, confirm=ID)["changed"]
    assert place.look() == ("old", "old") and place.everything() == ([1, 9], ["old"])
    assert not ensure(place, "absent", names=False, confirm=ID)["changed"]


def test_ensure_in_check_mode_plans_and_refuses_alike(place):
    result = ensure(place, "swapped", check_mode=True)
    assert result["changed"] and place.look() == ("old", "old") and not os.path.exists(place.base / "vault")
    assert "database kestra: the one from before" in result["diff"]["before"]
    assert "database kestra: the restored one" in result["diff"]["after"]
    assert "database kestra_undo: the one from before" in result["diff"]["after"]
    stores = place.point().stores
    stores["database"].in_use = "psql of alice"
    with pytest.raises(RefusedError):
        ensure(place, "swapped", stores=stores, check_mode=True)


def test_ensure_tells_a_resumed_call(place):
    point = place.point()
    fail_after(point.stores["database"], "rename")
    fail_after(point.stores["storage"], "rename", count=1)
    with pytest.raises(StateError):
        ensure(place, "swapped", stores=point.stores)
    result = ensure(place, "swapped")
    assert result["resumed"] and result["changed"] and place.look() == ("new", "new")


def test_ensure_possible_needs_no_replacement(place):
    shutil.rmtree(place.storage.replacement)
    stores = place.point().stores
    stores["database"].in_use = "Kestra itself, still running"
    assert not ensure(place, "possible", stores=stores)["changed"] and not os.path.exists(place.base / "vault")
    os.mkdir(place.storage.undo)
    with pytest.raises(RefusedError) as caught:
        ensure(place, "possible")
    assert caught.value.reason == "undo_exists"
    with pytest.raises(RefusedError):
        ensure(place, "possible", names=False)


def test_ensure_possible_of_a_begun_swap(place):
    ensure(place, "swapped")
    assert not ensure(place, "possible")["changed"]


def test_ensure_cannot_revert_what_was_never_swapped(place):
    with pytest.raises(StateError) as caught:
        ensure(place, "reverted")
    assert caught.value.reason == "no_such_undo_point"
