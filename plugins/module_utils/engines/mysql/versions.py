# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose client is installed, and which one may talk to which server. Decisions are pure; find_clients() looks at the
disk."""
from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
from dataclasses import dataclass

from ...core import proc
from ...core.errors import RefusedError, ToolError

# Where packages of Oracle and others put several versions side by side; the distribution's own is on PATH.
PLACES = ("/usr/bin", "/usr/local/bin", "/usr/local/mysql/bin", "/usr/local/mysql-*/bin", "/opt/mysql*/bin",
          "/opt/mysql/*/bin", "/usr/libexec/mysql*/bin")
_SERVER_PLACES = tuple(place.replace("bin", "sbin") if place in ("/usr/bin", "/usr/local/bin") else place
                       for place in PLACES)


@dataclass(frozen=True)
class Client:
    """One installed program. vendor: MySQL or MariaDB. version: (major, minor, patch)."""

    path: str
    version: tuple
    vendor: str = "MySQL"

    @property
    def text(self) -> str:
        return ".".join(str(part) for part in self.version)


def vendor(text) -> str:
    """Who made what describes itself so. Percona's and the cloud services' builds are MySQL. Pure."""
    return "MariaDB" if "mariadb" in text.lower() else "MySQL"


def parse(text) -> tuple:
    """(major, minor, patch) of "9.7.4-2", "mysqldump  Ver 8.0.36 for Linux" or "mysqldump from 11.4.3-MariaDB, client
    10.19 …". Raises ToolError."""
    # Old clients print the version of mysqldump itself first ("Ver 10.13 Distrib 5.7.44", "Ver 10.19 Distrib …").
    found = re.search(r"Distrib (\d+)\.(\d+)(?:\.(\d+))?", text) \
        or re.search(r"(?<![\w.])(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        raise ToolError(f"No MySQL version can be read from {text[:80]!r}.", reason="version_unreadable")
    return int(found.group(1)), int(found.group(2)), int(found.group(3) or 0)


def text_of(version) -> str:
    """9.7.4"""
    return ".".join(str(part) for part in version)


def pick(clients, server) -> Client:
    """The client to dump a server with: the nearest version that is not older. server: (major, minor, patch).

    Raises RefusedError, naming MariaDB's client where that is what is called mysqldump here. Pure.
    """
    own = [client for client in clients if client.vendor == "MySQL"]
    usable = [client for client in own if client.version[:2] >= server[:2]]
    if usable:
        return min(usable, key=lambda client: (client.version[:2], -client.version[2]))
    detail = {"server": text_of(server), "clients": [f"{client.path}: {client.vendor} {client.text}" for client in clients]}
    if own:
        newest = max(own, key=lambda client: client.version)
        raise RefusedError(f"The server is MySQL {text_of(server)}, and the newest mysqldump here is {newest.text}.",
                           reason="client_too_old", detail=detail,
                           hint=f"Install the client of MySQL {server[0]}.{server[1]} or newer, or give bin_dir.")
    if clients:
        other = clients[0]
        raise RefusedError(f"{other.path} is {other.vendor}'s mysqldump {other.text}, and the server is MySQL "
                           f"{text_of(server)}: its dumps of generated columns and routines cannot be relied on.",
                           reason="client_vendor", detail=detail,
                           hint="Install MySQL's own client (mysql-client-core), or give bin_dir.")
    raise RefusedError("No mysqldump is installed here.", reason="tool_missing", detail=detail,
                       hint="Install MySQL's own client (mysql-client-core), or give bin_dir.")


def require_restorable(source, target) -> None:
    """Refuses to restore into an older release than the dump came from (8.0, 8.4, 9.x: never back). Pure."""
    if target[:2] < source[:2]:
        raise RefusedError(
            f"The dump comes from MySQL {text_of(source)} and the target server is {text_of(target)}: older servers "
            "cannot be relied on to understand it.", reason="target_too_old",
            hint=f"Restore into MySQL {source[0]}.{source[1]} or newer.",
            detail={"source": text_of(source), "target": text_of(target)})


def find_clients(bin_dir=None, places=PLACES) -> list:
    """Every mysqldump installed here, as Clients. bin_dir: look there only; raises ToolError when there is none."""
    return _find("mysqldump", bin_dir, places)


def find_servers(bin_dir=None, places=_SERVER_PLACES) -> list:
    """Every mysqld of MySQL installed here, as Clients. bin_dir: look there only; raises ToolError."""
    return [item for item in _find("mysqld", bin_dir, places) if item.vendor == "MySQL"]


def _find(program, bin_dir, places) -> list:
    if bin_dir is not None:
        return [_client(os.path.join(bin_dir, program))]
    on_path = shutil.which(program)
    paths = [on_path] if on_path else []
    paths += [os.path.join(directory, program) for place in places for directory in sorted(glob.glob(place))]
    found = {}
    for path in paths:
        # Two names of one file are one program; one that does not run is passed over.
        real = os.path.realpath(path)
        if real not in found and os.access(path, os.X_OK):
            with contextlib.suppress(ToolError):
                found[real] = _client(path)
    return list(found.values())


def _client(path) -> Client:
    text = proc.run([path, "--no-defaults", "--version"], timeout=60).stdout
    return Client(path, parse(text), vendor(text))
