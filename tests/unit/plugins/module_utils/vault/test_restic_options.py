# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option group restic: what is checked, what is a secret, what reaches the environment."""
from __future__ import annotations

import os

import pytest
import yaml

from ansible_collections.kestra_community.dr.plugins.doc_fragments.restic import ModuleDocFragment
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("secret of the repository\n")
    path.chmod(0o600)
    return str(path)


def test_fragment_and_argument_spec_say_the_same():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    spec = options.argument_spec()
    assert set(documented) == set(spec)
    for name, option in spec.items():
        assert documented[name]["type"] == option["type"], name
        assert documented[name].get("default") == option.get("default"), name
        assert documented[name].get("required", False) == option.get("required", False), name


@pytest.mark.parametrize("location, shown", [
    ("/srv/backup", "/srv/backup"),
    ("sftp:backup@host:/kestra", "sftp:backup@host:/kestra"),
    ("rest:https://ann:p4ss@host:8000/k", "rest:https://ann:***@host:8000/k"),
    ("rest:https://ann:p%40ss:word@host/k", "rest:https://ann:***@host/k"),
    ("rest:https://ann:p@ss w@host/k", "rest:https://ann:***@host/k"),
    ("s3:https://host/bucket", "s3:https://host/bucket"),
])
def test_location_is_shown_without_its_password(location, shown):
    assert options.Repository(location).display == shown


def test_password_of_the_url_is_a_secret_as_written_and_decoded():
    secrets = options.Repository("rest:https://ann:p%40ssword@host/k").secrets()
    assert secrets == ["p%40ssword", "p@ssword"]


def test_environment_values_are_secrets_unless_known_to_be_harmless():
    repository = options.Repository("/r", environment={"AWS_SECRET_ACCESS_KEY": "geheim", "AWS_DEFAULT_REGION": "eu-1",
                                                       "UNHEARD_OF": "perhaps"})
    assert sorted(repository.secrets()) == ["geheim", "perhaps"]


def test_location_and_password_reach_restic_by_the_environment_and_foreign_settings_do_not():
    repository = options.Repository("rest:https://a:bcdef@h/", password_file="/pw", cache_dir="/cache",
                                    environment={"RESTIC_COMPRESSION": "max"}, limit_upload=7, limit_download=9)
    env = repository.env()
    assert env["RESTIC_REPOSITORY"] == "rest:https://a:bcdef@h/"
    assert env["RESTIC_PASSWORD_FILE"] == "/pw" and env["RESTIC_CACHE_DIR"] == "/cache"
    assert env["RESTIC_COMPRESSION"] == "max"
    for name in ("RESTIC_PASSWORD", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY_FILE", "RESTIC_HOST"):
        assert env[name] is None, name
    assert repository.global_arguments() == ["--limit-upload", "7", "--limit-download", "9"]


def test_ssh_never_asks_on_a_terminal():
    assert options.Repository("sftp:host:/r").env()["SSH_ASKPASS_REQUIRE"] == "force"
    assert "SSH_ASKPASS_REQUIRE" not in options.Repository("/r").env()


def test_from_options_takes_the_environment_from_a_file_and_lets_the_option_win(tmp_path, password_file):
    path = tmp_path / "env"
    path.write_text("# comment\nexport AWS_ACCESS_KEY_ID='ab cd'\nAWS_SECRET_ACCESS_KEY=\"q#uoted\"\n\nEMPTY=\n")
    path.chmod(0o600)
    found = options.from_options({
        "repository": " /r ", "repository_password_file": password_file, "repository_environment_file": str(path),
        "repository_environment": {"AWS_ACCESS_KEY_ID": "other", "RESTIC_READ_CONCURRENCY": 2}, "lock_wait": 5})
    assert found.location == "/r" and found.lock_wait == 5.0 and found.binary == "restic"
    assert found.environment == {"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "q#uoted", "EMPTY": "",
                                 "RESTIC_READ_CONCURRENCY": "2"}


def test_refusals(tmp_path, password_file):
    def reason(**params):
        with pytest.raises(ConfigError) as caught:
            options.from_options(dict({"repository": "/r", "repository_password_file": password_file}, **params))
        return caught.value.reason

    assert reason(repository="  ") == "repository_not_given"
    assert reason(repository_password_file=None) == "repository_password_not_given"
    assert reason(repository_password_command="cat /pw") == "repository_password_not_given"
    assert reason(repository_password_file=str(tmp_path / "none")) == "password_file_missing"
    assert reason(repository_password_file=str(tmp_path)) == "password_file_missing"
    assert reason(repository_environment={"RESTIC_PASSWORD": "geheim"}) == "environment_conflict"
    assert reason(repository_environment={"RESTIC_REPOSITORY": "/other"}) == "environment_conflict"
    assert reason(repository_environment={"A B": "geheim"}) == "environment_malformed"
    assert reason(repository_environment={"TOKEN": "abc"}) == "secret_too_short"
    assert reason(repository="rest:https://a:bc@h/") == "secret_too_short"
    assert reason(limit_upload=-1) == "bad_option"
    os.chmod(password_file, 0o644)
    assert reason() == "password_file_not_private"


def test_what_ansible_masks_is_corrected(password_file):
    params = {"repository": "rest:https://ann:p%40ssword@host/k", "repository_password_file": password_file,
              "repository_environment": {"RESTIC_READ_CONCURRENCY": "2", "TOKEN": "geheim"}}
    masked = {"2", "geheim"}  # what AnsibleModule makes of a no_log dictionary
    options.of_module(params, masked)
    assert "2" not in masked and {"geheim", "p%40ssword", "p@ssword"} <= masked


def test_what_ansible_masks_is_corrected_before_anything_can_fail():
    masked = set()
    with pytest.raises(ConfigError):
        options.of_module({"repository": "rest:https://ann:p4ssword@host/k"}, masked)
    assert "p4ssword" in masked


def test_nothing_of_a_repository_shows_a_secret_after_redaction():
    repository = options.Repository("rest:https://ann:p4ssword@host/k", environment={"TOKEN": "ge heim"})
    redactor = Redactor(*repository.secrets())
    assert "p4ssword" not in repr(repository.fingerprint())
    assert "ge%20heim" not in redactor.scrub("https://x/?t=ge%20heim")
