# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on real servers: nothing half is ever taken for whole, and the next attempt succeeds."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import signal
import stat
import subprocess
import time

import pytest
from mysql_harness import BIN, FULL

from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, files
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError,
    DrError,
    IntegrityError,
    LockedError,
    RefusedError,
    ToolError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import (
    connect,
    dump,
    inventory,
    names,
    pin,
    restore,
    source,
    target,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps, later

PROGRAM = os.path.join(BIN or "/usr/bin", "mysqldump")


def nothing_left(tmp_path):
    return not [name for name in os.listdir(tmp_path) if name.startswith("dump")]


def names_of(server):
    return [row[0] for row in server.sql("SHOW DATABASES")]


def by_hand(server, database, path, *options):
    """A dump as somebody makes it: mysqldump with options of their own."""
    with open(path, "wb") as handle:
        subprocess.run(
            [PROGRAM, "--no-defaults", f"--socket={server.socket}", "--user=root", *options, database],
            stdout=handle,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    return str(path)


# -- the dump ---------------------------------------------------------------------------------------------------------


def test_server_killed_during_the_dump(own_server, take, tmp_path):
    server = own_server()
    name = server.kestra({"logs": 12000})
    with pytest.raises(DrError) as lost:
        take(server.admin(), name, Steps(pinned=lambda facts: server.stop(signal.SIGKILL)))
    assert lost.value.reason == "connection_lost" and nothing_left(tmp_path)
    server.start()
    assert take(server.admin(), name)[1]["counts"][f"{name}.logs"] == 12000


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_client_killed_in_the_middle_of_a_table(server, big, take, tmp_path, compression):
    def kill(facts):
        for pid in clock.descendants(os.getpid()):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as handle:
                if b"--single-transaction" in handle.read():
                    os.kill(pid, signal.SIGKILL)

    with pytest.raises(ToolError) as killed:
        take(server.admin(), big, Steps(pinned=kill), compression=compression)
    assert "signal 9" in killed.value.message and nothing_left(tmp_path)


def test_the_counting_session_is_lost(server, big, take, tmp_path, monkeypatch):
    release = pin.Pin.release

    # Not at the phase pinned: by then a short count may have ended, and its session is needed no more.
    def lose(held):
        for (pid,) in server.sql(
            "SELECT processlist_id FROM performance_schema.session_connect_attrs WHERE attr_value = "
            "'kestra_dr count'"
        ):
            server.sql(f"KILL {pid}")
        release(held)

    monkeypatch.setattr(pin.Pin, "release", lose)
    with pytest.raises(ConnectError) as lost:
        take(server.admin(), big)
    assert lost.value.reason == "connection_lost" and nothing_left(tmp_path)


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


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_disk_full(server, big, tmp_path, compression):
    with small_disk(tmp_path / "disk", "512k") as disk:
        chosen = {"bin_dir": BIN, "compression": compression}
        with pytest.raises(RefusedError) as refused:
            dump.dump(server.admin(), big, str(disk / "dump"), dump.Options(**chosen), Steps())
        assert refused.value.reason == "disk_full" and refused.value.detail["free_bytes"] <= 512 << 10
        with pytest.raises(DrError) as full:
            dump.dump(server.admin(), big, str(disk / "dump"), dump.Options(free_ratio=0, **chosen), Steps())
        assert full.value.reason == "disk_full" and os.listdir(disk) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE triggers ADD COLUMN x INT",
        "ALTER TABLE triggers MODIFY namespace VARCHAR(200) GENERATED ALWAYS AS (value ->> '$.namespace') STORED NOT NULL",
        "DROP TABLE triggers",
        "TRUNCATE TABLE triggers",
        "CREATE FUNCTION added(x INT) RETURNS INT DETERMINISTIC RETURN x",
        "DROP FUNCTION PARSE_ISO8601_DURATION",
        "CREATE TABLE zzz_added (a INT PRIMARY KEY)",
    ],
)
def test_a_migration_in_the_middle_of_the_dump(server, take, tmp_path, statement):
    """--single-transaction does not keep definitions as they were."""
    name = server.kestra({"logs": 6000, "triggers": 5})
    with pytest.raises(DrError) as changed:
        take(server.admin(), name, Steps(pinned=lambda facts: server.sql(statement, name)))
    assert changed.value.reason in ("schema_changing", "dump_incomplete", "counts_differ"), changed.value.message
    assert changed.value.reason == "schema_changing" and nothing_left(tmp_path)
    server.drop(name)


