# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group postgresql. Must be kept in sync with plugins/module_utils/engines/postgresql/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Name or address of the PostgreSQL server. Default is what O(config) says, else V(localhost).
    type: str
  login_port:
    description: Port of the server. Default is what O(config) says, else V(5432).
    type: int
  login_unix_socket:
    description: Directory of the server's Unix socket, to be used in place of O(login_host).
    type: path
  login_user:
    description:
      - Role to connect as. Default is Kestra's own role as O(config) says, else V(postgres).
      - Restoring beside a live database needs a role that may create databases; dumping needs one that may read
        everything.
    type: str
  login_password:
    description:
      - Password of O(login_user). Default is Kestra's own password from O(config) when O(login_user) is Kestra's role.
      - It is handed to the client programs in a file that exists in memory only, never as an argument.
    type: str
  login_password_file:
    description: File with the password on the host the module runs on; one newline at its end is ignored.
    type: path
  login_db:
    description: The database to connect to for what concerns no single database, such as creating one.
    type: str
    default: postgres
  database:
    description: Kestra's database. Default is what O(config) says.
    type: str
  schema:
    description: The schema Kestra's tables are in. Default is what O(config) says, else V(public).
    type: str
  ssl_mode:
    description:
      - Whether and how TLS is used, as libpq's C(sslmode). Default is what O(config) says, else libpq's default
        V(prefer).
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
  ssl_root_cert:
    description: File with the certificate authority to check the server against, in PEM format.
    type: path
  ssl_cert:
    description: File with a client certificate, in PEM format.
    type: path
  ssl_key:
    description: File with the key of O(ssl_cert), in PEM format.
    type: path
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
notes:
  - Needs the Python library psycopg, version 3, on the host the module runs on.
"""
