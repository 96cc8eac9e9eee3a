#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves a sealed recovery point."""
from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point_verify
short_description: Prove that a sealed recovery point can be restored
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Reads a recovery point back from the repository and compares it with its manifest, as deep as O(depth) says.
  - The result is recorded beside the manifest, and backed up with it. Nothing of Kestra's is touched.
  - Fails when anything differs or cannot be read; the verdict is recorded then too. All return values are then also in
    C(detail), where M(kestra_community.dr.job_wait) shows them.
  - Fails without recording anything when the verification could not be done, for example without a connection.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.restic
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Checks the manifest and its lists in the vault directory and that the repository opens; records nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each run is a verification of its own.
notes:
  - "At the depth V(references) a file counts as named when a column of the database holds its URI, C(kestra:///...). Rows
    of executions and of work that waits need the files they name; logs, sources of flows and messages of queues only
    mention them. What the storage holds was proved by then, so that being in its list is being there."
  - "A missing file that is needed is C(lost), and the recovery point C(differs), when work that goes on after a restore
    names it; when other files of the same execution are still there; or when not one of the files needed is there,
    which means that this is not the storage of this database."
  - "Missing and no difference, only counted: C(purged), when nothing is left of the execution the file belongs to and
    what names it has ended (Kestra deletes the files of an execution as a whole, and may keep its row: C(PurgeExecutions)
    with C(purgeExecution) false); C(deleted), when a result in the database says so (C(Delete),
    C(PurgeCurrentExecutionFiles)) or the execution is marked as deleted; C(changeable), a namespace file, a key, a state
    or a cache; C(mentioned), in a text. C(gone_since_pin) says how many of all were there when the database was pinned."
  - Files of executions that no row names are counted as orphans, and never deleted. Results of tasks that Kestra 2 puts
    into files of their own are not opened, so files named only there count as orphans.
  - Not looked up are values of keys and namespace files by the tables in which Kestra 1.1 and newer lists them.
options:
  id:
    description: Id of the recovery point, V(latest) or V(latest_verified).
    type: str
    required: true
  depth:
    description:
      - V(digest) reads everything out of the repository and compares sizes, digests, names, owners, modes and times. Refused
        for a recovery point whose snapshot of Elasticsearch is not in the vault.
      - V(structure) also reads the whole dump and counts the rows in it.
      - V(counts) also restores the dump into a scratch server and compares every count and definition. Only this
        and what is deeper earns the verdict C(verified).
      - V(references) also looks up every file that the restored database names in the list of the storage. See the
        notes for what a missing file means.
    type: str
    choices: [digest, structure, counts, references]
    default: counts
  references_percent:
    description:
      - Part of the named files that V(references) looks up. All of them cost one pass over the tables and the list,
        and little memory. With less, files that no row names cannot be counted.
    type: int
    default: 100
  references_seed:
    description: Decides which files belong to the part. Default is the recovery point's id.
    type: str
  work_dir:
    description:
      - Directory on the worker host that has room for the dump, for V(structure) and deeper. Default is the vault.
    type: path
  scratch_dir:
    description:
      - Directory in which a private scratch server may live. Other users must be able to enter it, because
        database servers do not run as root. Default is the system's temporary directory.
    type: path
  scratch_user:
    description:
      - Account a private scratch server runs as when the module runs as root. Default is C(postgres) or C(mysql), else
        C(nobody).
    type: str
  bin_dir:
    description: Directory of the programs of PostgreSQL or MySQL. Default is the installed ones that fit best.
    type: path
  jobs:
    description: Parallel connections of the restore. Default is one for each core.
    type: int
  snapshots_location:
    description:
      - Needed beyond V(digest) for a recovery point of Elasticsearch whose snapshot is in the vault. A directory below C(path.repo), as
        the nodes of the cluster of O(login_host) see it, where the fetched snapshots lie meanwhile. They are registered for reading only.
    type: str
  snapshots_path:
    description: The same directory as the host the module runs on sees it. Default is O(snapshots_location).
    type: path
  login_host:
    description:
      - Name or address of a scratch server, PostgreSQL or MySQL as the recovery point has it. A database is created there
        and dropped at the end.
      - For a recovery point of Elasticsearch, the URL of a cluster, which is needed. Its indices go under names of their own, beside
        whatever is there, and are deleted at the end, so it may be the one the recovery point was taken from. When the snapshot
        has stayed in its repository, the cluster reads it there, at the place the manifest names, registered for reading only.
      - Without it and O(login_unix_socket), a private server is started from programs on this host.
      - The server the recovery point was taken from is refused.
    type: str
  login_unix_socket:
    description: The scratch server's Unix socket (of PostgreSQL its directory), to be used in place of O(login_host).
    type: path
  login_port:
    description: Port of the scratch server. Default is V(5432), of MySQL V(3306).
    type: int
  login_user:
    description: Account on the scratch server that may create databases. Default is V(postgres), of MySQL V(root).
    type: str
  login_password:
    description: Its password.
    type: str
  login_password_file:
    description: File with the password on the host the module runs on.
    type: path
  login_db:
    description: The database to connect to for creating another one, on PostgreSQL.
    type: str
    default: postgres
  ssl_mode:
    description: Whether and how TLS is used, as libpq's C(sslmode); of MySQL's modes the ones that mean the same.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
  ssl_root_cert:
    description: File with the certificate authority to check the scratch server against, in PEM format.
    type: path
  ssl_cert:
    description: File with a client certificate, in PEM format.
    type: path
  ssl_key:
    description: File with the key of O(ssl_cert), in PEM format.
    type: path
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Restore the newest recovery point into a private scratch server and compare everything
  kestra_community.dr.recovery_point_verify:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    id: latest
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic

