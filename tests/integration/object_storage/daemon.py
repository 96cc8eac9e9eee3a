# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of objects on loopback, in a directory of its own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    """One process. name: in that of its directory."""

    # What it answers with while it is not ready, and how long it may take.
    ERRORS: tuple = ()
    START_SECONDS = 120

    def __init__(self, name):
        self.base = Path(tempfile.mkdtemp(prefix=f"kdr-{name}-"))
        self.port = free_port()
        self.process = None
        self.log = self.base / "log"

    def ready(self):
        """Raises one of ERRORS while it is not: the port may be open before."""

    def _started(self, argv, environment):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment, cwd=self.base)
        until = time.monotonic() + self.START_SECONDS
        while True:
            with contextlib.suppress(OSError, *self.ERRORS):
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    self.ready()
                    return self
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self.log.read_text(errors="replace")[-3000:])
            time.sleep(0.05)

    def stop(self, how=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def destroy(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.base, ignore_errors=True)
