# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The component `config`: everything a host needs to start Kestra again, in one 0600 JSON file, and back.

A bundle holds secrets in the clear. It is meant to lie in an encrypted repository and, for moments, in a private
directory. Nothing it contains is shown; reports have names, sizes and digests.
"""
from __future__ import annotations

import base64
import contextlib
import errno
import grp
import hashlib
import json
import os
import pwd
import re
import stat

from ..core import clock, files, proc
from ..core.errors import ConfigError, DrError, RefusedError, ToolError, from_os_error
from . import config, launch, sources
from .layers import scan_keys
from .values import is_secret_key

KINDS = ("config", "environment", "unit", "keystore", "extra", "plugin")
_MAX_REFERENCED = 1 << 20
# An absolute path in a text, not the path of a URL.
_PATH = re.compile(r"(?<![\w:/.~-])(?:file:)?(/[^\s\"'`,;<>|&?#(){}\[\]]+)")
_KEY_FILES = (".jks", ".p12", ".pfx", ".keystore", ".truststore", ".jceks", ".pem", ".crt", ".cer", ".key", ".der",
              ".pk8", ".keytab")
_KEY_WORDS = re.compile(r"(key-?store|trust-?store|cert|keytab|private-?key|service-?account|credential|licen[cs]e|"
                        r"logback|jaas|\bca\b|ca-?(file|path)|sslkey)", re.IGNORECASE)
_NOT_FILES = ("/proc/", "/dev/", "/sys/")


def referenced_files(texts) -> list:
    """Paths of keystores, certificates, key tabs and the like named in configuration texts. Pure; needs no YAML.

    A path counts by its suffix, or when its line speaks of a keystore, certificate, licence or log configuration.
    """
    found = []
    for text in texts:
        for line in text.splitlines():
            for match in _PATH.finditer(line):
                path = match.group(1).rstrip(".:")
                if path.startswith(_NOT_FILES) or path in found:
                    continue
                if path.lower().endswith(_KEY_FILES) or _KEY_WORDS.search(line[:match.start(1)]):
                    found.append(path)
    return found


# -- taking -----------------------------------------------------------------------------------------------------------

def build(gathered, *, host, extra_paths=(), plugins_dir=None, plugins="list", executable=None,
          max_bytes=64 << 20) -> tuple:
    """The bundle of this host and what to say about it: (bundle dict, report dict).

    gathered: sources.Gathered. plugins: none, list (names with digests) or content. executable: asked for its version
    when given. max_bytes: of all contents together; more is refused. Raises DrError.
    """
    report = {"warnings": [], "missing": []}
    entries, total = [], 0
    for path, kind in _inventory(gathered, extra_paths, report):
        entry = _entry(path, kind)
        total += entry["size"]
        _limit(total, max_bytes, path)
        entries.append(entry)
    directory = plugins_dir or gathered.plugins_path
    listed = []
    if plugins != "none" and directory:
        listed, contents = _plugins(directory, plugins == "content", plugins_dir is not None, max_bytes - total)
        entries += contents
    bundle = {
        "schema": sources.BUNDLE_SCHEMA, "host": host, "created": clock.utc_now(), "files": entries,
        "environment": dict(sorted(gathered.sources.environment.items())),
        "unit": gathered.unit.name if gathered.unit else None,
        "layers": {"files": [layer.name for layer in gathered.sources.files],
                   "overrides": [layer.name for layer in gathered.sources.overrides]},
        "command": {"executable": gathered.command.executable if gathered.command else None,
                    "words": list(gathered.sources.command),
                    "java": bool(gathered.command and gathered.command.java), "plugins": directory,
                    "system_properties": dict(gathered.command.system_properties) if gathered.command else {},
                    "working_directory": gathered.sources.working_directory},
        "plugins": listed, "plugins_dir": directory,
        "kestra_version": _version(executable, report) if executable else None,
    }
    report.update(captured(bundle), **_names(gathered, report))
    report["warnings"] = list(gathered.sources.warnings) + report["warnings"]
    return bundle, report


def captured(bundle) -> dict:
    """What a bundle holds, by name: for reports and manifests."""
    return {
        "host": bundle["host"],
        "files": [{name: entry[name] for name in ("path", "kind", "mode", "owner", "group", "size", "sha256")}
                  for entry in bundle["files"]],
        "unit": bundle["unit"], "plugins": bundle["plugins"], "plugins_dir": bundle["plugins_dir"],
        "kestra_version": bundle["kestra_version"],
    }


def _names(gathered, report) -> dict:
    """{keys, environment}: names of the settings that hold a secret, and of the variables.

    Where the YAML cannot be read (no PyYAML on a Kestra host, a malformed text) its keys are found by indentation.
    """
    try:
        configuration = config.load(gathered.sources)
        keys = configuration.secret_keys()
    except ConfigError as exc:
        if exc.reason != "yaml_missing":
            report["warnings"].append("The configuration is taken as it is, although " + exc.message)
        configuration = config.load_lenient(gathered.sources)
        texts = [layer.text for layer in gathered.sources.files + gathered.sources.overrides]
        found = [name for text in texts for name in scan_keys(text)]
        keys = sorted({name for name in found if is_secret_key(name)} | set(configuration.secret_keys()))
    names = configuration.environment_names()
    return {"keys": keys, "environment": {"names": sorted(gathered.sources.environment), "secrets": names["secrets"],
                                          "variables": names["variables"]}}


def _inventory(gathered, extra_paths, report) -> list:
    """[(path, kind)] of every file to take, each once."""
    wanted = list(gathered.inventory)
    known = {path for path, _kind in wanted}
    texts = [layer.text for layer in gathered.sources.files + gathered.sources.overrides]
    texts += [f"{name}={value}" for name, value in gathered.sources.environment.items()]
    if gathered.command:
        texts += [f"{name}={value}" for name, value in gathered.command.system_properties.items()]
    candidates = referenced_files(texts)
    if gathered.home:
        candidates.append(os.path.join(gathered.home, ".postgresql", "root.crt"))  # pgjdbc's default CA file
    for path in candidates:
        if path in known:
            continue
        known.add(path)
        if not os.path.exists(path):
            if not path.endswith("/.postgresql/root.crt"):
                report["missing"].append(path)
        elif os.path.isfile(path) and os.path.getsize(path) <= _MAX_REFERENCED:
            wanted.append((path, "keystore"))
    for path in extra_paths:
        for item in _walk(os.path.abspath(path)):
            if item not in known:
                known.add(item)
                wanted.append((item, "extra"))
    return wanted


def _walk(path) -> list:
    """The regular files at or below path, sorted. Raises ConfigError when there is nothing at path."""
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise ConfigError(f"The extra path {path} does not exist.", reason="file_missing", detail={"path": path})
    found = []
    for directory, _names, names in os.walk(path):
        found += [item for item in (os.path.join(directory, name) for name in names) if os.path.isfile(item)]
    return sorted(found)


def _entry(path, kind) -> dict:
    raw = sources.read_bytes(path, f"{kind} file")
    info = os.stat(path)
    entry = {"path": path, "kind": kind, "mode": f"{stat.S_IMODE(info.st_mode):04o}", "uid": info.st_uid,
             "gid": info.st_gid, "owner": _name(pwd.getpwuid, info.st_uid), "group": _name(grp.getgrgid, info.st_gid),
             "mtime_ns": info.st_mtime_ns, "size": len(raw), "sha256": hashlib.sha256(raw).hexdigest(),
             "content_b64": base64.b64encode(raw).decode("ascii")}
    return entry


def _name(lookup, number) -> str:
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def _limit(total, max_bytes, path) -> None:
    if total > max_bytes:
        raise RefusedError(f"The configuration of this host is larger than {max_bytes} bytes (at {path}).",
                           reason="bundle_too_large",
                           hint="Leave large files out of extra_paths and plugins: content, or raise max_bytes.")


def _plugins(directory, with_content, explicit, room) -> tuple:
    """([{name, size, sha256}], entries with content)."""
    if not os.path.isdir(directory):
        if explicit:
            raise ConfigError(f"The plugins directory {directory} does not exist.", reason="file_missing",
                              detail={"path": directory})
        return [], []
    listed, contents, total = [], [], 0
    for path in _walk(directory):
        size = os.path.getsize(path)
        listed.append({"name": os.path.relpath(path, directory), "size": size, "sha256": files.sha256_file(path)})
        if with_content:
            total += size
            _limit(total, room, path)
            contents.append(_entry(path, "plugin"))
    return listed, contents


def _version(executable, report):
    """What `executable --version` says, without any configuration."""
    env = {**dict.fromkeys(launch.WITHOUT), **launch.UNCONFIGURED}
    try:
        done = proc.run([*launch.LAUNCH, executable, "--version"], env=env, timeout=launch.VERSION_SECONDS)
    except ToolError as exc:
        report["warnings"].append(f"Kestra's version is not known: {exc.message}")
        return None
    found = launch.version_of(done.stdout)
    if not found:
        report["warnings"].append(f"Kestra's version is not known: {executable} --version printed none.")
    return found


def same(one, other) -> bool:
    """Whether two bundles hold the same; the time they were taken at does not count."""
    def essence(bundle):
        return {name: value for name, value in bundle.items() if name != "created"}
    return essence(one) == essence(other)


def write(path, bundle) -> tuple:
    """Writes a bundle atomically with mode 0600. Returns (size, hex sha256)."""
    data = dumps(bundle)
    try:
        files.atomic_write(path, data)
    except OSError as exc:
        raise from_os_error(exc, "writing the configuration bundle") from None
    return len(data), hashlib.sha256(data).hexdigest()


def dumps(bundle) -> bytes:
    """The bytes of a bundle."""
    return (json.dumps(bundle, sort_keys=True, indent=1) + "\n").encode("utf-8")


# -- giving back ------------------------------------------------------------------------------------------------------

def plan(path, bundle, *, mode, kinds=KINDS, root="/") -> list:
    """What a restore would do: [{path, target, kind, found, action, …}], in the bundle's order.

    mode: missing (write only what is not there), always, or report (write nothing). found: missing, same, differs, or
    attributes (content is equal; mode, owner or group are not). action: write, attributes or keep. root: directory
    that stands for /. Raises ConfigError (bad_bundle) for damaged contents and unsafe paths.
    """
    steps = []
    for entry in bundle["files"]:
        kind = entry.get("kind", "extra")
        if kind not in kinds:
            continue
        target = _target(path, entry["path"], root)
        raw = sources.bundled_content(path, entry)
        digest = hashlib.sha256(raw).hexdigest()
        if digest != entry.get("sha256"):
            raise ConfigError(f"{path} is damaged: the content of {entry['path']} does not have its digest.",
                              reason="bad_bundle", detail={"path": path, "file": entry["path"]})
        found = _found(target, entry, digest)
        action = "keep"
        if mode != "report" and found == "missing" or mode == "always" and found == "differs":
            action = "write"
        elif mode == "always" and found == "attributes":
            action = "attributes"
        steps.append({"path": entry["path"], "target": target, "kind": kind, "found": found, "action": action,
                      "size": len(raw), "sha256": digest, "present": _digest(target),
                      "mode": entry.get("mode", "0600"), "owner": entry.get("owner"), "group": entry.get("group")})
    return steps


def _target(bundle_path, path, root) -> str:
    if not path.startswith("/") or os.path.normpath(path) != path or "\0" in path:
        raise ConfigError(f"{bundle_path} names an unsafe path: {path!r}.", reason="bad_bundle",
                          detail={"path": bundle_path})
    joined = os.path.join(root, path.lstrip("/"))
    # A link in place stays a link: what it points to is written.
    return os.path.realpath(joined) if os.path.islink(joined) and os.path.exists(joined) else joined


def _digest(target):
    try:
        return files.sha256_file(target)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise from_os_error(exc, "comparing the configuration") from None


def _found(target, entry, digest) -> str:
    present = _digest(target)
    if present is None:
        return "missing"
    if present != digest:
        return "differs"
    info = os.stat(target)
    uid, gid = _ids(entry)
    same_attributes = (f"{stat.S_IMODE(info.st_mode):04o}" == entry.get("mode") and info.st_uid == uid
                       and info.st_gid == gid)
    return "same" if same_attributes else "attributes"


def _ids(entry) -> tuple:
    """uid and gid on this host: by name, else by number (the account may not exist here yet)."""
    try:
        uid = pwd.getpwnam(entry.get("owner") or "").pw_uid
    except KeyError:
        uid = entry.get("uid", 0)
    try:
        gid = grp.getgrnam(entry.get("group") or "").gr_gid
    except KeyError:
        gid = entry.get("gid", 0)
    return uid, gid


def apply(path, bundle, steps, *, keep_replaced=True, stamp=None) -> list:
    """Carries out the plan. Returns the paths of replaced files that were kept (suffix .before-restore-STAMP)."""
    stamp = stamp or re.sub(r"[-:]|\.\d+", "", clock.utc_now())
    entries = {entry["path"]: entry for entry in bundle["files"]}
    kept = []
    for step in steps:
        if step["action"] == "keep":
            continue
        entry = entries[step["path"]]
        try:
            if step["action"] == "write":
                kept += _write(step["target"], sources.bundled_content(path, entry), entry, keep_replaced, stamp)
            else:
                uid, gid = _ids(entry)
                os.chown(step["target"], uid, gid)
                os.chmod(step["target"], int(entry.get("mode", "0600"), 8))
        except OSError as exc:
            raise _not_written(exc, step) from None
    return kept


def _not_written(exc, step) -> DrError:
    if exc.errno == errno.EPERM:
        return DrError(f"The owner of {step['target']} cannot be set.", reason="permission_denied",
                       hint="Run as root (become: true).", detail={"path": step["target"]})
    return from_os_error(exc, f"restoring {step['path']}")


def _write(target, raw, entry, keep_replaced, stamp) -> list:
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    kept = []
    uid, gid = _ids(entry)
    with files.AtomicFile(target, 0o600) as handle:
        os.fchown(handle.fileno(), uid, gid)
        os.fchmod(handle.fileno(), int(entry.get("mode", "0600"), 8))
        handle.write(raw)
        if keep_replaced and os.path.lexists(target):
            kept.append(f"{target}.before-restore-{stamp}")
            with contextlib.suppress(FileExistsError):
                os.link(target, kept[0])  # the old content keeps a name until the rename below takes the other one
    os.utime(target, ns=(entry.get("mtime_ns", 0), entry.get("mtime_ns", 0)))
    return kept


def diff(steps) -> dict:
    """What Ansible shows with --diff: names, modes, owners and digests, never contents."""
    todo = [step for step in steps if step["action"] != "keep"]
    before = [f"{step['target']} {'absent' if step['present'] is None else 'sha256:' + step['present']}\n"
              for step in todo]
    after = [f"{step['target']} sha256:{step['sha256']} {step['mode']} {step['owner']}:{step['group']}\n"
             for step in todo]
    return {"before_header": "files now", "after_header": "files of the bundle", "before": "".join(before),
            "after": "".join(after)}


def environment_only(path, bundle) -> list:
    """Names of the bundle's variables that none of its environment or unit files would set again."""
    texts = [sources.bundled_content(path, entry).decode("utf-8", "replace") for entry in bundle["files"]
             if entry.get("kind") in ("environment", "unit")]
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*(?==)", "\n".join(texts)))
    return sorted(name for name in bundle["environment"] if name not in words)


def secrets(path) -> list:
    """The secret values of the bundle in path, for redaction; without those of a YAML text that cannot be read."""
    return config.load_lenient(sources.gather(bundle=path).sources).secrets()
