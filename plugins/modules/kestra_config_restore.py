#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_config_restore
short_description: Give a Kestra host its configuration back from a bundle
version_added: 1.0.0
description:
  - Compares the files of a bundle written by M(kestra_community.dr.kestra_config_bundle) with those on this host, and
    writes them with their owner, group, mode and modification time.
  - The whole bundle is checked before anything is written. Each file is replaced in one step; what it replaces is kept
    beside it.
  - The service manager is not told. When RV(daemon_reload) is true, run C(systemctl daemon-reload).
options:
  bundle:
    description: Path of the bundle on this host.
    type: path
    required: true
  mode:
    description:
      - V(missing) writes only files that are not there.
      - V(always) replaces files that differ as well, and sets owner, group and mode.
      - V(report) writes nothing and returns the differences.
    type: str
    choices: [missing, always, report]
    default: missing
  kinds:
    description: Which files to look at.
    type: list
    elements: str
    choices: [config, environment, unit, keystore, extra, plugin]
    default: [config, environment, unit, keystore, extra, plugin]
  root:
    description: Directory that stands for C(/), to restore somewhere else.
    type: path
    default: /
  keep_replaced:
    description: Whether a replaced file is kept beside the new one, with the suffix C(.before-restore-TIME).
    type: bool
    default: true
extends_documentation_fragment:
  - kestra_community.dr.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows names, modes, owners and digests, never contents.
  idempotent:
    support: full
seealso:
  - module: kestra_community.dr.kestra_config_bundle
author:
  - Kestra community DR contributors (@kestra-community)
"""

EXAMPLES = r"""
- name: See what would differ
  kestra_community.dr.kestra_config_restore:
    bundle: /var/lib/kestra-dr/staging/config.json
    mode: report
  register: difference

- name: Put back what is missing on a new host
  kestra_community.dr.kestra_config_restore:
    bundle: /var/lib/kestra-dr/staging/config.json
  register: restored

- name: Tell systemd
  ansible.builtin.systemd_service:
    daemon_reload: true
  when: restored.daemon_reload
"""

RETURN = r"""
files:
  description:
    - Each file of the bundle. C(found) is V(missing), V(same), V(differs) or V(attributes) (only owner, group or mode
      differ), C(action) is V(write), V(attributes) or V(keep).
  returned: success
  type: list
  elements: dict
  sample:
    - {path: /etc/kestra/application.yml, target: /etc/kestra/application.yml, kind: config, found: missing,
       action: write, size: 812, mode: "0640", owner: root, group: kestra, present: null,
       sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
kept:
  description: Replaced files that were kept.
  returned: success
  type: list
  elements: str
  sample: []
daemon_reload:
  description: Whether a unit file was (or would be) written.
  returned: success
  type: bool
  sample: true
environment_only:
  description: >-
    Names of variables the bundle's environment has that are in none of its files. They were passed to Kestra in another
    way and have to be given back by hand.
  returned: success
  type: list
  elements: str
  sample: []
host:
  description: The host the bundle was taken on.
  returned: success
  type: str
  sample: kestra1
created:
  description: When it was taken (UTC).
  returned: success
  type: str
  sample: "2026-11-23T00:15:00.123456Z"
kestra_version:
  description: Kestra's version as the bundle has it.
  returned: success
  type: str
  sample: 0.21.0
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import bundle, sources

ARGUMENT_SPEC = {
    "bundle": {"type": "path", "required": True},
    "mode": {"type": "str", "choices": ["missing", "always", "report"], "default": "missing"},
    "kinds": {"type": "list", "elements": "str", "choices": list(bundle.KINDS), "default": list(bundle.KINDS)},
    "root": {"type": "path", "default": "/"},
    "keep_replaced": {"type": "bool", "default": True},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        params = module.params
        path = params["bundle"]
        content = sources.read_bundle(path)
        redactor.add(*bundle.secrets(path))
        steps = bundle.plan(path, content, mode=params["mode"], kinds=params["kinds"], root=params["root"])
        todo = [step for step in steps if step["action"] != "keep"]
        kept = []
        if not module.check_mode:
            kept = bundle.apply(path, content, steps, keep_replaced=params["keep_replaced"])
        result = {"changed": bool(todo), "files": steps, "kept": kept,
                  "daemon_reload": any(step["kind"] == "unit" for step in todo),
                  "environment_only": bundle.environment_only(path, content), "host": content.get("host"),
                  "created": content.get("created"), "kestra_version": content.get("kestra_version")}
        if module._diff:
            result["diff"] = bundle.diff(steps)
        return result

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
