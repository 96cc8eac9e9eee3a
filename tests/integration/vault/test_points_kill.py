# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 while a real repository and real servers are at work: nothing is lost, a rerun goes on, nothing stays behind.

Fixed-seed sample of the effects to be killed before; KESTRA_DR_TEST_FULL=1: from each place in the code.
"""
from __future__ import annotations

import os
import shutil
from datetime import datetime, timezone

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import scratch
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import points, prune, ship
from ansible_collections.kestra_community.dr.tests.unit.kills import some_kills

SAMPLE = None if os.environ.get("KESTRA_DR_TEST_FULL") == "1" else 2
SEED = 20261123


@pytest.fixture(scope="module")
def two(original, source, tmp_path_factory):
    """Two points, both verified to the word of their manifests; first: the older one."""
    lab = original.copy(tmp_path_factory.mktemp("two") / "lab")
    lab.first = lab.point
    lab.verify("counts")
    lab.take(source)
    lab.verify("counts")
    return lab


def copies(lab, tmp_path):
    """Where to kill: a fresh copy each time, the one before is removed."""
    number = [0]

    def copy():
        shutil.rmtree(tmp_path / f"killed-{number[0]}", ignore_errors=True)
        number[0] += 1
        twin = lab.copy(tmp_path / f"killed-{number[0]}")
        twin.first = getattr(lab, "first", None)
        return twin

    return copy


def apply_policy(lab):
    return prune.prune(
        lab.vault, {"keep_last": 1}, lab.restic, still_ours=lambda: None, now=datetime.now(timezone.utc))


def test_a_killed_prune_loses_nothing_and_is_finished_by_the_next(two, tmp_path):
    for _number, lab in some_kills(copies(two, tmp_path), apply_policy, SAMPLE, SEED):
        assert lab.vault.summary(lab.point)["verdict"] == "verified"
        apply_policy(lab)
        assert lab.vault.sealed_ids() == [lab.point]
        left = {points.tag_value(item["tags"], "point") for item in ship.own_snapshots(lab.vault, lab.restic)}
        assert left == {lab.point}
        assert lab.verify("digest")["outcome"] == "pass"  # the data that stays was not pruned away
        assert lab.restic.locks() == []


def scratch_servers(base) -> set:
    """Directories of scratch servers; one that was killed before it named its owner is swept when it is a minute old."""
    return {
        name
        for name in os.listdir(base)
        if name.startswith(scratch.PREFIX) and os.path.exists(base / name / "owner.json")
    }


@pytest.mark.long
def test_a_killed_verification_proves_nothing_and_leaves_nothing(original, tmp_path):
    base = tmp_path / "scratch"
    base.mkdir()
    for above in (base, *base.parents):
        above.chmod(above.stat().st_mode | 0o011)  # the server's account must get there

    def work(lab):
        return lab.verify("counts", base=str(base))

    for _number, lab in some_kills(copies(original, tmp_path), work, SAMPLE, SEED):
        assert lab.verdict() in ("unverified", "verified")
        if lab.verdict() == "verified":
            assert lab.vault.verifications(lab.point)[0]["checks"][-1]["depth"] == "counts"
        again = lab.verify("counts", base=str(base))
        assert again["verdict"] == lab.verdict() == "verified", str([check for check in again["checks"] if check["verdict"] != "pass"])
        assert os.listdir(lab.vault.below("verifying")) == ["running"]
        assert scratch_servers(base) == set()


def test_a_killed_rebuild_is_finished_by_the_next(two, tmp_path):
    def lost():
        lab = make()
        shutil.rmtree(lab.vault.vault)
        return lab

    make = copies(two, tmp_path)
    for _number, lab in some_kills(lost, lambda lab: ship.rebuild(lab.vault, lab.restic), SAMPLE, SEED):
        for point in lab.vault.sealed_ids():
            lab.vault.manifest(point)
        ship.rebuild(lab.vault, lab.restic)
        assert lab.vault.sealed_ids() == sorted([lab.first, lab.point])
