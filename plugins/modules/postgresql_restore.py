#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a dump into a new or an empty database, and compares."""
from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore
short_description: Restore a PostgreSQL dump of Kestra into a new or an empty database, and compare
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Proves the dump whole before any server is touched. With O(component) or O(manifest), size and sha256 of every
    file are compared; a dump
    without a manifest, such as a C(kestra.tar) made by the command of Kestra's documentation, is read whole by a
    parser of its own,
    which finds what C(pg_restore) does not, and its own row counts become the expected ones.
  - Restores into a database it creates, or into an existing empty one. It never goes over existing data.
  - Big tables are loaded by several C(COPY) streams at once, which C(pg_restore --jobs) does not do; C(pg_restore)
    does the rest.
  - Sets the time zone the rows were written in, because Kestra's generated columns C(executions.start_date) and
    C(end_date) would
    silently shift otherwise.
  - Afterwards all rows are counted and all definitions, sequences and generated times compared. It fails when
    anything differs.
  - What a failed attempt has left is removed by the next attempt, and by nothing else.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.postgresql
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Proves the dump whole, and checks the target server and its versions, roles and databases.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: A database that exists is refused, unless O(job_dir) holds the result of a finished run with the same
      options.
options:
  source:
    description: The dump, or the directory that holds it, on the host the module runs on.
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
      - Create O(target). With V(false) it must exist and be empty, as on managed services where roles may not create
        databases.
    type: bool
    default: true
  owner:
    description:
      - Role that is to own the database and everything in it. Default is the role that connects.
      - Owners recorded in the dump are not used.
    type: str
  owner_password:
    description: With it, O(owner) is created as a login role if it does not exist.
    type: str
  locale:
    description: Locale of the created database, in place of the recorded one.
    type: str
  jobs:
    description: Parallel connections. Default is one per core, at most eight.
    type: int
  split_share:
    description:
      - Tables that take more than this share of all rows' bytes are loaded by O(jobs) streams. V(0) leaves everything
        to C(pg_restore).
    type: float
    default: 0.2
  timezone:
    description: Time zone of the restore. Default is the one in O(component), else V(UTC).
    type: str
  privileges:
    description: Restore privileges granted to other roles too. These roles must exist.
    type: bool
    default: false
  verify:
    description: Count and compare after the restore.
    type: bool
    default: true
  fail_on_difference:
    description: Fail when the comparison finds a difference. With V(false) it is only reported.
    type: bool
    default: true
  idle_timeout:
    description: Seconds without any sign of work on the server after which the restore is ended.
    type: float
    default: 600.0
  bin_dir:
    description: Directory of C(pg_restore) and C(psql). Default is to choose among those installed.
    type: path
seealso:
  - module: kestra_community.dr.postgresql_dump
  - module: kestra_community.dr.postgresql_database
"""

EXAMPLES = r"""
- name: Restore a recovery point beside the live database
  kestra_community.dr.postgresql_restore:
    source: /var/lib/kestra-dr/restore/database
    manifest: /var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3/manifest.json
    target: kestra_dr_20261123t001500z_a1b2c3
    owner: kestra
    login_host: db1.example.com
    login_user: postgres
    login_password_file: /etc/kestra-dr/postgres.password

- name: Import a kestra.tar made by hand into an empty database of a managed service
  kestra_community.dr.postgresql_restore:
    source: /root/kestra.tar
    target: kestra
    create: false
    timezone: Europe/Berlin
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
  description: Rows of every table after the restore. In check mode those the dump holds.
  type: dict
  returned: success
  sample: {public.flows: 12}
differences:
  description: What differs, each with its kind, name, and what was expected and found.
  type: list
  elements: dict
  returned: success, not in check mode
timezone:
  description: The time zone restored in.
  type: str
  returned: success
split_tables:
  description: Tables loaded by several streams.
  type: list
  elements: str
  returned: success, not in check mode
format:
  description: Format of the dump.
  type: str
  returned: success
audited:
  description: Whether the dump had no manifest and was read whole instead.
  type: bool
  returned: success
client:
  description: Version of the client programs.
  type: str
  returned: success
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
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import options, source, target
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.engine import PostgreSQL


def restore_options(params):
    """target.Options from the module's parameters."""
    names = ("create", "owner", "owner_password", "locale", "jobs", "split_share", "timezone", "privileges", "verify",
             "idle_timeout", "bin_dir")
    return target.Options(database=params["target"], **{name: params[name] for name in names})


def rehearse(place, params, component, chosen):
    """The result of check mode: the dump is whole and the target would take it."""
    dump = source.inspect(params["source"], component, bin_dir=chosen.bin_dir)
    found = target.preflight(place.login, dump, chosen)
    return {"changed": True, "database": chosen.database, "counts": dump.expected["counts"], "format": dump.format,
            "timezone": found.zone, "client": found.client.text, "audited": dump.audited, "warnings": found.warnings,
            "server_version": ".".join(str(part) for part in found.version)}


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        source={"type": "path", "required": True}, component={"type": "dict"}, manifest={"type": "path"},
        target={"type": "str", "required": True}, create={"type": "bool", "default": True}, owner={"type": "str"},
        owner_password={"type": "str", "no_log": True}, locale={"type": "str"}, jobs={"type": "int"},
        split_share={"type": "float", "default": 0.2}, timezone={"type": "str"},
        privileges={"type": "bool", "default": False}, verify={"type": "bool", "default": True},
        fail_on_difference={"type": "bool", "default": True}, idle_timeout={"type": "float", "default": 600.0},
        bin_dir={"type": "path"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE + [("component", "manifest")])
    redactor = facts.FactRedactor()

    def body(module):
        place = options.of_module(module, redactor)
        redactor.add(module.params["owner_password"])
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
        engine = PostgreSQL(place.login, chosen.database, place.schema, redactor)

        def work(progress):
            result = engine.restore(module.params["source"], chosen, progress, component)
            if result["differences"] and module.params["fail_on_difference"]:
                raise components.different(result)
            return facts.trust(module, result)

        question = dict(place.fingerprint(), source=module.params["source"], component=component,
                        options={name: value for name, value in vars(chosen).items() if name != "owner_password"})
        job = jobs.Job(module.params["job_dir"], "postgresql_restore", jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
