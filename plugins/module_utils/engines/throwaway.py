# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What private servers have in common that live as long as one restore test: an account, a directory, a socket.

Each is started as our child, so it ends with us; the directory of one whose owner was killed is swept by the next.
"""
from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
import time

from ..core import clock, files
from ..core.errors import IntegrityError, StateError, ToolError

OWNER = "owner.json"
# A Unix socket's path is limited to 107 bytes (sys/un.h); the name in it takes 16.
_LONGEST = 90


def unprivileged_user(candidates, preferred=None):
    """The account to run a server as: None for our own. Servers refuse to run as root. Raises ToolError."""
    if os.geteuid() != 0:
        return None
    for name in [preferred] if preferred else candidates:
        with contextlib.suppress(KeyError):
            if pwd.getpwnam(name).pw_uid != 0:
                return name
    raise ToolError(f"There is no unprivileged user {preferred or ' or '.join(candidates)} to run a scratch server as.",
                    reason="user_missing", hint="Create one, or name one by scratch_user.")


def sweep(base, prefix, end_orphan) -> list:
    """Ends and removes servers whose owner is dead. Returns their directories.

    end_orphan(directory): ends a server that outlived its owner.
    """
    swept = []
    for name in sorted(os.listdir(base)):
        directory = os.path.join(base, name)
        if not name.startswith(prefix) or not os.path.isdir(directory) or os.stat(directory).st_uid != os.geteuid():
            continue
        try:
            owner = files.read_json(os.path.join(directory, OWNER))
        except (StateError, IntegrityError):
            # Its owner may be just about to write it; an old one was killed before it could.
            if time.time() - os.stat(directory).st_mtime < 60:
                continue
            owner = {}
        if clock.process_alive(owner.get("pid"), owner.get("pid_start"), owner.get("boot_id")):
            continue
        end_orphan(directory)
        shutil.rmtree(directory, ignore_errors=True)
        swept.append(directory)
    return swept


@contextlib.contextmanager
def directories(base, prefix, account, end_orphan):
    """Yields (data, sockets): two directories of account's, removed at the end. Sweeps those of dead owners first."""
    sweep(base, prefix, end_orphan)
    directory = tempfile.mkdtemp(prefix=prefix, dir=base)
    try:
        pid = os.getpid()
        files.write_json(os.path.join(directory, OWNER), {"pid": pid, "pid_start": clock.process_start(pid),
                                                          "boot_id": clock.boot_id(), "started": clock.utc_now()})
        # Ours to list and sweep, the server's to enter.
        os.chmod(directory, 0o711)
        data, sockets = os.path.join(directory, "data"), _socket_directory(directory, prefix)
        try:
            for path in (data, sockets):
                os.makedirs(path, 0o700, exist_ok=True)
                if account:
                    entry = pwd.getpwnam(account)
                    os.chown(path, entry.pw_uid, entry.pw_gid)
            yield data, sockets
        finally:
            shutil.rmtree(sockets, ignore_errors=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _socket_directory(directory, prefix) -> str:
    inside = os.path.join(directory, "s")
    if len(os.fsencode(inside)) <= _LONGEST:
        return inside
    return tempfile.mkdtemp(prefix=prefix, dir="/tmp")