- name: Also look up every file that the database names
  kestra_community.dr.recovery_point_verify:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    id: latest
    depth: references
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic

- name: Read everything back without a database server
  kestra_community.dr.recovery_point_verify:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    id: 20261123T001500Z-a1b2c3
    depth: digest
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
"""

RETURN = r"""
id:
  description: Id of the recovery point.
  type: str
  returned: success
instance_id:
  description: Id of the instance it holds.
  type: str
  returned: success
verdict:
  description: V(verified), V(unverified) with the depth that passed, V(differs) or V(failed).
  type: str
  returned: when the verification was done
verdict_line:
  description: The verdict with its depth, for people.
  type: str
  returned: when the verification was done
  sample: verified (counts)
depth:
  description: The depth that passed, or at which something failed.
  type: str
  returned: when the verification was done
checks:
  description:
    - Every check with C(name), C(depth), C(verdict), C(expected), C(found), C(reason) and C(seconds).
    - That of V(references) has a C(detail) with C(named), C(opened), C(missing) by kind, the C(first) paths of each kind,
      C(by_age), C(by_namespace) and C(by_flow) of those needed, C(gone_since_pin), C(orphans) and a C(line) for people.
  type: list
  elements: dict
  returned: success, and when something differs or cannot be read
file:
  description: Where the verification is recorded.
  type: str
  returned: when the verification was done
