# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One laboratory for all flow tests of a database engine."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.tests.integration.flows.labs import (
    AzureLab,
    BucketLab,
    ElasticsearchLab,
    EnterpriseLab,
    GcsLab,
    MysqlLab,
    PostgresqlLab,
)
from ansible_collections.kestra_community.dr.tests.integration.object_storage import azure_server, gcs_server, s3_server


@contextlib.contextmanager
def running(kind, **variables):
    """A laboratory with Kestra at work; everything of it is watched for secrets."""
    # Below /var/tmp: other accounts must be able to enter, because the servers do not run as root.
    directory = Path("/var/tmp") / f"kestra-dr-flows-{os.getpid()}-{int(time.time() * 1000) % 10 ** 8}"
    directory.mkdir(mode=0o755)
    found = kind(directory)
    found.variables.update(variables)
    found.write_inventory()
    book = directory / "lab.yml"
    book.write_text(json.dumps([{
        "hosts": "kestra", "gather_facts": True, "tasks": [{"ansible.builtin.include_role": {
            "name": "kestra_community.dr.lab", "tasks_from": "{{ kestra_dr_lab_entry | default('present') }}.yml"}}]}]))
    try:
        found.play(str(book)).ok()
        found.harden()
        assert found.ctl("kestra-server", "start").returncode == 0
        assert found.wait_healthy()
        found.watch.begin()
        yield found
        found.watch.end()
        assert found.watch.samples > 10 and not found.watch.seen
    finally:
        found.play(str(book), kestra_dr_lab_entry="absent")
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def lab():
    with running(PostgresqlLab) as found:
        yield found


@pytest.fixture(scope="session")
def mysql_lab():
    if "KESTRA_DR_TEST_MYSQL_BIN" not in os.environ:
        pytest.skip("no MySQL server here (KESTRA_DR_TEST_MYSQL_BIN)")
    with running(MysqlLab) as found:
        yield found


@contextlib.contextmanager
def served(lab, server):
    """A lab whose storage is on a server of its own. server: not started."""
    server.start()
    try:
        with running(lambda directory: lab(directory, server)) as found:
            yield found
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def bucket_lab():
    if not s3_server.PROGRAM:
        pytest.skip("no S3 server: KESTRA_DR_TEST_S3_SERVER names none (scripts/lib/s3.sh builds it)")
    with served(BucketLab, s3_server.Server()) as found:
        yield found


@pytest.fixture(scope="session")
def gcs_lab():
    if not gcs_server.PROGRAM:
        pytest.skip("no emulator of Google Cloud Storage: KESTRA_DR_TEST_GCS names none (scripts/lib/s3.sh builds it)")
    with served(GcsLab, gcs_server.Emulator()) as found:
        yield found


@pytest.fixture(scope="session")
def azure_lab():
    if not azure_server.PROGRAM:
        pytest.skip("no emulator of Azure: KESTRA_DR_TEST_AZURITE names none (scripts/lib/azure.sh installs it)")
    with served(AzureLab, azure_server.Azurite()) as found:
        yield found


@pytest.fixture(scope="session")
def elasticsearch_lab():
    for name in ("KESTRA_DR_TEST_ELASTICSEARCH", "KESTRA_DR_TEST_KAFKA_BIN"):
        if name not in os.environ:
            pytest.skip(f"no Elasticsearch or no Kafka here ({name})")
    with running(ElasticsearchLab) as found:
        yield found


@pytest.fixture(scope="session")
def enterprise_lab():
    with running(EnterpriseLab) as found:
        yield found


@pytest.fixture
def stray(lab):
    """A Kestra server on a host that the inventory does not know."""
    process = subprocess.Popen([lab.lab / "bin" / "kestra", "server", "executor", "--config", lab.lab / "kestra" / "application.yml",
                                "--port", "0"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=dict(os.environ, ENDPOINTS_ALL_PORT="0", MICRONAUT_SERVER_PORT="0"))
    time.sleep(5)
    assert process.poll() is None
    yield process
    assert process.poll() is None, "it was to live all the time"
    process.terminate()
    process.wait(60)
