#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the bucket of Kestra's storage."""
from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_inventory_info
short_description: List a bucket, and compare it with an earlier list
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Counts the objects of Kestra's internal storage in a bucket, and on request writes a sorted list of them.
  - Where the bucket keeps versions the list can be that of an earlier moment, so nothing has to wait for it.
  - Tells whether the bucket keeps versions, which rules of its lifecycle would delete or freeze what recovery points need,
    and which uploads were never finished.
  - Compares the bucket with a list, for example to prove that a restored bucket is what was backed up.
  - Memory does not grow with the number of objects.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.object_storage
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: O(dest) is not written.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  dest:
    description:
      - File to write the list to, one JSON object per line, compressed with gzip.
      - >-
        Each has the key C(k), the size C(s), the entity tag C(e), the time it was written C(t) and the version id C(v). What
        M(kestra_community.dr.object_storage_backup) writes also has the sha256 C(h), the MD5 C(m), headers C(c), user
        metadata C(u), and drift C(d).
    type: path
  moment:
    description:
      - List what was there at the end of this second (UTC, as RV(server_time) gives it) instead of now. The bucket has to
        keep versions, and its server has to tell when each was written, which versitygw does not.
    type: str
  count:
    description: List the bucket. V(false) asks only for what can be told without, unless O(dest) needs the list.
    type: bool
    default: true
  retention_days:
    description: How many days recovery points are kept, to find lifecycle rules that delete versions earlier.
    type: int
  part:
    description:
      - V(mutable) lists only the few objects that Kestra writes again, which are namespace files, keys, states and messages of
        queues. It takes as long as there are namespaces and flows, however many executions.
    type: str
    choices: [all, mutable]
    default: all
  mutable:
    description: Earlier list of the mutable part. It stands in the place of what is there of it now.
    type: path
  expect:
    description:
      - List that the bucket must equal. Objects that it does not name are counted, but make no difference.
    type: path
  depth:
    description:
      - How closely O(expect) is compared.
      - V(listing) compares sizes, and contents where entity tags tell. V(headers) asks for headers and metadata of each
        object too, in one request each. V(content) reads every object.
    type: str
    choices: [listing, headers, content]
    default: listing
seealso:
  - module: kestra_community.dr.object_storage_backup
  - module: kestra_community.dr.object_storage_restore
"""

EXAMPLES = r"""
- name: Ask for the time of the server while Kestra is stopped
  kestra_community.dr.object_storage_inventory_info:
    config:
      files: [/etc/kestra/application.yml]
    count: false
  register: pin

- name: List what was there at that moment, while Kestra runs again
  kestra_community.dr.object_storage_inventory_info:
    config:
      files: [/etc/kestra/application.yml]
    moment: "{{ pin.server_time }}"
    dest: /run/kestra-dr/pinned.jsonl.gz

- name: List what Kestra writes again, while it is stopped
  kestra_community.dr.object_storage_inventory_info:
    config:
      files: [/etc/kestra/application.yml]
    part: mutable
    dest: /run/kestra-dr/mutable.jsonl.gz

- name: List everything else once Kestra runs again
  kestra_community.dr.object_storage_inventory_info:
    config:
      files: [/etc/kestra/application.yml]
    mutable: /run/kestra-dr/mutable.jsonl.gz
    dest: /run/kestra-dr/pinned.jsonl.gz

- name: Prove that a restored bucket is what was backed up
  kestra_community.dr.object_storage_inventory_info:
    endpoint: https://minio.example.com:9000
    bucket: kestra-restored
    credentials_file: /etc/kestra-dr/minio
    expect: /var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3/storage.jsonl.gz
    depth: headers
  register: comparison
  failed_when: comparison.comparison.verdict != 'equal'
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
server:
  description: What the server calls itself; null when it does not.
  type: str
  returned: success
versioning:
  description: V(enabled), V(suspended) or V(off).
  type: str
  returned: success
encryption:
  description: What the server encrypts with by default, of O(type=gcs) the name of the key; null when it does not, or does not tell.
  type: str
  returned: success
