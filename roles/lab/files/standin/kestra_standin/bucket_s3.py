# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of an S3 server, through the official SDK."""
from __future__ import annotations

import boto3
import botocore.config
from botocore.exceptions import BotoCoreError, ClientError

from .bucket import BucketStorage


class S3Storage(BucketStorage):
    """As BucketStorage."""

    ERRORS = (BotoCoreError, ClientError)

    def _open(self, settings):
        self._bucket = settings["bucket"]
        how = {"s3": {"addressing_style": "path" if settings["path_style"] else "virtual"}, "max_pool_connections": 50}
        if hasattr(botocore.config.Config(), "request_checksum_calculation"):
            how.update(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        self._client = boto3.client(
            "s3", endpoint_url=settings["endpoint"], region_name=settings["region"] or "us-east-1",
            aws_access_key_id=settings["access_key"], aws_secret_access_key=settings["secret_key"],
            config=botocore.config.Config(**how))

    def _keys(self, start):
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def _write(self, key, content, metadata):
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content, Metadata=metadata)

    def _read(self, key):
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def _metadata(self, key):
        return self._client.head_object(Bucket=self._bucket, Key=key)["Metadata"]

    def _remove(self, key):
        self._client.delete_object(Bucket=self._bucket, Key=key)
