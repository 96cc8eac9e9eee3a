# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group kafka. Must be kept in sync with plugins/module_utils/engines/kafka/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  bootstrap_servers:
    description:
      - Addresses of some of Kafka's brokers, each with its port. Default is what O(config) says.
      - The module connects to all brokers under the names they advertise.
    type: list
    elements: str
  security_protocol:
    description: How brokers are reached. Default is what O(config) says, else V(PLAINTEXT).
    type: str
    choices: [PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL]
  sasl_mechanism:
    description: How to log in with a protocol of SASL. Default is what O(config) says.
    type: str
    choices: [PLAIN, SCRAM-SHA-256, SCRAM-SHA-512]
  sasl_username:
    description:
      - User to log in as. Default is Kestra's own user, from C(sasl.jaas.config).
      - It has to see Kestra's topics and consumer groups (C(DESCRIBE) on them, or on the cluster).
    type: str
  sasl_password:
    description: Password of O(sasl_username). Default is Kestra's own password when O(sasl_username) is Kestra's user.
    type: str
  sasl_password_file:
    description: File with the password on the host the module runs on; one newline at its end is ignored.
    type: path
  ssl_ca:
    description:
      - File with the certificate authority to check brokers against, in PEM format. Default is Kestra's trust store
        when that is in PEM format, else the system's authorities. Java's own trust stores cannot be read.
    type: path
  ssl_cert:
    description: File with a client certificate, in PEM format. Default is Kestra's key store when that is in PEM format.
    type: path
  ssl_key:
    description: File with the key of O(ssl_cert), in PEM format, where it is not in the same file.
    type: path
  topic_prefix:
    description: What the names of Kestra's topics begin with. Default is what O(config) says, else V(kestra_).
    type: str
  consumer_prefix:
    description:
      - What the names of Kestra's consumer groups begin with. Default is what O(config) says, else V(kestra_).
      - It also begins the names of the topics that Kafka Streams makes for itself.
    type: str
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
notes:
  - Needs the Python library kafka-python 3.0 or newer on the host the module runs on.
"""
