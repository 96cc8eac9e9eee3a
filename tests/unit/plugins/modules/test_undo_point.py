# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""undo_point fills in names, follows links, and hands the rest on. Only storage here: databases need a server."""
from __future__ import annotations

import json

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import undo_point

patch_module_args = pytest.importorskip(
    "ansible.module_utils.testing", reason="ansible-core before 2.19 has no helper for module arguments").patch_module_args

ID = "20261123T001500Z-a1b2c3"


@pytest.fixture
def call(tmp_path, capsys):
    def run(check=False, diff=False, **args):
        options = dict({"id": ID, "vault": str(tmp_path / "vault"), "instance": "kestra"}, **args)
        with patch_module_args(dict(options, _ansible_check_mode=check, _ansible_diff=diff)):
            with pytest.raises(SystemExit):
                undo_point.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def pair(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "which").write_text("old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "which").write_text("new")
    (tmp_path / "storage").symlink_to(tmp_path / "real")
    return {"live": str(tmp_path / "storage"), "replacement": str(tmp_path / "new")}


def test_a_link_to_the_storage_is_followed(call, pair, tmp_path):
    result = call(state="swapped", storage_pair=pair, diff=True)
    assert result["changed"] and (tmp_path / "storage" / "which").read_text() == "new"
    assert result["storage"]["live"] == str(tmp_path / "real")
    assert result["storage"]["kept"] == str(tmp_path / f"real.kestra-dr-undo-{ID}") and result["database"] is None
    assert "the restored one" in result["diff"]["after"]
    result = call(state="swapped", storage_pair=pair)
    assert result["changed"] is False and "diff" not in result
    assert call(state="reverted")["changed"] and (tmp_path / "storage" / "which").read_text() == "old"
    assert call(state="absent", confirm=ID)["changed"] and not (tmp_path / "new").exists()


def test_check_mode(call, pair, tmp_path):
    assert call(check=True, state="swapped", storage_pair=pair)["changed"]
    assert (tmp_path / "storage" / "which").read_text() == "old" and not (tmp_path / "vault").exists()


@pytest.mark.parametrize("args, reason", [
    ({"state": "swapped"}, "nothing_to_swap"), ({"state": "reverted"}, "no_such_undo_point"),
    ({"state": "swapped", "id": "../x"}, "bad_id"), ({"state": "swapped", "instance": "../x"}, "bad_instance_name"),
    ({"state": "swapped", "database_pair": {"replacement": "kestra_dr_x"}}, "config_missing")])
def test_refusals(call, args, reason):
    result = call(**args)
    assert result["failed"] and result["reason"] == reason


def test_absent_needs_the_id_again(call):
    assert "confirm" in call(state="absent")["msg"]
    assert call(state="absent", confirm=ID)["changed"] is False
