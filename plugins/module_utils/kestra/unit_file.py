# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd unit files with their drop-ins: what a service is started with. Pure.

The files are read rather than `systemctl show -p Environment`, whose output older systemd versions do not quote.
"""
from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " ", "\\": "\\",
            '"': '"', "'": "'"}
_CONFIG_OPTION = re.compile(r"(?:--config=|-c=?)(?P<path>.+)")
_PLUGINS_OPTION = re.compile(r"(?:--plugins=|-p=?)(?P<path>.+)")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


@dataclass
class Unit:
    """What a service's files say. environment_files: [(path or pattern, optional)]; exec_start: argv, unexpanded."""

    name: str
    files: list = field(default_factory=list)
    environment: dict = field(default_factory=dict, repr=False)
    environment_files: list = field(default_factory=list)
    exec_start: list = field(default_factory=list, repr=False)
    expand_variables: bool = True
    unset: list = field(default_factory=list)
    working_directory: str = "/"
    user: str | None = None
    group: str | None = None
    warnings: list = field(default_factory=list)


@dataclass
class Command:
    """A Kestra server command. words: from `server` on; config, plugins: the options' values or None."""

    executable: str | None = None
    words: list = field(default_factory=list)
    config: str | None = None
    plugins: str | None = None
    java: bool = False                                       # started as java -jar, not through the jar's own script
    environment: dict = field(default_factory=dict, repr=False)
    system_properties: dict = field(default_factory=dict, repr=False)
    warnings: list = field(default_factory=list)


class BadQuoting(ValueError):
    """A quote is not closed, or a backslash is followed by what systemd does not know."""


def words(text) -> list:
    """Splits a value as systemd does: blanks, single and double quotes, C escapes. Raises BadQuoting."""
    out, current, quote, position, open_word = [], "", None, 0, False
    while position < len(text):
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            decoded, length = _escape(text[position + 1:])
            current, open_word = current + decoded, True
            position += 1 + length
            continue
        if quote:
            if char == quote:
                quote = None
            else:
                current += char
        elif char in "\"'":
            quote, open_word = char, True
        elif char.isspace():
            if open_word:
                out.append(current)
            current, open_word = "", False
        else:
            current, open_word = current + char, True
        position += 1
    if quote:
        raise BadQuoting()
    if open_word:
        out.append(current)
    return out


def _escape(text) -> tuple:
    """The character a backslash sequence stands for and how many characters it takes (without the backslash)."""
    char = text[0]
    if char in _ESCAPES:
        return _ESCAPES[char], 1
    for prefix, digits in (("x", 2), ("u", 4), ("U", 8)):
        code = text[1:1 + digits]
        if char == prefix and re.fullmatch(r"[0-9a-fA-F]{%d}" % digits, code):
            return chr(int(code, 16)), 1 + digits
    if re.fullmatch(r"[0-7]{3}", text[:3]):
        return chr(int(text[:3], 8)), 3
    raise BadQuoting()


def specifiers(name, host, user=None, home=None) -> dict:
    """The % specifiers that can be known from outside (systemd.unit(5)). name: full unit name with its suffix."""
    stem = name.rpartition(".")[0] or name
    prefix, _unused, instance = stem.partition("@")
    known = {"n": name, "N": stem, "p": prefix, "P": prefix, "i": instance, "I": instance, "%": "%", "H": host,
             "l": host.partition(".")[0], "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc",
             "T": "/tmp", "V": "/var/tmp"}
    known.update({letter: value for letter, value in (("u", user), ("h", home)) if value is not None})
    return known


def expand(text, known) -> str:
    """text with its % specifiers replaced. Raises KeyError with the letter of an unknown one."""
    return re.sub(r"%(.)", lambda found: known[found.group(1)], text)


def logical_lines(text):
    """(section, key, value) of each assignment; a line that ends in a backslash goes on in the next."""
    section, pending = None, ""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            continue  # comments may stand between continued lines
        if line.rstrip("\r").endswith("\\"):
            pending += line.rstrip("\r")[:-1] + " "
            continue
        whole, pending = (pending + line).strip(), ""
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
        elif "=" in whole:
            key, _unused, value = whole.partition("=")
            yield section, key.strip(), value.strip()


def parse(name, texts, known) -> Unit:
    """Unit of [(path, text)], the main file first, drop-ins in the order systemd applies them."""
    unit = Unit(name, [path for path, _unused in texts])
    for path, text in texts:
        for section, key, value in logical_lines(text):
            if section == "Service":
                _apply(unit, path, key, value, known)
    for variable in unit.unset:
        unit.environment.pop(variable.partition("=")[0], None)
    return unit


