#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_config_bundle
short_description: Collect a Kestra host's configuration into one bundle
version_added: 1.0.0
description:
  - Writes everything this host needs to start Kestra again into one file with mode 0600. These are the configuration
    files, the unit file with its drop-ins, environment files, the environment (with E(SECRET_*) and E(ENV_*)),
    keystores and certificates named in the configuration, and the list of plugins with digests.
  - The bundle holds secrets in the clear. Keep it in an encrypted repository and remove the file afterwards.
  - What is returned has names, sizes and digests, never a value.
  - It needs no PyYAML. Without it, or with a malformed file, the names of the keys are found by indentation alone.
options:
  dest:
    description: Path of the bundle. A directory that is missing is made, with mode 0700.
    type: path
    required: true
  host:
    description: Name of this host in the inventory, written into the bundle. Default is the host's own name.
    type: str
  extra_paths:
    description: Further files, or directories whose files are all taken.
    type: list
    elements: path
    default: []
  plugins_dir:
    description:
      - Kestra's plugin directory. Default is what the unit says (C(--plugins), E(KESTRA_PLUGINS_PATH), or the directory
        C(plugins) beside the executable).
    type: path
  plugins:
    description: What to take of the plugins, V(none), V(list) (names with digests) or V(content) (the files as well).
    type: str
    choices: [none, list, content]
    default: list
  executable:
    description:
      - Kestra's executable, asked for its version by C(--version). It is run without any configuration, because
        Kestra's command line would otherwise connect to the database and migrate it.
      - By default it is not run.
    type: path
  max_bytes:
    description: Refuse when the contents together are larger.
    type: int
    default: 67108864
extends_documentation_fragment:
  - kestra_community.dr.kestra_config
  - kestra_community.dr.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
    details: A bundle that holds the same already is left as it is.
seealso:
  - module: kestra_community.dr.kestra_config_restore
  - module: kestra_community.dr.kestra_config_info
author:
  - Kestra community DR contributors (@kestra-community)
"""

EXAMPLES = r"""
- name: Take everything the service kestra is started with
  kestra_community.dr.kestra_config_bundle:
    config:
      unit: kestra
    dest: /var/lib/kestra-dr/staging/config.json
    host: "{{ inventory_hostname }}"
    extra_paths:
      - /etc/kestra/tls
  register: bundle

- name: Show which keys were captured
  ansible.builtin.debug:
    var: bundle.captured['keys']
"""

RETURN = r"""
dest:
  description: Path of the bundle.
  returned: success
  type: str
  sample: /var/lib/kestra-dr/staging/config.json
size:
  description: Its size in bytes; null in check mode when it would be written.
  returned: success
  type: int
  sample: 20480
sha256:
  description: Its digest; null in check mode when it would be written.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
captured:
  description: What the bundle holds, by name.
  returned: success
  type: dict
  contains:
    host:
      description: The host's name.
      type: str
      sample: kestra1
    files:
      description: Path, kind, mode, owner, group, size and digest of each file.
      type: list
      elements: dict
      sample:
        - {path: /etc/kestra/application.yml, kind: config, mode: "0640", owner: root, group: kestra, size: 812,
           sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
    keys:
      description: Names of the settings that hold a secret.
      type: list
      elements: str
      sample: [datasources.postgres.password, kestra.encryption.secret-key]
    environment:
      description: Names of the environment variables, and which of them are secrets or variables of flows.
      type: dict
      sample: {names: [SECRET_API], secrets: [SECRET_API], variables: []}
    unit:
      description: The systemd unit.
      type: str
      sample: kestra.service
    plugins:
      description: Name, size and digest of each plugin.
      type: list
      elements: dict
      sample: []
    plugins_dir:
      description: The plugin directory.
      type: str
      sample: /opt/kestra/plugins
    kestra_version:
      description: What O(executable) says.
      type: str
      sample: 0.21.0
missing:
  description: Files the configuration names that do not exist.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import socket

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import bundle, config, options, sources

ARGUMENT_SPEC = {
    "config": options.CONFIG_SPEC,
    "dest": {"type": "path", "required": True},
    "host": {"type": "str"},
    "extra_paths": {"type": "list", "elements": "path", "default": []},
    "plugins_dir": {"type": "path"},
    "plugins": {"type": "str", "choices": ["none", "list", "content"], "default": "list"},
    "executable": {"type": "path"},
    "max_bytes": {"type": "int", "default": 64 << 20},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        params = module.params
        gathered = options.gather_from_params(params["config"])
        options.protect(module, config.load_lenient(gathered.sources), redactor)
        taken, report = bundle.build(
            gathered, host=params["host"] or socket.gethostname(), extra_paths=params["extra_paths"],
            plugins_dir=params["plugins_dir"], plugins=params["plugins"], executable=params["executable"],
            max_bytes=params["max_bytes"])
        for warning in report.pop("warnings"):
            module.warn(redactor.scrub(warning))
        size = digest = None
        changed = not _holds(params["dest"], taken)
        if not changed:
            size, digest = os.path.getsize(params["dest"]), bundle.files.sha256_file(params["dest"])
        elif not module.check_mode:
            _private_directory(os.path.dirname(os.path.abspath(params["dest"])))
            size, digest = bundle.write(params["dest"], taken)
        return {"changed": changed, "dest": params["dest"], "size": size, "sha256": digest,
                "missing": report.pop("missing"), "captured": report}

    wiring.run(module, body, redactor)


def _private_directory(path):
    before = os.umask(0o077)  # the mode of makedirs is that of the last directory only
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as exc:
        raise StateError(f"The directory {path} for the bundle cannot be made: {exc.strerror}.", reason="not_found") from None
    finally:
        os.umask(before)


def _holds(dest, taken):
    """Whether dest is a private bundle with this content already."""
    try:
        return bundle.same(sources.read_bundle(dest), taken) and os.stat(dest).st_mode & 0o077 == 0
    except DrError:
        return False


if __name__ == "__main__":
    main()
