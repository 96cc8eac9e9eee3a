#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Kestra is at work on its database."""
from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_activity_info
short_description: Tell whether anything of Kestra is at work on its PostgreSQL database
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Returns the sessions on the database, and the Kestra servers whose heartbeat in C(service_instance) is fresh.
  - That Kestra has stopped is proved here, at the data, and not by a service manager, which knows one host only.
  - A database that does not exist is quiet.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.postgresql
  - kestra_community.dr.kestra_config
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  kestra_user:
    description: Kestra's database role. Default is the one in O(config), else O(login_user).
    type: str
  heartbeat_seconds:
    description:
      - A heartbeat counts as fresh for so many seconds, by the clock of the database server. Kestra writes one every
        three seconds.
      - A server that was killed looks alive for that long; one that stopped in order does not.
    type: float
    default: 30.0
  observe_seconds:
    description:
      - Look twice, so many seconds apart, whether work goes on (RV(observed)). For a Kestra in maintenance mode.
      - Counts executions, logs and metrics, and reads executions under way, twice.
    type: float
"""

EXAMPLES = r"""
- name: Wait until no Kestra server works on the database
  kestra_community.dr.postgresql_activity_info:
    config:
      files: [/etc/kestra/application.yml]
  register: activity
  until: activity.quiet
  retries: 20
  delay: 2
"""

RETURN = r"""
exists:
  description: Whether the database exists.
  type: bool
  returned: success
quiet:
  description: Whether there is neither a session of Kestra's role, besides those of this collection, nor a fresh
    heartbeat.
  type: bool
  returned: success
kestra_sessions:
  description: Sessions of Kestra's role.
  type: list
  elements: dict
  returned: success
  sample:
    - {pid: 4711, user: kestra, application: PostgreSQL JDBC Driver, client: 10.0.0.5, state: idle, ours: false}
other_sessions:
  description: Sessions of other roles. They do not disturb a dump, but keep the database from being replaced.
  type: list
  elements: dict
  returned: success
heartbeats:
  description: Kestra servers heard of lately.
  type: list
  elements: dict
  returned: success
  sample: [{id: B2IrT4bM4KpPPdnhF9Sz3, type: EXECUTOR, state: RUNNING, host: kestra-1, age_seconds: 1.2}]
observed:
  description:
    - What two looks found. C(still) says that no execution, task run, job of a worker, log or metric is another than before;
      C(advanced) names what is.
    - C(went_on) is what maintenance mode lets go on, how many executions were C(created), and whether there were C(messages) and
      C(triggers) and C(heartbeats) changed. C(told) is all of it in one line.
  type: dict
  returned: with O(observe_seconds)
  sample:
    still: true
    seconds: 10.0
    advanced: []
    went_on: {created: 2, messages: true, triggers: true, heartbeats: true}
    told: 2 executions created; messages; triggers; heartbeats
summary:
  description: All that in one line.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts, heartbeats
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import activity, options

NOBODY = {"exists": False, "quiet": True, "kestra_sessions": [], "other_sessions": [], "heartbeats": []}


def look(place, params):
    """The module's result."""
    try:
        found = activity.read(place.login, place.require_database(), schema=place.schema,
                              kestra_user=params["kestra_user"] or place.user or place.login.user,
                              within=params["heartbeat_seconds"])
    except ConnectError as exc:
        if exc.reason != "database_missing":
            raise
        return dict(NOBODY, summary="The database does not exist.")
    if params["observe_seconds"]:
        found = dict(found, observed=activity.observe(place.login, place.require_database(), params["observe_seconds"], schema=place.schema))
    return dict(found, exists=True, summary=heartbeats.summary(found))


def main():
    spec = dict(options.argument_spec(), kestra_user={"type": "str"},
                heartbeat_seconds={"type": "float", "default": 30.0}, observe_seconds={"type": "float"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        return facts.trust(module, dict(look(options.of_module(module, redactor), module.params), changed=False))

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
