# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a restic repository is and how it opens. Must be kept in sync with plugins/doc_fragments/restic.py."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from ..core.environment_file import NAME, check_private, private_environment
from ..core.errors import ConfigError
from ..core.secrets import SHORTEST, variants

# user:password@ of a URL, also behind restic's scheme prefixes (rest:https://user:password@host/).
_USERINFO = re.compile(r"(://)([^/:@]*):([^/]*)@")

# What restic reads itself and this collection decides; in repository_environment they would contradict the options.
_OWN_VARIABLES = frozenset((
    "RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE", "RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE",
    "RESTIC_PASSWORD_COMMAND", "RESTIC_CACHE_DIR", "RESTIC_HOST", "RESTIC_PROGRESS_FPS",
))

# Known to hold no secret. Everything else in repository_environment is treated as one.
_HARMLESS = frozenset((
    "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED",
    "AZURE_ENDPOINT_SUFFIX", "B2_ACCOUNT_ID", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOOGLE_PROJECT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS", "HOME", "NO_PROXY", "OS_AUTH_URL", "OS_REGION_NAME",
    "PATH", "RCLONE_BWLIMIT", "RCLONE_CONFIG", "RESTIC_CACERT", "RESTIC_COMPRESSION", "RESTIC_FEATURES",
    "RESTIC_KEY_HINT", "RESTIC_PACK_SIZE", "RESTIC_READ_CONCURRENCY", "RESTIC_TLS_CLIENT_CERT", "SSH_AUTH_SOCK",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "XDG_CACHE_HOME",
))


def argument_spec() -> dict:
    """The option group C(restic) of a module."""
    return {
        "repository": {"type": "str", "required": True},
        "repository_password_file": {"type": "path", "no_log": False},
        "repository_password_command": {"type": "str", "no_log": False},
        "repository_environment": {"type": "dict", "no_log": True, "default": {}},
        "repository_environment_file": {"type": "path"},
        "restic_binary": {"type": "path", "default": "restic"},
        "cache_dir": {"type": "path"},
        "limit_upload": {"type": "int"},
        "limit_download": {"type": "int"},
        "lock_wait": {"type": "int", "default": 60},
    }


REQUIRED_ONE_OF = [("repository_password_file", "repository_password_command")]
MUTUALLY_EXCLUSIVE = [("repository_password_file", "repository_password_command")]


def masked(location: str) -> str:
    """The location of a repository without the password its URL may hold."""
    return _USERINFO.sub(r"\1\2:***@", location)


@dataclass
class Repository:
    """A restic repository: location and how to open it. Times in seconds, bandwidth in KiB/s.

    lock_wait: how long to wait for another process's lock. Build it with from_options() to have it checked.
    """

    location: str
    password_file: str | None = None
    password_command: str | None = None
    environment: dict = field(default_factory=dict)
    binary: str = "restic"
    cache_dir: str | None = None
    limit_upload: int | None = None
    limit_download: int | None = None
    lock_wait: float = 60.0

    @property
    def display(self) -> str:
        """The location as it may be shown."""
        return masked(self.location)

    def env(self) -> dict:
        """Environment of the restic process; None removes what the caller's environment may hold.

        The location is here and not in argv because its URL may hold a password.
        """
        env: dict = dict.fromkeys(_OWN_VARIABLES)
        env.update(self.environment)
        env["RESTIC_REPOSITORY"] = self.location
        if self.password_file:
            env["RESTIC_PASSWORD_FILE"] = self.password_file
        if self.password_command:
            env["RESTIC_PASSWORD_COMMAND"] = self.password_command
        if self.cache_dir:
            env["RESTIC_CACHE_DIR"] = self.cache_dir
        env["RESTIC_PROGRESS_FPS"] = "1"
        if self.location.startswith("sftp:"):
            # ssh asks on the terminal for what it lacks (password, unknown host key), and would wait there for ever.
            env["SSH_ASKPASS"] = "/bin/false"
            env["SSH_ASKPASS_REQUIRE"] = "force"
        return env

    def global_arguments(self) -> list:
        """Flags every restic command takes."""
        flags = []
        if self.limit_upload:
            flags += ["--limit-upload", str(self.limit_upload)]
        if self.limit_download:
            flags += ["--limit-download", str(self.limit_download)]
        return flags

    def secrets(self) -> list:
        """Every secret text known here, for redaction: the URL's password and the environment's values."""
        found = []
        for match in _USERINFO.finditer(self.location):
            found += [match.group(3), unquote(match.group(3))]
        found += [value for name, value in self.environment.items() if name not in _HARMLESS and value]
        return found

    def fingerprint(self) -> dict:
        """What tells this repository from another one, without secrets (for jobs.fingerprint_of)."""
        return {"repository": self.display}


