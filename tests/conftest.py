# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as ansible_collections.kestra_community.dr wherever it lies, and leaves out what is left to the full tier."""
from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _importable() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.kestra_community.dr.plugins") is not None
    except ModuleNotFoundError:
        return False


if not _importable():
    # A link tree, because a collection is only importable below ansible_collections/<namespace>/<name>.
    base = Path(tempfile.mkdtemp(prefix="kestra-dr-collections-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    namespace = base / "ansible_collections" / "kestra_community"
    namespace.mkdir(parents=True)
    (namespace / "dr").symlink_to(ROOT)
    sys.path.insert(0, str(base))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before any other reason to skip: what a test needs is there for --full only, where it is left to that."""
    marker = item.get_closest_marker("full")
    if marker and os.environ.get("KESTRA_DR_TEST_FULL") != "1":
        pytest.skip(f"left to --full: {marker.args[0]}")
