# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump of one pinned moment, with the exact counts and definitions of that same moment.

It is written into DEST.part and appears as DEST by one rename, after its files are on disk and have their digests.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field

from ...core import clock, files
from ...core.child import Child, first_error
from ...core.errors import IntegrityError, RefusedError, StateError, ToolError
from .. import unfinished
from . import archive, audit, connect, inventory, pin, rows, versions

FORMATS = ("directory", "custom", "tar", "plain")
# An uncompressed dump by the size of the tables it is of, without their indexes: Kestra's generated columns are left
# out, compressed values are not compressed in it. Seen: logs 0.36 to 0.63, queues 0.95.
_SHARE = 0.6
_DUMP = "dump"


@dataclass(frozen=True)
class Options:
    """What to dump and how. jobs: parallel workers (directory format only; None: one per core, at most 4).

    compression: none, gzip, lz4 or zstd; level: of it. exclude_table_data: tables whose definition is dumped without
    rows. schemas: only these (None: all). lock_timeout: seconds. bin_dir: where the client programs are (None: found).
    free_ratio: share of the estimated size that must be free at the destination.
    """

    format: str = "directory"
    jobs: int | None = None
    compression: str = "none"
    level: int | None = None
    exclude_table_data: tuple = ()
    schemas: tuple | None = None
    lock_timeout: float = 10.0
    bin_dir: str | None = None
    free_ratio: float = 1.0

    def workers(self, cores=None) -> int:
        """Parallel workers of pg_dump."""
        if self.format != "directory":
            return 1
        return self.jobs or max(1, min(4, cores or os.cpu_count() or 1))


@dataclass
class Plan:
    """What preflight found out; changes nothing."""

    client: versions.Client
    database: str
    server_version: str
    estimated_bytes: int
    free_bytes: int
    jobs: int
    excluded: list = field(default_factory=list)

    def facts(self) -> dict:
        """JSON-ready."""
        return {"client": self.client.text, "server_version": self.server_version, "database": self.database,
                "estimated_bytes": self.estimated_bytes, "free_bytes": self.free_bytes, "jobs": self.jobs,
                "exclude_table_data": self.excluded}


def arguments(client, options, snapshot, excluded, target) -> list:
    """The command line of pg_dump. Pure. excluded: names quoted for pg_dump's patterns."""
    letter = {"directory": "d", "custom": "c", "tar": "t", "plain": "p"}[options.format]
    argv = [client.program("pg_dump"), f"--format={letter}", f"--file={target}", f"--snapshot={snapshot}",
            "--no-password", f"--lock-wait-timeout={max(1, int(options.lock_timeout * 1000))}"]
    if options.format == "directory":
        argv.append(f"--jobs={options.workers()}")
    elif options.format == "plain":
        # The other formats keep owners and grants, for the restore to use or not; a script cannot be asked later.
        argv += ["--no-owner", "--no-privileges"]
    compress = versions.compress_argument(client.major, options.format, options.compression, options.level)
    if compress:
        argv.append(compress)
    argv += [f"--schema={_pattern(schema)}" for schema in options.schemas or ()]
    argv += [f"--exclude-table-data={name}" for name in excluded]
    return argv


def _pattern(name) -> str:
    return '"' + name.replace('"', '""') + '"'


def preflight(login, database, dest, options) -> Plan:
    """Everything that can be known before: client, privileges, space, tables. Raises RefusedError, ConnectError."""
    parent = os.path.dirname(os.path.abspath(dest))
    if not os.path.isdir(parent):
        raise StateError(f"The directory {parent} for the dump does not exist.", reason="not_found",
                         hint="Create it (0700), or correct dest.")
    if options.compression != "none" and options.format == "plain":
        raise RefusedError("The plain format is written uncompressed.", reason="compression_unsupported",
                           hint="Use compression none; the repository compresses.")
    psycopg = connect.driver()
    with connect.connect(login, database) as connection:
        try:
            connection.execute(f"SET lock_timeout = {max(1, int(options.lock_timeout * 1000))}")
            number = connection.info.server_version
            found = inventory.relations(connection, options.schemas)
            inventory.require_privileges(found, inventory.role(connection)["name"])
            excluded = pin.exact(options.exclude_table_data, found)
            skipped = {item.oid for item in excluded}
            # Asking for a size waits for a table that is being altered.
            size = inventory.table_bytes(connection, [item for item in found if item.oid not in skipped])
        except psycopg.errors.LockNotAvailable:
            raise pin.blocked(connection, database, options.lock_timeout) from None
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"looking at the database {database}") from None
    client = versions.pick(versions.find_clients(options.bin_dir), versions.of_server(number)[0])
    versions.compress_argument(client.major, options.format, options.compression, options.level)
    return Plan(client, database, ".".join(str(part) for part in versions.of_server(number)), int(size * _SHARE),
                files.free_bytes(parent), options.workers(), [item.name for item in excluded])


