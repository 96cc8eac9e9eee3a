# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group restic. Must be kept in sync with plugins/module_utils/vault/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  repository:
    description:
      - Location of the restic repository as restic takes it, for example V(/srv/backup/kestra),
        V(sftp:backup@host:/kestra), V(s3:https://host/bucket/kestra) or V(rest:https://host/kestra).
      - A password in its URL is handed to restic by the environment and masked wherever the location is shown;
        O(repository_environment_file) is the better place for it.
    type: str
    required: true
  repository_password_file:
    description:
      - File with the password of the repository, on the host where the module runs. It must not be readable by
        everybody.
      - Exactly one of O(repository_password_file) and O(repository_password_command) is needed.
    type: path
  repository_password_command:
    description:
      - Command that prints the password of the repository. restic splits it into words itself; no shell is involved.
    type: str
  repository_environment:
    description:
      - Environment variables of the repository's backend, for example V(AWS_ACCESS_KEY_ID) and
        V(AWS_SECRET_ACCESS_KEY).
      - All values are secrets, except those of variables that are known to hold none, such as V(AWS_DEFAULT_REGION).
      - The password and the location of the repository are refused here.
    type: dict
    default: {}
  repository_environment_file:
    description:
      - File with such variables as C(NAME=value) lines, on the host where the module runs. It must not be readable by
        everybody. O(repository_environment) wins where both name a variable.
    type: path
  restic_binary:
    description: Name or path of the restic program, version 0.14 or newer.
    type: path
    default: restic
  cache_dir:
    description:
      - Directory of restic's cache. Without it restic takes its own default below the user's home directory.
    type: path
  limit_upload:
    description: Upper limit of the upload rate in KiB a second.
    type: int
  limit_download:
    description: Upper limit of the download rate in KiB a second.
    type: int
  lock_wait:
    description:
      - How many seconds to wait while another process holds the lock of the repository.
      - Locks whose process is provably gone are removed at once and not waited for.
    type: int
    default: 60
requirements:
  - restic >= 0.14
"""
