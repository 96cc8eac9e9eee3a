# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a bucket changes places with a copy, and back, wherever it is cut."""
from __future__ import annotations

import shutil

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import (
    client,
    copy_in,
    copy_out,
    inventory,
    options,
    store,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import buckets, undo_point
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names
from ansible_collections.kestra_community.dr.tests.integration.object_storage.s3_server import (
    ACCESS_KEY,
    SECRET_KEY,
)

BEFORE = {"a/": (b"", {}), "a/old": (b"of before", {"expires": "never"}), "a/both": (b"one", {}), "a/x/": (b"", {})}
RESTORED = {"a/": (b"", {}), "a/new": (b"restored" * 500, {"description": "x"}), "a/both": (b"two", {"k": "v"}), "b": (b"", {})}


class Scene:
    """A bucket, a copy of other content to be swapped in, and the swap."""

    def __init__(self, server, base, name, versioned):
        self.s3, self.base = server.client(), base
        self.place = options.Place(server.bucket(name, versioned), server.endpoint, access_key=ACCESS_KEY,
                                   secret_key=SECRET_KEY, patience=2)
        self.names = Names(buckets.live_name(self.place), str(base / "1.restored"), str(base / "1.objects"))
        self.fill(RESTORED)
        with client.opened(self.place) as bucket:
            inventory.take(bucket, base / "pin.gz")
            copy_out.Copy(bucket, store.Store(self.names.replacement), base / "pin.gz").run(base / "list.gz")
        for key in RESTORED:
            self.s3.delete_object(Bucket=self.place.bucket, Key=key)
        self.fill(BEFORE)

    def fill(self, objects):
        for key, (content, metadata) in objects.items():
            self.s3.put_object(Bucket=self.place.bucket, Key=key, Body=content, Metadata=metadata)

    def there(self):
        found = {}
        for item in self.s3.list_objects_v2(Bucket=self.place.bucket).get("Contents", ()):
            answer = self.s3.get_object(Bucket=self.place.bucket, Key=item["Key"])
            found[item["Key"]] = (answer["Body"].read(), answer["Metadata"])
        return found

    def ensure(self, state, **more):
        return undo_point.ensure(state, str(self.base), "1", {"storage": self.names},
                                 {"storage": buckets.BucketStore(self.place)}, {"instance": "kestra"}, **more)


@pytest.fixture(params=[True, False], ids=["versions", "none"])
def scene(server, tmp_path, request):
    return Scene(server, tmp_path, f"swap-{abs(hash(request.node.name))}", request.param)


def test_there_and_back_and_there_again(scene):
    assert scene.ensure("possible")["changed"] is False and scene.there() == BEFORE
    assert scene.ensure("swapped")["storage"]["kept"] == scene.names.undo
    assert scene.there() == RESTORED
    assert scene.ensure("swapped")["changed"] is False
    scene.fill({"a/later": (b"later", {})})
    assert scene.ensure("reverted")["storage"]["kept"] == scene.names.replacement
    assert scene.there() == BEFORE
    scene.ensure("swapped")
    assert scene.there() == {**RESTORED, "a/later": (b"later", {})}
    scene.ensure("absent", confirm="1")
    assert sorted(path.name for path in scene.base.iterdir()) == ["list.gz", "pin.gz"]
    assert scene.there() == {**RESTORED, "a/later": (b"later", {})}


@pytest.mark.parametrize("goal, wanted", [("swapped", RESTORED), ("reverted", BEFORE)])
def test_cut_in_the_middle_of_writing_it_goes_on_or_back(scene, monkeypatch, goal, wanted):
    class Killed(BaseException):
        pass

    with monkeypatch.context() as patch:
        write, written = copy_in.Restore._write, []

        def some(self, entry):
            if written:
                raise Killed
            written.append(entry)
            write(self, entry)

        patch.setattr(copy_in.Restore, "_write", some)
        with pytest.raises(Killed):
            scene.ensure("swapped")
    assert scene.there() not in (BEFORE, RESTORED)
    assert scene.ensure(goal)["resumed"] and scene.there() == wanted


def test_a_failure_is_taken_back(scene, monkeypatch):
    put = buckets.BucketStore._put

    def failing(self, path):
        if path == scene.names.replacement:
            scene.fill({"a/both": (b"half", {})})
            raise StateError("The server went away.", reason="unreachable")
        put(self, path)

    monkeypatch.setattr(buckets.BucketStore, "_put", failing)
    with pytest.raises(StateError) as caught:
        scene.ensure("swapped")
    assert caught.value.reason == "rolled_back" and scene.there() == BEFORE


def test_an_empty_bucket_is_filled_and_emptied_again(scene):
    for key in BEFORE:
        scene.s3.delete_object(Bucket=scene.place.bucket, Key=key)
    scene.ensure("swapped")
    assert scene.there() == RESTORED
    scene.ensure("reverted")
    assert scene.there() == {}


def test_another_bucket_and_a_copy_that_lost_a_content_are_refused_untouched(scene, server):
    other = buckets.BucketStore(options.Place(server.bucket(scene.place.bucket + "-2"), server.endpoint,
                                              access_key=ACCESS_KEY, secret_key=SECRET_KEY))
    with pytest.raises(DrError) as caught:
        other.possible(scene.names)
    assert caught.value.reason == "other_bucket"
    with pytest.raises(DrError) as caught:
        other.rename([(scene.names.replacement, scene.names.live)])
    assert caught.value.reason == "other_bucket"
    shutil.rmtree(next(path for path in (scene.base / "1.restored").iterdir() if len(path.name) == 2))
    with pytest.raises(StateError):
        scene.ensure("swapped")
    assert scene.there() == BEFORE
