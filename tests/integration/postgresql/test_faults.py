# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks on the way: each ends in one clear error, nothing half-done counts, and the next attempt succeeds."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from postgresql_harness import BIG, PASSWORD

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError,
    DrError,
    LockedError,
    RefusedError,
    ToolError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, files
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import (
    connect,
    dump,
    inventory,
    pin,
    source,
    split,
    target,
    work,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps, later
from ansible_collections.kestra_community.dr.tests.integration.processes import processes


def nothing_left(directory):
    return [name for name in os.listdir(directory) if name.startswith("dump")] == []


# -- the dump ---------------------------------------------------------------------------------------------------------


def test_server_killed_during_the_dump(own_server, take, tmp_path):
    name = own_server.kestra(BIG)
    with pytest.raises(pin.PinLostError) as lost:
        take(own_server.admin(), name, Steps(pinned=lambda facts: own_server.stop(signal.SIGQUIT)))
    assert "void" in lost.value.message and nothing_left(tmp_path)
    own_server.start()
    assert take(own_server.admin(), name)[1]["counts"]["public.logs"] == 6000


def test_pin_session_ended_during_the_dump(server, busy, take, tmp_path):
    """pg_dump alone would go on and end with 0."""

    def end(facts):
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kestra_dr pin'")

    with pytest.raises(pin.PinLostError) as lost:
        take(server.admin(), busy, Steps(pinned=end))
    assert lost.value.reason == "pin_lost" and lost.value.hint and nothing_left(tmp_path)


def test_server_stopped_before(own_server, take, tmp_path):
    name = own_server.kestra({})
    login = own_server.admin()
    own_server.stop()
    with pytest.raises(ConnectError) as refused:
        take(login, name)
    assert refused.value.reason == "unreachable" and nothing_left(tmp_path)


def test_wrong_password(server, take, tmp_path):
    role = server.role()
    wrong = PASSWORD + "x"
    with pytest.raises(ConnectError) as refused:
        take(server.login(role, password=wrong), "postgres")
    shown = str(refused.value.to_result())
    assert refused.value.reason == "login_refused" and wrong not in shown and PASSWORD not in shown


def test_missing_database(server, take):
    with pytest.raises(ConnectError) as refused:
        take(server.admin(), "there is none")
    assert refused.value.reason == "database_missing"


def test_a_table_being_altered_is_waited_for_but_not_for_ever(server, kestra, take):
    with connect.connect(server.admin(), kestra, application="a migration") as other:
        other.execute("BEGIN; ALTER TABLE public.flows ADD COLUMN x int")
        started = time.monotonic()
        with pytest.raises(RefusedError) as refused:
            take(server.admin(), kestra, lock_timeout=1.0)
        assert time.monotonic() - started < 15
        assert refused.value.reason == "lock_timeout" and "a migration" in refused.value.message
        assert "public.flows" in refused.value.message or "flows" in refused.value.message
        later(1.0, lambda: other.execute("COMMIT"))
        assert take(server.admin(), kestra, lock_timeout=30.0)[1]["counts"]["public.flows"] == 5


def test_tables_that_come_and_go_while_they_are_locked(server, kestra, take, monkeypatch):
    lock, changes = pin.Pin._lock, [
        "CREATE TABLE appeared (a int)",
        "DROP TABLE metrics",
        "ALTER TABLE settings RENAME TO s2",
    ]

    def disturbed(self, wanted):
        if changes:
            server.sql(changes.pop(0), kestra)
        return lock(self, wanted)

    monkeypatch.setattr(pin.Pin, "_lock", disturbed)
    source_, component = take(server.admin(), kestra)
    assert not changes
    assert "public.appeared" in component["counts"] and "public.s2" in component["counts"]
    assert "public.metrics" not in component["counts"] and "public.settings" not in component["counts"]


def test_tables_that_never_stop_changing(server, kestra, take, monkeypatch):
    lock, numbers = pin.Pin._lock, iter(range(1000))

    def disturbed(self, wanted):
        server.sql(f"CREATE TABLE appeared{next(numbers)} (a int)", kestra)
        return lock(self, wanted)

    monkeypatch.setattr(pin.Pin, "_lock", disturbed)
    with pytest.raises(RefusedError) as refused:
        take(server.admin(), kestra)
    assert refused.value.reason == "schema_changing"


def test_a_function_replaced_during_the_dump_voids_it(server, kestra, take, tmp_path):
    def replace(facts):
        time.sleep(1.0)
        server.sql(
            "CREATE OR REPLACE FUNCTION update_updated_datetime() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN NULL; END $$",
            kestra,
        )

    finish = pin.Pin.finish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pin.Pin, "finish", lambda self: (replace({}), finish(self))[1])
        with pytest.raises(RefusedError) as refused:
            take(server.admin(), kestra)
    assert refused.value.reason == "schema_changing" and "update_updated_datetime" in refused.value.message
    assert nothing_left(tmp_path)


