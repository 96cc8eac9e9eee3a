# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Kestra's API is reached. Kept in step with API_SPEC in plugins/module_utils/kestra/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_url:
    description:
      - Address of Kestra's web API, with the context path if there is one.
      - Default is what O(config) says, seen from Kestra's own host, for example V(http://localhost:8080).
      - Redirects are not followed, because they would take the login along.
    type: str
  management_url:
    description:
      - Address of Kestra's management port, where C(/health) is.
      - Default is what O(config) says, for example V(http://localhost:8081).
    type: str
  api_user:
    description: User for basic authentication. Default is the one in O(config), if it has one.
    type: str
  api_password:
    description: Password of O(api_user).
    type: str
  api_token:
    description: API token (Enterprise Edition), used instead of a user and a password.
    type: str
  tenant:
    description:
      - The tenant to ask. Default is every tenant of an Enterprise instance that lists them, V(main) for the open-source
        edition since 0.23, and none before.
    type: str
  validate_certs:
    description: Whether the certificate of an https address is checked.
    type: bool
    default: true
  ca_path:
    description: File with the certificate authority to check against, in PEM format.
    type: path
  api_timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 10.0
"""
