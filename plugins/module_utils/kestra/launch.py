# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Kestra's executable is started, and asked for its version without touching anything. Pure."""
from __future__ import annotations

import re

# Kestra's executable begins with neither "#!" nor a program header: a shell takes it for a script, execve does not.
LAUNCH = ("/bin/sh", "-c", 'exec "$0" "$@"')
# Its command line boots its context, and with a database in sight it would migrate it. Without these it finds none, and
# migrations are switched off as well.
WITHOUT = ("KESTRA_CONFIGURATION", "MICRONAUT_CONFIG_FILES", "JAVA_OPTS")
UNCONFIGURED = {**{f"FLYWAY_DATASOURCES_{name}_ENABLED": "false" for name in ("POSTGRES", "MYSQL", "H2", "SQLSERVER")},
                "KESTRA_MIGRATION_AUTO": "false"}
VERSION_SECONDS = 120.0
_VERSION = re.compile(r"(?m)^v?(\d+\.\d+[0-9A-Za-z.+-]*)\s*$")


def version_of(text):
    """The version in what --version prints, or None."""
    found = _VERSION.search(text)
    return found.group(1) if found else None
