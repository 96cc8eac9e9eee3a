# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group escrow_place. Must be kept in sync with plugins/module_utils/vault/escrow_place.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description:
      - Absolute path of the kit. On this host unless O(sftp_host) is given; its directory must exist. With O(s3_bucket) it is the
        key of the object.
      - A place inside the vault or the repository is refused, because the kit would be lost with them.
      - Beside it lies a record, under the same name with C(.json) at its end, which tells when and for what the kit was written
        to whoever has the vault, and nothing to anybody else.
    type: path
    required: true
  max_age_days:
    description: Days after which the kit is stale although nothing has changed.
    type: int
    default: 30
  sftp_host:
    description: Host that keeps the kit, by SFTP. Its directory must exist there.
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
  s3_bucket:
    description: Bucket that keeps the kit. It has to exist, and must not be that of the repository.
    type: str
  s3_endpoint:
    description: URL of the object store; Amazon's own when not given.
    type: str
  s3_region:
    description: Region of the bucket.
    type: str
  s3_credentials_file:
    description:
      - File with C(AWS_ACCESS_KEY_ID) and C(AWS_SECRET_ACCESS_KEY) of an account that may read and write the object. It must not be
        readable by everybody. Without it the SDK finds them by itself.
    type: path
  s3_ca_path:
    description: File with the authority that signed the object store's certificate.
    type: path
requirements:
  - paramiko, for O(sftp_host)
  - boto3, for O(s3_bucket)
"""
