# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump restored into a new or an empty database, and compared with what it was taken from.

Nothing on the server is touched before every file of the dump has proved whole: by its digests, or, for a dump
without a manifest, by reading all of it.
"""
from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field

from ...core import files
from ...core.errors import IntegrityError, RefusedError, ToolError
from ...core.manifest import compare_counts
from . import archive, audit, connect, decode, definitions, inventory, names, plain, split, swap, versions
from .child import Child

# The table that marks a database which was empty when a restore into it began: all that is in it is that restore's.
MARKER = "kestra_dr_restoring"

# Entries that say what every new database already has, and that only its owner may say again.
_SKIPPED = re.compile(r"SCHEMA \S* ?public|COMMENT \S* ?SCHEMA public|COMMENT .*EXTENSION .*", re.DOTALL)

# pg_restore 17 and newer set it without asking for the server's version; older servers do not know it.
_TRANSACTION_TIMEOUT = "unrecognized configuration parameter \"transaction_timeout\""
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
_RESTRICT = re.compile(rb"^\\restrict ", re.MULTILINE)


@dataclass(frozen=True)
class Options:
    """Where to restore to and how.

    create: make the database (False: it exists and is empty). owner: role that is to own everything (None: the
    connecting one). owner_password: to create the owner with, should it be missing. locale: instead of the recorded
    one. jobs: parallel connections (None: one per core, at most 8). split_share: tables above this share of the rows'
    bytes are loaded by that many COPY streams (0: off). timezone: of the session (None: the one in the manifest, else
    UTC). privileges: restore GRANTs too. verify: count and compare afterwards. idle_timeout: seconds without any sign
    of work after which the restore is ended. bin_dir: where the client programs are (None: found).
    """

    database: str
    create: bool = True
    owner: str | None = None
    owner_password: str | None = field(default=None, repr=False)
    locale: str | None = None
    jobs: int | None = None
    split_share: float = 0.2
    timezone: str | None = None
    privileges: bool = False
    verify: bool = True
    idle_timeout: float = 600.0
    bin_dir: str | None = None

    def workers(self, cores=None) -> int:
        """Parallel connections."""
        return self.jobs or max(1, min(8, cores or os.cpu_count() or 1))


@dataclass
class Source:
    """A dump that was found whole. expected: the manifest's component, or what the dump itself tells."""

    format: str
    path: str
    expected: dict
    toc: object
    server_version: tuple
    dump_version: tuple
    warnings: list
    audited: bool
    optional: dict = field(default_factory=dict)


def inspect(source, expected=None, *, bin_dir=None, progress=None) -> Source:
    """Proves a dump whole without touching any server. expected: the manifest's component, None for a foreign dump.

    Raises IntegrityError for a dump that is cut, changed or incomplete, StateError when there is none.
    """
    if expected is not None:
        verify_files(source if os.path.isdir(source) else os.path.dirname(source), expected["files"], progress)
        dump_format, path = archive.detect(source)
        toc = None if dump_format == "plain" else archive.open_toc(dump_format, path)
        server = expected["identity"]["server_version"]
        wrote = toc.dump_version if toc else (expected.get("tools") or {}).get("pg_dump", server)
        found = Source(dump_format, path, expected, toc, versions.parse(server), versions.parse(wrote), [], False)
        if dump_format == "plain":
            found.optional = plain.audit(path)["optional"]
        return found
    dump_format, path = archive.detect(source)
    total, done = audit.total_bytes(path), [0]

    def advance(count):
        done[0] += count
        if progress:
            progress.update(done[0], max(total, done[0]), message="reading the dump")

    clients = versions.find_clients(bin_dir)
    report = audit.audit(path, client=clients and max(clients, key=lambda item: item.version) or None, on_bytes=advance)
    toc = None if dump_format == "plain" else archive.open_toc(dump_format, path)
    return Source(dump_format, path, from_audit(report), toc, versions.parse(report["server_version"]),
                  versions.parse(report["dump_version"]), report["warnings"], True, report.get("optional", {}))


def from_audit(report) -> dict:
    """What a foreign dump tells of itself, in the form of a manifest's component; definitions are unknown. Pure."""
    return {"format": report["format"], "timezone": None, "counts": report["counts"], "uncounted": report["uncounted"],
            "objects": {"sequences": report["sequences"]} if report["sequences"] else None,
            "identity": {"system_identifier": None, "database": report["database"], "encoding": report["encoding"],
                         "server_version": report["server_version"]},
            "generated_timestamps": None, "settings": [], "grantees": []}


