#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes Enterprise's metadata archive and copies it out of Kestra's storage."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_metadata_backup
short_description: Take Kestra's metadata archive and copy it out of Kestra's storage (Enterprise Edition)
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Runs C(kestra backups create) of Kestra's Enterprise Edition (since 0.19), reads which archive it made and what is in
    it, and copies the archive out of the internal storage, which is what a disaster may take. The copy is compared with
    the original by its sha256.
  - Kestra recommends to be in maintenance mode meanwhile; see M(kestra_community.dr.kestra_maintenance).
  - The archive holds flows, namespaces, KV entries, secrets of the database, users, roles and the like. Executions, logs,
    metrics, audit logs and test runs are in it with O(include_data) only, and never the files of executions, Kestra's
    configuration, its keys, plugins and queues.
  - With a version of 1.1 to 1.3 that was upgraded from an older one, C(kestra migrate metadata) has to have been run, or
    KV entries, secrets and namespace files may be missing.
  - The open-source edition has no such command. The module says so and what to use instead.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.kestra_cli
  - kestra_community.dr.kestra_config
  - kestra_community.dr.kestra_archive
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Asks the command line for its version and its options, and returns the plan.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Every run makes a new archive, unless O(job_dir) holds the result of a finished run with the same options.
options:
  dest:
    description:
      - Directory the archive is to be in, on the host the module runs on. It must not exist, its parent must.
    type: path
    required: true
  type:
    description: V(FULL) is the whole instance, V(TENANT) is O(tenant) without users, settings and worker groups.
    type: str
    choices: [FULL, TENANT]
    default: FULL
  tenant:
    description: The tenant of O(type=TENANT).
    type: str
  include_data:
    description: Whether executions, logs, metrics, audit logs and test runs are taken too (since 0.22).
    type: bool
    default: false
  encrypt:
    description:
      - Whether the archive is encrypted. V(false) is C(--no-encryption), and anybody who has the archive can read it.
      - Older releases encrypted all the same when the instance's key was not a valid one (kestra-io/kestra#7410).
    type: bool
    default: true
  internal_log:
    description: Apply O(log_level) to Kestra's own log lines as well.
    type: bool
    default: false
  log_level:
    description: Level of Kestra's log lines.
    type: str
    choices: [TRACE, DEBUG, INFO, WARN, ERROR]
  keep:
    description:
      - Remove older archives in the same directory of Kestra's storage, so that this many remain, the new one among them.
      - Kestra itself never removes any, and by default neither does this module.
    type: int
seealso:
  - module: kestra_community.dr.kestra_metadata_restore
  - module: kestra_community.dr.kestra_maintenance
"""

EXAMPLES = r"""
- name: Take the whole instance, with the configuration, key and user of the service
  kestra_community.dr.kestra_metadata_backup:
    dest: /var/lib/kestra-dr/staging/metadata
    config:
      unit: kestra

- name: Take one tenant out of a container, with a key of its own
  kestra_community.dr.kestra_metadata_backup:
    type: TENANT
    tenant: sales
    dest: /var/lib/kestra-dr/staging/sales
    encryption_key_file: /etc/kestra-dr/archive.key
    storage_path: /app/storage
    cli:
      method: container
      container: kestra

- name: Take it from Kubernetes, and keep three archives in Kestra's storage
  kestra_community.dr.kestra_metadata_backup:
    dest: /var/lib/kestra-dr/staging/metadata
    storage_path: /app/storage
    keep: 3
    cli:
      method: kubernetes
      namespace: kestra
      pod: deployment/kestra-standalone
"""

RETURN = r"""
dest:
  description: The directory of the archive.
  type: str
  returned: success
component:
  description:
    - What the manifest of a recovery point holds about the archive, without the place in the repository. Its address in
      Kestra's storage, the summary (number of each kind), whose key it is encrypted with, and the file with size and
      sha256.
  type: dict
  returned: success, not in check mode
  sample:
    engine: kestra
    strategy: archive
    type: FULL
    uri: kestra:///backups/full/backup-20261126034500.kestra
    kestra_version: 1.3.26
    key: instance
    summary: {FLOW: 12, NAMESPACE: 3, USER: 4}
    files:
      - {path: backup-20261126034500.kestra, size: 61413,
         sha256: 783d6dcfe676a8a1cb51863bb2a30034fcc0e4c602fefd6fcf0762ac0f2b78d3}
    bytes: 61413
removed:
  description: Older archives removed from Kestra's storage for O(keep).
  type: list
  elements: str
  returned: success, not in check mode
seconds:
  description: How long it took.
  type: float
  returned: success, not in check mode
plan:
  description: What was found before. C(key) is V(instance), V(given) or V(none).
  type: dict
  returned: success
  sample:
    cli: {method: host, in: null, executable: /opt/kestra/kestra, config_file: null, user: kestra}
    kestra_version: 1.3.26
    type: FULL
    tenant: null
    key: instance
    storage: /var/lib/kestra/storage
    warnings: []
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import archive_storage, archives, cli, metadata, options

ARGUMENT_SPEC = {
    **cli.argument_spec(), **archives.argument_spec(), **jobs.argument_spec(), "config": options.CONFIG_SPEC,
    "dest": {"type": "path", "required": True},
    "type": {"type": "str", "choices": ["FULL", "TENANT"], "default": "FULL"},
    "tenant": {"type": "str"},
    "include_data": {"type": "bool", "default": False},
    "encrypt": {"type": "bool", "default": True},
    "internal_log": {"type": "bool", "default": False},
    "log_level": {"type": "str", "choices": ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]},
    "keep": {"type": "int"},
}
ASKED = ("dest", "type", "tenant", "include_data", "encrypt", "resources", "encryption_key_by", "keep", "storage_path")


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
                           mutually_exclusive=[("encryption_key", "encryption_key_file")])
    redactor = Redactor()

    def body(module):
        params = module.params
        if params["keep"] is not None and params["keep"] < 1:
            raise ConfigError("keep must be 1 or more: the new archive stays.", reason="bad_keep")
        key = options.encryption_key(params, redactor)
        line, configuration = options.reached_cli(module, redactor)
        request = metadata.Request(
            params["type"], params["tenant"] or None, params["include_data"], metadata.resources_of(params["resources"]),
            params["internal_log"], params["log_level"],
            metadata.key_of(key, params["encryption_key_by"], params["encrypt"], configuration))
        storage = archive_storage.of_module(module, redactor, line, configuration)
        backup = archives.Backup(line, storage, request, params["dest"], keep=params["keep"],
                                 server_version=params["cli"]["server_version"])
        if module.check_mode:
            with line:
                plan = backup.plan()
            _warn(module, redactor, plan)
            return {"changed": True, "dest": params["dest"], "plan": plan}

        def work(progress):
            done = backup.run(progress)
            return {"dest": params["dest"], "seconds": done["component"]["seconds"], **done}

        question = {**{name: params[name] for name in ASKED}, "cli": line.at.shown()}
        job = jobs.Job(params["job_dir"], "kestra_metadata_backup", jobs.fingerprint_of(question), redactor)
        with line:
            result = job.run(work)
        _warn(module, redactor, result["plan"])
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


def _warn(module, redactor, plan):
    for warning in plan["warnings"]:
        module.warn(redactor.scrub(warning))


if __name__ == "__main__":
    main()
