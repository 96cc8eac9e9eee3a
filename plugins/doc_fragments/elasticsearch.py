# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group elasticsearch. Must be kept in sync with plugins/module_utils/engines/elasticsearch/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_hosts:
    description:
      - The cluster's hosts, as URLs like V(https://es1.example.com:9200). When one does not answer the next is asked.
        Default is what O(config) says.
    type: list
    elements: str
  login_user:
    description:
      - User to connect as. Default is Kestra's own user as O(config) says, else nobody.
      - A snapshot needs the cluster privileges C(create_snapshot) and C(monitor), and C(read), C(view_index_metadata),
        C(monitor) and C(maintenance) on the indices. Restoring needs C(manage) on the cluster, and C(all) on the indices
        and on C(kdr-*).
    type: str
  login_password:
    description:
      - Password of O(login_user). Default is Kestra's own password from O(config) when O(login_user) is Kestra's user.
    type: str
  login_password_file:
    description: File with the password on the host the module runs on; one newline at its end is ignored.
    type: path
  login_api_key:
    description: An API key in its encoded form, in place of a user and a password.
    type: str
  login_api_key_file:
    description: File with the API key on the host the module runs on; one newline at its end is ignored.
    type: path
  index_prefix:
    description:
      - How the names of Kestra's indices begin (C(kestra.elasticsearch.defaults.indice-prefix)). Default is what O(config)
        says, else V(kestra_).
    type: str
  validate_certs:
    description:
      - Check the certificates of C(https) hosts. C(trust-all-ssl) of Kestra's configuration is not taken over.
    type: bool
    default: true
  ca_path:
    description: File with the certificate authority to check the hosts against, in PEM format.
    type: path
  timeout:
    description:
      - Seconds any single answer may take. Long work is started and then asked for, so this is not its limit.
    type: float
    default: 30.0
notes:
  - Needs the Python library elasticsearch, 8.19 or a later 8, on the host the module runs on. It speaks to Elasticsearch 8.19
    and 9. For a cluster of OpenSearch 2 or newer it needs the library opensearch-py, 3.0 or newer, instead; which of the two a
    cluster is, it says itself.
"""
