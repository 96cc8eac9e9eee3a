# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of every module is a task whose options the module takes."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import module_examples
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

POINT = {"id": "20261123T001500Z-a1b2c3"}
COMPONENT = {"uri": "kestra:///backups/full/backup-20261126034500.kestra", "summary": {"FLOW": 1},
             "files": [{"path": "backup-20261126034500.kestra", "sha256": "0" * 64}]}
# What the examples take from other tasks and from the inventory.
VARIABLES = {
    "component": COMPONENT, "dump": {"component": {}, "results_file": "/home/deploy/.ansible_async/j1.1"}, "inventory_hostname": "kestra1",
    "manifest": {"components": {"queue": {"cluster_id": "MkU3OEVBNTcwNTJENDM2Qg"}}, "in_flight": {"executions": []}},
    "pin": {"server_time": "2026-11-23T00:15:00Z"}, "point": POINT, "started": {"results_file": "/home/deploy/.ansible_async/j1.1"},
    "storage": {}, "stored": {"snapshot": "6a1b2c3d4e5f"}, "vault_kestra_token": "token",
}
TASKS = [(name, task) for name in module_examples.NAMES for task in module_examples.tasks(name)]


def test_every_module_has_examples_of_itself():
    for name in module_examples.NAMES:
        assert name in [(module_examples.called(task) or [None])[0] for task in module_examples.tasks(name)], name


@pytest.mark.parametrize("task", [task for _name, task in TASKS], ids=lambda task: task["name"])
def test_the_module_takes_its_options(task, monkeypatch):
    monkeypatch.setattr(wiring, "run", lambda module, body, redactor=None: module.exit_json(taken=module.params))
    found = module_examples.called(task)
    if found is None:
        return
    name, options = found
    options = module_examples.render(options, VARIABLES)
    result = run(module_examples.load(name), **options)
    assert not result.get("failed") and set(options) <= set(result["taken"]), result.get("msg")


def test_an_option_there_is_not_would_be_noticed(monkeypatch):
    monkeypatch.setattr(wiring, "run", lambda module, body, redactor=None: module.exit_json(taken=module.params))
    assert "Unsupported parameters" in run(module_examples.load("kestra_info"), url="http://localhost:8080")["msg"]
