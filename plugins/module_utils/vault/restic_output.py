# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic says, read: exit codes, messages, snapshots, tree nodes. Pure functions for restic 0.14 to 0.19.

Sources: restic's doc/075_scripting.rst (exit codes, JSON messages) and runs of 0.14.0, 0.18.0 and 0.19.1.
"""
from __future__ import annotations

import json
import os
import re
import stat
from datetime import datetime, timedelta, timezone

from ..core.errors import ConnectError, IntegrityError, LockedError, StateError, ToolError

# Codes that mean the same wherever they appear (10 and 11 since 0.17.0, 12 since 0.17.1). Any code that is not named
# here is a failure told apart by its text: restic announces that new codes will come.
_CODES = {10: "repository_missing", 11: "repository_locked", 12: "repository_wrong_password"}

# Older versions return 1 for all of them. First match wins. An unreadable config file may be missing, or behind an
# unreachable server: the texts of "missing" differ by backend (local and sftp, S3, rest and rclone, Azure, GCS, swift).
_TEXTS = (
    ("repository_locked", re.compile(r"repository is already locked|repo already locked")),
    ("repository_wrong_password", re.compile(r"wrong password or no key found")),
    ("repository_password_unavailable", re.compile(r"Resolving password failed|an empty password is not")),
    ("disk_full", re.compile(r"no space left on device|disk quota exceeded")),
    ("repository_missing", re.compile(
        r"Fatal: repository does not exist|unable to open config file: .*"
        r"(?:no such file or directory|does not exist|doesn't exist|not exist|key does not exist|NoSuchKey|NoSuchBucket"
        r"|BlobNotFound|ContainerNotFound|Object Not Found|404)")),
    ("repository_exists", re.compile(r"config file already exists|config already initialized")),
    ("snapshot_missing", re.compile(r"no matching ID found|no snapshot found|could not find snapshot")),
    ("snapshot_ambiguous", re.compile(r"multiple IDs? with prefix|multiple IDs? found")),
    ("path_missing", re.compile(r"path \S.* not found in snapshot|path .*: not found", re.DOTALL)),
    ("repository_damaged", re.compile(
        r"repository contains errors|ciphertext verification failed|config file has zero size|invalid data returned"
        r"|could not be loaded; the repository could be damaged|is not known; the repository could be damaged"
        r"|config or key .* is damaged|wrong hash|Pack ID does not match"
        r"|(?:StreamPack|ReadFull\(<\w+/).*(?:no such file|not exist|NoSuchKey|404)"
        # 0.18.0 does not say that it cannot read a directory of a snapshot: it crashes over it ("ls", "dump").
        r"|panic: (?s:.*)restic/internal/walker\.walk\(")),
    ("repository_unreachable", re.compile(
        r"unable to open config file|unable to open repository|unable to start the sftp session|dial tcp|no such host"
        r"|connection refused|connection reset|i/o timeout|Access Denied|AccessDenied|Forbidden|Permission denied \(")),
    ("permission_denied", re.compile(r"permission denied|operation not permitted", re.IGNORECASE)),
    ("source_missing", re.compile(r"all (?:target|source) directories/files do not exist|nothing to backup")),
)

_SENTENCES = {
    "repository_missing": (ConnectError, "There is no restic repository at {where}.",
                           "Check the location and that its disk is mounted; restic_repository makes a new one."),
    "repository_locked": (LockedError, "The restic repository {where} is locked{holder}.",
                          "Wait for that process, or raise lock_wait. Stale locks are removed by themselves."),
    "repository_wrong_password": (ConnectError, "The password does not open the restic repository {where}.",
                                  "Check repository_password_file or repository_password_command."),
    "repository_password_unavailable": (ConnectError, "restic got no password for the repository {where}.",
                                        "Check that the password file is not empty or that the command works."),
    "disk_full": (ToolError, "No space is left while restic worked with {where}.",
                  "Free space (repository, cache and temporary directory count), then run again."),
    "repository_exists": (StateError, "There already is a restic repository at {where}.", None),
    "snapshot_missing": (StateError, "The snapshot is not in the restic repository {where}.", None),
    "snapshot_ambiguous": (StateError, "The snapshot id is not unique in the restic repository {where}.",
                           "Give the whole id."),
    "path_missing": (StateError, "The path is not in the snapshot.", None),
    "repository_damaged": (IntegrityError, "The restic repository {where} is damaged.",
                           "Do not prune. Restore from another copy, or see restic's chapter on troubleshooting."),
    "repository_unreachable": (ConnectError, "The restic repository {where} cannot be reached.",
                               "Check network, credentials and the location."),
    "permission_denied": (ToolError, "restic was denied permission while working with {where}.",
                          "Run as a user who may (become: true)."),
    "source_missing": (ToolError, "Nothing of what was to be backed up exists.", None),
    "interrupted": (ToolError, "restic was interrupted.", None),
}

_PROGRESS = re.compile(r"^\[[0-9:]+\]\s+(?:[0-9.]+%\s+)?([0-9]+)(?: / ([0-9]+))?\s+(\S.*)$")
_HOLDER = re.compile(r"already locked (exclusively )?by PID (\d+) on (.+?) by (.+?)(?: \(UID \d+, GID \d+\))?\n"
                     r"lock was created at (\S+ \S+) \(([^)]*) ago\)")
# Told since 0.17. A lock is left out: restic refreshes it again.
_GAVE_UP = re.compile(r"Save\(<(?:config|data|index|key|snapshot)/\w+>\) failed: ")
_PACK = re.compile(r"\b[Pp]ack (?:ID does not match, want )?([0-9a-f]{64})\b")
_FULL_ID = re.compile(r"[0-9a-f]{64}")
_SOME_ID = re.compile(r"[0-9a-f]{8,64}")

# Go's io/fs.FileMode keeps these bits in other places than POSIX does.
_GO_SETUID, _GO_SETGID, _GO_STICKY = 1 << 23, 1 << 22, 1 << 20

STALE_AFTER = timedelta(minutes=30)


def parse_version(text: str) -> tuple:
    """(0, 14, 0) of "restic 0.14.0 compiled with ...". Raises ToolError for anything else."""
    match = re.match(r"restic (\d+)\.(\d+)(?:\.(\d+))?", text)
    if not match:
        raise ToolError(f"This is not restic: {text.strip()[:80]!r}.", reason="tool_unusable")
    return tuple(int(part or 0) for part in match.groups())


def is_full_id(text) -> bool:
    """Whether text is a whole snapshot id (64 hex digits): the only form in which anything may be deleted."""
    return isinstance(text, str) and _FULL_ID.fullmatch(text) is not None


def is_id(text) -> bool:
    """Whether text may name a snapshot: an id or the beginning of one, at least eight digits as restic prints it."""
    return isinstance(text, str) and _SOME_ID.fullmatch(text) is not None


def json_line(line: str):
    """The JSON object in a line, or None for one that is plain text (not every message of restic is JSON)."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def plain_text(stderr: str) -> str:
    """stderr with the JSON messages (0.17 and newer) replaced by their text."""
    lines = []
    for line in stderr.splitlines():
        message = json_line(line)
        if message is None:
            lines.append(line)
        elif message.get("message_type") == "exit_error":
            lines.append(str(message.get("message", "")).rstrip())
        elif message.get("message_type") == "error":
            error = message.get("error")
            text = error.get("message") if isinstance(error, dict) else None
            item = message.get("item")
            lines.append(": ".join(str(part).strip() for part in (item, text or message.get("message")) if part))
    return "\n".join(lines)


