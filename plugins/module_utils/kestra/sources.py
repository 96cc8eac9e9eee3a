# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what Kestra is configured with where it lies: files, environment files, a systemd unit, or a bundle.

Effects only; what the texts mean is decided in config.py, env_file.py and unit_file.py.
"""
from __future__ import annotations

import base64
import binascii
import glob
import json
import os
import pwd
import socket
from dataclasses import dataclass, field
from typing import Any

from ..core import proc
from ..core.errors import ConfigError, ToolError
from . import env_file, unit_file
from .layers import Layer, Sources

# Where systemd looks for units, strongest first (systemd.unit(5)).
UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
                    "/usr/lib/systemd/system", "/lib/systemd/system")
_JAVA_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_OPTS", "_JAVA_OPTIONS")
TEXT_NAME = "KESTRA_CONFIGURATION"
BUNDLE_SCHEMA = 1


@dataclass
class Gathered:
    """Everything found. inventory: [(path, kind)] of the files read, kind config, environment or unit; home: of the
    user Kestra runs as, None without a unit."""

    sources: Sources
    inventory: list = field(default_factory=list)
    unit: unit_file.Unit | None = None
    command: unit_file.Command | None = None
    plugins_path: str | None = None
    home: str | None = None
    described: dict = field(default_factory=dict)


@dataclass
class _Draft:
    environment: dict = field(default_factory=dict)
    warnings: list = field(default_factory=list)
    inventory: list = field(default_factory=list)
    files: list = field(default_factory=list)
    overrides: list = field(default_factory=list)
    unit: Any = None
    command: Any = None
    home: str | None = None
    working_directory: str = "/"

    def note(self, path, kind) -> None:
        if (path, kind) not in self.inventory:
            self.inventory.append((path, kind))


def gather(*, files=None, environment_files=None, environment=None, text=None, unit=None, bundle=None) -> Gathered:
    """Reads the given places; see CONFIG_SPEC in options.py for what each is.

    What a unit or the environment leads to (MICRONAUT_CONFIG_FILES, KESTRA_CONFIGURATION, -c/--config, -D properties)
    is read as well; files named explicitly come after the discovered ones, so they win over them.
    Raises ConfigError: config_missing (nothing given), file_missing, file_unreadable, not_utf8, unit_missing,
    bad_bundle, unsupported_format.
    """
    if not any((files, environment_files, environment, text, unit, bundle)):
        raise ConfigError("Nothing says where Kestra's configuration is.", reason="config_missing",
                          hint="Give config.files, config.unit, config.environment_files, config.text or "
                               "config.bundle.")
    draft = _Draft()
    if bundle:
        _from_bundle(draft, bundle)
    if unit:
        _from_unit(draft, unit)
    for path in environment_files or ():
        draft.environment.update(env_file.parse(_read(path, "environment file")))
        draft.note(path, "environment")
    for name, value in (environment or {}).items():
        draft.environment[name] = "" if value is None else str(value)
    if text:
        draft.environment[TEXT_NAME] = text
    properties = _system_properties(draft)
    if text or unit or not bundle:
        _discover(draft, properties)
    known = {os.path.realpath(layer.name) for layer in draft.files}
    for path in files or ():
        if os.path.realpath(path) not in known:
            draft.files.append(_layer(path))
            draft.note(path, "config")
    return _finish(draft, properties)


def _finish(draft, properties) -> Gathered:
    command = draft.command or unit_file.Command()
    described = {
        "unit": draft.unit.name if draft.unit else None,
        "unit_files": list(draft.unit.files) if draft.unit else [],
        "environment_files": [path for path, kind in draft.inventory if kind == "environment"],
        "executable": command.executable,
        "user": draft.unit.user if draft.unit else None,
    }
    sources = Sources(
        files=tuple(draft.files), environment=draft.environment, system_properties=properties,
        overrides=tuple(draft.overrides), command=tuple(command.words), working_directory=draft.working_directory,
        warnings=tuple(draft.warnings), described=described)
    plugins = command.plugins or draft.environment.get("KESTRA_PLUGINS_PATH")
    if not plugins and command.executable and command.words:
        plugins = os.path.join(os.path.dirname(command.executable), "plugins")  # gradle/jar/selfrun.sh
    return Gathered(sources, draft.inventory, draft.unit, command, plugins, draft.home, described)


def _system_properties(draft) -> dict:
    properties = {}
    for name in _JAVA_VARIABLES:
        properties.update(unit_file.java_properties(draft.environment.get(name, "")))
    if draft.command:
        properties.update(draft.command.system_properties)
    return properties


def _discover(draft, properties) -> None:
    """The files Kestra's launcher and Micronaut would read, weakest first."""
    found = []
    local = os.path.join(draft.working_directory, "config")
    for name in ("application.yml", "application.yaml"):  # micronaut's file:config/ location
        if draft.unit and os.path.isfile(os.path.join(local, name)):
            found.append(_layer(os.path.join(local, name)))
    configuration = draft.environment.get(TEXT_NAME)
    java = draft.command is not None and draft.command.java
    if configuration and java:
        draft.warnings.append("KESTRA_CONFIGURATION is set, but Kestra is started by java -jar, which ignores it.")
    paths = _paths(draft, properties.get("micronaut.config.files"))
    if configuration and not java:  # selfrun.sh writes it to a file and makes MICRONAUT_CONFIG_FILES name only that
        found += [_layer(path) for path in paths] + [Layer(TEXT_NAME, configuration)]
    else:
        paths += _paths(draft, draft.environment.get("MICRONAUT_CONFIG_FILES"))
        found += [_layer(path) for path in paths]
    for layer in found:
        if layer.name != TEXT_NAME:
            draft.note(layer.name, "config")
    draft.files += found
    _discover_override(draft)


