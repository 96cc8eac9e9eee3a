# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kafka Streams keeps on an executor's disk: a directory for each of Kestra's applications, made from its topics.

It belongs to one life of the topics. After they are new it would tell Streams that it knows them already.
"""
from __future__ import annotations

import fcntl
import os
import shutil

from ...core.errors import ConfigError, RefusedError

_LOCK = ".lock"


def applications(directory, prefix) -> list:
    """Paths of the directories of Kestra's applications in a state directory. Raises ConfigError for what is none.

    An application is called after its consumer group. Anything else in the directory is somebody else's.
    """
    if not os.path.isabs(directory) or os.path.realpath(directory) == "/" or not prefix:
        raise ConfigError(f"{directory!r} cannot be a state directory of Kafka Streams.", reason="bad_state_directory",
                          hint="Give the absolute path of state.dir; Kafka's default is /tmp/kafka-streams.")
    if not os.path.isdir(directory):
        return []
    with os.scandir(directory) as entries:
        return sorted(entry.path for entry in entries
                      if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False))


def require_unused(paths) -> None:
    """Refuses while Streams holds the lock of an application. Raises RefusedError (kestra_alive)."""
    for path in paths:
        if _locked(os.path.join(path, _LOCK)):
            raise RefusedError(f"A Kestra executor on this host is at work on {path}.", reason="kestra_alive",
                               hint="Stop Kestra on all hosts first; nothing was touched.", detail={"path": path})


def _locked(path) -> bool:
    """Whether another process holds the lock that Java takes on the whole file."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def wipe(paths) -> None:
    """Removes the directories of applications nobody is at work on."""
    require_unused(paths)
    for path in paths:
        shutil.rmtree(path)
