# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that a passphrase opens, in a form that any machine with GnuPG reads: ASCII-armoured OpenPGP (RFC 4880).

AES-256, integrity protected; the passphrase is stretched by 65 million bytes of SHA-512. gpg gets a home of its own, so
that nobody's key rings, agents or settings matter.
"""
from __future__ import annotations

import os
import stat
import tempfile

from . import proc
from .errors import ConfigError, IntegrityError, ToolError

# Stretching helps long passphrases only.
SHORTEST_PASSPHRASE = 16
_TIMEOUT = 120
_HINT = "Install it (Debian: gnupg)."


def check_passphrase_file(path) -> None:
    """Raises ConfigError unless path is a private file whose first line is a usable passphrase."""
    try:
        with open(path, "rb") as handle:
            mode = os.fstat(handle.fileno()).st_mode
            first = handle.readline().rstrip(b"\r\n")
    except FileNotFoundError:
        raise ConfigError(f"The passphrase file {path} does not exist.", reason="passphrase_file_missing") from None
    except OSError as exc:
        raise ConfigError(f"The passphrase file {path} cannot be read: {exc.strerror}.",
                          reason="passphrase_file_unreadable") from None
    if stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"The passphrase file {path} may be read or written by everybody.",
                          reason="passphrase_file_not_private", hint=f"chmod 600 {path}")
    if len(first) < SHORTEST_PASSPHRASE:
        raise ConfigError(f"The passphrase in {path} is shorter than {SHORTEST_PASSPHRASE} bytes.",
                          reason="passphrase_too_short", hint="Whoever finds the kit may try as long as they like: "
                                                              "use six or more random words.")


def encrypt(text: bytes, passphrase_file, binary="gpg") -> bytes:
    """The armoured message. Raises ToolError."""
    return _gpg(binary, passphrase_file, text, [
        "--rfc4880", "--cipher-algo", "AES256", "--s2k-mode", "3", "--s2k-digest-algo", "SHA512",
        "--s2k-count", "65011712", "--armor", "--symmetric"])


def decrypt(message: bytes, passphrase_file, where, binary="gpg") -> bytes:
    """What was encrypted. where: of the message, for errors. Raises IntegrityError (not_opened) or ToolError."""
    try:
        return _gpg(binary, passphrase_file, message, ["--decrypt"])
    except ToolError as exc:
        if exc.reason != "tool_failed":
            raise
        raise IntegrityError(
            f"{where} cannot be opened: the passphrase is another one, or the file is damaged.", reason="not_opened",
            hint="Give the passphrase it was written with. To write a new one, move the old one away first.") from None


def _gpg(binary, passphrase_file, text, arguments) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kestra-dr-gpg-") as home:
        argv = [binary, "--batch", "--no-tty", "--quiet", "--no-options", "--homedir", home, "--no-autostart",
                "--pinentry-mode", "loopback", "--passphrase-file", os.fspath(passphrase_file), *arguments]
        try:
            done = proc.run(argv, input=text, timeout=_TIMEOUT)
        except ToolError as exc:
            if exc.reason == "tool_missing":
                raise ToolError(f"{binary} is not installed on this host.", reason="tool_missing", hint=_HINT) from None
            raise
    return done.stdout.encode("utf-8", "surrogateescape")
