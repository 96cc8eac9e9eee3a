#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps Kestra's database from one moment."""
from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_dump
short_description: Dump Kestra's MySQL database from one pinned moment
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Runs C(mysqldump --single-transaction) of MySQL's own client, with routines, triggers and events, and without setting
    GTIDs, which the command of Kestra's documentation fails on.
  - For as long as C(mysqldump) takes to start, all tables of the database are locked for reading. In that time its snapshot
    and that of a second session are opened, so both show the same rows. The second session counts them exactly.
  - As soon as the phase C(pinned) is reached Kestra may run again. Its changes do not show in the dump.
  - What C(mysqldump) writes is read while it is written, and must hold the rows that were counted, every table, view,
    routine, trigger and event, and its last line.
  - Needs neither C(SUPER) nor C(RELOAD) nor C(PROCESS), so it works on managed services.
  - MariaDB's client, which many distributions install as C(mysqldump), is refused.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.mysql
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
      - It holds one file, C(database.sql) or C(database.sql.zst). C(mysql DATABASE < database.sql) restores it by hand.
    type: path
    required: true
  compress:
    description:
      - Compression on the way to the file. A restic repository compresses by itself and saves more when given
        uncompressed dumps.
      - V(zstd) needs the program C(zstd).
    type: str
    choices: [none, zstd]
    default: none
  compress_level:
    description: Level for O(compress). Default is V(3).
    type: int
  exclude_table_data:
    description:
      - Tables to dump without their rows, for example V(logs). The recovery point then lacks these rows.
      - Be careful with V(queues), which holds work that is still to be done.
    type: list
    elements: str
    default: []
  lock_timeout:
    description:
      - Seconds to wait for transactions that write, or for a table that is being altered; and the longest time writers are
        kept waiting for C(mysqldump) to start.
    type: float
    default: 10.0
  free_ratio:
    description:
      - Refuse when less than this share of the estimated size is free at O(dest). The estimate is 1.1 times the size of
        the rows, with V(zstd) 0.3 times.
      - V(0) switches the check off.
    type: float
    default: 1.0
  bin_dir:
    description: Directory of C(mysqldump). Default is to choose among those installed.
    type: path
seealso:
  - module: kestra_community.dr.mysql_restore
  - module: kestra_community.dr.job_wait
"""

EXAMPLES = r"""
- name: Dump the database Kestra's configuration names
  kestra_community.dr.mysql_dump:
    dest: /var/backups/kestra/database
    config:
      files: [/etc/kestra/application.yml]

- name: Dump with other credentials, detached
  kestra_community.dr.mysql_dump:
    dest: /var/backups/kestra/database
    login_host: db1.example.com
    login_user: backup
    login_password_file: /etc/kestra-dr/backup.password
    database: kestra
    ssl_mode: verify_identity
    ssl_ca: /etc/kestra-dr/ca.pem
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
      the server and the database, exact row counts, digests of definitions, counters, the longest statement, files with
      size and sha256.
  type: dict
  returned: success, not in check mode
  sample:
    engine: mysql
    format: sql
    identity: {database: kestra, server_uuid: 812a101d-e92f-11f1-9129-02fc00000001, server_version: "8.4.6"}
    counts: {kestra.flows: 12}
    locked_seconds: 0.111
    longest_statement: 1046312
    files:
      - {path: database.sql, size: 61413, sha256: 783d6dcfe676a8a1cb51863bb2a30034fcc0e4c602fefd6fcf0762ac0f2b78d3}
    bytes: 61413
tools:
  description: Versions of the programs used.
  type: dict
  returned: success
  sample: {mysqldump: "8.4.6"}
seconds:
  description: How long the dump took.
  type: float
  returned: success, not in check mode
plan:
  description: What was found before the dump.
  type: dict
  returned: success
  sample:
    client: "8.4.6"
    server_version: "8.4.6"
    database: kestra
    estimated_bytes: 276824064
    free_bytes: 85899345920
    exclude_table_data: []
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import dump, options
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql.engine import MySQL


def dump_options(params):
    """dump.Options from the module's parameters."""
    return dump.Options(
        compression=params["compress"], level=params["compress_level"], lock_timeout=params["lock_timeout"],
        exclude_table_data=tuple(params["exclude_table_data"]), free_ratio=params["free_ratio"], bin_dir=params["bin_dir"])


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        dest={"type": "path", "required": True},
        compress={"type": "str", "choices": list(dump.COMPRESSIONS), "default": "none"}, compress_level={"type": "int"},
        exclude_table_data={"type": "list", "elements": "str", "default": []},
        lock_timeout={"type": "float", "default": 10.0}, free_ratio={"type": "float", "default": 1.0},
        bin_dir={"type": "path"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        place = options.of_module(module, redactor)
        chosen = dump_options(module.params)
        dest = module.params["dest"]
        engine = MySQL(place.login, place.require_database(), redactor)
        if module.check_mode:
            plan = engine.preflight(dest, chosen)
            return {"changed": True, "dest": dest, "plan": facts.trust(module, plan),
                    "tools": {"mysqldump": plan["client"]}}

        def work(progress):
            component = engine.dump(dest, chosen, progress)
            plan = component.pop("plan")
            return {"dest": dest, "component": facts.trust(module, component), "tools": component["tools"],
                    "seconds": component["seconds"], "plan": facts.trust(module, plan)}

        question = dict(place.fingerprint(), dest=dest, options=vars(chosen))
        job = jobs.Job(module.params["job_dir"], "mysql_dump", jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        for name in ("component", "plan"):
            result[name] = facts.trust(module, result[name])
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
