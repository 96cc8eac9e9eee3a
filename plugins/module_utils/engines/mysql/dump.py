# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump of one moment, with the exact counts and definitions of that same moment.

mysqldump's output is read while it is written: its rows are counted and its objects noted on the way to the file, and
both must be what the counting session saw. It is written into DEST.part and appears as DEST by one rename.

One stream: mydumper as Debian has it (0.10, tried against 9.7) takes FLUSH TABLES WITH READ LOCK, goes on after a table
it could not dump, and misquotes names. A restore takes far longer than a dump, and is parallel here (load.py).
"""
from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass

from ...core import clock, files, proc
from ...core.child import Child
from ...core.errors import ConnectError, IntegrityError, RefusedError, StateError, ToolError, from_os_error
from .. import unfinished
from . import connect, definitions, inventory, names, pin, privileges, script, versions

COMPRESSIONS = ("none", "zstd")
FILE_NAMES = {"none": "database.sql", "zstd": "database.sql.zst"}
_DUMP = "dump"
# What mysqldump writes after its START TRANSACTION, and not before (mysqldump.cc: main, then dump_all_tables_in_db).
_STARTED = b"\n-- Table structure for table "
# Text of JSON is longer than its stored form, and zstd makes a fifth to a tenth of it.
_SHARES = {"none": 1.1, "zstd": 0.3}
_DEFAULT_LEVEL = 3
# mysqldump: Error 1412: …   mysqldump: Got error: 1045: …   mysqldump: Couldn't execute '…': … (1305)
_ERROR = re.compile(r"mysqldump: (?:.*?(?:Got error|Error):? (?P<number>\d+): (?P<said>.*)"
                    r"|(?P<first>.*) \((?P<last>\d+)\)$)", re.MULTILINE)
_FIELDS = re.compile(r"mysqldump: (Error in field count for table: .*?) *!")


@dataclass(frozen=True)
class Options:
    """What to dump and how. compression: none or zstd; level: of it. exclude_table_data: tables whose definition is
    dumped without rows. lock_timeout: seconds. bin_dir: where mysqldump is (None: found). free_ratio: share of the
    estimated size that must be free at the destination.
    """

    compression: str = "none"
    level: int | None = None
    exclude_table_data: tuple = ()
    lock_timeout: float = 10.0
    bin_dir: str | None = None
    free_ratio: float = 1.0


@dataclass
class Plan:
    """What preflight found out; changes nothing."""

    client: versions.Client
    database: str
    server_version: str
    estimated_bytes: int
    free_bytes: int
    excluded: list

    def facts(self) -> dict:
        """JSON-ready."""
        return {"client": self.client.text, "server_version": self.server_version, "database": self.database,
                "estimated_bytes": self.estimated_bytes, "free_bytes": self.free_bytes,
                "exclude_table_data": self.excluded}


def arguments(client, database, options_file) -> list:
    """The command line of mysqldump. Pure.

    --set-gtid-purged=OFF: the dump would else not restore into a server that has GTIDs. --no-tablespaces: they would
    take the privilege PROCESS.
    """
    argv = [client.path, options_file, "--single-transaction", "--quick", "--routines", "--triggers", "--events",
            "--hex-blob", "--set-gtid-purged=OFF", "--no-tablespaces", "--skip-column-statistics", "--tz-utc",
            "--default-character-set=utf8mb4", "--max-allowed-packet=1G", "--comments", "--dump-date"]
    argv += [f"--ignore-table={database}.{name}" for name in names.OWN_TABLES]
    return argv + ["--", database]


def excluded(wanted, found) -> list:
    """The names of tables to dump without rows. wanted: flows or kestra.flows. Raises RefusedError. Pure."""
    chosen, known = [], {table.name for table in found}
    for text in wanted:
        name = text if text in known else text.rpartition(".")[2].strip("`")
        if name not in known:
            raise RefusedError(f"There is no table {text} in the database.", reason="table_missing",
                               hint="Correct exclude_table_data.")
        chosen.append(name)
    return chosen


def preflight(login, database, dest, options) -> Plan:
    """Everything that can be known before: client, privileges, space, tables. Raises RefusedError, ConnectError."""
    parent = os.path.dirname(os.path.abspath(dest))
    if not os.path.isdir(parent):
        raise StateError(f"The directory {parent} for the dump does not exist.", reason="not_found",
                         hint="Create it (0700), or correct dest.")
    clients = versions.find_clients(options.bin_dir)
    if options.compression == "zstd":
        require_zstd()
    with connect.connect(login, database, application="kestra_dr preflight") as session:
        try:
            client = versions.pick(clients, session.version)
            found = inventory.tables(session, database)
            pin.require_snapshots(found)
            listed = definitions.listed(session, database)
            missing = inventory.privileges_missing(session, database, listed)
            privileges.require_for_dump(missing, inventory.account(session))
            without = excluded(options.exclude_table_data, found)
            size = sum(table.data_bytes for table in found if table.name not in without)
            return Plan(client, database, versions.text_of(session.version), int(size * _SHARES[options.compression]),
                        files.free_bytes(parent), without)
        except connect.driver().Error as exc:
            raise connect.query_error(exc, f"looking at the database {database}") from None


def require_zstd() -> None:
    """Raises ToolError when zstd is not installed."""
    if shutil.which("zstd") is None:
        raise ToolError("The program zstd is not installed.", reason="tool_missing",
                        hint="Install zstd, or use compression none.")


def require_space(plan, dest, ratio) -> None:
    """Refuses when less than this share of the estimated size is free at the destination."""
    if plan.free_bytes < plan.estimated_bytes * ratio:
        raise RefusedError(
            f"The dump may take {plan.estimated_bytes} bytes and only {plan.free_bytes} are free for {dest}.",
            reason="disk_full", hint="Free space, or use another directory. free_ratio: 0 switches this check off.",
            detail=plan.facts())


def dump(login, database, dest, options, progress, redactor=None) -> dict:
    """Dumps database into the new directory dest. Returns the manifest's component, without snapshot and path, and
    the facts of the plan as "plan".

    progress: core.jobs.Progress. Phases: preflight, pinned (the moment is held: Kestra may be started now), dumped,
    finished. Raises DrError; then dest does not exist.
    """
    started = time.monotonic()
    dest = os.path.abspath(dest)
    if os.path.exists(dest):
        raise StateError(f"{dest} already exists.", reason="dest_exists",
                         hint="A dump is never written over another one; remove it or give a new path.")
    progress.phase("preflight")
    # An orphan of a dead run ends by itself: nobody reads its output any more.
    unfinished.sweep(dest)
    plan = preflight(login, database, dest, options)
    require_space(plan, dest, options.free_ratio)
    part = files.part_name(dest)
    unfinished.claim(part)
    try:
        component = _dump(login, plan, options, part, progress, redactor)
        os.unlink(os.path.join(part, unfinished.OWNER))
        os.rename(os.path.join(part, _DUMP), dest)
        os.rmdir(part)
        files.fsync_dir(os.path.dirname(dest))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    component["seconds"] = round(time.monotonic() - started, 3)
    progress.phase("finished", bytes=component["bytes"])
    return dict(component, plan=plan.facts())


def _dump(login, plan, options, part, progress, redactor) -> dict:
    place = os.path.join(part, _DUMP)
    os.mkdir(place, 0o700)
    path = os.path.join(place, FILE_NAMES[options.compression])
    facts = script.Facts()
    with pin.Pin(login, plan.database, lock_timeout=options.lock_timeout) as held:
        newest = held.newest_heartbeat()
        with connect.client_options(login) as (option_file, env):
            argv = arguments(plan.client, plan.database, option_file)
            with Child(argv, env=env, stdout=subprocess.PIPE, redactor=redactor) as child:
                held.define()
                stream = Stream(child, held, facts, plan, progress, newest, redactor)
                with _Alarm(held, child) as alarm:
                    digest = write(stream, path, options)
                    _end(child, alarm)
                stream.finish()
        measured = held.finish()
    progress.phase("dumped", bytes=os.path.getsize(path))
    return component(plan, options, held, stream, measured, digest)


def component(plan, options, held, stream, measured, digest) -> dict:
    """The manifest's component. Raises IntegrityError when the dump does not hold what the counting session saw."""
    facts = stream.facts
    expected = dict(measured.counts, **{name: 0 for name in plan.excluded})
    require_counts(expected, facts)
    require_objects(measured.objects, facts)
    objects = dict(measured.objects, auto_increment=facts.auto_increment)
    return {
        "held": "vault", "engine": "mysql", "strategy": "logical", "format": "sql",
        "compression": options.compression, "identity": held.identity,
        "tools": {"mysqldump": plan.client.text}, "time_zones": held.time_zones and facts.time_zones,
        "counts": inventory.qualified(plan.database, expected),
        "excluded_table_data": inventory.qualified(plan.database, {name: measured.counts[name] for name in plan.excluded}),
        "newest": inventory.qualified(plan.database, measured.newest), "objects": objects,
        "generated_timestamps": inventory.times_of(
            {name: item.emptied() if name in plan.excluded else item for name, item in measured.counted.items()}),
        "longest_statement": facts.longest, "definers": facts.definers, "pinned": stream.pinned,
        "server_time": held.server_time, "locked_seconds": held.locked_seconds,
        "files": [{"path": FILE_NAMES[options.compression], "size": digest.size, "sha256": digest.sha256}],
        "bytes": digest.size}


