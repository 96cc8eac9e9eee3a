# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic_forget must refuse."""
from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic_guard as guard

POINT, OTHER = "20261123T001500Z-a1b2c3", "20261124T001500Z-d4e5f6"
ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


def snapshot(snapshot_id, *tags):
    return {"id": snapshot_id, "tags": list(tags)}


def test_a_snapshot_a_manifest_names_is_guarded_whatever_its_tags():
    assert guard.guarded([snapshot(ONE)], {ONE: POINT}, set()) == {ONE: POINT}


def test_a_snapshot_of_a_sealed_point_is_guarded_by_its_tag():
    going = [snapshot(ONE, "kestra-dr", f"point={POINT}"), snapshot(TWO, f"point={OTHER}"), snapshot(THREE)]
    assert guard.guarded(going, {}, {POINT}) == {ONE: POINT}


def test_a_manifest_in_the_repository_seals_where_the_directory_is_lost():
    everything = [snapshot(ONE, f"point={POINT}", "component=storage"),
                  snapshot(TWO, f"point={POINT}", "component=manifest"), snapshot(THREE, f"point={OTHER}")]
    assert guard.sealed_in_repository(everything) == {POINT}


def test_the_vault_is_read(tmp_path):
    (tmp_path / "vault.json").write_text("{}")
    (tmp_path / "kestra" / "points" / POINT).mkdir(parents=True)  # a manifest that cannot be read
    assert guard.sealed_in_vault(str(tmp_path)) == ({}, {POINT})
    with pytest.raises(RefusedError) as caught:
        guard.check([snapshot(ONE, f"point={POINT}")], [], str(tmp_path))
    assert caught.value.reason == "snapshot_sealed" and caught.value.detail["snapshots"] == {ONE: POINT}
    guard.check([snapshot(TWO, f"point={OTHER}")], [], str(tmp_path))


def test_a_wrong_directory_is_no_guard(tmp_path):
    with pytest.raises(ConfigError):
        guard.check([], [], str(tmp_path / "typo"))
