# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one module of the collection as Ansible runs it, and writes down how much memory its process took at most.

Standard input: {"module", "arguments", "peak": file for VmHWM in bytes}. No secret is among the arguments.
"""
from __future__ import annotations

import atexit
import importlib
import json
import sys

from ansible.module_utils import basic


def write_peak(path) -> None:
    """VmHWM of this process (proc(5)); that of its children is not in it."""
    with open("/proc/self/status", encoding="ascii") as status:
        found = next(line for line in status if line.startswith("VmHWM:"))
    with open(path, "w", encoding="ascii") as handle:
        handle.write(str(int(found.split()[1]) * 1024))


def main() -> None:
    """Never returns: a module ends its process."""
    asked = json.load(sys.stdin)
    given = dict(asked["arguments"], _ansible_remote_tmp="/tmp")
    # ansible-core 2.19 keeps a module's arguments with a serialization profile; set as its own tests do.
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    atexit.register(write_peak, asked["peak"])
    importlib.import_module("ansible_collections.kestra_community.dr.plugins.modules." + asked["module"]).main()


if __name__ == "__main__":
    main()
