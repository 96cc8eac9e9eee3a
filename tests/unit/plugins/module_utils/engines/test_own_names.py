# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which databases are ours to drop."""

from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import own_names


def test_beside_name_is_ours():
    assert own_names.beside_name("20261123T001500Z-a1b2c3") == "kestra_dr_20261123t001500z_a1b2c3"
    assert own_names.is_ours(own_names.beside_name("20261123T001500Z-a1b2c3"))


@pytest.mark.parametrize(
    "name,ours",
    [
        ("kestra_dr_x", True),
        ("kestra_dr_undo_20261123t001500z_a1b2c3", True),
        ("kestra_undo_20261123t001500z_a1b2c3", True),
        ("a\nb_undo_20261123t001500z_a1b2c3", True),
        ("kestra", False),
        ("postgres", False),
        ("kestra_dr", False),
        ("kestra_dr_", False),
        ("kestra_dr_X", False),
        ("kestra_undo", False),
        ("kestra_undo_1", False),
        ("_undo_20261123t001500z_a1b2c3", False),
        ("xkestra_dr_x", False),
        ("kestra_dr_x y", False),
    ],
)
def test_is_ours(name, ours):
    assert own_names.is_ours(name) is ours
    if not ours:
        with pytest.raises(RefusedError) as refused:
            own_names.require_ours(name)
        assert refused.value.reason == "not_ours"
