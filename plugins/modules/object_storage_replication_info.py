#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Kestra's bucket is replicated."""
from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_replication_info
short_description: Prove that a bucket is replicated into another one, and measure how far behind it is
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Looks at both buckets (versions, encryption, lifecycle) and at the rules of the source, whoever made them.
  - Writes a small object below C(.kestra-dr-probe/) in O(prefix), where Kestra has nothing, waits until it is in the target, and
    removes it from both for good.
  - Compares every object of the source with those in the target by listings of both, one request for a thousand, and asks the source
    for the status of a sample of them and of those that differ.
  - What was written less than O(limit) seconds ago may be under way, and is counted apart.
  - Rules can be read of O(type=s3) only. Of another O(type) lag and objects are looked at all the same. Of O(type=azure) the object that
    arrives says whether it is a replica, which stands for the rule; of O(type=gcs) the verdict is V(not_proved), because what copies the
    objects is not known. RV(source) has C(provider), what the provider says of a bucket that it replicates itself.
  - A replica is no backup. What is deleted or overwritten by mistake is so in both; V(proved) says that the replica follows, not
    that recovery points could be done without.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.object_storage
  - kestra_community.dr.object_storage_target
  - kestra_community.dr.kestra_config
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details: No object is written, so RV(lag) is not measured.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  limit:
    description: Within how many seconds an object has to be in the target.
    type: float
    default: 300.0
  sample_percent:
    description: Of how many objects the source is asked for the status, one request for each. Those that differ are asked for anyway.
    type: int
    default: 100
  sample_seed:
    description: Which objects belong to the sample; the same ones for the same text.
    type: str
    default: kestra-dr
  retention_days:
    description: How many days earlier versions are needed, to find lifecycle rules of either bucket that delete them sooner.
    type: int
seealso:
  - module: kestra_community.dr.object_storage_replication
"""

EXAMPLES = r"""
- name: Prove that the bucket is replicated
  kestra_community.dr.object_storage_replication_info:
    config:
      files: [/etc/kestra/application.yml]
    target:
      endpoint: https://minio.elsewhere.example.com:9000
      bucket: kestra
      credentials_file: /etc/kestra-dr/minio-elsewhere
    limit: 60
    retention_days: 30
  register: replication
  failed_when: replication.verdict != 'proved'
"""

RETURN = r"""
verdict:
  description: V(proved) when every object is in the target and new ones get there within O(limit), else V(not_proved).
  type: str
  returned: success
problems:
  description:
    - What speaks against it, each with C(what) (V(target_unusable), V(versioning), V(rules_unknown), V(not_configured), V(not_covered),
      V(encrypted_left_out), V(lag), V(lag_unknown), V(no_replica), V(missing), V(differs), V(failed) or V(pending)) and C(message).
  type: list
  elements: dict
  returned: success
risks:
  description:
    - What makes the replica a bad place to come back from, each with C(what) (V(deletes_unprotected), V(lifecycle), V(encryption) or
      V(probe_left)) and C(message).
  type: list
  elements: dict
  returned: success
lag:
  description:
    - C(seconds) from the writing of an object until it was in the target, null when it was not there within C(limit). It is the
      replica's part of the recovery point objective. C(replica) says whether the target calls it one. Null when it was not measured.
  type: dict
  returned: success
  sample: {seconds: 1.204, limit: 60.0, replica: true}
rules:
  description: The rules of the source, null when its server does not tell.
  type: list
  elements: dict
  returned: success
covering:
  description: Those of them that replicate all of Kestra's objects into the target.
  type: list
  elements: dict
  returned: success
objects:
  description:
    - C(compared) is the number of objects in the source, C(in_flight) of those that may be under way, C(missing) of those that are
      not in the target and C(never_tried) of those of them that no rule was there for, C(differs) of those that are others there,
      C(unexpected) of those that are only in the target, C(examples) some keys of each. Null when the target cannot be looked at.
  type: dict
  returned: success
status:
  description:
    - What the source's server says of the objects it was C(asked) for, namely C(completed), C(pending), C(failed), C(replica), C(none);
      C(late) are those pending for longer than O(limit).
  type: dict
  returned: success
source:
  description: The bucket, with C(endpoint), C(bucket), C(prefix), C(server), C(versioning), C(encryption), C(provider), C(lifecycle).
  type: dict
  returned: success
target:
  description: The same of the target, null when it cannot be looked at.
  type: dict
  returned: success
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, options, proof

OPTIONS = ("limit", "sample_percent", "sample_seed", "retention_days")


def main():
    spec = dict(options.argument_spec(), **jobs.argument_spec(), target=options.target_spec(),
                limit={"type": "float", "default": 300.0}, sample_percent={"type": "int", "default": 100},
                sample_seed={"type": "str", "default": "kestra-dr", "no_log": False}, retention_days={"type": "int"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, required_together=options.REQUIRED_TOGETHER,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = Redactor()

    def body(module):
        params = module.params
        place = options.of_module(module, redactor)
        target_place = options.of_target(module, redactor, place)

        def look(progress):
            with client.opened(place) as source, client.opened(target_place) as target:
                return proof.prove(source, target, limit=params["limit"], percent=params["sample_percent"], seed=params["sample_seed"],
                                   probing=not module.check_mode, retention_days=params["retention_days"], progress=progress)

        question = {"source": place.fingerprint(), "target": target_place.fingerprint(), **{name: params[name] for name in OPTIONS}}
        job = jobs.Job(None if module.check_mode else params["job_dir"], "object_storage_replication", jobs.fingerprint_of(question),
                       redactor)
        found = job.run(look)
        for risk in found["risks"]:
            module.warn(redactor.scrub(risk["message"]))
        return dict(found, changed=False)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
