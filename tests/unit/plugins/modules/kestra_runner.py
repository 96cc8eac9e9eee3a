# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module as Ansible does: arguments in, one JSON object out."""
from __future__ import annotations

import contextlib
import io
import json

import pytest
from ansible.module_utils import basic


@contextlib.contextmanager
def _arguments(values):
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # ansible-core before 2.19
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": values}).encode()
        try:
            yield
        finally:
            basic._ANSIBLE_ARGS = None
    else:
        with patch_module_args(values):
            yield


def run(module, *, check=False, diff=False, **options):
    """The result of module.main() as a dict, with its raw text under the key "_raw"."""
    out = io.StringIO()
    with _arguments({**options, "_ansible_check_mode": check, "_ansible_diff": diff}), \
            contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        module.main()
    result = json.loads(out.getvalue())
    result["_raw"] = out.getvalue()
    return result
