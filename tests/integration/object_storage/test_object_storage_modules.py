# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them: a process of their own, arguments on standard input, JSON on standard output."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3_server import ACCESS_KEY, SECRET_KEY

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs

FULL = os.environ.get("KESTRA_DR_TEST_FULL") == "1"
# The directory that holds ansible_collections. Not resolved: it may be a link to the checkout.
COLLECTIONS = str(next(path for path in Path(jobs.__file__).parents if path.name == "ansible_collections").parent)
# Letters and digits that every escaping of the secret leaves as they are.
CORE = SECRET_KEY[-10:]


def start(module, check_mode=False, **parameters):
    code = (f"import sys; sys.path.insert(0, {COLLECTIONS!r}); from ansible_collections.kestra_community.dr.plugins.modules "
            f"import {module} as module; module.main()")
    given = {"ANSIBLE_MODULE_ARGS": dict(parameters, _ansible_check_mode=check_mode, _ansible_remote_tmp="/tmp")}
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    return process


def run(module, check_mode=False, fails=False, core=CORE, **parameters):
    """The result of a module. Its arguments, environment and output hold no secret. core: what is in it, however it is escaped."""
    process = start(module, check_mode, **parameters)
    for name in ("cmdline", "environ"):
        with contextlib.suppress(OSError), open(f"/proc/{process.pid}/{name}", "rb") as handle:
            assert core.encode() not in handle.read()
    output, errors = process.stdout.read(), process.stderr.read()
    process.wait()
    assert core not in output + errors
    assert output.strip(), errors
    result = json.loads(output.strip().splitlines()[-1])
    assert bool(result.get("failed")) is fails, result
    return result


@pytest.fixture
def config(tmp_path, server):
    """config(bucket, kind) -> the option: Kestra's configuration, with the secret in its environment."""

    def write(bucket, kind="s3", **settings):
        endpoint = {"endpoint": server.endpoint, "force-path-style": True} if kind == "s3" else {
            "endpoint": "127.0.0.1", "port": server.port, "secure": False}
        path = tmp_path / f"{kind}.yml"
        path.write_text(json.dumps({"kestra": {"storage": {"type": kind, kind: {
            "bucket": bucket, "region": "us-east-1", "access-key": ACCESS_KEY, "secret-key": "${THE_SECRET}",
            **endpoint, **settings}}}}))
        return {"files": [str(path)], "environment": {"THE_SECRET": SECRET_KEY}}

    return write


def test_from_kestras_configuration_to_a_bucket_elsewhere(s3, server, new_bucket, config, tmp_path):
    source, target = new_bucket(), new_bucket()
    s3.put_object(Bucket=source, Key="main/a/", Body=b"", ContentType="application/x-directory")
    s3.put_object(Bucket=source, Key="main/a/b", Body=b"content", ContentType="text/plain", Metadata={"c": "d"})
    names = {name: str(tmp_path / name) for name in ("pin.gz", "list.gz", "copy", "credentials")}
    pinned = run("object_storage_inventory_info", config=config(source), dest=names["pin.gz"], job_dir=str(tmp_path / "j1"))
    assert (pinned["objects"], pinned["markers"], pinned["bytes"]) == (1, 1, 7) and pinned["versioning"] == "enabled"
    assert (pinned["endpoint"], pinned["bucket"], pinned["prefix"]) == (server.endpoint, source, "")
    steps = {"pin": names["pin.gz"], "copy": names["copy"], "dest": names["list.gz"], "config": config(source, "minio")}
    plan = run("object_storage_backup", check_mode=True, **steps)
    assert plan["plan"] == {"objects": 2, "bytes": 7} and not os.path.exists(names["copy"])
    copied = run("object_storage_backup", job_dir=str(tmp_path / "j2"), **steps)
    assert copied["changed"] and copied["fetched_objects"] == 2 and copied["list"]["entries"] == 2
    again = run("object_storage_backup", job_dir=str(tmp_path / "j2"), **steps)
    assert again["reattached"] and not again["changed"]
    with open(names["credentials"], "w", encoding="utf-8") as handle:
        handle.write(f"AWS_ACCESS_KEY_ID={ACCESS_KEY}\nAWS_SECRET_ACCESS_KEY={shlex.quote(SECRET_KEY)}\n")
    os.chmod(names["credentials"], 0o600)
    place = {"endpoint": server.endpoint, "bucket": target, "credentials_file": names["credentials"]}
    plan = run("object_storage_restore", check_mode=True, copy=names["copy"], **place)
    assert plan["changed"] and plan["plan"]["objects"] == 2 and s3.list_objects_v2(Bucket=target)["KeyCount"] == 0
    restored = run("object_storage_restore", copy=names["copy"], job_dir=str(tmp_path / "j3"), **place)
    assert restored["changed"] and restored["written_objects"] == 2
    assert s3.head_object(Bucket=target, Key="main/a/b")["Metadata"] == {"c": "d"}
    assert not run("object_storage_restore", copy=names["copy"], **place)["changed"]
    found = run("object_storage_inventory_info", expect=names["list.gz"], depth="content", **place)
    assert found["comparison"]["verdict"] == "equal" and not found["changed"]
    s3.put_object(Bucket=target, Key="main/a/b", Body=b"another")
    found = run("object_storage_inventory_info", expect=names["list.gz"], **place)
    assert found["comparison"]["counts"]["content"] == 1
    for path in tmp_path.rglob("*"):
        if path.is_file() and str(path) != names["credentials"]:
            assert CORE.encode() not in path.read_bytes(), path