def verify_files(directory, listed, progress=None) -> None:
    """Compares every file of a dump with its size and sha256. Raises IntegrityError naming the first that differs."""
    total, done = sum(item["size"] for item in listed), [0]

    def advance(count):
        done[0] += count
        if progress:
            progress.update(done[0], total, message="digests")

    for item in listed:
        path = os.path.join(directory, item["path"])
        if not os.path.isfile(path):
            raise IntegrityError(f"The file {item['path']} of the dump is missing.", reason="file_missing",
                                 hint="Nothing was restored. Fetch the recovery point again, or use another one.",
                                 detail={"file": item["path"]})
        if os.path.getsize(path) != item["size"] or files.sha256_file(path, advance) != item["sha256"]:
            raise IntegrityError(f"The file {item['path']} of the dump is not what was backed up.",
                                 reason="digest_differs",
                                 hint="Nothing was restored. Fetch the recovery point again, or use another one.",
                                 detail={"file": item["path"], "size": os.path.getsize(path), "expected": item["size"]})
    added = sorted(set(os.listdir(directory)) - {item["path"] for item in listed})
    if added:
        raise IntegrityError(f"The dump holds a file its manifest does not name: {added[0]}.", reason="file_added",
                             hint="Nothing was restored. Fetch the recovery point again.", detail={"files": added[:20]})


def pick_client(clients, written_by, target_major) -> versions.Client:
    """The client to restore with: able to read the dump, and of the target's major if there is a choice. Pure."""
    usable = [client for client in clients if client.major >= written_by[0]]
    if not usable:
        newest = max(clients, key=lambda client: client.version, default=None)
        if newest is None:
            raise RefusedError("No PostgreSQL client is installed here.", reason="client_too_old",
                               hint="Install postgresql-client, or give bin_dir.")
        versions.require_readable(written_by, newest)
    return min(usable, key=lambda client: (abs(client.major - target_major), -client.version[1]))


def skipped(entry) -> bool:
    """Whether an entry is left out because every database has it already. Pure."""
    return _SKIPPED.fullmatch(f"{entry.description} {entry.namespace} {entry.tag}") is not None


def arguments(client, source, options, *, role, listed, section=None, jobs=1) -> list:
    """The command line of pg_restore into the target. Pure."""
    argv = [client.program("pg_restore"), f"--dbname={connect.conninfo(options.database)}", "--no-password",
            "--no-owner", "--no-tablespaces", f"--use-list={listed}"]
    if not options.privileges:
        argv.append("--no-privileges")
    if role:
        argv.append(f"--role={role}")
    if section:
        argv.append(f"--section={section}")
    if jobs > 1 and source.format in ("directory", "custom"):
        argv.append(f"--jobs={jobs}")
    return argv


@dataclass
class Target:
    """The server to restore to, as preflight found it."""

    client: versions.Client
    version: tuple
    role: str | None
    zone: str
    warnings: list
    leftover: bool


def preflight(login, source, options) -> Target:
    """Everything about the target that can be known before it is touched. Raises RefusedError, ConnectError."""
    psycopg = connect.driver()
    place = None if options.create else options.database
    with connect.connect(login, place, application="kestra_dr preflight") as connection:
        try:
            version = versions.of_server(connection.info.server_version)
            versions.require_restorable(source.server_version, version[0])
            client = pick_client(versions.find_clients(options.bin_dir), source.dump_version, version[0])
            if source.format == "plain":
                _require_restrict(source, client)
            leftover = (_creatable if options.create else _empty)(connection, options)
            role = _role(connection, options)
            zone = options.timezone or source.expected.get("timezone") or "UTC"
            if not connection.execute("SELECT 1 FROM pg_catalog.pg_timezone_names WHERE name = %s", (zone,)).fetchone():
                raise RefusedError(f"The server does not know the time zone {zone}.", reason="timezone_unknown",
                                   hint="Give the option timezone, or install the server's time zone data.")
            warnings = list(source.warnings) + _grants(connection, source, options)
        except psycopg.Error as exc:
            raise connect.query_error(exc, "looking at the target server") from None
    if source.expected.get("timezone") is None and options.timezone is None:
        warnings.append("The dump does not tell the time zone its rows were written in; UTC is used for generated "
                        "times (executions.start_date). Give timezone if Kestra's JVM ran in another zone.")
    return Target(client, version, role, zone, warnings, leftover)


