# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container of Azure Blob Storage, through the official SDK."""
from __future__ import annotations

import contextlib

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient

from .bucket import BucketStorage


class AzureStorage(BucketStorage):
    """As BucketStorage, but that a directory is marked by an empty blob in it, and metadata is set after a blob was written."""

    ERRORS = (AzureError,)
    MARK = ".kestradirectory"

    def _open(self, settings):
        if settings["connection_string"]:
            service = BlobServiceClient.from_connection_string(settings["connection_string"])
        else:
            service = BlobServiceClient(settings["endpoint"], credential={
                "account_name": settings["shared_key_account_name"], "account_key": settings["shared_key_account_access_key"]})
        self._container = service.get_container_client(settings["container"])

    def _keys(self, start):
        return [item.name for item in self._container.list_blobs(name_starts_with=start)]

    def _write(self, key, content, metadata):
        # A mark is named like its directory, with a slash at the end.
        if key.endswith("/"):
            key += self.MARK
        self._container.upload_blob(key, content, overwrite=True)
        if metadata:
            self._container.get_blob_client(key).set_blob_metadata(metadata)

    def _read(self, key):
        return self._container.download_blob(key).readall()

    def _metadata(self, key):
        return self._container.get_blob_client(key).get_blob_properties().metadata

    def _remove(self, key):
        with contextlib.suppress(ResourceNotFoundError):
            self._container.delete_blob(key)

    def files(self, path):
        return [found for found in super().files(path) if found.rpartition("/")[2] != self.MARK]
