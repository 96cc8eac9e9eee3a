# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks in the middle of a flow: a server killed, a disk full, a downtime passed. A clear error, nothing lost, Kestra as it was."""
from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import connect
from ansible_collections.kestra_community.dr.tests.integration.flows.killed import FULL
from ansible_collections.kestra_community.dr.tests.integration.processes import processes


@pytest.fixture(autouse=True)
def _kestra_is_as_it_was(lab):
    assert lab.wait_healthy()
    before, instance = lab.points(), lab.instance_id
    yield
    assert lab.wait_healthy(120)
    assert lab.points()[:len(before)] == before and lab.instance_id == instance
    assert not lab.unsealed() and not lab.held.exists()


@contextlib.contextmanager
def when(happens, act):
    """Does act() once, as soon as happens() is true, beside the body. The body must have met it."""
    done, ended, failure = threading.Event(), threading.Event(), []

    def watching():
        while not ended.is_set():
            if happens():
                try:
                    act()
                except Exception as exc:  # told by the thread that can fail
                    failure.append(exc)
                done.set()
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watching, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not failure, failure
    assert done.is_set(), "what was to be met never happened"


def runs(program, place, option="--"):
    """A condition for when(): a process of that name, with that option, works on a path below place."""
    def look():
        return any(os.path.basename(process.arguments[0]) == program.encode()
                   and any(os.fsencode(place) in word for word in process.arguments)
                   and any(word.startswith(option.encode()) for word in process.arguments) for process in processes().values())
    return look


def again(lab):
    """kill -9 of the database server; it comes back after a while, so that Kestra may be started before it answers."""
    lab.kill_database()
    time.sleep(2)
    assert lab.ctl(lab.engine, "start").returncode == 0


@pytest.mark.full("PostgreSQL killed during a backup's dump (here MySQL, and PostgreSQL's dump)")
def test_postgresql_killed_during_the_dump(lab):
    before, rows = lab.points(), lab.sql("select count(*) from flows")
    with when(runs("pg_dump", lab.vault, "--snapshot="), lambda: again(lab)):
        run = lab.play("backup", kestra_dr_dump_jobs=1).failed()
    # Whoever notices first tells it: the session that holds the snapshot, or pg_dump.
    assert re.search(f"snapshot of kestra was lost|server went away|{connect.LOST}", run.report["reason"])
    assert run.report["outcome"] == "failed" and run.report["headline"] == "no recovery point was made"
    assert "as it was found" in run.report["kestra_line"]
    assert lab.points() == before and lab.sql("select count(*) from flows") == rows


def test_postgresql_killed_during_the_restore(lab):
    """The live pair is as it was. (That the same restore goes through afterwards is shown in the full tier.)"""
    wanted = {"kestra_dr_recovery_point": lab.point(), "kestra_dr_confirm": lab.instance_id}
    live = lab.identity()
    with when(runs("pg_restore", lab.vault, "--dbname="), lambda: again(lab)):
        run = lab.play("restore", **wanted).failed("The server went away during the restore")
    assert run.report["outcome"] == "failed" and run.report["headline"] == "nothing live was replaced"
    assert lab.identity() == live
    if not FULL:
        print("left to --full: the same restore once more after the server was killed")
        return
    done = lab.play("restore", **wanted).ok()
    assert done.report["verdict"].startswith("verified (counts)")
    assert lab.identity() != live


class Disk:
    """A real small file system, to be filled to the last byte."""

    def __init__(self, place):
        self.place = place
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_full, daemon=True)

    def fill(self, leave=0):
        """Takes all the room but leave bytes."""
        about = os.statvfs(self.place)
        wanted = about.f_bavail * about.f_frsize - leave
        if wanted > 0 and os.path.ismount(self.place):  # never the machine's own disk
            with tempfile.NamedTemporaryFile(dir=self.place, prefix="filler-", delete=False) as handle, contextlib.suppress(OSError):
                os.posix_fallocate(handle.fileno(), 0, wanted)

    def clear(self):
        for path in self.place.glob("filler-*"):
            path.unlink()

    def keep_full(self):
        """Takes what becomes free as well, until end()."""
        self._thread.start()

    def _keep_full(self):
        while not self._over.wait(0.01):
            self.fill()

    def end(self):
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()


@pytest.fixture
def disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "tmpfs", place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    found = Disk(place)
    try:
        yield found
    finally:
        found.end()
        subprocess.run(["umount", "-l", place], check=True)


def test_vault_full_before(lab, disk):
    """Refused before anything stops."""
    disk.fill(leave=32 << 10)
    lab.play("backup", kestra_dr_vault=str(disk.place / "vault")).failed("free")
    assert lab.healthy()
    assert not list((disk.place / "vault" / "kestra").glob("open/*"))


def test_vault_full_in_the_middle(lab, disk):
    vault = disk.place / "vault"
    with when(runs("pg_dump", vault), disk.fill):
        run = lab.play("backup", kestra_dr_vault=str(vault), kestra_dr_consistency="offline")
    run.failed("No space is left")
    assert not list((vault / "kestra").glob("points/*")) and not list((vault / "kestra").glob("open/2*"))
    assert lab.wait_healthy()


@pytest.mark.full("a full temporary directory (here a full vault)")
def test_temporary_directory_full(lab, disk):
    """Of configuration and of the modules: Kestra comes back although nothing can be written there any more."""
    room = disk.place / "tmp"
    room.mkdir()
    disk.fill()
    lab.play("backup", kestra_dr_runtime_dir=str(disk.place / "run")).failed("No space is left")
    assert lab.healthy()
    disk.clear()
    with when(runs("pg_dump", lab.vault), disk.keep_full):
        run = lab.play("backup", kestra_dr_runtime_dir=str(disk.place / "run"), kestra_dr_max_downtime=40,
                       ansible_remote_tmp=str(room), env={"TMPDIR": str(room), "ANSIBLE_REMOTE_TMP": str(room)})
        disk.end()
    run.failed("No space")
    assert lab.wait_healthy(60)


def test_downtime_passed(lab):
    """A dump that hangs is ended before kestra_dr_max_downtime, and Kestra starts again."""
    def stop():
        for pid, process in processes().items():
            if process.arguments[0].endswith(b"pg_dump") and any(os.fsencode(lab.vault) in word for word in process.arguments):
                os.kill(pid, signal.SIGSTOP)

    with when(runs("pg_dump", lab.vault), stop):
        run = lab.play("backup", kestra_dr_consistency="offline", kestra_dr_max_downtime=45)
    run.failed("was not finished in time and was ended")
    assert lab.healthy()
    assert run.report["outcome"] == "failed" and run.report["headline"] == "no recovery point was made"
    assert "as it was found" in run.report["kestra_line"]
    away = {figure["name"]: figure["value"] for figure in run.report["figures"]}["Kestra away, seconds"]
    assert 0 < away < 60
    assert not runs("pg_dump", lab.vault)(), "the hanging dump was left behind"


def test_kestra_started_by_somebody_else_during_the_dump(lab):
    """What is copied beside a running Kestra is not of one moment, and is not sealed as if it were."""
    before = lab.points()
    with when(runs("pg_dump", lab.vault), lambda: lab.ctl("kestra-server", "start")):
        run = lab.play("backup", kestra_dr_consistency="offline")
    run.failed("Kestra was started by somebody else", "this recovery point is given up")
    assert run.report["outcome"] == "failed" and lab.points() == before
    assert lab.healthy()