def test_errors_are_told_without_the_secret(new_bucket, config, server, tmp_path):
    name = new_bucket()
    wrong = dict(config(name), environment={"THE_SECRET": SECRET_KEY + "?"})
    result = run("object_storage_inventory_info", fails=True, config=wrong)
    assert result["reason"] == "credentials_refused"
    result = run("object_storage_inventory_info", fails=True, config=config(name, **{"sts-role-arn": "arn:aws:iam::1:role/x"}))
    assert result["reason"] == "unsupported_credentials"
    # Kestra's own credentials do not go to another endpoint.
    result = run("object_storage_inventory_info", fails=True, config=config(name), endpoint="http://127.0.0.1:9", patience=0)
    assert result["reason"] in ("credentials_missing", "unreachable")
    result = run("object_storage_inventory_info", fails=True, endpoint=server.endpoint, bucket=name,
                 credentials_file=str(tmp_path / "none"))
    assert result["reason"] == "password_file_missing"


def test_killed_in_the_middle_it_goes_on(s3, server, new_bucket, config, proxy, tmp_path):
    name = new_bucket()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: s3.put_object(Bucket=name, Key=f"o/{number:05}", Body=os.urandom(300)), range(1500)))
    how = {"config": config(name), "job_dir": str(tmp_path / "job"), "pin": str(tmp_path / "pin"), "copy": str(tmp_path / "copy"),
           "dest": str(tmp_path / "list"), "parallel": 2}
    run("object_storage_inventory_info", config=config(name), dest=how["pin"])
    process = start("object_storage_backup", **how)
    until = time.monotonic() + 60
    while len(list((tmp_path / "copy").rglob("??/*"))) < 300 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "list").exists(), "it was over before it could be killed"
    result = run("object_storage_backup", **how)
    # What was written but not noted yet is read once more.
    assert 0 < result["fetched_objects"] < 1300 and result["objects"] == 1500
    assert result["removed"]["files"] <= 40


_MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, copy_in, copy_out, inventory, listing, options, store
listing.HELD = 500
endpoint, access, source, target, work = sys.argv[2:]
secret = sys.stdin.read()
for bucket in (source, target):
    with client.opened(options.Place(bucket, endpoint, access_key=access, secret_key=secret)) as place:
        for operation in ("ListObjectsV2", "ListObjectVersions"):
            place._client.meta.events.register(
                f"before-parameter-build.s3.{operation}", lambda params, **rest: params.update(MaxKeys=100))
        if bucket == source:
            inventory.take(place, work + "/pin")
            copy_out.Copy(place, store.Store(work + "/copy"), work + "/pin").run(work + "/list")
        else:
            copy = store.Store(work + "/copy")
            copy_in.Restore(place, copy, copy.list).run()
# Not ru_maxrss, which begins with the peak of whoever started us.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.long
@pytest.mark.full("memory for a large bucket")
def test_memory_does_not_grow_with_the_bucket(s3, server, new_bucket, tmp_path):
    """Keys of 800 bytes: those of the larger bucket would take 14 MiB more if they were held. Pages are small."""
    peaks = {}
    large = 100_000 if FULL else 5000
    for number in (500, large):
        source, target = new_bucket(), new_bucket()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda each, bucket=source: s3.put_object(
                Bucket=bucket, Key="/".join(["k" * 199] * 4) + f"/{each:06}", Body=b"%d" % (each % 100)), range(number)))
        work = tmp_path / str(number)
        work.mkdir()
        done = subprocess.run([sys.executable, "-c", _MEMORY, COLLECTIONS, server.endpoint, ACCESS_KEY, source, target, str(work)],
                              input=SECRET_KEY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks[number] = int(done.stdout)
    assert peaks[large] - peaks[500] < 6 * 1024, peaks
