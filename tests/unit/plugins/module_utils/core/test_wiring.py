# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module ends with exactly the result or the error of its body, scrubbed."""
from __future__ import annotations

import errno

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor


class Exit(SystemExit):
    def __init__(self, failed, result):
        super().__init__()
        self.failed, self.result = failed, result


class Module:
    _name = "recovery_point"

    def exit_json(self, **result):
        raise Exit(False, result)

    def fail_json(self, **result):
        raise Exit(True, result)


def end(body, redactor=None):
    with pytest.raises(Exit) as caught:
        wiring.run(Module(), body, redactor)
    return caught.value.failed, caught.value.result


def test_a_result_is_the_result():
    assert end(lambda module: {"changed": True}) == (False, {"changed": True})


def test_an_error_of_the_family_is_told_in_full():
    def body(module):
        raise RefusedError("No.", reason="not_empty", hint="Empty it.", detail={"n": 1})
    assert end(body) == (True, {"msg": "No. Empty it.", "reason": "not_empty", "hint": "Empty it.", "detail": {"n": 1}})


def test_a_system_error_becomes_a_sentence():
    def body(module):
        raise OSError(errno.ENOSPC, "No space left on device", "/vault/x")
    failed, result = end(body)
    assert failed and result["reason"] == "disk_full" and "/vault/x" in result["msg"] and "exception" not in result


def test_a_mistake_of_ours_says_where():
    failed, result = end(lambda module: {}["missing"])
    assert failed and result["reason"] == "internal" and "test_wiring" in result["exception"]


def test_secrets_learned_on_the_way_never_leave():
    redactor = Redactor()

    def good(module):
        redactor.add("hunter22")
        return {"x": ["hunter22"]}

    def bad(module):
        raise RefusedError("hunter22", detail={"x": "hunter22"})

    def odd(module):
        raise ValueError("hunter22")
    for body in (good, bad, odd):
        assert "hunter22" not in str(end(body, redactor))
