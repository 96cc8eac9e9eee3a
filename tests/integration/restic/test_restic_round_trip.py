# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup and restore through real restic programs: everything comes back, exactly where it was asked for."""
from __future__ import annotations

import os
import stat
import tarfile

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    DrError, IntegrityError, RefusedError, StateError)
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import compare, listing, local
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic_restore

TAGS = ["kestra-dr", "instance=kestra", "point=20261123T001500Z-a1b2c3"]


def backup(restic, storage, **options):
    return restic.backup([storage.name], base_dir=str(storage.parent), tags=TAGS, host="kestra-dr-kestra", **options)


def restore(kept, target, path="/storage", **options):
    return restic_restore.restore_path(kept.restic, kept.snapshot, path, target, **options)


def reason(call, *args, **kwargs):
    with pytest.raises(DrError) as caught:
        call(*args, **kwargs)
    return caught.value.reason


def test_everything_comes_back(kept, tmp_path):
    done, listed = kept.done, kept.listed
    assert done["snapshot_paths"] == ["/storage"] and done["files_total"] == listed["files"]
    assert done["bytes_total"] == listed["bytes"] and done["vanished"]["count"] == 0
    phases, target = [], tmp_path / "restored"
    result = restore(kept, target, expect=kept.list, on_phase=phases.append)
    assert phases == ["measuring", "restoring", "comparing", "placing"]
    assert (result["files"], result["directories"], result["symlinks"], result["bytes"]) == tuple(
        listed[name] for name in ("files", "directories", "symlinks", "bytes"))
    assert result["changed"] and result["verified"] and result["compared"]["compared_digests"] == listed["files"]
    found = compare.compare_tree(kept.list, target)
    assert found["verdict"] == "equal", found
    one, other = os.lstat(kept.storage), os.lstat(target)
    assert (one.st_uid, one.st_gid, one.st_mode, one.st_mtime_ns) == (other.st_uid, other.st_gid, other.st_mode,
                                                                      other.st_mtime_ns), "the root itself is kept too"
    assert os.listdir(tmp_path) == ["restored"], "nothing else is left"


def test_snapshots_are_found_by_their_tags(kept):
    restic = kept.restic
    assert [item["id"] for item in restic.snapshots(TAGS)] == [kept.snapshot]
    assert restic.snapshots(TAGS + ["other"]) == [] and restic.snapshots(host="elsewhere") == []
    assert sorted(restic.snapshots()[0]["tags"]) == sorted(TAGS)
    assert restic.snapshot(kept.snapshot[:8])["id"] == kept.snapshot


def test_a_second_backup_reads_only_what_changed(restic, storage):
    first = backup(restic, storage)
    (storage / "ns" / "plain.ion").write_bytes(b"changed")
    second = backup(restic, storage)
    assert second["parent"] == first["snapshot"]
    assert (second["files"]["new"], second["files"]["changed"]) == (0, 1)
    assert second["files"]["unmodified"] == first["files_total"] - 1
    assert second["bytes_added"] < 0.05 * first["bytes_added"]


@pytest.mark.parametrize("path", ["/storage/ns/with space [1]*?/[x]", "/storage/ns/nl\nname",
                                  "/storage/ns/bad\udcff\udcfename", "/storage/ns/back\\slash", "/storage/ns/*"])
def test_a_single_file_lands_at_the_target(one_kept, tmp_path, path):
    result = restore(one_kept, tmp_path / "one", path)
    assert result["files"] == 1
    assert (tmp_path / "one").read_bytes() == (one_kept.storage.parent / path[1:]).read_bytes()


def test_a_directory_whose_name_is_a_pattern_lands_alone(kept, tmp_path):
    result = restore(kept, tmp_path / "out", "/storage/ns/with space [1]*?")
    assert result["files"] == 12 and len(os.listdir(tmp_path / "out")) == 12


def test_a_whole_snapshot_lands_at_the_target(one_kept, tmp_path):
    restore(one_kept, tmp_path / "all", "/")
    assert os.listdir(tmp_path / "all") == ["storage"]


def test_an_empty_storage_is_backed_up_and_restored(one_restic, tmp_path):
    (tmp_path / "app" / "storage").mkdir(parents=True)
    done = backup(one_restic, tmp_path / "app" / "storage")
    result = restic_restore.restore_path(one_restic, done["snapshot"], "/storage", tmp_path / "out")
    assert result["files"] == 0 and os.listdir(tmp_path / "out") == []


def test_an_empty_directory_at_the_target_is_replaced(one_kept, tmp_path):
    (tmp_path / "out").mkdir()
    restore(one_kept, tmp_path / "out")
    assert (tmp_path / "out" / "ns").is_dir()


@pytest.mark.parametrize("occupy", ["file", "directory", "link"])
def test_what_is_at_the_target_is_never_written_over(one_kept, tmp_path, occupy):
    target = tmp_path / "out"
    if occupy == "file":
        target.write_text("precious")
    elif occupy == "directory":
        target.mkdir()
        (target / "precious").write_text("")
    else:
        (tmp_path / "real").mkdir()
        target.symlink_to("real")
    before = os.lstat(target).st_ino
    assert reason(restore, one_kept, target) == "target_not_empty"
    assert os.lstat(target).st_ino == before


