# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role lifecycle under ansible-playbook: order, all hosts or none, and a start that gives up on nobody."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lifecycle_harness import ROOT, Toy, environment, free_port, until

ROLES = {"exec1": "executor", "work1": "worker", "web1": "webserver"}
PLAYBOOK = """
- hosts: kestra
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - ansible.builtin.include_role:
        name: kestra_community.dr.lifecycle
        tasks_from: "{{ item }}"
      loop: "{{ steps }}"
    - ansible.builtin.debug:
        msg: "ANSWER {{ {inventory_hostname: __lifecycle_started | default(__lifecycle_stopped)} | to_json }}"
      when: __lifecycle_started is defined or __lifecycle_stopped is defined
"""


class Group:
    """One instance of several hosts, each a directory of this machine with a server of its own."""

    def __init__(self, base: Path):
        self.base = base
        self.toys = {}
        (base / "ansible_collections" / "kestra_community").mkdir(parents=True)
        (base / "ansible_collections" / "kestra_community" / "dr").symlink_to(ROOT)
        (base / "play.yml").write_text(PLAYBOOK)
        hosts = {}
        for name, role in ROLES.items():
            toy = self.toys[name] = Toy(base / name)
            # One log of all hosts, in the order of what happened.
            ctl = toy.directory / "ctl"
            ctl.write_text(ctl.read_text().replace(
                'echo "$1" >>"$here/calls"', f'[ "$1" = status ] || echo "$1 {name}" >>"{base}/order"; echo "$1" >>"$here/calls"'))
            assert toy.ctl("start") == 0
            hosts[name] = {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "kestra_dr_role": role,
                "kestra_dr_manager": "command", "kestra_dr_state_dir": str(toy.directory / "state"),
                "kestra_dr_management_url": f"http://127.0.0.1:{toy.port}", "kestra_dr_stop_timeout": 30, "kestra_dr_start_timeout": 20,
                "kestra_dr_log_file": str(toy.directory / "log"), "kestra_dr_run_id": "r1",
                **{f"kestra_dr_{verb}_command": text for verb, text in toy.commands.items()}}
        self.hosts = hosts
        self.clear()

    def clear(self):
        (self.base / "order").write_text("")

    def order(self):
        return (self.base / "order").read_text().splitlines()

    def inventory(self, **more):
        path = self.base / "inventory.json"
        path.write_text(json.dumps({"kestra": {"hosts": dict(self.hosts, **more)}}))
        return str(path)

    def start_play(self, *steps, extra=(), inventory=None, **variables):
        env = dict(environment(), ANSIBLE_COLLECTIONS_PATH=str(self.base), ANSIBLE_NOCOLOR="1", ANSIBLE_LOCALHOST_WARNING="0",
                   ANSIBLE_HOME=str(self.base / "home"), ANSIBLE_RETRY_FILES_ENABLED="0", ANSIBLE_PIPELINING="1", LC_ALL="C.UTF-8")
        variables = dict(variables, steps=[f"{step}.yml" for step in steps])
        return subprocess.Popen(
            [sys.executable, "-m", "ansible", "playbook", "-i", inventory or self.inventory(), str(self.base / "play.yml"),
             "-e", json.dumps(variables), *extra],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=self.base, start_new_session=True)

    def play(self, *steps, **more):
        process = self.start_play(*steps, **more)
        output = process.communicate(timeout=300)[0]
        return process.returncode, output

    def run(self):
        return {name for name, toy in self.toys.items() if toy.runs()}


@pytest.fixture
def group(tmp_path):
    group = Group(tmp_path)
    yield group
    for toy in group.toys.values():
        record = toy.directory / "state" / "kestra" / "lifecycle.json"
        if record.exists():
            record.unlink()
        (toy.directory / "no-start").write_text("")
        toy.ctl("stop")
    until(lambda: not group.run(), 20)


ALL = set(ROLES)
# A playbook run takes seconds, most of it Ansible's own; what the unit tests cover as well is left to the long run.
full = pytest.mark.full("what the unit tests of lifecycle cover as well, by many playbook runs")


