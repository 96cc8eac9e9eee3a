# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sealed recovery point of a real server for all tests here, to be copied by each."""
from __future__ import annotations

import shutil

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import connect, scratch, versions
from ansible_collections.kestra_community.dr.tests.integration.vault.points_lab import SCHEMA, Lab


@pytest.fixture(scope="session")
def source():
    """A server with a database named kestra."""
    pytest.importorskip("psycopg", reason="psycopg is not installed in this Python")
    if not versions.find_server_programs():
        pytest.skip("no PostgreSQL server programs are installed on this machine")
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed on this machine")
    with scratch.server() as login:
        with connect.connect(login) as connection:
            connection.execute("CREATE DATABASE kestra")
        with connect.connect(login, "kestra") as connection:
            connection.execute("SET search_path = public")
            connection.execute(SCHEMA)
        yield login


@pytest.fixture(scope="session")
def original(source, tmp_path_factory):
    """A vault with one sealed point: repository, vault and all."""
    lab = Lab(tmp_path_factory.mktemp("original"))
    lab.restic.init()
    lab.make_storage()
    lab.take(source)
    return lab


@pytest.fixture
def lab(original, tmp_path):
    return original.copy(tmp_path / "lab")