def require_space(plan, dest, ratio) -> None:
    """Refuses when less than this share of the estimated size is free at the destination."""
    if plan.free_bytes < plan.estimated_bytes * ratio:
        raise RefusedError(
            f"The dump may take {plan.estimated_bytes} bytes and only {plan.free_bytes} are free for {dest}.",
            reason="disk_full", hint="Free space, or use another directory. free_ratio: 0 switches this check off.",
            detail=plan.facts())


def sweep(dest) -> bool:
    """Removes what a dead run left in DEST.part, and ends its pg_dump. Raises LockedError while the run lives."""
    return unfinished.sweep(dest, lambda part: _end_orphans(os.path.join(os.path.abspath(part), _DUMP)))


def _end_orphans(target) -> None:
    """Workers of a pg_dump whose master was killed finish their table first; they are known by their --file."""
    mark = b"--file=" + os.fsencode(target)
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as handle:
                argv = handle.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(argv[0]).startswith(b"pg_dump") and mark in argv:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(name), signal.SIGKILL)


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
    sweep(dest)
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
    # pg_dump makes its directory itself; a single file gets one, so that every dump is a directory.
    if options.format == "directory":
        target = place
    else:
        os.mkdir(place, 0o700)
        target = os.path.join(place, archive.FILE_NAMES[options.format])
    with pin.Pin(login, plan.database, schemas=options.schemas, lock_timeout=options.lock_timeout) as held:
        excluded = pin.exact(options.exclude_table_data, held.relations)
        argv = arguments(plan.client, options, held.snapshot, [item.quoted for item in excluded], target)
        with connect.client_environment(login, plan.database) as env, Child(argv, env=env, redactor=redactor) as child:
            pinned = clock.utc_now()
            facts = held.database_facts()
            progress.phase("pinned", snapshot=held.snapshot, server_time=held.server_time, pinned=pinned,
                           newest=held.newest_heartbeat(), tables=len(held.relations))
            held.measure()
            try:
                child.wait(_Watch(held, place, plan.estimated_bytes, progress).tick)
            except ToolError as exc:
                # A server that went away ends pg_dump and the pin; the pin's loss is what tells it.
                held.settle()
                raise explain(exc) from None
        measured = held.finish()
    progress.phase("dumped", bytes=audit.total_bytes(target))
    listed, counted = _digest(place, options, progress)
    expected = dict(measured.counts, **{item.name: 0 for item in excluded})
    sequences = _check(options, target, expected, counted)
    objects = dict(measured.objects, sequences=_sequences(measured.objects["sequences"], sequences))
    return {
        "held": "vault", "engine": "postgresql", "strategy": "logical", "format": options.format,
        "compression": options.compression, "jobs": plan.jobs, "timezone": measured.timezone["timezone"],
        "generated_timestamps": measured.timezone["generated_timestamps"],
        "timezone_strays": measured.timezone["timezone_strays"], "identity": held.identity,
        "tools": {"pg_dump": plan.client.text}, "schemas": None if options.schemas is None else list(options.schemas),
        "settings": facts["settings"], "grantees": facts["grantees"], "database_bytes": facts["database_bytes"],
        "counts": expected,
        "excluded_table_data": {item.name: measured.counts[item.name] for item in excluded},
        "newest": measured.newest, "objects": objects, "pinned": pinned, "server_time": held.server_time,
        "files": listed, "bytes": sum(item["size"] for item in listed)}


