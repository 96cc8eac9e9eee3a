# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Micronaut's ${NAME:default} placeholders, as Kestra's configuration files use them. Pure.

Rules (micronaut-core, DefaultPropertyPlaceholderResolver): a default may be quoted with backticks; without them every
colon starts a further name to look up, and only what follows the last colon is the default. ${A:localhost:5432} is
therefore A, else a property called localhost, else 5432. Braces are balanced here, so that a default may itself be a
placeholder. ${random.…} is invented by Kestra at every start and cannot be known: it stays as it is.
"""
from __future__ import annotations

import re

_RANDOM = re.compile(r"\s?random\.")


class Unresolved(Exception):
    """A placeholder has neither a value nor a default. names: what was looked up, in order."""

    def __init__(self, names):
        super().__init__("unresolved placeholder")
        self.names = list(names)


class Malformed(Exception):
    """A ${ without its closing brace."""


def parse(text) -> list:
    """Splits text into str segments and (body,) tuples for placeholders. Raises Malformed."""
    segments, position = [], 0
    while True:
        start = text.find("${", position)
        if start < 0:
            if position < len(text):
                segments.append(text[position:])
            return segments
        if start > position:
            segments.append(text[position:start])
        end = _closing(text, start + 2)
        segments.append((text[start + 2:end],))
        position = end + 1


def _closing(text, position) -> int:
    depth = 1
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
            position += 2
            continue
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise Malformed()


def split(body) -> tuple:
    """The body of a placeholder as (names, default); default is None when there is none, a str otherwise."""
    parts, current, position = [], "", 0
    while position < len(body):
        if body.startswith("${", position):
            end = _closing(body, position + 2)
            current += body[position:end + 1]
            position = end + 1
            continue
        if body[position] == ":":
            parts.append(current)
            rest = body[position + 1:]
            if len(rest) > 1 and rest.startswith("`") and rest.find("`", 1) > 1:
                return [part.strip() for part in parts], rest[1:rest.find("`", 1)]
            current = ""
        else:
            current += body[position]
        position += 1
    parts.append(current)
    if len(parts) == 1:
        return [parts[0].strip()], None
    return [part.strip() for part in parts[:-1]], parts[-1]


def has_ambiguous_default(text) -> bool:
    """Whether a placeholder in text has a default with an unquoted colon, which is seldom what its writer meant."""
    try:
        return any(isinstance(segment, tuple) and not _RANDOM.match(segment[0]) and len(split(segment[0])[0]) > 1
                   for segment in parse(text))
    except Malformed:
        return False


def resolve(text, lookup) -> str:
    """text with its placeholders replaced.

    lookup(name) returns the value of a property or environment variable as str, or None when it is not set (set but
    empty is a value). Raises Unresolved and Malformed.
    """
    out = []
    for segment in parse(text):
        if isinstance(segment, str):
            out.append(segment)
            continue
        body = segment[0]
        if _RANDOM.match(body):
            out.append("${" + body + "}")
            continue
        names, default = split(body)
        for name in names:
            value = lookup(name)
            if value is not None:
                out.append(value)
                break
        else:
            if default is None:
                raise Unresolved(names)
            out.append(resolve(default, lookup))
    return "".join(out)