seconds:
  description: How long it took.
  type: float
  returned: when the verification was done
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, IntegrityError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import options as elasticsearch
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import options as mysql
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import options as postgresql
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import (
    catalog,
    checks,
    in_use,
    options,
    ship,
    verify,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.verify_elasticsearch import Elasticsearch
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.verify_mysql import Mysql
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.verify_postgresql import Postgresql

# Of the option group postgresql: how to reach a server. What Kestra's own database is does not matter here.
LOGIN = ("login_host", "login_port", "login_unix_socket", "login_user", "login_password", "login_password_file",
         "login_db", "ssl_mode", "ssl_root_cert", "ssl_cert", "ssl_key", "connect_timeout")


def scratch_login(params, redactor, kind):
    """The scratch server the options name, or None."""
    if not (params["login_host"] or params["login_unix_socket"]):
        return None
    if kind == "elasticsearch":
        login = {name: params[name] for name in ("login_user", "login_password", "login_password_file")}
        found = elasticsearch.resolve({
            **dict.fromkeys(elasticsearch.argument_spec()), **login,
            "login_hosts": [params["login_host"]], "ca_path": params["ssl_root_cert"], "validate_certs": True, "timeout": 60.0})
    elif kind == "mysql":
        found = mysql.resolve(dict(mysql.of_shared(params), database=None))
    else:
        found = postgresql.resolve(dict(params, database=None, schema=None))
    redactor.add(found.login.password)
    return found.login


def engine(params, redactor, kind):
    """What knows the dumps of an engine. kind: of the component database, or of search."""
    login = scratch_login(params, redactor, kind)
    own = {"base": params["scratch_dir"], "user": params["scratch_user"], "bin_dir": params["bin_dir"],
           "jobs": params["jobs"]}
    if kind == "elasticsearch":
        return Elasticsearch(login, params["snapshots_location"], params["snapshots_path"])
    if kind == "mysql":
        return Mysql(login=login, **own)
    return Postgresql(login=login, redactor=redactor, **own)


def look_only(vault, point, restic):
    """Check mode: what can be told without reading the data."""
    shipped = ship.shipped(ship.own_snapshots(vault, restic))
    differing = ship.list_differences(vault, point)
    done = checks.Checks()
    done.run("digest", "lists: as sealed", lambda: ({}, differing))
    done.run("digest", "manifest: in the repository", lambda: (True, point in shipped))
    return {"changed": True, "checks": done.done}


def told(record, warnings):
    """The result of the step. Raises IntegrityError, with the same facts as detail, unless everything passed."""
    facts = {key: record[key] for key in ("id", "verdict", "depth", "checks", "file", "seconds")}
    facts.update(verdict_line=checks.line(record), instance_id=record["instance"]["id"])
    if record["outcome"] == "pass":
        return dict(facts, warnings=warnings, changed=True)
    first = next(item for item in record["checks"] if item["verdict"] != checks.PASS)
    raise IntegrityError(
        f"The recovery point {record['id']} {record['outcome']}: {first['name']}: expected {first['expected']}, "
        f"found {first['found']}.", reason=first["reason"] or "verification_differs",
        hint="Do not rely on it. Take another backup, and verify an older recovery point.", detail=facts)


def main():
    spec = dict(catalog.argument_spec(), **options.argument_spec(), **jobs.argument_spec())
    spec.update({name: value for name, value in postgresql.argument_spec().items() if name in LOGIN})
    spec.update(
        id={"type": "str", "required": True},
        depth={"type": "str", "choices": list(verify.DEPTHS_HERE), "default": "counts"},
        references_percent={"type": "int", "default": 100}, references_seed={"type": "str", "no_log": False},
        work_dir={"type": "path"}, scratch_dir={"type": "path"}, scratch_user={"type": "str"}, bin_dir={"type": "path"},
        jobs={"type": "int"}, snapshots_location={"type": "str"}, snapshots_path={"type": "path"})
    module = AnsibleModule(
        argument_spec=spec, supports_check_mode=True, required_one_of=options.REQUIRED_ONE_OF,
        mutually_exclusive=options.MUTUALLY_EXCLUSIVE + postgresql.MUTUALLY_EXCLUSIVE)
    redactor = Redactor()

    def body(module):
        params = module.params
        if not 1 <= params["references_percent"] <= 100:
            raise ConfigError("references_percent is a number from 1 to 100.", reason="bad_percent")
        vault = catalog.Catalog(params["vault"], params["instance"])
        vault.check_vault()
        point = catalog.choose(vault.summaries(), params["id"], vault.instance)["id"]
        restic = Restic(options.from_options(params), redactor)
        if module.check_mode:
            return dict(look_only(vault, point, restic), id=point, instance_id=vault.manifest(point)["instance"]["id"])
        parts = vault.manifest(point)["components"]
        database = parts.get("database") or parts.get("search") or {}
        tester = engine(params, redactor, database.get("engine"))

        def work(progress):
            with in_use.reading(vault, point):
                record = verify.verify(vault, point, params["depth"], restic, progress, engine=tester,
                                       work_dir=params["work_dir"], percent=params["references_percent"],
                                       seed=params["references_seed"])
                return told(record, verify.ship_again(vault, point, restic))

        fingerprint = jobs.fingerprint_of([point, params["depth"], params["references_percent"],
                                           params["references_seed"], restic.repository.fingerprint()])
        try:
            return jobs.Job(params["job_dir"], "verify", fingerprint, redactor).run(work)
        except IntegrityError as exc:
            if "verdict" not in exc.detail:
                raise
            return dict(exc.to_result(), failed=True, changed=True, **exc.detail)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
