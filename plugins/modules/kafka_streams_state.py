#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes what Kafka Streams keeps on an executor's disk."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_streams_state
short_description: Remove what Kafka Streams keeps of Kestra's topics on an executor's disk
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Removes the directories of Kestra's applications from state directories of Kafka Streams, on the host the module runs on.
  - What they hold was made from topics. When Kafka is new or its topics were deleted, it has to go on every host that runs an
    executor, before Kestra starts. On the host M(kestra_community.dr.kestra_restore_queue) runs on, that does it.
  - Only directories called after Kestra's consumer groups are removed, and none while Kestra is at work on one of them.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  directories:
    description:
      - The state directories (Kestra's C(state.dir), by default C(/tmp/kafka-streams)). One that does not exist holds
        nothing.
    type: list
    elements: path
    required: true
  consumer_prefix:
    description: What the names of Kestra's consumer groups begin with. Default is what O(config) says, else V(kestra_).
    type: str
seealso:
  - module: kestra_community.dr.kestra_restore_queue
"""

EXAMPLES = r"""
- name: Forget the old Kafka on every executor
  kestra_community.dr.kafka_streams_state:
    directories: [/var/lib/kestra/kafka-streams]
    config:
      unit: kestra
"""

RETURN = r"""
removed:
  description: The directories that were removed.
  type: list
  elements: str
  returned: success
  sample: [/var/lib/kestra/kafka-streams/kestra_executor]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.kafka import options, streams
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import options as kestra_options

ARGUMENT_SPEC = {
    "directories": {"type": "list", "elements": "path", "required": True},
    "consumer_prefix": {"type": "str"},
    "config": kestra_options.CONFIG_SPEC,
}


def prefix_of(module, redactor) -> str:
    """What the names of Kestra's applications begin with."""
    configuration = kestra_options.read_of(module, redactor)
    known = options.settings_of(configuration).get("consumers") if configuration is not None else None
    return module.params["consumer_prefix"] or known or options.Place.consumers


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        prefix = prefix_of(module, redactor)
        found = [path for directory in module.params["directories"] for path in streams.applications(directory, prefix)]
        streams.require_unused(found)
        if not module.check_mode:
            streams.wipe(found)
        diff = {"before": "".join(path + "\n" for path in found), "after": ""}
        return {"changed": bool(found), "removed": found, "diff": diff}

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
