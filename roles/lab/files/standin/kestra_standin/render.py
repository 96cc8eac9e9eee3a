# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small part of Kestra's {{ }} expressions: paths, indexes, literals, ~, ==, a few functions and filters."""
from __future__ import annotations

import base64
import re

from . import values


class RenderError(Exception):
    """An expression that names something unknown or is not understood."""


_TOKEN = re.compile(r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|
    (?P<mark>\?\?|==|!=|[.\[\](),|~]))""", re.X)
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.S)
_MISSING = object()


def plain(value):
    """A value as text, like a template prints it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return values.dumps(value)
    return str(value)


class Renderer:
    """Renders texts and nested structures with variables.

    functions: name -> callable, for what needs more than the variables (read, kv, secret).
    """

    def __init__(self, variables, functions=None):
        self.variables = variables
        self.functions = {"now": lambda: values.iso(values.now()), "uuid": values.new_id}
        self.functions.update(functions or {})

    def render(self, thing):
        """A copy with every {{ }} replaced."""
        if isinstance(thing, str):
            return _EXPRESSION.sub(lambda match: plain(self.evaluate(match.group(1))), thing)
        if isinstance(thing, dict):
            return {self.render(key): self.render(value) for key, value in thing.items()}
        if isinstance(thing, list):
            return [self.render(value) for value in thing]
        return thing

    def value(self, thing):
        """Like render, but a text that is one whole expression gives that expression's value."""
        if isinstance(thing, str):
            match = re.match(r"^\s*\{\{((?:(?!\}\}).)*)\}\}\s*$", thing, re.S)
            if match:
                return self.evaluate(match.group(1))
        return self.render(thing)

    def evaluate(self, text):
        """The value of one expression."""
        tokens, place = [], 0
        text = text.strip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if not match:
                raise RenderError("Unexpected character in expression {{ %s }}" % text)
            tokens.append((match.lastgroup, match.group(match.lastgroup)))
            place = match.end()
        parser = _Parser(tokens, self, text)
        found = parser.expression()
        if parser.place != len(tokens):
            raise RenderError("Unable to parse {{ %s }}" % text)
        if found is _MISSING:
            raise RenderError("Unable to find `%s` used in the expression `{{ %s }}`" % (text, text))
        return found


class _Parser:
    def __init__(self, tokens, renderer, text):
        self.tokens, self.renderer, self.text, self.place = tokens, renderer, text, 0

    def peek(self):
        return self.tokens[self.place] if self.place < len(self.tokens) else (None, None)

    def take(self, mark=None):
        kind, text = self.peek()
        if mark is not None and (kind != "mark" or text != mark):
            raise RenderError("Expected %s in {{ %s }}" % (mark, self.text))
        self.place += 1
        return kind, text

    def expression(self):
        left = self.filtered()
        while self.peek() in (("mark", "~"), ("mark", "??"), ("mark", "=="), ("mark", "!=")):
            _kind, mark = self.take()
            right = self.filtered()
            if mark == "~":
                left = plain(left) + plain(right)
            elif mark == "??":
                left = right if left is _MISSING or left is None else left
            else:
                left = (plain(left) == plain(right)) == (mark == "==")
        return left

    def filtered(self):
        left = self.operand()
        while self.peek() == ("mark", "|"):
            self.take()
            _kind, name = self.take()
            arguments = self.arguments() if self.peek() == ("mark", "(") else []
            left = self.filter(name, left, arguments)
        return left

    def filter(self, name, value, arguments):
        if name == "default":
            return arguments[0] if value is _MISSING or value is None else value
        if value is _MISSING:
            return value
        simple = {"upper": lambda: plain(value).upper(), "lower": lambda: plain(value).lower(),
                  "trim": lambda: plain(value).strip(), "length": lambda: len(value),
                  "json": lambda: values.dumps(value), "toJson": lambda: values.dumps(value),
                  "first": lambda: value[0], "last": lambda: value[-1],
                  "base64encode": lambda: base64.b64encode(plain(value).encode()).decode()}
        if name not in simple:
            raise RenderError("Filter [%s] does not exist" % name)
        return simple[name]()

    def arguments(self):
        self.take("(")
        found = []
        while self.peek() != ("mark", ")"):
            found.append(self.expression())
            if self.peek() == ("mark", ","):
                self.take()
        self.take(")")
        return found

    def operand(self):
        kind, text = self.take()
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind == "mark" and text == "(":
            found = self.expression()
            self.take(")")
            return found
        if kind != "name":
            raise RenderError("Unable to parse {{ %s }}" % self.text)
        if text in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text]
        if self.peek() == ("mark", "("):
            if text not in self.renderer.functions:
                raise RenderError("Function [%s] does not exist" % text)
            found = self.renderer.functions[text](*self.arguments())
        else:
            found = self.renderer.variables.get(text, _MISSING)
        while self.peek() in (("mark", "."), ("mark", "[")):
            _kind, mark = self.take()
            if mark == ".":
                _kind, key = self.take()
            else:
                key = self.expression()
                self.take("]")
            found = _step(found, key)
        return found


def _step(value, key):
    if isinstance(value, list):
        try:
            return value[int(key)]
        except (ValueError, IndexError):
            return _MISSING
    if isinstance(value, dict):
        return value.get(plain(key), _MISSING)
    return _MISSING
