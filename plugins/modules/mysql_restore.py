#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a dump into a new or an empty database, and compares."""
from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_restore
short_description: Restore a MySQL dump of Kestra into a new or an empty database, and compare
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Proves the dump whole before any server is touched. With O(component) or O(manifest), size and sha256 are compared; a
    dump without a manifest, such as a C(kestra.sql) made by the command of Kestra's documentation, is read whole, and its
    own row counts become the expected ones. Its GTIDs are left out, and missing routines are told.
  - Checks before it begins what would fail or go wrong in the middle. The server's version, C(max_allowed_packet) against
    the longest statement, time zone tables, C(log_bin_trust_function_creators), privileges.
  - Restores into a database it creates, or into an existing empty one. It never goes over existing data.
  - Rows are loaded by several sessions at once. Statements go to the server without the client C(mysql), so nothing in a
    dump can be a command of that program; statements C(mysqldump) does not write are refused.
  - Afterwards all rows are counted and all definitions, counters and generated times compared. It fails when anything
    differs.
  - What a failed attempt has left is removed by the next attempt, and by nothing else.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.mysql
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Proves the dump whole, and checks the target server and its versions, settings and databases.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: A database that exists is refused, unless O(job_dir) holds the result of a finished run with the same
      options.
options:
  source:
    description: The dump (C(*.sql), C(*.sql.zst), C(*.sql.gz)), or the directory that holds it, on the host the module runs
      on.
    type: path
    required: true
  component:
    description: The component C(database) of the recovery point's manifest.
    type: dict
  manifest:
    description: The manifest file of the recovery point, in place of O(component).
    type: path
  target:
    description: Name of the database to restore into.
    type: str
    required: true
  create:
    description:
      - Create O(target). With V(false) it must exist and be empty, as on managed services where accounts may not create
        databases.
    type: bool
    default: true
  jobs:
    description: Sessions that load rows at once. Default is one per core, at most four.
    type: int
  verify:
    description: Count and compare after the restore.
    type: bool
    default: true
  fail_on_difference:
    description: Fail when the comparison finds a difference. With V(false) it is only reported.
    type: bool
    default: true
  idle_timeout:
    description: Seconds the server may take for one statement; then the restore is ended.
    type: float
    default: 600.0
seealso:
  - module: kestra_community.dr.mysql_dump
  - module: kestra_community.dr.mysql_database
"""

EXAMPLES = r"""
- name: Restore a recovery point beside the live database
  kestra_community.dr.mysql_restore:
    source: /var/lib/kestra-dr/restore/database
    manifest: /var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3/manifest.json
    target: kestra_dr_20261123t001500z_a1b2c3
    login_host: db1.example.com
    login_user: admin
    login_password_file: /etc/kestra-dr/mysql.password

- name: Import a kestra.sql made by hand into an empty database
  kestra_community.dr.mysql_restore:
    source: /root/kestra.sql
    target: kestra
    create: false
    config:
      files: [/etc/kestra/application.yml]
"""

RETURN = r"""
database:
  description: The database restored into.
  type: str
  returned: success
verdict:
  description: V(verified) when everything was compared and equal, V(differs), or V(unverified) when it was not or
    could not be compared.
  type: str
  returned: success, not in check mode
  sample: verified
depth:
  description: How deep the comparison went, V(counts) or V(structure).
  type: str
  returned: success, not in check mode
counts:
  description: Rows of every table after the restore, named as in the dumped database. In check mode those the dump holds.
  type: dict
  returned: success
  sample: {kestra.flows: 12}
differences:
  description: What differs, each with its kind, name, and what was expected and found.
  type: list
  elements: dict
  returned: success, not in check mode
format:
  description: Format of the dump.
  type: str
  returned: success
compression:
  description: How the file is compressed.
  type: str
  returned: success
  sample: zstd
audited:
  description: Whether the dump had no manifest and was read whole instead.
  type: bool
  returned: success
jobs:
  description: Sessions that loaded rows at once.
  type: int
  returned: success, not in check mode
server_version:
  description: Version of the target server.
  type: str
  returned: success
bytes:
  description: Size of the dump.
  type: int
  returned: success, not in check mode
seconds:
  description: How long each phase took.
  type: dict
  returned: success, not in check mode
  sample: {checking: 0.5, preflight: 0.1, creating: 0.1, restoring: 31.0, analyzing: 1.2, verifying: 0.3}
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import components, facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import options, source, target, versions
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql.engine import MySQL


def restore_options(params):
    """target.Options from the module's parameters."""
    return target.Options(database=params["target"],
                          **{name: params[name] for name in ("create", "jobs", "verify", "idle_timeout")})


def rehearse(place, params, component, chosen):
    """The result of check mode: the dump is whole and the target would take it."""
    dump = source.inspect(params["source"], component)
    found = target.preflight(place.login, dump, chosen)
    return {"changed": True, "database": chosen.database, "counts": dump.expected["counts"], "format": "sql",
            "compression": dump.compression, "audited": dump.audited, "warnings": found.warnings,
            "server_version": versions.text_of(found.version)}


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        source={"type": "path", "required": True}, component={"type": "dict"}, manifest={"type": "path"},
        target={"type": "str", "required": True}, create={"type": "bool", "default": True}, jobs={"type": "int"},
        verify={"type": "bool", "default": True}, fail_on_difference={"type": "bool", "default": True},
        idle_timeout={"type": "float", "default": 600.0})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE + [("component", "manifest")])
    redactor = facts.FactRedactor()

    def body(module):
        place = options.of_module(module, redactor)
        component = components.expected(module.params)
        chosen = restore_options(module.params)
        if module.check_mode:
            result = rehearse(place, module.params, component, chosen)
        else:
            result = run(module, place, component, chosen)
        for warning in result.pop("warnings"):
            module.warn(warning)
        return facts.trust(module, result)

    def run(module, place, component, chosen):
        engine = MySQL(place.login, chosen.database, redactor)

        def work(progress):
            result = engine.restore(module.params["source"], chosen, progress, component)
            if result["differences"] and module.params["fail_on_difference"]:
                raise components.different(result)
            return facts.trust(module, result)

        question = dict(place.fingerprint(), source=module.params["source"], component=component, options=vars(chosen))
        job = jobs.Job(module.params["job_dir"], "mysql_restore", jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
