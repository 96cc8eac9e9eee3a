# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error family of the collection. Everything below plugins/modules raises these and nothing else on purpose."""
from __future__ import annotations

import errno


class DrError(Exception):
    """A failure a person can act on.

    message: one sentence, without secrets. reason: stable lower_snake code for machines.
    hint: what to do next. detail: JSON-ready facts, without secrets.
    """

    reason = "error"

    def __init__(self, message, *, reason=None, hint=None, detail=None):
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.hint = hint
        self.detail = dict(detail or {})

    def to_result(self) -> dict:
        """The keyword arguments of fail_json."""
        msg = f"{self.message} {self.hint}" if self.hint else self.message
        return {"msg": msg, "reason": self.reason, "hint": self.hint, "detail": self.detail}


class ConfigError(DrError):
    """Configuration missing, malformed or unsupported."""

    reason = "config"


class ConnectError(DrError):
    """A server or an API cannot be reached, or refuses the login."""

    reason = "connect"


class ToolError(DrError):
    """An external program failed. detail: argv0, rc, stderr_tail, command."""

    reason = "tool_failed"


class IntegrityError(DrError):
    """A digest, a structure or a count differs from what was recorded."""

    reason = "integrity"


class RefusedError(DrError):
    """A guard said no; nothing was touched."""

    reason = "refused"


class LockedError(DrError):
    """Another run holds the instance."""

    reason = "locked"


class StateError(DrError):
    """A recovery point, a journal or a job is not in the state this step needs."""

    reason = "state"


# errno -> (reason, sentence, hint)
_OS_ERRORS = {
    errno.ENOSPC: (
        "disk_full",
        "No space is left",
        "Free space on that file system or point the option elsewhere, then run again.",
    ),
    errno.EDQUOT: ("disk_full", "The disk quota is used up", "Raise the quota or free space, then run again."),
    errno.EACCES: ("permission_denied", "Permission was denied", "Run as a user who may use this path (become: true)."),
    errno.EPERM: (
        "permission_denied",
        "The operation is not permitted",
        "Run as a user who may do this (become: true).",
    ),
    errno.EROFS: ("read_only", "The file system is read-only", "Mount it writable or use another path."),
    errno.ENOENT: ("not_found", "There is no such file or directory", "Check the path."),
    errno.EIO: (
        "io_error",
        "The device reports an input/output error",
        "Check the disk and the kernel log before anything else.",
    ),
}


def from_os_error(exc: OSError, doing: str) -> DrError:
    """Turns an OSError into a DrError. doing: what was attempted, e.g. "writing the manifest"."""
    reason, sentence, hint = _OS_ERRORS.get(exc.errno, ("os_error", exc.strerror or str(exc), None))
    where = f" ({exc.filename!r})" if exc.filename is not None else ""
    return DrError(f"{sentence} while {doing}{where}.", reason=reason, hint=hint,
                   detail={"errno": exc.errno, "path": None if exc.filename is None else str(exc.filename)})
