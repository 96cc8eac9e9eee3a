# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group object_storage. Must be kept in sync with plugins/module_utils/storage/objects/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  type:
    description:
      - Whose object store it is. V(s3) is every server that speaks S3, Amazon's and MinIO among them, V(gcs) Google Cloud
        Storage, V(azure) Azure Blob Storage.
      - Default is what O(config) says, else V(s3).
    type: str
    choices: [s3, gcs, azure]
  endpoint:
    description:
      - URL of the object store. Default is what O(config) says, else the provider's own, Amazon's for O(region).
      - To an endpoint of O(type=gcs) with C(http://) no credentials are sent, as an emulator wants it.
    type: str
  region:
    description: Region to sign for, of O(type=s3). Default is what O(config) says, else V(us-east-1), which most other servers take.
    type: str
  bucket:
    description: The bucket, of O(type=azure) the container. Default is what O(config) says.
    type: str
  prefix:
    description:
      - What all keys of Kestra's storage begin with, when it does not have the bucket for itself. Default is
        C(path) of the storage in O(config). A slash at the end may be left out.
      - Keys in lists are those below the prefix, so that a list can be restored below another one.
    type: str
  access_key:
    description:
      - Access key, of O(type=azure) the storage account. Default is Kestra's own as O(config) says, when O(endpoint) is Kestra's;
        without any, what the SDK finds (environment, profile, the machine's role), but nothing of O(type=azure).
    type: str
  secret_key:
    description: Secret key of O(access_key), of O(type=azure) a key of the account.
    type: str
  session_token:
    description: Session token of temporary credentials, of O(type=azure) a shared access signature in the place of a key.
    type: str
  credentials_file:
    description:
      - File on the host the module runs on. It must not be readable by everybody.
      - Of O(type=s3) it has E(AWS_ACCESS_KEY_ID), E(AWS_SECRET_ACCESS_KEY) and, if need be, E(AWS_SESSION_TOKEN) as C(NAME=value)
        lines; of O(type=azure) E(AZURE_STORAGE_CONNECTION_STRING), or E(AZURE_STORAGE_ACCOUNT) with E(AZURE_STORAGE_KEY) or
        E(AZURE_STORAGE_SAS_TOKEN); of O(type=gcs) it is the JSON file of a service account's key.
    type: path
  addressing:
    description:
      - Whether the bucket's name stands in the path of requests of O(type=s3) or in the host name. Default is what O(config) says,
        else V(path) with O(endpoint) and V(virtual) without.
    type: str
    choices: [path, virtual]
  ca_path:
    description:
      - File with the certificate authority to check the server against, in PEM format. Default is C(ca-pem) of
        O(config), else those the SDK trusts.
    type: path
  validate_certs:
    description: Whether the server's certificate is checked. Default is what O(config) says, else V(true).
    type: bool
  parallel:
    description: Number of objects that are worked on at once.
    type: int
    default: 8
  patience:
    description:
      - For how many seconds a server that does not answer, or asks to slow down, is asked again.
      - An answer that refuses (credentials, rights, no such bucket) is final at once.
    type: float
    default: 300.0
requirements:
  - boto3 >= 1.26, for O(type=s3)
  - google-cloud-storage >= 3.0, for O(type=gcs)
  - azure-storage-blob >= 12.28, for O(type=azure)
notes:
  - Needs the Python library of the provider on the host the module runs on.
  - Credentials are used in the module's own process only, never as an argument or in the environment of another one.
"""
