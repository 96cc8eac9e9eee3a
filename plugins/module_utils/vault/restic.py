# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restic 0.14 to 0.19, exactly: one method per command, every failure a DrError, no secret in argv.

What the wrapper adds to restic: sources are checked before a backup (0.14 returns 0 when one of several is missing),
a half backup is never left as a snapshot, a missing snapshot or path is an error (ls, stats and restore return 0),
provably stale locks are removed and living ones waited for, a command that hangs after it failed is ended.
"""
from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import time
from datetime import datetime, timezone

from ..core import proc
from ..core.errors import (ConfigError, ConnectError, DrError, IntegrityError, LockedError, RefusedError, StateError,
                           ToolError)
from ..core.secrets import Redactor
from . import restic_output as output
from .options import Repository
from .restic_process import Process, Stream, WrittenBytes

# Seconds. restic itself asks a dead server again for 15 minutes (0.17 and newer), so whether a repository answers at
# all is asked with a shorter limit than questions whose answer may be long.
OPEN_TIMEOUT = 90.0
QUESTION_TIMEOUT = 1200.0
_ANY_CODE = range(-64, 256)
_MAX_LISTING = 256 << 20
_KEPT_ERRORS = 100
_SUBSET = re.compile(r"[1-9]\d*/[1-9]\d*|\d+(\.\d+)?%|[1-9]\d*[KMGT]?", re.IGNORECASE)


def check_tags(tags) -> list:
    """tags as a list. Raises ConfigError for one that restic would split or drop."""
    for tag in tags:
        if not tag or "," in tag or tag != tag.strip():
            raise ConfigError(f"{tag!r} cannot be a tag: no commas, not empty, no blanks at the ends.",
                              reason="bad_tag")
    return list(tags)


def snapshot_path(path: str) -> str:
    """Where a source given to backup lies in the snapshot: "storage" is "/storage", "." is "/"."""
    if ".." in path.split("/"):
        raise ConfigError(f"The source {path!r} must not hold '..'.", reason="bad_path")
    return os.path.normpath("/" + path.lstrip("/"))


def check_sources(paths, base_dir=None) -> None:
    """Raises ToolError (source_missing) or RefusedError (source_is_symlink: restic would store the link alone)."""
    for path in paths:
        snapshot_path(path)
        whole = os.path.join(base_dir or "", path)
        try:
            mode = os.lstat(whole).st_mode
        except FileNotFoundError:
            raise ToolError(f"{whole} does not exist, so it cannot be backed up.", reason="source_missing",
                            detail={"path": whole}) from None
        if stat.S_ISLNK(mode):
            raise RefusedError(f"{whole} is a symbolic link; restic would store the link and nothing behind it.",
                               reason="source_is_symlink", hint=f"Give the real path: {os.path.realpath(whole)}",
                               detail={"path": whole})


def check_listed_sources(path, listing_format: str, base_dir=None) -> int:
    """How many sources a files-from list names; all must exist. Patterns cannot be checked and count as 0."""
    if listing_format == "pattern":
        return 0
    count = 0
    with open(path, "rb") as handle:
        for entry in _entries(handle, b"\0" if listing_format == "raw" else b"\n"):
            count += 1
            try:
                os.lstat(os.path.join(os.fsencode(base_dir or ""), entry))
            except FileNotFoundError:
                name = os.fsdecode(entry)
                raise ToolError(f"{name!r} of {path} does not exist, so it cannot be backed up.",
                                reason="source_missing", detail={"path": repr(name)}) from None
    if not count:
        raise ToolError(f"{path} names no file.", reason="source_missing", detail={"path": str(path)})
    return count


def _entries(handle, separator: bytes):
    rest = b""
    for block in iter(lambda: handle.read(1 << 20), b""):
        *whole, rest = (rest + block).split(separator)
        yield from (entry for entry in whole if entry)
    if rest:
        yield rest


class Restic:
    """One repository and the restic program that works on it. redactor: learns the repository's secrets.

    on_progress(done, total=None, message=None, unit="bytes") is what jobs.Progress.update takes.
    """

    def __init__(self, repository: Repository, redactor: Redactor | None = None):
        self.repository = repository
        self.redactor = redactor if redactor is not None else Redactor()
        self.redactor.add(*repository.secrets())
        self._version: tuple | None = None

    # questions

    def version(self) -> tuple:
        """Of the program, e.g. (0, 14, 0). Raises ToolError (tool_missing, tool_unusable, tool_too_old)."""
        if self._version is None:
            found = proc.run([self.repository.binary, "version"], timeout=60, redactor=self.redactor)
            version = output.parse_version(found.stdout)
            if version < (0, 14):
                raise ToolError(f"restic {found.stdout.split()[1]} is too old; 0.14 is the oldest that can be used.",
                                reason="tool_too_old")
            self._version = version
        return self._version

    def version_text(self) -> str:
        return ".".join(str(part) for part in self.version())

    def config(self) -> dict:
        """{id, version} of the repository: proof that it is there and that the password opens it."""
        found = json.loads(self._ask(["cat", "config", "--no-lock"], timeout=OPEN_TIMEOUT))
        return {"id": found["id"], "version": found["version"]}

    def config_if_exists(self):
        """config(), or None when there is no repository; a wrong password or an unreachable server is an error."""
        try:
            return self.config()
        except DrError as exc:
            if exc.reason == "repository_missing":
                return None
            raise

    def exists(self) -> bool:
        """Whether there is a repository; a wrong password or an unreachable server is an error."""
        return self.config_if_exists() is not None

    def init(self) -> dict:
        """Makes the repository and returns its config(). Raises StateError (repository_exists)."""
        self._ask(["init"])
        return self.config()

    def snapshots(self, tags=(), *, host=None, ids=()) -> list:
        """Snapshots that carry all tags, oldest first, as output.snapshot_of gives them.

        ids: only these; absent ones are left out.
        """
        arguments = ["snapshots", "--json", "--no-lock"]
        if tags:
            arguments += ["--tag", ",".join(check_tags(tags))]
        if host is not None:
            arguments += ["--host", host]
        found = json.loads(self._ask(arguments + ["--"] + list(ids)) or "null") or []
        return sorted((output.snapshot_of(record) for record in found), key=lambda item: output.utc(item["time"]))

    def snapshot(self, snapshot: str) -> dict:
        """The one snapshot of an id or its beginning. Raises StateError (snapshot_missing, snapshot_ambiguous)."""
        if not output.is_id(snapshot):
            raise ConfigError(f"{snapshot!r} is not a snapshot id.", reason="bad_snapshot_id")
        matching = [item for item in self.snapshots(ids=[snapshot]) if item["id"].startswith(snapshot)]
        if len(matching) != 1:
            reason = "snapshot_ambiguous" if matching else "snapshot_missing"
            sentence = "is not unique" if matching else "is not in the repository"
            raise StateError(f"The snapshot {snapshot} {sentence} ({self.repository.display}).", reason=reason,
                             hint="List them with restic_snapshot_info.")
        return matching[0]

    def ls(self, snapshot: str, path: str | None = None):
        """Yields the entries of a snapshot (path and what is below it) as output.node_of: parents first, names sorted.

        Raises StateError: snapshot_missing, or path_missing when path is not in it.
        """
        path = None if path == "/" else path
        arguments = ["ls", "--json", snapshot] + ([] if path is None else ["--recursive", "--", path])

        def begun():
            nodes = self._nodes(arguments, snapshot, path)
            return next(nodes, None), nodes  # a lock is met before the first one

        first, nodes = self._with_lock(begun)
        with contextlib.closing(nodes):
            if first is not None:
                yield first
                yield from nodes

    def _nodes(self, arguments, snapshot, path):
        seen = found = False
        with self._process(arguments) as process:
            for line in process.lines():
                message = output.json_line(line)
                if message is None:
                    continue
                node = output.node_of(message)
                seen = seen or message.get("struct_type") == "snapshot" or message.get("message_type") == "snapshot"
                if node:
                    found = True
                    yield node
            self._checked(process)
        if not seen:
            raise StateError(f"The snapshot {snapshot} is not in the repository ({self.repository.display}).",
                             reason="snapshot_missing", hint="List them with restic_snapshot_info.")
        if path is not None and not found:
            raise StateError(f"There is no {path} in the snapshot {snapshot}.", reason="path_missing")

    def stats(self, snapshot: str | None = None, mode: str = "raw-data") -> dict:
        """{bytes, files, snapshots}: bytes stored (raw-data) or needed to restore (restore-size, per snapshot)."""
        arguments = ["stats", "--json", "--no-lock", "--mode", mode] + ([snapshot] if snapshot else [])
        found = json.loads(self._ask(arguments))
        if snapshot and not found.get("snapshots_count"):
            raise StateError(f"The snapshot {snapshot} is not in the repository ({self.repository.display}).",
                             reason="snapshot_missing")
        return {"bytes": found["total_size"], "files": found.get("total_file_count", 0),
                "snapshots": found.get("snapshots_count", 0)}

    # locks

    def locks(self) -> list:
        """The locks as [{id, host, pid, user, time, exclusive, stale}]; one that vanishes meanwhile is left out."""
        found = []
        now = datetime.now(timezone.utc)
        for lock_id in self._ask(["list", "locks", "--no-lock"]).split():
            try:
                lock = json.loads(self._ask(["cat", "lock", lock_id, "--no-lock"]))
            except ToolError:
                continue
            found.append({"id": lock_id, "host": lock.get("hostname"), "pid": lock.get("pid"),
                          "user": lock.get("username"), "time": lock["time"], "exclusive": bool(lock.get("exclusive")),
                          "stale": output.stale(lock, host=socket.gethostname(), alive=_alive, now=now)})
        return found

    def unlock(self) -> int:
        """Removes provably stale locks (never all of them) and returns how many went."""
        dead = {lock["id"] for lock in self.locks() if lock["stale"]}
        if not dead:
            return 0
        self._ask(["unlock"])
        return len(dead - set(self._ask(["list", "locks", "--no-lock"]).split()))

    # work

    def backup(self, paths=(), *, files_from=None, files_from_format="verbatim", base_dir=None, tags=(), host=None,
               excludes=(), parent=None, one_file_system=False, vanished="fail", look_up=True,
               dry_run=False, on_progress=None) -> dict:
        """Backs up paths, or what the list files_from names, and returns what output says of the snapshot.

        paths: absolute, or relative to base_dir; relative ones lie in the snapshot under their relative name, so that
        a restore does not depend on where the source was (see snapshot_path).
        files_from_format: "verbatim" (one name per line), "raw" (names end with NUL: any name), "pattern" (globs).
        vanished: "fail", or "report" for a source at work, whose files may go while they are read.
        look_up: ask the repository for the whole snapshot afterwards, which opens it once more. Without, parent is not
        known and snapshot may be the beginning of the id (before 0.17).
        Result: {snapshot, parent, paths, snapshot_paths, tags, host, files{new,changed,unmodified}, directories{...},
        files_total, bytes_total, bytes_added, bytes_stored (None before 0.17), seconds, vanished{count, examples}}.
        Raises ToolError source_missing, source_incomplete (the half snapshot is removed), and what failure() gives.
        """
        if bool(paths) == bool(files_from):
            raise ConfigError("Give either paths or a list of files.", reason="bad_option")
        if files_from:
            check_listed_sources(files_from, files_from_format, base_dir)
        else:
            check_sources(paths, base_dir)
        arguments = ["backup", "--json"] + _repeated("--tag", check_tags(tags)) + _repeated("--exclude", excludes)
        if host is not None:
            arguments += ["--host", host]
        if parent is not None:
            arguments += ["--parent", parent]
        if one_file_system:
            arguments += ["--one-file-system"]
        if dry_run:
            arguments += ["--dry-run"]
        if files_from:
            flag = {"verbatim": "--files-from-verbatim", "raw": "--files-from-raw", "pattern": "--files-from"}
            arguments += [flag[files_from_format], files_from]
        else:
            arguments += ["--"] + list(paths)
        done = self._with_lock(lambda: self._backup(arguments, list(paths), base_dir, vanished, dry_run, on_progress),
                               on_progress)
        if look_up and not dry_run:
            snapshot = self.snapshot(done["snapshot"])
            return dict(done, snapshot=snapshot["id"], parent=snapshot["parent"], tags=snapshot["tags"], host=snapshot["host"])
        return dict(done, tags=[] if dry_run else list(tags), host=None if dry_run else host)

    def _backup(self, arguments, paths, base_dir, vanished, dry_run, on_progress) -> dict:
        errors = _SourceErrors()
        summary = None
        with self._process(arguments, cwd=base_dir, on_stderr=errors.add) as process:
            for line in process.lines():
                message = output.json_line(line) or {}
                if message.get("message_type") == "status" and on_progress:
                    on_progress(message.get("bytes_done", 0), message.get("total_bytes") or None)
                elif message.get("message_type") == "summary":
                    summary = message
            code = process.wait()
            if code not in (0, 3):
                raise self._failure(code, process)
        if summary is None:
            raise IntegrityError("restic ended without saying what it backed up.", reason="restic_failed",
                                 detail={"rc": code, "stderr_tail": self.redactor.scrub(process.stderr_tail)})
        if errors.serious or (code != 0 and not errors.count) or (errors.count and vanished != "report"):
            raise self._incomplete(code, errors, summary, dry_run, process.argv)
        return {
            "snapshot": None if dry_run else summary["snapshot_id"], "parent": None,
            "paths": paths, "snapshot_paths": [snapshot_path(path) for path in paths],
            "files": {key: summary.get(f"files_{key}", 0) for key in ("new", "changed", "unmodified")},
            "directories": {key: summary.get(f"dirs_{key}", 0) for key in ("new", "changed", "unmodified")},
            "files_total": summary.get("total_files_processed", 0),
            "bytes_total": summary.get("total_bytes_processed", 0), "bytes_added": summary.get("data_added", 0),
            "bytes_stored": summary.get("data_added_packed"), "seconds": summary.get("total_duration", 0.0),
            "vanished": {"count": errors.count, "examples": errors.examples()}}

    def _incomplete(self, code, errors, summary, dry_run, argv) -> DrError:
        """The error of a backup that misses sources. Its snapshot is removed: half is never taken for whole."""
        removed = None
        if not dry_run and summary.get("snapshot_id"):
            try:
                removed = self.snapshot(summary["snapshot_id"])["id"]
                self.forget([removed])
            except DrError as exc:
                removed = f"not removed: {exc}"
        # A directory of the snapshot before that cannot be read is told as a source that cannot be (0.17 and newer).
        damaged = self._error(1, "\n".join(error["error"] for error in errors.examples()), argv)
        if damaged.reason == "repository_damaged":
            damaged.detail["snapshot_removed"] = removed
            return damaged
        return ToolError(
            f"{errors.count or 'Some'} of the files to be backed up could not be read"
            + (f", the first is {errors.first}" if errors.first else "") + ".", reason="source_incomplete",
            hint="Nothing was kept of this backup. Give restic the right to read them, or leave them out by excludes.",
            detail={"rc": code, "errors": self.redactor.scrub(errors.examples()), "error_count": errors.count,
                    "snapshot_removed": removed})

    def restore(self, snapshot: str, target, include=None, *, verify=False, total_bytes=None, on_progress=None) -> None:
        """Restores a snapshot below target, each entry under its whole path in the snapshot.

        include: one path in the snapshot, taken literally. Nothing restored because it does not exist is the caller's
        to find out (restic returns 0; see restic_restore.restore_path). verify: restic reads everything back.
        total_bytes: for the progress of versions before 0.17, which report none.
        """
        arguments = ["restore", "--json", "--target", os.fspath(target)]
        if include is not None:
            arguments += ["--include", literal_pattern(include)]
        if verify:
            arguments += ["--verify"]
        self._with_lock(lambda: self._restore(arguments + ["--", snapshot], total_bytes, on_progress), on_progress)

    def _restore(self, arguments, total_bytes, on_progress):
        with self._process(arguments) as process:
            report = on_progress or (lambda done, total: None)
            silent = self.version() < (0, 17)
            watch = WrittenBytes(process.pid, lambda done: report(min(done, total_bytes or done), total_bytes))
            with watch if silent and on_progress else contextlib.nullcontext():
                for line in process.lines():
                    message = output.json_line(line) or {}
                    if message.get("message_type") == "status":
                        report(message.get("bytes_restored", 0), message.get("total_bytes") or total_bytes)
            self._checked(process)

    def dump_tar(self, snapshot: str, path: str = "/") -> Stream:
        """path of a snapshot as a tar stream: with Stream as source, tarfile.open(fileobj=source, mode="r|").

        The names in it are the whole paths without the leading slash; an entry for path itself is not in it. Times are
        rounded to seconds. What is wrong from the start (snapshot_missing, path_missing, a lock) is raised here.
        Compare what came with what should: 0.14 always and 0.18.0 now and then leave out a directory that they cannot
        read, and end the stream as if it were whole.
        """
        def begun():
            process = self._process(["dump", "--quiet", "--archive", "tar", "--", snapshot, path])
            return Stream(process, lambda code, stderr: self._failure(code, process))

        return self._with_lock(begun)

    def check(self, read_data=False, subset=None, on_progress=None) -> dict:
        """Checks the repository's structure; with read_data all data, with subset ("1/7", "10%", "500M") a part of it.

        Result: {read_data, subset, snapshots, packs, seconds}; packs: how many were read. Without reading data a
        damaged pack is not found. Raises IntegrityError (repository_damaged) with detail["packs"].
        """
        arguments = ["check"]
        if subset is not None:
            if not _SUBSET.fullmatch(subset):
                raise ConfigError(f"{subset!r} is no part of the data: use forms like 1/7, 10% or 500M.",
                                  reason="bad_option")
            arguments += ["--read-data-subset", subset]
        elif read_data:
            arguments += ["--read-data"]
        return self._with_lock(lambda: self._check(arguments, read_data, subset, on_progress), on_progress)

    def _check(self, arguments, read_data, subset, on_progress) -> dict:
        started = time.monotonic()
        counts = {}
        packs = set()
        with self._process(arguments, on_stderr=lambda line: packs.update(output.broken_packs(line))) as process:
            for line in process.lines():
                seen = output.progress_of(line)
                if seen:
                    done, total, unit = seen
                    counts[unit] = done
                    if on_progress:
                        on_progress(done, total, f"checking {unit}", unit)
            code = process.wait()
            if code != 0:
                error = self._failure(code, process)
                if error.reason == "repository_damaged":
                    error.detail["packs"] = sorted(packs)
                raise error
        return {"read_data": bool(read_data and subset is None), "subset": subset,
                "snapshots": counts.get("snapshots", 0), "packs": counts.get("packs", 0),
                "seconds": time.monotonic() - started}

    def forget(self, ids, prune=False, on_progress=None) -> dict:
        """Removes snapshots by their whole ids: {removed, absent, pruned}. Absent ones are no error: a rerun converges.

        prune also runs when nothing was left to remove, for the same reason. This method guards nothing (see
        restic_guard); it proves afterwards that the snapshots are gone.
        """
        ids = list(dict.fromkeys(ids))
        for snapshot in ids:
            if not output.is_full_id(snapshot):
                raise RefusedError(f"{snapshot!r} is not a whole snapshot id, so nothing is removed by it.",
                                   reason="bad_snapshot_id")
        there = {item["id"] for item in self.snapshots()} if ids else set()
        present = [snapshot for snapshot in ids if snapshot in there]
        for start in range(0, len(present), 500):
            chunk = present[start:start + 500]
            self._with_lock(lambda chunk=chunk: self._ask(["forget", "--"] + chunk, timeout=None), on_progress)
        left = {item["id"] for item in self.snapshots()} & set(present) if present else set()
        if left:
            raise StateError(f"restic did not remove {len(left)} of {len(present)} snapshots.",
                             reason="forget_incomplete", detail={"left": sorted(left)})
        if prune:
            self.prune(on_progress)
        return {"removed": present, "absent": [snapshot for snapshot in ids if snapshot not in there], "pruned": prune}

    def prune(self, on_progress=None) -> None:
        """Removes data no snapshot needs."""
        self._with_lock(lambda: self._prune(on_progress), on_progress)

    def _prune(self, on_progress):
        with self._process(["prune"]) as process:
            for line in process.lines():
                seen = output.progress_of(line)
                if seen and on_progress:
                    on_progress(seen[0], seen[1], f"pruning: {seen[2]}", seen[2])
            self._checked(process)

    # how

    def _argv(self, arguments) -> list:
        command, *rest = arguments
        flags = self.repository.global_arguments()
        if not self.repository.cache_dir and not any(os.environ.get(name) for name in ("HOME", "XDG_CACHE_HOME")):
            flags += ["--no-cache"]  # restic would find no place for one; since 0.19 that is fatal
        return [self.repository.binary, command] + flags + rest

    def _ask(self, arguments, timeout=QUESTION_TIMEOUT) -> str:
        argv = self._argv(arguments)
        try:
            done = proc.run(argv, env=self.repository.env(), timeout=timeout, ok=_ANY_CODE, max_stdout=_MAX_LISTING,
                            redactor=self.redactor)
        except ToolError as exc:
            if exc.reason != "tool_timeout":
                raise
            raise ConnectError(f"The restic repository {self.repository.display} did not answer within {timeout:g} s.",
                               reason="repository_unreachable", hint="Check network, credentials and the location.",
                               detail=exc.detail) from None
        if done.rc != 0:
            raise self._error(done.rc, done.stderr_tail, argv)
        return done.stdout

    def _process(self, arguments, cwd=None, on_stderr=None) -> Process:
        self.version()
        return Process(self._argv(arguments), env=self.repository.env(), cwd=cwd, on_stderr=on_stderr)

    def _checked(self, process: Process) -> None:
        code = process.wait()
        if code != 0:
            raise self._failure(code, process)

    def _failure(self, code, process: Process):
        return self._error(1 if process.gave_up else code, process.stderr_tail, process.argv)

    def _error(self, code, stderr, argv):
        scrub = self.redactor.scrub
        return output.failure(code, scrub(stderr), where=self.repository.display, command=scrub(argv),
                              version=self._version)

    def _with_lock(self, work, on_progress=None):
        """Runs work; while another process holds the repository, removes stale locks and waits up to lock_wait."""
        deadline = time.monotonic() + self.repository.lock_wait
        pause = 1.0
        while True:
            try:
                return work()
            except LockedError as exc:
                if self.unlock():
                    continue
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                if on_progress:
                    on_progress(0, None, str(exc))
                time.sleep(min(pause, left))
                pause = min(pause * 2, 15.0)


class _SourceErrors:
    """What backup could not read: all counted, some kept. serious: any that is more than a file that vanished."""

    def __init__(self):
        self.count = 0
        self.serious = False
        self._kept = []

    def add(self, line: str) -> None:
        error = output.source_error(line)
        if error is None:
            return
        self.count += 1
        self.serious = self.serious or not error["vanished"]
        if len(self._kept) < _KEPT_ERRORS:
            self._kept.append(error)

    @property
    def first(self):
        return repr(self._kept[0]["item"]) if self._kept else None

    def examples(self) -> list:
        return [{"item": error["item"], "error": error["text"]} for error in self._kept]


def literal_pattern(path: str) -> str:
    """A restic pattern that matches exactly this absolute path of a snapshot and what is below it.

    Patterns are those of Go's filepath.Match; "**" and a leading "!" have meanings of their own in some versions.
    """
    return re.sub(r"([\\*?\[\]])", r"\\\1", os.path.normpath("/" + path.lstrip("/")))


def _repeated(flag: str, values) -> list:
    return [word for value in values for word in (flag, value)]


def _alive(pid) -> bool:
    return bool(pid) and os.path.exists(f"/proc/{pid}")
