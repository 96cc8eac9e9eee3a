# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A script in SQL as pg_dump -Fp writes it: its rows counted, its end checked, and nothing in it that would make psql
run a program. Pure but for the one file it reads.

psql interprets a backslash anywhere outside quotes and comments as a command of its own, and some of these start
programs on this host. So the script is read with psql's rules of quoting before psql sees it.
"""
from __future__ import annotations

import re

from ...core.errors import IntegrityError, RefusedError
from . import names
from .archive import damaged
from .rows import CHUNK, END

FOOTER = b"-- PostgreSQL database dump complete"

# What changes the meaning of the bytes that follow, outside quotes.
_SPECIAL = re.compile(rb"'|\"|\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$|--|/\*|\\|;")
_IN_COMMENT = re.compile(rb"/\*|\*/")
_IN_ESCAPED = re.compile(rb"\\.|'", re.DOTALL)
_WORD = re.compile(rb"[A-Za-z0-9_$\x80-\xff]")
_HEADER = re.compile(rb"-- Dumped (from database|by pg_dump) version (\S+)")
_ENCODING = re.compile(rb"SET client_encoding = '([A-Za-z0-9_]+)';")
_SETVAL = re.compile(rb"SELECT pg_catalog\.setval\('((?:[^']|'')+)', (-?\d+), (true|false)\);")
# One statement a line, as pg_dump prints them. What a restore may have to leave out.
_OPTIONAL = (
    ("owner", re.compile(rb"ALTER [A-Z ]+ .* OWNER TO .*;\n")),
    ("privileges", re.compile(rb"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) .*;\n")),
    ("transaction_timeout", re.compile(rb"SET transaction_timeout = 0;\n")),
)
_COPY = re.compile(rb"COPY (.+?) +(?:\(.*\) )?FROM stdin;\n", re.DOTALL)


class Lexer:
    """Follows the quoting of SQL over the lines of a script. neutral: outside of every quote and comment."""

    def __init__(self):
        self._inside = None  # None or the text that ends what we are in; b"*/" with a depth
        self._depth = 0
        self._escaped = False
        self.pending = False  # a statement has begun and its semicolon has not come

    @property
    def neutral(self) -> bool:
        return self._inside is None

    def feed(self, line):
        """Takes one line. Returns the psql command in it (from its backslash to the line's end), or None."""
        at = 0
        while at < len(line):
            if self._inside is not None:
                at = self._leave(line, at)
                continue
            found = _SPECIAL.search(line, at)
            if line[at:found.start() if found else len(line)].strip():
                self.pending = True
            if not found:
                return None
            token, start, at = found.group(), found.start(), found.end()
            if token == b"\\":
                return line[start:].rstrip(b"\r\n")
            if token == b"--":
                return None
            if token == b";":
                self.pending = False
            elif token == b"/*":
                self._inside, self._depth = b"*/", 1
            else:
                at = self._enter(line, token, start, at)
        return None

    def _enter(self, line, token, start, at):
        before = line[start - 1:start]
        self.pending = True
        if token.startswith(b"$") and _WORD.match(before):
            return start + 1  # a dollar inside an identifier
        self._inside = token
        # E'…' knows backslash escapes; the letter must stand alone.
        self._escaped = token == b"'" and before in (b"E", b"e") and not _WORD.match(line[start - 2:start - 1] or b" ")
        return at

    def _leave(self, line, at):
        if self._inside == b"*/":
            found = _IN_COMMENT.search(line, at)
            if not found:
                return len(line)
            self._depth += 1 if found.group() == b"/*" else -1
            if self._depth == 0:
                self._inside = None
            return found.end()
        if self._escaped:
            found = _IN_ESCAPED.search(line, at)
            if not found:
                return len(line)
            if found.group() != b"'":
                return found.end()
            end = found.start()
        else:
            end = line.find(self._inside, at)
            if end < 0:
                return len(line)
        at = end + len(self._inside)
        if len(self._inside) == 1 and line[at:at + 1] == self._inside:
            return at + 1  # a doubled quote stays inside
        self._inside, self._escaped = None, False
        return at


class _Script:
    """What one pass over the script has found."""

    def __init__(self):
        self.server_version = self.dump_version = self.encoding = self.key = None
        self.counts: dict = {}
        self.sequences: dict = {}
        self.optional: dict = {kind: [] for kind, unused in _OPTIONAL}
        self.complete = self.unrestricted = self.inserts = False


def audit(path, on_bytes=None) -> dict:
    """Reads the whole script. Returns {server_version, dump_version, encoding, counts, sequences, restricted, inserts,
    optional {owner, privileges, transaction_timeout: [(offset, length)] of statements a restore may leave out}}.

    Raises IntegrityError when it is cut, RefusedError when psql would do more with it than send SQL and rows.
    """
    script, lexer = _Script(), Lexer()
    statement, copying = b"", False
    with open(path, "rb") as handle:
        while True:
            line = handle.readline()
            if not line:
                break
            if on_bytes:
                on_bytes(len(line))
            fresh = lexer.neutral and not lexer.pending
            if fresh:
                _notice(script, line)
                statement = b""
                for kind, pattern in _OPTIONAL:
                    if pattern.fullmatch(line):
                        script.optional[kind].append((handle.tell() - len(line), len(line)))
            command = lexer.feed(line)
            if command is not None:
                _command(script, command, fresh)
                continue
            if fresh:
                copying = line.startswith(b"COPY ")
            if copying:
                statement += line
                if lexer.neutral and not lexer.pending:
                    copying = False
                    found = _COPY.fullmatch(statement)
                    if found:
                        _rows(script, handle, found.group(1), on_bytes)
    _finish(script, lexer)
    return {"server_version": script.server_version, "dump_version": script.dump_version, "encoding": script.encoding,
            "counts": script.counts, "sequences": script.sequences, "restricted": script.key is not None,
            "inserts": script.inserts, "optional": script.optional}


def without(path, ranges):
    """Yields the bytes of a script but for [(offset, length)]."""
    at = 0
    with open(path, "rb") as handle:
        for start, length in sorted(ranges) + [(None, 0)]:
            while start is None or at < start:
                block = handle.read(CHUNK if start is None else min(CHUNK, start - at))
                if not block:
                    return
                at += len(block)
                yield block
            handle.seek(length, 1)
            at += length


def _notice(script, line) -> None:
    if script.complete and line.strip() and not line.startswith((b"--", b"\\unrestrict ")):
        raise damaged("something follows the script's end")
    if line.startswith(b"--"):
        if line.startswith(FOOTER):
            script.complete = True
        found = _HEADER.match(line)
        if found and found.group(1) == b"by pg_dump":
            script.dump_version = found.group(2).decode("ascii", "replace")
        elif found:
            script.server_version = found.group(2).decode("ascii", "replace")
    elif line.startswith(b"INSERT INTO "):
        script.inserts = True
    elif line.startswith(b"SET client_encoding"):
        found = _ENCODING.match(line)
        script.encoding = found.group(1).decode("ascii") if found else None
    elif line.startswith(b"SET standard_conforming_strings = off"):
        raise RefusedError("The script was written with standard_conforming_strings off.", reason="dump_unsupported",
                           hint="Make the dump again with that setting on (the default).")
    elif line.startswith(b"SELECT pg_catalog.setval("):
        found = _SETVAL.match(line)
        if not found:
            raise damaged("the value of a sequence cannot be read")
        name = _display(found.group(1).replace(b"''", b"'"))
        script.sequences[name] = {"last_value": int(found.group(2)), "is_called": found.group(3) == b"true"}


def _display(raw) -> str:
    return names.display(*names.parse(raw.decode("utf-8", "surrogateescape")))


def _command(script, command, fresh) -> None:
    word, unused, argument = command.partition(b" ")
    if fresh and word == b"\\restrict" and script.key is None and not script.counts:
        script.key = argument
    elif fresh and word == b"\\unrestrict" and argument == script.key and script.complete and not script.unrestricted:
        script.unrestricted = True
    elif word in (b"\\connect", b"\\c"):
        raise RefusedError("The script connects to databases by itself: it was made with --create or by pg_dumpall.",
                           reason="dump_unsupported", hint="Make it again without --create, one database at a time.")
    else:
        shown = word[:40].decode("ascii", "replace")
        raise RefusedError(f"The script holds the psql command {shown}, which pg_dump does not write there.",
                           reason="psql_command", hint="Do not run it: such commands can start programs on this host.")


def _rows(script, handle, raw_name, on_bytes) -> None:
    """Counts rows up to the line "\\." and leaves the handle behind it."""
    table = _display(raw_name)
    rows, rest = 0, b""
    while True:
        start = handle.tell() - len(rest)
        block = rest + handle.read(CHUNK)
        if len(block) == len(rest):
            raise damaged(f"the script ends inside the rows of {table}", table=table)
        end = 0 if block.startswith(END) else block.find(b"\n" + END) + 1
        if end or block.startswith(END):
            script.counts[table] = rows + block.count(b"\n", 0, end)
            handle.seek(start + end + len(END))
            if on_bytes:
                on_bytes(end + len(END))
            return
        whole = block.rfind(b"\n") + 1
        rows += block.count(b"\n")
        rest = block[whole:]
        if on_bytes:
            on_bytes(whole)


def _finish(script, lexer) -> None:
    if script.server_version is None and script.dump_version is None:
        raise IntegrityError("The file is no dump in any format of pg_dump.", reason="not_a_dump",
                             hint="Expected is what pg_dump writes with -F d, c, t or p.")
    if not script.complete or not lexer.neutral or lexer.pending:
        raise damaged("the script lacks its end")
    if script.key is not None and not script.unrestricted:
        raise damaged("the script lacks its last line")
