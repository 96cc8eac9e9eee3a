# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules are tested as they run: on a target host, not in a controller."""
from __future__ import annotations

import ansible.module_utils as utilities
import pytest


@pytest.fixture(autouse=True)
def _on_a_target_host(monkeypatch):
    """A test of an action plugin in the same process turns warnings into a controller's display (ansible-core 2.19)."""
    internal = getattr(utilities, "_internal", None)
    if internal is not None:
        monkeypatch.setattr(internal, "is_controller", False, raising=False)
