# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role lab: brought up, up again without a change, struck by the disaster, removed."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: kestra_community.dr.lab
        tasks_from: "{{ entry }}"
"""


@pytest.fixture
def play(request):
    """Runs an entry point: (exit code, output). Below /tmp, where the servers' account can go.

    On PostgreSQL, unless a test is parametrised with the names of databases.
    """
    backend = getattr(request, "param", "postgresql")
    server = request.getfixturevalue("mysql" if backend == "mysql" else "postgres")
    playbook = shutil.which("ansible-playbook", path="%s:%s" % (Path(sys.executable).parent, os.environ["PATH"]))
    if playbook is None:
        pytest.skip("no ansible-playbook on this machine")
    directory = Path(tempfile.mkdtemp(prefix="kestra-lab-"))
    directory.chmod(0o755)
    found = importlib.util.find_spec("ansible_collections.kestra_community.dr.plugins")
    collections = Path(list(found.submodule_search_locations)[0]).parents[3]
    ports = [free_port() for _number in range(3)]
    programs = {"kestra_dr_lab_%s_bin" % backend: server.programs} if server.programs else {}
    variables = {
        "kestra_dr_lab_directory": str(directory / "lab dir"), "kestra_dr_lab_python": sys.executable,
        "kestra_dr_lab_backend": backend, "kestra_dr_lab_%s_port" % backend: ports[0],
        "kestra_dr_lab_kestra_port": ports[1], "kestra_dr_lab_kestra_management_port": ports[2],
        "kestra_dr_lab_install": False,
        "ansible_python_interpreter": sys.executable,
        "kestra_dr_lab_kestra_environment": {"SECRET_TOKEN": "aHVudGVyMg=="}, **programs}
    if os.geteuid() == 0:
        # The Python of the tests may lie where only root can go.
        variables.update(kestra_dr_lab_kestra_user="root", kestra_dr_lab_user="kestra-lab-test")
    (directory / "play.yml").write_text(PLAY, encoding="utf-8")
    (directory / "variables.json").write_text(json.dumps(variables), encoding="utf-8")

    def run(entry, **others):
        done = subprocess.run(
            [playbook, "-i", "localhost,", "play.yml", "-e", "@variables.json",
             "-e", json.dumps(dict(others, entry=entry))],
            cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600,
            env=dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(collections), ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8",
                     ANSIBLE_LOCAL_TEMP=str(directory / "tmp")))
        return done.returncode, done.stdout + done.stderr

    run.directory, run.ports, run.backend = directory / "lab dir", ports, backend
    try:
        yield run
    finally:
        if run.directory.exists():
            run("absent")
        shutil.rmtree(directory, ignore_errors=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def changed(output):
    return int(re.search(r"changed=(\d+)", output).group(1))


def script(directory, name, *arguments):
    return subprocess.run([str(directory / "bin" / name), *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=90)


@pytest.mark.long
@pytest.mark.full("the laboratory by itself (here it carries the playbooks)")
@pytest.mark.parametrize("play", ["postgresql", "mysql"], indirect=True)
def test_the_laboratory_comes_up_is_lost_and_goes(play):
    code, output = play("present")
    assert code == 0, output
    lab = play.directory
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open("http://127.0.0.1:%d/api/v1/flows/search" % play.ports[1], timeout=10) as answer:
        assert json.load(answer)["total"] == 4
    with opener.open(urllib.request.Request(
            "http://127.0.0.1:%d/api/v1/executions/company.team/hello?wait=true" % play.ports[1], method="POST"),
            timeout=60) as answer:
        assert json.load(answer)["state"]["current"] == "SUCCESS"
    with opener.open(urllib.request.Request(
            "http://127.0.0.1:%d/api/v1/namespaces/company.team/kv/a" % play.ports[1], b"1", method="PUT"),
            timeout=10):
        assert (lab / "storage" / "company" / "team" / "_kv" / "a.ion").exists()
    for name in ("restic-password", play.backend + "/admin-password", "kestra/database-password", "kestra/kestra.env"):
        assert (lab / name).stat().st_mode & 0o077 == 0
    secret = (lab / "kestra" / "database-password").read_text().strip()
    assert secret not in output and secret not in (lab / "kestra" / "application.yml").read_text()

    code, output = play("present")
    assert (code, changed(output)) == (0, 0), output

    other = {"postgresql": "mysql", "mysql": "postgresql"}[play.backend]
    code, output = play("present", kestra_dr_lab_backend=other)
    assert code != 0 and "holds a laboratory on " + play.backend in " ".join(output.split()), output

    commands = ("status", "stop", "status", "start", "status")
    assert [script(lab, play.backend, command).returncode for command in commands] == [0, 0, 3, 0, 0]

    assert script(lab, "kestra-server", "start").stdout.startswith("already running")
    assert script(lab, "kestra-server", "stop").returncode == 0
    assert script(lab, "kestra-server", "stop").returncode == 0
    assert script(lab, "kestra-server", "status").returncode == 3
    assert script(lab, "kestra-server", "start").returncode == 0
    assert script(lab, "kestra-server", "status").returncode == 0
    assert "stand-in" in script(lab, "kestra", "--version").stdout

    code, output = play("destroy")
    assert code == 0, output
    assert script(lab, "kestra-server", "status").returncode == 3
    assert not (lab / "storage").exists()
    assert (lab / "kestra" / "application.yml").exists()
    # Kestra cannot start on nothing, and says so.
    script(lab, "kestra-server", "start")
    deadline = time.monotonic() + 20
    while script(lab, "kestra-server", "status").returncode == 0 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert {"postgresql": 'database "kestra" does not exist', "mysql": "Unknown database 'kestra'"}[play.backend] in (
        lab / "kestra" / "kestra.log").read_text()

    code, output = play("absent")
    assert code == 0, output
    assert not lab.exists()
    assert "kestra-lab-test" not in Path("/etc/passwd").read_text()


def test_a_server_that_is_not_mysql_is_refused(play, tmp_path):
    (tmp_path / "mysqld").write_text("#!/bin/sh\necho 'mysqld  Ver 11.8.3-MariaDB for debian-linux-gnu on x86_64'\n")
    (tmp_path / "mysqld").chmod(0o755)
    for directory in (tmp_path, tmp_path / "nothing"):
        code, output = play("present", kestra_dr_lab_backend="mysql", kestra_dr_lab_mysql_bin=str(directory))
        output = " ".join(output.split())
        assert code != 0 and "Kestra does not run on MariaDB" in output and "kestra_dr_lab_mysql_bin" in output, output
    assert not play.directory.exists()


def test_a_directory_of_someone_else_is_not_touched(play):
    play.directory.mkdir()
    (play.directory / "precious").write_text("data")
    for entry in ("present", "destroy", "absent"):
        code, output = play(entry)
        assert code != 0 and "was not made by this role" in output
    assert [path.name for path in play.directory.iterdir()] == ["precious"]
    shutil.rmtree(play.directory)
