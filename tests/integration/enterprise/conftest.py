# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances of the stand-in with its Enterprise face, on a real PostgreSQL server."""
from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml
from ansible_collections.kestra_community.dr.plugins.modules import kestra_metadata_backup, kestra_metadata_restore
from ansible_collections.kestra_community.dr.tests.integration.standin import conftest as standin_tests
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import conftest as module_tests
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

postgres = standin_tests.postgres
mysql = standin_tests.mysql
_on_a_target_host = module_tests._on_a_target_host

VERSION = "1.3.15"
KEY = base64.b64encode(hashlib.sha256(b"instance").digest()).decode()
EXECUTABLE = standin_tests.STANDIN / "kestra-standin"
FLOW = """\
id: {name}
namespace: {namespace}
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: secret recipe of {name}
triggers:
  - id: yearly
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "0 0 1 1 *"
"""
# The same for a second tenant, which the stand-in's server does not serve.
SECOND_TENANT = """
INSERT INTO tenants (key, value) VALUES ('sales', '{"id": "sales", "name": "sales", "deleted": false}');
INSERT INTO flows (key, value, source_code)
  SELECT 'sales' || substr(key, 5), jsonb_set(value, '{tenantId}', '"sales"'), source_code FROM flows
  WHERE tenant_id = 'main' AND id = 'quick';
INSERT INTO triggers (key, value)
  SELECT 'sales' || substr(key, 5), jsonb_set(value, '{tenantId}', '"sales"') FROM triggers
  WHERE tenant_id = 'main' AND flow_id = 'quick';
"""


class Instance:
    """One instance, its processes not running. directory: its configuration and, where none is given, its storage."""

    def __init__(self, server, directory, key=KEY, version=VERSION, edition="EE", storage=None):
        self.directory = Path(directory)
        self.standin = standin_tests.Standin(server, directory)
        self.version, self.edition = version, edition
        self.config = self.directory / "application.yml"
        self._storage = storage
        self.configure(key)

    def configure(self, key):
        """Writes the configuration, with this encryption key or none."""
        self.key = key
        document = self.standin.configuration()
        if self._storage:
            document["kestra"]["storage"] = self._storage
        if key:
            document["kestra"]["encryption"] = {"secret-key": key}
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")

    @property
    def environment(self):
        return {"KESTRA_STANDIN_PYTHON": sys.executable, "KESTRA_STANDIN_VERSION": self.version, "TZ": "UTC",
                "KESTRA_STANDIN_EDITION": self.edition, "STANDIN_TEST_PASSWORD": standin_tests.PASSWORD}

    def command(self, *words):
        """Runs the command line itself."""
        return subprocess.run(
            [str(EXECUTABLE), *words, "--config", str(self.config)], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=60, env={**os.environ, **self.environment})

    def rows(self, statement, *arguments):
        return self.standin.rows(statement, arguments or None)

    def archives(self):
        """Names of the archives in the storage."""
        return sorted(path.name for path in (self.standin.storage / "backups").rglob("*") if path.is_file())

    def options(self, **given):
        cli = {"executable": str(EXECUTABLE), "server_version": self.version, **given.pop("cli", {})}
        config = {"files": [str(self.config)], "environment": self.environment}
        return {"config": config, **given, "cli": cli}

    def backup(self, dest, check=False, **given):
        """The result of the module."""
        return run(kestra_metadata_backup, check=check, **self.options(dest=str(dest), **given))

    def restore(self, uri, check=False, **given):
        """The result of the module."""
        return run(kestra_metadata_restore, check=check, **self.options(uri=uri, **given))

    def token(self, token, seconds=None, administrator=True):
        """Gives a user an API token, with so many seconds to live. The instance has been started before."""
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds or 0)
        user = {"id": token, "username": token, "superAdmin": administrator, "deleted": False,
                "apiTokens": [{"token": token, "exp": until.isoformat() if seconds else None}]}
        self.rows("INSERT INTO users (key, value) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING key",
                  token, json.dumps(user))

    def close(self):
        self.standin.close()
        with contextlib.suppress(psycopg.Error):
            self.standin.server.drop(self.standin.database)


@pytest.fixture(scope="module")
def source(postgres, tmp_path_factory):
    """An Enterprise instance with flows, triggers, executions, logs, KV entries, files and a second tenant."""
    one = Instance(postgres, tmp_path_factory.mktemp("source"))
    try:
        standin = one.standin
        standin.start(configuration=yaml.safe_load(one.config.read_text(encoding="utf-8")), environ=one.environment)
        for name, namespace in (("quick", "company.team"), ("other", "company.sales")):
            standin.flow(FLOW.format(name=name, namespace=namespace))
        for _time in range(2):
            standin.execute("company.team", "quick")
        assert standin.call("PUT", "/api/v1/main/namespaces/company.team/kv/color", b'"blue"')[0] in (200, 204)
        standin_tests.until(lambda: standin.rows("SELECT count(*) FROM triggers")[0][0] == 2, 20, standin.log)
        standin_tests.until(lambda: standin.states() == {"SUCCESS": 2}, 20, standin.log)
        standin_tests.until(lambda: standin.rows("SELECT count(*) FROM logs")[0][0] >= 2, 20, standin.log)
        standin.end()
        with postgres.admin(standin.database) as connection:
            connection.execute(SECOND_TENANT)
        kv = standin.storage / "sales" / "company" / "team" / "_kv"
        kv.mkdir(parents=True)
        (kv / "color.ion").write_text('"red"', encoding="utf-8")
        yield one
    finally:
        one.close()


@pytest.fixture
def instance(request, tmp_path):
    """Makes further instances, which are empty. backend: postgres or mysql."""
    made = []

    def make(backend="postgres", **given):
        directory = tmp_path / ("instance%d" % len(made))
        directory.mkdir()
        made.append(Instance(request.getfixturevalue(backend), directory, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def wrapped(tmp_path):
    """Makes an executable that runs the stand-in's command line with something around it.

    before: shell text to run first; each: a sed script for what a `backups` command prints; rc: its exit code then.
    """
    def make(before="", each="", rc='"$rc"'):
        path = tmp_path / "kestra-wrapped"
        path.write_text(
            "#!/bin/sh\n%s\n[ \"$1\" = backups ] && [ \"$3\" != --help ] || exec '%s' \"$@\"\n"
            "out=$('%s' \"$@\")\nrc=$?\nprintf '%%s\\n' \"$out\" | sed '%s'\nexit %s\n"
            % (before, EXECUTABLE, EXECUTABLE, each, rc), encoding="utf-8")
        path.chmod(0o755)
        return str(path)
    return make
