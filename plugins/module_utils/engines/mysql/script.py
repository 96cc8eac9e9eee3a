# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A script as mysqldump writes it, taken apart: its statements, its rows counted, its end checked. Pure.

The same reader counts rows while a dump is written, audits a dump somebody else made, and feeds a restore. It keeps one
statement in memory, as the server has to.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...core.errors import IntegrityError, RefusedError
from . import names

CHUNK = 1 << 20
# The protocol's own limit of a statement (max_allowed_packet), and a little more.
LONGEST = (1 << 30) + 1024

FOOTER = b"-- Dump completed"
# Written whether there are any or not, if mysqldump was asked for them.
_SECTIONS = (b"-- Dumping routines for database ", b"-- Dumping events for database ")

_NAME = rb"`(?:[^`]|``)+`"
_INSERT = re.compile(rb"\s*(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO\s+(" + _NAME + rb")\s*(?:\((?:\s*" + _NAME
                     + rb"\s*,?)+\)\s*)?VALUES\s*", re.IGNORECASE)
_CALL = re.compile(rb"[A-Za-z0-9_]\s*\(")
_DELIMITER = re.compile(rb"\s*DELIMITER\s+(\S+)\s*", re.IGNORECASE)
_VERSION = re.compile(rb"/\*!\d{5,6}\s?|\*/")
_REMARK = re.compile(rb"\A(?:\s*/\*(?![!]).*?\*/)+", re.DOTALL)
_DEFINER = re.compile(rb"(?:/\*!\d{5,6}\s+)?DEFINER\s*=\s*(" + _NAME + rb"@" + _NAME + rb")(?:\s*\*/)?\s?")
_AUTO_INCREMENT = re.compile(rb"^\) .*?\bAUTO_INCREMENT=(\d+)", re.MULTILINE)
_HEADERS = (
    ("dump", re.compile(rb"-- (MySQL|MariaDB) dump \S+\s+Distrib (\S+?),")),
    ("server", re.compile(rb"-- Server version\t(\S+)")),
    ("database", re.compile(rb"-- Host: .*?\s{2,}Database: (.*)")),
)