def test_a_migration_is_not_kept_waiting_by_the_counts(server, take):
    """Nor is mysqldump by the migration: it would be a deadlock nobody sees."""
    name = server.kestra({"logs": 12000, "triggers": 5})
    started, threads = time.monotonic(), []

    def migrate(facts):
        threads.append(later(0, lambda: server.sql("ALTER TABLE triggers ADD COLUMN x INT, ALGORITHM=COPY", name)))
        time.sleep(0.5)

    with contextlib.suppress(RefusedError):
        take(server.admin(), name, Steps(pinned=migrate))
    threads[0].join(20)
    assert not threads[0].is_alive() and time.monotonic() - started < 30
    server.drop(name)


def test_privileges_that_mysqldump_does_not_miss(server, small, take, tmp_path):
    user = server.account(f"SELECT, LOCK TABLES ON `{small}`.*")
    # The control: it leaves routines and triggers out, and ends with 0.
    with connect.client_options(server.login(user)) as (option_file, env):
        done = subprocess.run(
            [
                PROGRAM,
                option_file,
                "--single-transaction",
                "--routines",
                "--triggers",
                "--no-tablespaces",
                "--set-gtid-purged=OFF",
                small,
            ],
            capture_output=True,
            check=False,
            env={name: value for name, value in dict(os.environ, **env).items() if value is not None},
        )
    assert done.returncode == 0 and b"Dump completed" in done.stdout
    assert b"PARSE_ISO8601_DURATION" not in done.stdout
    with pytest.raises(RefusedError) as refused:
        take(server.login(user), small)
    assert refused.value.reason == "privileges_missing"
    for word in ("TRIGGER", "EVENT", "SHOW_ROUTINE"):
        assert word in refused.value.message
    server.sql(f"GRANT TRIGGER, EVENT ON `{small}`.* TO `{user}`@'%'")
    with pytest.raises(RefusedError) as refused:
        take(server.login(user), small)
    assert [item["missing"] for item in refused.value.detail["missing"]] == [["SHOW_ROUTINE"]]
    server.sql(f"GRANT SHOW_ROUTINE ON *.* TO `{user}`@'%'")
    assert take(server.login(user), small)[1]["objects"]["routines"]
    assert take(server.login("kestra"), small)  # the owner of all, without SUPER, RELOAD, PROCESS


def test_a_role_gives_privileges_too(server, small, take):
    server.sql("CREATE ROLE IF NOT EXISTS dumper")
    server.sql(f"GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON `{small}`.* TO dumper")
    server.sql("GRANT SHOW_ROUTINE ON *.* TO dumper")
    user = server.account()
    server.sql(f"GRANT dumper TO `{user}`@'%'")
    with pytest.raises(ConnectError):
        take(server.login(user), small)
    server.sql(f"SET DEFAULT ROLE dumper TO `{user}`@'%'")
    assert take(server.login(user), small)[1]["counts"][f"{small}.logs"] == 400


def test_another_vendors_client_is_refused(server, small, take, tmp_path):
    for text, version in (
        ("mysqldump  Ver 10.19 Distrib 10.11.14-MariaDB, for debian-linux-gnu (x86_64)", "10.11.14"),
        ("mysqldump from 11.8.3-MariaDB, client 10.19 for debian-linux-gnu (x86_64)", "11.8.3"),
    ):
        program = tmp_path / "mysqldump"
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)
        with pytest.raises(RefusedError) as refused:
            take(server.admin(), small, bin_dir=str(tmp_path))
        assert refused.value.reason == "client_vendor" and f"MariaDB's mysqldump {version}" in refused.value.message
    program.write_text("#!/bin/sh\necho 'mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)'\n")
    with pytest.raises(RefusedError) as refused:
        take(server.admin(), small, bin_dir=str(tmp_path))
    assert refused.value.reason == "client_too_old"