def require_counts(expected, facts) -> None:
    """The rows in the dump are those that were counted in the same moment. Pure."""
    wrong = {name: {"expected": expected[name], "found": facts.counts.get(name)}
             for name in sorted(expected) if expected[name] != facts.counts.get(name)}
    if wrong or facts.uncounted:
        name = next(iter(wrong), None) or facts.uncounted[0]
        found = wrong.get(name, {"expected": expected.get(name), "found": "uncountable"})
        raise IntegrityError(
            f"The dump holds {found['found']} rows of {name} where its moment has {found['expected']}.",
            reason="counts_differ", hint="Run the backup again; if it happens twice, please report it.",
            detail={"tables": dict(list(wrong.items())[:20])})


def require_objects(objects, facts) -> None:
    """mysqldump ends with 0 also when it leaves out what its account may not see. Pure."""
    for kind in definitions.KINDS:
        wanted, found = set(objects[kind]), set(facts.objects[kind])
        if wanted != found:
            name = sorted(wanted ^ found)[0]
            raise IntegrityError(f"The dump {'lacks' if name in wanted else 'holds'} {kind[:-1]} {name}, which the database "
                                 f"{'has' if name in wanted else 'does not have'}.", reason="dump_incomplete",
                                 hint="Run the backup again; if it happens twice, please report it.",
                                 detail={"missing": sorted(wanted - found), "added": sorted(found - wanted)})