def explain(exc) -> ToolError:
    """The ToolError of pg_dump with reason and hint for what is known to happen."""
    for pattern, reason, hint in (
            ("No space left on device", "disk_full",
             "Free space on the file system of the dump, or use another directory, then run again."),
            # Whoever wants to alter a table waits for the pin; pg_dump and its workers must not queue up behind.
            ("could not obtain lock on relation|due to (lock|statement) timeout", "lock_timeout",
             "Something wanted to alter a table during the dump (a migration of Kestra). Let it end, then run again.")):
        if re.search(pattern, exc.detail.get("stderr_tail", "")):
            return ToolError(first_error(exc), reason=reason, detail=exc.detail, hint=hint)
    return ToolError(first_error(exc), reason=exc.reason, detail=exc.detail, hint=exc.hint)


class _Watch:
    """Looks at the pin and at the growing files while pg_dump works."""

    def __init__(self, held, place, estimated, progress):
        self._held, self._place, self._estimated, self._progress = held, place, estimated, progress
        self._looked = 0.0

    def tick(self) -> None:
        self._held.check()
        if time.monotonic() - self._looked >= 1.0:
            self._looked = time.monotonic()
            with contextlib.suppress(FileNotFoundError):
                # An estimate: never show less to do than is done.
                done = audit.total_bytes(self._place)
                self._progress.update(done, max(self._estimated, done), message="dumping")


def _digest(place, options, progress) -> tuple:
    """([{path, size, sha256}], {file: RowCounter}) of all files; rows are counted in the same pass if they can be."""
    paths = sorted(os.listdir(place))
    counting = options.format == "directory" and options.compression == "none"
    total, done, guard = audit.total_bytes(place), [0], threading.Lock()

    def one(name):
        writer = files.HashingWriter()
        counter = rows.RowCounter(name) if counting and name.endswith(".dat") and name != "toc.dat" else None
        with open(os.path.join(place, name), "rb") as handle:
            while True:
                block = handle.read(rows.CHUNK)
                if not block:
                    break
                writer.write(block)
                if counter:
                    counter.feed(block)
                with guard:
                    done[0] += len(block)
                    progress.update(done[0], total, message="digests")
        return {"path": name, "size": writer.size, "sha256": writer.sha256}, counter

    # Hashing lets go of the interpreter, so threads use the cores.
    with concurrent.futures.ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        results = list(pool.map(one, paths))
    return [item for item, counter in results], {item["path"]: counter for item, counter in results if counter}


def _check(options, target, expected, counted) -> dict:
    """The rows in the dump are those that were counted in its snapshot. Returns the sequences the dump will set."""
    if options.format == "directory" and options.compression == "none":
        toc = archive.open_toc("directory", target)
        found = {entry.name: counted[entry.file].rows() for entry in toc.table_data() if entry.file in counted}
        sequences = toc.sequences()
    elif options.compression in ("lz4", "zstd"):
        # Reading these again would cost as much as the dump; pg_dump has ended with 0, and names are compared.
        toc = archive.open_toc(options.format, target)
        sequences = toc.sequences()
        found = {entry.name: expected.get(entry.name) for entry in toc.table_data()}
    else:
        report = audit.audit(target)
        found, sequences = report["counts"], report["sequences"]
    # Tables of extensions may come with rows too; they are not in expected.
    wrong = [name for name in sorted(expected) if expected[name] != found.get(name, 0)]
    if wrong:
        name = wrong[0]
        raise IntegrityError(
            f"The dump holds {found.get(name)} rows of {name} where its snapshot has {expected[name]}.",
            reason="counts_differ", hint="Run the backup again; if it happens twice, please report it.",
            detail={"tables": {name: {"expected": expected[name], "found": found.get(name)} for name in wrong[:20]}})
    return sequences


def _sequences(measured, dumped) -> dict:
    """Sequences as the dump will set them. They stand outside snapshots, so the dump's own value is the true one."""
    return {name: dict(measured.get(name, {}), **value) for name, value in dumped.items()}


def describe_timezone(component) -> list:
    """Warnings about rows written in another zone than the one a restore will use."""
    strays = component.get("timezone_strays") or {}
    if not strays:
        return []
    listed = ", ".join(f"{name}: {number} rows" for name, number in sorted(strays.items()))
    return [f"Some generated times were written in another time zone than {component['timezone']} and will be "
            f"computed in that zone by a restore ({listed}). The times in the column value are exact."]
