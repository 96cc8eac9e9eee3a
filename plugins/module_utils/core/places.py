# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small file in a place that may be another machine: read whole, replaced in one step.

Over SFTP the host's key must be known beforehand and the same; nothing is sent to a host that shows another one.
"""
from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import socket
from dataclasses import dataclass

from . import files
from .errors import ConfigError, ConnectError, RefusedError, StateError, ToolError, from_os_error

# A file of this kind has a few kB.
MOST = 16 << 20


@dataclass(frozen=True)
class Local:
    """A path on this host."""

    path: str

    @property
    def shown(self) -> str:
        return self.path

    def read(self):
        """The content, or None when there is none. Raises DrError."""
        try:
            with open(self.path, "rb") as handle:
                return limited(handle.read(MOST + 1), self.shown)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise from_os_error(exc, f"reading {self.shown}") from None

    def write(self, data: bytes) -> None:
        """Replaces it. Raises DrError."""
        try:
            files.atomic_write(self.path, data)
        except OSError as exc:
            raise from_os_error(exc, f"writing {self.shown}") from None


@dataclass(frozen=True)
class Sftp:
    """A path on another host. key_file: private key without a passphrase. known_hosts: file that holds the host's key."""

    path: str
    host: str
    user: str
    key_file: str
    known_hosts: str
    port: int = 22
    timeout: float = 30.0

    @property
    def shown(self) -> str:
        return f"sftp://{self.user}@{self.host}:{self.port}{self.path}"

    def read(self):
        """The content, or None when there is none. Raises DrError."""
        with self._session() as sftp:
            try:
                with sftp.open(self.path, "rb") as handle:
                    return limited(handle.read(MOST + 1), self.shown)
            except FileNotFoundError:
                return None
            except OSError as exc:
                raise from_os_error(_named(exc, self.path), f"reading {self.shown}") from None

    def write(self, data: bytes) -> None:
        """Replaces it: written whole under another name, read back, then renamed over it. Raises DrError."""
        part = files.part_name(self.path)
        with self._session() as sftp:
            try:
                with contextlib.suppress(FileNotFoundError):
                    sftp.remove(part)
                try:
                    with sftp.open(part, "wx") as handle:
                        sftp.chmod(part, 0o600)
                        handle.write(data)
                    with sftp.open(part, "rb") as handle:
                        if handle.read() != data:
                            raise ConnectError(f"{self.shown} did not come back as it was written.", reason="torn")
                    sftp.posix_rename(part, self.path)
                except BaseException:
                    with contextlib.suppress(OSError):
                        sftp.remove(part)
                    raise
            except OSError as exc:
                raise from_os_error(_named(exc, self.path), f"writing {self.shown}") from None

    @contextlib.contextmanager
    def _session(self):
        paramiko = driver()
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.load_host_keys(self.known_hosts)
        except OSError as exc:
            raise ConfigError(f"The file of known hosts {self.known_hosts} cannot be read: {exc.strerror}.",
                              reason="known_hosts_unreadable") from None
        try:
            self._connect(paramiko, client)
            with self._opened(paramiko, client) as sftp:
                yield sftp
        except (paramiko.SSHException, EOFError, socket.timeout) as exc:
            raise ConnectError(f"The connection to {self.host}:{self.port} broke: {exc or 'closed'}.",
                               reason="connection_lost", hint="Run again.") from None
        finally:
            client.close()

    def _connect(self, paramiko, client) -> None:
        try:
            client.connect(
                self.host, port=self.port, username=self.user, key_filename=self.key_file, timeout=self.timeout,
                banner_timeout=self.timeout, auth_timeout=self.timeout, allow_agent=False, look_for_keys=False)
        except paramiko.BadHostKeyException:
            raise RefusedError(
                f"{self.host}:{self.port} shows another host key than {self.known_hosts} has.", reason="host_key_changed",
                hint="Find out why. If the server was set up anew, replace its line there by hand.") from None
        except (paramiko.AuthenticationException, paramiko.PasswordRequiredException):
            raise ConnectError(f"{self.host}:{self.port} does not let {self.user} in with {self.key_file}.",
                               reason="login_refused",
                               hint="The key must have no passphrase, and its public half must be known there.") from None
        except paramiko.SSHException as exc:
            if "not found in known_hosts" not in str(exc):
                raise
            raise RefusedError(
                f"The host key of {self.host}:{self.port} is not in {self.known_hosts}.", reason="host_key_unknown",
                hint="Add it there after comparing it with the server's own: "
                     f"ssh-keyscan -p {self.port} {self.host}") from None
        except FileNotFoundError:
            raise ConfigError(f"The key {self.key_file} does not exist.", reason="key_file_missing") from None
        except OSError as exc:
            raise ConnectError(f"{self.host}:{self.port} cannot be reached: {exc.strerror or exc}.", reason="unreachable",
                               hint="Check that it runs, its address, and the network between.") from None

    @contextlib.contextmanager
    def _opened(self, paramiko, client):
        with client.open_sftp() as sftp:
            sftp.get_channel().settimeout(self.timeout)
            yield sftp


def driver():
    """The paramiko module. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        import paramiko
    except ImportError:
        raise ToolError("The Python library paramiko is missing on this host.", reason="paramiko_missing",
                        hint="Install python3-paramiko and set ansible_python_interpreter to the Python that has it."
                        ) from None
    return paramiko


def _named(exc, path) -> OSError:
    """What SFTP says has no file name, and only two of its failures have a number."""
    known = exc.errno if exc.errno in (errno.EACCES, errno.ENOENT) else None
    return OSError(known, str(exc) or "the server refused", posixpath.dirname(path) if known else path)


def limited(data, shown) -> bytes:
    """data, unless it is too large to be what is kept here. Raises StateError."""
    if len(data) > MOST:
        raise StateError(f"{shown} is larger than {MOST} bytes.", reason="too_large", hint="It is no escrow kit.")
    return data


def inside(path, directory) -> bool:
    """Whether a path lies in a directory of this host, links followed."""
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return os.path.commonpath((path, directory)) == directory
