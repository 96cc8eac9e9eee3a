#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the escrow kit of an instance in a second place."""
from __future__ import annotations

DOCUMENTATION = r"""
module: escrow_kit
short_description: Keep keys and instructions apart from the data they open
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Writes one encrypted text with what a person needs when only the repository is left - its address and password, the
    variables of its backend, the identity of instance, database and repository, Kestra's keys, passwords and C(SECRET_*)
    variables, versions, and the commands to restore by hand.
  - It is made from a sealed recovery point, and encrypted by C(gpg) with a passphrase - AES-256, ASCII-armoured, so that
    it can be printed. C(gpg --pinentry-mode loopback --decrypt FILE) opens it on any machine that has GnuPG.
  - Nothing of its content is returned.
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.vault
  - kestra_community.dr.restic
  - kestra_community.dr.escrow_place
attributes:
  check_mode:
    support: full
    details: Tells what the kit in place is worth and whether it would be written.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: A kit whose content is still true, and that is not too old, is left alone.
options:
  state:
    description:
      - V(present) writes the kit when there is none, when its content is no longer true, or when it is older than
        O(max_age_days).
      - V(query) only tells which of that is so.
    type: str
    choices: [present, query]
    default: present
  id:
    description: The recovery point to make it from, V(latest) or V(latest_verified).
    type: str
    default: latest
  passphrase_file:
    description:
      - File whose first line is the passphrase, of 16 bytes or more. It must not be readable by everybody.
      - Whoever restores must know the passphrase without this host. A kit in place that it does not open is an error and
        stays as it is.
    type: path
    required: true
  gpg_binary:
    description: Name or path of GnuPG's program, version 2.2 or newer.
    type: path
    default: gpg
requirements:
  - GnuPG >= 2.2
  - PyYAML
seealso:
  - module: kestra_community.dr.escrow_kit_info
"""

EXAMPLES = r"""
- name: Keep a kit on another machine
  kestra_community.dr.escrow_kit:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    repository: sftp:backup@backup.example.org:/kestra
    repository_password_file: /etc/kestra-dr/restic
    path: /srv/escrow/kestra.asc
    passphrase_file: /etc/kestra-dr/escrow
    sftp_host: safe.example.org
    sftp_user: escrow
    sftp_key_file: /etc/kestra-dr/escrow_ed25519
    sftp_known_hosts: /etc/kestra-dr/known_hosts

- name: Keep a kit in a bucket of another account
  kestra_community.dr.escrow_kit:
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    path: kestra.asc
    passphrase_file: /etc/kestra-dr/escrow
    s3_bucket: escrow
    s3_endpoint: https://objects.example.org
    s3_credentials_file: /etc/kestra-dr/escrow-bucket

- name: Is the kit there, and is it still true?
  kestra_community.dr.escrow_kit:
    state: query
    vault: /var/lib/kestra-dr/vault
    instance: kestra
    repository: /srv/backup/kestra
    repository_password_file: /etc/kestra-dr/restic
    path: /media/stick/kestra.asc
    passphrase_file: /etc/kestra-dr/escrow
  register: escrow
  failed_when: escrow.kit.state != 'current'
"""

RETURN = r"""
kit:
  description: The kit as it is now, or would be in check mode.
  type: dict
  returned: success
  contains:
    place:
      description: Where it is.
      type: str
      sample: sftp://escrow@safe.example.org:22/srv/escrow/kestra.asc
    state:
      description: V(current), V(stale) or V(missing).
      type: str
    why:
      description: Why it is stale or missing.
      type: str
    written:
      description: When it was written, as UTC text.
      type: str
    age_days:
      description: How old it is.
      type: float
found:
  description: The kit as it was before, with the same members.
  type: dict
  returned: success
id:
  description: Id of the recovery point that it was compared with.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, openpgp, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import (
    catalog,
    escrow,
    escrow_place,
    escrow_record,
    in_use,
    options,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic


def opened(kit, where, params):
    """The text of the kit in place, or None."""
    if kit is None:
        return None
    text = openpgp.decrypt(kit, params["passphrase_file"], where.shown, params["gpg_binary"])
    return text.decode("utf-8", "surrogateescape")


def keep(where, kit, text, found, digests, now, params, write):
    """Writes the kit, and the record beside it, where that is needed and wanted. found: what the kit in place is worth."""
    beside = escrow_record.place_of(where)
    wanted = params["state"] == "present"
    renewed = wanted and found["state"] != "current"
    noted = wanted and (renewed or escrow_record.judge(kit, beside.read(), digests, params["max_age_days"], now)["state"] != "current")
    if renewed and write:
        kit = openpgp.encrypt(text.encode("utf-8", "surrogateescape"), params["passphrase_file"], params["gpg_binary"])
        where.write(kit)
    if noted and write:
        beside.write(escrow_record.compose(kit, now if renewed else found["written"], digests))
    now_is = dict(escrow.judge(text, text, params["max_age_days"], now), place=where.shown) if renewed else found
    return {"changed": renewed or noted, "found": found, "kit": now_is}


def main():
    spec = dict(catalog.argument_spec(), **options.argument_spec(), **escrow_place.argument_spec())
    spec.update(
        state={"type": "str", "choices": ["present", "query"], "default": "present"},
        id={"type": "str", "default": "latest"}, passphrase_file={"type": "path", "required": True, "no_log": False},
        gpg_binary={"type": "path", "default": "gpg"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, **escrow_place.CONSTRAINTS)
    redactor = Redactor()

    def body(module):
        params = module.params
        where = escrow_place.of_module(module, redactor)
        openpgp.check_passphrase_file(params["passphrase_file"])
        vault = catalog.Catalog(params["vault"], params["instance"])
        vault.check_vault()
        restic = Restic(options.of_module(params, module.no_log_values), redactor)
        escrow_place.require_apart(where, vault.vault, restic.repository.location)
        point = catalog.choose(vault.summaries(), params["id"], vault.instance)["id"]
        kit = where.read()
        held = opened(kit, where, params)
        with in_use.reading(vault, point):
            facts = escrow.gather(vault, point, restic)
        write, now = not module.check_mode, clock.utc_now()
        text = escrow.compose(facts, now)
        found = dict(escrow.judge(held, text, params["max_age_days"], now), place=where.shown)
        secret = escrow_record.key(vault, make=write and params["state"] == "present")
        digests = secret and escrow_record.digests(secret, facts)
        return dict(keep(where, kit, text, found, digests, now, params, write), id=point)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
