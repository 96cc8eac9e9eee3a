# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's fixtures: a real PostgreSQL server, a database and stand-in processes per test."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.tests.integration.standin import conftest as standin_tests

postgres = standin_tests.postgres
standin = standin_tests.standin


@pytest.fixture
def waiting():
    """Waits for a condition."""
    return standin_tests.until


@pytest.fixture
def password():
    """The password of the database user: quotes, blanks, %, @, : and a letter beyond ASCII."""
    return standin_tests.PASSWORD
