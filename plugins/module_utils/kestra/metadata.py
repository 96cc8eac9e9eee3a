# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enterprise's metadata archive: what to say to `kestra backups`, and what it answers. Pure."""
from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from dataclasses import dataclass, field

from ..core.errors import ConfigError, IntegrityError, RefusedError, ToolError
from ..core.manifest import compare_counts
from . import config
from .values import as_text, env_name

CREATE, RESTORE = ("backups", "create"), ("backups", "restore")
FULL, TENANT = "FULL", "TENANT"
# Rows a second restore would add again; everything else is written over (Kestra's documentation).
ALWAYS_INSERTED = ("LOG", "METRIC")
KEY = "kestra.encryption.secret-key"
KEY_VARIABLE = env_name(KEY)
# The phase of a restore from which on Kestra may have taken rows.
BEGUN = "restoring"
# What of the output of both commands is worth keeping.
TOLD = re.compile(r"Backup |Restor")

# What is looked at of an archive: the IV (12 bytes) in front, the tag (16) at the end, and something between them.
HEADER = 28
ENCRYPTED, READABLE, CUT = "encrypted", "readable", "cut"

_RESOURCE = re.compile(r"[A-Z][A-Z0-9_]*")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_URI = re.compile(r"kestra://(/\S+)")
_ENTRY = re.compile(r"\s*([A-Z][A-Z0-9_]*)\s*:\s*(\d+)\s*")
HEAD = re.compile(r"Restoring (\S+) backup from Kestra version (\S+) created at (\S+)")
NAME = re.compile(r"backup-\d{14}\.kestra")


# -- what is asked ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Key:
    """What an archive is encrypted with. source: given, instance (Kestra's own), or none (not encrypted).

    by: how a given key reaches the command line: environment, or argument.
    """

    source: str = "instance"
    value: str | None = field(default=None, repr=False)
    by: str = "environment"

    def words(self) -> list:
        if self.source == "none":
            return ["--no-encryption"]
        return [f"--encryption-key={self.value}"] if self.value and self.by == "argument" else []

    def environment(self) -> dict:
        return {KEY_VARIABLE: self.value} if self.value and self.by == "environment" else {}


@dataclass(frozen=True)
class Request:
    """What to back up. Checked by require_request."""

    type: str = FULL
    tenant: str | None = None
    include_data: bool = False
    resources: tuple = ()
    internal_log: bool = False
    log_level: str | None = None
    key: Key = Key()


def resources_of(listed) -> tuple:
    """The names of --resources, in capitals. Raises ConfigError."""
    names = tuple(str(name).strip().upper() for name in listed or ())
    for name in names:
        if not _RESOURCE.fullmatch(name):
            raise ConfigError(f"{name!r} is not the name of a kind of resource.", reason="bad_resource",
                              hint="Names look like FLOW or NAMESPACE_FILE.")
    return names


def require_tenant(tenant, option) -> None:
    """Refuses what cannot be the id of a tenant: it becomes part of a path."""
    if tenant and not _TENANT.fullmatch(tenant):
        raise ConfigError(f"{tenant!r} is not the id of a tenant.", reason="bad_tenant", hint=f"Correct {option}.")


def require_request(request) -> None:
    """Refuses what Kestra's documentation says does not go together. Raises ConfigError, RefusedError."""
    require_tenant(request.tenant, "tenant")
    if request.type == FULL and request.tenant:
        raise RefusedError("A FULL backup is of all tenants; it cannot be of one.", reason="tenant_with_full",
                           hint="Use type TENANT, or leave tenant out.")
    if request.type == TENANT and not request.tenant:
        raise ConfigError("A TENANT backup needs the option tenant.", reason="tenant_missing",
                          hint="Since 0.23 there is no default tenant; before, it was called default.")
    if request.internal_log and request.log_level in ("WARN", "ERROR"):
        raise RefusedError(f"With internal_log and log_level {request.log_level} Kestra would not print the summary, "
                           "which is what a restore is compared with.", reason="summary_hidden",
                           hint="Use log_level INFO, DEBUG or TRACE.")


