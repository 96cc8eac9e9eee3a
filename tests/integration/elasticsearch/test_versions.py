# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of one version or product and clusters of another."""

from __future__ import annotations

import pytest
from elasticsearch_harness import SERVERS, needs

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError

# The first cluster of every test.
RUN_ON = ("8",)
nine = [needs("9"), pytest.mark.full("Elasticsearch 9")]


def reader(cluster, own_cluster, name):
    """A cluster of that server that reads what the other has taken, and holds Kestra's indices."""
    found = own_cluster(server=SERVERS[name], repositories=cluster.repositories)
    found.repository(readonly=True)
    return found


@pytest.mark.parametrize("name", [pytest.param("9", marks=nine)])
def test_a_newer_major_version_takes_it(cluster, own_cluster, take, give, name):
    counts = cluster.kestra()
    cluster.repository()
    component = take(cluster)
    other = reader(cluster, own_cluster, name)
    restored = give(other, component=component)
    assert restored["verdict"] == "verified" and restored["counts"] == counts


@pytest.mark.parametrize(
    "source,target,reason",
    [
        pytest.param("9", "8", "newer_version", marks=nine),
        pytest.param("opensearch", "8", "other_product", marks=[needs("opensearch"), pytest.mark.full("snapshots of OpenSearch on Elasticsearch")]),
        pytest.param("8", "opensearch", "other_product", marks=needs("opensearch")),
    ],
)
def test_what_another_cannot_read_is_refused(own_cluster, take, give, source, target, reason):
    cluster = own_cluster(server=SERVERS[source])
    cluster.kestra()
    cluster.repository()
    component = take(cluster)
    other = own_cluster(server=SERVERS[target], repositories=cluster.repositories)
    counts = other.kestra({"flows": 3})
    other.repository(readonly=True)
    with pytest.raises(DrError) as failed:
        give(other, component=component, delete_existing=True)
    assert failed.value.reason == reason, failed.value.message
    other.ask("POST", "/kestra_flows/_refresh")
    assert other.names() == sorted(counts) and other.ask("GET", "/kestra_flows/_count")["count"] == 3