class Stream:
    """mysqldump's output on its way: blocks, whose rows are counted as they pass.

    The lock is given back, and the phase "pinned" reached, when the first table's definition is in it.
    """

    def __init__(self, child, held, facts, plan, progress, newest, redactor):
        self.facts = facts
        self.pinned = None
        self._child, self._held, self._plan, self._progress = child, held, plan, progress
        self._newest, self._redactor = newest, redactor
        self._reader = facts.reader()
        self._filter = script.RowFilter(plan.excluded) if plan.excluded else None
        self._tail = b"\n"
        self._done = 0

    def __iter__(self):
        output = self._child.stdout
        while True:
            block = output.read1(script.CHUNK)
            if not block:
                break
            if self.pinned is None and _STARTED in self._tail + block:
                self._release()
            self._tail = block[-len(_STARTED):] if len(block) >= len(_STARTED) else (self._tail + block)[-len(_STARTED):]
            if self._filter:
                block = self._filter.lines(block)
            yield self._count(block)
        if self._filter:
            yield self._count(self._filter.rest())
        if self.pinned is None and self._child.process.wait() == 0:
            self._release()  # a schema without tables

    def _count(self, block):
        self._reader.feed(block)
        self._done += len(block)
        self._held.check()
        self._progress.update(self._done, max(self._plan.estimated_bytes, self._done), message="dumping")
        return block

    def finish(self) -> None:
        """To be called when mysqldump has ended well. Raises IntegrityError when its output is not whole."""
        self._reader.finish()
        self.facts.finish()

    def _release(self) -> None:
        self._held.release()
        self.pinned = clock.utc_now()
        self._progress.phase("pinned", server_time=self._held.server_time, pinned=self.pinned, newest=self._newest,
                             tables=len(self._held.tables), locked_seconds=self._held.locked_seconds)


