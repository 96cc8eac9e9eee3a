# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_service hands its options to the lifecycle and its answers to Ansible."""
from __future__ import annotations

import json

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kestra_service

patch_module_args = pytest.importorskip(
    "ansible.module_utils.testing", reason="ansible-core before 2.19 has no helper for module arguments").patch_module_args

COMMANDS = {"start": "true", "stop": "true", "status": "false"}


@pytest.fixture
def call(tmp_path, capsys):
    def run(check=False, **args):
        options = dict({"instance": "kestra", "manager": "command", "commands": COMMANDS, "state_dir": str(tmp_path / "state")}, **args)
        with patch_module_args(dict(options, _ansible_check_mode=check)):
            with pytest.raises(SystemExit):
                kestra_service.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_query_of_a_stopped_kestra(call, tmp_path):
    result = call()
    assert result["changed"] is False and result["status"]["active"] is False and result["problems"] == []
    assert result["held"] is None and result["record"] is None and not (tmp_path / "state").exists()


@pytest.mark.parametrize("state, missing", [
    ("stopped", "run_id"), ("started", "run_id"), ("released", "run_id"), ("renewed", "run_id"), ("held", "hold_reason")])
def test_what_a_state_needs(call, state, missing):
    result = call(state=state, **({"run_id": "r1"} if missing != "run_id" else {}))
    assert result["failed"] and missing in result["msg"]


def test_a_kestra_that_was_down_is_remembered_held_and_released(call):
    assert call(state="stopped", run_id="r1", flow="restore")["found"]["active"] is False
    result = call(state="held", run_id="r1", hold_reason="the database is being swapped")
    assert result["changed"] and result["record"]["safe_to_start"] is False and result["record"]["flow"] == "manual"
    assert "HELD" in str(result["warnings"])
    result = call(state="started", run_id="r1", always=True)
    assert result["failed"] and result["reason"] == "held" and "being swapped" in result["msg"]
    result = call(state="stopped", run_id="r2")
    assert result["failed"] and result["reason"] == "locked" and "kestra_dr_take_over=r1" in result["msg"]
    assert call(state="released", run_id="r1")["changed"]
    assert call(state="started", run_id="r1")["started"] is False
    assert call()["record"] is None


def test_check_mode(call, tmp_path):
    assert call(check=True, state="stopped", run_id="r1")["changed"]
    assert not (tmp_path / "state").exists()


def test_errors_keep_their_reason(call):
    result = call(commands={"start": "true", "stop": "true", "status": "sh -c 'exit 9'"}, state="stopped", run_id="r1")
    assert result["failed"] and result["reason"] == "status_command_failed" and result["detail"]["rc"] == 9
    assert call(management_url="localhost:8081")["reason"] == "bad_url"
    assert call(commands={"start": "true"})["reason"] == "command_missing"
    assert call(instance="../etc")["reason"] == "bad_instance"


def test_the_password_of_the_management_port_is_masked(call):
    result = call(management_url="http://127.0.0.1:1", management_user="ops", management_password="s3cret-enough")
    assert "s3cret-enough" not in json.dumps(result)
