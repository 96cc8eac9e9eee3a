# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery points of a real database, a real storage tree and a configuration, in a real restic repository.

Sealed, lost, rebuilt, verified at every depth; and whatever is damaged on the way is found and never called verified.
"""
from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs
from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest as manifests
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConnectError, DrError, LockedError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import local
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import catalog, checks, options, points, ship, verify
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed in this Python")
if shutil.which("restic") is None:
    pytest.skip("restic is not installed on this machine", allow_module_level=True)

# After the skips: these need psycopg.
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import (  # noqa: E402
    connect, dump, scratch, versions)
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.verify_postgresql import Postgresql  # noqa: E402

if not versions.find_server_programs():
    pytest.skip("no PostgreSQL server programs are installed on this machine", allow_module_level=True)

SCHEMA = """
CREATE TYPE state_type AS ENUM ('CREATED', 'RUNNING', 'SUCCESS');
CREATE TABLE flows (key text PRIMARY KEY, value jsonb NOT NULL,
                    namespace text GENERATED ALWAYS AS (value ->> 'namespace') STORED);
CREATE TABLE executions (key text PRIMARY KEY, state state_type NOT NULL);
CREATE TABLE empty_one (key text PRIMARY KEY);
CREATE TABLE queues ("offset" serial PRIMARY KEY, value text);
CREATE INDEX flows_namespace ON flows (namespace);
INSERT INTO flows SELECT n::text, pg_catalog.jsonb_build_object('namespace', 'dev' || n % 7) FROM generate_series(1, 500) n;
INSERT INTO executions SELECT n::text, 'SUCCESS' FROM generate_series(1, 1200) n;
INSERT INTO queues (value) SELECT pg_catalog.repeat('x', n) FROM generate_series(1, 300) n;
"""


@pytest.fixture(scope="module")
def source():
    """A server with a database named kestra."""
    with scratch.server() as login:
        with connect.connect(login) as connection:
            connection.execute("CREATE DATABASE kestra")
        with connect.connect(login, "kestra") as connection:
            connection.execute("SET search_path = public")
            connection.execute(SCHEMA)
        yield login


@pytest.fixture(scope="module")
def original(source, tmp_path_factory):
    """A vault with one sealed point, to be copied: repository, vault and all."""
    base = tmp_path_factory.mktemp("original")
    lab = Lab(base)
    lab.restic.init()
    lab.make_storage()
    lab.take(source)
    return lab


@pytest.fixture
def lab(original, tmp_path):
    return original.copy(tmp_path / "lab")


class Lab:
    """A vault, a repository and a storage tree below one directory."""

    def __init__(self, base):
        self.base = Path(base)
        self.base.mkdir(parents=True, exist_ok=True)
        self.vault = Catalog(self.base / "vault", "kestra")
        self.storage = self.base / "storage"
        password = self.base / "password"
        password.write_text("correct horse battery staple\n")
        password.chmod(0o600)
        self.restic = Restic(options.from_options({
            "repository": str(self.base / "repository"), "repository_password_file": str(password),
            "cache_dir": str(self.base / "cache")}))
        self.point = None

    def copy(self, base):
        shutil.copytree(self.base, base, symlinks=True)
        twin = Lab(base)
        twin.point = self.point
        return twin

    def make_storage(self):
        chance = random.Random(20261123)
        for number, name in enumerate([b"plain.ion", b"with space", b"new\nline", b"not utf8 \xff\xfe", "naïve".encode()]):
            directory = os.fsencode(self.storage) + b"/main/dev/%d" % number
            os.makedirs(directory)
            with open(directory + b"/" + name, "wb") as handle:
                handle.write(chance.randbytes(1000 * number))
            os.utime(directory + b"/" + name, ns=(10**18 + 123, 10**18 + 456 + number))
        os.makedirs(self.storage / "main" / "empty directory")
        os.symlink("plain.ion", self.storage / "main" / "dev" / "0" / "link")

    def tags(self, component):
        return points.tags("kestra", self.point, component)

    def take(self, source, edit=lambda name, facts: facts):
        """Takes a point the way the backup flow does. edit(name, facts): a last word on each component."""
        opened = points.open_point(self.vault, run_id="run")
        self.point = opened["id"]
        staging = opened["staging"]
        component = dump.dump(source, "kestra", os.path.join(staging, "database"), dump.Options(jobs=2), jobs.Progress())
        stored = self.restic.backup(["database"], base_dir=staging, tags=self.tags("database"), host=points.restic_host("kestra"))
        self._add("database", dict(component, snapshot=stored["snapshot"], path="/database"), edit)
        stored = self.restic.backup(["storage"], base_dir=str(self.base), tags=self.tags("storage"),
                                    host=points.restic_host("kestra"))
        taken = local.take(str(self.storage), dest=os.path.join(opened["lists"], "storage.jsonl.gz"), digests=True)
        self._add("storage", {
            "held": "vault", "engine": "local", "strategy": "files", "snapshot": stored["snapshot"], "path": "/storage",
            "list": {"file": "storage.jsonl.gz", "sha256": taken["list"]["sha256"], "entries": taken["list"]["entries"]},
            "files": taken["files"], "directories": taken["directories"], "bytes": taken["bytes"]}, edit)
        bundle = json.dumps({"schema": 1, "host": "h1", "files": []}).encode()
        os.mkdir(os.path.join(staging, "config"))
        Path(staging, "config", "h1.json").write_bytes(bundle)
        stored = self.restic.backup(["config"], base_dir=staging, tags=self.tags("config"), host=points.restic_host("kestra"))
        self._add("config", {
            "held": "vault", "engine": "bundle", "strategy": "files", "snapshot": stored["snapshot"], "path": "/config",
            "hosts": {"h1": {"files": [], "keys": []}}, "bytes": len(bundle),
            "files": [{"path": "h1.json", "size": len(bundle), "sha256": hashlib.sha256(bundle).hexdigest()}]}, edit)
        known = {item["id"]: item["tags"] for item in ship.own_snapshots(self.vault, self.restic)}
        points.check_before_seal(self.vault, self.point, ["config", "database", "storage"], known)
        sealed = points.build_manifest(self.vault, self.point, {"consistency": {"mode": "live"}}, sealed="2026-11-23T00:20:00Z")
        points.seal(self.vault, self.point, sealed)
        ship.ship(self.vault, self.point, self.restic)

    def _add(self, name, facts, edit):
        points.add_component(self.vault, self.point, name, edit(name, facts))

    def verify(self, depth="digest", **engine):
        return verify.verify(self.vault, self.point, depth, self.restic, jobs.Progress(), engine=Postgresql(jobs=2, **engine))

    def failing(self, record):
        return sorted(check["name"] for check in record["checks"] if check["verdict"] != checks.PASS)

    def verdict(self):
        return self.vault.summary(self.point)["verdict"]

    def edit_manifest(self, change):
        """Changes the sealed manifest and its digest, as someone who knows how would."""
        path = Path(self.vault.point_dir(self.point), "manifest.json")
        manifest = json.loads(path.read_text())
        change(manifest)
        data = manifests.dumps(manifest)
        path.write_bytes(data)
        Path(self.vault.point_dir(self.point), "manifest.sha256").write_text(catalog.sum_line(manifests.digest(data)))

    def packs(self):
        return sorted((self.base / "repository" / "data").glob("*/*"), key=lambda path: path.stat().st_size)


def damage(path, chance):
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data) // 4, len(data) // 2)] ^= 1 << chance.randrange(8)
    path.chmod(0o600)
    path.write_bytes(bytes(data))


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
    assert record["outcome"] in ("differs", "failed") and f"{component}: snapshot is in the repository" in lab.failing(record)
    assert lab.verdict() == record["verdict"] in ("differs", "failed")


def test_a_point_whose_manifest_never_arrived_is_found(lab):
    shipped = ship.newest_shipped(ship.own_snapshots(lab.vault, lab.restic))[lab.point]["id"]
    lab.restic.forget([shipped])
    assert "manifest: the same in the repository" in lab.failing(lab.verify("digest"))


def test_bit_flips_in_packs_are_never_verified(lab, original, tmp_path):
    """Fixed-seed sample: each large pack once; KESTRA_DR_TEST_FULL=1: every pack four times."""
    full = os.environ.get("KESTRA_DR_TEST_FULL") == "1"
    chance = random.Random(20261123)
    found = 0
    for number, _pack in enumerate(lab.packs() * (4 if full else 1)):
        twin = original.copy(tmp_path / f"twin-{number}")
        shutil.rmtree(twin.base / "cache", ignore_errors=True)
        damage(twin.packs()[number % len(lab.packs())], chance)
        try:
            outcome = twin.verify("digest")["outcome"]
        except DrError as exc:
            outcome = exc.reason  # the repository does not even open
        found += outcome != "pass"
        assert outcome != "pass"
        assert twin.verdict() in ("unverified", "failed", "differs")
        shutil.rmtree(twin.base)
    assert found >= 3


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
            taken = local.take(str(lab.storage), dest=os.path.join(lab.vault.open_dir(lab.point), "lists", "storage.jsonl.gz"),
                               digests=True)
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
