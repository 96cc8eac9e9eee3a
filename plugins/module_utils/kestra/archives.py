# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata archives made, copied out of Kestra's storage, put back and restored, by way of its command line."""
from __future__ import annotations

import os
import shutil
import time

from ..core import files
from ..core.errors import DrError, IntegrityError, RefusedError, StateError
from . import cli as reaching
from . import metadata


def argument_spec() -> dict:
    """The options about archives. Must be kept in sync with plugins/doc_fragments/kestra_archive.py."""
    return {
        "encryption_key": {"type": "str", "no_log": True},
        "encryption_key_file": {"type": "path", "no_log": False},
        "encryption_key_by": {"type": "str", "choices": ["environment", "argument"], "default": "environment",
                              "no_log": False},
        "resources": {"type": "list", "elements": "str", "default": []},
        "storage_path": {"type": "str"},
        "storage_credentials_file": {"type": "path", "no_log": False},
    }


# -- backup -----------------------------------------------------------------------------------------------------------

class Backup:
    """One backup. storage: of archive_storage. dest: the new directory."""

    def __init__(self, cli, storage, request, dest, *, server_version=None, keep=None):
        self._cli, self._storage, self._request = cli, storage, request
        self._dest = os.path.abspath(dest)
        self._server_version, self._keep = server_version, keep

    def plan(self) -> dict:
        """Everything that can be known before. Raises DrError."""
        metadata.require_request(self._request)
        if os.path.exists(self._dest):
            raise StateError(f"{self._dest} already exists.", reason="dest_exists",
                             hint="An archive is never put over another one; remove it or give a new path.")
        parent = os.path.dirname(self._dest)
        if not os.path.isdir(parent):
            raise StateError(f"The directory {parent} for the archive does not exist.", reason="not_found",
                             hint="Create it (0700), or correct dest.")
        self._storage.require()
        version = asked(self._cli, metadata.CREATE, metadata.create_words(self._request), self._server_version)
        return {"cli": self._cli.at.shown(), "kestra_version": version, "type": self._request.type,
                "tenant": self._request.tenant, "key": self._request.key.source, "storage": self._storage.base,
                "warnings": metadata.known_defects(version)}

    def run(self, progress) -> dict:
        """{component, plan, removed}. Raises DrError; then dest does not exist."""
        started = time.monotonic()
        progress.phase("preflight")
        plan = self.plan()
        progress.phase("creating")
        request = self._request
        done = self._cli.run(metadata.create_words(request), what="backups create", keep=metadata.TOLD,
                             environment=request.key.environment())
        made = metadata.created(done.kept, request)
        progress.phase("created", uri=made.location.uri)
        part = files.part_name(self._dest)
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        os.mkdir(part, 0o700)
        try:
            copy = self._storage.fetch(made.location, os.path.join(part, made.location.name), progress)
            os.rename(part, self._dest)
            files.fsync_dir(os.path.dirname(self._dest))
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        removed = []
        if self._keep is not None:
            removed = self._storage.surplus(made.location, self._keep)
            self._storage.remove(removed)
        component = {
            "held": "vault", "engine": "kestra", "strategy": "archive", "type": request.type, "tenant": request.tenant,
            "uri": made.location.uri, "kestra_version": plan["kestra_version"], "key": request.key.source,
            "include_data": request.include_data, "resources": list(request.resources), "summary": made.summary,
            "files": [{"path": made.location.name, "size": copy.size, "sha256": copy.sha256}], "bytes": copy.size,
            "seconds": round(time.monotonic() - started, 3)}
        progress.phase("finished", bytes=copy.size)
        return {"component": component, "plan": plan, "removed": removed}


def asked(cli, command, words, server_version) -> str:
    """The command line's version, proved to be the server's, and able to do this. Raises RefusedError, ToolError."""
    version = cli.version()
    reaching.require_version(cli.at, version, server_version)
    flags = reaching.flags_of(command, cli.help(command))
    if flags is None:
        raise metadata.no_command(command, version)
    reaching.require_flags(words, flags, version)
    return version


# -- restore ----------------------------------------------------------------------------------------------------------