def of_module(params: dict, no_log_values: set) -> Repository:
    """from_options for an AnsibleModule: params and no_log_values are the module's, which must not return secrets.

    Ansible masks every value of repository_environment, and masking "2" (a concurrency) would spoil every id in the
    result: what is known to be harmless is taken out. The password in a repository's URL is put in.
    """
    environment = params.get("repository_environment") or {}
    no_log_values.difference_update(str(value) for name, value in environment.items() if name in _HARMLESS)
    for match in _USERINFO.finditer(params.get("repository") or ""):
        for secret in (match.group(3), unquote(match.group(3))):
            if len(secret) >= SHORTEST:
                no_log_values.update(variants(secret))
    return from_options(params)


def from_options(params: dict, read_file=None) -> Repository:
    """A checked Repository from module parameters (keys of argument_spec).

    read_file(path) -> text, for tests. Raises ConfigError: password neither or doubly given, its file missing or
    readable by others, environment malformed, a secret too short to be hidden.
    """
    location = (params.get("repository") or "").strip()
    if not location:
        raise ConfigError("The location of the restic repository is missing.", reason="repository_not_given",
                          hint="Set repository, e.g. /srv/backup/kestra or sftp:backup@host:/kestra.")
    password_file, password_command = params.get("repository_password_file"), params.get("repository_password_command")
    if bool(password_file) == bool(password_command):
        raise ConfigError("Exactly one of repository_password_file and repository_password_command must be given.",
                          reason="repository_password_not_given")
    if password_file:
        check_private(password_file, "repository_password_file")
    environment = {}
    path = params.get("repository_environment_file")
    if path:
        environment = private_environment(path, "repository_environment_file", read_file)
    for name, value in (params.get("repository_environment") or {}).items():
        environment[str(name)] = "" if value is None else str(value)
    _check_environment(environment)
    for name in ("limit_upload", "limit_download", "lock_wait"):
        if params.get(name) is not None and params[name] < 0:
            raise ConfigError(f"{name} must not be negative.", reason="bad_option")
    repository = Repository(
        location=location, password_file=password_file, password_command=password_command, environment=environment,
        binary=params.get("restic_binary") or "restic", cache_dir=params.get("cache_dir"),
        limit_upload=params.get("limit_upload"), limit_download=params.get("limit_download"),
        lock_wait=60.0 if params.get("lock_wait") is None else float(params["lock_wait"]))
    for secret in repository.secrets():
        if len(secret) < SHORTEST:
            raise ConfigError(f"A secret of the repository is shorter than {SHORTEST} characters: it cannot be kept "
                              "out of logs without spoiling them.", reason="secret_too_short",
                              hint="Use a longer one, or a file that the backend reads itself.")
    return repository


def _check_environment(environment) -> None:
    for name in environment:
        if not NAME.fullmatch(name):
            raise ConfigError("A name in the repository's environment is not a variable name.",
                              reason="environment_malformed")
        if name in _OWN_VARIABLES:
            raise ConfigError(f"{name} must not be in the repository's environment: an option of its own sets it.",
                              reason="environment_conflict",
                              hint="Passwords are given by repository_password_file or repository_password_command.")
