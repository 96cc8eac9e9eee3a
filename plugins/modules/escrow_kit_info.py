#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the escrow kit of an instance is there and still true, without opening it."""
from __future__ import annotations

DOCUMENTATION = r"""
module: escrow_kit_info
short_description: Tell whether the escrow kit is missing or stale, without its passphrase
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Looks at the kit that M(kestra_community.dr.escrow_kit) keeps, and at the record beside it, which tells when and for what it was
    written to whoever has the vault.
  - Says when there is none, when it is too old, and when it was made for another instance, for another repository or another
    password of it, for other keys of Kestra, or for another version.
  - A kit that is not V(current) is a warning, and so is a place that cannot be reached. Neither is a failure.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.restic
  - kestra_community.dr.escrow_place
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  bundles:
    description:
      - Directory with the configuration of every host as it is today, as M(kestra_community.dr.kestra_config_bundle) writes it
        (C(HOST.json)). Without it keys and version are not compared.
    type: path
  instance_id:
    description: The instance's id as it is today. Without it that is not compared.
    type: str
requirements:
  - PyYAML
seealso:
  - module: kestra_community.dr.escrow_kit
"""

EXAMPLES = r"""
- name: Does the kit on the other machine still open today's repository?
  kestra_community.dr.escrow_kit_info:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    path: /srv/escrow/kestra.asc
    sftp_host: safe.example.org
    sftp_user: escrow
    sftp_key_file: /etc/kestra-dr/escrow_ed25519
    sftp_known_hosts: /etc/kestra-dr/known_hosts
  register: escrow
  failed_when: escrow.kit.state != 'current'
"""

RETURN = r"""
kit:
  description: The kit.
  type: dict
  returned: success
  contains:
    place:
      description: Where it is.
      type: str
    state:
      description: V(current), V(stale), V(missing), or V(unknown) where its place cannot be reached.
      type: str
    why:
      description: Why it is not V(current).
      type: str
    written:
      description: When it was written, as UTC text, where that is known.
      type: str
    age_days:
      description: How old it is.
      type: float
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import (
    catalog,
    escrow,
    escrow_place,
    escrow_record,
    options,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def hosts(directory):
    """What is needed of every host today, or None when nothing tells."""
    if not directory:
        return None
    found = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), encoding="utf-8") as handle:
            found[os.path.splitext(name)[0]] = escrow.host_facts(handle.read())
    return found


def look(where, secret, facts, max_age_days, now):
    """What the kit is worth."""
    try:
        kit, record = where.read(), escrow_record.place_of(where).read()
    except DrError as exc:
        return {"written": None, "age_days": None, "state": "unknown", "why": str(exc)}
    return escrow_record.judge(kit, record, secret and escrow_record.digests(secret, facts), max_age_days, now)


def main():
    spec = dict(catalog.argument_spec(), **options.argument_spec(), **escrow_place.argument_spec())
    spec.update(bundles={"type": "path"}, instance_id={"type": "str"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, **escrow_place.CONSTRAINTS)
    redactor = Redactor()

    def body(module):
        params = module.params
        where = escrow_place.of_module(module, redactor)
        vault = catalog.Catalog(params["vault"], params["instance"])
        restic = Restic(options.of_module(params, module.no_log_values), redactor)
        facts = {"instance": {"name": params["instance"], "id": params["instance_id"]},
                 "repository": escrow.repository_facts(restic), "hosts": hosts(params["bundles"])}
        kit = dict(look(where, escrow_record.key(vault), facts, params["max_age_days"], clock.utc_now()), place=where.shown)
        if kit["state"] != "current":
            module.warn(f"The escrow kit {kit['place']} is {kit['state']}: {kit['why']}.")
        return {"changed": False, "kit": kit}

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
