# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which client may talk to which server."""

from __future__ import annotations

import stat

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import versions
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.target import pick_client
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql.versions import Client


def clients(*found):
    return [Client(f"/pg/{major}.{minor}", (major, minor)) for major, minor in found]


@pytest.mark.parametrize(
    "text,version",
    [
        ("15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("pg_dump (PostgreSQL) 16.14", (16, 14)),
        ("18beta1", (18, 0)),
        ("pg_dump (PostgreSQL) 17rc1", (17, 0)),
        ("postgres (PostgreSQL) 14devel", (14, 0)),
        ("15", (15, 0)),
    ],
)
def test_parse(text, version):
    assert versions.parse(text) == version


@pytest.mark.parametrize("text", ["", "pg_dump", "libpq5 error"])
def test_parse_refuses(text):
    with pytest.raises(ToolError):
        versions.parse(text)


def test_of_server():
    assert versions.of_server(150018) == (15, 18)


@pytest.mark.parametrize(
    "installed,server,chosen",
    [
        ([(15, 3), (17, 1)], 15, (15, 3)),
        ([(15, 3), (15, 9)], 15, (15, 9)),
        ([(17, 1), (18, 0)], 16, (17, 1)),
        ([(15, 3)], 14, (15, 3)),
    ],
)
def test_pick(installed, server, chosen):
    assert versions.pick(clients(*installed), server).version == chosen


@pytest.mark.parametrize("installed", [[], [(14, 9), (15, 18)]])
def test_an_older_client_is_refused(installed):
    with pytest.raises(RefusedError) as refused:
        versions.pick(clients(*installed), 16)
    assert refused.value.reason == "client_too_old" and "postgresql-client-16" in refused.value.hint


@pytest.mark.parametrize(
    "installed,written,target,chosen",
    [
        ([(15, 3), (17, 1)], (15, 3), 15, (15, 3)),  # the target's own
        ([(15, 3), (17, 1)], (17, 1), 15, (17, 1)),  # an older one could not read it
        ([(15, 3), (17, 1)], (15, 3), 17, (17, 1)),
        ([(16, 3), (16, 9)], (15, 3), 17, (16, 9)),
    ],
)
def test_pick_client_to_restore(installed, written, target, chosen):
    assert pick_client(clients(*installed), written, target).version == chosen


def test_pick_client_to_restore_refuses():
    for installed in ([], [(15, 18)]):
        with pytest.raises(RefusedError) as refused:
            pick_client(clients(*installed), (16, 0), 16)
        assert refused.value.reason == "client_too_old"


def test_never_into_an_older_server():
    versions.require_restorable((15, 2), 15)
    versions.require_restorable((15, 2), 17)
    with pytest.raises(RefusedError) as refused:
        versions.require_restorable((15, 2), 14)
    assert refused.value.reason == "target_too_old"


@pytest.mark.parametrize(
    "major,form,method,level,argument",
    [
        (15, "directory", "none", None, "--compress=0"),
        (15, "custom", "gzip", None, "--compress=6"),
        (15, "custom", "gzip", 1, "--compress=1"),
        (16, "directory", "none", None, "--compress=none"),
        (16, "directory", "zstd", 3, "--compress=zstd:3"),
        (17, "custom", "lz4", None, "--compress=lz4"),
        (16, "tar", "none", None, None),
    ],
)
def test_compress_argument(major, form, method, level, argument):
    assert versions.compress_argument(major, form, method, level) == argument


@pytest.mark.parametrize("major,form,method", [(15, "directory", "zstd"), (15, "custom", "lz4"), (17, "tar", "gzip")])
def test_compressions_that_cannot_be(major, form, method):
    with pytest.raises(RefusedError) as refused:
        versions.compress_argument(major, form, method)
    assert refused.value.reason == "compression_unsupported"


@pytest.mark.parametrize(
    "version,known",
    [
        ((15, 13), False),
        ((15, 14), True),
        ((16, 9), False),
        ((16, 10), True),
        ((17, 6), True),
        ((18, 0), True),
        ((12, 99), False),
    ],
)
def test_restrict(version, known):
    assert versions.knows_restrict(version) is known


def install(directory, version, programs=("pg_dump", "pg_restore", "psql")):
    directory.mkdir(parents=True)
    for name in programs:
        path = directory / name
        path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_find_clients(tmp_path, monkeypatch):
    install(tmp_path / "lib/15/bin", "15.18 (Debian)")
    install(tmp_path / "lib/17/bin", "17.2")
    install(tmp_path / "local", "16.1")
    (tmp_path / "lib/14/bin").mkdir(parents=True)  # a server without client programs
    install(tmp_path / "lib/18/bin", "nothing anyone could read")
    monkeypatch.setenv("PATH", f"{tmp_path / 'local'}:/usr/bin:/bin")
    found = versions.find_clients(places=(str(tmp_path / "lib/*/bin"),))
    assert [client.version for client in found] == [(15, 18), (17, 2), (16, 1)]
    assert found[0].program("psql") == str(tmp_path / "lib/15/bin/psql")
    assert [client.version for client in versions.find_clients(str(tmp_path / "local"))] == [(16, 1)]


def test_find_clients_leaves_debians_wrapper_out(tmp_path, monkeypatch):
    install(tmp_path / "common", "15.1", ("pg_wrapper",))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pg_dump").symlink_to(tmp_path / "common/pg_wrapper")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert versions.find_clients(places=()) == []


def test_find_clients_in_a_wrong_place(tmp_path):
    with pytest.raises(ToolError):
        versions.find_clients(str(tmp_path))


def test_find_server_programs(tmp_path, monkeypatch):
    install(tmp_path / "15/bin", "15.18", ("initdb", "postgres"))
    install(tmp_path / "17/bin", "17.1", ("initdb",))
    install(tmp_path / "local", "14.1", ("initdb", "postgres"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'local'}:/usr/bin:/bin")
    found = versions.find_server_programs(places=(str(tmp_path / "*/bin"),))
    assert [client.version for client in found] == [(14, 1), (15, 18)]
