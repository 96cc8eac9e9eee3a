# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on real Elasticsearch clusters."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from elasticsearch_harness import HOME, PREFIX, Cluster, run_module  # noqa: E402

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import (  # noqa: E402
    restore,
    snapshot,
    swap,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps  # noqa: E402


def pytest_collection_modifyitems(items):
    if not HOME:
        skip = pytest.mark.skip(
            reason="KESTRA_DR_TEST_ELASTICSEARCH names no Elasticsearch (scripts/lib/elasticsearch.sh)"
        )
        for item in items:
            if Path(__file__).parent in Path(str(item.fspath)).parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def base():
    directory = Path(tempfile.mkdtemp(prefix="kdr-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def shared(base):
    """A cluster of one node that the tests of a file share."""
    found = Cluster(base).start()
    yield found
    found.destroy()


@pytest.fixture
def cluster(shared):
    """The shared cluster, empty."""
    shared.wipe()
    return shared


@pytest.fixture
def own_cluster(base):
    """own_cluster(nodes=1, **settings): a cluster a test may break or set otherwise."""
    started = []

    def start(**how):
        started.append(Cluster(base, **how).start())
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
