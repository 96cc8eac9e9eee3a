#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects from a local copy into a bucket."""
from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_restore
short_description: Put copied objects into a bucket, writing only what is not there
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Makes a bucket hold what a list names, with headers, user metadata and the marks of directories. It may be the
    one that was copied or another one, at another endpoint, below another prefix.
  - Objects that are there already are not written again, so a restore that was cut goes on where it was.
  - The server checks every content it is sent. In the end the bucket is listed and compared with the list.
  - Where the bucket keeps no versions nothing is overwritten or deleted unless O(overwrite) says so.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.object_storage
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: Compares the bucket with the list and tells how much would be written.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  copy:
    description:
      - Directory of the copy, as M(kestra_community.dr.object_storage_backup) made it. Without it the versions that O(list) names
        are made the present ones inside the server, in the bucket that was listed; nothing is moved.
    type: path
  list:
    description: The list of what to restore. Default is the one in the copy.
    type: path
  unexpected:
    description:
      - What happens to objects that the list does not name. V(keep) leaves them, which does no harm, because no restored row
        names them. V(delete) deletes them.
    type: str
    choices: [keep, delete]
    default: keep
  overwrite:
    description:
      - Overwrite and delete objects also where the bucket keeps no versions, so that what was there is lost.
    type: bool
    default: false
seealso:
  - module: kestra_community.dr.object_storage_backup
  - module: kestra_community.dr.object_storage_inventory_info
  - module: kestra_community.dr.restic_restore
"""

EXAMPLES = r"""
- name: Fetch the copy from the repository
  kestra_community.dr.restic_restore:
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    snapshot: 6a1b2c3d4e5f
    path: /objects
    target: /var/tmp/kestra-objects

- name: Go back to the versions of a moment, for example of before a restore
  kestra_community.dr.object_storage_restore:
    config:
      files: [/etc/kestra/application.yml]
    list: /run/kestra-dr/pinned.jsonl.gz
    unexpected: delete

- name: Put it into another bucket
  kestra_community.dr.object_storage_restore:
    endpoint: https://minio.example.com:9000
    bucket: kestra-restored
    credentials_file: /etc/kestra-dr/minio
    copy: /var/tmp/kestra-objects
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
  description:
    - Numbers of C(objects) and C(bytes) that have to be written, of objects C(present) with the same content, C(overwritten),
      C(unexpected) (not named by the list), and C(not_copied) (named, but deleted before they could be copied).
  type: dict
  returned: success
written_objects:
  description: Number of objects written, also those of which only headers or metadata differed.
  type: int
  returned: success, not in check mode
written_bytes:
  description: Size of the objects written.
  type: int
  returned: success, not in check mode
deleted_objects:
  description: Number of objects deleted.
  type: int
  returned: success, not in check mode
versioning:
  description: Whether the bucket keeps versions, V(enabled), V(suspended) or V(off).
  type: str
  returned: success, not in check mode
server_time:
  description: The server's time before anything was written. Where versions are kept, this is the moment to go back to.
  type: str
  returned: success, not in check mode
comparison:
  description: How the bucket compares with the list, as M(kestra_community.dr.object_storage_inventory_info) returns it.
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
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, copy_in, options, store

OPTIONS = ("copy", "list", "unexpected", "overwrite")


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        copy={"type": "path"}, list={"type": "path"},
        unexpected={"type": "str", "choices": ["keep", "delete"], "default": "keep"},
        overwrite={"type": "bool", "default": False})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, required_together=options.REQUIRED_TOGETHER,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE, required_one_of=[("copy", "list")])
    redactor = Redactor()

    def body(module):
        place = options.of_module(module, redactor)
        params = module.params

        def work(progress):
            progress.phase("restoring")
            how = {"overwrite": params["overwrite"], "delete": params["unexpected"] == "delete", "on_progress": progress.update}
            with client.opened(place) as bucket:
                if params["copy"]:
                    copy = store.Store(params["copy"])
                    restore = copy_in.Restore(bucket, copy, params["list"] or copy.list, **how)
                else:
                    restore = copy_in.Rewind(bucket, params["list"], **how)
                done = {"plan": restore.plan()} if module.check_mode else restore.run()
            return dict(place.facts(), **done)

        question = dict(place.fingerprint(), **{name: params[name] for name in OPTIONS})
        job = jobs.Job(None if module.check_mode else params["job_dir"], "object_storage_restore",
                       jobs.fingerprint_of(question), redactor)
        result = job.run(work)
        if module.check_mode:
            return dict(result, changed=result["plan"]["objects"] > 0)
        return dict(result, changed=bool(result["written_objects"] or result["deleted_objects"]))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