def create_words(request) -> list:
    """The words of `backups create`."""
    words = [*CREATE, *request.key.words()]
    words += [f"--tenant={request.tenant}"] if request.type == TENANT else []
    words += ["--include-data"] if request.include_data else []
    words += [f"--resources={name}" for name in request.resources]
    words += ["--internal-log"] if request.internal_log else []
    words += [f"--log-level={request.log_level}"] if request.log_level else []
    return words + [request.type]


def restore_words(uri, key, to_tenant, resources) -> list:
    """The words of `backups restore`."""
    words = [*RESTORE, *(key.words() if key.source == "given" else [])]
    words += [f"--to-tenant={to_tenant}"] if to_tenant else []
    return words + [f"--resources={name}" for name in resources] + [uri]


# -- the key ----------------------------------------------------------------------------------------------------------

def require_key(text, what) -> None:
    """A key Kestra can use: base64 of 16, 24 or 32 bytes (AES). Raises ConfigError, without the key."""
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        size = None
    if size not in (16, 24, 32):
        why = "is not base64" if size is None else f"is base64 of {size} bytes"
        raise ConfigError(f"{what} {why}; Kestra needs base64 of 16, 24 or 32 bytes.", reason="bad_key",
                          hint="openssl rand -base64 32 makes one.")


def key_of(given, by, encrypted, configuration) -> Key:
    """The Key of the options; refuses what would fail, or would silently use another key.

    given: a key or None. by: environment or argument. encrypted: False for --no-encryption. configuration: Kestra's
    as the command line will read it, or None when it cannot be read from here. Raises ConfigError, RefusedError.
    """
    if not encrypted:
        if given:
            raise ConfigError("A key is given, but the archive is not to be encrypted.", reason="bad_key",
                              hint="Leave one of the two out.")
        return Key("none")
    if given:
        require_key(given, "The encryption key")
        if by == "environment" and configuration is not None and not _reaches(given, configuration):
            raise RefusedError(
                f"{KEY} is set where a variable does not override it (a --config file or a Java property), so Kestra "
                "would use that key instead of the given one.", reason="key_overridden",
                hint="Leave the key out to use the instance's, or set encryption_key_by to argument; the key then "
                     "shows in the process list while the command runs.")
        return Key("given", given, by)
    if configuration is not None:
        own = configuration.get(KEY)
        if own in (None, ""):
            raise RefusedError(
                f"There is no key to encrypt with: {KEY} is not set and none is given.", reason="key_missing",
                hint="Give encryption_key_file, set the key in Kestra's configuration, or state with "
                     "encrypt: false that the archive is to be readable by anybody who has it.")
        require_key(as_text(own), KEY)
    return Key("instance")


def restore_key_of(given, by, configuration) -> Key:
    """The Key to read an archive with: the given one, else whatever the instance has (none, for a readable archive)."""
    return key_of(given, by, True, configuration) if given else Key("instance")


def _reaches(given, configuration) -> bool:
    """Whether a variable with the given key would be what Kestra uses."""
    with_it = dataclasses.replace(configuration.sources,
                                  environment={**configuration.sources.environment, KEY_VARIABLE: given})
    return config.load(with_it).get(KEY) == given


# -- what is answered -------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Location:
    """Where an archive is in Kestra's storage. type: None when the path does not tell."""

    uri: str
    path: str
    name: str
    type: str | None = None
    tenant: str | None = None


def location(uri) -> Location:
    """A kestra:/// URI read. Raises ConfigError (bad_uri)."""
    found = _URI.fullmatch(uri)
    parts = found.group(1).split("/")[1:] if found else []
    if not parts or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(f"{uri!r} is not the address of a file in Kestra's storage.", reason="bad_uri",
                          hint="It looks like kestra:///backups/full/backup-20261126034500.kestra.")
    kind = tenant = None
    if parts[0] == "backups" and len(parts) == 3 and parts[1] == "full":
        kind = FULL
    elif parts[0] == "backups" and len(parts) == 4 and parts[1] == "tenants":
        kind, tenant = TENANT, parts[2]
    return Location(uri, found.group(1), parts[-1], kind, tenant)


