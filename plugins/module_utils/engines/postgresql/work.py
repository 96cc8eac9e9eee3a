# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that put a dump into a database, and what their failures mean."""
from __future__ import annotations

import os
import re

from ...core.child import Child, first_error
from ...core.errors import ToolError
from . import archive, connect, decode, names, plain, split
from .watchdog import Watchdog

# pg_restore 17 and newer set it without asking for the server's version; older servers do not know it.
_TRANSACTION_TIMEOUT = "unrecognized configuration parameter \"transaction_timeout\""
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
# Not with what stands before it: parallel workers write a line in pieces, and into each other's.
_ERROR = re.compile(r"\berror: ")


def skipped(entry) -> bool:
    """Whether an entry says what every new database already has, and only its owner may say again. Pure."""
    if entry.description == "SCHEMA":
        return entry.tag == "public"
    return entry.description == "COMMENT" and (entry.tag == "SCHEMA public" or entry.tag.startswith("EXTENSION "))


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


class Run:
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
        watchdog = Watchdog(self._login, self._options.database, self._options.idle_timeout)
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
    # Parallel workers print it too, without being counted.
    return ignored is not None and text.count(_TRANSACTION_TIMEOUT) == len(_ERROR.findall(text)) >= int(ignored.group(1))


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
            (connect.LOST, "connection_lost",
             "The server went away during the restore; the half-made database is swept by the next attempt.")):
        if re.search(pattern, text):
            return ToolError(first_error(exc, _TRANSACTION_TIMEOUT), reason=reason, hint=hint, detail=exc.detail)
    return ToolError(first_error(exc, _TRANSACTION_TIMEOUT), reason=exc.reason, hint=exc.hint, detail=exc.detail)
