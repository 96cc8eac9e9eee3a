#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of Kestra's storage into a local copy."""
from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_backup
short_description: Copy a bucket as it was at the pin, reading only what is new
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Copies the objects that a list names into a directory, each exactly as it was listed, with headers, user metadata and
    the marks of directories. M(kestra_community.dr.restic_backup) takes the directory into a repository.
  - Contents lie under the names of their digests, so keys may hold anything, and equal contents lie once. The list says
    which object has which.
  - Objects that have not changed since the last copy are not read again. A copy that was cut goes on where it was.
  - Where the bucket keeps versions the listed ones are read, whatever happened since. Where it does not, an object that
    changed or went after it was listed is found and marked.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.object_storage
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Tells how much would be read; nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: The list is written each time, unless O(job_dir) holds the result of the same copy; objects are read once.
options:
  pin:
    description: List of what to copy, as M(kestra_community.dr.object_storage_inventory_info) writes it.
    type: path
    required: true
  copy:
    description:
      - Directory of the copy, kept from one backup to the next. It is made when it does not exist; one that holds anything
        else is refused.
      - What the new list does not name is removed at the end, so it needs as much room as the bucket has objects.
    type: path
    required: true
  dest:
    description:
      - File to write the list of what was copied to, with digests, headers and metadata. A second one is in the copy itself.
    type: path
    required: true
  last:
    description:
      - V(false) when another copy into the same directory follows. It finds the contents of this one, and nothing that is there
        already is removed. So what Kestra writes again can be read while it is stopped, and all else once it runs.
    type: bool
    default: true
seealso:
  - module: kestra_community.dr.object_storage_inventory_info
  - module: kestra_community.dr.object_storage_restore
  - module: kestra_community.dr.restic_backup
"""

EXAMPLES = r"""
- name: Copy what was there at the pin
  kestra_community.dr.object_storage_backup:
    config:
      files: [/etc/kestra/application.yml]
    pin: /run/kestra-dr/pinned.jsonl.gz
    copy: /var/lib/kestra-dr/vault/kestra/objects
    dest: /run/kestra-dr/storage.jsonl.gz
  register: copied
  failed_when: copied.drift.deleted | default(0) > 0

- name: Take the copy into the repository
  kestra_community.dr.restic_backup:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    base_dir: /var/lib/kestra-dr/vault/kestra
    paths: [objects]
"""

RETURN = r"""
type:
  description: Whose object store it is, as O(type).
  type: str
  returned: success
endpoint:
  description: URL of the object store; null for the provider's own.
  type: str
  returned: success
region:
  description: Region signed for, of O(type=s3).
  type: str
  returned: success
bucket:
  description: The bucket.
  type: str
  returned: success
prefix:
  description: What all keys begin with.
  type: str
  returned: success
plan:
  description: Numbers of C(objects) and C(bytes) that have to be read.
  type: dict
  returned: success
objects:
  description: Number of objects copied, without the marks of directories.
  type: int
  returned: success, not in check mode
markers:
  description: Number of objects copied whose key ends with a slash.
  type: int
  returned: success, not in check mode
bytes:
  description: Size of the objects.
  type: int
  returned: success, not in check mode
fetched_objects:
  description: Number of objects that were read.
  type: int
  returned: success, not in check mode
fetched_bytes:
  description: Size of the objects that were read.
  type: int
  returned: success, not in check mode
drift:
  description:
    - Numbers of objects C(deleted) and C(changed) after they were listed, with C(examples) of each. Of the former there is no
      copy, of the latter a younger one.
  type: dict
  returned: success, not in check mode
removed:
  description: Numbers of C(files) and C(bytes) that earlier copies left and this one does not need.
  type: dict
  returned: success, not in check mode
list:
  description: C(path), C(sha256) and C(entries) of the list.
  type: dict
  returned: success, not in check mode
seconds:
  description: How long it took.
  type: float
  returned: success, not in check mode
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, copy_out, options, store


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update({name: {"type": "path", "required": True} for name in ("pin", "copy", "dest")})
    spec.update(last={"type": "bool", "default": True})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, required_together=options.REQUIRED_TOGETHER,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = Redactor()

    def body(module):
        place = options.of_module(module, redactor)
        params = module.params

        def work(progress):
            progress.phase("copying")
            with client.opened(place) as bucket:
                copy = copy_out.Copy(bucket, store.Store(params["copy"]), params["pin"], progress.update)
                done = {"plan": copy.plan()} if module.check_mode else copy.run(params["dest"], params["last"])
            return dict(place.facts(), **done)

        question = dict(place.fingerprint(), **{name: params[name] for name in ("pin", "copy", "dest", "last")})
        job = jobs.Job(None if module.check_mode else params["job_dir"], "object_storage_backup",
                       jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        return dict(result, changed=not result["reattached"])

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
