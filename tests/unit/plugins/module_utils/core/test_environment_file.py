# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of NAME=value lines that hold secrets."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.environment_file import parse_environment, private_environment
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError


def test_lines_are_read_as_a_shell_reads_them(tmp_path):
    path = tmp_path / "env"
    path.write_text("# comment\nexport A='b c'\nD=\"e#f\"\n\nEMPTY=\n")
    path.chmod(0o600)
    assert private_environment(path, "credentials_file") == {"A": "b c", "D": "e#f", "EMPTY": ""}


@pytest.mark.parametrize("line", ["no equals", "1X=2", "X=a b", "X='open", "=x"])
def test_a_malformed_line_is_named_by_number_and_not_shown(line):
    with pytest.raises(ConfigError) as caught:
        parse_environment(f"GOOD=1\n{line}\n", "/etc/env")
    assert caught.value.reason == "environment_malformed"
    assert "Line 2 of /etc/env" in str(caught.value) and line not in str(caught.value)


def test_a_file_that_everybody_may_read_is_refused(tmp_path):
    path = tmp_path / "env"
    path.write_text("A=b\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        private_environment(path, "credentials_file")
    assert caught.value.reason == "password_file_not_private" and "credentials_file" in caught.value.message
    with pytest.raises(ConfigError) as caught:
        private_environment(tmp_path / "none", "credentials_file")
    assert caught.value.reason == "password_file_missing"