def test_mysqldump_that_does_not_begin(server, kestra, tmp_path, take):
    """Writers are not kept waiting for ever."""
    program = tmp_path / "mysqldump"
    program.write_text(
        "#!/bin/sh\ncase \"$*\" in *--version*) echo 'mysqldump  Ver 9.9.9 for Linux';; *) exec sleep 600;; esac\n"
    )
    program.chmod(0o755)
    started = time.monotonic()
    with pytest.raises(RefusedError) as late:
        take(server.admin(), kestra, bin_dir=str(tmp_path), lock_timeout=2.0)
    assert late.value.reason == "lock_timeout" and time.monotonic() - started < 30
    server.sql("INSERT INTO settings (`key`, value) VALUES ('free', '1')", kestra)


def test_tables_without_snapshots_are_refused(server, kestra, take):
    server.sql("CREATE TABLE old (a INT) ENGINE=MyISAM", kestra)
    with pytest.raises(RefusedError) as refused:
        take(server.admin(), kestra)
    assert refused.value.reason == "engine_unsupported" and "old" in refused.value.message


def test_leftovers_of_a_living_run_are_not_touched(server, kestra, tmp_path):
    part = tmp_path / "dump.part"
    part.mkdir()
    pid, chosen = os.getpid(), dump.Options(free_ratio=0, bin_dir=BIN)
    owner = {"pid": pid, "pid_start": clock.process_start(pid), "boot_id": clock.boot_id()}
    files.write_json(part / "owner.json", owner)
    with pytest.raises(LockedError):
        dump.dump(server.admin(), kestra, str(tmp_path / "dump"), chosen, Steps())
    files.write_json(part / "owner.json", dict(owner, pid_start=1))
    dump.dump(server.admin(), kestra, str(tmp_path / "dump"), chosen, Steps())
    assert not part.exists() and os.listdir(tmp_path / "dump") == ["database.sql"]


# -- damaged files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripts(server, small, tmp_path_factory):
    """The same dump plain, by zstd and by gzip."""
    place = tmp_path_factory.mktemp("scripts")
    plain = by_hand(
        server,
        small,
        place / "kestra.sql",
        "--single-transaction",
        "--routines",
        "--events",
        "--hex-blob",
        "--set-gtid-purged=OFF",
    )
    subprocess.run(["zstd", "-q", "-k", plain], check=True)
    with open(plain, "rb") as handle, gzip.open(plain + ".gz", "wb") as packed:
        shutil.copyfileobj(handle, packed)
    return place


