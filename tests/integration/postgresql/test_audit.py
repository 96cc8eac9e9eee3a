# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut and changed dumps: refused before a server is touched, or complete to the last row. Never a hang."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time

import pytest
from postgresql_harness import FULL

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, IntegrityError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import archive, audit, source
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps

OFFSETS = 200 if FULL else 40
FORMS = [
    ("directory", "none"),
    ("directory", "gzip"),
    ("custom", "gzip"),
    ("custom", "none"),
    ("tar", "none"),
    ("plain", "none"),
]


@pytest.fixture(scope="module")
def dumps(server, tmp_path_factory):
    """{(format, compression): (directory, component)} of one database."""
    from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import dump

    name = server.kestra({"flows": 5, "executions": 40, "logs": 800, "queues": 100, "settings": 2})
    made = {}
    for form, method in FORMS:
        dest = tmp_path_factory.mktemp("dumps") / "dump"
        options = dump.Options(format=form, compression=method, free_ratio=0)
        made[form, method] = str(dest), dump.dump(server.admin(), name, str(dest), options, Steps())
    server.drop(name)
    return made


def chosen_file(directory, dice):
    """A file of the dump, the larger the likelier."""
    paths = [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
    return dice.choices(paths, weights=[os.path.getsize(path) + 1 for path in paths])[0]


def copy(directory, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(directory, target)
    return str(target)


def same_but_padding(whole, cut):
    """Whether only empty bytes at the end are gone."""
    with open(whole, "rb") as one, open(cut, "rb") as other:
        left, right = one.read(), other.read()
    return left.startswith(right) and not left[len(right) :].strip(b"\0\n")


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_a_cut_dump_is_refused(dumps, tmp_path, form):
    directory, component = dumps[form]
    dice = random.Random(f"cut {form}")
    refused = 0
    for unused in range(OFFSETS):
        damaged = copy(directory, tmp_path / "damaged")
        path = chosen_file(damaged, dice)
        size = os.path.getsize(path)
        offset = dice.randrange(size)
        os.truncate(path, offset)
        started = time.monotonic()
        with pytest.raises(IntegrityError):
            source.inspect(damaged, component)
        try:
            report = audit.audit(damaged)
        except DrError as exc:
            assert exc.reason in ("dump_damaged", "not_a_dump", "not_found", "compressed_file"), exc.reason
            refused += 1
        else:
            assert report["counts"] == component["counts"]
            assert same_but_padding(path.replace(str(tmp_path / "damaged"), directory), path), (path, offset, size)
        assert time.monotonic() - started < 10
    assert refused > OFFSETS * 0.8


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_a_changed_bit_is_refused_by_its_digest(dumps, tmp_path, form):
    directory, component = dumps[form]
    dice = random.Random(f"flip {form}")
    for unused in range(OFFSETS):
        damaged = copy(directory, tmp_path / "damaged")
        path = chosen_file(damaged, dice)
        offset, bit = dice.randrange(os.path.getsize(path)), dice.randrange(8)
        with open(path, "r+b") as handle:
            handle.seek(offset)
            byte = handle.read(1)[0]
            handle.seek(offset)
            handle.write(bytes([byte ^ (1 << bit)]))
        with pytest.raises(IntegrityError) as refused:
            source.inspect(damaged, component)
        assert refused.value.reason == "digest_differs" and refused.value.detail["file"] == os.path.basename(path)
        # Without a manifest not every change can be seen, but none may hang, crash, or take memory without end.
        started = time.monotonic()
        try:
            audit.audit(damaged)
        except DrError:
            pass
        else:
            # Some bits mean nothing: the last ones of the byte that a compressed stream ends in, the sign of a 0.
            assert not has_checksum(form, path, offset) or script(damaged) == script(directory), (path, offset, bit)
        assert time.monotonic() - started < 10


def script(directory):
    """What pg_restore makes of a dump, without the key that is new each time."""
    done = subprocess.run(["pg_restore", "-f", "-", archive.detect(directory)[1]], stdout=subprocess.PIPE, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith((b"\\restrict ", b"\\unrestrict "))]


def has_checksum(form, path, offset):
    """Whether a changed byte there must be found without a manifest."""
    if form[1] != "gzip":
        return False
    if form[0] == "custom":
        return offset >= archive.open_toc("custom", path).end
    return path.endswith(".gz") and offset >= 10  # the header of gzip holds a time and flags nobody checks


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_nothing_on_the_server_is_touched(server, dumps, tmp_path, form, give):
    directory, component = dumps[form]
    damaged = copy(directory, tmp_path / "damaged")
    biggest = max((os.path.join(damaged, name) for name in os.listdir(damaged)), key=os.path.getsize)
    os.truncate(biggest, os.path.getsize(biggest) * 2 // 3)
    before = server.sql("SELECT datname, oid FROM pg_database ORDER BY 1")
    empty = server.database()
    for expected in (component, None):
        with pytest.raises(IntegrityError):
            give(server.admin(), damaged, "kestra_dr_damaged", expected)
        with pytest.raises(IntegrityError):
            give(server.admin(), damaged, empty, expected, create=False)
    assert server.sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace", empty) == [(0,)]
    server.drop(empty)
    assert server.sql("SELECT datname, oid FROM pg_database ORDER BY 1") == before


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_missing_and_added_files(dumps, tmp_path, form):
    directory, component = dumps[form]
    damaged = copy(directory, tmp_path / "damaged")
    with open(os.path.join(damaged, "added"), "w") as handle:
        handle.write("x")
    with pytest.raises(IntegrityError) as refused:
        source.inspect(damaged, component)
    assert refused.value.reason == "file_added"
    for name in sorted(os.listdir(directory))[:3]:
        damaged = copy(directory, tmp_path / "damaged")
        os.unlink(os.path.join(damaged, name))
        with pytest.raises(IntegrityError) as refused:
            source.inspect(damaged, component)
        assert refused.value.reason == "file_missing"


def test_every_cut_of_the_tars_end(dumps, tmp_path):
    """The padding and the end-of-archive marker, byte by byte: where cuts are hardest to see."""
    directory, component = dumps["tar", "none"]
    whole = os.path.join(directory, "database.tar")
    size = os.path.getsize(whole)
    damaged = tmp_path / "kestra.tar"
    shutil.copy(whole, damaged)
    for cut in sorted({*range(1, 1100, 1 if FULL else 37), 512, 1024}):
        os.truncate(damaged, size - cut)
        with pytest.raises(IntegrityError):
            audit.audit(str(damaged))
        shutil.copy(whole, damaged)


def test_empty_and_foreign_files(tmp_path):
    for name, content, reason in (
        ("empty", b"", "dump_damaged"),
        ("text", b"hello\n", "not_a_dump"),
        ("zeros", bytes(2000), "dump_damaged"),
        ("gz", b"\x1f\x8b" + bytes(100), "compressed_file"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(IntegrityError) as refused:
            audit.audit(str(path))
        assert refused.value.reason == reason, name
    with pytest.raises(DrError) as refused:
        audit.audit(str(tmp_path / "nothing"))
    assert refused.value.reason == "not_found"