def _require_restrict(source, client) -> None:
    with open(source.path, "rb") as handle:
        restricted = _RESTRICT.search(handle.read(1 << 14)) is not None
    if restricted and not versions.knows_restrict(client.version):
        raise RefusedError(rf"The dump starts with \restrict, which psql {client.text} does not know.",
                           reason="client_too_old", hint="Install the current minor release of the PostgreSQL client.",
                           detail={"client": client.text})


def _creatable(connection, options) -> bool:
    """True when a half-made database of ours is there and must go first."""
    if options.database not in swap.existing(connection):
        if not inventory.role(connection)["create_database"]:
            who = inventory.role(connection)["name"]
            raise RefusedError(f"The role {who} may not create databases.", reason="privileges_missing",
                               hint="Connect as a role with CREATEDB, or have an empty database made and use "
                                    "create: false.", detail={"role": who})
        return False
    if not names.is_ours(options.database):
        raise RefusedError(f"The database {options.database} exists already.", reason="database_exists",
                           hint="A restore never goes over a database: give a new name, or create: false for an "
                                "empty one.", detail={"database": options.database})
    return True


def _empty(connection, options) -> bool:
    """True when the database holds what a dead restore into it has left."""
    held = inventory.contents(connection)
    marked = connection.execute("SELECT pg_catalog.to_regclass(%s)", (names.quoted("public", MARKER),)).fetchone()[0]
    if held and marked is None:
        raise RefusedError(
            f"The database {options.database} is not empty; it holds {', '.join(held[:5])}"
            + (f" and {len(held) - 5} more" if len(held) > 5 else "") + ".", reason="not_empty",
            hint="A restore never goes over existing data: give an empty database.", detail={"contents": held})
    who = options.owner or inventory.role(connection)["name"]
    allowed = connection.execute("SELECT pg_catalog.has_schema_privilege(%s, 'public', 'CREATE')", (who,)).fetchone()[0] \
        if connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (who,)).fetchone() else True
    if not allowed:
        raise RefusedError(f"The role {who} may not create anything in the schema public of {options.database}.",
                           reason="privileges_missing",
                           hint=f"As the database's owner: GRANT CREATE ON SCHEMA public TO {names.display(who)}; since "
                                "PostgreSQL 15 only the owner of the database has it.", detail={"role": who})
    return marked is not None


def _role(connection, options):
    """The role to restore as when it is not the connecting one."""
    who = inventory.role(connection)
    if options.owner is None or options.owner == who["name"]:
        return None
    known = connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (options.owner,)).fetchone()
    if not known and (options.owner_password is None or not options.create):
        raise RefusedError(f"The role {options.owner} does not exist on the target server.", reason="role_missing",
                           hint="Create it, or give owner_password and create: true, and it is made as a login role.",
                           detail={"role": options.owner})
    if known and not who["superuser"]:
        member = connection.execute("SELECT pg_catalog.pg_has_role(%s, 'MEMBER')", (options.owner,)).fetchone()[0]
        if not member:
            raise RefusedError(f"The role {who['name']} is not a member of {options.owner} and cannot restore for it.",
                               reason="privileges_missing",
                               hint=f"GRANT {names.display(options.owner)} TO {names.display(who['name'])}, or connect "
                                    "as the owner.", detail={"role": who["name"], "owner": options.owner})
    return options.owner


def _grants(connection, source, options) -> list:
    grantees = source.expected.get("grantees") or []
    if not grantees:
        return []
    if not options.privileges:
        return ["Privileges of other roles are not restored (privileges: true does it): " + ", ".join(grantees) + "."]
    known = {row[0] for row in connection.execute("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY (%s)",
                                                  (grantees,))}
    missing = sorted(set(grantees) - known)
    if missing:
        raise RefusedError(f"Roles that hold privileges are missing on the target: {', '.join(missing)}.",
                           reason="role_missing", hint="Create them, or use privileges: false.",
                           detail={"roles": missing})
    return []


