# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One laboratory for all flow tests, and the playbooks run on it as a user runs them."""
from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest

# What starts the playbooks: ansible-playbook, or ansible-runner as AWX does.
LAUNCHER = os.environ.get("KESTRA_DR_LAUNCHER", "ansible-playbook")
ROOT = Path(__file__).resolve().parents[3]


def free_ports(count):
    """Ports nobody listens on at the moment."""
    sockets = [socket.socket() for _number in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


class Run:
    """How a playbook ended."""

    def __init__(self, rc, output, stats):
        self.rc = rc
        self.output = output
        self.stats = stats

    @property
    def report(self):
        """What the flow handed over with set_stats, as AWX gets it."""
        return self.stats["kestra_dr_report"]

    def ok(self):
        assert self.rc == 0, self.output[-6000:]
        return self

    def failed(self, *words):
        assert self.rc != 0, self.output[-6000:]
        for word in words:
            assert word in self.output, f"{word!r} is not in\n{self.output[-6000:]}"
        return self


class Lab:
    """A PostgreSQL server, the stand-in, a repository, and an inventory for them, all below one directory."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.lab = directory / "lab"
        self.vault = directory / "state" / "vault"
        self.repository = directory / "repository"
        self.postgresql_port, self.port, self.management = free_ports(3)
        self.inventory = directory / "inventory.ini"
        self.collections = directory / "collections"
        namespace = self.collections / "ansible_collections" / "kestra_community"
        namespace.mkdir(parents=True)
        (namespace / "dr").symlink_to(ROOT)
        ctl = self.lab / "bin" / "kestra-server"
        self.variables = {
            "kestra_dr_python": sys.executable,
            "kestra_dr_state_dir": str(directory / "state"),
            "kestra_dr_runtime_dir": str(directory / "run"),
            "kestra_dr_repository": str(self.repository),
            "kestra_dr_repository_password_file": str(self.lab / "restic-password"),
            "kestra_dr_manager": "command",
            "kestra_dr_start_command": f"{ctl} start",
            "kestra_dr_stop_command": f"{ctl} stop",
            "kestra_dr_status_command": f"{ctl} status",
            "kestra_dr_config_files": [str(self.lab / "kestra" / "application.yml")],
            "kestra_dr_config_environment_files": [str(self.lab / "kestra" / "kestra.env")],
            "kestra_dr_max_downtime": 240,
            "kestra_dr_database_admin_user": "postgres",
            "kestra_dr_database_admin_password_file": str(self.lab / "postgresql" / "admin-password"),
            "kestra_dr_lab_directory": str(self.lab),
            "kestra_dr_lab_python": sys.executable,
            "kestra_dr_lab_install": False,
            "kestra_dr_lab_kestra_user": pwd.getpwuid(os.getuid()).pw_name,
            "kestra_dr_lab_postgresql_port": self.postgresql_port,
            "kestra_dr_lab_kestra_port": self.port,
            "kestra_dr_lab_kestra_management_port": self.management,
            "kestra_dr_lab_kestra_settings": {"kestra": {"server": {"termination-grace-period": "5s"}}},
        }
        self.write_inventory()

    def write_inventory(self, hosts=("k1",), **variables):
        """The inventory of the instance. variables replace those of the lab for all its hosts."""
        known = {**self.variables, **variables}
        lines = ["[kestra]"] + [f"{host} ansible_connection=local ansible_python_interpreter={sys.executable}" for host in hosts]
        lines += ["[kestra:vars]"] + [f"{key}={json.dumps(value)}" if not isinstance(value, str) else f"{key}={value}"
                                      for key, value in known.items()]
        self.inventory.write_text("\n".join(lines) + "\n")

    def environment(self, **more):
        env = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        # The job files of the tests are their own, so that labs beside each other cannot meet.
        env.update(ANSIBLE_COLLECTIONS_PATH=str(self.collections), ANSIBLE_NOCOLOR="1", ANSIBLE_SHOW_CUSTOM_STATS="1",
                   ANSIBLE_HOME=str(self.directory / "ansible"), ANSIBLE_LOCALHOST_WARNING="false",
                   ANSIBLE_PIPELINING="true", HOME=str(self.directory / "home"))
        env.update(more)
        return env

    def command(self, playbook, *arguments, **variables):
        name = playbook if "/" in str(playbook) else f"kestra_community.dr.{playbook}"
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory), str(name), *arguments]
        return argv + (["-e", json.dumps(variables)] if variables else [])

    def play(self, playbook, *arguments, env=None, timeout=900, **variables):
        """Runs a playbook of the collection to its end."""
        argv = self.command(playbook, *arguments, **variables)
        if LAUNCHER == "ansible-runner":
            argv = self.as_runner(playbook, arguments, variables)
        done = subprocess.run(argv, env=self.environment(**(env or {})), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
        return Run(done.returncode, done.stdout, _custom_stats(done.stdout))

    def as_runner(self, playbook, arguments, variables):
        """The same as AWX does it: a project whose playbook imports ours, run by ansible-runner."""
        private = self.directory / "runner"
        (private / "project").mkdir(parents=True, exist_ok=True)
        (private / "env").mkdir(exist_ok=True)
        name = str(playbook) if "/" in str(playbook) else f"kestra_community.dr.{playbook}"
        (private / "project" / "run.yml").write_text(json.dumps([{"ansible.builtin.import_playbook": name}]))
        (private / "env" / "extravars").write_text(json.dumps(variables))
        argv = [str(Path(sys.executable).with_name("ansible-runner")), "run", str(private), "-p", "run.yml",
                "--inventory", str(self.inventory)]
        return argv + (["--cmdline", " ".join(arguments)] if arguments else [])

    def begin(self, playbook, *arguments, env=None, **variables):
        """Starts a playbook in a process group of its own; its output goes to a file."""
        log = open(self.directory / "begun.log", "w+", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
        process = subprocess.Popen(self.command(playbook, *arguments, **variables), env=self.environment(**(env or {})),
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        process.log = log
        return process

    def sql(self, statement, database="kestra", fetch=True):
        """Asks the lab's server as its administrator."""
        with psycopg.connect(host="127.0.0.1", port=self.postgresql_port, user="postgres", dbname=database, autocommit=True,
                             password=(self.lab / "postgresql" / "admin-password").read_text().strip()) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if fetch and cursor.description else None

    def ctl(self, name, *arguments):
        return subprocess.run([self.lab / "bin" / name, *arguments], capture_output=True, text=True, check=False, timeout=120)

    def healthy(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/health", timeout=5) as answer:
                return json.load(answer).get("status") == "UP"
        except OSError:
            return False

    def wait_healthy(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.healthy():
                return True
            time.sleep(0.5)
        return False

    def api(self, path, data=None, method=None, content_type="application/x-yaml"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", content_type)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    @property
    def instance_id(self):
        return self.api("/api/v1/configs")["uuid"]

    def points(self):
        return sorted(path.name for path in (self.vault / "kestra" / "points").glob("2*"))

    def contents(self, database="kestra"):
        """Every row of every table as a digest: what was there, independent of our own code."""
        tables = [row[0] for row in self.sql(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public' order by 1", database)]
        return {table: self.sql(f"select count(*), md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), '')) "
                                f"from {table} t", database)[0] for table in tables}


def _custom_stats(output):
    """The dictionary that ansible-playbook prints below CUSTOM STATS."""
    _before, found, after = output.partition("CUSTOM STATS:")
    start = after.find("{")
    return json.JSONDecoder().raw_decode(after[start:])[0] if found and start >= 0 else {}


@pytest.fixture(scope="session")
def lab():
    # Below /var/tmp: other accounts must be able to enter, because PostgreSQL does not run as root.
    directory = Path("/var/tmp") / f"kestra-dr-flows-{os.getpid()}-{int(time.time() * 1000) % 10 ** 8}"
    directory.mkdir(mode=0o755)
    (directory / "home").mkdir()
    found = Lab(directory)
    book = directory / "lab.yml"
    book.write_text(json.dumps([{
        "hosts": "kestra", "gather_facts": True, "tasks": [{"ansible.builtin.include_role": {
            "name": "kestra_community.dr.lab", "tasks_from": "{{ kestra_dr_lab_entry | default('present') }}.yml"}}]}]))
    found.book = book
    try:
        found.play(str(book)).ok()
        assert found.wait_healthy()
        yield found
    finally:
        found.play(str(book), kestra_dr_lab_entry="absent")
        shutil.rmtree(directory, ignore_errors=True)