class _Alarm:
    """Ends mysqldump when it keeps the writers waiting: it may hang in its connection, and we in reading from it."""

    def __init__(self, held, child):
        self._held, self._child = held, child
        self._stop = threading.Event()
        self.rang = False
        self._thread = threading.Thread(target=self._run, name="alarm", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def _run(self):
        while not self._stop.wait(0.1):
            if self._held.locked_seconds is not None:
                return
            if self._held.overdue():
                self.rang = True
                self._child.process.kill()
                return

    def __exit__(self, kind, value, trace):
        self._stop.set()
        self._thread.join()


def write(stream, path, options):
    """Writes the stream to path, compressed or not. Returns the HashingWriter that has seen the file's bytes."""
    with _writing(), open(path, "xb") as handle:
        os.fchmod(handle.fileno(), 0o600)
        digest = files.HashingWriter(handle)
        if options.compression == "none":
            for block in stream:
                digest.write(block)
        else:
            level = _DEFAULT_LEVEL if options.level is None else options.level
            proc.pipeline([proc.Stage(["zstd", "-q", "-c", f"-{level}", "--threads=1"])], source=stream, sink=digest)
        handle.flush()
        os.fsync(handle.fileno())
    return digest


@contextlib.contextmanager
def _writing():
    """A full disk is the destination's, whichever side of the compressor notices."""
    try:
        yield
    except OSError as exc:
        raise from_os_error(exc, "writing the dump") from None


def _end(child, alarm) -> None:
    try:
        child.check()
    except ToolError as exc:
        if alarm.rang:
            raise RefusedError("mysqldump did not begin in time, and writers were waiting.", reason="lock_timeout",
                               hint="The machine or the server is overloaded. Run again, or raise lock_timeout.",
                               detail=exc.detail) from None
        raise explain(exc) from None


def explain(exc) -> Exception:
    """The error of mysqldump with reason and hint for what is known to happen."""
    text = exc.detail.get("stderr_tail", "")
    fields, found = _FIELDS.search(text), _ERROR.search(text)
    if fields:
        return pin.changing("the database", fields.group(1))
    if not found:
        return exc
    number = int(found["number"] or found["last"])
    said = (found["said"] or found["first"]).strip().rstrip(".")
    message = f"mysqldump failed: {said} ({number})."
    if number in pin.CHANGED:
        return pin.changing("the database", said)
    if number == 1205:
        return RefusedError(message, reason="lock_timeout", detail=exc.detail,
                            hint="Something alters a table (a migration of Kestra). Let it end, then run again.")
    if number in (2013, 2006, 1053, 1317, 2003, 2002):
        return ConnectError(message, reason="connection_lost", detail=exc.detail,
                            hint="The server went away during the dump, and nothing of it is left. Run again.")
    if number in (1044, 1045, 1142, 1227, 1370):
        return RefusedError(message, reason="privileges_missing", detail=exc.detail,
                            hint="Grant the account what is missing, or connect as another one.")
    return ToolError(message, reason=exc.reason, hint=exc.hint, detail=exc.detail)
