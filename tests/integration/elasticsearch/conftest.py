# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on real clusters of Elasticsearch and OpenSearch."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from elasticsearch_harness import PREFIX, SERVERS, Cluster, needs, run_module  # noqa: E402

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import (  # noqa: E402
    restore,
    snapshot,
    swap,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps  # noqa: E402


def pytest_generate_tests(metafunc):
    """A test that takes a server, or a cluster of one, runs on each of SERVERS, or on those its file names in RUN_ON."""
    if "server" in metafunc.fixturenames:
        chosen = getattr(metafunc.module, "RUN_ON", tuple(SERVERS))
        metafunc.parametrize("server", [pytest.param(SERVERS[name], id=name, marks=marks(metafunc, name)) for name in chosen],
                             scope="module")


def marks(metafunc, name):
    """Elasticsearch 8 is always run on. The others in a file that is short, or with everything."""
    found = [needs(name)]
    if name != "8" and name not in getattr(metafunc.module, "ALWAYS_ON", ()):
        found.append(pytest.mark.full(f"most of the tests of Elasticsearch's snapshots, on {name}"))
    return found


@pytest.fixture(scope="session")
def base():
    directory = Path(tempfile.mkdtemp(prefix="kdr-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def shared(base, server):
    """A cluster of one node that the tests of a file share."""
    found = Cluster(base, server).start()
    yield found
    found.destroy()


@pytest.fixture
def cluster(shared):
    """The shared cluster, empty."""
    shared.wipe()
    return shared


@pytest.fixture
def own_cluster(base, server):
    """own_cluster(nodes=1, server=…, **settings): a cluster a test may break or set otherwise."""
    started = []

    def start(**how):
        started.append(Cluster(base, how.pop("server", server), **how).start())
        return started[-1]

    yield start
    for found in started:
        found.destroy()


@pytest.fixture(scope="session")
def certificate(base):
    """A certificate for localhost that only its own file vouches for: (certificate, key)."""
    paths = base / "certificate.pem", base / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(paths[0]), "-keyout", str(paths[1])],
        check=True,
        capture_output=True,
    )
    return paths


@pytest.fixture
def take():
    """take(cluster, name, progress=None, **snapshot.Options) -> component."""

    def run(cluster, name="point", progress=None, prefix=PREFIX, **options):
        chosen = snapshot.Options(repository=options.pop("repository", "backup"), snapshot=name, **options)
        with cluster.connect() as connected:
            return snapshot.take(connected, prefix, chosen, progress or Steps())

    return run


@pytest.fixture
def give():
    """give(cluster, name, component=None, progress=None, **restore.Options) -> result."""

    def run(cluster, name="point", component=None, progress=None, **options):
        chosen = restore.Options(repository=options.pop("repository", "backup"), snapshot=name, **options)
        with cluster.connect() as connected:
            return restore.restore(connected, PREFIX, chosen, progress or Steps(), component)

    return run


@pytest.fixture
def put():
    """put(cluster, component=None, progress=None, **swap.Options) -> result."""

    def run(cluster, component=None, progress=None, **options):
        with cluster.connect() as connected:
            return swap.swap(connected, PREFIX, swap.Options(**options), progress or Steps(), component)

    return run


@pytest.fixture
def module():
    """module(name, check_mode=False, **parameters) -> result; or Popen with background=True."""
    return run_module
