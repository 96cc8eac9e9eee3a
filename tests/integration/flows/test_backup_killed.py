# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the controller of a backup: Kestra comes back, and a rerun converges."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.killed import (
    DOWNTIME,
    NOT_UNDER_RUNNER,
    WORST,
    killer,
    left,
    moments,
    rerun,
)

pytestmark = [NOT_UNDER_RUNNER, pytest.mark.long]


def test_backup(lab, tmp_path):
    for moment in moments(lab, "backup", tmp_path):
        before = lab.points()
        run = lab.play("backup", env=killer(moment), kestra_dr_max_downtime=DOWNTIME)
        assert run.rc == -9, (moment, run.output[-3000:])
        assert lab.wait_healthy(DOWNTIME + 60), moment
        killed, record = left(lab)
        if moment == WORST["backup"]:
            assert record["dead_man_fired"]["action"] == "start", record
            assert lab.points() == before
        rerun(lab, "backup", killed)
        assert len(lab.points()) > len(before) and lab.points()[:len(before)] == before
    listed = lab.play("list").ok()
    assert not [point for point in listed.stats["kestra_dr_recovery_points"] if point["verdict"] == "failed"]


@pytest.fixture(autouse=True)
def _a_clean_end(lab):
    yield
    assert lab.wait_healthy()
