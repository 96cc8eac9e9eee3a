# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the controller of a restore: Kestra comes back or is held with a reason, and a rerun converges."""
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


def test_restore(lab, tmp_path):
    instance = lab.instance_id
    wanted = {"kestra_dr_recovery_point": lab.point(), "kestra_dr_confirm": instance}
    for moment in moments(lab, "restore", tmp_path, **wanted):
        run = lab.play("restore", env=killer(moment), kestra_dr_max_downtime=DOWNTIME, **wanted)
        assert run.rc == -9, (moment, run.output[-3000:])
        assert lab.held.exists() or lab.wait_healthy(DOWNTIME + 60), moment
        if lab.held.exists():
            assert wanted["kestra_dr_recovery_point"] in lab.held.read_text(), "the reason on the host names the recovery point"
            assert not lab.healthy()
        else:
            assert moment != WORST["restore"]
        rerun(lab, "restore", left(lab)[0], **wanted)
        assert lab.instance_id == instance


@pytest.fixture(autouse=True)
def _a_clean_end(lab):
    yield
    assert lab.wait_healthy()