def require_to_tenant(to_tenant, at) -> None:
    """Refuses to_tenant for what is no archive of a tenant. at: Location. Raises ConfigError, RefusedError."""
    require_tenant(to_tenant, "to_tenant")
    if to_tenant and at.type == FULL:
        raise RefusedError("A FULL archive cannot be restored into another tenant.", reason="to_tenant_with_full",
                           hint="Only an archive of type TENANT can; leave to_tenant out.")


def summary(text) -> dict:
    """{kind: number} of the inside of "Backup summary: [...]". Raises IntegrityError (malformed_summary)."""
    found: dict = {}
    for entry in filter(str.strip, text.split(",")):
        match = _ENTRY.fullmatch(entry)
        if not match or match.group(1) in found:
            raise IntegrityError(f"Kestra's summary is not understood at {entry.strip()!r}.",
                                 reason="malformed_summary", detail={"summary": text})
        found[match.group(1)] = int(match.group(2))
    return found


def recorded(numbers):
    """A summary as a backup recorded it, with whole numbers; None stays None. Raises ConfigError."""
    if numbers is None:
        return None
    try:
        return {str(name): int(number) for name, number in numbers.items()}
    except (TypeError, ValueError):
        raise ConfigError("The summary holds something that is no number.", reason="bad_summary",
                          hint="Give component.summary of the backup.") from None


def _last(pattern, lines):
    """The last line's match, or None."""
    return next((found for found in (re.search(pattern, line) for line in reversed(lines)) if found), None)


@dataclass(frozen=True)
class Created:
    """What `backups create` said."""

    location: Location
    summary: dict


def created(lines, request) -> Created:
    """Reads the output of `backups create`. Raises ToolError, IntegrityError."""
    uri = _last(r"Backup created: (kestra://\S+)", lines)
    if uri is None:
        raise ToolError("Kestra's `backups create` ended with 0, but named no archive.", reason="no_uri",
                        hint="Look at Kestra's log; there may be an archive in its storage below backups/.",
                        detail={"output": lines})
    counted = _last(r"Backup summary: \[(.*)\]", lines)
    if counted is None:
        raise ToolError("Kestra's `backups create` named an archive, but printed no summary to compare a restore with.",
                        reason="no_summary", detail={"output": lines})
    at, numbers = location(uri.group(1)), summary(counted.group(1))
    if at.type not in (None, request.type) or at.tenant != (request.tenant if at.type == TENANT else None):
        raise IntegrityError(f"A {request.type} backup was asked for, but Kestra made {at.uri}.", reason="wrong_archive",
                             detail={"uri": at.uri})
    if not any(numbers.values()):
        raise IntegrityError("Kestra's archive holds nothing.", reason="empty_archive",
                             hint="Does the command line read the configuration of the right instance?",
                             detail={"summary": numbers})
    return Created(at, numbers)


@dataclass(frozen=True)
class Restored:
    """What `backups restore` said."""

    type: str
    version: str
    created: str
    summary: dict
    restored: dict


def restored(lines, uri) -> Restored:
    """Reads the output of `backups restore`. Raises ToolError when it does not say what it did."""
    head = _last(HEAD, lines)
    archive, put = _last(r"Backup summary: \[(.*)\]", lines), _last(r"Restore summary: \[(.*)\]", lines)
    done = _last(r"Backup restored from URI: (\S+)", lines)
    missing = [name for name, found in (("what it restored", head), ("the archive's summary", archive),
                                        ("the restore's summary", put), ("that it had ended", done)) if found is None]
    if missing:
        raise ToolError(f"Kestra's `backups restore` ended with 0, but did not say {missing[0]}.",
                        reason="restore_unproven", hint="Take the restore for failed; look at Kestra's log.",
                        detail={"missing": missing, "output": lines, "uri": uri})
    return Restored(head.group(1), head.group(2), head.group(3), summary(archive.group(1)), summary(put.group(1)))


def differences(expected, found, resources=()) -> list:
    """Where two summaries differ, by kind, whatever their order: [{name, expected, found}].

    A kind that is not named counts as none. resources: only these kinds, when not empty.
    """
    def counted(numbers):
        return {name: number for name, number in numbers.items() if number and (not resources or name in resources)}
    return compare_counts(counted(expected), counted(found))


