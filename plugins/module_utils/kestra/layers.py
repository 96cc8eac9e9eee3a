# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts Kestra's configuration comes from, and YAML made flat the way Micronaut does. Pure."""
from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any, Mapping

from ..core.errors import ConfigError
from .values import normalise_key


@dataclass(frozen=True)
class Layer:
    """One YAML text. name: its path, or KESTRA_CONFIGURATION; it is what messages show."""

    name: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class Sources:
    """Everything Kestra reads its configuration from, weakest first within each list."""

    files: tuple = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    system_properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    overrides: tuple = ()
    command: tuple = ()          # words after the executable: ("server", "standalone", ...)
    working_directory: str = "/"
    warnings: tuple = ()
    described: Mapping[str, Any] = field(default_factory=dict)  # where all this was found, for reports


def flatten(value, prefix="") -> dict:
    """Nested mappings as {kebab key: value}; dotted keys simply add segments. Lists stay values."""
    flat = {}
    for key, item in value.items():
        name = prefix + normalise_key("true" if key is True else "false" if key is False else key)
        if isinstance(item, dict):
            flat.update(flatten(item, name + "."))
        else:
            flat[name] = item
    return flat


@functools.lru_cache(maxsize=None)
def _yaml():
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            "PyYAML is not installed for the Python that reads Kestra's configuration.", reason="yaml_missing",
            hint="Install it (apt install python3-yaml, dnf install python3-pyyaml), or take a bundle with "
                 "kestra_community.dr.kestra_config_bundle, which needs no PyYAML, and read that on the worker host."
        ) from None

    class Loader(yaml.SafeLoader):
        """YAML 1.1 as Micronaut loads it: a timestamp stays text."""

    Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))
    return yaml, Loader


def parse_yaml(layer) -> dict:
    """The flat properties of one layer; several documents are merged, a later one wins.

    Raises ConfigError (reasons malformed_yaml, not_a_mapping) with file, line and column, never with the text.
    """
    yaml, loader = _yaml()
    flat = {}
    number = 0
    try:
        for number, document in enumerate(yaml.load_all(layer.text, Loader=loader), 1):
            if document is None:
                continue
            if not isinstance(document, dict):
                raise ConfigError(
                    f"{layer.name} holds {_kind(document)} where settings (name: value) are expected"
                    + (f" (document {number})." if number > 1 else "."), reason="not_a_mapping",
                    hint="It does not look like Kestra's configuration; check the path.",
                    detail={"file": layer.name, "document": number})
            flat.update(flatten(document))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise _malformed(layer, None if mark is None else mark.line + 1, None if mark is None else mark.column + 1,
                         type(exc).__name__) from None
    except yaml.reader.ReaderError as exc:
        position = exc.position if isinstance(exc.position, int) else 0
        raise _malformed(layer, layer.text.count("\n", 0, position) + 1, None, "ReaderError") from None
    except (ValueError, TypeError, RecursionError, OverflowError, AttributeError) as exc:
        raise _malformed(layer, None, None, type(exc).__name__) from None
    return flat


def _kind(value) -> str:
    return {"list": "a list", "str": "plain text"}.get(type(value).__name__, "a single value")


def _malformed(layer, line, column, kind) -> ConfigError:
    where = "" if line is None else f" at line {line}" + ("" if column is None else f", column {column}")
    return ConfigError(
        f"{layer.name} is not valid YAML{where} ({kind}).", reason="malformed_yaml",
        hint="Look for a tab, a wrong indentation, or an unquoted value that begins with @ % * & ! ` or contains ': '. "
             "The text is not shown here because it may hold secrets.",
        detail={"file": layer.name, "line": line, "column": column, "kind": kind})


_LINE = re.compile(r"(?P<indent>\s*)(?:- +)?[\"']?(?P<key>[A-Za-z_][\w.-]*)[\"']?\s*:(?:\s+(?P<value>.*))?")
_INLINE = re.compile(r"[{,]\s*[\"']?([A-Za-z_][\w.-]*)[\"']?\s*:")


def scan_keys(text) -> list:
    """Names of the settings in a YAML text that have a value, by indentation alone, in kebab case.

    For hosts without PyYAML: good enough to say which keys there are, not to read them. Inner keys of {a: {b: c}} are
    all put below the key of their line.
    """
    names, above = [], []
    for line in text.splitlines():
        if line.startswith("---"):
            above = []
        found = _LINE.fullmatch(line)
        if not found:
            continue
        indent, key = len(found["indent"]), normalise_key(found["key"])
        while above and above[-1][0] >= indent:
            above.pop()
        path = ".".join([name for _indent, name in above] + [key])
        value = (found["value"] or "").strip()
        if not value or value.startswith("#"):
            above.append((indent, key))
            continue
        if value.startswith("{"):
            names += [f"{path}.{normalise_key(inner)}" for inner in _INLINE.findall(value)]
        else:
            names.append(path)
    return names
