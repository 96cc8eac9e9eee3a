# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_config_restore: files come back; a diff shows no contents."""
from __future__ import annotations

import os

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kestra_config_bundle, kestra_config_restore
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

UNIT = "[Service]\nEnvironment=SECRET_U=dW5pdA== KEY=v\nExecStart=/k server standalone --config {config}\n"


@pytest.fixture
def host(tmp_path):
    config, unit = tmp_path / "application.yml", tmp_path / "kestra.service"
    config.write_text("kestra.encryption.secret-key: enc-s3cret\n")
    unit.write_text(UNIT.format(config=config))
    bundle = str(tmp_path / "bundle.json")
    run(kestra_config_bundle, config={"unit": str(unit), "environment": {"SECRET_HAND": "aGFuZC1zM2NyZXQ="}},
        dest=bundle, host="h1", plugins="none")
    return {"bundle": bundle, "config": str(config), "unit": str(unit)}


def states(result):
    return {os.path.basename(entry["path"]): (entry["found"], entry["action"]) for entry in result["files"]}


def test_nothing_to_do(host):
    result = run(kestra_config_restore, bundle=host["bundle"], mode="always")
    assert result["changed"] is False and result["daemon_reload"] is False and result["host"] == "h1"
    assert states(result) == {"application.yml": ("same", "keep"), "kestra.service": ("same", "keep")}
    assert result["environment_only"] == ["SECRET_HAND"]


def test_a_missing_unit_comes_back_and_systemd_has_to_be_told(host):
    os.unlink(host["unit"])
    checked = run(kestra_config_restore, check=True, bundle=host["bundle"])
    assert checked["changed"] and checked["daemon_reload"] and not os.path.exists(host["unit"])
    result = run(kestra_config_restore, bundle=host["bundle"])
    assert result["changed"] and result["daemon_reload"] and os.path.exists(host["unit"])
    assert run(kestra_config_restore, bundle=host["bundle"])["changed"] is False


def test_modes(host):
    with open(host["config"], "w", encoding="utf-8") as handle:
        handle.write("changed: true\n")
    assert run(kestra_config_restore, bundle=host["bundle"])["changed"] is False
    report = run(kestra_config_restore, bundle=host["bundle"], mode="report")
    assert report["changed"] is False and states(report)["application.yml"] == ("differs", "keep")
    result = run(kestra_config_restore, bundle=host["bundle"], mode="always", diff=True)
    assert result["changed"] and len(result["kept"]) == 1 and os.path.exists(result["kept"][0])
    assert "application.yml" in result["diff"]["after"] and "sha256:" in result["diff"]["before"]
    for secret in ("enc-s3cret", "aGFuZC1zM2NyZXQ", "dW5pdA"):
        assert secret not in result["_raw"]
    with open(host["config"], encoding="utf-8") as handle:
        assert "enc-s3cret" in handle.read()


def test_without_keeping_the_old_one(host):
    with open(host["config"], "w", encoding="utf-8") as handle:
        handle.write("changed: true\n")
    before = set(os.listdir(os.path.dirname(host["config"])))
    assert run(kestra_config_restore, bundle=host["bundle"], mode="always", keep_replaced=False)["kept"] == []
    assert set(os.listdir(os.path.dirname(host["config"]))) == before


def test_below_another_root(host, tmp_path):
    result = run(kestra_config_restore, bundle=host["bundle"], root=str(tmp_path / "new"), kinds=["config"])
    assert states(result) == {"application.yml": ("missing", "write")}
    assert os.path.exists(str(tmp_path / "new") + host["config"])


@pytest.mark.parametrize("content, reason", [(None, "file_missing"), ("{}", "bad_bundle"), ("x", "bad_bundle")])
def test_failures(tmp_path, content, reason):
    path = tmp_path / "b.json"
    if content is not None:
        path.write_text(content)
    result = run(kestra_config_restore, bundle=str(path))
    assert result["failed"] and result["reason"] == reason
