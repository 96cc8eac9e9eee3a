# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bucket of Kestra's storage, as the drill itself sees it: through the official SDK, beside Kestra and the playbooks."""
from __future__ import annotations

import boto3
import botocore.config


class Bucket:
    """A bucket that Kestra has for itself. settings: of module_utils.kestra.buckets."""

    def __init__(self, settings):
        self._name, self._shown = settings["bucket"], settings["endpoint"] or "Amazon S3"
        self._client = boto3.client(
            "s3", endpoint_url=settings["endpoint"], region_name=settings["region"] or "us-east-1",
            aws_access_key_id=settings["access_key"], aws_secret_access_key=settings["secret_key"],
            config=botocore.config.Config(s3={"addressing_style": settings["addressing"]}))

    def __str__(self):
        return f"bucket {self._name} at {self._shown}"

    def _pages(self, operation):
        return self._client.get_paginator(operation).paginate(Bucket=self._name)

    def size(self) -> tuple:
        """(objects, bytes); marks of directories are no objects."""
        found = [item["Size"] for page in self._pages("list_objects_v2") for item in page.get("Contents", ())
                 if not item["Key"].endswith("/")]
        return len(found), sum(found)

    def trace(self) -> set:
        """What tells these objects from others that are written later."""
        return {(item["Key"], item["LastModified"], item["ETag"]) for page in self._pages("list_objects_v2")
                for item in page.get("Contents", ())}

    def destroy(self) -> None:
        """Deletes every version of every object: no way back inside the server is left."""
        for page in self._pages("list_object_versions"):
            for item in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                self._client.delete_object(Bucket=self._name, Key=item["Key"], VersionId=item["VersionId"])