def reason_of(code: int, stderr: str, version=None) -> str:
    """Why restic failed, as a stable code. version: tuple, for codes that older versions do not have.

    130 and negative codes (signals) are "interrupted". 3 is left to the command, which knows what it means.
    """
    if code in _CODES and (version is None or version >= (0, 17)):
        return _CODES[code]
    if code == 130 or code < 0:
        return "interrupted"
    text = plain_text(stderr)
    for reason, pattern in _TEXTS:
        if pattern.search(text):
            return reason
    return "restic_failed"


def lock_holder(stderr: str):
    """{pid, host, user, since, exclusive} of the process that holds the lock, or None when the text does not say."""
    match = _HOLDER.search(plain_text(stderr))
    if not match:
        return None
    return {"exclusive": bool(match.group(1)), "pid": int(match.group(2)), "host": match.group(3),
            "user": match.group(4), "since": match.group(5)}


def gave_up(line: str) -> bool:
    """Whether a line of stderr says that restic could not store a file and will not try again: its command cannot succeed."""
    return _GAVE_UP.match(line) is not None


def broken_packs(text: str) -> list:
    """Ids of the packs a check complained about, sorted."""
    return sorted(set(_PACK.findall(text)))


def failure(code: int, stderr: str, *, where: str, command: list, version=None):
    """The DrError for a failed restic. where: location as it may be shown; command: argv without secrets."""
    reason = reason_of(code, stderr, version)
    text = plain_text(stderr).strip()
    last = _telling_line(text)
    detail = {"argv0": command[0], "command": command, "rc": code, "stderr_tail": text[-4000:]}
    if reason not in _SENTENCES:
        return ToolError(f"restic failed with exit code {code}" + (f": {last}" if last else "."), reason=reason,
                         detail=detail)
    kind, sentence, hint = _SENTENCES[reason]
    holder = lock_holder(stderr) if reason == "repository_locked" else None
    if holder:
        detail["holder"] = holder
    if reason == "repository_damaged":
        detail["packs"] = broken_packs(text)
    held = " by PID {pid} on {host} ({user}) since {since}".format(**holder) if holder else ""
    return kind(sentence.format(where=where, holder=held), reason=reason, hint=hint, detail=detail)


