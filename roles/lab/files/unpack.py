# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the files that a JSON file holds below a directory, and prints the names of those that were not so already."""
from __future__ import annotations

import json
import os
import sys

source, top = sys.argv[1:]
with open(source, encoding="utf-8") as packed:
    files = json.load(packed)
for name, text in sorted(files.items()):
    path = os.path.join(top, name)
    try:
        with open(path, encoding="utf-8") as handle:
            same = handle.read() == text
    except FileNotFoundError:
        same = False
    if not same:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path + ".part", "w", encoding="utf-8") as handle:
            handle.write(text)
        os.chmod(path + ".part", 0o755 if text.startswith("#!") else 0o644)
        os.replace(path + ".part", path)
        print(name)
