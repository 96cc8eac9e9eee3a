# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode as a way to keep Kestra from its work for a while: entering is its stop, leaving its start.

So the record on the host, the lock that it is and the dead-man of lifecycle.py are the same as for a Kestra that is
stopped: it ends as it was found, and a run whose controller dies does not leave it in maintenance mode.
"""
from __future__ import annotations

import contextlib
import json
import os
import sys
from urllib.parse import urlsplit

from ..core.errors import ConnectError
from ..core.files import atomic_write
from . import lifecycle_way_out as way_out
from .client import is_local
from .lifecycle import MAINTENANCE
from .lifecycle_managers import Manager, Status


class MaintenanceManager(Manager):
    """mode: a Maintenance. directory: of the instance on this host. interval: seconds between two questions."""

    name = MAINTENANCE
    sees_stopping = True
    others_start = "Somebody else took Kestra out of maintenance mode while this run counted on it."

    def __init__(self, mode, directory, interval=2.0, drained=False):
        self._mode = mode
        self._directory = directory
        self._interval = interval
        self._drained = drained

    def preflight(self, *, stop_timeout, grace_period):
        return [], []

    def status(self):
        """Active: it takes work."""
        found = self._mode.status()
        if found.active is None:
            raise ConnectError("Kestra does not tell whether it is in maintenance mode.", reason="maintenance_unproven",
                               hint="This user may not see the services; use a Superadmin.")
        return Status(active=not found.active, running=not found.active, detail={"maintenance": found.active})

    def stop(self, timeout):
        self._mode.send("enter")
        self._mode.wait(True, timeout=timeout, interval=self._interval, drained=self._drained)
        return []

    def start(self, timeout):
        self._mode.send("exit")
        self._mode.wait(False, timeout=timeout, interval=self._interval)

    def block(self, held_path):
        return False

    def unblock(self):
        return False

    def commands(self):
        words = [sys.executable, "-I", os.path.join(self._directory, way_out.PROGRAM),
                 os.path.join(self._directory, way_out.ACCESS)]
        return {"start": [*words, "leave"], "status": [*words, "status"],
                "forget": [os.path.join(self._directory, way_out.ACCESS)]}

    def log_tail(self, lines=30):
        return []


class WayOut:
    """A dead-man that can leave maintenance mode: keeper is the one of this host, prefixes the paths of the mode."""

    def __init__(self, keeper, directory, client, prefixes):
        settings = client.settings
        self._keeper = keeper
        self.how = keeper.how
        self._program = os.path.join(directory, way_out.PROGRAM)
        self._access = os.path.join(directory, way_out.ACCESS)
        self._content = {
            "url": settings.api_url, "prefixes": list(prefixes),
            "authorization": client.authorization().get("Authorization"), "validate_certs": settings.validate_certs, "ca_path": settings.ca_path,
            "timeout": settings.timeout, "local": is_local(urlsplit(settings.api_url or "").hostname)}

    def arm(self):
        atomic_write(self._program, way_out.__spec__.loader.get_source(way_out.__name__), 0o700)
        atomic_write(self._access, json.dumps(self._content), 0o600)
        self._keeper.arm()

    def disarm(self):
        self._keeper.disarm()
        for path in (self._access, self._program):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
