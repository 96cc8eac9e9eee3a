# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line in real containers: by exec where Kestra runs, and in one of its own where it is stopped."""
from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile

import pytest
from ansible_collections.kestra_community.dr.tests.integration.standin import conftest as standin_tests

OTHER_KEY = base64.b64encode(hashlib.sha256(b"a key for containers").digest()).decode()
# What also works inside a virtual machine or a container without delegated cgroups.
SETTINGS = ('[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')


def podman(*words, **given):
    return subprocess.run(["podman", *words], capture_output=True, check=False, timeout=120, **given)


@pytest.fixture
def box(instance, tmp_path, monkeypatch):
    """(instance, container, image, run options): an image with nothing of its own, and this machine's programs in it."""
    if os.geteuid() != 0 or not shutil.which("podman") or not shutil.which("runc"):
        pytest.skip("containers need root, podman and runc here")
    (tmp_path / "containers.conf").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    one = instance()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("usr", "tmp", "proc", "sys", "dev", "etc", "app"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink("/" + name):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink("/" + name)
                archive.addfile(entry)
        text = f"#!/bin/sh\nexec '{standin_tests.STANDIN}/kestra-standin' \"$@\"\n".encode()
        entry = tarfile.TarInfo("app/kestra")
        entry.mode, entry.size = 0o755, len(text)
        archive.addfile(entry, io.BytesIO(text))
    image, name = f"kestra-dr-enterprise:{os.getpid()}", f"kestra-dr-enterprise-{os.getpid()}"
    made = podman("import", "-", image, input=content.getvalue())
    if made.returncode != 0:
        pytest.skip("podman imports no image here: " + made.stderr.decode()[-200:])
    options = ["--network=host", f"--volume={one.directory}:{one.directory}"]
    options += [f"--volume={path}:{path}:ro" for path in sorted({"/usr", sys.prefix, sys.base_prefix,
                                                                str(standin_tests.STANDIN)}) if path != "/usr/local"]
    environment = [f"--env={key}={value}" for key, value in one.environment.items()]
    try:
        started = podman("run", "--detach", "--name", name, *options, *environment,
                         f"--env=MICRONAUT_CONFIG_FILES={one.config}", image, "sleep", "300")
        if started.returncode != 0:
            pytest.skip("podman starts no container here: " + started.stderr.decode()[-200:])
        yield one, name, image, options
    finally:
        podman("rm", "--force", "--time", "0", name)
        podman("rmi", "--force", image)


def test_by_exec_and_in_a_container_of_its_own(box, tmp_path):
    target, name, image, options = box
    common = {"config": None, "storage_path": str(target.standin.storage)}
    running = {"method": "container", "engine": "podman", "container": name, "executable": None,
               "server_version": None}
    made = target.backup(tmp_path / "made", encryption_key=OTHER_KEY, cli=running, **common)
    assert "component" in made, made["_raw"]
    assert made["component"]["key"] == "given" and made["plan"]["cli"]["in"] == name
    file = made["component"]["files"][0]
    raw = (tmp_path / "made" / file["path"]).read_bytes()
    assert hashlib.sha256(raw).hexdigest() == file["sha256"] and not raw.startswith(b"\x1f\x8b")

    podman("stop", "--time", "0", name)
    assert target.backup(tmp_path / "none", cli=running, **common).get("failed")
    for path in (target.standin.storage / "backups").rglob("*.kestra"):
        path.unlink()
    user = target.rows("SELECT key, value FROM users")[0]
    target.rows("DELETE FROM users RETURNING key")
    alone = {"method": "container", "engine": "podman", "image": image, "executable": None, "run_options": options,
             "environment": {**target.environment, "MICRONAUT_CONFIG_FILES": str(target.config)}}
    restore = {"archive": str(tmp_path / "made" / file["path"]), "sha256": file["sha256"],
               "summary": made["component"]["summary"], **common}
    assert "Tag mismatch" in target.restore(made["component"]["uri"], cli=alone, **restore)["msg"]
    result = target.restore(made["component"]["uri"], cli=alone, encryption_key=OTHER_KEY, **restore)
    assert result.get("restored") == made["component"]["summary"], result["_raw"]
    assert user in target.rows("SELECT key, value FROM users")
    assert OTHER_KEY not in made["_raw"] + result["_raw"]
