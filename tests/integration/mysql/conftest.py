# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on real MySQL servers."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mysql_harness import BIG, BIN, Server, run_module  # noqa: E402

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import (  # noqa: E402
    connect,
    dump,
    restore,
    versions,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps  # noqa: E402


def pytest_collection_modifyitems(items):
    if not versions.find_servers(BIN):
        skip = pytest.mark.skip(reason="no MySQL server on this machine, and none in KESTRA_DR_TEST_MYSQL_BIN")
        for item in items:
            if Path(__file__).parent in Path(str(item.fspath)).parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A short path: the path of a Unix socket may have 107 bytes only."""
    directory = Path(tempfile.mkdtemp(prefix="kdr-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def pristine(base):
    """A data directory made once; others are copies."""
    server = Server(base)
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def server(base, pristine):
    """The server most tests share; each makes databases of its own."""
    found = Server(base, template=pristine).start()
    yield found
    found.destroy()


@pytest.fixture(scope="session")
def second_server(base, pristine):
    """Another place to restore to."""
    found = Server(base, template=pristine).start()
    yield found
    found.destroy()


@pytest.fixture
def own_server(base, pristine):
    """own_server(time_zones=True, **settings): a server a test may break or set otherwise."""
    started = []

    def start(**how):
        started.append(Server(base, template=pristine, **how).start())
        return started[-1]

    yield start
    for found in started:
        found.destroy()


@pytest.fixture(scope="session")
def small(server):
    """A small Kestra database, never changed."""
    return server.kestra()


@pytest.fixture(scope="session")
def big(server):
    """A Kestra database with enough rows to be interrupted in, never changed."""
    return server.kestra(BIG)


@pytest.fixture
def kestra(server):
    """A small Kestra database a test may change."""
    name = server.kestra()
    yield name
    server.drop(name)


@pytest.fixture
def take(tmp_path):
    """take(login, database, **dump.Options) -> (directory, component)."""
    numbers = itertools.count(1)

    def run(login, database, progress=None, **options):
        dest = tmp_path / f"dump{next(numbers)}"
        options.setdefault("free_ratio", 0)
        options.setdefault("bin_dir", BIN)
        component = dump.dump(login, database, str(dest), dump.Options(**options), progress or Steps())
        return str(dest), component

    return run


@pytest.fixture
def give(request):
    """give(login, source, database, component, **restore.Options) -> result. The database is dropped afterwards."""
    made = []

    def run(login, source, database, component=None, progress=None, **options):
        made.append((login, database))
        return restore.restore(
            login, source, restore.Options(database=database, **options), progress or Steps(), expected=component
        )

    yield run
    for login, database in made:
        try:
            with connect.connect(login) as session:
                session.rows(f"DROP DATABASE IF EXISTS `{database}`")
        except connect.ConnectError:
            pass  # the test has ended that server


@pytest.fixture
def module():
    """module(name, check_mode=False, **parameters) -> result; or Popen with background=True."""
    return run_module
