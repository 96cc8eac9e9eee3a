# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket that one MinIO server replicates into another one: set up, proved, late, refused, and what comes back from it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from s3_server import ACCESS_KEY, NEEDS_MINIO, SECRET_KEY, MinIO, Proxy
from test_object_storage_modules import COLLECTIONS, CORE, run

from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import copy_in, inventory, listing

pytestmark = NEEDS_MINIO
SETUP, PROOF = "object_storage_replication", "object_storage_replication_info"


@pytest.fixture(scope="module")
def here():
    found = MinIO().start()
    yield found
    found.destroy()


@pytest.fixture(scope="module")
def there():
    found = MinIO().start()
    yield found
    found.destroy()


def account(access, secret):
    return {"access_key": access, "secret_key": secret}


OWN = account(ACCESS_KEY, SECRET_KEY)


@pytest.fixture
def pair(here, there, request):
    """Two buckets, and the options that name them."""
    name = request.node.name.replace("_", "-")[5:50].strip("-")
    here.bucket(name, versioned=False)
    there.bucket(f"{name}-replica", versioned=False)
    return Pair(here, there, name)


class Pair:
    def __init__(self, here, there, name):
        self.name, self.replica = name, f"{name}-replica"
        self.source, self.target = here.client(), there.client()
        self.options = {"endpoint": here.endpoint, "bucket": name, "patience": 1, **OWN,
                        "target": {"endpoint": there.endpoint, "bucket": self.replica, **OWN}}

    def put(self, key, body=b"content", **how):
        self.source.put_object(Bucket=self.name, Key=key, Body=body, **how)

    def setup(self, **how):
        return run(SETUP, **dict(self.options, **how))

    def prove(self, limit=30, **how):
        return run(PROOF, **dict(self.options, limit=limit, **how))

    def told(self, key):
        return self.source.head_object(Bucket=self.name, Key=key).get("ReplicationStatus")

    def wait_for(self, key, status, seconds=90):
        until = time.monotonic() + seconds
        while self.told(key) != status:
            assert time.monotonic() < until, self.told(key)
            time.sleep(0.2)

    def left(self):
        """What there is of probes in both buckets."""
        return [item["Key"] for client, bucket in ((self.source, self.name), (self.target, self.replica))
                for kind in ("Versions", "DeleteMarkers")
                for item in client.list_object_versions(Bucket=bucket, Prefix=listing.PROBES).get(kind, ())]


def whats(found):
    return {item["what"] for item in found["problems"]}, {item["what"] for item in found["risks"]}


def test_set_up_and_proved(pair):
    pair.put("main/early", Metadata={"a": "b"})
    assert whats(pair.prove(1))[0] == {"versioning", "not_configured", "missing"}
    plan = pair.setup(check_mode=True)
    assert plan["changed"] and plan["target_made"] and plan["versions_switched_on"] == [pair.name, pair.replica]
    assert pair.source.get_bucket_versioning(Bucket=pair.name).get("Status") is None
    made = pair.setup()
    assert made["changed"] and made["rule"]["delete_markers"] and made["diff"]["before"]["rules"] == []
    again = pair.setup()
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"] and not again["target_made"]
    for number in range(120):
        pair.put(f"main/o/{number:03}", b"%d" % number)
    pair.put("main/o/", b"")
    pair.wait_for("main/o/119", "COMPLETED")
    # What was there before the rule the server gets to by and by, or when it is asked for it.
    pair.wait_for("main/early", "COMPLETED", 180)
    found = pair.prove()
    assert found["verdict"] == "proved" and found["problems"] == []
    assert 0 < found["lag"]["seconds"] < 30 and pair.left() == []
    assert found["objects"]["compared"] == 122 and found["status"]["asked"] == 122 and found["status"]["completed"] == 122
    assert found["target"]["versioning"] == "enabled" and not found["risks"]
    sample = pair.prove(sample_percent=10)
    assert 0 < sample["status"]["asked"] < 60 and sample["status"] == pair.prove(sample_percent=10)["status"]
    unmeasured = pair.prove(check_mode=True)
    assert unmeasured["lag"] is None and whats(unmeasured)[0] == {"lag_unknown"}


