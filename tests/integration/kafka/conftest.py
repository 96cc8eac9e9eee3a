# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on a real Kafka."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from instance import ELASTICSEARCH, Instance, Node  # noqa: E402
from kafka_harness import BIN, Broker  # noqa: E402

_NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items):
    if not BIN:
        skip = pytest.mark.skip(reason="no Kafka on this machine (KESTRA_DR_TEST_KAFKA_BIN)")
        for item in items:
            if Path(__file__).parent in Path(str(item.fspath)).parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """The broker most tests share."""
    found = Broker(tmp_path_factory.mktemp("kafka")).start()
    yield found
    found.destroy()


@pytest.fixture
def own_broker(tmp_path):
    """own_broker(**settings): a broker a test may break or set otherwise, not started."""
    made = []

    def make(**settings):
        made.append(Broker(tmp_path, settings))
        return made[-1]

    yield make
    for found in made:
        found.destroy()


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """The Elasticsearch most tests share."""
    if not ELASTICSEARCH.directory:
        pytest.skip("no Elasticsearch on this machine (KESTRA_DR_TEST_ELASTICSEARCH)")
    found = Node(tmp_path_factory.mktemp("elasticsearch")).start()
    yield found
    found.destroy()


@pytest.fixture
def instance(request, tmp_path, node):
    """instance(filled=True, broker=None, **Instance's): an instance of its own, with a prefix of its own."""
    made = []

    def make(filled=True, broker=None, **given):
        directory = tmp_path / f"instance{len(made)}"
        directory.mkdir()
        broker = broker or request.getfixturevalue("broker")
        made.append(Instance(directory, node, broker, f"kestra{next(_NUMBERS)}_", **given))
        return made[-1].fill() if filled else made[-1]

    yield make
    for one in made:
        node.clear(one.prefix)
