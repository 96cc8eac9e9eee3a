# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery point whose storage is a bucket: verified from the repository alone, and restored out of it."""
from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import (
    client,
    copy_in,
    copy_out,
    inventory,
    options,
    store,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import points, restic_restore
from ansible_collections.kestra_community.dr.tests.integration.object_storage.s3_server import (
    ACCESS_KEY,
    PROGRAM,
    SECRET_KEY,
    Server,
)
from ansible_collections.kestra_community.dr.tests.integration.vault import test_references
from ansible_collections.kestra_community.dr.tests.integration.vault.points_lab import Lab

pytestmark = pytest.mark.skipif(
    not PROGRAM or not os.access(PROGRAM, os.X_OK),
    reason="no S3 server: KESTRA_DR_TEST_S3_SERVER names none (scripts/lib/s3.sh builds it)")
database = test_references.database


@pytest.fixture(scope="module")
def server():
    found = Server().start()
    yield found
    found.destroy()


@pytest.fixture
def place(server, request):
    return options.Place(server.bucket(f"kestra-{abs(hash(request.node.name))}"), server.endpoint, access_key=ACCESS_KEY,
                         secret_key=SECRET_KEY)


@pytest.fixture
def lab(tmp_path):
    found = Lab(tmp_path / "lab")
    found.restic.init()
    found.storage.mkdir()
    return found


def take(lab, login, place, change=lambda component: component):
    """A sealed recovery point of the database and the bucket. change: a last word on the copy before it is shipped."""
    def edit(name, facts):
        if name != "storage":
            return facts
        sealed_list = next((lab.base / "vault").rglob("storage.jsonl.gz"))
        with client.opened(place) as bucket:
            inventory.take(bucket, lab.base / "pin.gz")
            copied = copy_out.Copy(bucket, store.Store(lab.base / "objects"), lab.base / "pin.gz").run(sealed_list)
        change(lab.base / "objects")
        stored = lab.restic.backup(["objects"], base_dir=str(lab.base), tags=lab.tags("storage"), host=points.restic_host("kestra"))
        return {"held": "vault", "engine": "s3", "strategy": "objects", "snapshot": stored["snapshot"], "path": "/objects",
                "list": {"file": "storage.jsonl.gz", "sha256": copied["list"]["sha256"], "entries": copied["list"]["entries"]},
                **{key: copied[key] for key in ("objects", "markers", "bytes", "drift")}}

    lab.take(login, edit)


def fill(server, place, paths):
    s3 = server.client()
    for path in paths:
        s3.put_object(Bucket=place.bucket, Key=path, Body=path.encode(), Metadata={"a": "b"})
    s3.put_object(Bucket=place.bucket, Key="company/team/", Body=b"")
    return s3


def test_every_file_named_is_there_and_comes_back(server, place, lab, database):
    login, paths = database
    s3 = fill(server, place, [*paths, "company/team/odd/executions/odd2/tasks/write/r2/orphan.txt"])
    take(lab, login, place)
    record = lab.verify("references")
    assert lab.failing(record) == [] and (record["verdict"], record["depth"]) == ("verified", "references")
    detail = test_references.check(record)["detail"]
    assert detail["opened"] == len(set(paths)) and detail["orphans"]["files"] == 1
    # The repository and the list in the copy are enough.
    shutil.rmtree(lab.base / "objects")
    component = lab.vault.manifest(lab.point)["components"]["storage"]
    restic_restore.restore_path(lab.restic, component["snapshot"], component["path"], str(lab.base / "fetched"))
    target = options.Place(server.bucket("kestra-back"), server.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    copy = store.Store(lab.base / "fetched")
    with client.opened(target) as bucket:
        copy_in.Restore(bucket, copy, copy.list).run()
    found = {item["Key"]: s3.get_object(Bucket=target.bucket, Key=item["Key"]) for item in
             s3.list_objects_v2(Bucket=target.bucket)["Contents"]}
    assert set(found) == {*paths, "company/team/odd/executions/odd2/tasks/write/r2/orphan.txt", "company/team/"}
    assert all(answer["Metadata"] == {"a": "b"} for key, answer in found.items() if key != "company/team/")
    # And the fetched copy serves the next backup.
    with client.opened(place) as bucket:
        assert copy_out.Copy(bucket, copy, lab.base / "pin.gz").plan()["objects"] == 0


def test_files_that_are_missing_are_told_by_name(server, place, lab, database):
    login, paths = database
    gone = [path for path in paths if path.endswith(("/b.txt", "/p.txt"))]
    fill(server, place, [path for path in paths if path not in gone])
    take(lab, login, place)
    record = lab.verify("references")
    assert lab.failing(record) == [test_references.CHECK]
    assert test_references.check(record)["found"]["lost"] == len(gone) == 2


def first_content(copy) -> Path:
    return sorted(copy.glob("??/*"))[0]


@pytest.mark.parametrize(("change", "differs"), [
    (lambda copy: first_content(copy).write_bytes(b"x" * first_content(copy).stat().st_size), "damaged"),
    (lambda copy: first_content(copy).unlink(), "missing"),
    (lambda copy: (copy / "ff" / ("f" * 64)).parent.mkdir(exist_ok=True) or (copy / "ff" / ("f" * 64)).touch(), "unexpected"),
    (lambda copy: (copy / "list.jsonl.gz").write_bytes(b""), None)])
def test_a_copy_that_is_not_what_was_sealed_differs(server, place, lab, database, change, differs):
    login, paths = database
    fill(server, place, paths)
    take(lab, login, place, change)
    record = lab.verify()
    assert lab.failing(record) == ["storage: content"] and record["verdict"] == "differs"
    found = next(check for check in record["checks"] if check["name"] == "storage: content")["found"]
    assert sorted(found["differences"]) == ([differs] if differs else [])
