# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for an open-source Kestra server, for laboratories and tests.

It is not Kestra. It runs flows, schedules and tasks in a small way, and writes the rows and files that Kestra writes,
so that backups and restores can be tried where Kestra itself cannot be had. It shares no code with the collection.
"""
from __future__ import annotations

import os
import re

NAME = "kestra-standin"
NOTICE = "a stand-in for Kestra, not Kestra itself"
DEFAULT_VERSION = "0.21.0"


def personality(environ=None):
    """The version string this process shows, e.g. 0.21.0, from KESTRA_STANDIN_VERSION."""
    text = (environ if environ is not None else os.environ).get("KESTRA_STANDIN_VERSION") or DEFAULT_VERSION
    if not re.match(r"^\d+\.\d+(\.\d+)?([-.+].*)?$", text):
        raise ValueError("KESTRA_STANDIN_VERSION is not a version: %r" % text)
    return text if text.count(".") >= 2 else text + ".0"


def version_tuple(text):
    """(major, minor) of a version string."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