class Restore:
    """One restore. location: Location. archive: a file to put back first, or None. storage: of archive_storage, or None when
    it cannot be looked into. expected: the backup's summary, or None."""

    def __init__(self, cli, storage, location, key, *, archive=None, sha256=None, expected=None, to_tenant=None,
                 resources=(), server_version=None):
        self._cli, self._storage, self._location, self._key = cli, storage, location, key
        self._archive, self._sha256, self._expected = archive, sha256, expected
        self._to_tenant, self._resources, self._server_version = to_tenant, resources, server_version

    def _words(self) -> list:
        return metadata.restore_words(self._location.uri, self._key, self._to_tenant, self._resources)

    def plan(self) -> dict:
        """Everything that can be known before; "put_back" says whether the file is put into the storage."""
        digest = self._digest()
        version = asked(self._cli, metadata.RESTORE, self._words(), self._server_version)
        return {"cli": self._cli.at.shown(), "kestra_version": version, "uri": self._location.uri,
                "type": self._location.type, "tenant": self._location.tenant, "to_tenant": self._to_tenant,
                "key": self._key.source, "sha256": digest or self._sha256, "put_back": self._to_put_back(digest)}

    def _digest(self):
        """The file's digest, compared with the expected one; None without a file."""
        if self._archive is None:
            return None
        if not os.path.isfile(self._archive):
            raise StateError(f"There is no archive {self._archive}.", reason="archive_missing",
                             hint="Fetch the recovery point again, or correct archive.")
        digest = files.sha256_file(self._archive)
        if self._sha256 and digest != self._sha256:
            raise _damaged(self._archive, digest, self._sha256)
        return digest

    def _to_put_back(self, digest) -> bool:
        if self._storage is None:
            return False
        found = self._storage.sha256(self._location)
        if found is None and digest is None:
            raise StateError(f"{self._location.uri} is not in Kestra's storage.", reason="archive_missing",
                             hint="Give the copy of it with the option archive; it is then put back first.",
                             detail={"path": self._storage.path(self._location)})
        wanted = digest or self._sha256
        if found is not None and wanted and found != wanted:
            if digest is None:
                raise _damaged(self._location.uri, found, wanted)
            raise RefusedError(f"{self._location.uri} in Kestra's storage is another archive than {self._archive}.",
                               reason="archive_differs", hint="Move the one in the storage away if it is not needed.",
                               detail={"path": self._storage.path(self._location), "found": found, "sha256": digest})
        return found is None

    def run(self, progress) -> dict:
        """What was restored. Raises DrError; after the phase restoring Kestra may hold part of the archive."""
        started = time.monotonic()
        progress.phase("preflight")
        plan = self.plan()
        if plan["put_back"]:
            progress.phase("putting_back")
            self._storage.put(self._location, self._archive, plan["sha256"])
        done = self._call(progress)
        said = metadata.restored(done.kept, self._location.uri)
        if self._expected is not None:
            metadata.require_equal(self._expected, said.summary, self._resources,
                                   "The archive is not the one that was backed up")
        metadata.require_equal(said.summary, said.restored, self._resources, "The restore is not complete")
        note = metadata.version_note(said.version, plan["kestra_version"])
        progress.phase("finished")
        return {"plan": plan, "put_back": plan["put_back"],
                "archive": {"type": said.type, "kestra_version": said.version, "created": said.created},
                "summary": said.summary, "restored": said.restored, "notes": [note] if note else [],
                "seconds": round(time.monotonic() - started, 3)}

    def _call(self, progress) -> reaching.Output:
        """Runs the command; enters the phase restoring when Kestra has read the archive and begins."""
        begun: list = []

        def watch(line):
            if not begun and metadata.HEAD.search(line):
                begun.append(line)
                progress.phase(metadata.BEGUN, uri=self._location.uri)

        try:
            return self._cli.run(self._words(), what="backups restore", keep=metadata.TOLD, on_line=watch,
                                 environment=self._key.environment())
        except DrError as exc:
            watch(exc.detail.get("stderr_tail", ""))
            raise


def _damaged(what, found, expected) -> IntegrityError:
    return IntegrityError(f"{what} is not the archive that was backed up: its digest differs.", reason="digest_differs",
                          hint="Nothing was restored. Fetch the recovery point again, or use another one.",
                          detail={"sha256": found, "expected": expected})