def test_a_mount_point_is_filled(one_kept, tmp_path, tmpfs):
    target = tmpfs("100m", "mounted")
    (target / "lost+found").mkdir()
    restore(one_kept, target)
    (target / "lost+found").rmdir()
    assert compare.compare_tree(one_kept.list, target)["verdict"] == "equal"
    assert stat.S_IMODE(os.stat(target).st_mode) == stat.S_IMODE(os.stat(one_kept.storage).st_mode)


def test_a_missing_snapshot_or_path_is_an_error_everywhere(kept, tmp_path):
    restic, target = kept.restic, tmp_path / "out"
    for call in (lambda: list(restic.ls("deadbeef")), lambda: restic.stats("deadbeef"),
                 lambda: restic.restore("deadbeef", target)):
        assert reason(call) == "snapshot_missing"
    for call in (lambda: list(restic.ls(kept.snapshot, "/nope")),
                 lambda: restic.dump_tar(kept.snapshot, "/nope").read(),
                 lambda: restore(kept, target, "/storage/nope")):
        assert reason(call) == "path_missing"
    assert not target.exists()


def test_a_restored_tree_that_is_not_as_listed_is_not_placed(one_kept, tmp_path):
    entries = [entry._replace(sha256="0" * 64) if entry.path == b"ns/plain.ion" else entry
               for entry in listing.read(one_kept.list)]
    listing.write(tmp_path / "other.gz", entries)
    with pytest.raises(IntegrityError) as caught:
        restore(one_kept, tmp_path / "out", expect=tmp_path / "other.gz")
    assert caught.value.reason == "restore_differs" and caught.value.detail["examples"] == {"content": ["ns/plain.ion"]}
    assert os.listdir(tmp_path) == ["other.gz"]


def test_what_restic_restores_wrongly_is_not_placed(one_kept, tmp_path, monkeypatch):
    real = one_kept.restic.restore

    def tampered(snapshot, scratch, *args, **kwargs):
        real(snapshot, scratch, *args, **kwargs)
        os.chmod(os.path.join(scratch, "storage/ns/plain.ion"), 0o666)

    monkeypatch.setattr(one_kept.restic, "restore", tampered)
    with pytest.raises(IntegrityError) as caught:
        restore(one_kept, tmp_path / "out")
    assert caught.value.detail["examples"] == {"mode": ["ns/plain.ion"]} and os.listdir(tmp_path) == []


def test_a_receipt_recognises_its_own_work_only(one_kept, tmp_path):
    def again(path="/storage"):
        return restore(one_kept, tmp_path / "out", path, receipt=tmp_path / "receipt")

    assert again()["changed"] and not again()["changed"]
    assert reason(again, "/storage/ns") == "target_not_empty"
    os.rename(tmp_path / "out", tmp_path / "away")
    assert again()["changed"], "what was moved away is restored again"
    os.rename(tmp_path / "out", tmp_path / "away2")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "foreign").touch()
    assert reason(again) == "target_not_empty"


def test_files_named_by_a_list(restic, storage, tmp_path):
    names = tmp_path / "names"
    names.write_bytes(b"storage/ns/nl\nname\0storage/ns/bad\xff\xfename\0storage/ns/*\0")
    done = restic.backup(files_from=str(names), files_from_format="raw", base_dir=str(storage.parent))
    assert done["files_total"] == 3
    names.write_bytes(b"storage/ns/*\nstorage/ns/with space\n")
    assert restic.backup(files_from=str(names), base_dir=str(storage.parent))["files_total"] == 2
    names.write_bytes(b"storage/ns/plain*\n")
    assert (
        restic.backup(files_from=str(names), files_from_format="pattern", base_dir=str(storage.parent))["files_total"]
        == 2
    )


def test_excludes_and_a_dry_run(restic, storage):
    found = backup(restic, storage, dry_run=True)
    assert found["snapshot"] is None and found["bytes_added"] > 3_000_000 and restic.snapshots() == []
    assert restic.stats()["bytes"] == 0
    assert backup(restic, storage, excludes=["*.metadata"])["files_total"] == found["files_total"] - 2


def test_a_tar_stream_holds_every_file(kept):
    with kept.restic.dump_tar(kept.snapshot, "/storage") as source, tarfile.open(fileobj=source, mode="r|") as archive:
        found = {member.name.encode("utf-8", "surrogateescape"): member for member in archive}
    expected = {entry.path: entry for entry in local.walk(kept.storage)}
    assert set(found) == {b"storage/" + path for path in expected}
    for path, entry in expected.items():
        member = found[b"storage/" + path]
        assert (member.uid, member.gid) == (entry.uid, entry.gid), path
        assert abs(member.mtime - entry.mtime_ns / 1e9) <= 1, "restic rounds to seconds"
        assert entry.type != "f" or (member.size == entry.size and member.mode == entry.mode), path


