# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of the internal storage the rows of Kestra's database name. Pure.

Kestra writes them as kestra:///<namespace as path>/<flow>/executions/<execution>/{inputs,tasks,trigger}/..., and opens
the path that is left when percent signs are decoded, below the tenant's directory if there is a tenant. Seen in rows:
a value that is a URI and nothing else, in inputs, outputs and results of tasks. In messages of logs and in sources of
flows a URI stands in a text.
"""
from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .info import FINISHED

SCHEME = "kestra://"
# What every row that names a file holds.
NEEDLE = SCHEME + "/"

# Tables of executions and of work that waits. What is named anywhere else (logs, sources, messages of queues, which
# Kestra keeps for a while after they were read) is not needed to go on.
WAITING = frozenset(("execution_queued", "execution_running", "worker_job_running", "subflow_executions"))
_NEEDING = WAITING | {"executions", "task_outputs", "execution_outputs"}

# What a path is named as. REFERENCE: needed. UNFINISHED: by work that goes on after a restore. DELETED: by a result
# that says it was deleted, or by an execution that is marked as deleted.
REFERENCE, UNFINISHED, DELETED = 1, 2, 4

_URI = re.compile(r"kestra:///[^\s\"'<>`\\^{}|\x00-\x1f\x7f]+")
_QUOTED = re.compile(r'"(kestra:///[^"\\]+)"')
_ION_DELETED = re.compile(r"\bdeleted\s*:\s*true\b")
_EXECUTION = re.compile(rb"(?s)(.+?/executions/[0-9A-Za-z]+)(?:/(?:inputs|tasks|trigger)/.*|/[^/]+)?")


class Named(NamedTuple):
    """A file that is named. path: below the storage's base directory. owner: "namespace/flow" it belongs to, or "".

    date: when what names it began, as ISO 8601 text, or "".
    """

    path: bytes
    flags: int
    date: str
    owner: str


def path_of(uri, tenant=None):
    """The path below the storage's base directory that Kestra opens for a URI, or None for one it refuses."""
    text = re.split("[?#]", uri[len(SCHEME):], maxsplit=1)[0].encode("utf-8", "surrogatepass")
    parts = [part for part in unquote_to_bytes(text).split(b"/") if part not in (b"", b".")]
    if not parts or ".." in uri or b".." in parts:
        return None
    return b"/".join(([tenant.encode("utf-8", "surrogatepass")] if tenant else []) + parts)


def execution_of(path: bytes):
    """The directory of the execution that a file belongs to, or the path itself if it is one; else None."""
    found = _EXECUTION.fullmatch(path)
    return found.group(1) if found else None


def named(table, row):
    """Yields what a row names, each path once. row: {column: text} of the columns that are not generated."""
    found: dict = {}
    for column in sorted(row):
        document = _document(row[column])
        if document is not None:
            about = _about(table, document, row)
            uris = _in_document(document, table in _NEEDING)
        else:
            about = _About(row.get("tenant_id"), "", UNFINISHED if table in WAITING else 0)
            uris = _in_text(row[column], table in _NEEDING)
        for uri, flags in uris:
            path = path_of(uri, about.tenant)
            if path is not None:
                known = found.get(path, (0, about))[0]
                found[path] = (known | flags | (about.flags if flags & REFERENCE else 0), about)
    for path, (flags, about) in found.items():
        yield Named(path, flags, about.date, owner_of(path, about.tenant))


def owner_of(path, tenant=None) -> str:
    """"namespace/flow" of the execution a file belongs to, as the path tells them, or ""."""
    directory = execution_of(path)
    if directory is None:
        return ""
    parts = directory.decode("utf-8", "replace").split("/")[1 if tenant else 0:-2]
    return ".".join(parts[:-1]) + "/" + parts[-1]


class _About(NamedTuple):
    tenant: str | None
    date: str
    flags: int


def _document(text):
    """The JSON object or list in a column, or None for a column of another kind."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except ValueError:  # a text in ION, in which Kestra 2 keeps results of tasks
        return None


def _about(table, document, row) -> _About:
    """Of a row as a whole: its tenant, when it began, and what is true of everything it names."""
    layers = [document] if isinstance(document, dict) else []
    layers += [layer[key] for layer in layers[:1] for key in ("execution", "taskRun", "flow")
               if isinstance(layer.get(key), dict)]
    tenant = next((layer["tenantId"] for layer in layers if isinstance(layer.get("tenantId"), str)),
                  row.get("tenant_id"))
    flags, date = UNFINISHED if table in WAITING else 0, ""
    for layer in layers:
        state = layer.get("state")
        state = state if isinstance(state, dict) else {}
        date = date or next((value for value in (
            state.get("startDate"), _first_date(state), layer.get("timestamp")) if isinstance(value, str)), "")
        if table == "executions" and layer is document:
            if isinstance(state.get("current"), str) and state["current"] not in FINISHED:
                flags |= UNFINISHED
            if layer.get("deleted") is True:
                flags |= DELETED
    return _About(tenant, date, flags)


def _first_date(state):
    histories = state.get("histories")
    first = histories[0] if isinstance(histories, list) and histories else None
    return first.get("date") if isinstance(first, dict) else None


def _in_document(document, needing):
    """Yields (uri, flags) of everything in a JSON value."""
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if needing and value.get("deleted") is True and isinstance(value.get("uri"), str) \
                    and _URI.fullmatch(value["uri"]):
                yield value["uri"], REFERENCE | DELETED
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and NEEDLE in value:
            if needing and _URI.fullmatch(value):
                yield value, REFERENCE
            else:
                yield from _mentioned(value)


def _in_text(text, needing):
    """Yields (uri, flags) of a text that is no JSON: a URI by itself, a text in ION, a source."""
    if needing and _URI.fullmatch(text):
        yield text, REFERENCE
        return
    if needing:
        deleted = DELETED if _ION_DELETED.search(text) else 0
        for uri in _QUOTED.findall(text):
            if _URI.fullmatch(uri):
                yield uri, REFERENCE | deleted
    yield from _mentioned(text)


def _mentioned(text):
    for uri in _URI.findall(text):
        # A sentence goes on after it; and a directory is no file.
        uri = uri.rstrip(".,;:!?)]")
        if len(uri) > len(NEEDLE) and not uri.endswith("/"):
            yield uri, 0