def require_equal(expected, found, resources, what) -> None:
    """Raises IntegrityError (summary_differs) for the first kind in which two summaries differ."""
    differing = differences(expected, found, resources)
    if differing:
        first = differing[0]
        raise IntegrityError(
            f"{what}: {first['found'] or 0} of {first['name']} where {first['expected'] or 0} are expected.",
            reason="summary_differs", hint="Kestra now holds part of the archive. Look at its log; a restore may be "
            "repeated, but not with logs and metrics.", detail={"differences": differing})


def may_duplicate(expected, resources) -> bool:
    """Whether restoring a second time would add rows again. expected: the archive's summary, None if not known."""
    kinds = [name for name in ALWAYS_INSERTED if not resources or name in resources]
    return bool(kinds) and (expected is None or any(expected.get(name) for name in kinds))


def require_no_duplicates(job, uri, expected, resources) -> None:
    """Refuses a restore that would add logs and metrics a second time.

    job: what core.jobs.read() says of job_dir, None without one. Raises RefusedError.
    """
    if not may_duplicate(expected, resources):
        return
    what = "logs or metrics, which Kestra adds again at every restore"
    hint = ("Remove those rows first, restrict resources to other kinds, or accept them twice with accept_duplicates.")
    if job is None:
        if expected is None:
            return  # nothing says that there are any, and nothing remembers an earlier attempt
        raise RefusedError(f"The archive holds {what}, and without job_dir an earlier attempt would not be known.",
                           reason="duplicates", hint="Give job_dir, or accept them twice with accept_duplicates.")
    state = job["state"] or {}
    begun = (state.get("phases") or {}).get(BEGUN, {}).get("facts", {}).get("uri")
    if not job["alive"] and state.get("outcome") != "ok" and begun == uri:
        raise RefusedError(f"An earlier restore of {uri} ended in the middle, and the archive "
                           f"{'may hold' if expected is None else 'holds'} {what}.", reason="duplicates", hint=hint,
                           detail={"uri": uri, "started": state.get("started")})


# -- what is seen from outside ----------------------------------------------------------------------------------------

def form(head, size) -> str:
    """What an archive that should be encrypted looks like: encrypted, readable (it is not), or cut (too short).

    head: its first HEADER bytes. Nothing is proved of its content: any noise looks encrypted.
    """
    if size <= HEADER or len(head) < HEADER:
        return CUT
    plain = head.startswith((b"\x1f\x8b\x08", b"PK\x03\x04")) or all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return READABLE if plain else ENCRYPTED


# -- what is known of versions ----------------------------------------------------------------------------------------

def _numbers(version) -> tuple:
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def no_command(words, version) -> RefusedError:
    """The error for a Kestra without the command."""
    old = () < _numbers(version) < (0, 19)
    return RefusedError(
        f"This Kestra ({version}) has no command `{' '.join(words)}`: it is "
        + ("older than 0.19." if old else "the open-source edition."), reason="enterprise_only",
        hint="The metadata archive is part of the Enterprise Edition since 0.19. Without it, take a recovery point of "
             "database, storage and configuration (playbook kestra_community.dr.backup), which holds all of it.",
        detail={"version": version})


def known_defects(version) -> list:
    """Warnings about releases known to leave something out."""
    numbers = _numbers(version)
    if not numbers or numbers >= (1, 3, 26):
        return []
    certain = numbers < (1, 3, 16)
    return [f"Kestra {version} {'leaves' if certain else 'may leave'} namespaces out of its archive that have KV entries, "
            "secrets or files, but no flow (kestra-io/kestra#15873). It was mended in May 2026, in releases of 1.3"
            + ("." if certain else "; which one was the first is not known here.")
            + " Compare the summary with what there is."]


def version_note(archive_version, version):
    """What Kestra's documentation says about restoring an archive of another version; None for the same."""
    if archive_version == version:
        return None
    return (f"The archive is of Kestra {archive_version}, this is {version}. Kestra's documentation calls archives "
            "portable between versions and takes the difference for a warning.")