def test_a_stream_that_is_left_early_leaves_no_lock(kept):
    with kept.restic.dump_tar(kept.snapshot, "/storage") as source:
        assert len(source.read(512)) == 512
    with pytest.raises(ZeroDivisionError):
        with kept.restic.dump_tar(kept.snapshot, "/storage") as source:
            source.read(512)
            raise ZeroDivisionError
    nodes = kept.restic.ls(kept.snapshot)
    next(nodes)
    nodes.close()
    assert kept.restic.locks() == []


def test_listing_is_sorted_like_ours(kept):
    nodes = [node["path"] for node in kept.restic.ls(kept.snapshot, "/storage")]
    walked = [os.path.join(b"/storage", entry.path) for entry in local.walk(kept.storage)]
    assert nodes == ["/storage"] + [restic_restore.output.lossy(path) for path in walked]


def test_forget_and_prune(restic, storage):
    kept, gone = backup(restic, storage), backup(restic, storage)
    messages = []
    done = restic.forget([gone["snapshot"], "0" * 64], prune=True, on_progress=lambda *args: messages.append(args))
    assert done == {"removed": [gone["snapshot"]], "absent": ["0" * 64], "pruned": True} and messages
    assert [item["id"] for item in restic.snapshots()] == [kept["snapshot"]]
    again = restic.forget([gone["snapshot"]], prune=True)
    assert again["removed"] == [] and again["pruned"]


def test_check_counts_what_it_read(kept):
    restic = kept.restic
    assert restic.check()["packs"] == 0
    whole = restic.check(read_data=True)
    assert whole["packs"] >= 2 and whole["snapshots"] == 1 and whole["read_data"]
    parts = [restic.check(subset=f"{turn}/2")["packs"] for turn in (1, 2)]
    assert sum(parts) == whole["packs"], "by turns everything is read"
    size = restic.stats(kept.snapshot, "restore-size")
    assert size["bytes"] == kept.done["bytes_total"]
    assert 0 < restic.stats()["bytes"] < size["bytes"], "the sparse file is compressed"


def test_a_repository_is_made_once(make, binary):
    restic = make(binary)
    assert not restic.exists()
    config = restic.init()
    assert restic.exists() and restic.config() == config and config["version"] == 2
    with pytest.raises(StateError) as caught:
        restic.init()
    assert caught.value.reason == "repository_exists"


def test_progress_is_real(restic, tmp_path):
    source = tmp_path / "app" / "storage"
    source.mkdir(parents=True)
    total = 300_000_000  # much more than restic keeps in memory on its way to the repository
    for number in range(10):
        (source / str(number)).write_bytes(os.urandom(total // 10))
    restic.repository.limit_upload = restic.repository.limit_download = 60_000
    seen = []

    def report(done, total=None, message=None, unit="bytes"):
        seen.append((done, total))

    done = backup(restic, source, on_progress=report)
    assert [pair for pair in seen if pair[1] == total and 0 < pair[0] < total], seen
    seen.clear()
    restic_restore.restore_path(
        restic, done["snapshot"], "/storage", tmp_path / "out", verify=False, on_progress=report
    )
    assert [pair for pair in seen if pair[1] == total and 0 < pair[0] < total], seen
    assert [pair[0] for pair in seen] == sorted(pair[0] for pair in seen)


def test_special_files_are_not_restored_half(one_restic, tmp_path):
    source = tmp_path / "app" / "storage"
    source.mkdir(parents=True)
    os.mkfifo(source / "fifo")
    done = backup(one_restic, source)
    with pytest.raises(RefusedError) as caught:
        restic_restore.restore_path(one_restic, done["snapshot"], "/storage", tmp_path / "out")
    assert caught.value.reason == "special_files"


def test_drift_of_a_storage_at_work_is_tolerated_where_it_was_marked(one_restic, storage, tmp_path):
    """Listed, copied while Kestra works, listed again: the restored copy equals the list but for what is marked."""
    local.take(storage, tmp_path / "pinned.gz")
    done = backup(one_restic, storage)
    (storage / "ns" / "plain.ion").write_bytes(b"rewritten after the copy")
    (storage / "ns" / "big").unlink()
    (storage / "ns" / "late").write_bytes(b"new")
    result = local.take(storage, tmp_path / "list.gz", digests=True, compare=tmp_path / "pinned.gz")
    assert (result["drift"]["deleted"], result["drift"]["changed"], result["drift"]["added"]) == (1, 1, 1)
    found = restic_restore.restore_path(one_restic, done["snapshot"], "/storage", tmp_path / "out",
                                        expect=tmp_path / "list.gz")["compared"]
    assert found["verdict"] == "equal" and found["drifted"] == 3
    assert {entry.path for entry in listing.read(tmp_path / "list.gz") if entry.drift} == {
        b"ns", b"ns/plain.ion", b"ns/big", b"ns/late"}
