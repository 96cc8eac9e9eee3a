# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files as systemd reads them (EnvironmentFile=, systemd.exec(5)). Pure."""
from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = " \t\r"


class _Parser:
    """The state machine of systemd's env-file.c; each method takes one character and returns the next state."""

    def __init__(self):
        self.found = {}
        self.key = self.value = ""
        self.keep = 0  # length of value that must not be trimmed (quoted or escaped)

    def push(self):
        name = self.key.strip()
        if _NAME.fullmatch(name):
            self.found[name] = self.value[:self.keep] + self.value[self.keep:].rstrip(_BLANK)
        self.key = self.value = ""
        self.keep = 0
        return self.pre_key

    def take(self, char, kept):
        self.value += char
        if kept:
            self.keep = len(self.value)

    def pre_key(self, char):
        if char in "#;":
            return self.comment
        if char.isspace():
            return self.pre_key
        self.key = char
        return self.in_key

    def in_key(self, char):
        if char == "\n":
            self.key = ""
            return self.pre_key
        if char == "=":
            return self.pre_value
        self.key += char
        return self.in_key

    def pre_value(self, char):
        if char == "\n":
            return self.push()
        if char == "'":
            return self.single
        if char == '"':
            return self.double
        if char == "\\":
            return self.escape
        if char in _BLANK:
            return self.pre_value
        self.take(char, False)
        return self.in_value

    def in_value(self, char):
        if char == "\n":
            return self.push()
        if char == "\\":
            return self.escape
        self.take(char, False)
        return self.in_value

    def escape(self, char):
        if char != "\n":
            self.take(char, True)
        return self.in_value

    def single(self, char):
        if char == "'":
            return self.pre_value
        self.take(char, True)
        return self.single

    def double(self, char):
        if char == '"':
            return self.pre_value
        if char == "\\":
            return self.double_escape
        self.take(char, True)
        return self.double

    def double_escape(self, char):
        if char in '"\\`$':
            self.take(char, True)
        elif char != "\n":
            self.take("\\" + char, True)
        return self.double

    def comment(self, char):
        return self.pre_key if char == "\n" else self.comment


def parse(text) -> dict:
    """{name: value} of an environment file. Lines without = and invalid names are skipped, as systemd does."""
    parser = _Parser()
    state = parser.pre_key
    for char in text:
        state = state(char)
    if state not in (parser.pre_key, parser.in_key, parser.comment):
        parser.push()
    return parser.found


def quote(value) -> str:
    """value so that parse() and systemd give it back: double quotes, with the four special signs escaped."""
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'
