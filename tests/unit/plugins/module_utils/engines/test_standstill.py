# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that goes on in maintenance mode, and what is none."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import standstill

LOOK = {"executions": 7, "under_way": "12", "held_by_workers": "0", "logs": 100, "metrics": 3, "created": 2, "messages": 50,
        "triggers": "5", "heartbeats": "6"}


@pytest.mark.parametrize("change, advanced", [
    ({"executions": 8, "created": 1}, ["executions"]), ({"under_way": "13"}, ["task runs"]), ({"held_by_workers": "1"}, ["jobs of workers"]),
    ({"logs": 101}, ["logs"]), ({"metrics": 2}, ["metrics"]), ({"executions": 6}, ["executions"])])
def test_work_that_goes_on_is_named(change, advanced):
    found = standstill.compare(LOOK, {**LOOK, **change}, 10.04)
    assert not found["still"] and found["advanced"] == advanced and found["seconds"] == 10.0
    assert found["told"] == "advanced: " + ", ".join(advanced)


def test_what_may_go_on_is_told():
    found = standstill.compare(LOOK, {**LOOK, "created": 4, "messages": 61, "triggers": "7", "heartbeats": "8"}, 10)
    assert found["still"] and found["went_on"] == {"created": 2, "messages": True, "triggers": True, "heartbeats": True}
    assert found["told"] == "2 executions created; messages; triggers; heartbeats"


def test_tables_that_are_not_there_stand_still():
    nothing = dict.fromkeys(standstill.WORK + standstill.BESIDE)
    assert standstill.compare(nothing, nothing, 1)["still"]
