#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swaps a restored database and storage with the live ones, and back."""
from __future__ import annotations

DOCUMENTATION = r"""
module: undo_point
short_description: Swap a restored database and storage with the live ones, and back
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Puts a replacement in the place of the live database and of the live storage directory by renaming. What was live is kept, as the undo point.
  - >-
    Both or none. Everything that can be refused is refused before anything is touched; when a step fails the others are taken back; after a kill,
    a power cut or a failure that could not be taken back, the same call goes on from where it stopped. A journal in the vault says what was planned,
    and what really lies under the names (a database's oid, a directory's inode) says how far it got.
  - Storage is renamed first, the databases last and in one transaction. Nothing is ever deleted but by O(state=absent).
  - Where Kestra's storage is a bucket, as O(config) says, there is nothing to rename. What is in it is listed first, and copied unless
    the bucket keeps versions; that list is the undo point. Then the bucket is made to hold what the replacement lists, and nothing else.
  - Runs on the worker host. Kestra has to be stopped; databases in use are refused and their sessions named.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.postgresql
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - >-
        V(possible) checks that a swap of these names could work, before there is a replacement: no mount point, one file system, no name taken.
        It changes nothing.
      - V(swapped) puts the replacement in place.
      - V(reverted) swaps back. What was restored is kept under the name of the replacement, so V(swapped) can follow again.
      - V(absent) removes the half of each pair that is not live, and the undo point. It needs O(confirm).
    type: str
    choices: [possible, swapped, reverted, absent]
    required: true
  id:
    description: Id of the undo point, made by the run that swaps, for example V(20261123T001500Z-a1b2c3).
    type: str
    required: true
  engine:
    description:
      - The engine of the databases. Default is the one in O(config), else V(postgresql).
      - With V(mysql), the options of the login mean what they mean to M(kestra_community.dr.mysql_dump), O(ssl_mode) takes
        libpq's words, O(ssl_root_cert) is the certificate authority, and the tables of the databases change places in one
        statement.
    type: str
    choices: [postgresql, mysql]
  database_pair:
    description:
      - The databases to swap. Only needed at the first call with this O(id); later calls go by the journal.
      - Left out at the first call, no database is swapped.
    type: dict
    suboptions:
      live:
        description: Kestra's database. Default is O(database), or what O(config) says.
        type: str
      replacement:
        description: The restored database.
        type: str
        required: true
      undo:
        description: The name under which the live one is kept. Default is C(<live>_undo_<id>).
        type: str
  storage_pair:
    description:
      - The storage directories to swap, as absolute paths on this host. Only needed at the first call with this O(id).
      - Where O(config) says that the storage is a bucket, V(replacement) and V(undo) are directories on this host with a list of objects and
        their contents, as M(kestra_community.dr.object_storage_backup) makes them.
      - >-
        All three have to be on one file system, none may be a mount point or hold one. Symbolic links are followed.
        Left out at the first call, no storage is swapped.
    type: dict
    suboptions:
      live:
        description: Kestra's storage directory. Not needed for a bucket.
        type: path
      replacement:
        description: The restored directory, or the fetched copy of a bucket.
        type: path
        required: true
      undo:
        description:
          - The path under which the live one is kept. Default is C(<live>.kestra-dr-undo-<id>), for a bucket C(<id>.objects)
            beside the journal.
        type: path
  storage_credentials_file:
    description: As O(kestra_community.dr.object_storage_restore#module:credentials_file), where the storage is a bucket.
    type: path
  recovery_point:
    description: Id of the recovery point that the replacement was restored from, for the list.
    type: str
  run_id:
    description: Id of the run, for the list.
    type: str
  confirm:
    description: The O(id) once more, for O(state=absent).
    type: str
seealso:
  - module: kestra_community.dr.kestra_service
"""

EXAMPLES = r"""
- name: Could the storage be swapped, before anything is fetched?
  kestra_community.dr.undo_point:
    state: possible
    id: 20261123T001500Z-a1b2c3
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    storage_pair:
      live: /app/storage
      replacement: /app/storage.kestra-dr-20261123T001500Z-a1b2c3

- name: Put the restored pair in place
  kestra_community.dr.undo_point:
    state: swapped
    id: 20261123T001500Z-a1b2c3
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    login_unix_socket: /var/run/postgresql
    login_user: postgres
    database: kestra
    database_pair:
      replacement: kestra_dr_20261123t001500z_a1b2c3
    storage_pair:
      live: /app/storage
      replacement: /app/storage.kestra-dr-20261123T001500Z-a1b2c3

- name: It was the wrong one
  kestra_community.dr.undo_point:
    state: reverted
    id: 20261123T001500Z-a1b2c3
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    login_unix_socket: /var/run/postgresql
    login_user: postgres

- name: Put a fetched copy of a bucket in place
  kestra_community.dr.undo_point:
    state: swapped
    id: 20261123T001500Z-a1b2c3
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    config:
      files: [/etc/kestra/application.yml]
    storage_pair:
      replacement: /var/lib/kestra-dr/vault/kestra/undo/20261123T001500Z-a1b2c3.restored

- name: It was the right one, and the replaced pair is not needed any more
  kestra_community.dr.undo_point:
    state: absent
    id: 20261123T001500Z-a1b2c3
    confirm: 20261123T001500Z-a1b2c3
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    login_unix_socket: /var/run/postgresql
    login_user: postgres
"""

