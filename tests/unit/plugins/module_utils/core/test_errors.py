# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors carry message, reason, hint and detail to the result of a module, and nothing else."""
from __future__ import annotations

import errno
import json

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import errors


def test_the_result_joins_message_and_hint():
    result = errors.RefusedError("No.", hint="Ask again.", detail={"n": 1}).to_result()
    assert result == {"msg": "No. Ask again.", "reason": "refused", "hint": "Ask again.", "detail": {"n": 1}}


def test_a_reason_given_wins_over_that_of_the_class():
    assert errors.ToolError("x", reason="tool_missing").to_result()["reason"] == "tool_missing"


@pytest.mark.parametrize("kind", [
    errors.ConfigError, errors.ConnectError, errors.ToolError, errors.IntegrityError, errors.RefusedError,
    errors.LockedError, errors.StateError])
def test_every_kind_is_of_the_family_with_a_reason_of_its_own(kind):
    assert issubclass(kind, errors.DrError)
    assert kind.reason != errors.DrError.reason


def test_the_detail_is_a_copy():
    detail = {"a": 1}
    error = errors.DrError("x", detail=detail)
    detail["a"] = 2
    assert error.detail == {"a": 1}


@pytest.mark.parametrize("number, reason", [
    (errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EACCES, "permission_denied"),
    (errno.EROFS, "read_only"), (errno.ENOENT, "not_found"), (errno.EIO, "io_error"), (errno.EXDEV, "os_error")])
def test_system_errors_name_reason_and_path(number, reason):
    error = errors.from_os_error(OSError(number, "words", "/some/file"), "writing the manifest")
    assert error.reason == reason
    assert "writing the manifest" in error.message and "/some/file" in error.message
    assert json.dumps(error.to_result())
