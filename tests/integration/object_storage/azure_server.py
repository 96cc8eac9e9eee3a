# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulator of Azure Blob Storage (Azurite) on loopback. It keeps no versions and knows no hierarchical namespace."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from ansible_collections.kestra_community.dr.tests.integration.object_storage.s3_server import free_port
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

# What scripts/lib/azure.sh installed.
PROGRAM = os.environ.get("KESTRA_DR_TEST_AZURITE")
ACCOUNT = "kestratest"
KEY = base64.b64encode(b"a key of an account, only for these tests, with +/ in it: \xfb\xef\xbe").decode()


class Azurite:
    """One emulator with data of its own. certificate, key: files, for TLS."""

    def __init__(self, *, certificate=None, key=None):
        self.base = Path(tempfile.mkdtemp(prefix="kdr-azurite-"))
        self.port = free_port()
        self.process = None
        self._tls = [] if certificate is None else ["--cert", str(certificate), "--key", str(key)]

    @property
    def endpoint(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"

    def start(self):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.base), "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        # It knows the API of an earlier day than the newest SDK.
        argv = [PROGRAM, "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.base / "data"),
                "--disableTelemetry", "--skipApiVersionCheck", *self._tls]
        with open(self.base / "log", "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment, cwd=self.base)
        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError, AzureError):
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    if not self._tls:
                        self.client().get_service_properties()
                    return self
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.base / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.1)

    def stop(self, how=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def destroy(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.base, ignore_errors=True)

    def client(self, **how):
        """The official SDK, by itself: what the tests put and look with."""
        return BlobServiceClient(self.endpoint, credential={"account_name": ACCOUNT, "account_key": KEY}, retry_total=2,
                                 initial_backoff=1, **how)

    def container(self, name):
        return self.client().create_container(name)

    def requests(self, method):
        """How many there were with a method since any was last asked for, by its log."""
        with open(self.base / "log", "rb+") as handle:
            lines = handle.read().decode(errors="replace").splitlines()
            handle.truncate(0)
        return sum(f'"{method} /' in line for line in lines)
