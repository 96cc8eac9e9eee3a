# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulator of Google Cloud Storage (fake-gcs-server) on loopback, with generations; it asks for no credentials."""

from __future__ import annotations

import os
import re

from ansible_collections.kestra_community.dr.tests.integration.object_storage.daemon import Daemon

# What scripts/lib/s3.sh built.
PROGRAM = os.environ.get("KESTRA_DR_TEST_GCS")


class Emulator(Daemon):
    """One emulator with data of its own, in memory: the other of its stores keeps no generations."""

    START_SECONDS = 60

    def __init__(self):
        super().__init__("gcs")

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, shown=None):
        """shown: the URL that it takes itself to be reached at, where uploads go on."""
        argv = [PROGRAM, "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-backend", "memory",
                "-external-url", shown or self.endpoint, "-public-host", f"127.0.0.1:{self.port}"]
        return self._started(argv, dict(os.environ))

    def client(self):
        """The official SDK, by itself: what the tests put and look with."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        return storage.Client(project="tests", credentials=AnonymousCredentials(), client_options={"api_endpoint": self.endpoint})

    def bucket(self, name, versioned=True):
        """A new bucket, as the SDK has it."""
        bucket = self.client().bucket(name)
        bucket.versioning_enabled = versioned
        bucket.create()
        return bucket

    def requests(self, method, path):
        """How many there were whose path matches, since any was last asked for, by its log."""
        with open(self.log, "rb+") as handle:
            lines = handle.read().decode(errors="replace").splitlines()
            handle.truncate(0)
        return sum(bool(re.search(rf'"{method} {path}', line.replace("\\", ""))) for line in lines)
