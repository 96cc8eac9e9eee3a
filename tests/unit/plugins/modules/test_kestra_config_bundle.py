# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_config_bundle and kestra_config_restore: there and back."""
from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kestra_config_bundle
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run


@pytest.fixture
def options(tmp_path):
    config = tmp_path / "application.yml"
    config.write_text("kestra.encryption.secret-key: enc-s3cret\nkestra.repository.type: postgres\n")
    environment = tmp_path / "env"
    environment.write_text("SECRET_A=Zmxvdy1zM2NyZXQ=\n")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "p.jar").write_bytes(b"jar")
    return {"config": {"files": [str(config)], "environment_files": [str(environment)]}, "host": "h1",
            "dest": str(tmp_path / "bundle.json"), "plugins_dir": str(tmp_path / "plugins")}


def test_writes_a_private_bundle_and_says_what_is_in_it(options):
    result = run(kestra_config_bundle, **options)
    assert result["changed"] and stat.S_IMODE(os.stat(options["dest"]).st_mode) == 0o600
    assert result["size"] == os.path.getsize(options["dest"])
    captured = result["captured"]
    assert [os.path.basename(entry["path"]) for entry in captured["files"]] == ["env", "application.yml"]
    assert captured["keys"] == ["kestra.encryption.secret-key"] and captured["host"] == "h1"
    assert captured["environment"]["secrets"] == ["SECRET_A"]
    assert captured["plugins"][0]["name"] == "p.jar"
    for secret in ("enc-s3cret", "Zmxvdy1zM2NyZXQ", "flow-s3cret"):
        assert secret not in result["_raw"]
    with open(options["dest"], encoding="utf-8") as handle:
        assert json.load(handle)["environment"] == {"SECRET_A": "Zmxvdy1zM2NyZXQ="}


def test_the_second_run_changes_nothing(options):
    first = run(kestra_config_bundle, **options)
    second = run(kestra_config_bundle, **options)
    assert second["changed"] is False and second["sha256"] == first["sha256"]
    os.chmod(options["dest"], 0o644)
    assert run(kestra_config_bundle, **options)["changed"] is True
    assert stat.S_IMODE(os.stat(options["dest"]).st_mode) == 0o600


def test_check_mode_writes_nothing(options):
    result = run(kestra_config_bundle, check=True, **options)
    assert result["changed"] and result["size"] is None and not os.path.exists(options["dest"])
    assert result["captured"]["keys"] == ["kestra.encryption.secret-key"]


@pytest.mark.parametrize("change, reason", [
    ({"config": {}}, "config_missing"), ({"extra_paths": ["/nowhere"]}, "file_missing"),
    ({"max_bytes": 1}, "bundle_too_large"), ({"dest": "/dev/null/b.json"}, "not_found"),
    ({"plugins_dir": "/nowhere"}, "file_missing"),
])
def test_failures(options, change, reason):
    result = run(kestra_config_bundle, **{**options, **change})
    assert result["failed"] and result["reason"] == reason and "enc-s3cret" not in result["_raw"]


def test_malformed_yaml_is_taken_all_the_same(options):
    with open(options["config"]["files"][0], "a", encoding="utf-8") as handle:
        handle.write("\tbroken: hunter2hunter2\n")
    result = run(kestra_config_bundle, **options)
    assert result["changed"] and result["captured"]["keys"] == ["kestra.encryption.secret-key"]
    assert "not valid YAML" in str(result["warnings"]) and "hunter2" not in result["_raw"]
