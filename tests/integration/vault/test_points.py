# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery points of a real database, a real storage tree and a configuration, in a real restic repository.

Sealed, lost, rebuilt, verified at every depth; and whatever is damaged on the way is found and never called verified.
"""
from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConnectError,
    DrError,
    LockedError,
    RefusedError,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import connect, scratch
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import local
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import catalog, ship, verify

FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"


def flip(path, place, bit=0):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.chmod(0o600)
    path.write_bytes(bytes(data))


def damage(path, chance):
    size = path.stat().st_size
    flip(path, chance.randrange(size // 4, size // 2), chance.randrange(8))


@pytest.mark.parametrize("depth, verdict", [
    ("digest", "unverified (digest passed)"), ("structure", "unverified (structure passed)"), ("counts", "verified")])
def test_a_whole_point_passes_at_every_depth(lab, depth, verdict):
    record = lab.verify(depth)
    assert lab.failing(record) == []
    assert (record["verdict"], record["depth"], lab.verdict()) == (verdict, depth, verdict)
    depths = {check["depth"] for check in record["checks"]}
    assert depths == set(catalog.DEPTHS[:catalog.DEPTHS.index(depth) + 1])
    # Nothing is left behind.
    assert sorted(os.listdir(lab.vault.below("verifying"))) == ["running"]


def test_counts_are_compared_table_by_table_in_a_database_that_is_gone_afterwards(lab, source):
    record = lab.verify("counts")
    detail = record["checks"][-1]["detail"]
    assert (detail["tables"], detail["rows"], detail["private"]) == (4, 2000, True)
    with scratch.server() as other:
        record = lab.verify("counts", login=other)
        assert record["verdict"] == "verified" and record["checks"][-1]["detail"]["private"] is False
        with connect.connect(other) as connection:
            names = [row[0] for row in connection.execute("SELECT datname FROM pg_catalog.pg_database")]
        assert sorted(names) == ["postgres", "template0", "template1"]


def test_the_source_itself_is_no_scratch_server(lab, source):
    with pytest.raises(RefusedError) as caught:
        lab.verify("counts", login=source)
    assert caught.value.reason == "scratch_is_source"
    assert lab.vault.verifications(lab.point) == []


def test_a_verification_survives_the_loss_of_the_vault_directory(lab):
    lab.verify("counts")
    assert verify.ship_again(lab.vault, lab.point, lab.restic) == []
    shutil.rmtree(lab.vault.vault)
    assert ship.rebuild(lab.vault, lab.restic)["restored"] == [lab.point]
    assert lab.verdict() == "verified"
    assert lab.verify("digest")["outcome"] == "pass"


@pytest.mark.parametrize("share", [0.5] + [
    pytest.param(share, marks=pytest.mark.full("a damaged newest copy of a manifest: two more places")) for share in (0.2, 0.8)])
def test_a_damaged_newest_copy_of_a_manifest_costs_the_verifications_after_it_and_says_so(lab, share):
    """One flipped bit in each pack that the newest copy brought: restic 0.14 and 0.18.0 may leave it out of a dump in silence."""
    first = ship.shipped(ship.own_snapshots(lab.vault, lab.restic))[lab.point][0]
    before = set(lab.packs())
    lab.verify("digest")
    verify.ship_again(lab.vault, lab.point, lab.restic)
    brought = [path for path in lab.packs() if path not in before]
    assert brought
    for path in brought:
        flip(path, int(path.stat().st_size * share))
    shutil.rmtree(lab.base / "cache", ignore_errors=True)
    shutil.rmtree(lab.vault.vault)

    done = ship.rebuild(lab.vault, lab.restic)
    assert (done["restored"], done["failed"]) == ([lab.point], [])
    if done["older"]:
        assert (done["older"][0]["id"], done["older"][0]["time"]) == (lab.point, first["time"])
        assert done["older"][0]["reason"] in ("repository_damaged", "manifest_unreadable"), done
    assert lab.verdict() == ("unverified" if done["older"] else "unverified (digest passed)")


def test_a_later_failure_undoes_the_verdict_and_a_later_pass_restores_it(lab):
    assert lab.verify("counts")["verdict"] == "verified"
    the_list = Path(lab.vault.point_dir(lab.point), "storage.jsonl.gz")
    whole = the_list.read_bytes()
    the_list.write_bytes(whole[:-1])
    assert lab.verify("digest")["verdict"] == "failed"
    assert lab.verdict() == "failed"
    the_list.write_bytes(whole)
    assert lab.verify("counts")["verdict"] == lab.verdict() == "verified"


def test_a_manifest_edited_together_with_its_digest_differs_from_the_one_in_the_repository(lab):
    lab.edit_manifest(lambda manifest: manifest["kestra"].update(version="9.9"))
    record = lab.verify("digest")
    assert record["outcome"] == "differs" and lab.failing(record) == ["manifest: the same in the repository"]


def test_one_row_too_many_in_the_manifest_is_found(lab, source):
    def edit(name, facts):
        if name == "database":
            facts["counts"]["public.flows"] += 1
        return facts
    lab.take(source, edit)
    assert lab.verify("digest")["outcome"] == "pass"  # the files are what they are
    record = lab.verify("counts")
    assert (record["verdict"], record["depth"]) == ("differs", "structure")
    failing = next(check for check in record["checks"] if check["verdict"] != "pass")
    assert (failing["expected"], failing["found"]) == ({"public.flows": 501}, {"public.flows": 500})
    assert lab.verdict() == "differs"


def test_another_definition_in_the_manifest_is_found_by_restoring_only(lab, source):
    def edit(name, facts):
        if name == "database":
            table = next(iter(facts["objects"]["indexes"]))
            facts["objects"]["indexes"][table] = "0" * 64
        return facts
    lab.take(source, edit)
    assert lab.verify("structure")["outcome"] == "pass"
    record = lab.verify("counts")
    assert (record["verdict"], record["depth"]) == ("differs", "counts")


@pytest.mark.parametrize("component", ["database", "storage", "config"])
def test_a_forgotten_snapshot_is_found(lab, component):
    lab.restic.forget([lab.vault.manifest(lab.point)["components"][component]["snapshot"]])
    record = lab.verify("digest")
    assert record["outcome"] in ("differs", "failed") and f"{component}: snapshot is in the repository" in lab.failing(
        record
    )
    assert lab.verdict() == record["verdict"]
    assert record["verdict"] in ("differs", "failed")


def test_a_point_whose_manifest_never_arrived_is_found(lab):
    lab.restic.forget([item["id"] for item in ship.shipped(ship.own_snapshots(lab.vault, lab.restic))[lab.point]])
    assert "manifest: the same in the repository" in lab.failing(lab.verify("digest"))


@pytest.mark.long
def test_bit_flips_in_packs_are_never_verified(lab, original, tmp_path):
    """Fixed-seed sample: the three largest packs once; KESTRA_DR_TEST_FULL=1: every pack four times."""
    chance = random.Random(20261123)
    count = len(original.packs())
    chosen = list(range(count)) * 4 if FULL else range(count)[-3:]
    for turn, number in enumerate(chosen):
        twin = original.copy(tmp_path / f"twin-{turn}")
        shutil.rmtree(twin.base / "cache", ignore_errors=True)
        damage(twin.packs()[number], chance)
        try:
            outcome = twin.verify("digest")["outcome"]
        except DrError as exc:
            outcome = exc.reason  # the repository does not even open
        assert outcome != "pass"
        assert twin.verdict() in ("unverified", "failed", "differs")
        shutil.rmtree(twin.base)


@pytest.mark.full("a missing pack: restic asks again for 40 s before it gives up")
def test_a_missing_pack_is_found(lab):
    shutil.rmtree(lab.base / "cache", ignore_errors=True)
    lab.packs()[-1].unlink()
    try:
        outcome = lab.verify("digest")["outcome"]
    except DrError as exc:
        outcome = exc.reason
    assert outcome != "pass" and lab.verdict() != "verified"


def test_without_the_repository_nothing_is_recorded(lab):
    shutil.move(lab.base / "repository", lab.base / "elsewhere")
    with pytest.raises(ConnectError):
        lab.verify("digest")
    assert lab.vault.verifications(lab.point) == []


def test_without_the_right_password_nothing_is_recorded(lab):
    (lab.base / "password").write_text("wrong\n")
    with pytest.raises(ConnectError) as caught:
        lab.verify("digest")
    assert caught.value.reason == "repository_wrong_password"
    assert lab.vault.verifications(lab.point) == []


def test_two_verifications_of_one_instance_do_not_run_at_once(lab):
    program = ("import fcntl, sys, time\n"
               f"handle = open({os.path.join(lab.vault.below('verifying'), 'running')!r}, 'a')\n"
               "fcntl.flock(handle, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)")
    os.makedirs(lab.vault.below("verifying"), exist_ok=True)
    holder = subprocess.Popen(["python3", "-c", program], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        with pytest.raises(LockedError):
            lab.verify("digest")
    finally:
        holder.kill()
        holder.wait()
    assert lab.verify("digest")["outcome"] == "pass"


def test_a_storage_file_missing_from_the_snapshot_is_found(lab, source):
    """The list is of another moment than the copy."""
    def edit(name, facts):
        if name == "storage":
            victim = lab.storage / "main" / "late.ion"
            victim.write_bytes(b"late")
            taken = local.take(
                str(lab.storage),
                dest=os.path.join(lab.vault.open_dir(lab.point), "lists", "storage.jsonl.gz"),
                digests=True,
            )
            facts["list"] = {key: taken["list"][key] for key in ("sha256", "entries")} | {"file": "storage.jsonl.gz"}
            facts.update(files=taken["files"], directories=taken["directories"], bytes=taken["bytes"])
        return facts
    lab.take(source, edit)
    record = lab.verify("digest")
    assert record["outcome"] == "differs"
    assert {"storage: content", "storage: names, sizes, owners, modes, times"} <= set(lab.failing(record))


def test_a_totals_line_that_does_not_fit_its_list_is_found(lab, source):
    def edit(name, facts):
        return dict(facts, files=facts["files"] + 1) if name == "storage" else facts
    lab.take(source, edit)
    assert lab.failing(lab.verify("digest")) == ["storage: the list adds up"]
