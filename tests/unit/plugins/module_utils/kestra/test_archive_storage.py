# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import hashlib

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import archive_storage, metadata
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import options as objects
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.bucket import Bucket
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.listing import Entry

LOCATION = metadata.location("kestra:///backups/full/backup-20260101000000.kestra")


def test_only_older_archives_go():
    names = ["backup-20261101000000.kestra", "backup-20261102000000.kestra", "backup-20261103000000.kestra",
             "backup-20261104000000.kestra", "note.txt", "backup-20261101000000.kestra.metadata"]
    newest = "backup-20261103000000.kestra"
    assert archive_storage.older(names, newest, 1) == names[:2]
    assert archive_storage.older(names, newest, 2) == names[:1]
    assert archive_storage.older(names, newest, 3) == archive_storage.older(names, newest, 9) == []


class Held(Bucket):
    """A bucket in memory. No server that the tests have takes keys that begin with a slash."""

    def __init__(self, contents):
        self.contents = contents

    def objects(self, below=""):
        return (Entry(key, len(body), "", "") for key, body in sorted(self.contents.items()) if key.startswith(below))

    def directories(self, above):
        return sorted({key[:key.index("/") + 1] for key in self.contents if "/" in key})

    def read(self, entry, sink, *, same=True):
        sink(self.contents[entry.key])

    def write(self, entry, body, md5):
        if body:
            body.seek(0)
        self.contents[entry.key] = body.read() if body else b""


@pytest.mark.parametrize("there, slash", [
    ({"/company/_kv/a.ion": b"1"}, "/"), ({"/company/": b"", "main/company/_kv/a.ion": b"1"}, ""), ({}, "")])
def test_before_0_23_every_key_began_with_a_slash(monkeypatch, tmp_path, there, slash):
    held = Held(dict(there))
    monkeypatch.setattr(archive_storage.client, "opened", lambda _place: contextlib.nullcontext(held))
    (tmp_path / "it").write_bytes(b"an archive")
    digest = hashlib.sha256(b"an archive").hexdigest()
    archive_storage.Bucket(objects.Place("b")).put(LOCATION, tmp_path / "it", digest)
    assert set(held.contents) - set(there) == {slash + path for path in (
        "backups/", "backups/full/", "backups/full/backup-20260101000000.kestra")}
    assert archive_storage.Bucket(objects.Place("b")).fetch(LOCATION, tmp_path / "copy").sha256 == digest