def _telling_line(text: str) -> str:
    """The line a person wants to see: the last "Fatal:", else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal:")]
    return (fatal or lines or [""])[-1]


def progress_of(line: str):
    """(done, total or None, unit) of a text progress line such as "[0:03] 50.00%  1 / 2 packs", or None."""
    match = _PROGRESS.match(line.strip())
    if not match:
        return None
    return int(match.group(1)), None if match.group(2) is None else int(match.group(2)), match.group(3)


def source_error(line: str):
    """{item, text, vanished} of a line of backup's stderr that reports an unreadable source, or None.

    vanished: the file was there when its directory was read and is gone now. 0.14 gives Go's error as a structure
    with the error number, 0.17 and newer as a sentence; from 0.18.1 on a vanished file is no error for restic.
    Errors of the scan only miss the estimate; the archiver meets the same file again.
    """
    if line.endswith(", skipping"):
        return {"item": re.sub(r" (?:does not exist|does not match any files), skipping$", "", line),
                "text": line, "vanished": False}
    message = json_line(line)
    if message is None or message.get("message_type") != "error" or message.get("during") == "scan":
        return None
    error = message.get("error") if isinstance(message.get("error"), dict) else {}
    numbered = f"{error.get('Op')}: {os.strerror(error['Err'])}" if isinstance(error.get("Err"), int) else None
    text = error.get("message") or numbered or "cannot be read"
    vanished = error.get("Err") == 2 or str(text).endswith("no such file or directory")
    return {"item": str(message.get("item", "")), "text": str(text), "vanished": vanished}


def utc(text: str) -> datetime:
    """An aware datetime of Go's RFC 3339 text: nanoseconds are cut to microseconds, offsets are kept."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text)
    if not match:
        raise ToolError(f"restic gave a time that cannot be read: {text!r}.", reason="tool_unusable")
    moment = datetime.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S").replace(
        microsecond=int((match.group(2) or "0")[:6].ljust(6, "0")), tzinfo=timezone.utc)
    zone = match.group(3)
    if zone != "Z":
        sign = 1 if zone[0] == "+" else -1
        moment -= sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return moment


def nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of Go's RFC 3339 text, exactly."""
    fraction = re.search(r"\.(\d+)", text)
    whole = utc(re.sub(r"\.\d+", "", text))
    seconds = int((whole - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds())
    return seconds * 10**9 + (int(fraction.group(1)[:9].ljust(9, "0")) if fraction else 0)


def posix_mode(go_mode: int) -> int:
    """Permission bits with setuid, setgid and sticky where POSIX has them."""
    mode = go_mode & 0o777
    for go_bit, bit in ((_GO_SETUID, stat.S_ISUID), (_GO_SETGID, stat.S_ISGID), (_GO_STICKY, stat.S_ISVTX)):
        if go_mode & go_bit:
            mode |= bit
    return mode


def node_of(message: dict):
    """A tree entry of "ls --json" as {path, type, size, mode, uid, gid, mtime_ns}, or None for other messages.

    path: text as restic prints it, in which every byte that is not UTF-8 is U+FFFD (see lossy()).
    """
    if message.get("struct_type") != "node" and message.get("message_type") != "node":
        return None
    return {"path": message["path"], "type": message["type"], "size": message.get("size", 0),
            "mode": posix_mode(message.get("mode", 0)), "uid": message.get("uid", 0), "gid": message.get("gid", 0),
            "mtime_ns": nanoseconds(message["mtime"])}


def lossy(name: bytes) -> str:
    """A file name as Go's JSON encoder prints it: one U+FFFD for each byte that does not belong to valid UTF-8."""
    text = name.decode("utf-8", "surrogateescape")
    return "".join("\ufffd" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text)


def snapshot_of(record: dict) -> dict:
    """A snapshot of "snapshots --json" in this collection's words: the same keys for every version of restic."""
    return {"id": record["id"], "short_id": record["id"][:8], "time": record["time"], "host": record.get("hostname"),
            "user": record.get("username"), "paths": record.get("paths") or [], "tags": record.get("tags") or [],
            "parent": record.get("parent"), "tree": record.get("tree"),
            "program_version": record.get("program_version"), "summary": record.get("summary")}


def stale(lock: dict, *, host: str, alive, now: datetime) -> bool:
    """Whether a lock (JSON of "cat lock") is provably dead: not refreshed for 30 minutes (a living restic does so every
    five), or of this host with its process gone. alive(pid) -> bool. The rule restic's own unlock has.
    """
    if now - utc(lock["time"]) > STALE_AFTER:
        return True
    return lock.get("hostname") == host and not alive(lock.get("pid"))