def test_stop_and_start_in_order(group):
    code, output = group.play("preflight", "stop")
    assert code == 0, output
    assert group.run() == set()
    assert group.order() == ["stop exec1", "stop work1", "stop web1"]
    group.clear()
    code, output = group.play("start", "start")  # the second one finds nothing to do
    assert code == 0 and group.run() == ALL, output
    assert group.order() == ["start web1", "start work1", "start exec1"] and output.count("ANSWER") == 3


@full
def test_what_was_down_stays_down_unless_always(group):
    group.toys["work1"].ctl("stop")
    until(lambda: not group.toys["work1"].runs())
    assert group.play("preflight", "stop", "start")[0] == 0
    assert group.run() == ALL - {"work1"}
    assert group.play("start", lifecycle_always=True)[0] == 0
    assert group.run() == ALL


@pytest.mark.parametrize("how", ["unreachable", "limit"])
def test_a_missing_host_refuses_the_run_before_anything(group, how):
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port(), "kestra_dr_role": "worker"}
    inventory = group.inventory(work2=dead) if how == "unreachable" else group.inventory()
    extra = ("--limit", "!web1") if how == "limit" else ()
    code, output = group.play("preflight", "stop", inventory=inventory, extra=extra)
    assert code != 0 and group.run() == ALL and group.order() == [], output
    assert ("UNREACHABLE" in output) if how == "unreachable" else ("web1 of instance kestra" in output)


def test_a_host_that_cannot_be_stopped_refuses_the_run(group):
    group.hosts["web1"]["kestra_dr_stop_command"] = "/nowhere/ctl stop"
    code, output = group.play("preflight", "stop")
    assert code != 0 and "/nowhere/ctl" in output and group.run() == ALL


@full
def test_an_unknown_role_is_refused(group):
    group.hosts["web1"]["kestra_dr_role"] = "executer"
    code, output = group.play("preflight", "stop")
    assert code != 0 and "executer" in output and group.run() == ALL


@full
def test_a_stop_that_fails_on_one_host_ends_the_stop_of_all(group):
    group.hosts["exec1"]["kestra_dr_stop_command"] = "false"
    code, output = group.play("preflight", "stop")
    assert code != 0 and {"work1", "web1", "exec1"} <= group.run(), output
    assert group.play("start")[0] == 0 and group.run() == ALL


def test_a_host_that_does_not_come_up_does_not_keep_the_others_down(group):
    assert group.play("preflight", "stop")[0] == 0
    (group.toys["web1"].directory / "no-start").write_text("")
    code, output = group.play("start")
    assert code != 0 and "web1: " in output and "no license" in output
    assert group.run() == ALL - {"web1"}
    (group.toys["web1"].directory / "no-start").unlink()
    assert group.play("start")[0] == 0 and group.run() == ALL


@full
def test_hold_release_and_another_run(group):
    assert group.play("preflight", "stop", "hold", lifecycle_hold_reason="swapped, not verified")[0] == 0
    code, output = group.play("start")
    assert code != 0 and "swapped, not verified" in output and group.run() == set()
    for host in group.hosts.values():
        host["kestra_dr_run_id"] = "r2"
    code, output = group.play("preflight")
    assert code != 0 and "kestra_dr_take_over=r1" in output
    code, output = group.play("preflight", kestra_dr_take_over="r1", lifecycle_accept_held=False)
    assert code != 0 and "held down" in output
    assert group.play("preflight", "stop", "release", "start", kestra_dr_take_over="r1")[0] == 0 and group.run() == ALL


@full
def test_check_mode_stops_nothing(group):
    code, output = group.play("preflight", "stop", "start", extra=("--check",))
    assert code == 0 and group.run() == ALL and group.order() == [], output


@pytest.mark.full("a controller that is killed, on several hosts (here on one, in the flows)")
def test_a_controller_killed_after_the_stop_gets_kestra_back_on_every_host(group):
    for host in group.hosts.values():
        host["kestra_dr_max_downtime"] = 40
    process = group.start_play("preflight", "stop")
    until(lambda: not group.run() or process.poll() is not None, 120, "the stop")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: group.run() == ALL, 120, "the start by the dead-men")
    time.sleep(1)
    assert group.run() == ALL
    code, output = group.play("start")
    assert code == 0 and "dead_man_fired" in output