RETURN = r"""
id:
  description: Id of the undo point.
  type: str
  returned: success
state:
  description: Where both halves are now, V(swapped), V(reverted) or V(absent); V(possible) when it was only asked.
  type: str
  returned: success
journal:
  description: Path of the journal.
  type: str
  returned: success
resumed:
  description: Whether an interrupted call was continued.
  type: bool
  returned: success
database:
  description: >-
    The databases, C(live), C(replacement), C(undo), and C(kept), the name of the one that is not live (null when there is none).
    Null when this undo point has no database.
  type: dict
  returned: success
storage:
  description: The same for the directories; of a bucket C(live) is its address, and the others are directories.
  type: dict
  returned: success
removed:
  description: Names of what was removed (or would be).
  type: dict
  returned: state=absent
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import options as mysql
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import options
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import options as kestra_options
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.coverage import ENGINES
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import options as objects
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import buckets, undo_point
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.databases import MysqlStore, PostgresqlStore, undo_name
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.directories import DirectoryStore, resolved
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.journal import DIRECTORY
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog, argument_spec, checked


def asked_names(params, place, bucket, directory):
    """{kind: Names} as the options ask for, defaults filled in. bucket: Place of the storage, or None."""
    asked, point = {}, params["id"]
    pair = params["database_pair"]
    if pair:
        live = pair["live"] or place.require_database()
        asked["database"] = Names(live, pair["replacement"], pair["undo"] or undo_name(live, point))
    pair = params["storage_pair"]
    if pair and bucket:
        asked["storage"] = Names(buckets.live_name(bucket), resolved(pair["replacement"]),
                                 resolved(pair["undo"] or os.path.join(directory, f"{point}.objects")))
    elif pair:
        if not pair["live"]:
            raise ConfigError("storage_pair does not name the live directory.", reason="config_missing",
                              hint="Give live, or config of a Kestra whose storage is a bucket.")
        live = resolved(pair["live"])
        asked["storage"] = Names(live, resolved(pair["replacement"]), resolved(pair["undo"] or f"{live}.kestra-dr-undo-{point}"))
    return asked


def engine_of(params, configuration):
    """The engine that is asked for, or that Kestra's configuration names, or PostgreSQL."""
    if params["engine"]:
        return params["engine"]
    return "postgresql" if configuration is None else ENGINES.get(configuration.repository_type())


def database_store(module, redactor, configuration):
    """(the store of the engine's databases, the Place they are at), both None where indices are swapped by themselves."""
    engine = engine_of(module.params, configuration)
    if engine == "elasticsearch":
        if module.params["database_pair"]:
            raise RefusedError("Indices are not swapped by this module.", reason="unsupported_database",
                               hint="elasticsearch_restore does that (mode: swap), and back again.")
        return None, None
    if engine == "mysql":
        place = mysql.of_module(module, redactor, mysql.of_shared(module.params), configuration)
        return MysqlStore(place.login), place
    place = options.of_module(module, redactor, configuration)
    return PostgresqlStore(place.login), place


def body(module, redactor):
    params = module.params
    point = checked(params["id"])
    configuration = kestra_options.read_of(module, redactor)
    store, place = database_store(module, redactor, configuration)
    bucket = objects.of_kestra(module, redactor, configuration, params["storage_credentials_file"])
    directory = Catalog(params["vault"], params["instance"]).below(DIRECTORY)
    known = {"instance": params["instance"], "run_id": params["run_id"], "recovery_point": params["recovery_point"]}
    names = asked_names(params, place, bucket, directory)

    def work(progress):
        progress.phase(params["state"])
        storage = buckets.BucketStore(bucket, progress.update) if bucket else DirectoryStore()
        return undo_point.ensure(
            params["state"], directory, point, names, {"database": store, "storage": storage},
            dict(known, server=place and place.login.place), confirm=params["confirm"], check_mode=module.check_mode)

    question = [params["state"], point, params["instance"], {kind: pair.all() for kind, pair in names.items()}]
    job = jobs.Job(None if module.check_mode else params["job_dir"], "undo_point", jobs.fingerprint_of(question), redactor)
    result = job.run(work)
    result.pop("reattached")
    if not module._diff:
        result.pop("diff")
    return facts.trust(module, result)


def main():
    redactor = facts.FactRedactor()
    module = AnsibleModule(
        argument_spec=dict(
            options.argument_spec(), **argument_spec(), **jobs.argument_spec(),
            state={"type": "str", "choices": ["possible", "swapped", "reverted", "absent"], "required": True},
            id={"type": "str", "required": True},
            engine={"type": "str", "choices": ["postgresql", "mysql"]},
            database_pair={"type": "dict", "options": {
                "live": {"type": "str"}, "replacement": {"type": "str", "required": True}, "undo": {"type": "str"}}},
            storage_pair={"type": "dict", "options": {
                "live": {"type": "path"}, "replacement": {"type": "path", "required": True}, "undo": {"type": "path"}}},
            storage_credentials_file={"type": "path", "no_log": False},
            recovery_point={"type": "str"},
            run_id={"type": "str"},
            confirm={"type": "str"}),
        mutually_exclusive=options.MUTUALLY_EXCLUSIVE,
        required_if=[("state", "absent", ["confirm"])],
        supports_check_mode=True)
    wiring.run(module, lambda module: body(module, redactor), redactor)


if __name__ == "__main__":
    main()
