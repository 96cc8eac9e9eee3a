# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata archive of an instance whose internal storage is a bucket, on a real S3 server."""
from __future__ import annotations

import hashlib
import os
import shlex

import pytest
import yaml
from ansible_collections.kestra_community.dr.tests.integration.enterprise.conftest import FLOW, Instance
from ansible_collections.kestra_community.dr.tests.integration.enterprise.test_metadata_archive import fails, restorable
from ansible_collections.kestra_community.dr.tests.integration.object_storage.s3_server import (
    ACCESS_KEY,
    PROGRAM,
    SECRET_KEY,
    Server,
)

pytestmark = pytest.mark.skipif(
    not PROGRAM or not os.access(PROGRAM, os.X_OK),
    reason="no S3 server: KESTRA_DR_TEST_S3_SERVER names none (scripts/lib/s3.sh builds it)")


@pytest.fixture(scope="module")
def server():
    found = Server().start()
    yield found
    found.destroy()


def storage(server, bucket, path="instance", secret=SECRET_KEY):
    """What Kestra's configuration says of a bucket."""
    return {"type": "s3", "s3": {"endpoint": server.endpoint, "force-path-style": True, "bucket": bucket, "path": path,
                                 "access-key": ACCESS_KEY, "secret-key": secret}}


def keys(server, bucket, below=""):
    found = server.client().list_objects_v2(Bucket=bucket, Prefix=below).get("Contents", ())
    return {item["Key"] for item in found}


@pytest.fixture(scope="module")
def whole(server, postgres, tmp_path_factory):
    """(an instance with a flow and a value in its bucket, the result of its backup)."""
    directory = tmp_path_factory.mktemp("bucket")
    one = Instance(postgres, directory, storage=storage(server, server.bucket("archive-source")))
    try:
        one.standin.start(configuration=yaml.safe_load(one.config.read_text(encoding="utf-8")), environ=one.environment)
        one.standin.flow(FLOW.format(name="quick", namespace="company.team"))
        assert one.standin.call("PUT", "/api/v1/main/namespaces/company.team/kv/color", b'"blue"', {"ttl": "P1D"})[0] in (200, 204)
        one.standin.end()
        made = one.backup(directory / "made")
        assert "component" in made, made["_raw"]
        yield one, made
    finally:
        one.close()


def test_it_is_copied_out_of_the_bucket_and_comes_back_in_another(server, whole, instance):
    source, made = whole
    file = made["component"]["files"][0]
    raw = open(f"{made['dest']}/{file['path']}", "rb").read()
    assert hashlib.sha256(raw).hexdigest() == file["sha256"] and SECRET_KEY not in made["_raw"]
    key = f"instance/backups/full/{file['path']}"
    assert server.client().get_object(Bucket="archive-source", Key=key)["Body"].read() == raw
    assert made["plan"]["storage"] == "archive-source/instance"

    bucket = server.bucket("archive-target")
    target = instance(storage=storage(server, bucket, path="elsewhere"))
    plan = target.restore(check=True, **restorable(made))
    assert plan["plan"]["put_back"] and not keys(server, bucket), plan["_raw"]
    result = target.restore(**restorable(made))
    assert result.get("restored") == made["component"]["summary"] and result["put_back"], result["_raw"]
    assert target.rows("SELECT key, source_code FROM flows") == source.rows("SELECT key, source_code FROM flows")
    # As Kestra itself would have written it, with the marks of the directories.
    assert {f"elsewhere/{path}" for path in ("backups/", "backups/full/", f"backups/full/{file['path']}")} <= keys(server, bucket)
    values = [server.client().get_object(Bucket=name, Key=f"{path}/main/company/team/_kv/color.ion")
              for name, path in (("archive-source", "instance"), (bucket, "elsewhere"))]
    assert values[0]["Body"].read() == values[1]["Body"].read() == b'"blue"'
    assert values[0]["Metadata"] == values[1]["Metadata"] and values[0]["Metadata"]
    again = target.restore(made["component"]["uri"])
    assert again.get("restored") and not again["put_back"], again["_raw"]


def test_what_is_in_the_bucket_is_compared_and_never_written_over(server, whole, instance):
    made = whole[1]
    bucket = server.bucket("archive-harmed")
    target = instance(storage=storage(server, bucket, path=None))
    options = restorable(made)
    assert "option archive" in fails(target.restore(options["uri"]), "archive_missing")
    key = options["uri"].removeprefix("kestra:///")
    server.client().put_object(Bucket=bucket, Key=key, Body=b"another one")
    fails(target.restore(options["uri"], sha256=options["sha256"]), "digest_differs")
    fails(target.restore(**options), "archive_differs")
    assert server.client().get_object(Bucket=bucket, Key=key)["Body"].read() == b"another one"
    assert target.rows("SELECT count(*) FROM flows") == [(0,)]


def test_old_archives_go_only_when_asked(server, whole, instance, tmp_path):
    bucket = server.bucket("archive-old")
    target = instance(storage=storage(server, bucket))
    names = [f"instance/backups/full/backup-2020010100000{number}.kestra" for number in range(3)]
    for name in [*names, "instance/backups/full/note.txt"]:
        server.client().put_object(Bucket=bucket, Key=name, Body=b"x")
    assert target.backup(tmp_path / "one")["removed"] == []
    assert set(names) < keys(server, bucket)
    result = target.backup(tmp_path / "two", keep=3)
    assert result.get("removed") == [f"{bucket}/{name}" for name in names[:2]], result["_raw"]
    left = keys(server, bucket, "instance/backups/full/backup-")
    assert len(left) == 3 and names[2] in left and f"instance/backups/full/{result['component']['files'][0]['path']}" in left


def test_a_bucket_that_does_not_open_is_found_before_an_archive_is_made(server, instance, tmp_path):
    target = instance(storage=storage(server, "archive-nowhere"))
    fails(target.backup(tmp_path / "made", check=True), "bucket_missing")
    bucket = server.bucket("archive-closed")
    target = instance(storage=storage(server, bucket, secret="not the secret key"))
    result = target.backup(tmp_path / "made", check=True)
    fails(result, "credentials_refused")
    own = tmp_path / "credentials"
    own.write_text(f"AWS_ACCESS_KEY_ID={ACCESS_KEY}\nAWS_SECRET_ACCESS_KEY={shlex.quote(SECRET_KEY)}\n", encoding="utf-8")
    own.chmod(0o600)
    assert target.backup(tmp_path / "made", check=True, storage_credentials_file=str(own)).get("plan")
