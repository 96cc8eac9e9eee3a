# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry: python tests/bench/benchmark --lab DIR --collections DIR [options of tests/bench/run]."""
from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(argv) -> int:
    """Finds the code it shares with scripts/drill and the collection, and starts."""
    if len(argv) < 4 or argv[0] != "--lab" or argv[2] != "--collections":
        print("This is the inside of tests/bench/run; start that.", file=sys.stderr)
        return 64
    sys.path[:0] = [str(HERE.parent), str(HERE.parents[2] / "scripts" / "lib"), argv[3]]
    from benchmark import command  # pylint: disable=import-outside-toplevel
    return command.main(argv[1], argv[3], argv[4:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