def restore(login, source_path, options, progress, *, expected=None, redactor=None) -> dict:
    """Restores a dump and compares. Returns {database, verdict, counts, differences, warnings, timezone, split_tables,
    rows, bytes, seconds {phase: s}, server_version, client}.

    source_path: the dump, or the directory holding it. expected: the manifest's component (None: a foreign dump, read
    whole and counted first). progress: core.jobs.Progress; phases: checking, preflight, creating, restoring, analyzing,
    verifying, finished. verdict: "verified" (depth counts), "differs", or "unverified" (nothing to compare with, or
    verify false). Raises DrError; what is half-made is then dropped or marked, and swept by the next attempt.
    """
    watch = _Clock()
    progress.phase("checking")
    source = inspect(source_path, expected, bin_dir=options.bin_dir, progress=progress)
    watch.lap("checking")
    progress.phase("preflight")
    target = preflight(login, source, options)
    watch.lap("preflight")
    progress.phase("creating", database=options.database)
    _prepare(login, source, options, target)
    watch.lap("creating")
    progress.phase("restoring", database=options.database)
    run = _Run(login, source, options, target, progress, redactor)
    run.all()
    watch.lap("restoring")
    progress.phase("analyzing")
    _finish(login, options, target)
    watch.lap("analyzing")
    result = {"database": options.database, "verdict": "unverified", "depth": None, "counts": None, "differences": [],
              "warnings": target.warnings, "timezone": target.zone, "split_tables": run.split, "format": source.format,
              "server_version": ".".join(str(part) for part in target.version), "client": target.client.text,
              "bytes": audit.total_bytes(source.path), "audited": source.audited}
    if options.verify:
        progress.phase("verifying")
        found = inventory.read(login, options.database, with_counts=True, with_objects=True)
        result.update(judge(source.expected, found, same_major=source.server_version[0] == target.version[0]))
        watch.lap("verifying")
    result["seconds"] = watch.laps
    progress.phase("finished", verdict=result["verdict"])
    return result


def judge(expected, found, *, same_major=True) -> dict:
    """Compares a manifest's component with the inventory of a restored database. Pure.

    Returns {verdict, depth, counts, differences [{kind, name, expected, found}]}.
    """
    differences = [dict(item, kind="counts") for item in compare_counts(expected["counts"], found["counts"])]
    objects = expected.get("objects")
    if objects and objects.get("tables") is not None:
        differences += definitions.compare(objects, found["objects"], same_major=same_major)
    elif objects:
        known = {name: found["objects"]["sequences"].get(name) for name in objects["sequences"]}
        differences += definitions.compare(
            {"sequences": objects["sequences"]},
            {"sequences": {name: value for name, value in known.items() if value is not None}})
    stamps = expected.get("generated_timestamps")
    if stamps is not None:
        differences += [dict(item, kind="generated_timestamps")
                        for item in compare_counts(stamps, found["generated_timestamps"])]
    complete = not expected.get("uncounted")
    verdict = "differs" if differences else "verified" if complete else "unverified"
    return {"verdict": verdict, "depth": "counts" if complete else "structure", "counts": found["counts"],
            "differences": differences}


class _Clock:
    def __init__(self):
        self.laps: dict = {}
        self._last = time.monotonic()

    def lap(self, name) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 3)
        self._last = now


def _prepare(login, source, options, target) -> None:
    if options.create:
        if target.leftover:
            swap.drop(login, options.database)
        swap.create(login, options.database, owner=options.owner, identity=source.expected["identity"],
                    owner_password=options.owner_password, locale=options.locale,
                    settings=source.expected.get("settings") or ())
        return
    psycopg = connect.driver()
    with connect.connect(login, options.database, application="kestra_dr mark") as connection:
        try:
            if target.role:
                connection.execute(f"SET ROLE {names.quoted(target.role)}")
            if target.leftover:
                wipe(connection)
            else:
                connection.execute(f"CREATE TABLE {names.quoted('public', MARKER)} (started timestamptz)")
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"preparing the database {options.database}") from None


_DROPS = """
SELECT pg_catalog.format('DROP %%s IF EXISTS %%s CASCADE', what, pg_catalog.format('%%I.%%I', n.nspname, name) || arguments)
  FROM (SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                              WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS what,
               c.relnamespace AS space, c.relname AS name, '' AS arguments, c.oid, 'pg_class'::pg_catalog.regclass AS cat, 1 AS turn
          FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         UNION ALL
        SELECT 'ROUTINE', p.pronamespace, p.proname, '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
               p.oid, 'pg_proc'::pg_catalog.regclass, 2 FROM pg_catalog.pg_proc p WHERE p.prokind <> 'a'
         UNION ALL
        SELECT 'TYPE', t.typnamespace, t.typname, '', t.oid, 'pg_type'::pg_catalog.regclass, 3
          FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
         WHERE t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.space
 WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND name <> %s
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = o.oid AND e.classid = o.cat AND e.deptype = 'e')
 ORDER BY turn"""