@contextlib.contextmanager
def small_disk(path, size):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_disk_full(server, busy, tmp_path, form):
    with small_disk(tmp_path / "disk", "1m") as disk:
        with pytest.raises(RefusedError) as refused:
            dump.dump(server.admin(), busy, str(disk / "dump"), dump.Options(format=form), Steps())
        assert refused.value.reason == "disk_full" and refused.value.detail["free_bytes"] < 4 << 20
        with pytest.raises(ToolError) as full:
            dump.dump(server.admin(), busy, str(disk / "dump"), dump.Options(format=form, free_ratio=0), Steps())
        assert full.value.reason == "disk_full" and os.listdir(disk) == []


def test_leftovers_of_a_living_run_are_not_touched(server, kestra, tmp_path):
    part = tmp_path / "dump.part"
    part.mkdir()
    pid = os.getpid()
    files.write_json(
        part / "owner.json", {"pid": pid, "pid_start": clock.process_start(pid), "boot_id": clock.boot_id()}
    )
    with pytest.raises(LockedError) as refused:
        dump.dump(server.admin(), kestra, str(tmp_path / "dump"), dump.Options(free_ratio=0), Steps())
    assert refused.value.reason == "dump_running" and part.is_dir()
    files.write_json(part / "owner.json", {"pid": pid, "pid_start": 1, "boot_id": clock.boot_id()})
    dump.dump(server.admin(), kestra, str(tmp_path / "dump"), dump.Options(free_ratio=0), Steps())
    assert not part.exists() and (tmp_path / "dump" / "toc.dat").is_file()


def test_an_existing_dump_is_never_overwritten(server, kestra, take, tmp_path):
    (tmp_path / "dump1").mkdir()
    with pytest.raises(DrError) as refused:
        take(server.admin(), kestra)
    assert refused.value.reason == "dest_exists"


def wait_for_phase(job, phase, limit=60):
    until = time.monotonic() + limit
    while time.monotonic() < until:
        with contextlib.suppress(DrError):
            if phase in files.read_json(job / "state.json")["phases"]:
                return
        time.sleep(0.02)
    raise AssertionError(f"no phase {phase}")


def running(text):
    found = [pid for pid, process in processes().items() if any(text.encode() in word for word in process.arguments)]
    return [pid for pid in found if pid != os.getpid()]


@pytest.mark.parametrize("form", ["directory", "custom"])
def test_module_killed_during_the_dump_then_again(server, busy, module, tmp_path, form):
    job = tmp_path / "job"
    options = {
        "login_unix_socket": str(server.sockets),
        "login_port": server.port,
        "login_user": "admin",
        "database": busy,
        "dest": str(tmp_path / "dump"),
        "format": form,
        "job_dir": str(job),
    }
    process = module("postgresql_dump", background=True, **options)
    wait_for_phase(job, "pinned")
    process.kill()
    process.wait()
    assert not (tmp_path / "dump").exists() and (tmp_path / "dump.part").is_dir()
    result = module("postgresql_dump", **options)
    assert result["component"]["counts"]["public.logs"] == 6000 and not result["reattached"] and result["changed"]
    assert not (tmp_path / "dump.part").exists() and not running(str(tmp_path / "dump.part"))
    again = module("postgresql_dump", **options)
    assert again["reattached"] and not again["changed"] and again["component"] == result["component"]


# -- the restore ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 0.2])
def test_server_killed_during_the_restore(own_server, take, give, share, monkeypatch):
    monkeypatch.setattr(split, "SMALLEST", 1000)
    name = own_server.kestra(BIG)
    dumped, component = take(own_server.admin(), name)
    killer = []

    def kill(facts):
        killer.append(later(0.6, lambda: own_server.stop(signal.SIGQUIT)))

    with pytest.raises(DrError) as lost:
        give(own_server.admin(), dumped, "kestra_dr_killed", component, Steps(restoring=kill), split_share=share)
    killer[0].join()
    assert lost.value.reason in ("connection_lost", "unreachable", "not_ready")
    own_server.start()
    result = give(own_server.admin(), dumped, "kestra_dr_killed", component, split_share=share)
    assert result["verdict"] == "verified"


def test_one_of_several_streams_lost(server, busy, take, give, monkeypatch):
    monkeypatch.setattr(split, "SMALLEST", 1000)
    dumped, component = take(server.admin(), busy)
    ended = []

    def end():
        until = time.monotonic() + 20
        while not ended and time.monotonic() < until:
            ended.extend(
                server.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                    "'kestra_dr copy' AND query LIKE 'COPY%' LIMIT 1"
                )
            )

    with pytest.raises(ConnectError) as lost:
        give(
            server.admin(), dumped, "kestra_dr_stream", component, Steps(restoring=lambda facts: later(0, end)), jobs=3
        )
    assert ended and lost.value.reason == "connection_lost"
    assert server.sql("SELECT count(*) FROM logs", "kestra_dr_stream") == [(0,)]
    assert give(server.admin(), dumped, "kestra_dr_stream", component)["verdict"] == "verified"
    server.drop("kestra_dr_stream")


