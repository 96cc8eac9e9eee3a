# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What storage_inventory_info does with its options."""
from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.jobs import Progress
from ansible_collections.kestra_community.dr.plugins.modules import storage_inventory_info as module

OPTIONS = dict(dict.fromkeys(module.OPTIONS), part="all")


@pytest.fixture
def storage(tmp_path):
    root = tmp_path / "storage"
    root.mkdir()
    (root / "file").write_text("x")
    return root


def test_a_list_is_written_except_in_check_mode(storage, tmp_path):
    params = dict(OPTIONS, path=str(storage), dest=str(tmp_path / "list.gz"), hash=False)
    assert module.inventory(params, True, Progress())["list"] is None and not (tmp_path / "list.gz").exists()
    assert module.inventory(params, False, Progress())["list"]["entries"] == 1


def test_with_expect_the_result_has_the_same_keys_and_a_comparison(storage, tmp_path):
    params = dict(OPTIONS, path=str(storage), dest=str(tmp_path / "list.gz"), hash=True)
    plain = module.inventory(params, False, Progress())
    proof = module.inventory(dict(params, dest=None, expect=str(tmp_path / "list.gz")), False, Progress())
    assert set(proof) == set(plain) | {"comparison"} and proof["comparison"]["compared_digests"] == 1