def _discover_override(draft) -> None:
    """-c/--config, else ~/.kestra/config.yml of Kestra's user; a missing one is ignored (Kestra's AbstractCommand)."""
    explicit = draft.command.config if draft.command else None
    if explicit:
        path = _absolute(draft, explicit)
        if not os.path.exists(path):
            draft.warnings.append(f"The start command names {path} (--config), which does not exist; Kestra ignores "
                                  "that silently.")
            return
    else:
        path = os.path.join(draft.home, ".kestra", "config.yml") if draft.home else None
        if not path or not os.path.isfile(path):
            return
    draft.overrides.append(_layer(path))
    draft.note(path, "config")


def _absolute(draft, path) -> str:
    return os.path.normpath(os.path.join(draft.working_directory, path))


def _paths(draft, value) -> list:
    """The comma list of MICRONAUT_CONFIG_FILES as paths."""
    out = []
    for item in (value or "").split(","):
        item = item.strip()
        if item.startswith("classpath:"):
            draft.warnings.append(f"{item} lies inside Kestra's own archive and cannot be read.")
        elif item:
            out.append(_absolute(draft, item[5:] if item.startswith("file:") else item))
    return out


# -- files ------------------------------------------------------------------------------------------------------------

def read_bytes(path, what) -> bytes:
    """The content of a file. Raises ConfigError: file_missing, file_unreadable."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        raise ConfigError(f"The {what} {path} does not exist on {socket.gethostname()}.", reason="file_missing",
                          hint="Check the path. Kestra deletes its configuration files after the start when "
                               "kestra.configurations.delete-files-on-start is true: then give their source.",
                          detail={"path": path}) from None
    except IsADirectoryError:
        raise ConfigError(f"The {what} {path} is a directory.", reason="file_unreadable", detail={"path": path}
                          ) from None
    except OSError as exc:
        raise ConfigError(f"The {what} {path} cannot be read: {exc.strerror}.", reason="file_unreadable",
                          hint="Run as a user who may read it (become: true).", detail={"path": path}) from None


def _read(path, what) -> str:
    raw = read_bytes(path, what)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"The {what} {path} is not UTF-8 text (line {line}).", reason="not_utf8",
                          hint="Save it as UTF-8.", detail={"path": path, "line": line}) from None


def _layer(path) -> Layer:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".yml", ".yaml", ".json", ""):
        raise ConfigError(f"{path} is a {suffix} file; only YAML configuration is understood.",
                          reason="unsupported_format", hint="Convert it to YAML (Kestra reads it as well).",
                          detail={"path": path})
    return Layer(path, _read(path, "configuration file"))


# -- units ------------------------------------------------------------------------------------------------------------

def _from_unit(draft, name) -> None:
    unit = read_unit(name)
    draft.unit = unit
    draft.warnings += unit.warnings
    for path in unit.files:
        draft.note(path, "unit")
    draft.working_directory = unit.working_directory if unit.working_directory.startswith("/") else "/"
    entry = _account(unit.user)
    if unit.working_directory == "~" and entry:
        draft.working_directory = entry.pw_dir
    # What systemd itself gives a service (systemd.exec(5), "Environment Variables in Spawned Processes").
    draft.home = entry.pw_dir if entry else None
    draft.environment.update(unit.environment)
    for pattern, optional in unit.environment_files:
        paths = sorted(glob.glob(pattern)) or ([] if optional else [pattern])
        for path in paths:
            if optional and not os.path.exists(path):
                continue
            draft.environment.update(env_file.parse(_read(path, f"environment file of {unit.name}")))
            draft.note(path, "environment")
    argv = unit_file.substitute(unit.exec_start, draft.environment) if unit.expand_variables else unit.exec_start
    draft.command = unit_file.server_command(argv)
    draft.warnings += draft.command.warnings
    draft.environment.update(draft.command.environment)
    draft.home = draft.environment.get("HOME", draft.home)


def _account(user):
    try:
        return pwd.getpwuid(int(user)) if user and user.isdigit() else pwd.getpwnam(user or "root")
    except KeyError:
        return None


def read_unit(name) -> unit_file.Unit:
    """The service of that name, or the unit file at that path, with its drop-ins. Raises ConfigError (unit_missing)."""
    if os.path.isabs(name):
        paths = [name] + _drop_ins(os.path.basename(name), [os.path.dirname(name)])
        full = os.path.basename(name)
        if not os.path.exists(name):
            raise _no_unit(name)
    else:
        full = name if "." in name and name.rpartition(".")[2] in ("service", "socket", "timer") else name + ".service"
        paths = _paths_from_systemctl(full) or _paths_from_disk(full)
        if not paths:
            raise _no_unit(full)
    texts = [(path, _read(path, "unit file")) for path in paths]
    host = socket.gethostname()
    user = next((value for _path, text in texts for section, key, value in unit_file.logical_lines(text)
                 if section == "Service" and key == "User" and "%" not in value), None)
    entry = _account(user)
    known = unit_file.specifiers(full, host, user or "root", entry.pw_dir if entry else None)
    return unit_file.parse(full, texts, known)


def _no_unit(name) -> ConfigError:
    return ConfigError(f"There is no systemd unit {name} on {socket.gethostname()}.", reason="unit_missing",
                       hint="systemctl list-units --type=service shows the names; a path to a unit file works as well.",
                       detail={"unit": name})


def _paths_from_systemctl(full) -> list:
    """Fragment and drop-ins as the running systemd knows them; [] when it cannot be asked."""
    try:
        done = proc.run(["systemctl", "show", "--property=FragmentPath,DropInPaths", full], timeout=20,
                        ok=tuple(range(256)))
    except ToolError:
        return []
    values = dict(line.partition("=")[::2] for line in done.stdout.splitlines() if "=" in line)
    fragment = values.get("FragmentPath", "").strip()
    if done.rc != 0 or not fragment:
        return []
    return [fragment] + values.get("DropInPaths", "").split()


def _paths_from_disk(full) -> list:
    """The same by systemd's search order, for hosts whose systemd does not run (a container image, a chroot)."""
    stem, _unused, suffix = full.rpartition(".")
    names = [full]
    if "@" in stem:
        names.append(f"{stem.partition('@')[0]}@.{suffix}")
    for name in names:
        for directory in UNIT_DIRECTORIES:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                return [path] + _drop_ins(names[::-1], UNIT_DIRECTORIES)
    return []


