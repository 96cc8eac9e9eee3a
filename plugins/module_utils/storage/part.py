# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mutable part of a storage: the few files that Kestra writes again. Pure.

Namespace files, keys, states and large messages of queues. All else is written once and then only deleted: the files of
executions, which are nearly everything, caches, archives below backups. So the mutable part alone has to be taken while
nothing writes, and it is found without reading what an execution left.
"""
from __future__ import annotations

import re

# Which parts of a storage can be listed.
PARTS = ALL, MUTABLE = ("all", "mutable")
# No namespace and no flow begins with an underscore.
SURE = (b"_files", b"_kv", b"_messages")
_STATES, _EXECUTIONS = b"states", b"executions"
_ID = re.compile(rb"[0-9A-Za-z]{20,22}")


def is_id(name: bytes) -> bool:
    """Whether a directory has the name of an execution."""
    return _ID.fullmatch(name) is not None


def _place(path: bytes) -> tuple:
    """(whether a path is in the mutable part, whether it is an execution's directory or below one)."""
    names = path.split(b"/")
    inside = False
    for number, name in enumerate(names):
        if name in SURE:
            return True, False
        if name == _EXECUTIONS and number + 1 < len(names) and is_id(names[number + 1]):
            return False, True
        # A namespace may have this name too.
        inside = inside or name == _STATES
    return inside, False


def mutable(path: bytes) -> bool:
    """Whether a path is in the mutable part."""
    return _place(path)[0]


def of_execution(path: bytes) -> bool:
    """Whether a path is the directory of an execution or below one."""
    return _place(path)[1]


def of_executions(path: bytes) -> bool:
    """Whether a directory may be the one that holds the executions of a flow.

    If one of its first entries is one, all are, but for those that begin with an underscore: a namespace that is called like the
    executions of another one's flow is taken for the flow's.
    """
    names = path.split(b"/")
    return names[-1] == _EXECUTIONS and _place(path) == (False, False)