def wipe(connection) -> None:
    """Removes what a dead restore has left in a database that was empty before it. Only with its marker there."""
    marked = connection.execute("SELECT pg_catalog.to_regclass(%s)", (names.quoted("public", MARKER),)).fetchone()[0]
    if marked is None:
        raise RefusedError("The database has no mark of an unfinished restore.", reason="not_ours")
    for statement, in connection.execute(_DROPS, (MARKER,)).fetchall():
        connection.execute(statement)
    for schema, in connection.execute("""
            SELECT nspname FROM pg_catalog.pg_namespace n WHERE nspname !~ '^pg_' AND nspname NOT IN
                   ('public', 'information_schema') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                   WHERE e.objid = n.oid AND e.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                     AND e.deptype = 'e')""").fetchall():
        connection.execute(f"DROP SCHEMA {names.quoted(schema)} CASCADE")


def _finish(login, options, target) -> None:
    """Statistics, and a commit that waits for the disk: with it, all earlier ones that did not are durable too."""
    psycopg = connect.driver()
    with connect.connect(login, options.database, application="kestra_dr analyze") as connection:
        try:
            if target.role:
                connection.execute(f"SET ROLE {names.quoted(target.role)}")
            if not options.create:
                connection.execute(f"DROP TABLE {names.quoted('public', MARKER)}")
            connection.execute("SET synchronous_commit = on")
            connection.execute("ANALYZE")
        except psycopg.Error as exc:
            raise connect.query_error(exc, f"analyzing the database {options.database}") from None