def _drop_ins(names, directories) -> list:
    """Drop-ins sorted by file name; the strongest directory wins for equal names. /dev/null masks one."""
    chosen = {}
    for name in [names] if isinstance(names, str) else names:
        for directory in reversed(directories):
            for path in glob.glob(os.path.join(glob.escape(os.path.join(directory, name + ".d")), "*.conf")):
                chosen[os.path.basename(path)] = path
    return [chosen[name] for name in sorted(chosen) if os.path.realpath(chosen[name]) != os.devnull]


# -- bundles ----------------------------------------------------------------------------------------------------------

def read_bundle(path) -> dict:
    """The bundle in path, checked. Raises ConfigError (file_missing, file_unreadable, bad_bundle)."""
    try:
        bundle = json.loads(read_bytes(path, "configuration bundle").decode("utf-8"))
    except ValueError:
        raise _bad_bundle(path, "it is not JSON") from None
    if not isinstance(bundle, dict) or bundle.get("schema") != BUNDLE_SCHEMA:
        found = bundle.get("schema") if isinstance(bundle, dict) else None
        raise _bad_bundle(path, f"its schema is {found!r}, this version reads {BUNDLE_SCHEMA}")
    for name, kind in (("files", list), ("environment", dict), ("layers", dict)):
        if not isinstance(bundle.get(name), kind):
            raise _bad_bundle(path, f"{name} is missing or of the wrong kind")
    for entry in bundle["files"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise _bad_bundle(path, "a file entry has no path")
    return bundle


def _bad_bundle(path, why) -> ConfigError:
    return ConfigError(f"{path} is not a usable configuration bundle: {why}.", reason="bad_bundle",
                       hint="Bundles are written by kestra_community.dr.kestra_config_bundle; take another recovery "
                            "point if this one is damaged.", detail={"path": path})


def bundled_content(path, entry) -> bytes:
    """The content of one file entry. Raises ConfigError (bad_bundle)."""
    try:
        return base64.b64decode(entry["content_b64"], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError):
        raise _bad_bundle(path, f"the content of {entry['path']} is damaged") from None


def _from_bundle(draft, path) -> None:
    bundle = read_bundle(path)
    contents = {entry["path"]: entry for entry in bundle["files"] if entry.get("content_b64") is not None}
    draft.environment.update({str(name): str(value) for name, value in bundle["environment"].items()})
    for where, target in (("files", draft.files), ("overrides", draft.overrides)):
        for name in bundle["layers"].get(where, ()):
            if name == TEXT_NAME:
                target.append(Layer(TEXT_NAME, draft.environment.get(TEXT_NAME, "")))
            elif name in contents:
                raw = bundled_content(path, contents[name])
                target.append(Layer(name, raw.decode("utf-8-sig", "replace")))
            else:
                raise _bad_bundle(path, f"the content of {name} is missing")
    command = bundle.get("command") or {}
    draft.command = unit_file.Command(
        executable=command.get("executable"), words=list(command.get("words", ())), java=bool(command.get("java")),
        plugins=command.get("plugins"), system_properties=dict(command.get("system_properties", {})))
    draft.working_directory = command.get("working_directory") or "/"
