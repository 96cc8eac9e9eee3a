# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump restored into a new or an empty schema, and compared with what it was taken from.

Nothing on the server is touched before the dump has proved whole: by its digest, or, for a dump without a manifest, by
reading all of it.
"""
from __future__ import annotations

from ...core.clock import Laps
from ...core.errors import IntegrityError
from ...core.manifest import compare_counts
from . import connect, definitions, inventory, script, source, target, versions
from .load import Loader

Options = target.Options


def restore(login, source_path, options, progress, *, expected=None) -> dict:
    """Restores a dump and compares. Returns {database, verdict, depth, counts, differences, warnings, format,
    compression, jobs, bytes, seconds {phase: s}, server_version, audited}.

    source_path: the dump, or the directory holding it. expected: the manifest's component (None: a foreign dump, read
    whole and counted first). progress: core.jobs.Progress; phases: checking, preflight, creating, restoring, analyzing,
    verifying, finished. verdict: "verified" (depth counts), "differs", or "unverified" (verify false, or rows that
    cannot be counted). Raises DrError; what is half-made is marked, and swept by the next attempt.
    """
    watch = Laps()
    progress.phase("checking")
    dump = source.inspect(source_path, expected, progress=progress)
    watch.lap("checking")
    progress.phase("preflight")
    place = target.preflight(login, dump, options)
    watch.lap("preflight")
    progress.phase("creating", database=options.database)
    target.prepare(login, dump, options, place)
    watch.lap("creating")
    progress.phase("restoring", database=options.database)
    load(login, dump, options, place, progress)
    watch.lap("restoring")
    progress.phase("analyzing")
    target.analyze(login, options)
    watch.lap("analyzing")
    result = {"database": options.database, "verdict": "unverified", "depth": None, "counts": None, "differences": [],
              "warnings": place.warnings, "format": "sql", "compression": dump.compression, "jobs": options.workers(),
              "server_version": versions.text_of(place.version), "bytes": dump.bytes, "audited": dump.audited}
    if options.verify:
        progress.phase("verifying")
        found = inventory.read(login, options.database, label=dump.expected["identity"]["database"], with_counts=True,
                               with_objects=True)
        result.update(judge(dump.expected, found,
                            same_release=dump.server_version[:2] == place.version[:2]))
        watch.lap("verifying")
    if result["verdict"] != "differs":
        target.proved(login, options)
    result["seconds"] = watch.laps
    progress.phase("finished", verdict=result["verdict"])
    return result


def load(login, dump, options, place, progress) -> None:
    """Puts the script into the schema. Raises DrError."""
    facts, position = script.Facts(), source.Position()
    total = dump.bytes
    try:
        with Loader(login, options.database, options.workers(), place.definers, options.idle_timeout) as loader:
            reader = facts.reader(loader.take)
            with source.blocks(dump.path, dump.compression, position) as blocks:
                for block in blocks:
                    reader.feed(block)
                    progress.update(position.bytes, total, message="loading")
            reader.finish()
            facts.finish()
    except connect.driver().Error as exc:
        raise connect.query_error(exc, f"restoring into {options.database}") from None
    if any(facts.counts[name] != loader.rows.get(name, 0) for name in facts.counts):
        raise IntegrityError("Rows of the dump were not loaded.", reason="internal")


def judge(expected, found, *, same_release=True) -> dict:
    """Compares a manifest's component with the inventory of a restored schema. Pure.

    Returns {verdict, depth, counts, differences [{kind, name, expected, found}]}.
    """
    wanted, counted = expected["counts"], dict(found["counts"])
    if expected.get("uncounted"):
        skipped = set(inventory.qualified(expected["identity"]["database"], dict.fromkeys(expected["uncounted"])))
        wanted = {name: rows for name, rows in wanted.items() if name not in skipped}
        counted = {name: rows for name, rows in counted.items() if name not in skipped}
    differences = [dict(item, kind="counts") for item in compare_counts(wanted, counted)]
    if expected.get("foreign"):
        known = {kind: dict.fromkeys(names) for kind, names in expected["names"].items()}
        differences += definitions.compare(dict(known, **expected["objects"]), found["objects"], same_release=False)
    else:
        differences += definitions.compare(expected["objects"], found["objects"], same_release=same_release)
    stamps = expected.get("generated_timestamps")
    if stamps is not None:
        differences += [dict(item, kind="generated_timestamps")
                        for item in compare_counts(stamps, found["generated_timestamps"])]
    complete = not expected.get("uncounted")
    return {"verdict": "differs" if differences else "verified" if complete else "unverified",
            "depth": "counts" if complete else "structure", "counts": found["counts"], "differences": differences}
