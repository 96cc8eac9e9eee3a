# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the examples of ansible-doc with ansible-playbook as they stand; only places and names become those of the test."""
from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.kestra_community.dr.tests.integration.module_runs import COLLECTIONS
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import module_examples


class Cases:
    """Which test runs which examples of some modules. not_run: {title of an example: why there is no test of it}."""

    def __init__(self, modules, not_run):
        self.tasks = {task["name"]: task for name in modules for task in module_examples.tasks(name)}
        self.number = sum(len(module_examples.tasks(name)) for name in modules)
        self.not_run, self.titles, self.played = not_run, set(), set()

    def case(self, *titles):
        """Marks the test of these examples, which has to run each of them. With --full: a playbook for each takes its time."""
        self.titles.update(titles)

        def mark(function):
            @pytest.mark.full("the examples of modules, run as playbooks (here a unit test of their options)")
            @functools.wraps(function)
            def run(*arguments, **named):
                self.played.clear()
                function(*arguments, **named)
                assert self.played >= set(titles)
            return run
        return mark

    def require_all(self):
        """Every example has a test or a reason."""
        assert len(self.tasks) == self.number, "a title is there twice"
        assert set(self.tasks) == self.titles | set(self.not_run) and not self.titles & set(self.not_run)
        assert all(len(reason) > 20 for reason in self.not_run.values())


class Machine:
    """The directories of the examples below one of the test. secret: what no output may show.

    places: {text: text}, or {(option, text): value} for an option of that name, which is preferred.
    """

    def __init__(self, cases, directory, paths, secret):
        self.cases, self.directory, self.secret = cases, directory, secret
        self.places = {path: str(directory) + path for path in paths}
        for path in self.places.values():
            os.makedirs(path, exist_ok=True)
        self.variables = {}

    def placed(self, value, key=None):
        """A value of the examples as it is here."""
        if isinstance(value, dict):
            return {name: self.placed(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.placed(item, key) for item in value]
        if not isinstance(value, str):
            return value
        if (key, value) in self.places:
            return self.places[key, value]
        known = sorted((text for text in self.places if isinstance(text, str)), key=len, reverse=True)
        return re.sub("|".join(map(re.escape, known)), lambda found: self.places[found.group()], value)

    def here(self, path):
        """Where a path of the examples is."""
        return Path(self.placed(path))

    def play(self, *titles, also=None):
        """Runs examples one after the other; what each returned. also: options for the first of them."""
        tasks, results = [], self.directory / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        for number, title in enumerate(titles):
            task = self.placed(self.cases.tasks[title])
            task.setdefault("register", "result")
            if also and number == 0:
                key = next(key for key in task if key.startswith(module_examples.PREFIX))
                task[key] = merged(task[key], also)
            tasks += [task, {"name": "Keep the result", "ansible.builtin.copy": {
                "content": "{{ %s | to_json }}" % task["register"], "dest": str(results / str(number)), "mode": "0600"}}]
        book = self.directory / "play.json"
        book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": self.variables, "tasks": tasks}]))
        env = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=COLLECTIONS, ANSIBLE_HOME=str(self.directory / "ansible"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_PIPELINING="true", ANSIBLE_PYTHON_INTERPRETER=sys.executable)
        done = subprocess.run([str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", str(book)], env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout[-4000:]
        assert self.secret not in done.stdout
        self.cases.played.update(titles)
        return [json.loads((results / str(number)).read_text()) for number in range(len(titles))]


def merged(options, more):
    """Options with more in them, at every depth."""
    return {**options, **{key: merged(options.get(key, {}), value) if isinstance(value, dict) else value for key, value in more.items()}}
