# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line. scripts/drill has checked its form already and answers --help: Python may be missing then."""
from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

EXIT_VERIFIED = 0
EXIT_NOT_RUN = 1
EXIT_DIFFERS = 2
EXIT_USAGE = 64  # sysexits.h EX_USAGE

SIZES = ("small", "medium", "large")
POINTS = ("offline", "pinned")
BACKENDS = ("postgresql", "mysql", "elasticsearch", "opensearch")
EDITIONS = ("oss", "enterprise")
STORAGES = ("local", "s3")


@dataclass
class Options:
    """What was asked: kestra and config are absolute paths or None (the lab's stand-in, on backend, as edition, with storage)."""

    kestra: str | None
    config: str | None
    backend: str
    edition: str
    storage: str
    size: str
    point: str
    keep: bool

    @property
    def engine(self) -> str:
        return engine_of(self.backend)


def engine_of(backend) -> str:
    """The engine that a backend is one of."""
    return "elasticsearch" if backend == "opensearch" else backend


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(EXIT_USAGE, f"scripts/drill: {message}. Try scripts/drill --help.\n")


def parse(argv) -> Options:
    """The options of one command line. Leaves the process with EXIT_USAGE when it is not valid."""
    parser = _Parser(prog="scripts/drill", add_help=False, allow_abbrev=False)
    parser.add_argument("--kestra")
    parser.add_argument("--config")
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--edition", choices=EDITIONS)
    parser.add_argument("--storage", choices=STORAGES)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--point", choices=POINTS, default="pinned")
    parser.add_argument("--keep", action="store_true")
    found = parser.parse_args(argv)
    if bool(found.kestra) != bool(found.config):
        parser.error("--kestra and --config belong together")
    if found.kestra and found.backend:
        parser.error("--backend is for the stand-in; with --kestra the configuration names the database")
    if found.kestra and found.edition:
        parser.error("--edition is for the stand-in; a real Kestra has its own")
    if found.kestra and found.storage:
        parser.error("--storage is for the stand-in; with --kestra the configuration names it")
    if found.edition == "enterprise" and found.storage == "s3":
        parser.error("--edition enterprise is on local storage only")
    if found.edition == "enterprise" and found.backend not in (None, "postgresql"):
        parser.error("--edition enterprise is on PostgreSQL only")
    if found.kestra:
        found.kestra, found.config = os.path.abspath(found.kestra), os.path.abspath(found.config)
        if not os.access(found.kestra, os.X_OK) or os.path.isdir(found.kestra):
            parser.error(f"{found.kestra} is not an executable file")
        if not os.path.isfile(found.config):
            parser.error(f"{found.config} is not a file")
    return Options(found.kestra, found.config, found.backend or BACKENDS[0], found.edition or EDITIONS[0],
                   found.storage or STORAGES[0], found.size, found.point, found.keep)
