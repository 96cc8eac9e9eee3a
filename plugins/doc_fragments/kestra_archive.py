# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options about Enterprise's metadata archive. Must be kept in sync with argument_spec() in module_utils/kestra/archives.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  encryption_key:
    description:
      - Key of the archive, base64 of 16, 24 or 32 bytes. Default is the instance's own, C(kestra.encryption.secret-key).
      - An archive can only be restored with the key it was made with. Keep a copy of the key outside of Kestra.
    type: str
  encryption_key_file:
    description: File with the key, on the host the module runs on; blanks around it are ignored.
    type: path
  encryption_key_by:
    description:
      - How a given key reaches Kestra's command line.
      - V(environment) sets it in place of C(kestra.encryption.secret-key) for that one process, where nobody else sees it.
        It is refused where a configuration file of C(--config) or a Java property sets another key, because that would
        win. Whether Kestra uses this setting for anything but the archive while it makes or restores one is not
        documented.
      - V(argument) uses C(--encryption-key), the only other way Kestra has. The key then shows in the process list while
        the command runs (in Kubernetes also in the audit log of the API server), but not in what this module logs or
        returns.
    type: str
    choices: [environment, argument]
    default: environment
  resources:
    description:
      - Only these kinds, for example V(FLOW) and V(NAMESPACE). Default is what Kestra takes by itself.
      - The kinds of 2.x are V(APP), V(BANNER), V(BINDING), V(BLUEPRINT), V(CREDENTIAL), V(DASHBOARD), V(EXECUTION),
        V(FLOW), V(GROUP), V(INVITATION), V(KILL_SWITCH), V(KV_STORE), V(LOG), V(METRIC), V(NAMESPACE),
        V(NAMESPACE_FILE), V(ROLE), V(SECRET), V(SECURITY_INTEGRATION), V(SETTING), V(TENANT), V(TENANT_ACCESS),
        V(TEST_SUITE), V(TRIGGER), V(USER), V(WORKER_GROUP). Earlier versions know fewer; Kestra refuses those it does
        not know.
    type: list
    elements: str
    default: []
  storage_path:
    description:
      - Root of Kestra's internal storage where the command line runs, when it is a local one.
      - Default is the storage of O(config), a local one (C(kestra.storage.local.base-path)) or a bucket.
    type: str
  storage_credentials_file:
    description:
      - File with C(AWS_ACCESS_KEY_ID) and C(AWS_SECRET_ACCESS_KEY) for a bucket, on the host the module runs on, for its owner
        alone. Kestra's own when not given.
    type: path
"""