def test_other_rules_stay_or_are_refused(pair, there):
    there.bucket(f"{pair.name}-other")
    # The server takes an endpoint for one target of a bucket only; this is another name of the same.
    place = {"bucket": f"{pair.name}-other", "endpoint": there.endpoint.replace("127.0.0.1", "localhost"), **OWN}
    other = dict(pair.options, name="other", target=place)
    run(SETUP, **dict(other, prefix="main/reports"))
    rules = pair.source.get_bucket_replication(Bucket=pair.name)["ReplicationConfiguration"]["Rules"]
    assert run(SETUP, fails=True, **dict(pair.options, others="refuse"))["reason"] == "other_rules"
    made = pair.setup(delete_markers=False)
    after = pair.source.get_bucket_replication(Bucket=pair.name)["ReplicationConfiguration"]["Rules"]
    assert rules[0] in after and len(after) == 2 and made["rule"]["priority"] == 2 and not made["rule"]["delete_markers"]
    assert pair.setup()["diff"]["after"]["rules"][1]["delete_markers"]
    found = pair.prove()
    assert [rule["id"] for rule in found["covering"]] == ["kestra-dr"] and found["verdict"] == "proved"
    # The rule for a part of the keys is none for Kestra's.
    part = pair.prove(1, target=place)
    assert "not_covered" in whats(part)[0] and part["lag"] is None
    gone = pair.setup(state="absent")
    assert gone["changed"] and not pair.setup(state="absent")["changed"]
    assert pair.source.get_bucket_replication(Bucket=pair.name)["ReplicationConfiguration"]["Rules"] == rules
    run(SETUP, **dict(other, state="absent"))
    assert whats(pair.prove(1))[0] == {"not_configured"}


def test_a_target_that_is_down_is_late_and_catches_up(pair, there):
    pair.setup()
    pair.put("main/before")
    pair.wait_for("main/before", "COMPLETED")
    there.stop()
    try:
        pair.put("main/while-down")
        pair.wait_for("main/while-down", "FAILED")
        found = pair.prove(2)
        assert {"target_unusable", "failed"} <= whats(found)[0] and found["verdict"] == "not_proved"
        assert found["target"] is None and found["objects"] is None
        assert (found["status"]["failed"], found["status"]["completed"]) == (1, 1)
    finally:
        there.start()
    # The server tries again by itself.
    pair.wait_for("main/while-down", "COMPLETED", 180)
    found = pair.prove()
    assert found["verdict"] == "proved" and found["lag"]["seconds"] and pair.left() == []


def test_a_target_that_the_source_does_not_reach_lags(pair, there):
    """We see the target, the source's server does not: what it has written waits, and so does the object that measures it."""
    way = Proxy(there)
    try:
        pair.setup(target=dict(pair.options["target"], endpoint=way.endpoint))
        pair.put("main/before")
        pair.wait_for("main/before", "COMPLETED")
        way.down = True
        way.break_all()
        pair.put("main/late")
        pair.wait_for("main/late", "FAILED")
        found = pair.prove(2)
        assert whats(found)[0] == {"lag", "missing", "failed"} and found["lag"] == {"seconds": None, "limit": 2.0, "replica": None}
        assert found["objects"]["examples"] == {"missing": ["main/late"]} and pair.left() == []
        way.down = False
        pair.wait_for("main/late", "COMPLETED", 180)
        assert pair.prove()["verdict"] == "proved" and pair.left() == []
    finally:
        way.close()


def test_a_target_that_is_full(pair, there):
    pair.setup()
    pair.put("main/before")
    pair.wait_for("main/before", "COMPLETED")
    there.quota(pair.replica, 50_000)
    pair.put("main/large", b"x" * 100_000)
    pair.wait_for("main/large", "FAILED")
    found = pair.prove()
    assert whats(found)[0] == {"missing", "failed"} and found["objects"]["examples"] == {"missing": ["main/large"]}
    assert found["lag"]["seconds"], "what is small still passes"
    assert (found["objects"]["missing"], found["objects"]["in_flight"], found["objects"]["never_tried"]) == (1, 0, 0)
    there.quota(pair.replica, 0)
    pair.wait_for("main/large", "COMPLETED", 180)
    assert pair.prove()["verdict"] == "proved"


