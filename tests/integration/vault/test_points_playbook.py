# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as a playbook calls them: detached, waited for with progress; by ansible-playbook and ansible-runner."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = os.path.dirname(sys.executable)

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    lock: {run_id: run-1, owner: ann@here}
  module_defaults:
    group/kestra_community.dr.vault: {vault: "{{ lab }}/vault", instance: kestra}
    group/kestra_community.dr.restic:
      repository: "{{ lab }}/repository"
      repository_password_file: "{{ lab }}/password"
      cache_dir: "{{ lab }}/cache"
      restic_binary: "{{ restic }}"
  tasks:
    - name: Start the verification
      kestra_community.dr.recovery_point_verify:
        id: latest
        depth: "{{ depth }}"
        job_dir: "{{ lab }}/job"
      async: 600
      poll: 0
      register: started
    - name: Wait for the verification
      kestra_community.dr.job_wait:
        job_dir: "{{ lab }}/job"
        results_file: "{{ started.results_file }}"
        timeout: 300
      register: verified
    - name: Read the list
      kestra_community.dr.recovery_point_info:
      register: known
    - name: Prune
      kestra_community.dr.recovery_point_prune:
        policy: {keep_last: 3}
        lock: "{{ lock }}"
      register: pruned
    - name: Write down what was told
      ansible.builtin.copy:
        dest: "{{ lab }}/told.json"
        content: "{{ {'verified': verified, 'known': known, 'pruned': pruned} | to_json }}"
        mode: "0600"
"""


def environment(lab):
    paths = [path for path in sys.path if os.path.isdir(os.path.join(path, "ansible_collections", "kestra_community"))]
    return dict(
        os.environ,
        ANSIBLE_COLLECTIONS_PATH=paths[0],
        ANSIBLE_LOCAL_TEMP=str(lab.base / "tmp"),
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_ASYNC_DIR=str(lab.base / "async"),
        PATH=HERE + os.pathsep + os.environ["PATH"],
        LC_ALL="C.UTF-8",
    )


def slow_restic(lab):
    """restic that takes its time, so that a verification lasts longer than the wait between two looks at it."""
    program = lab.base / "slow-restic"
    program.write_text('#!/bin/sh\nsleep 2\nexec restic "$@"\n')
    program.chmod(0o755)
    return str(program)


def play(lab, depth="digest", check=True, restic="restic"):
    playbook = lab.base / "play.yml"
    playbook.write_text(PLAYBOOK)
    done = subprocess.run([os.path.join(HERE, "ansible-playbook"), "-i", "localhost,", "-c", "local", str(playbook),
                           "-e", json.dumps({"lab": str(lab.base), "depth": depth, "restic": restic})], env=environment(lab), text=True,
                          capture_output=True, check=False, timeout=600)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def told(lab):
    return json.loads((lab.base / "told.json").read_text())


@pytest.mark.long
def test_a_verification_runs_detached_and_its_progress_shows(lab):
    done = play(lab, "counts", restic=slow_restic(lab))
    answer = told(lab)
    assert answer["verified"]["result"]["verdict_line"] == "verified (counts)"
    assert answer["known"]["recovery_points"][0]["verdict"] == "verified"
    assert answer["pruned"]["kept"] == {lab.point: ["last 1 of 3", "last verified"]}
    shown = [line for line in done.stdout.splitlines() if line.startswith("  Wait for the verification: ")]
    assert shown, done.stdout


def test_a_verification_that_differs_fails_the_playbook_with_its_reason(lab):
    the_list = Path(lab.vault.point_dir(lab.point), "storage.jsonl.gz")
    the_list.write_bytes(the_list.read_bytes() + b"x")
    done = play(lab, check=False)
    assert done.returncode != 0 and "Wait for the verification" in done.stdout
    assert "lists: as sealed" in done.stdout and not (lab.base / "told.json").exists()
    assert lab.verdict() in ("differs", "failed")


@pytest.mark.full("verification as a role of its own under ansible-runner (here the marked flows)")
def test_the_same_under_ansible_runner(lab):
    runner = pytest.importorskip("ansible_runner", reason="ansible-runner is not installed in this Python")
    private = lab.base / "runner"
    (private / "project").mkdir(parents=True)
    (private / "project" / "play.yml").write_text(PLAYBOOK)
    done = runner.run(
        private_data_dir=str(private),
        playbook="play.yml",
        inventory="localhost ansible_connection=local",
        envvars=environment(lab),
        extravars={"lab": str(lab.base), "depth": "counts", "restic": slow_restic(lab)},
        quiet=True,
    )
    output = "".join(event["stdout"] + "\n" for event in done.events)
    assert done.rc == 0, output
    assert "  Wait for the verification: " in output
    assert told(lab)["verified"]["result"]["verdict"] == "verified"