def _apply(unit, path, key, value, known) -> None:
    if key not in ("Environment", "EnvironmentFile", "ExecStart", "WorkingDirectory", "User", "Group",
                   "UnsetEnvironment", "PassEnvironment"):
        return
    try:
        if key == "ExecStart":
            _exec_start(unit, value, known)
        elif key in ("Environment", "UnsetEnvironment"):
            items = [expand(word, known) for word in words(value)]
            _environment(unit, key, value, items)
        elif key == "EnvironmentFile":
            _environment_file(unit, expand(value, known))
        elif key == "PassEnvironment":
            if value:
                unit.warnings.append(f"{path} passes variables of the service manager (PassEnvironment=); their "
                                     "values cannot be seen.")
        else:
            _single(unit, key, expand(value, known))
    except KeyError as exc:
        unit.warnings.append(f"{key}= in {path} uses the specifier %{exc.args[0]}, which is not resolved here; the "
                             "line was left out. (A percent sign that means itself is written %%.)")
    except BadQuoting:
        unit.warnings.append(f"{key}= in {path} has an unclosed quote or an unknown escape; the line was left out, as "
                             "systemd does.")


def _environment(unit, key, value, items) -> None:
    if key == "UnsetEnvironment":
        unit.unset = unit.unset + items if value else []
    elif not value:
        unit.environment.clear()
    else:
        for item in items:
            variable, equals, content = item.partition("=")
            if equals:
                unit.environment[variable] = content


def _environment_file(unit, value) -> None:
    if not value:
        unit.environment_files.clear()
        return
    optional = value.startswith("-")
    unit.environment_files.append((value[1:] if optional else value, optional))


def _single(unit, key, value) -> None:
    if key == "WorkingDirectory":
        unit.working_directory = value.lstrip("-") or "/"
    elif key == "User":
        unit.user = value or None
    else:
        unit.group = value or None


def _exec_start(unit, value, known) -> None:
    if not value:
        unit.exec_start = []
        return
    argv = [expand(word, known) for word in words(value)]
    if not argv:
        return
    prefix = re.match(r"[@\-:+!|]*", argv[0]).group(0)
    argv[0] = argv[0][len(prefix):]
    if "@" in prefix and len(argv) > 1:
        del argv[1]  # the second word is argv[0] of the process
    unit.exec_start = [word for word in argv if word]
    unit.expand_variables = ":" not in prefix


def substitute(argv, environment) -> list:
    """$VAR as a word of its own is split at blanks, ${VAR} inside a word is replaced as it is (systemd.service(5))."""
    out = []
    for word in argv:
        alone = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word)
        if alone:
            out.extend(environment.get(alone.group(1), "").split())
            continue
        word = re.sub(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda found: environment.get(found.group(1), ""), word)
        out.append(word.replace("$$", "$"))
    return out


def server_command(argv) -> Command:
    """What a start command says about Kestra: executable, words from `server` on, -c/--config, -p/--plugins."""
    command = Command()
    argv = _unwrap(list(argv), command)
    if "server" not in argv:
        command.executable = argv[0] if argv else None
        if argv:
            command.warnings.append(f"The start command ({os.path.basename(argv[0])} …) does not show `server`; what a "
                                    "wrapper script adds (--config, variables) cannot be seen. Name it with "
                                    "config.files and config.environment_files.")
        return command
    at = argv.index("server")
    command.executable = argv[at - 1] if at else None
    command.words = argv[at:]
    command.java = any(os.path.basename(word) == "java" for word in argv[:at])
    for word in argv[:at]:
        if word.startswith("-D"):
            name, _unused, value = word[2:].partition("=")
            command.system_properties[name] = value
    command.config = _option(command.words, ("-c", "--config"), _CONFIG_OPTION)
    command.plugins = _option(command.words, ("-p", "--plugins"), _PLUGINS_OPTION)
    return command


def _unwrap(argv, command) -> list:
    """Takes off env NAME=VALUE …, exec, and one sh -c 'text'."""
    while argv:
        base = os.path.basename(argv[0])
        if base == "env":
            argv = argv[1:]
            while argv and _ASSIGNMENT.fullmatch(argv[0]):
                name, _unused, value = argv.pop(0).partition("=")
                command.environment[name] = value
        elif base == "exec":
            argv = argv[1:]
        elif base in ("sh", "bash", "dash") and len(argv) > 2 and re.fullmatch(r"-[a-z]*c", argv[1]):
            try:
                inner = shlex.split(argv[2])
            except ValueError:
                return argv
            last = max([index for index, word in enumerate(inner) if word in ("&&", ";", "||")] + [-1])
            argv = inner[last + 1:]
        elif _ASSIGNMENT.fullmatch(argv[0]):
            name, _unused, value = argv.pop(0).partition("=")
            command.environment[name] = value
        else:
            break
    return argv


def _option(argv, names, attached):
    value = None
    for index, word in enumerate(argv):
        if word in names:
            value = argv[index + 1] if index + 1 < len(argv) else value
        else:
            found = attached.fullmatch(word)
            # --config=X, -cX; other long options that merely begin alike do not match.
            value = found["path"] if found else value
    return value


def java_properties(text) -> dict:
    """-Dname=value of JAVA_OPTS and its kin, split at blanks as the shell does with an unquoted variable."""
    found = {}
    for word in text.split():
        if word.startswith("-D"):
            name, _unused, value = word[2:].partition("=")
            found[name] = value
    return found