class _Watchdog:
    """Notices a restore that does nothing: no session of ours works on the server, and none takes in rows.

    A server session that waits for its client, or for a lock, is not at work; building an index is.
    """

    _QUERY = """
        SELECT a.pid, a.state, a.query_start, {copied},
               a.state = 'active' AND COALESCE(a.wait_event_type, '') NOT IN ('Client', 'Lock')
          FROM pg_catalog.pg_stat_activity a {joined}
         WHERE a.datname = %s AND a.application_name LIKE 'kestra_dr%%' AND a.pid <> pg_catalog.pg_backend_pid()
         ORDER BY 1"""

    def __init__(self, login, database, limit, every=2.0):
        self._login, self._database, self._limit, self._every = login, database, limit, every
        self._connection = None
        self._token = None
        self._looked = self._alive = time.monotonic()

    def tick(self) -> None:
        """Raises ToolError when nothing has happened for too long."""
        now = time.monotonic()
        if now - self._looked < self._every:
            return
        self._looked = now
        token, busy = self._look()
        if busy or token != self._token:
            self._token, self._alive = token, now
        if now - self._alive > self._limit:
            raise ToolError(f"The restore gave no sign of work for {self._limit:g} s and was ended.", reason="hung",
                            hint="The dump may be damaged, or a session on the target may hold a lock; see the server's "
                                 "log.")

    def _look(self):
        psycopg = connect.driver()
        try:
            if self._connection is None:
                self._connection = connect.connect(self._login, application="kestra_dr watch")
                progress = self._connection.info.server_version >= 140000
                self._query = self._QUERY.format(
                    copied="COALESCE(p.bytes_processed, 0)" if progress else "0",
                    joined="LEFT JOIN pg_catalog.pg_stat_progress_copy p ON p.pid = a.pid" if progress else "")
            rows = self._connection.execute(self._query, (self._database,)).fetchall()
            return [row[:4] for row in rows], any(row[4] for row in rows)
        except Exception as exc:
            # The watcher's own trouble is no verdict: a dead server ends the restore by itself.
            self.close()
            if not isinstance(exc, (psycopg.Error, connect.ConnectError)):
                raise
            return self._token, False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Run:
    """The work itself."""

    def __init__(self, login, source, options, target, progress, redactor):
        self._login, self._source, self._options, self._target = login, source, options, target
        self._progress, self._redactor = progress, redactor
        self._jobs = options.workers()
        self._tolerant = target.client.major >= 17 > target.version[0]
        self.split: list = []

    def all(self) -> None:
        settings = {"synchronous_commit": "off", "maintenance_work_mem": "256MB", "statement_timeout": "0",
                    "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
        watchdog = _Watchdog(self._login, self._options.database, self._options.idle_timeout)
        try:
            with connect.client_environment(self._login, self._options.database, timezone=self._target.zone,
                                            settings=settings) as env:
                if self._source.format == "plain":
                    self._plain(env, watchdog)
                else:
                    self._archive(env, watchdog)
        finally:
            watchdog.close()

    def _archive(self, env, watchdog) -> None:
        toc = self._source.toc
        wanted = [entry for entry in toc.entries if not skipped(entry)]
        sizes = archive.data_sizes(toc, self._source.path)
        by_id = {entry.dump_id: entry for entry in wanted}
        big = [by_id[dump_id] for dump_id in split.choose(sizes, self._jobs, self._options.split_share)
               if by_id[dump_id].copy]
        if not big:
            self._pg_restore(env, watchdog, wanted, None)
            return
        total, done = sum(sizes.values()), 0
        self._pg_restore(env, watchdog, wanted, "pre-data", jobs=1)
        for entry in big:
            loader = split.Loader(self._login, self._options.database, encoding=toc.encoding,
                                  timezone=self._target.zone, role=self._target.role, streams=self._jobs)

            def tick(loader=loader, entry=entry, before=done):
                watchdog.tick()
                self._progress.update(before + loader.bytes, max(total, before + loader.bytes),
                                      message=f"loading {entry.name} by {self._jobs} streams")

            loader.run(self._target.client, self._source.path, entry, tick)
            done += loader.bytes
            self.split.append(entry.name)
        loaded = {entry.dump_id for entry in big}
        self._pg_restore(env, watchdog, [entry for entry in wanted if entry.dump_id not in loaded], "data")
        self._pg_restore(env, watchdog, wanted, "post-data")

    def _pg_restore(self, env, watchdog, entries, section, jobs=None) -> None:
        message = f"pg_restore {section}" if section else "pg_restore"
        self._progress.update(0, None, message=message)
        with decode.use_list([entry.dump_id for entry in entries]) as listed:
            argv = arguments(self._target.client, self._source, self._options, role=self._target.role, listed=listed,
                             section=section, jobs=jobs or self._jobs)
            if not self._tolerant:
                argv.append("--exit-on-error")
            argv.append(self._source.path)
            with Child(argv, env=env, redactor=self._redactor) as child:
                try:
                    child.wait(watchdog.tick)
                except ToolError as exc:
                    if not (self._tolerant and only_transaction_timeout(exc.detail)):
                        raise explain(exc) from None

    def _plain(self, env, watchdog) -> None:
        """psql in its restricted mode: nothing in the script can make it run a program."""
        argv = [self._target.client.program("psql"), "--no-psqlrc", "--quiet", "--no-password",
                "--set=ON_ERROR_STOP=1", f"--dbname={connect.conninfo(self._options.database)}", "--output=/dev/null",
                "--file=-"]
        total, sent = os.path.getsize(self._source.path), [0]

        def tick():
            watchdog.tick()
            self._progress.update(sent[0], total, message="psql")

        with Child(argv, env=env, feed=self._script(sent), redactor=self._redactor) as child:
            try:
                child.wait(tick)
            except ToolError as exc:
                raise explain(exc) from None

    def _script(self, sent):
        if self._target.role:
            yield f"SET ROLE {names.quoted(self._target.role)};\n".encode()
        left_out = list(self._source.optional["owner"])
        if not self._options.privileges:
            left_out += self._source.optional["privileges"]
        if self._tolerant:
            left_out += self._source.optional["transaction_timeout"]
        for block in plain.without(self._source.path, left_out):
            sent[0] += len(block)
            yield block


def only_transaction_timeout(detail) -> bool:
    """Whether the only errors a pg_restore met are that the server does not know transaction_timeout. Pure."""
    text = detail.get("stderr_tail", "")
    ignored = _IGNORED.search(text)
    return ignored is not None and text.count(_TRANSACTION_TIMEOUT) == int(ignored.group(1)) == text.count(": error: ")


def explain(exc) -> ToolError:
    """The ToolError of pg_restore or psql with a hint for what is known to happen."""
    text = exc.detail.get("stderr_tail", "")
    for pattern, reason, hint in (
            (r"No space left on device", "disk_full", "The target server's disk is full; free space there."),
            (r"permission denied for schema", "privileges_missing",
             "Since PostgreSQL 15 only the database's owner may create in the schema public: GRANT CREATE ON SCHEMA "
             "public, or restore as the owner."),
            (r"permission denied to create extension", "privileges_missing",
             "Have that extension created by an administrator first, or restore as a superuser."),
            (r"(server closed the connection|terminating connection|connection to server)", "connection_lost",
             "The server went away during the restore; the half-made database is swept by the next attempt.")):
        if re.search(pattern, text):
            return ToolError(exc.message, reason=reason, hint=hint, detail=exc.detail)
    return exc

