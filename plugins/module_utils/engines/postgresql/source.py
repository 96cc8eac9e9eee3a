# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump as something to restore from: proved whole before any server is touched."""
from __future__ import annotations

import os
from dataclasses import dataclass, field

from .. import unfinished
from . import archive, audit, plain, versions


@dataclass
class Source:
    """A dump that was found whole. expected: the manifest's component, or what the dump itself tells."""

    format: str
    path: str
    expected: dict
    toc: object
    server_version: tuple
    dump_version: tuple
    warnings: list
    audited: bool
    optional: dict = field(default_factory=dict)


def inspect(source, expected=None, *, bin_dir=None, progress=None) -> Source:
    """Proves a dump whole without touching any server. expected: the manifest's component, None for a foreign dump.

    Raises IntegrityError for a dump that is cut, changed or incomplete, StateError when there is none.
    """
    if expected is not None:
        directory = source if os.path.isdir(source) else os.path.dirname(source)
        unfinished.verify_files(directory, expected["files"], progress)
        dump_format, path = archive.detect(source)
        toc = None if dump_format == "plain" else archive.open_toc(dump_format, path)
        server = expected["identity"]["server_version"]
        wrote = toc.dump_version if toc else (expected.get("tools") or {}).get("pg_dump", server)
        found = Source(dump_format, path, expected, toc, versions.parse(server), versions.parse(wrote), [], False)
        if dump_format == "plain":
            found.optional = plain.audit(path)["optional"]
        return found
    dump_format, path = archive.detect(source)
    total, done = audit.total_bytes(path), [0]

    def advance(count):
        done[0] += count
        if progress:
            progress.update(done[0], max(total, done[0]), message="reading the dump")

    clients = versions.find_clients(bin_dir)
    report = audit.audit(path, client=clients and max(clients, key=lambda item: item.version) or None, on_bytes=advance)
    toc = None if dump_format == "plain" else archive.open_toc(dump_format, path)
    return Source(dump_format, path, from_audit(report), toc, versions.parse(report["server_version"]),
                  versions.parse(report["dump_version"]), report["warnings"], True, report.get("optional", {}))


def from_audit(report) -> dict:
    """What a foreign dump tells of itself, in the form of a manifest's component; definitions are unknown. Pure."""
    return {"format": report["format"], "foreign": True, "timezone": None,
            "counts": report["counts"], "uncounted": report["uncounted"],
            "objects": {"sequences": report["sequences"]} if report["sequences"] else None,
            "identity": {"system_identifier": None, "database": report["database"], "encoding": report["encoding"],
                         "server_version": report["server_version"]},
            "generated_timestamps": None, "settings": [], "grantees": []}
