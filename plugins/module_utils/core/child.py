# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client program that runs while we do something else, with its standard error kept and its end certain."""
from __future__ import annotations

import os
import re
import subprocess
import time

from . import proc


def first_error(exc, harmless=None) -> str:
    """The first line a client program marks as an error, without its own name; the message of exc if there is none.

    harmless: text of errors to pass over.
    """
    for line in exc.detail.get("stderr_tail", "").splitlines():
        found = re.match(r".*?(?:error|ERROR|FATAL): *(.+)$", line)
        if found and not (harmless and harmless in line):
            return f"{os.path.basename(exc.detail['argv0'])} failed: {found.group(1).strip().rstrip('.')}."
    return exc.message


class Child:
    """One running program. stdout goes to stdout (a descriptor or subprocess.PIPE).

    feed: an iterable of bytes for its stdin, which is closed otherwise.
    """

    def __init__(self, argv, *, env=None, stdout=subprocess.DEVNULL, feed=None, redactor=None):
        self.argv = list(argv)
        self._redactor = redactor
        # The starting and judging of children is proc's; what it lacks is a child that is watched from outside.
        self.process = proc.start(self.argv, env=env, cwd=None, stdout=stdout, user=None,
                                  stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE)
        self._tail = proc.Tail(self.process.stderr)
        self._feeder = None if feed is None else proc._Feeder(self.process.stdin, feed)

    @property
    def stdout(self):
        return self.process.stdout

    def finished(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def wait(self, tick=None, every=0.2) -> None:
        """Waits for its end, calling tick() meanwhile; an exception of tick ends the program and is passed on.

        Raises ToolError when it fails.
        """
        try:
            while not self.finished():
                if tick:
                    tick()
                time.sleep(every)
        except BaseException:
            self.stop()
            raise
        self.check()

    def check(self) -> None:
        """Raises ToolError unless it ended with 0, and what the iterable it was fed from has raised."""
        code = self.process.wait()
        if code != 0:
            raise proc._failure(self.argv, code, self._tail.text(), self._redactor)
        if self._feeder is not None:
            self._feeder.join()
            if self._feeder.error:
                raise self._feeder.error

    def stop(self) -> None:
        """Ends it and what it started."""
        proc.kill_tree(self.process)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if not self.finished():
            self.stop()
        elif self.process.stdout is not None:
            self.process.stdout.close()