@pytest.mark.parametrize("name", ["kestra.sql", "kestra.sql.zst", "kestra.sql.gz"])
def test_cut_anywhere(scripts, tmp_path, name):
    whole = (scripts / name).read_bytes()
    end = whole.rindex(b"-- Dump completed") if name == "kestra.sql" else len(whole)
    offsets = range(0, end, max(1, end // (2000 if FULL else 200)))
    assert len(offsets) >= 200
    for offset in offsets:
        path = tmp_path / name
        path.write_bytes(whole[:offset])
        with pytest.raises(IntegrityError):
            source.inspect(str(path))
    path.write_bytes(whole)
    assert source.inspect(str(path)).expected["counts"]


@pytest.mark.parametrize("name", ["kestra.sql.zst", "kestra.sql.gz"])
def test_changed_bytes_of_compressed_files(scripts, tmp_path, name):
    """Found by the checksum inside, or without consequence (a flag of the header, a time)."""
    whole = (scripts / name).read_bytes()
    good = source.inspect(str(scripts / name)).expected
    found = 0
    for offset in range(0, len(whole), max(1, len(whole) // 200)):
        path = tmp_path / name
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x10]) + whole[offset + 1 :])
        try:
            assert source.inspect(str(path)).expected == good
        except DrError:
            found += 1
    assert found > 180


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_changed_bytes_and_a_manifest(server, small, take, give, compression):
    """With digests every change is found, also inside a value, before the server is touched."""
    dumped, component = take(server.admin(), small, compression=compression)
    path = os.path.join(dumped, component["files"][0]["path"])
    whole = files_bytes(path)
    before = names_of(server)
    for offset in range(0, len(whole), max(1, len(whole) // 200)):
        with open(path, "r+b") as handle:
            handle.seek(offset)
            handle.write(bytes([whole[offset] ^ 1]))
        with pytest.raises(IntegrityError) as changed:
            give(server.admin(), dumped, "kestra_dr_flip", component)
        assert changed.value.reason == "digest_differs"
        with open(path, "r+b") as handle:
            handle.seek(offset)
            handle.write(whole[offset : offset + 1])
    assert names_of(server) == before
    assert give(server.admin(), dumped, "kestra_dr_flip", component)["verdict"] == "verified"


def files_bytes(path):
    with open(path, "rb") as handle:
        return handle.read()


# -- dumps somebody else made -----------------------------------------------------------------------------------------


def test_the_documented_command_and_gtids(server, small, tmp_path, give):
    """mysqldump kestra > kestra.sql sets GTID_PURGED: by hand it fails on the same server, here it is left out."""
    path = by_hand(server, small, tmp_path / "kestra.sql", "--single-transaction")
    server.database("collides")
    with open(path, "rb") as script:
        done = subprocess.run(
            [
                os.path.join(BIN or "/usr/bin", "mysql"),
                "--no-defaults",
                f"--socket={server.socket}",
                "--user=root",
                "collides",
            ],
            stdin=script,
            capture_output=True,
            check=False,
        )
    assert done.returncode != 0 and b"ERROR 3546" in done.stderr
    result = give(server.admin(), path, "collides", create=False)
    assert result["verdict"] == "verified" and result["audited"] and result["counts"][f"{small}.logs"] == 400
    warned = " ".join(result["warnings"])
    assert "GTID_PURGED" in warned and "PARSE_ISO8601_DURATION" in warned and "--events" in warned


def test_a_whole_dump_made_by_hand(server, small, scripts, give):
    for name in ("kestra.sql", "kestra.sql.zst", "kestra.sql.gz"):
        result = give(server.admin(), str(scripts / name), f"kestra_dr_{name.count('.')}{name[-1]}")
        assert result["verdict"] == "verified" and result["warnings"] == [], name
        assert result["counts"][f"{small}.queues"] == 150


@pytest.mark.parametrize(
    "options",
    [
        ("--skip-extended-insert",),
        ("--complete-insert", "--skip-quote-names", "--replace"),
        ("--skip-opt", "--create-options", "--no-create-db"),
        ("--databases",),
        ("--skip-hex-blob", "--insert-ignore", "--skip-tz-utc"),
        ("--compatible=ansi",),
    ],
)
def test_dumps_with_other_options(server, small, tmp_path, give, options):
    path = by_hand(server, small, tmp_path / "kestra.sql", "--set-gtid-purged=OFF", "--routines", "--events", *options)
    try:
        result = give(server.admin(), path, "kestra_dr_options")
    except RefusedError as exc:
        # Without quotes around names, or with others, it is not read on a guess.
        assert exc.reason == "statement_unexpected" and {"--skip-quote-names", "--compatible=ansi"} & set(options)
        return
    assert result["verdict"] == "verified", result["differences"]
    assert result["counts"][f"{small}.logs"] == 400


def test_what_a_dump_must_not_do(server, small, scripts, tmp_path, give):
    whole = (scripts / "kestra.sql").read_bytes()
    at = whole.index(b"LOCK TABLES `executions`")
    for added, reason in (
        (b"DROP DATABASE mysql;\n", "statement_unexpected"),
        (b"GRANT ALL ON *.* TO x;\n", "statement_unexpected"),
        (b"DROP TABLE `mysql`.`user`;\n", "dump_unsupported"),
        (b"INSERT INTO `mysql`.`user` VALUES (1);\n", "statement_unexpected"),
        (b"\\! touch /tmp/kestra-dr-was-here\n", "statement_unexpected"),
        (b"system touch /tmp/kestra-dr-was-here;\n", "statement_unexpected"),
        (b"CREATE DATABASE `one`;\nUSE `two`;\n", "dump_unsupported"),
        (b"SELECT 'x' INTO OUTFILE '/tmp/kestra-dr-was-here';\n", "statement_unexpected"),
    ):
        path = tmp_path / "kestra.sql"
        path.write_bytes(whole[:at] + added + whole[at:])
        before = names_of(server)
        with pytest.raises(DrError) as refused:
            give(server.admin(), str(path), "kestra_dr_bad")
        assert refused.value.reason == reason, (added, refused.value.message)
        assert names_of(server) == before
    assert not os.path.exists("/tmp/kestra-dr-was-here")


def test_no_footer_no_trust(server, small, tmp_path):
    for options in (("--compact",), ("--skip-comments",)):
        with pytest.raises(IntegrityError) as refused:
            source.inspect(by_hand(server, small, tmp_path / "kestra.sql", "--set-gtid-purged=OFF", *options))
        assert refused.value.reason == "not_a_dump"


# -- the restore ------------------------------------------------------------------------------------------------------


def test_server_killed_during_the_restore(own_server, server, big, take, give):
    dumped, component = take(server.admin(), big)
    broken = own_server()
    killer = []

    def kill(facts):
        killer.append(later(0.5, lambda: broken.stop(signal.SIGKILL)))

    with pytest.raises(DrError) as lost:
        give(broken.admin(), dumped, "kestra_dr_killed", component, Steps(restoring=kill))
    killer[0].join()
    assert lost.value.reason in ("connection_lost", "unreachable")
    broken.start()
    with connect.connect(broken.admin()) as session:
        assert target.marked(session, "kestra_dr_killed")
    assert give(broken.admin(), dumped, "kestra_dr_killed", component)["verdict"] == "verified"


def test_one_of_several_sessions_lost(server, big, take, give):
    dumped, component = take(server.admin(), big)
    ended = []

    def end():
        until = time.monotonic() + 20
        while not ended and time.monotonic() < until:
            for (pid,) in server.sql(
                "SELECT ID FROM performance_schema.processlist WHERE DB = 'kestra_dr_stream' AND INFO "
                "LIKE 'INSERT%' LIMIT 1"
            ):
                server.sql(f"KILL {pid}")
                ended.append(pid)

    with pytest.raises(ConnectError) as lost:
        give(
            server.admin(), dumped, "kestra_dr_stream", component, Steps(restoring=lambda facts: later(0, end)), jobs=3
        )
    assert ended and lost.value.reason == "connection_lost"
    assert give(server.admin(), dumped, "kestra_dr_stream", component)["verdict"] == "verified"


def test_a_failed_restore_into_an_empty_database_can_be_repeated(server, small, take, give, monkeypatch):
    """As it is on a managed service: the database cannot be dropped and made again."""
    dumped, component = take(server.admin(), small)
    server.database("kestra_empty")
    user = server.account("ALL ON kestra_empty.*")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "analyze", lambda *unused: (none for none in ()).throw(ToolError("interrupted")))
        with pytest.raises(ToolError):
            give(server.login(user), dumped, "kestra_empty", component, create=False)
    assert (names.MARKER,) in server.sql("SHOW TABLES", "kestra_empty")
    assert give(server.login(user), dumped, "kestra_empty", component, create=False)["verdict"] == "verified"
    assert (names.MARKER,) not in server.sql("SHOW TABLES", "kestra_empty")
    with pytest.raises(RefusedError):
        give(server.login(user), dumped, "kestra_empty", component, create=False)


def test_target_without_time_zone_tables(own_server, server, small, take, give, monkeypatch):
    dumped, component = take(server.admin(), small)
    bare = own_server(time_zones=False)
    with pytest.raises(RefusedError) as refused:
        give(bare.admin(), dumped, "kestra_dr_zones", component)
    assert refused.value.reason == "time_zones_missing" and "mysql_tzinfo_to_sql" in refused.value.hint
    assert "kestra_dr_zones" not in names_of(bare)
    # The control: rows would go in, with other times in them, and only the comparison tells.
    monkeypatch.setattr(target, "_require_time_zones", lambda session, source: None)
    result = give(bare.admin(), dumped, "kestra_dr_zones", component)
    assert {item["kind"] for item in result["differences"]} == {"generated_timestamps"}


def test_servers_with_other_modes(own_server, small, server, take, give):
    """Whatever the server's own sql_mode, time zone and character set are."""
    odd = own_server(
        sql_mode="TRADITIONAL,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO",
        default_time_zone="+05:30",
        character_set_server="latin1",
        innodb_strict_mode="ON",
        sql_require_primary_key="OFF",
        explicit_defaults_for_timestamp="OFF",
        lock_wait_timeout="5",
        wait_timeout="20",
    )
    dumped, component = take(server.admin(), small)
    assert give(odd.admin(), dumped, "kestra_dr_modes", component)["verdict"] == "verified"
    again, told = take(odd.admin(), "kestra_dr_modes")
    assert sorted(told["counts"].values()) == sorted(component["counts"].values())
    result = give(server.admin(), again, "kestra_dr_back", told)
    assert result["verdict"] == "verified", result["differences"]
    read = [
        inventory.read(one.admin(), name, label="x", with_content=True)["content"]
        for one, name in ((server, small), (server, "kestra_dr_back"))
    ]
    assert read[0] == read[1]


def test_a_row_longer_than_the_target_takes(own_server, server, take, give):
    """Found before anything is made there."""
    name = server.kestra({"settings": 1})
    server.sql(
        "INSERT INTO task_outputs (`key`, execution_id, value) VALUES ('big', 'e', REPEAT(UNHEX('00'), 3000000))", name
    )
    dumped, component = take(server.admin(), name)
    assert component["longest_statement"] > 6000000
    tight = own_server(max_allowed_packet="4M")
    with pytest.raises(RefusedError) as refused:
        give(tight.admin(), dumped, "kestra_dr_packet", component)
    assert refused.value.reason == "packet_too_small" and "max_allowed_packet = 8388608" in refused.value.hint
    assert "kestra_dr_packet" not in names_of(tight)
    tight.sql("SET GLOBAL max_allowed_packet = 8388608")
    assert give(tight.admin(), dumped, "kestra_dr_packet", component)["verdict"] == "verified"
    server.drop(name)


def test_functions_and_the_binary_log(own_server, server, small, take, give):
    dumped, component = take(server.admin(), small)
    strict = own_server(log_bin_trust_function_creators="0")
    user = strict.account("ALL ON `kestra_dr_functions`.*")
    with pytest.raises(RefusedError) as refused:
        give(strict.login(user), dumped, "kestra_dr_functions", component)
    assert refused.value.reason == "privileges_missing" and "log_bin_trust_function_creators" in refused.value.hint
    assert give(strict.admin(), dumped, "kestra_dr_functions", component)["verdict"] == "verified"


def test_read_only_and_older_targets(own_server, server, small, take, give):
    dumped, component = take(server.admin(), small)
    closed = own_server()
    closed.sql("SET GLOBAL read_only = 1")
    with pytest.raises(RefusedError) as refused:
        give(closed.admin(), dumped, "kestra_dr_closed", component)
    assert refused.value.reason == "read_only"
    newer = dict(component, identity=dict(component["identity"], server_version="99.0.0"))
    with pytest.raises(RefusedError) as refused:
        give(server.admin(), dumped, "kestra_dr_older", newer)
    assert refused.value.reason == "target_too_old"


def test_a_restore_that_waits_for_ever_is_ended(server, small, take, give):
    dumped, component = take(server.admin(), small)
    holder = []

    def hold(facts):
        holder.append(connect.connect(server.admin()))
        holder[0].rows("LOCK INSTANCE FOR BACKUP")

    started = time.monotonic()
    with pytest.raises(ToolError) as hung:
        give(server.admin(), dumped, "kestra_dr_waits", component, Steps(restoring=hold), idle_timeout=2.0)
    holder[0].close()
    assert hung.value.reason == "hung" and time.monotonic() - started < 40


def test_rows_a_table_does_not_take(server, small, scripts, tmp_path, give):
    """The message names the table, and no value."""
    text = (scripts / "kestra.sql").read_bytes().replace(b"),('s2',", b"),('instance.uuid',", 1)
    path = tmp_path / "kestra.sql"
    path.write_bytes(text)
    with pytest.raises(ToolError) as refused:
        give(server.admin(), str(path), "kestra_dr_twice")
    assert refused.value.reason == "restore_failed" and "settings" in refused.value.message
    assert "instance.uuid" not in str(refused.value.to_result())


# -- modules that are killed ------------------------------------------------------------------------------------------


def wait_for_phase(job, phase, limit=60):
    until = time.monotonic() + limit
    while time.monotonic() < until:
        with contextlib.suppress(DrError):
            if phase in files.read_json(job / "state.json")["phases"]:
                return
        time.sleep(0.01)
    raise AssertionError(f"no phase {phase}")


def test_module_killed_during_the_dump_then_again(server, big, module, tmp_path):
    job = tmp_path / "job"
    options = {
        "login_unix_socket": server.socket,
        "login_user": "root",
        "database": big,
        "dest": str(tmp_path / "dump"),
        "compress": "zstd",
        "compress_level": 19,
        "bin_dir": BIN,
        "job_dir": str(job),
    }
    process = module("mysql_dump", background=True, **options)
    wait_for_phase(job, "pinned")
    process.kill()
    process.wait()
    assert not (tmp_path / "dump").exists() and (tmp_path / "dump.part").is_dir()
    result = module("mysql_dump", **options)
    assert result["component"]["counts"][f"{big}.logs"] == 12000 and not result["reattached"] and result["changed"]
    assert not (tmp_path / "dump.part").exists() and stat.S_IMODE(os.stat(tmp_path / "dump").st_mode) == 0o700
    again = module("mysql_dump", **options)
    assert again["reattached"] and not again["changed"] and again["component"] == result["component"]


def test_module_killed_during_the_restore_then_again(server, big, module, take, tmp_path):
    dumped, component = take(server.admin(), big)
    job = tmp_path / "job"
    options = {
        "login_unix_socket": server.socket,
        "login_user": "root",
        "source": dumped,
        "component": component,
        "target": "kestra_dr_again",
        "job_dir": str(job),
    }
    process = module("mysql_restore", background=True, **options)
    wait_for_phase(job, "restoring")
    time.sleep(0.3)
    process.kill()
    process.wait()
    result = module("mysql_restore", **options)
    assert result["verdict"] == "verified" and not result["reattached"]
    assert module("mysql_restore", **options)["reattached"]
    server.drop("kestra_dr_again")


def test_restore_needs_its_options_only(server, small, take):
    """A dump and its component are enough: nothing of the source is asked again."""
    dumped, component = take(server.admin(), small)
    options = restore.Options("kestra_dr_alone", verify=False)
    assert restore.restore(server.admin(), dumped, options, Steps(), expected=component)["verdict"] == "unverified"
    server.drop("kestra_dr_alone")
