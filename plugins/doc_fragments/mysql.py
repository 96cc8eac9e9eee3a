# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group mysql. Must be kept in sync with plugins/module_utils/engines/mysql/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Name or address of the MySQL server. Default is what O(config) says, of several the first, else V(localhost).
    type: str
  login_port:
    description: Port of the server. Default is what O(config) says, else V(3306).
    type: int
  login_unix_socket:
    description: The server's Unix socket, to be used in place of O(login_host).
    type: path
  login_user:
    description:
      - User to connect as. Default is Kestra's own user as O(config) says, else V(root).
      - Dumping needs C(SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT) on the database, which Kestra's own user has, and
        C(SHOW_ROUTINE) where functions belong to somebody else. Neither C(SUPER) nor C(RELOAD) nor C(PROCESS) is needed.
      - Restoring beside a live database needs an account that may create databases.
    type: str
  login_password:
    description:
      - Password of O(login_user). Default is Kestra's own password from O(config) when O(login_user) is Kestra's user.
      - It is handed to C(mysqldump) in an option file that exists in memory only, never as an argument.
    type: str
  login_password_file:
    description: File with the password on the host the module runs on; one newline at its end is ignored.
    type: path
  database:
    description: Kestra's database. Default is what O(config) says.
    type: str
  ssl_mode:
    description:
      - Whether and how TLS is used, as C(--ssl-mode) of MySQL's clients. Default is what O(config) says, else
        V(preferred).
    type: str
    choices: [disabled, preferred, required, verify_ca, verify_identity]
  ssl_ca:
    description:
      - File with the certificate authority to check the server against, in PEM format. Java's trust stores, which
        Kestra uses, cannot be read by MySQL's clients.
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
  - Needs the Python library PyMySQL on the host the module runs on. Without TLS and without a Unix socket it needs the
    Python library cryptography too.
"""
