# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulator of Azure Blob Storage (Azurite) on loopback. It keeps no versions and knows no hierarchical namespace."""

from __future__ import annotations

import base64
import os

from ansible_collections.kestra_community.dr.tests.integration.object_storage.daemon import Daemon
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

# What scripts/lib/azure.sh installed.
PROGRAM = os.environ.get("KESTRA_DR_TEST_AZURITE")
ACCOUNT = "kestratest"
KEY = base64.b64encode(b"a key of an account, only for these tests, with +/ in it: \xfb\xef\xbe").decode()


class Azurite(Daemon):
    """One emulator with data of its own. certificate, key: files, for TLS."""

    ERRORS = (AzureError,)

    def __init__(self, *, certificate=None, key=None):
        super().__init__("azurite")
        self._tls = [] if certificate is None else ["--cert", str(certificate), "--key", str(key)]

    @property
    def endpoint(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"

    def start(self):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.base), "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        # It knows the API of an earlier day than the newest SDK.
        argv = [PROGRAM, "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.base / "data"),
                "--disableTelemetry", "--skipApiVersionCheck", *self._tls]
        return self._started(argv, environment)

    def ready(self):
        if not self._tls:
            self.client().get_service_properties()

    def client(self, **how):
        """The official SDK, by itself: what the tests put and look with."""
        return BlobServiceClient(self.endpoint, credential={"account_name": ACCOUNT, "account_key": KEY}, retry_total=2,
                                 initial_backoff=1, **how)

    def container(self, name):
        return self.client().create_container(name)

    def requests(self, method):
        """How many there were with a method since any was last asked for, by its log."""
        with open(self.log, "rb+") as handle:
            lines = handle.read().decode(errors="replace").splitlines()
            handle.truncate(0)
        return sum(f'"{method} /' in line for line in lines)