def test_the_source_itself_is_no_replica(pair, here, there):
    """Named by another name of its host, when the replica has the same name: everything is there, and at once."""
    there.bucket(pair.name)
    pair.setup(target=dict(pair.options["target"], bucket=pair.name))
    found = pair.prove(target={"bucket": pair.name, "endpoint": here.endpoint.replace("127.0.0.1", "localhost"), **OWN})
    assert whats(found)[0] == {"no_replica"} and found["verdict"] == "not_proved"


def test_what_was_deleted_comes_back_from_the_versions_of_the_replica(pair, opened, there, tmp_path):
    pair.setup()
    for number in range(20):
        pair.put(f"main/{number:02}", b"%d" % number, Metadata={"n": str(number)})
    pair.wait_for("main/19", "COMPLETED")
    replica = opened(pair.replica, endpoint=there.endpoint)
    moment = inventory.about(replica)["server_time"]
    for number in range(0, 20, 2):
        pair.source.delete_object(Bucket=pair.name, Key=f"main/{number:02}")
    pair.put("main/01", b"by mistake")
    pair.wait_for("main/01", "COMPLETED")
    until = time.monotonic() + 60
    while pair.target.list_objects_v2(Bucket=pair.replica)["KeyCount"] != 10:
        assert time.monotonic() < until
        time.sleep(0.2)
    # The mistake is in the replica as it is in the source, and what was before it only in versions.
    assert pair.target.get_object(Bucket=pair.replica, Key="main/01")["Body"].read() == b"by mistake"
    assert pair.prove()["verdict"] == "proved"
    inventory.take(replica, tmp_path / "list", moment=moment)
    copy_in.Rewind(replica, tmp_path / "list", delete=True).run()
    for number in range(20):
        answer = pair.target.get_object(Bucket=pair.replica, Key=f"main/{number:02}")
        assert (answer["Body"].read(), answer["Metadata"]) == (b"%d" % number, {"n": str(number)})


def test_deletions_without_versions_to_go_back_to(pair):
    pair.setup()
    pair.target.put_bucket_lifecycle_configuration(Bucket=pair.replica, LifecycleConfiguration={"Rules": [
        {"ID": "soon", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}}]})
    found = pair.prove(retention_days=30)
    assert found["verdict"] == "proved" and whats(found)[1] == {"lifecycle"} and "soon" in found["risks"][0]["message"]
    assert whats(pair.prove(retention_days=3))[1] == set()
    pair.target.put_bucket_versioning(Bucket=pair.replica, VersioningConfiguration={"Status": "Suspended"})
    found = pair.prove(1)
    assert "versioning" in whats(found)[0] and whats(found)[1] == {"deletes_unprotected"}


# the playbook, and what the preflight of a backup tells

_PREFLIGHT = [{"hosts": "kestra", "gather_facts": False, "tasks": [
    {"ansible.builtin.include_role": {"name": "kestra_community.dr.prepare", "tasks_from": "settings.yml"},
     "vars": {"prepare_needs_repository": False}},
    {"module_defaults": {"group/kestra_community.dr.object_storage": "{{ __kestra_dr.options.object_storage }}"}, "block": [
        {"ansible.builtin.include_role": {"name": "kestra_community.dr.prepare", "tasks_from": "configuration.yml"}},
        {"ansible.builtin.include_role": {"name": "kestra_community.dr.storage", "tasks_from": "preflight.yml"}},
        {"ansible.builtin.copy": {"content": "{{ {'warnings': __storage_warnings, 'replica': __storage_replication} | to_json }}",
                                  "dest": "{{ kestra_dr_state_dir }}/found.json", "mode": "0600"}, "check_mode": False}]}]}]


