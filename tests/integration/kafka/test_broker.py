# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests rely on: the broker keeps what was written, and tells a topic from one of the same name."""

from __future__ import annotations

import signal

import pytest


@pytest.mark.full("the broker of these tests keeps its records over a kill")
def test_a_broker_keeps_its_records_and_its_id_over_a_kill(own_broker):
    one, other = own_broker(), own_broker()
    assert one.cluster_id != other.cluster_id
    one.start()
    one.send("kestra_flow", ("a", "1"), ("b", "2"))
    before = one.ids()
    one.stop(signal.SIGKILL)
    one.start()
    assert sorted(one.records("kestra_flow")) == [("a", "1"), ("b", "2")]
    assert one.ids() == before and list(before) == ["kestra_flow"]
    with one.admin() as admin:
        assert admin.describe_cluster()["cluster_id"] == one.cluster_id
        admin.delete_topics(["kestra_flow"])
    one.send("kestra_flow", ("a", "3"))
    assert one.records("kestra_flow") == [("a", "3")] and one.ids() != before


def test_a_member_is_seen_while_it_lives(broker):
    broker.send("kestra_seen", ("a", "1"))
    with broker.admin() as admin:
        def state():
            return admin.describe_groups(["kestra_one"])["kestra_one"]

        with broker.member("kestra_one", "kestra_seen"):
            assert state()["group_state"] == "Stable" and len(state()["members"]) == 1
        assert state()["group_state"] == "Empty" and not state()["members"]
