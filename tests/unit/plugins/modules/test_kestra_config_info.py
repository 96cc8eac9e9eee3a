# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_config_info: the description leaves, the secrets do not."""
from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import kestra_config_info
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

TEXT = """
kestra:
  repository.type: postgres
  queue.type: postgres
  encryption.secret-key: enc-s3cret
  storage: {type: local, local.base-path: /app/storage}
datasources.postgres: {url: "jdbc:postgresql://${DB_HOST}/kestra", username: app, password: "${DB_PASSWORD}"}
"""
NASTY = ["it's", 'say "hi"', "100%sure", "p@ss:w/ord", "a b  c", "pässwörd-中文", "back\\slash", "'\"%@: ü"]


def forms(secret):
    """The spellings of a secret that must not show up."""
    return {secret, json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()}


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "application.yml"
    path.write_text(TEXT)
    return [str(path)]


def test_describes(files):
    result = run(kestra_config_info, config={"files": files, "environment": {"DB_HOST": "db1", "DB_PASSWORD": "s3cret-pw"}})
    assert result["changed"] is False and result["supported"] is True and result["problems"] == []
    described = result["configuration"]
    assert described["database"]["host"] == "db1" and described["database"]["password_set"] is True
    assert described["storage"]["base_path"] == "/app/storage"
    assert described["keys"] == ["datasources.postgres.password", "kestra.encryption.secret-key"]


@pytest.mark.parametrize("secret", NASTY)
@pytest.mark.parametrize("where", ["environment", "environment_files", "text"])
def test_no_secret_leaves(tmp_path, files, secret, where):
    config = {"files": files, "environment": {"DB_HOST": "db1"}}
    if where == "environment":
        config["environment"]["DB_PASSWORD"] = secret
    elif where == "environment_files":
        path = tmp_path / "env"
        escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
        path.write_text(f'DB_PASSWORD="{escaped}"\n', encoding="utf-8")
        config["environment_files"] = [str(path)]
    else:
        config = {"text": TEXT.replace('"${DB_PASSWORD}"', json.dumps(secret)).replace("${DB_HOST}", "db1")}
    for check in (False, True):
        result = run(kestra_config_info, check=check, config=config)
        assert result["configuration"]["database"]["host"] == "db1"
        assert result["configuration"]["database"]["password_set"] is True
        raw = json.dumps(json.loads(result["_raw"]), ensure_ascii=False)
        assert not [form for form in forms(secret) | {"enc-s3cret"} if form in raw or form in result["_raw"]]


def test_a_host_name_from_the_environment_is_not_masked(files):
    result = run(kestra_config_info, config={"files": files, "environment": {"DB_HOST": "db1", "DB_PASSWORD": "pw-long"}})
    assert result["configuration"]["database"]["host"] == "db1"
    told = {"DB_HOST": "db1", "DB_PASSWORD": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}
    # Newer versions of ansible-core do not tell how a module was called.
    assert result.get("invocation", {"module_args": {"config": {"environment": told}}})["module_args"]["config"]["environment"] == told


@pytest.mark.parametrize("text, reason", [
    ("kestra: {repository.type: h2, queue.type: h2, storage.type: local}", "unsupported_repository"),
    ("kestra: {repository.type: postgres, queue.type: postgres, storage.type: seaweedfs}", "unsupported_storage"),
])
def test_refuses_by_name_unless_told_only_to_describe(text, reason):
    result = run(kestra_config_info, config={"text": text})
    assert result["failed"] and result["reason"] == reason and result["hint"] in result["msg"]
    result = run(kestra_config_info, config={"text": text}, require=[])
    assert result["supported"] is False and result["problems"][0]["reason"] == reason


@pytest.mark.parametrize("config, reason", [
    (None, "config_missing"), ({}, "config_missing"), ({"files": ["/nowhere/a.yml"]}, "file_missing"),
    ({"text": "a: 1\n\tb: hunter2hunter2"}, "malformed_yaml"), ({"text": "- a"}, "not_a_mapping"),
    ({"unit": "no-such-kestra-unit"}, "unit_missing"), ({"bundle": "/nowhere.json"}, "file_missing"),
])
def test_failures_are_sentences_with_a_reason(config, reason):
    result = run(kestra_config_info, **({} if config is None else {"config": config}))
    assert result["failed"] and result["reason"] == reason and "Traceback" not in result["_raw"]
    assert "hunter2" not in result["_raw"]


def test_what_is_odd_becomes_a_warning(files):
    result = run(kestra_config_info, config={"files": files, "environment": {"DB_HOST": "db1"}})
    assert any("DB_PASSWORD" in str(warning) for warning in result["warnings"])
