# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which executions have not ended, and what became of them."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch import pending


def index(**current):
    return {"mappings": {"state.current": {"full_name": "state.current", "mapping": {"current": current}}} if current else {}}


KEYWORD = index(type="keyword")
TEXT = index(type="text", fields={"raw": {"type": "keyword"}})


@pytest.mark.parametrize("mapping, field", [
    ({"a": KEYWORD}, "state.current"), ({"a": TEXT}, "state.current.raw"), ({"a": index(type="text")}, None),
    ({"a": index()}, None), ({"a": KEYWORD, "b": KEYWORD}, "state.current"), ({"a": KEYWORD, "b": TEXT}, None), ({}, None)])
def test_states_are_searched_for_only_where_they_are_kept_as_written(mapping, field):
    assert pending.exact_field(mapping) == field


@pytest.mark.parametrize("state, deleted, is_one", [
    ("RUNNING", False, True), ("CREATED", None, True), ("PAUSED", False, True), ("A_NEW_ONE", False, True), (None, False, True),
    ("SUCCESS", False, False), ("KILLED", False, False), ("RUNNING", True, False)])
def test_what_has_not_ended(state, deleted, is_one):
    assert pending.is_pending({"id": "1", "state": {"current": state}, "deleted": deleted}) is is_one


def test_an_execution_as_the_manifest_lists_it():
    source = {"id": "1", "namespace": "n", "flowId": "f", "state": {"current": "RUNNING", "histories": []}}
    assert pending.execution(source) == {"id": "1", "namespace": "n", "flow": "f", "state": "RUNNING"}
    assert pending.execution(dict(source, tenantId="main"))["tenant"] == "main"
    assert pending.execution({"id": "1"}) == {"id": "1", "namespace": "?", "flow": "?", "state": "?"}


def test_what_became_of_them():
    recorded = [{"id": "1", "namespace": "n", "flow": "f", "state": "RUNNING", "tenant": "main"},
                {"id": "2", "namespace": "n", "flow": "f", "state": "CREATED"}, {"id": "3", "state": "PAUSED"}]
    changes = pending.became(recorded, {"1": "SUCCESS", "2": "CREATED"})
    assert changes[0] == {"id": "1", "namespace": "n", "flow": "f", "tenant": "main", "was": "RUNNING", "now": "SUCCESS"}
    assert [(item["was"], item["now"]) for item in changes] == [("RUNNING", "SUCCESS"), ("CREATED", "CREATED"), ("PAUSED", None)]
    assert [item["id"] for item in pending.stuck(changes)] == ["2"]