def test_a_failed_restore_into_an_empty_database_can_be_repeated(server, kestra, take, give):
    """As it is on a managed service: the database cannot be dropped and made again."""
    role, name = server.role(), None
    dumped, component = take(server.admin(), kestra)
    name = server.database(role)
    server.sql("ALTER DATABASE " + name + " SET max_parallel_workers = 0")

    def disturb(facts):
        later(
            0.3,
            lambda: server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                f"'{name}' AND application_name = 'kestra_dr'"
            ),
        )

    with pytest.MonkeyPatch.context() as patch:
        # Ends in the middle, with tables there already.
        patch.setattr(work, "explain", lambda exc: exc)
        patch.setattr(target, "finish", lambda *unused: (none for none in ()).throw(ToolError("interrupted")))
        with pytest.raises(ToolError):
            give(server.login(role), dumped, name, component, create=False)
    assert "table public.kestra_dr_restoring" in server_contents(server, name)
    result = give(server.login(role), dumped, name, component, create=False)
    assert result["verdict"] == "verified" and "kestra_dr_restoring" not in str(server_contents(server, name))
    with pytest.raises(RefusedError):
        give(server.login(role), dumped, name, component, create=False)
    server.drop(name)


def server_contents(server, name):
    with connect.connect(server.admin(), name) as connection:
        return inventory.contents(connection, 100)


def test_module_killed_during_the_restore_then_again(server, busy, module, take, tmp_path):
    dumped, component = take(server.admin(), busy)
    job = tmp_path / "job"
    options = {
        "login_unix_socket": str(server.sockets),
        "login_port": server.port,
        "login_user": "admin",
        "source": dumped,
        "component": component,
        "target": "kestra_dr_again",
        "owner": "kestra",
        "job_dir": str(job),
    }
    process = module("postgresql_restore", background=True, **options)
    wait_for_phase(job, "restoring")
    time.sleep(0.5)
    process.kill()
    process.wait()
    result = module("postgresql_restore", **options)
    assert result["verdict"] == "verified" and not result["reattached"]
    assert module("postgresql_restore", **options)["reattached"]
    server.drop("kestra_dr_again")


def test_a_restore_that_waits_for_ever_is_ended(server, kestra, take, give):
    dumped, component = take(server.admin(), kestra)
    holder = []

    def hold(facts):
        holder.append(connect.connect(server.admin(), "kestra_dr_waits"))
        # Not committed: the restore has to wait whether it is going to exist.
        holder[0].execute("BEGIN; CREATE TYPE public.log_level AS ENUM ('a')")

    started = time.monotonic()
    with pytest.raises(ToolError) as hung:
        give(server.admin(), dumped, "kestra_dr_waits", component, Steps(restoring=hold), idle_timeout=3.0)
    assert hung.value.reason == "hung" and time.monotonic() - started < 40
    holder[0].close()
    server.drop("kestra_dr_waits")


def test_pg_restore_on_a_cut_tar_is_ended(server, busy, take, tmp_path):
    """No cut tar gets this far, since it is read whole before. Should pg_restore spin nevertheless, it is ended."""
    dumped, component = take(server.admin(), busy, format="tar")
    found = source.inspect(dumped, component)
    with open(found.path, "r+b") as handle:
        handle.truncate(os.path.getsize(found.path) * 3 // 10)
    server.sql("CREATE DATABASE kestra_dr_cut TEMPLATE template0")
    options = target.Options("kestra_dr_cut", idle_timeout=4.0, split_share=0)
    place = target.Target(
        target.pick_client(work_clients(), found.dump_version, found.server_version[0]),
        found.server_version,
        None,
        "UTC",
        [],
        False,
    )
    started = time.monotonic()
    with contextlib.suppress(DrError):
        shutil.copy(found.path, tmp_path / "cut.tar")
        work.Run(server.admin(), found, options, place, Steps(), None).all()
    assert time.monotonic() - started < 60
    server.drop("kestra_dr_cut")


def work_clients():
    from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import versions

    return versions.find_clients()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_migration_during_the_dump_ends_it_rather_than_hang(server, busy, take, jobs):
    """Who wants to alter a table waits for the pin, and pg_dump would queue up behind him: a deadlock nobody sees."""
    migrations = []

    def migrate(facts):
        for table in ("logs", "flows", "queues"):
            connection = connect.connect(server.admin(), busy, application="a migration")
            thread = threading.Thread(
                target=connection.execute, args=(f"ALTER TABLE public.{table} ADD COLUMN x int",), daemon=True
            )
            thread.start()
            migrations.append((connection, thread))

    started = time.monotonic()
    try:
        counts = take(server.admin(), busy, Steps(pinned=migrate), jobs=jobs, lock_timeout=2.0)[1]["counts"]
        assert counts["public.logs"] == 6000  # pg_dump had its locks already
    except ToolError as exc:
        assert exc.reason == "lock_timeout" and "migration" in exc.hint
    assert time.monotonic() - started < 60
    for connection, thread in migrations:
        thread.join(30)
        assert not thread.is_alive(), "the migration never got its lock"
        connection.close()