@pytest.fixture
def play(pair, tmp_path):
    """play(playbook, *options, **variables) -> (exit code, output), with Kestra's configuration naming the source."""
    configuration, credentials = tmp_path / "kestra.yml", tmp_path / "there"
    configuration.write_text(json.dumps({
        "datasources": {"postgres": {"url": "jdbc:postgresql://127.0.0.1:5432/kestra", "username": "kestra", "password": "not-asked-for"}},
        "kestra": {"repository": {"type": "postgres"}, "queue": {"type": "postgres"}, "storage": {"type": "s3", "s3": {
            "endpoint": pair.options["endpoint"], "bucket": pair.name, "region": "us-east-1", "access-key": ACCESS_KEY,
            "secret-key": SECRET_KEY, "force-path-style": True}}}}))
    credentials.write_text(f"AWS_ACCESS_KEY_ID={ACCESS_KEY}\nAWS_SECRET_ACCESS_KEY={shlex.quote(SECRET_KEY)}\n")
    credentials.chmod(0o600)
    (tmp_path / "inventory").write_text("[kestra]\nlocalhost ansible_connection=local\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "preflight.json").write_text(json.dumps(_PREFLIGHT))
    known = {"ansible_python_interpreter": sys.executable, "kestra_dr_python": sys.executable, "kestra_dr_manager": "command",
             "kestra_dr_state_dir": str(tmp_path / "state"), "kestra_dr_runtime_dir": str(tmp_path / "run"),
             "kestra_dr_config_files": [str(configuration)], "kestra_dr_storage_replica_percent": 100, "kestra_dr_storage_replica_limit": 30,
             "kestra_dr_storage_replica": dict(bucket=pair.replica, endpoint=pair.options["target"]["endpoint"],
                                               credentials_file=str(credentials))}

    def go(playbook, *more, **variables):
        (tmp_path / "variables.json").write_text(json.dumps({**known, **variables}))
        env = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=COLLECTIONS, ANSIBLE_HOME=str(tmp_path / "ansible"), ANSIBLE_NOCOLOR="1")
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(tmp_path / "inventory"), "-e", f"@{tmp_path / 'variables.json'}",
             *more, playbook], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=600)
        assert CORE not in done.stdout
        return done.returncode, done.stdout

    return go


@pytest.fixture
def preflight(play, tmp_path):
    """preflight(*options, **variables) -> {warnings, replica} as the flows have it."""

    def go(*more, **variables):
        rc, output = play(str(tmp_path / "preflight.json"), *more, **variables)
        assert rc == 0, output[-4000:]
        return json.loads((tmp_path / "state" / "found.json").read_text())

    return go


def test_the_playbook_sets_it_up_and_the_preflight_tells(pair, play, preflight, there):
    pair.put("main/a", Metadata={"a": "b"})
    playbook = "kestra_community.dr.replicate"
    rc, output = play(playbook, "--check")
    assert pair.source.get_bucket_versioning(Bucket=pair.name).get("Status") is None and rc != 0 and "There is no rule" in output
    rc, output = play(playbook)
    if rc:  # The object from before the rule may still be on its way.
        assert "1 of 1 objects are not in the target" in output
        pair.wait_for("main/a", "COMPLETED", 180)
        rc, output = play(playbook)
    assert rc == 0 and f"REPLICA PROVED: {pair.replica}" in output and "A replica is no backup" in output
    found = preflight()
    assert found["replica"]["verdict"] == "proved" and found["replica"]["lag"]["seconds"] < 30 and found["warnings"] == []
    pair.source.put_bucket_lifecycle_configuration(Bucket=pair.name, LifecycleConfiguration={"Rules": [
        {"ID": "soon", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}}]})
    there.stop()
    try:
        found = preflight(kestra_dr_storage_replica_limit=2)
        assert found["replica"]["verdict"] == "not_proved" and "The lifecycle rule soon deletes earlier versions" in found["warnings"][0]
        assert "Replica: The target cannot be looked at" in found["warnings"][1]
    finally:
        there.start()
    # What cannot be proved at all refuses nothing either.
    found = preflight(kestra_dr_storage_version_days=3, kestra_dr_storage_replica={"bucket": pair.replica, "credentials_file": "/nonexistent"})
    assert [item["what"] for item in found["replica"]["problems"]] == ["not_run"] and "/nonexistent" in found["warnings"][0]
