# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.filter.seconds_between import seconds_between
from ansible_collections.kestra_community.dr.plugins.filter.timeline import timeline
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError

T = "2026-11-23T00:00:%02d.000000Z"


def test_seconds_are_signed_and_rounded():
    assert seconds_between(T % 1, T % 4) == 3.0
    assert seconds_between(T % 4, T % 1) == -3.0
    assert seconds_between("2026-11-23T00:00:00.0004Z", "2026-11-23T00:00:01Z") == 1.0


def test_an_unknown_begin_is_no_time_at_all():
    assert seconds_between("", T % 4) == 0.0
    assert seconds_between(None) == 0.0


def test_what_is_no_time_is_refused():
    with pytest.raises(ConfigError):
        seconds_between("yesterday", T % 4)


def test_steps_are_ordered_and_unknown_ones_left_out():
    steps = [{"name": "b", "from": T % 5, "to": T % 9}, {"name": "none", "from": T % 5, "to": ""},
             {"name": "a", "from": T % 1, "to": T % 2}]
    found = timeline(steps, T % 0)
    assert [(step["name"], step["offset"], step["seconds"]) for step in found] == [("a", 1.0, 1.0), ("b", 5.0, 4.0)]
