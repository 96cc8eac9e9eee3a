# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of Kestra's backends this version covers, and what to say about the others. Pure."""
from __future__ import annotations

import re

from . import buckets

# kestra.repository.type / kestra.queue.type -> the engine that holds the data
ENGINES = {"postgres": "postgresql", "mysql": "mysql", "h2": "h2", "sqlserver": "sqlserver",
           "elasticsearch": "elasticsearch", "memory": "memory"}
JDBC_TYPES = ("postgres", "mysql", "h2", "sqlserver")
COVERED_REPOSITORIES = ("postgres", "mysql", "elasticsearch")
COVERED_STORAGES = ("local", *buckets.TYPES)
# What may be shown of each storage type; the rest of its settings may be secret.
STORAGE_SETTINGS = {
    "local": ("base-path",),
    "s3": ("endpoint", "region", "bucket", "force-path-style", "path"),
    "s3files": ("mount-path", "bucket", "region"),
    "minio": ("endpoint", "port", "secure", "region", "bucket", "part-size", "vhost", "path"),
    "gcs": ("bucket", "project-id", "path"),
    "azure": ("endpoint", "container", "shared-key-account-name", "path"),
    "seaweedfs": ("filer-host", "filer-port", "prefix", "replication"),
    "cloudflare": ("bucket", "account-id", "path"),
}


def _problem(component, kind, reason, message, hint) -> dict:
    return {"component": component, "type": kind, "reason": reason, "message": message, "hint": hint}


_REPOSITORY_HINTS = {
    "h2": "H2 is meant for trying Kestra out: move to PostgreSQL (kestra.repository.type: postgres), or stop Kestra "
          "and copy the database file yourself.",
    "sqlserver": "Use SQL Server's own BACKUP DATABASE and RESTORE DATABASE, or move to PostgreSQL.",
    "memory": "It is gone at every stop, so there is nothing to back up: move to PostgreSQL.",
}


def repository_problems(kind, where) -> list:
    if kind is None:
        return [_problem("repository", None, "incomplete", f"kestra.repository.type is not set in {where}.",
                         "Name the files, the unit or the environment Kestra is started with.")]
    if kind in COVERED_REPOSITORIES:
        return []
    known = kind in ENGINES
    return [_problem("repository", kind, "unsupported_repository",
                     f"Kestra keeps its data in {kind} (kestra.repository.type), which "
                     + ("is not covered." if known else "is unknown to this collection."),
                     _REPOSITORY_HINTS.get(kind, "Covered: " + ", ".join(COVERED_REPOSITORIES) + "."))]


def queue_problems(repository, queue, version) -> list:
    if queue is None:
        return [_problem("queue", None, "incomplete", "kestra.queue.type is not set.",
                         "Name the files, the unit or the environment Kestra is started with.")]
    # With Elasticsearch it is in Kafka, and a restore fills it anew.
    expected = "kafka" if repository == "elasticsearch" else repository
    if queue == expected:
        return []
    if queue == "memory":
        return [_problem("queue", queue, "unsupported_queue",
                         "Kestra's queue is in memory (kestra.queue.type: memory); work under way is lost at every "
                         "stop and cannot be backed up.",
                         "Use the queue that belongs to the repository: kestra.queue.type: "
                         f"{expected if repository in COVERED_REPOSITORIES else 'postgres'}.")]
    if queue in JDBC_TYPES or version is None or _major(version) < 2:
        why = ("two different databases are not covered" if queue in JDBC_TYPES else
               "before Kestra 2.0 they have to match")
        return [_problem("queue", queue, "mixed_backends",
                         f"Kestra's repository is {repository or 'not set'} and its queue is {queue}; {why}.",
                         "Set kestra.queue.type to the repository's type. A mixed pair of Kestra 2.0 is not covered by "
                         "this version.")]
    return [_problem("queue", queue, "unsupported_queue",
                     f"Kestra's queue is {queue} (kestra.queue.type), which this version does not cover.",
                     "Covered: the queue in the same database as the repository (kestra.queue.type: postgres or mysql), and "
                     "Kafka with Elasticsearch.")]


def _major(version) -> int:
    found = re.match(r"v?(\d+)", str(version))
    return int(found.group(1)) if found else 0


def storage_problems(kind, where) -> list:
    if kind is None:
        return [_problem("storage", None, "incomplete", f"kestra.storage.type is not set in {where}.",
                         "Name the files, the unit or the environment Kestra is started with.")]
    if kind in COVERED_STORAGES:
        return []
    known = kind in STORAGE_SETTINGS
    return [_problem("storage", kind, "unsupported_storage",
                     f"Kestra's internal storage is {kind} (kestra.storage.type), which "
                     + ("is recognised but not covered." if known else "is unknown to this collection."),
                     "Covered: " + ", ".join(COVERED_STORAGES) + ".")]
