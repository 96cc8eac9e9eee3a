#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps Kestra's database from one pinned moment."""
from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_dump
short_description: Dump Kestra's PostgreSQL database from one pinned moment
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Locks all tables for readers, exports a snapshot, and runs C(pg_dump) in exactly that snapshot, while exact row
    counts and the definitions
    of all objects are read in it as well.
  - As soon as the phase C(pinned) is reached Kestra may run again. Its changes do not show in the dump, and no
    migration can disturb it.
  - If the session that holds the snapshot is lost, by a restart or failover of the server, the dump fails and leaves
    nothing behind.
  - The dump is written beside O(dest) and renamed when it is on disk, has its digests, and holds the rows that were
    counted.
  - The client programs of the server's own version are used where installed, else the nearest newer ones; older ones
    are refused.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.postgresql
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Connects, checks privileges, versions and space, and returns the plan.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Every run takes a new dump, unless O(job_dir) holds the result of a finished run with the same options.
options:
  dest:
    description:
      - Directory the dump is to be, on the host the module runs on. It must not exist, its parent must.
      - With O(format=directory) it is what C(pg_dump -F d) writes; with the others it holds the one file
        C(database.dump), C(database.tar) or
        C(database.sql).
    type: path
    required: true
  format:
    description:
      - V(directory) is dumped and restored by parallel jobs. V(custom) is restored by parallel jobs.
      - V(tar) is what Kestra's documentation uses. It is slower to restore, and C(pg_restore) does not notice when
        such a file is cut.
      - V(plain) is a script for C(psql), without owners and privileges.
    type: str
    choices: [directory, custom, tar, plain]
    default: directory
  jobs:
    description: Parallel jobs for O(format=directory). Default is one per core, at most four.
    type: int
  compress:
    description:
      - Compression by C(pg_dump). A restic repository compresses by itself and saves more when given uncompressed
        dumps.
      - V(lz4) and V(zstd) need C(pg_dump) 16 or newer that was built with them.
    type: str
    choices: [none, gzip, lz4, zstd]
    default: none
  compress_level:
    description: Level for O(compress).
    type: int
  exclude_table_data:
    description:
      - Tables to dump without their rows, for example V(public.logs). The recovery point then lacks these rows.
      - Be careful with V(queues), which holds work that is still to be done.
    type: list
    elements: str
    default: []
  only_schema:
    description: Dump only O(schema) instead of the whole database, where the database holds more than Kestra.
    type: bool
    default: false
  lock_timeout:
    description: Seconds to wait for a table that is being altered.
    type: float
    default: 10.0
  free_ratio:
    description:
      - Refuse when less than this share of the estimated size is free at O(dest). The estimate is 0.6 of the size of the
        tables.
      - V(0) switches the check off.
    type: float
    default: 1.0
  bin_dir:
    description: Directory of C(pg_dump). Default is to choose among those installed.
    type: path
seealso:
  - module: kestra_community.dr.postgresql_restore
  - module: kestra_community.dr.job_wait
"""

EXAMPLES = r"""
- name: Dump the database Kestra's configuration names
  kestra_community.dr.postgresql_dump:
    dest: /var/backups/kestra/database
    config:
      files: [/etc/kestra/application.yml]

- name: Dump with other credentials, detached, and wait until Kestra may start
  kestra_community.dr.postgresql_dump:
    dest: /var/backups/kestra/database
    login_host: db1.example.com
    login_user: backup
    login_password_file: /etc/kestra-dr/backup.password
    database: kestra
    ssl_mode: verify-full
    ssl_root_cert: /etc/kestra-dr/ca.pem
    jobs: 4
    job_dir: /var/backups/kestra/jobs/database
  async: 86400
  poll: 0
  register: started

- name: Wait for the pin
  kestra_community.dr.job_wait:
    job_dir: /var/backups/kestra/jobs/database
    results_file: "{{ started.results_file }}"
    until: pinned
    timeout: 60
    on_timeout: abort
"""

RETURN = r"""
dest:
  description: The directory of the dump.
  type: str
  returned: success
component:
  description:
    - What the manifest of a recovery point holds about the database, without the place in the repository. Identity of
      the server and the
      database, exact row counts, digests of definitions, sequences, time zone, files with size and sha256.
  type: dict
  returned: success, not in check mode
  sample:
    engine: postgresql
    format: directory
    identity: {database: kestra, database_oid: 16384, server_version: "15.18", system_identifier: "7711155429201047172"}
    counts: {public.flows: 12}
    timezone: UTC
    files: [{path: toc.dat, size: 61413, sha256: 783d6dcfe676a8a1cb51863bb2a30034fcc0e4c602fefd6fcf0762ac0f2b78d3}]
    bytes: 61413
tools:
  description: Versions of the programs used.
  type: dict
  returned: success
  sample: {pg_dump: "15.18"}
seconds:
  description: How long the dump took.
  type: float
  returned: success, not in check mode
plan:
  description: What was found before the dump.
  type: dict
  returned: success
  sample:
    client: "15.18"
    server_version: "15.18"
    database: kestra
    estimated_bytes: 276824064
    free_bytes: 85899345920
    jobs: 2
    exclude_table_data: []
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, not in check mode
warnings:
  description: What deserves a look though the dump is good.
  type: list
  elements: str
  returned: when there are any
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import dump, options
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.engine import PostgreSQL


def dump_options(params, schema):
    """dump.Options from the module's parameters."""
    return dump.Options(
        format=params["format"], jobs=params["jobs"], compression=params["compress"], level=params["compress_level"],
        exclude_table_data=tuple(params["exclude_table_data"]), schemas=(schema,) if params["only_schema"] else None,
        lock_timeout=params["lock_timeout"], free_ratio=params["free_ratio"], bin_dir=params["bin_dir"])


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        dest={"type": "path", "required": True},
        format={"type": "str", "choices": list(dump.FORMATS), "default": "directory"},
        jobs={"type": "int"}, compress={"type": "str", "choices": ["none", "gzip", "lz4", "zstd"], "default": "none"},
        compress_level={"type": "int"}, exclude_table_data={"type": "list", "elements": "str", "default": []},
        only_schema={"type": "bool", "default": False}, lock_timeout={"type": "float", "default": 10.0},
        free_ratio={"type": "float", "default": 1.0}, bin_dir={"type": "path"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        place = options.of_module(module, redactor)
        chosen = dump_options(module.params, place.schema)
        dest = module.params["dest"]
        engine = PostgreSQL(place.login, place.require_database(), place.schema, redactor)
        if module.check_mode:
            plan = engine.preflight(dest, chosen)
            return {"changed": True, "dest": dest, "plan": facts.trust(module, plan),
                    "tools": {"pg_dump": plan["client"]}}

        def work(progress):
            component = engine.dump(dest, chosen, progress)
            plan = component.pop("plan")
            return {"dest": dest, "component": facts.trust(module, component), "tools": component["tools"],
                    "seconds": component["seconds"], "plan": facts.trust(module, plan),
                    "warnings": dump.describe_timezone(component)}

        question = dict(place.fingerprint(), dest=dest, options=vars(chosen))
        job = jobs.Job(module.params["job_dir"], "postgresql_dump", jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        for warning in result.pop("warnings"):
            module.warn(warning)
        for name in ("component", "plan"):
            result[name] = facts.trust(module, result[name])
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
