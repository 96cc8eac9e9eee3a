# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of Google Cloud Storage, through the official SDK."""
from __future__ import annotations

import json

import requests
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.oauth2 import service_account

from .bucket import BucketStorage


class GcsStorage(BucketStorage):
    """As BucketStorage. The SDK itself heeds STORAGE_EMULATOR_HOST, and opens an emulator without credentials."""

    ERRORS = (GoogleAPIError, GoogleAuthError, requests.RequestException)

    def _open(self, settings):
        text = settings["service_account"]
        own = text and service_account.Credentials.from_service_account_info(json.loads(text))
        self._client = storage.Client(project=settings["project_id"], credentials=own or None)
        self._bucket = self._client.bucket(settings["bucket"])

    def _keys(self, start):
        return [blob.name for blob in self._client.list_blobs(self._bucket, prefix=start)]

    def _write(self, key, content, metadata):
        blob = self._bucket.blob(key)
        blob.metadata = metadata
        blob.upload_from_string(content)

    def _read(self, key):
        return self._bucket.blob(key).download_as_bytes()

    def _metadata(self, key):
        blob = self._bucket.blob(key)
        blob.reload()
        return blob.metadata

    def _remove(self, key):
        self._bucket.delete_blobs([self._bucket.blob(key)], on_error=lambda blob: None)
