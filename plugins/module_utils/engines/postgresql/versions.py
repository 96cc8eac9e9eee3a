# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which client may talk to which server, and what it can do. Decisions are pure; find_clients() looks at the disk."""
from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
from dataclasses import dataclass

from ...core import proc
from ...core.errors import RefusedError, ToolError

# What pg_dump can compress with, by its major version (release notes of 16). Tar has no compression in any.
_GZIP_ONLY = ("none", "gzip")
_ALL = ("none", "gzip", "lz4", "zstd")

# The minor releases of August 2025 (CVE-2025-8714): pg_dump writes \restrict, and only these and later psql know it.
_RESTRICT_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}

# Where distributions and the PostgreSQL project install several majors side by side.
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/postgresql/*/bin")


@dataclass(frozen=True)
class Client:
    """One installed set of client programs. version: (major, minor)."""

    directory: str
    version: tuple

    @property
    def major(self) -> int:
        return self.version[0]

    @property
    def text(self) -> str:
        return ".".join(str(part) for part in self.version)

    def program(self, name) -> str:
        """The path of one of its programs (pg_dump, pg_restore, psql)."""
        return os.path.join(self.directory, name)


def parse(text) -> tuple:
    """(major, minor) of "15.18", "15.18 (Debian …)", "pg_dump (PostgreSQL) 16.1" or "18beta1". Raises ToolError."""
    found = re.search(r"(?<![\w.])(\d+)(?:\.(\d+))?(?:beta\d+|rc\d+|devel)?(?![\w])", text)
    if not found:
        raise ToolError(f"No PostgreSQL version can be read from {text[:80]!r}.", reason="version_unreadable")
    return int(found.group(1)), int(found.group(2) or 0)


def of_server(number) -> tuple:
    """(major, minor) of server_version_num, e.g. 150018."""
    return number // 10000, number % 10000


def pick(clients, server_major) -> Client:
    """The client to use with a server: the same major if installed, else the nearest newer one. Raises RefusedError.

    pg_dump refuses a server newer than itself (documented); an older pg_restore misreads newer archives.
    """
    usable = sorted((client for client in clients if client.major >= server_major), key=lambda client: client.version)
    if not usable:
        have = ", ".join(sorted({client.text for client in clients})) or "none"
        raise RefusedError(
            f"The server is PostgreSQL {server_major}, and no client of that version or newer is installed here "
            f"(found: {have}).", reason="client_too_old",
            hint=f"Install postgresql-client-{server_major} on this host, or give bin_dir.",
            detail={"server_major": server_major, "clients": sorted(client.text for client in clients)})
    same = [client for client in usable if client.major == server_major]
    return same[-1] if same else usable[0]


def require_restorable(source, target_major) -> None:
    """Refuses to restore into an older major than the dump came from. source: (major, minor) of the dumped server."""
    if target_major < source[0]:
        raise RefusedError(
            f"The dump comes from PostgreSQL {source[0]} and the target server is {target_major}: older servers "
            "cannot be relied on to understand it.", reason="target_too_old",
            hint=f"Restore into PostgreSQL {source[0]} or newer.",
            detail={"source_major": source[0], "target_major": target_major})


def require_readable(written_by, client) -> None:
    """Refuses to read an archive with programs older than the pg_dump that wrote it (its format may be newer)."""
    if client.major < written_by[0]:
        raise RefusedError(
            f"The dump was written by pg_dump {written_by[0]}, and the newest client here is {client.text}.",
            reason="client_too_old", hint=f"Install postgresql-client-{written_by[0]} on this host, or give bin_dir.",
            detail={"written_by": written_by[0], "client": client.text})


def compressions(client_major) -> tuple:
    """The compression methods a pg_dump of this major may know (its build may still lack one)."""
    return _ALL if client_major >= 16 else _GZIP_ONLY


def compress_argument(client_major, dump_format, method, level=None):
    """The --compress option of pg_dump, or None to leave it out (tar). Raises RefusedError for what it cannot do."""
    if dump_format == "tar":
        if method != "none":
            raise RefusedError("The tar format cannot be compressed.", reason="compression_unsupported",
                               hint="Use the directory or the custom format, or compression none.")
        return None
    if method not in compressions(client_major):
        raise RefusedError(f"pg_dump {client_major} cannot compress with {method}.", reason="compression_unsupported",
                           hint="pg_dump 16 and newer know lz4 and zstd; none and gzip work everywhere.")
    if method == "none":
        return "--compress=0" if client_major < 16 else "--compress=none"
    if client_major < 16:
        return f"--compress={6 if level is None else level}"
    return f"--compress={method}" + ("" if level is None else f":{level}")


def knows_restrict(version) -> bool:
    r"""Whether psql of this version understands \restrict, which plain dumps start with since August 2025."""
    major, minor = version
    if major >= 18:
        return True
    return minor >= _RESTRICT_SINCE.get(major, 10 ** 6)


def find_clients(bin_dir=None, places=PLACES) -> list:
    """Client programs installed here, as Clients. bin_dir: look there only; raises ToolError when there are none."""
    if bin_dir is not None:
        return [Client(bin_dir, _version(bin_dir, "pg_dump"))]
    return _installed(("pg_dump", "pg_restore", "psql"), places)


def find_server_programs(bin_dir=None, places=PLACES) -> list:
    """Directories here that hold a server, as Clients, oldest first. bin_dir: look there only; raises ToolError."""
    if bin_dir is not None:
        return [Client(bin_dir, _version(bin_dir, "postgres"))]
    return sorted(_installed(("postgres", "initdb"), places), key=lambda client: client.version)


def _installed(programs, places) -> list:
    """Directories that hold all these programs. One whose programs do not run is passed over."""
    directories = [os.path.realpath(path) for pattern in places for path in sorted(glob.glob(pattern))]
    on_path = shutil.which(programs[0])
    # Debian's programs on PATH are a wrapper that picks a version by itself; what it picks is in the places above.
    if on_path and not os.path.realpath(on_path).endswith("pg_wrapper"):
        directories.append(os.path.dirname(os.path.realpath(on_path)))
    found = []
    for directory in dict.fromkeys(directories):
        if all(os.access(os.path.join(directory, name), os.X_OK) for name in programs):
            with contextlib.suppress(ToolError):
                found.append(Client(directory, _version(directory, programs[0])))
    return found


def _version(directory, program) -> tuple:
    return parse(proc.run([os.path.join(directory, program), "--version"], timeout=30).stdout)
