# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a kept database fits the server, and can be told from all others when it is to be dropped."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import own_names
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.databases import undo_name

ID = "20261123T001500Z-a1b2c3"


@pytest.mark.parametrize("live", ["kestra", "Kestra \"prod\"", "k" * 63, "ключ" * 10])
def test_undo_names(live):
    name = undo_name(live, ID)
    assert len(name.encode()) <= 63 and name.endswith("_undo_20261123t001500z_a1b2c3")
    assert name.startswith(live[:10]) and own_names.is_ours(name) and not own_names.is_ours(live)
