# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of NAME=value lines that hold secrets."""
from __future__ import annotations

import os
import re
import shlex
import stat

from .errors import ConfigError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_environment(text: str, where: str) -> dict:
    """NAME=value lines as a dict: blank lines and # comments are skipped, quotes as in a shell, "export" allowed.

    Raises ConfigError naming where and the line, never its content.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("export "):
            line = line[len("export "):].lstrip()
        name, equals, value = line.partition("=")
        try:
            words = shlex.split(value)
        except ValueError:
            words = None
        if not equals or not NAME.fullmatch(name) or words is None or len(words) > 1:
            raise ConfigError(f"Line {number} of {where} is not NAME=value.", reason="environment_malformed",
                              hint="Quote values that hold blanks.")
        found[name] = words[0] if words else ""
    return found


def private_environment(path, option, read_file=None) -> dict:
    """The NAME=value lines of a file with secrets, given as option. read_file(path) -> text, for tests. Raises ConfigError."""
    return parse_environment(private_text(path, option, read_file), path)


def private_text(path, option, read_file=None) -> str:
    """The text of a file with secrets, as private_environment()."""
    check_private(path, option)
    return (read_file or _read)(path)


def _read(path) -> str:
    with open(path, encoding="utf-8") as handle:
        return handle.read()


def check_private(path, option) -> None:
    """Raises ConfigError unless path, given as option, is a file that not everybody may read or write."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise ConfigError(f"The file given as {option} does not exist: {path}.", reason="password_file_missing",
                          hint="It must be on the host where the module runs (the worker host).") from None
    except PermissionError:
        raise ConfigError(f"The file given as {option} may not be read: {path}.", reason="password_file_unreadable",
                          hint="Run the task as its owner (become: true).") from None
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
        raise ConfigError(f"{option} is not a file: {path}.", reason="password_file_missing")
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"The file given as {option} may be read or written by everybody: {path}.",
                          reason="password_file_not_private", hint=f"chmod 600 {shlex.quote(os.fspath(path))}")
