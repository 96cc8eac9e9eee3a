# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on a real S3 server, and on emulators of other providers."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import azure_server  # noqa: E402
import gcs_server  # noqa: E402
from s3_server import ACCESS_KEY, PROGRAM, SECRET_KEY, Proxy, Server  # noqa: E402

from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import (  # noqa: E402
    client,
    copy_in,
    copy_out,
    inventory,
    options,
    store,
)


# How names of files of tests begin -> the program that they need, what is told when it is not there, and whether they are left
# to --full. The first counts.
_NEEDED = {
    "test_gcs_requests": (sys.executable, "", False),
    "test_gcs": (gcs_server.PROGRAM, "no emulator of Google Cloud Storage: KESTRA_DR_TEST_GCS names none (scripts/lib/s3.sh builds it)", True),
    "test_azure_versions": (sys.executable, "", False),
    "test_azure": (azure_server.PROGRAM, "no emulator of Azure: KESTRA_DR_TEST_AZURITE names none (scripts/lib/azure.sh installs it)", True),
    "test_": (PROGRAM, "no S3 server: KESTRA_DR_TEST_S3_SERVER names none (scripts/lib/s3.sh builds it)", False),
}


def pytest_collection_modifyitems(items):
    for item in items:
        path = Path(str(item.fspath))
        if path.parent != Path(__file__).parent:
            continue
        program, why, left = next(needed for start, needed in _NEEDED.items() if path.name.startswith(start))
        if left:
            item.add_marker(pytest.mark.full("object stores: emulators of Google's and Azure's"))
        if not program or not os.access(program, os.X_OK):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def server():
    """The server most tests share; each has buckets of its own."""
    found = Server().start()
    yield found
    found.destroy()


@pytest.fixture
def own_server():
    """A server a test may stop."""
    found = Server().start()
    yield found
    found.destroy()


@pytest.fixture
def proxy(server):
    """What stands between us and the server, and can misbehave."""
    found = Proxy(server)
    yield found
    found.close()


_numbers = itertools.count(1)


@pytest.fixture
def new_bucket(server):
    """new_bucket(versioned=True) -> name."""
    return lambda versioned=True: server.bucket(f"kestra-{next(_numbers)}", versioned)


@pytest.fixture
def s3(server):
    """The SDK itself."""
    return server.client()


@pytest.fixture
def opened(server, request):
    """opened(bucket, **options.Place) -> client.Bucket, until the end of the test."""
    from contextlib import ExitStack

    stack = ExitStack()
    request.addfinalizer(stack.close)

    def at(bucket, **how):
        place = options.Place(**{"bucket": bucket, "endpoint": server.endpoint, "access_key": ACCESS_KEY,
                                 "secret_key": SECRET_KEY, "patience": 20.0, **how})
        return stack.enter_context(client.opened(place))

    return at


@pytest.fixture(scope="session")
def azurite():
    """The emulator most tests share; each has containers of its own."""
    found = azure_server.Azurite().start()
    yield found
    found.destroy()


@pytest.fixture
def new_container(azurite):
    """new_container() -> the SDK's client of a new one."""
    return lambda: azurite.container(f"kestra-{next(_numbers)}")


@pytest.fixture
def opened_azure(azurite, request):
    """opened_azure(container, **options.Place) -> azure.AzureBucket, until the end of the test."""
    from contextlib import ExitStack

    stack = ExitStack()
    request.addfinalizer(stack.close)

    def at(container, **how):
        place = options.Place(**{"kind": "azure", "bucket": container, "endpoint": azurite.endpoint, "access_key": azure_server.ACCOUNT,
                                 "secret_key": azure_server.KEY, "patience": 20.0, **how})
        return stack.enter_context(client.opened(place))

    return at


@pytest.fixture
def take(tmp_path):
    """take(bucket, moment=None, copy="copy", pinned=None) -> (result, store): a pin, and a copy of it.

    pinned(): is called between the two.
    """
    numbers = itertools.count(1)

    def run(bucket, moment=None, copy="copy", pinned=None):
        number = next(numbers)
        pin, dest = tmp_path / f"pin{number}.gz", tmp_path / f"list{number}.gz"
        inventory.take(bucket, pin, moment=moment)
        if pinned:
            pinned()
        place = store.Store(tmp_path / copy)
        return copy_out.Copy(bucket, place, pin).run(dest), place

    return run


@pytest.fixture
def give():
    """give(bucket, store, **copy_in.Restore) -> result."""
    return lambda bucket, place, **how: copy_in.Restore(bucket, place, how.pop("list", place.list), **how).run()
