# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump restored into a new or an empty database, and compared with what it was taken from.

Nothing on the server is touched before every file of the dump has proved whole: by its digests, or, for a dump
without a manifest, by reading all of it.
"""
from __future__ import annotations

from ...core.clock import Laps
from ...core.manifest import compare_counts
from . import audit, definitions, inventory, source, target
from .work import Run

Options = target.Options


def restore(login, source_path, options, progress, *, expected=None, redactor=None) -> dict:
    """Restores a dump and compares. Returns {database, verdict, counts, differences, warnings, timezone, split_tables,
    rows, bytes, seconds {phase: s}, server_version, client}.

    source_path: the dump, or the directory holding it. expected: the manifest's component (None: a foreign dump, read
    whole and counted first). progress: core.jobs.Progress; phases: checking, preflight, creating, restoring, analyzing,
    verifying, finished. verdict: "verified" (depth counts), "differs", or "unverified" (nothing to compare with, or
    verify false). Raises DrError; what is half-made is then dropped or marked, and swept by the next attempt.
    """
    watch = Laps()
    progress.phase("checking")
    dump = source.inspect(source_path, expected, bin_dir=options.bin_dir, progress=progress)
    watch.lap("checking")
    progress.phase("preflight")
    place = target.preflight(login, dump, options)
    watch.lap("preflight")
    progress.phase("creating", database=options.database)
    target.prepare(login, dump, options, place)
    watch.lap("creating")
    progress.phase("restoring", database=options.database)
    run = Run(login, dump, options, place, progress, redactor)
    run.all()
    watch.lap("restoring")
    progress.phase("analyzing")
    target.finish(login, options, place)
    watch.lap("analyzing")
    result = {"database": options.database, "verdict": "unverified", "depth": None, "counts": None, "differences": [],
              "warnings": place.warnings, "timezone": place.zone, "split_tables": run.split, "format": dump.format,
              "server_version": ".".join(str(part) for part in place.version), "client": place.client.text,
              "bytes": audit.total_bytes(dump.path), "audited": dump.audited}
    if options.verify:
        progress.phase("verifying")
        found = inventory.read(login, options.database, role_name=place.role, with_counts=True, with_objects=True)
        target.forget_marker(found)
        result.update(judge(dump.expected, found, same_major=dump.server_version[0] == place.version[0]))
        watch.lap("verifying")
    if result["verdict"] != "differs":
        target.proved(login, options, place)
    result["seconds"] = watch.laps
    progress.phase("finished", verdict=result["verdict"])
    return result


def judge(expected, found, *, same_major=True) -> dict:
    """Compares a manifest's component with the inventory of a restored database. Pure.

    Returns {verdict, depth, counts, differences [{kind, name, expected, found}]}.
    """
    counted = dict(found["counts"])
    if expected.get("foreign"):
        # A foreign dump names only the tables it has rows for; in INSERT statements they were not counted.
        counted = {name: rows for name, rows in counted.items()
                   if name in expected["counts"] or (rows and not expected["uncounted"])}
    differences = [dict(item, kind="counts") for item in compare_counts(expected["counts"], counted)]
    objects = expected.get("objects")
    if objects and objects.get("tables") is not None:
        differences += definitions.compare(objects, found["objects"], same_major=same_major)
    elif objects:
        known = {name: found["objects"]["sequences"].get(name) for name in objects["sequences"]}
        differences += definitions.compare(
            {"sequences": objects["sequences"]},
            {"sequences": {name: value for name, value in known.items() if value is not None}})
    stamps = expected.get("generated_timestamps")
    if stamps is not None:
        differences += [dict(item, kind="generated_timestamps")
                        for item in compare_counts(stamps, found["generated_timestamps"])]
    complete = not expected.get("uncounted")
    verdict = "differs" if differences else "verified" if complete else "unverified"
    return {"verdict": verdict, "depth": "counts" if complete else "structure", "counts": found["counts"],
            "differences": differences}
