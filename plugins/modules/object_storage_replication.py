#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the server replicate Kestra's bucket."""
from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_replication
short_description: Have a bucket replicated into another one by its server
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Switches versions on in both buckets and makes a rule by which the source's server copies what is below O(prefix) into the target.
    Other rules stay as they are. For O(type=s3) only; other providers have no such rules, and are refused.
  - At MinIO also makes the target that the rule names, with the credentials of O(target), which that server keeps. This needs
    credentials that may administer the source's server, or O(target_arn).
  - A replica is no backup. What Kestra, a person or a program does to objects by mistake is done to the replica in the next moment,
    and nothing keeps its moment together with the database's. It makes a region's loss cheaper; recovery points stay necessary.
  - Whether it works is told by M(kestra_community.dr.object_storage_replication_info).
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.object_storage
  - kestra_community.dr.object_storage_target
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: At MinIO a new secret key of the same access key is not noticed. End the replication and set it up again.
options:
  state:
    description:
      - V(absent) removes the rule; objects and versions stay in both buckets. MinIO removes its targets with the last rule.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the rule.
    type: str
    default: kestra-dr
  delete_markers:
    description:
      - Whether deletions are replicated, as marks that leave earlier versions in the target. With V(false) the replica keeps
        what Kestra has deleted, and Kestra would find keys and files on it that are gone.
      - Deletions of versions are never replicated.
    type: bool
    default: true
  others:
    description: What happens when the source has other rules. V(refuse) fails before anything is changed.
    type: str
    choices: [keep, refuse]
    default: keep
  role:
    description:
      - ARN of the IAM role that Amazon replicates with, which may read the source and replicate into the target. Default is that of the
        rules that are there. MinIO has none.
    type: str
  target_arn:
    description:
      - How the source's server names the target. Default is C(arn:aws:s3:::BUCKET), and at MinIO the ARN of the target that is
        there or is made.
      - At MinIO it can be made with C(mc admin bucket remote add SOURCE/BUCKET URL --service replication), which prints it, for
        example when its server reaches the target by another name than this host.
    type: str
requirements:
  - cryptography, to make a target at MinIO
seealso:
  - module: kestra_community.dr.object_storage_replication_info
"""

EXAMPLES = r"""
- name: From one MinIO server into another one
  kestra_community.dr.object_storage_replication:
    config:
      files: [/etc/kestra/application.yml]
    credentials_file: /etc/kestra-dr/minio-admin
    target:
      endpoint: https://minio.elsewhere.example.com:9000
      bucket: kestra
      credentials_file: /etc/kestra-dr/minio-elsewhere

- name: Into another region at Amazon, where deletions do not follow
  kestra_community.dr.object_storage_replication:
    region: eu-central-1
    bucket: kestra
    role: arn:aws:iam::123456789012:role/kestra-replication
    delete_markers: false
    target:
      region: eu-west-1
      bucket: kestra-replica
"""

RETURN = r"""
rule:
  description: The rule as it is, in check mode as it would be; none when it is absent.
  type: dict
  returned: success
  sample: {id: kestra-dr, enabled: true, priority: 1, prefix: "", tagged: false, destination: "arn:aws:s3:::kestra-replica",
           delete_markers: true, version_deletes: false, existing: false, kms: false}
versions_switched_on:
  description: Buckets that kept no versions until now. Versions cannot be switched off again, only suspended.
  type: list
  elements: str
  returned: success
target_made:
  description: Whether the target was made at a MinIO server.
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, options, replicate


def main():
    spec = dict(options.argument_spec(), target=options.target_spec(),
                state={"type": "str", "choices": ["present", "absent"], "default": "present"},
                name={"type": "str", "default": "kestra-dr"}, delete_markers={"type": "bool", "default": True},
                others={"type": "str", "choices": ["keep", "refuse"], "default": "keep"}, role={"type": "str"},
                target_arn={"type": "str"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, required_together=options.REQUIRED_TOGETHER,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = Redactor()

    def body(module):
        params = module.params
        place = options.of_module(module, redactor)
        target_place = options.of_target(module, redactor, place)
        with client.opened(place) as source, client.opened(target_place) as target:
            if params["state"] == "absent":
                done = replicate.absent(source, params["name"], check_mode=module.check_mode)
            else:
                done = replicate.present(
                    source, target, params["name"], arn=params["target_arn"], role=params["role"],
                    delete_markers=params["delete_markers"], others=params["others"], check_mode=module.check_mode)
        return dict(done, diff={"before": done.pop("before"), "after": done.pop("after")})

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
