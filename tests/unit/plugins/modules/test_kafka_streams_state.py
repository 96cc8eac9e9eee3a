# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module that removes what Kafka Streams keeps."""
from __future__ import annotations

import os

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kafka_streams_state
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run


@pytest.fixture
def state(tmp_path):
    for name in ("kestra_executor", "uat_kestra_executor", "other"):
        (tmp_path / name / "0_0").mkdir(parents=True)
    return tmp_path


def test_kestras_go_and_others_stay(state):
    given = {"directories": [str(state), str(state / "none")]}
    would = run(kafka_streams_state, check=True, **given)
    assert would["changed"] and would["removed"] == [str(state / "kestra_executor")], would["_raw"]
    assert would["diff"]["before"] == f"{state}/kestra_executor\n" and (state / "kestra_executor").exists()
    assert run(kafka_streams_state, **given)["removed"] == would["removed"]
    assert sorted(os.listdir(state)) == ["other", "uat_kestra_executor"]
    assert run(kafka_streams_state, **given)["changed"] is False


def test_the_prefix_of_the_configuration(state):
    text = "kestra: {queue: {type: kafka}, kafka: {defaults: {consumer-prefix: uat_kestra}}}"
    result = run(kafka_streams_state, directories=[str(state)], config={"text": text})
    assert result["removed"] == [str(state / "uat_kestra_executor")], result["_raw"]
    result = run(kafka_streams_state, directories=[str(state)], consumer_prefix="other", config={"text": text})
    assert result["removed"] == [str(state / "other")], result["_raw"]


def test_what_is_refused(state):
    assert run(kafka_streams_state, directories=["/"])["reason"] == "bad_state_directory"
    text = "kestra: {queue: {type: postgres}}"
    assert run(kafka_streams_state, directories=[str(state)], config={"text": text})["reason"] == "unsupported_queue"
    assert (state / "kestra_executor").exists()
