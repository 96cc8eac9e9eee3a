# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""report_write: both files, private, whole."""
from __future__ import annotations

import json
import stat

import pytest
from ansible_collections.kestra_community.dr.plugins.modules import report_write
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run


def test_both_files_are_written_once_and_are_private(tmp_path):
    asked = {"directory": str(tmp_path / "a" / "reports"), "name": "r1", "content": {"outcome": "ok", "what": "Sicherung ü"},
             "page": "<p>ü</p>"}
    assert run(report_write, check=True, **asked)["changed"] and not (tmp_path / "a").exists()
    told = run(report_write, **asked)
    assert told["changed"] and told["files"] == [f"{asked['directory']}/r1.json", f"{asked['directory']}/r1.html"]
    found = tmp_path / "a" / "reports"
    assert json.loads((found / "r1.json").read_text()) == asked["content"] and (found / "r1.html").read_text() == asked["page"]
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.iterdir()} == {0o600}
    assert run(report_write, **asked)["changed"] is False
    assert run(report_write, **{**asked, "page": "<p>other</p>"})["changed"] is True


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd"])
def test_a_name_leads_nowhere_else(tmp_path, name):
    assert run(report_write, directory=str(tmp_path), name=name, content={}, page="")["failed"]
