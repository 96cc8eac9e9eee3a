# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of components that can be meant, and those that cannot."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.filter.to_restore import FilterModule as Restore
from ansible_collections.kestra_community.dr.plugins.filter.to_take import FilterModule as Take
from ansible_collections.kestra_community.dr.plugins.module_utils.core import covered

ALL = ["database", "storage", "config", "metadata"]


@pytest.mark.parametrize("asked, consistency, components, mode", [
    (None, None, ["database", "storage", "config"], "pinned"), (None, "offline", ["database", "storage", "config"], "offline"),
    (["storage", "config"], None, ["storage", "config"], "pinned"), (["metadata"], None, ["metadata"], "drained"),
    (["metadata", "config"], None, ["metadata", "config"], "drained"), (["metadata"], "live", ["metadata"], "live"),
    (ALL, None, ALL, "pinned"), (ALL, "drained", ALL, "drained"), (["database"], "drained", ["database"], "drained"),
    ("metadata, config", None, ["metadata", "config"], "drained")])
def test_what_can_be_taken(asked, consistency, components, mode):
    assert Take().filters()["to_take"](asked, consistency) == {"components": components, "mode": mode, "problems": []}


@pytest.mark.parametrize("asked, consistency, word", [
    ([], None, "is empty"), (["database", "search"], None, "search"), (["config", "config"], None, "config twice"),
    (["metadata", "storage"], None, "storage and metadata without database"), (["metadata"], "offline", "offline"),
    (["metadata", "config"], "pinned", "pinned"), (["database"], "frozen", "frozen")])
def test_what_cannot_be_meant_is_named(asked, consistency, word):
    (problem,) = covered.to_take(asked, consistency)["problems"]
    assert word in problem


@pytest.mark.parametrize("asked, held, components", [
    (None, ["config", "database", "storage"], ["database", "storage", "config"]), (None, ALL, ["database", "storage", "config"]),
    (None, ["metadata"], ["metadata"]), (None, ["config", "metadata"], ["metadata"]), (None, ["database"], ["database"]),
    (["database", "storage", "config"], ["database"], ["database"]), (["metadata"], ALL, ["metadata"]),
    (None, ["config", "queue", "search", "storage"], ["database", "storage", "config"]), (["database"], ["queue", "search"], ["database"]),
    (["config", "metadata"], ALL, ["config", "metadata"]), (ALL, ALL, ["database", "storage", "config"]), (ALL, ["metadata"], ["metadata"])])
def test_what_comes_back(asked, held, components):
    assert Restore().filters()["to_restore"](asked, held) == {"components": components, "problems": []}


@pytest.mark.parametrize("asked, held, word", [
    (["metadata"], ["config", "database", "storage"], "holds config, database, storage"), (["storage", "metadata"], ALL, "metadata and storage"),
    (["search"], ALL, "search"), ([], ALL, "is empty")])
def test_a_restore_that_cannot_be_meant_is_named(asked, held, word):
    (problem,) = covered.to_restore(asked, held)["problems"]
    assert word in problem
