# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream of tar becomes entries with digests, whatever the names; what is no part of what was asked for is refused."""
from __future__ import annotations

import hashlib
import io
import tarfile
import tracemalloc

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import contents


class Tar:
    """A repository with one snapshot: a tar of these members."""

    def __init__(self, members, cut=None):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", errors="surrogateescape") as archive:
            for member, data in members:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        self.raw = out.getvalue()[:cut]

    def dump_tar(self, snapshot, path):
        return io.BytesIO(self.raw)


def member(name, kind=tarfile.REGTYPE, **values):
    found = tarfile.TarInfo(name)
    found.type = kind
    for key, value in values.items():
        setattr(found, key, value)
    return found


def entries(tar, path="/storage", **rest):
    return list(contents.entries(tar, "a" * 64, path, **rest))


def test_files_directories_and_links():
    found = entries(Tar([
        (member("storage/dir", tarfile.DIRTYPE, mode=0o2750, uid=7, gid=8, mtime=5), b""),
        (member("storage/dir/file", mode=0o4711, mtime=6), b"data"),
        (member("storage/link", tarfile.SYMTYPE, linkname="dir/file"), b"")]))
    assert [(item.path, item.type, item.size, item.target) for item in found] == [
        (b"dir", "d", 0, None), (b"dir/file", "f", 4, None), (b"link", "l", 0, b"dir/file")]
    assert (found[0].mode, found[0].uid, found[0].gid) == (0o2750, 7, 8)
    assert (found[1].mode, found[1].mtime_ns, found[1].sha256) == (
        0o4711,
        6 * 10**9,
        hashlib.sha256(b"data").hexdigest(),
    )


@pytest.mark.parametrize("name", [b"with space", b"new\nline", b"bad \xff\xfe", "naïve".encode(), b"x" * 300])
def test_names_are_bytes(name):
    tar = Tar([(member("storage/" + name.decode("utf-8", "surrogateescape")), b"1")])
    assert [item.path for item in entries(tar)] == [name]


def test_the_path_itself_is_no_entry_and_the_root_has_no_prefix():
    tar = Tar([(member("storage", tarfile.DIRTYPE), b""), (member("storage/f"), b"1")])
    assert [item.path for item in entries(tar)] == [b"f"]
    assert [item.path for item in entries(tar, "/")] == [b"storage", b"storage/f"]


@pytest.mark.parametrize("name", ["other/file", "storage2/file", "file"])
def test_what_was_not_asked_for_is_refused(name):
    with pytest.raises(IntegrityError):
        entries(Tar([(member(name), b"1")]))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE])
def test_special_files_are_refused(kind):
    with pytest.raises(IntegrityError) as caught:
        entries(Tar([(member("storage/x", kind), b"")]))
    assert caught.value.reason == "snapshot_special_file"


@pytest.mark.parametrize("cut", [100, 513, 700, 1500])
def test_a_cut_stream_never_gives_all_entries(cut):
    """restic's exit code says it too; here it has none."""
    tar = Tar([(member("storage/a"), b"x" * 400), (member("storage/b"), b"y" * 400)], cut)
    try:
        found = entries(tar)
    except IntegrityError:
        return
    assert len(found) < 2 or found[1].sha256 != hashlib.sha256(b"y" * 400).hexdigest()


def test_garbage_is_no_tar():
    tar = Tar([])
    tar.raw = b"Fatal: something else" * 100
    with pytest.raises(IntegrityError) as caught:
        entries(tar)
    assert caught.value.reason == "snapshot_unreadable"


def test_content_is_handed_over_block_by_block():
    blocks, sizes = [], []
    data = b"z" * (contents._BLOCK + 5)
    entries(
        Tar([(member("storage/f"), data)]),
        content=lambda name, block: blocks.append((name, block)),
        on_bytes=sizes.append,
    )
    assert b"".join(block for _name, block in blocks) == data and {name for name, _block in blocks} == {b"f"}
    assert sum(sizes) == len(data)


def test_memory_does_not_grow_with_the_number_of_entries():
    def peak(count):
        tar = Tar([(member(f"storage/{number:08d}"), b"") for number in range(count)])
        tracemalloc.start()
        for _entry in contents.entries(tar, "a" * 64, "/storage"):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found
    few = peak(4000)  # more than one block of the reader
    assert peak(9000) < few + (1 << 20)
