# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back after a failed drill on a user's own Kestra: stops it and renames the original pair back."""
from __future__ import annotations

import sys

from . import DrillError, control, disaster
from .console import Console
from .database import database_of
from .labdir import LabDir
from .target import own_configuration


def main(root) -> int:
    """Puts back what the state file of the lab says was moved aside. Exit code: 0 done or nothing to do, 1 failed."""
    console, lab = Console(), LabDir(root)
    try:
        lab.lock()
        state = lab.read_state()
        aside = state.get("aside")
        if not aside:
            console.line("Nothing of yours is moved aside; there is nothing to put back.")
            return 0
        spec = lab.work / "kestra.json"
        if spec.exists() and control.Control(spec).stop():
            raise DrillError("Kestra does not stop; end it by hand, then run this again.")
        configuration = own_configuration(state["config"], state.get("environment_file"))
        disaster.put_back(database_of(configuration.database_credentials()), aside, state["serial"], console.line)
        state["aside"] = None
        lab.write_state(state)
        console.line(
            "Your Kestra's database and storage are as they were before the disaster. Start it as you always do.\n"
            f"The drill's executions and values stay in the namespace {state['namespace']}; its flows are gone."
        )
        return 0
    except DrillError as error:
        print(f"scripts/drill: {error.message}", error.hint or "", sep="\n", file=sys.stderr)
        return 1