# kind -> what its statement begins with, once conditional comments are taken away. First match counts.
_MAYBE = rb"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
_DEFINED = rb"CREATE\s+(?:OR\s+REPLACE\s+)?(?:ALGORITHM\s*=\s*\w+\s+)?(?:DEFINER\s*=\s*\S+\s+)?(?:SQL\s+SECURITY\s+\w+\s+)?"
_TARGET = rb"((?:" + _NAME + rb"\.)?" + _NAME + rb")"
_KINDS = tuple((kind, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for kind, pattern in (
    ("gtid", rb"SET\s+@@GLOBAL\.GTID_PURGED"),
    ("binlog", rb"SET\s+(?:@@SESSION\.SQL_LOG_BIN|@MYSQLDUMP_TEMP_LOG_BIN)"),
    ("set", rb"SET\s"),
    ("table", rb"CREATE\s+TABLE\s+" + _MAYBE + _TARGET),
    ("view", _DEFINED + rb"VIEW\s+" + _TARGET),
    ("routine", _DEFINED + rb"(?:FUNCTION|PROCEDURE)\s+" + _MAYBE + _TARGET),
    ("trigger", _DEFINED + rb"TRIGGER\s+" + _MAYBE + _TARGET),
    ("event", _DEFINED + rb"EVENT\s+" + _MAYBE + _TARGET),
    ("drop", rb"DROP\s+(?:TABLE|VIEW|FUNCTION|PROCEDURE|EVENT|TRIGGER)\s+" + _MAYBE + _TARGET),
    ("lock", rb"(?:LOCK\s+TABLES|UNLOCK\s+TABLES)\b"),
    ("keys", rb"ALTER\s+TABLE\s+" + _TARGET + rb"\s+(?:DISABLE|ENABLE)\s+KEYS"),
    ("use", rb"USE\s+(" + _NAME + rb")"),
    ("database", rb"(?:CREATE|DROP)\s+DATABASE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s*)?\s*(" + _NAME + rb")"),
    ("statistics", rb"ANALYZE\s+TABLE\s"),
))


def damaged(why, **detail) -> IntegrityError:
    """The error for a dump that is not whole."""
    return IntegrityError(f"The dump is damaged: {why}.", reason="dump_damaged",
                          hint="Nothing was restored. Use another copy of it, or another recovery point.", detail=detail)


@dataclass
class Statement:
    """One statement. kind: insert, one of _KINDS, or other. name: the table or object, None where there is none.

    text: without its delimiter. rows: of an insert, None when they cannot be counted.
    """

    kind: str
    name: str | None
    text: bytes
    rows: int | None = None


def insert(text, end=b"") -> Statement | None:
    """text as an INSERT statement that ends with end, or None when it is none or not complete. Pure."""
    head = _INSERT.match(text)
    if not head:
        return None
    outside = outside_strings(text[head.end():])
    bare = None if outside is None else outside.rstrip()
    if bare is None or not bare.endswith(end) or b";" in bare[:len(bare) - len(end)]:
        return None
    # Every row has one opening parenthesis, unless its values call functions, which mysqldump never writes.
    rows = None if _CALL.search(outside) else outside.count(b"(")
    return Statement("insert", names.unquoted(head.group(1)), text, rows)


def outside_strings(text):
    """text without its strings in single quotes; None when one has no end. Pure.

    Much faster than an expression that follows the escapes: what is escaped is taken away first, pairs of backslashes
    before quotes, so that every quote left is one that begins or ends a string.
    """
    parts = text.replace(b"\\\\", b"").replace(b"\\'", b"").split(b"'")
    return b"".join(parts[::2]) if len(parts) % 2 else None


def classify(text) -> Statement:
    """A statement by what it begins with. Raises RefusedError when it reaches into another schema. Pure."""
    found = insert(text)
    if found:
        return found
    head = _VERSION.sub(b"", _REMARK.sub(b"", text[:4096])).lstrip()
    if re.match(rb"(?:INSERT|REPLACE)\s", head, re.IGNORECASE):
        return Statement("insert", None, text)
    for kind, pattern in _KINDS:
        match = pattern.match(head)
        if match:
            return Statement(kind, _name(match.group(1), text) if pattern.groups else None, text)
    return Statement("other", None, text)


def _name(raw, text):
    parts = re.findall(_NAME, raw)
    if len(parts) > 1:
        raise RefusedError("The dump names tables of another schema: " + shown(text) + ".", reason="dump_unsupported",
                           hint="mysqldump does not write this. Make the dump again, of one database.")
    return names.unquoted(parts[0])


def shown(text) -> str:
    """The beginning of a statement, for messages; values of rows are not shown."""
    head = _INSERT.match(text)
    return " ".join(text[:head.end() if head else 80].decode("utf-8", "replace").split())[:80]


def without_definer(text) -> tuple:
    """(a CREATE statement without its DEFINER, that account as the script writes it or None). Pure."""
    found = _DEFINER.search(text[:4096])
    if not found:
        return text, None
    return text[:found.start()] + text[found.end():], found.group(1).decode("utf-8", "replace")


class Reader:
    """Takes a script in blocks and hands out its statements and comments.

    on_statement(Statement), on_comment(line). finish() after the last block.
    """

    def __init__(self, on_statement, on_comment=None):
        self._on_statement, self._on_comment = on_statement, on_comment
        self._parts: list = []
        self._size = 0
        self._delimiter = b";"
        self._special = _special(b";")
        self._text: list = []
        self._inside = None

    def feed(self, block) -> None:
        """Takes the next bytes."""
        start = 0
        while True:
            end = block.find(b"\n", start) + 1
            if not end:
                self._parts.append(block[start:])
                self._size += len(block) - start
                if self._size > LONGEST:
                    raise damaged("a line is longer than any server takes")
                return
            line = block[start:end]
            if self._parts:
                line = b"".join(self._parts) + line
                self._parts, self._size = [], 0
            start = end
            self._line(line)

    def finish(self) -> None:
        """Ends the script. Raises IntegrityError when a statement has no end."""
        if self._parts:
            line, self._parts = b"".join(self._parts), []
            self._line(line)
        if self._inside is not None or b"".join(self._text).strip():
            raise damaged("it ends inside a statement")

    def _line(self, line) -> None:
        if not self._text:
            if self._delimiter == b";" and line[:1] in b"IR":
                found = insert(line, b";")
                if found:
                    found.text = line.rstrip()[:-1]
                    self._on_statement(found)
                    return
            if not line.strip():
                return
            # MariaDB's mysqldump begins with /*M!999999\- enable the sandbox mode */.
            if line.startswith((b"--", b"#", b"/*M!")):
                if self._on_comment:
                    self._on_comment(line)
                return
            found = _DELIMITER.fullmatch(line)
            if found:
                self._delimiter = found.group(1)
                self._special = _special(self._delimiter)
                return
        self._scan(line)

    def _scan(self, line) -> None:
        """Follows the quoting up to the delimiter; several statements may share a line."""
        start = at = 0
        while at < len(line):
            if self._inside is not None:
                at = self._leave(line, at)
                continue
            found = self._special.search(line, at)
            if not found:
                break
            token, at = found.group(), found.end()
            if token == self._delimiter:
                self._text.append(line[start:found.start()])
                self._emit()
                start = at
            elif token in (b"#", b"--"):
                if not self._text and not line[start:found.start()].strip():
                    return  # nothing but a remark
                break
            else:
                self._inside = b"*/" if token == b"/*" else token
        rest = line[start:]
        if self._text or rest.strip():
            self._text.append(rest)

    def _leave(self, line, at):
        if self._inside in (b"'", b'"'):
            found = re.compile(rb"\\.|" + self._inside, re.DOTALL).search(line, at)
            if not found:
                return len(line)
            if found.group() == self._inside:
                # A doubled quote ends one string and begins another one, which comes to the same.
                self._inside = None
            return found.end()
        end = line.find(self._inside, at)
        if end < 0:
            return len(line)
        end += len(self._inside)
        self._inside = None
        return end

    def _emit(self) -> None:
        text, self._text = b"".join(self._text).strip(), []
        if text:
            self._on_statement(classify(text))


def _special(delimiter):
    # Code in conditional comments (/*! and /*+) is code: only its quotes matter.
    return re.compile(rb"'|\"|`|#|--(?=\s)|/\*(?![!])|" + re.escape(delimiter))


@dataclass
class Facts:
    """What a script holds, gathered while it is read. longest: bytes of its longest statement."""

    counts: dict = field(default_factory=dict)
    uncounted: list = field(default_factory=list)
    objects: dict = field(default_factory=lambda: {"tables": [], "views": [], "routines": [], "triggers": [], "events": []})
    auto_increment: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)
    sections: list = field(default_factory=list)
    databases: list = field(default_factory=list)
    definers: list = field(default_factory=list)
    gtid: bool = False
    time_zones: bool = False
    complete: bool = False
    longest: int = 0

    def reader(self, on_statement=None) -> Reader:
        """A reader that gathers into these facts, and passes each statement on."""
        if on_statement is None:
            return Reader(self.statement, self.comment)

        def both(statement):
            self.statement(statement)
            on_statement(statement)

        return Reader(both, self.comment)

    def comment(self, line) -> None:
        """Takes a comment line."""
        if line.startswith(FOOTER):
            self.complete = True
        elif line.startswith(_SECTIONS):
            self.sections.append(line.split()[2].decode("ascii"))
        for name, pattern in _HEADERS:
            if name not in self.headers:
                found = pattern.match(line)
                if found:
                    self.headers[name] = tuple(part.decode("utf-8", "replace").strip() for part in found.groups())

    def statement(self, statement) -> None:
        """Takes a statement. Raises IntegrityError for one behind the end."""
        kind, name, text = statement.kind, statement.name, statement.text
        self.longest = max(self.longest, len(text))
        if name in names.OWN_TABLES:
            return
        if kind == "insert":
            self._insert(statement)
        if self.complete and kind not in ("gtid", "binlog"):
            raise damaged("something follows the script's end")
        if kind == "other" or (kind == "insert" and name is None):
            raise RefusedError(f"The dump holds a statement mysqldump does not write there: {shown(text)}.",
                               reason="statement_unexpected",
                               hint="Look at the file before you trust it. Make the dump again with mysqldump.")
        if kind == "gtid":
            self.gtid = True
        elif kind in ("use", "database"):
            if name not in self.databases:
                self.databases.append(name)
        elif kind in ("table", "view", "routine", "trigger", "event"):
            self._object(kind + "s", name, text)

    def _insert(self, statement) -> None:
        if statement.rows is None:
            if statement.name not in self.uncounted:
                self.uncounted.append(statement.name)
            return
        self.counts[statement.name] = self.counts.get(statement.name, 0) + statement.rows

    def _object(self, kind, name, text) -> None:
        if name not in self.objects[kind]:
            self.objects[kind].append(name)
        if b"CONVERT_TZ" in text.upper():
            self.time_zones = True
        if kind == "tables":
            self.counts.setdefault(name, 0)
            found = _AUTO_INCREMENT.search(text)
            if found:
                self.auto_increment[name] = int(found.group(1))
            return
        definer = without_definer(text)[1]
        if definer and definer not in self.definers:
            self.definers.append(definer)

    def finish(self) -> None:
        """Raises IntegrityError unless the script has its end."""
        if "dump" not in self.headers:
            raise IntegrityError("The file is no dump by mysqldump.", reason="not_a_dump",
                                 hint="Expected is what mysqldump writes, with its comments.")
        if not self.complete:
            raise damaged("it lacks its last line (Dump completed)")


class RowFilter:
    """Takes the rows of some tables out of what mysqldump writes: it cannot leave them out itself."""

    _DATA = re.compile(rb"-- Dumping data for table (" + _NAME + rb")\n")

    def __init__(self, tables):
        self._tables = set(tables)
        self._inside = False
        self._parts: list = []

    def lines(self, block):
        """The whole lines up to the end of the next block that are to stay, as bytes."""
        end = block.rfind(b"\n") + 1
        if not end:
            self._parts.append(block)
            return b""
        whole = b"".join([*self._parts, block[:end]])
        self._parts = [block[end:]]
        return b"".join(line for line in re.findall(rb"[^\n]*\n", whole) if self._stays(line))

    def rest(self) -> bytes:
        """What follows the last line."""
        return b"".join(self._parts)

    def _stays(self, line):
        found = self._DATA.fullmatch(line) if line.startswith(b"-- Dumping data") else None
        if found:
            self._inside = names.unquoted(found.group(1)) in self._tables
        # One line for each INSERT, with every newline of a value escaped; other lines cannot begin so in this section.
        elif self._inside and line.startswith(b"UNLOCK TABLES"):
            self._inside = False
        return not (self._inside and line.startswith(b"INSERT INTO "))
