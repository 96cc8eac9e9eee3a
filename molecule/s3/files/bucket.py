# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket by the SDK alone: make (prints "made" if it was not there), list (a line for each object), empty.

Endpoint, bucket and what to do are arguments, keys are in the environment.
"""
import hashlib
import sys

import boto3
import botocore.config
import botocore.exceptions

endpoint, bucket, what = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                  config=botocore.config.Config(s3={"addressing_style": "path"}))
keys = []
if what != "make":
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys += [item["Key"] for item in page.get("Contents", ())]
if what == "make":
    try:
        s3.head_bucket(Bucket=bucket)
    except botocore.exceptions.ClientError:
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        print("made")
elif what == "list":
    for key in keys:
        found = s3.get_object(Bucket=bucket, Key=key)
        print(key, hashlib.sha256(found["Body"].read()).hexdigest(), found["ContentType"], sorted(found["Metadata"].items()))
elif what == "empty":
    # Deepest first: this server keeps directories for them.
    for key in sorted(keys, reverse=True):
        s3.delete_object(Bucket=bucket, Key=key)
