# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for secrets where none may be: in arguments of processes, outputs, files and their names.

Independent of the collection's own redaction. Each secret has a core of letters and digits that every escaping leaves
as it is, so a secret is found escaped in whatever way; base64 is looked for at its three alignments.
"""
from __future__ import annotations

import base64
import os
import threading


def needles(core: str) -> set:
    """What to look for: the core itself, and the part of its base64 that does not depend on its neighbours."""
    found = {core.encode()}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + core.encode())
        # The first characters hold bits of what is before it, the last ones bits of what is after it.
        found.add(text[(before * 8 + 5) // 6:(before + len(core)) * 8 // 6])
    return found


class Watch:
    """What was seen of secrets. cores: {name of the secret: its core}."""

    def __init__(self, cores: dict):
        self._needles = {name: needles(core) for name, core in cores.items()}
        self.seen: list = []
        self.samples = 0
        self.arguments = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def find(self, data) -> list:
        """Names of the secrets that are in a text or bytes."""
        raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        return sorted(name for name, parts in self._needles.items() if any(part in raw for part in parts))

    def check(self, data, where) -> None:
        """Notes the secrets that are in data."""
        self.seen += [f"{name} in {where}" for name in self.find(data)]

    def tree(self, root, but=()) -> int:
        """Looks at the names and the contents of all files below root, except below the paths of but."""
        looked = 0
        skipped = [os.path.abspath(path) for path in but]
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if os.path.join(directory, name) not in skipped]
            for name in names + files:
                self.check(name, f"the name {name!r}")
            for path in (os.path.join(directory, name) for name in files):
                if path in skipped or not os.path.isfile(path) or os.path.islink(path):
                    continue
                with open(path, "rb") as handle:
                    self.check(handle.read(), path)
                looked += 1
        return looked

    def begin(self) -> None:
        """From now on the arguments of all processes are sampled."""
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self):
        known = set()
        while not self._ended.wait(0.05):
            self.samples += 1
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as handle:
                        arguments = handle.read()
                except OSError:
                    continue  # it has ended
                if arguments and (pid, arguments) not in known:
                    known.add((pid, arguments))
                    self.arguments += 1
                    self.check(arguments, f"the arguments of {arguments.split(bytes(1))[0]!r}")
