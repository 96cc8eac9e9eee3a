# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option target. Must be kept in sync with target_spec() in plugins/module_utils/storage/objects/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  target:
    description: The bucket that Kestra's is replicated into, of the same O(type). Its keys are those of the source, so O(prefix) counts for both.
    type: dict
    required: true
    suboptions:
      bucket:
        description: The bucket.
        type: str
        required: true
      endpoint:
        description: URL of its object store. Default is Amazon's own for O(target.region).
        type: str
      region:
        description: Region to sign for. Default is V(us-east-1).
        type: str
      access_key:
        description: Access key. Without any, what the SDK finds (environment, profile, the machine's role).
        type: str
      secret_key:
        description: Secret key of O(target.access_key).
        type: str
      session_token:
        description: Session token of temporary credentials.
        type: str
      credentials_file:
        description: File with the credentials, as O(credentials_file).
        type: path
      addressing:
        description: As O(addressing). Default is V(path) with O(target.endpoint) and V(virtual) without.
        type: str
        choices: [path, virtual]
      ca_path:
        description: File with the certificate authority to check its server against, in PEM format.
        type: path
      validate_certs:
        description: Whether its server's certificate is checked. Default is V(true).
        type: bool
"""
