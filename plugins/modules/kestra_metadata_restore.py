#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores Enterprise's metadata archive and proves that all of it arrived."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_metadata_restore
short_description: Restore Kestra's metadata archive and compare what arrived (Enterprise Edition)
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Runs C(kestra backups restore) of Kestra's Enterprise Edition (since 0.19) with an archive in Kestra's storage, or
    with a copy of one that is put back into the storage first.
  - The summary of the archive and the summary of what was restored are compared kind by kind, whatever their order, and
    with O(summary), what the backup recorded. A difference is a failure.
  - Kestra writes over what is there with the same identity and leaves everything else, so the target does not become a
    copy of the source unless it was empty. It does not undo what it has done when it fails in the middle.
  - A restore can be repeated, but not with logs and metrics, which Kestra adds again every time. See
    O(accept_duplicates).
  - An archive of another version is restored, with a warning, as Kestra's documentation says. Whether a version before
    the archive's understands everything in it is not documented.
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
    details: Asks the command line for its version and its options, compares digests, and returns the plan.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Every run restores again, unless O(job_dir) holds the result of a finished run with the same options.
options:
  uri:
    description:
      - Address of the archive in Kestra's storage, which tells whether it is of the whole instance
        (C(kestra:///backups/full/NAME)) or of a tenant (C(kestra:///backups/tenants/TENANT/NAME)).
      - With O(archive) it is where the file is put.
    type: str
    required: true
  archive:
    description:
      - A copy of the archive on the host the module runs on, put back into Kestra's storage if it is not there.
      - Another archive in that place is never overwritten. The file stays in the storage afterwards.
    type: path
  sha256:
    description:
      - Digest the backup recorded. It is compared before anything is touched; without O(archive) this takes a local
        storage.
    type: str
  summary:
    description: The summary the backup recorded (RV(kestra_community.dr.kestra_metadata_backup#module:component)).
    type: dict
  to_tenant:
    description: Restore into this tenant. Only an archive of a tenant can be; refused before anything else for others.
    type: str
  accept_duplicates:
    description:
      - Restore an archive with logs or metrics although they may be in the database already, and would be there twice.
      - Without it, such an archive needs O(job_dir), which remembers an attempt that ended in the middle. When
        O(summary) does not tell what is in the archive, only such an attempt is refused.
      - A job remembers its own attempts only. Restoring the same archive again with another O(job_dir) cannot be noticed.
    type: bool
    default: false
seealso:
  - module: kestra_community.dr.kestra_metadata_backup
"""

EXAMPLES = r"""
- name: Restore an archive that is in Kestra's storage
  kestra_community.dr.kestra_metadata_restore:
    uri: kestra:///backups/full/backup-20261126034500.kestra
    config:
      unit: kestra

- name: Restore a copy, with everything the backup recorded, into an instance that is stopped
  kestra_community.dr.kestra_metadata_restore:
    uri: "{{ component.uri }}"
    archive: "/var/lib/kestra-dr/fetched/{{ component.files[0].path }}"
    sha256: "{{ component.files[0].sha256 }}"
    summary: "{{ component.summary }}"
    storage_path: /app/storage
    job_dir: /var/lib/kestra-dr/jobs/metadata
    cli:
      method: container
      image: kestra-ee:v1.3.26
      server_version: 1.3.26
      run_options: [--volumes-from=kestra, --network=kestra_default, --env-file=/etc/kestra/kestra.env]

- name: Restore a copy into an instance in Kubernetes that is scaled to 0
  kestra_community.dr.kestra_metadata_restore:
    uri: "{{ component.uri }}"
    archive: "/var/lib/kestra-dr/fetched/{{ component.files[0].path }}"
    sha256: "{{ component.files[0].sha256 }}"
    storage_path: /app/storage
    cli:
      method: kubernetes
      namespace: kestra
      workload: deployment/kestra-standalone

- name: Bring one tenant back under another name
  kestra_community.dr.kestra_metadata_restore:
    uri: kestra:///backups/tenants/sales/backup-20261126034500.kestra
    to_tenant: sales-rehearsal
    encryption_key_file: /etc/kestra-dr/archive.key
    config:
      unit: kestra
"""

RETURN = r"""
archive:
  description: What Kestra said of the archive, its C(type), the C(kestra_version) it is from and when it was C(created).
  type: dict
  returned: success, not in check mode
  sample: {type: FULL, kestra_version: 1.3.26, created: "2026-11-26T03:45:00.123Z"}
summary:
  description: Number of each kind in the archive.
  type: dict
  returned: success, not in check mode
  sample: {FLOW: 12, NAMESPACE: 3, USER: 4}
restored:
  description: Number of each kind restored.
  type: dict
  returned: success, not in check mode
  sample: {FLOW: 12, NAMESPACE: 3, USER: 4}
put_back:
  description: Whether O(archive) was put into Kestra's storage.
  type: bool
  returned: success, not in check mode
notes:
  description: What is worth knowing about the archive, such as another version.
  type: list
  elements: str
  returned: success, not in check mode
seconds:
  description: How long it took.
  type: float
  returned: success, not in check mode
plan:
  description: What was found before.
  type: dict
  returned: success
  sample:
    cli: {method: host, in: null, executable: /opt/kestra/kestra, config_file: null, user: kestra}
    kestra_version: 1.3.26
    uri: kestra:///backups/full/backup-20261126034500.kestra
    type: FULL
    tenant: null
    to_tenant: null
    key: instance
    sha256: null
    put_back: false
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import archive_storage, archives, buckets, cli, metadata, options

ARGUMENT_SPEC = {
    **cli.argument_spec(), **archives.argument_spec(), **jobs.argument_spec(), "config": options.CONFIG_SPEC,
    "uri": {"type": "str", "required": True},
    "archive": {"type": "path"},
    "sha256": {"type": "str"},
    "summary": {"type": "dict"},
    "to_tenant": {"type": "str"},
    "accept_duplicates": {"type": "bool", "default": False},
}
ASKED = ("uri", "archive", "sha256", "summary", "to_tenant", "resources", "encryption_key_by", "storage_path")


def storage_of(module, redactor, line, configuration):
    """The storage, None where it is neither needed nor within reach."""
    params = module.params
    needed = params["archive"] or params["sha256"] or params["storage_path"]
    if not needed and (configuration is None or configuration.storage_type() not in ("local", *buckets.TYPES)):
        return None
    return archive_storage.of_module(module, redactor, line, configuration)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
                           mutually_exclusive=[("encryption_key", "encryption_key_file")])
    redactor = Redactor()

    def body(module):
        params = module.params
        place, expected = metadata.location(params["uri"]), metadata.recorded(params["summary"])
        metadata.require_to_tenant(params["to_tenant"], place)
        resources = metadata.resources_of(params["resources"])
        key = options.encryption_key(params, redactor)
        line, configuration = options.reached_cli(module, redactor)
        restore = archives.Restore(
            line, storage_of(module, redactor, line, configuration), place,
            metadata.restore_key_of(key, params["encryption_key_by"], configuration), archive=params["archive"],
            sha256=params["sha256"], expected=expected, to_tenant=params["to_tenant"] or None, resources=resources,
            server_version=params["cli"]["server_version"])
        if module.check_mode:
            with line:
                return {"changed": True, "plan": restore.plan()}
        if not params["accept_duplicates"]:
            metadata.require_no_duplicates(jobs.read(params["job_dir"]) if params["job_dir"] else None, params["uri"],
                                           expected, resources)
        question = {**{name: params[name] for name in ASKED}, "cli": line.at.shown()}
        job = jobs.Job(params["job_dir"], "kestra_metadata_restore", jobs.fingerprint_of(question), redactor)
        with line:
            result = job.run(restore.run)
        for warning in result["notes"]:
            module.warn(redactor.scrub(warning))
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
