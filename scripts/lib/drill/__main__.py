# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry: python scripts/lib/drill --lab DIR --collections DIR run|control|put-back ...

Run as a directory, so that no variable of ours reaches the environment of the Kestra that the drill starts.
"""
from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(argv) -> int:
    """Dispatches to the drill itself, the control of its Kestra, or the way back after a failed drill."""
    if len(argv) < 5 or argv[0] != "--lab" or argv[2] != "--collections":
        print("This is the inside of scripts/drill; start that.", file=sys.stderr)
        return 64
    lab, collections, verb, rest = argv[1], argv[3], argv[4], argv[5:]
    sys.path[:0] = [str(HERE.parent), collections]
    # pylint: disable=import-outside-toplevel
    if verb == "control":
        from drill import control
        return control.main(rest)
    if verb == "put-back":
        from drill import put_back
        return put_back.main(lab)
    from drill import command
    return command.main(lab, collections, rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
