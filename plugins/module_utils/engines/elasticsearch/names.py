# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which indices are Kestra's, and which are this collection's own copies of them. Pure.

A copy has the name of its index behind the prefix of its set (kdr-SET-), and so have its aliases: an index of Kestra's
prefix is never a copy, and an alias of Kestra's never leads to one.
"""
from __future__ import annotations

import re

from ...core.errors import ConfigError, RefusedError
from .connect import path_of

_SET = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PREFIX = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST = 255  # bytes of an index's name


def require_prefix(prefix) -> None:
    """Raises ConfigError for what cannot be the prefix of Kestra's indices alone."""
    if not _PREFIX.fullmatch(prefix) or prefix.startswith("kdr-") or len(prefix) > 100:
        raise ConfigError(f"The index prefix {prefix!r} is not usable.", reason="bad_prefix",
                          hint="It is kestra.elasticsearch.defaults.indice-prefix: lower case letters, digits, _ - and . after the "
                               "first; without one all indices of the cluster would be Kestra's.")


def copies(name) -> str:
    """The prefix of a set of copies. name: a recovery point's id or the like. Raises ConfigError."""
    lower = name.lower()
    if not _SET.fullmatch(lower) or lower.startswith("mark"):
        raise ConfigError(f"{name!r} cannot name a set of copies.", reason="bad_name",
                          hint="Letters, digits, _ and -, at most 64 and not beginning with mark, such as the id of a recovery point.")
    return f"kdr-{lower}-"


def repository_path(repository, snapshot=None, action=None) -> str:
    """The path of a repository or of one of its snapshots, and what is asked of it. Raises ConfigError for a name that
    could mean several: a wildcard, a list, _all."""
    for what, name in (("repository", repository), ("snapshot", snapshot)):
        if name is not None and not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is not the name of a {what}.", reason="bad_name",
                              hint="Letters, digits, _, - and . after the first.")
    return path_of("_snapshot", *(part for part in (repository, snapshot, action) if part is not None))


def require_lengths(set_prefix, indices) -> None:
    """Refuses names that would become too long as copies."""
    for index in indices:
        if len((set_prefix + index).encode()) > _LONGEST:
            raise RefusedError(f"The copy of the index {index} would have a name that is too long.", reason="name_too_long",
                               hint="Choose a shorter name for the set of copies.")


def template_is_kestras(patterns, prefix) -> bool:
    """Whether an index template is for indices of this prefix only."""
    return bool(patterns) and all(str(pattern).partition("*")[0].startswith(prefix) for pattern in patterns)