server_time:
  description:
    - The server's time, for O(moment). Nothing written after the module returned counts as of this second.
  type: str
  returned: success
  sample: "2026-11-23T00:15:00.000000Z"
provider:
  description:
    - What the provider says of the bucket and nothing here proves; null for O(type=s3).
    - Of O(type=gcs) C(location), C(location_type), C(turbo_replication), C(soft_delete_seconds) and C(retention_seconds), null where there is none.
    - Of O(type=azure) C(soft_delete_days), 0 where there is none, and whether the account has a C(hierarchical) namespace; null where these
      credentials may not ask.
  type: dict
  returned: success
lifecycle:
  description:
    - C(known) says whether the server told its rules, and C(problems) which of them a recovery point would suffer from, each
      with C(rule), C(what) (V(expires), V(versions_expire) or V(freezes)), C(days) and C(message).
  type: dict
  returned: success
unfinished_uploads:
  description:
    - Keys of uploads in parts that were never finished, at most ten. They take room and are not listed. Null when the server
      does not tell, as that of O(type=gcs), which ends them itself.
  type: list
  elements: str
  returned: success
objects:
  description: Number of objects, without the marks of directories.
  type: int
  returned: when the bucket was listed
markers:
  description: Number of objects whose key ends with a slash, which Kestra writes for directories.
  type: int
  returned: when the bucket was listed
bytes:
  description: Size of the objects.
  type: int
  returned: when the bucket was listed
list:
  description: C(path), C(sha256) and C(entries) of the list; null when none was written.
  type: dict
  returned: success
comparison:
  description: How the bucket compares with O(expect).
  type: dict
  returned: when O(expect) is given
  contains:
    verdict:
      description: V(equal) or V(differs).
      type: str
    entries:
      description: Number of objects compared.
      type: int
    compared_digests:
      description: Number of objects whose contents were compared.
      type: int
    drifted:
      description: Number of objects left out because there is no copy of them.
      type: int
    differences:
      description: Number of differences.
      type: int
    counts:
      description: Differences by kind, which are C(missing), C(size), C(content), C(headers), C(metadata); and C(unexpected).
      type: dict
    examples:
      description: Some keys of each kind.
      type: dict
seconds:
  description: How long it took.
  type: float
  returned: success
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import part
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, compare, inventory, options

OPTIONS = ("dest", "moment", "count", "retention_days", "expect", "depth", "part", "mutable")


def look(place, params, check_mode, progress):
    """Totals and list, or with expect the comparison."""
    progress.phase("listing")
    with client.opened(place) as bucket:
        if params["expect"]:
            found = compare.compare_bucket(bucket, params["expect"], params["depth"], progress.update)
        else:
            found = inventory.take(bucket, None if check_mode else params["dest"], moment=params["moment"],
                                   retention_days=params["retention_days"], count=params["count"],
                                   what=params["part"], pin=params["mutable"], on_progress=progress.update)
    return dict(place.facts(), **found)


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec())
    spec.update(
        dest={"type": "path"}, moment={"type": "str"}, count={"type": "bool", "default": True},
        retention_days={"type": "int"}, expect={"type": "path"},
        depth={"type": "str", "choices": list(compare.DEPTHS), "default": "listing"},
        part={"type": "str", "choices": list(part.PARTS), "default": part.ALL}, mutable={"type": "path"})
    module = AnsibleModule(
        argument_spec=spec, supports_check_mode=True, required_together=options.REQUIRED_TOGETHER,
        mutually_exclusive=options.MUTUALLY_EXCLUSIVE + [("expect", "dest"), ("expect", "moment"), ("expect", "mutable"), ("moment", "mutable")])
    redactor = Redactor()

    def body(module):
        place = options.of_module(module, redactor)
        if module.params["moment"]:
            clock.parse_utc(module.params["moment"])
        question = dict(place.fingerprint(), **{name: module.params[name] for name in OPTIONS})
        job = jobs.Job(None if module.check_mode else module.params["job_dir"], "object_storage_inventory",
                       jobs.fingerprint_of(question), redactor)
        return dict(job.run(lambda progress: look(place, module.params, module.check_mode, progress)), changed=False)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
