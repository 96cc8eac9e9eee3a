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
  path:
    description:
      - Absolute path of the kit. On this host unless O(sftp_host) is given; its directory must exist.
      - A place inside the vault or the repository is refused, because the kit would be lost with them.
    type: path
    required: true
  passphrase_file:
    description:
      - File whose first line is the passphrase, of 16 bytes or more. It must not be readable by everybody.
      - Whoever restores must know the passphrase without this host. A kit in place that it does not open is an error and
        stays as it is.
    type: path
    required: true
  max_age_days:
    description: Days after which the kit is written again although nothing has changed.
    type: int
    default: 30
  sftp_host:
    description: Host to write the kit to, by SFTP. Its directory must exist there.
    type: str
  sftp_port:
    description: Port of its SSH server.
    type: int
    default: 22
  sftp_user:
    description: User to log in as.
    type: str
  sftp_key_file:
    description: Private key to log in with, without a passphrase.
    type: path
  sftp_known_hosts:
    description:
      - File that holds the host's key, as C(known_hosts) of OpenSSH. A host whose key is not in it, or is another one, is
        refused.
    type: path
  gpg_binary:
    description: Name or path of GnuPG's program, version 2.2 or newer.
    type: path
    default: gpg
requirements:
  - GnuPG >= 2.2
  - paramiko, for O(sftp_host)
  - PyYAML
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
from ansible_collections.kestra_community.dr.plugins.module_utils.core import clock, openpgp, places, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import catalog, escrow, in_use, options
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic

SFTP = ("sftp_host", "sftp_user", "sftp_key_file", "sftp_known_hosts")


def place(params):
    """Where the kit is kept."""
    if not params["path"].startswith("/"):
        raise ConfigError("path must be absolute.", reason="bad_path")
    if not params["sftp_host"]:
        return places.Local(params["path"])
    return places.Sftp(params["path"], host=params["sftp_host"], port=params["sftp_port"], user=params["sftp_user"],
                       key_file=params["sftp_key_file"], known_hosts=params["sftp_known_hosts"])


def opened(where, params):
    """The text of the kit in place, or None."""
    held = where.read()
    if held is None:
        return None
    held = openpgp.decrypt(held, params["passphrase_file"], where.shown, params["gpg_binary"])
    return held.decode("utf-8", "surrogateescape")


def keep(where, held, text, now, params, write):
    """Compares the text of the kit in place with that of now, and writes it if that is needed and wanted."""
    found = dict(escrow.judge(held, text, params["max_age_days"], now), place=where.shown)
    result = {"changed": params["state"] == "present" and found["state"] != "current", "found": found, "kit": found}
    if result["changed"]:
        if write:
            where.write(openpgp.encrypt(text.encode("utf-8", "surrogateescape"), params["passphrase_file"],
                                        params["gpg_binary"]))
        result["kit"] = dict(escrow.judge(text, text, params["max_age_days"], now), place=where.shown)
    return result


def main():
    spec = dict(catalog.argument_spec(), **options.argument_spec())
    spec.update(
        state={"type": "str", "choices": ["present", "query"], "default": "present"},
        id={"type": "str", "default": "latest"}, path={"type": "path", "required": True},
        passphrase_file={"type": "path", "required": True, "no_log": False},
        max_age_days={"type": "int", "default": 30}, sftp_host={"type": "str"}, sftp_port={"type": "int", "default": 22},
        sftp_user={"type": "str"}, sftp_key_file={"type": "path", "no_log": False}, sftp_known_hosts={"type": "path"},
        gpg_binary={"type": "path", "default": "gpg"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, required_one_of=options.REQUIRED_ONE_OF,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE, required_together=[SFTP])
    redactor = Redactor()

    def body(module):
        params = module.params
        where = place(params)
        openpgp.check_passphrase_file(params["passphrase_file"])
        vault = catalog.Catalog(params["vault"], params["instance"])
        vault.check_vault()
        restic = Restic(options.of_module(params, module.no_log_values), redactor)
        escrow.require_apart(where, vault.vault, restic.repository.location)
        point = catalog.choose(vault.summaries(), params["id"], vault.instance)["id"]
        held = opened(where, params)
        with in_use.reading(vault, point):
            facts = escrow.gather(vault, point, restic)
        now = clock.utc_now()
        return dict(keep(where, held, escrow.compose(facts, now), now, params, not module.check_mode), id=point)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
