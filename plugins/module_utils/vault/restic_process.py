# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One running restic whose output is read while it works.

restic leaves its lock in the repository when it is killed, also by SIGPIPE when a reader goes away (seen with 0.14).
Ended early it is therefore interrupted (SIGINT), and its output is read to the end.

After it could not store something it may never end: on a full disk 0.18.0 waits now and then for an upload that nobody makes
any more (seen in its stacks). It is then interrupted, too.
"""
from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import threading
import time

from ..core import proc
from .restic_output import gave_up

_GRACE = 20.0
# Seconds in which restic ends by itself after it gave up.
_LAST_WORDS = 60.0
_BLOCK = 1 << 16


class Process:
    """A restic process. on_stderr(line) is called from a thread for each line of stderr.

    Use it as a context manager: leaving it ends the process and everything it started.
    """

    def __init__(self, argv, *, env, cwd=None, on_stderr=None):
        self.argv = [str(item) if not isinstance(item, bytes) else item for item in argv]
        self._child = proc.start(self.argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 user=None)
        self._tail = b""
        self._on_stderr = on_stderr
        self._last_words = None
        self._drain = threading.Thread(target=self._read_stderr, daemon=True)
        self._drain.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def stderr_tail(self) -> str:
        """The last 16 KiB of stderr."""
        return self._tail.decode("utf-8", "surrogateescape")

    @property
    def gave_up(self) -> bool:
        """Whether restic said that it could not store something. Its exit code says nothing then: it may have been ended."""
        return self._last_words is not None

    def _read_stderr(self):
        for raw in self._child.stderr:
            self._tail = (self._tail + raw)[-proc.STDERR_TAIL:]
            line = raw.rstrip(b"\n").decode("utf-8", "surrogateescape")
            if not self.gave_up and gave_up(line):
                self._last_words = threading.Timer(_LAST_WORDS, self._end)
                self._last_words.daemon = True
                self._last_words.start()
            if self._on_stderr:
                self._on_stderr(line)

    def lines(self):
        """stdout line by line, without the newline."""
        for raw in self._child.stdout:
            yield raw.rstrip(b"\n").decode("utf-8", "surrogateescape")

    def read(self, size: int) -> bytes:
        """Up to size bytes of stdout; b"" at its end."""
        return self._child.stdout.read1(size)

    def wait(self) -> int:
        """The exit code, once stdout has been read to its end. Negative for a signal."""
        code = self._child.wait()
        self._drain.join(_GRACE)
        return code

    def stop(self) -> None:
        """Ends the process if it still runs: interrupted first, so that it removes its lock."""
        if self._child.poll() is None:
            # Its output must flow on, or it would wait in write() instead of cleaning up.
            threading.Thread(target=self._discard, daemon=True).start()
            self._end()
        self._drain.join(1.0)
        if self._last_words:
            self._last_words.cancel()
        self._child.stdout.close()

    def _end(self) -> None:
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_GRACE)
        if self._child.poll() is None:
            proc.kill_tree(self._child)

    def _discard(self):
        with contextlib.suppress(OSError, ValueError):
            while self._child.stdout.read1(_BLOCK):
                pass


class WrittenBytes:
    """Reports how many bytes a process has written, by /proc/<pid>/io (proc(5): wchar), about once a second.

    restic says nothing about a restore's progress before 0.17.
    """

    def __init__(self, pid: int, report, every=1.0):
        self._path = f"/proc/{pid}/io"
        self._report = report
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self._done.set()
        self._thread.join()

    def _run(self):
        while not self._done.wait(self._every):
            try:
                with open(self._path, encoding="ascii") as handle:
                    counters = dict(line.split(": ") for line in handle.read().splitlines())
            except OSError:
                return
            self._report(int(counters["wchar"]))


class Stream(io.RawIOBase):
    """stdout of a restic process as a readable file, for tarfile.open(fileobj=..., mode="r|").

    failed(code, stderr) makes the exception for an exit code other than 0: it is raised when the stream is made (its
    first block is read at once), by the read that reaches the end, and by close(), so that a short stream is never taken
    for a whole one. Closed early, the process is stopped.
    """

    def __init__(self, process: Process, failed):
        super().__init__()
        self._process = process
        self._failed = failed
        self._ended = False
        self._stopped = False
        try:
            self._ahead = process.read(_BLOCK)
            if not self._ahead:
                self._end()
        except BaseException:
            self._stopped = True
            process.stop()
            raise

    def readable(self) -> bool:
        return True

    def read(self, size=-1) -> bytes:
        if self._ended:
            return b""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_BLOCK), b""))
        wanted, blocks = size, []
        while wanted:  # tarfile takes a short read for the end
            block, self._ahead = self._ahead[:wanted], self._ahead[wanted:]
            block = block or self._process.read(wanted)
            if not block:
                self._end()
                break
            blocks.append(block)
            wanted -= len(block)
        return b"".join(blocks)

    def readinto(self, buffer) -> int:
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def _end(self):
        self._ended = True
        code = self._process.wait()
        if code != 0:
            raise self._failed(code, self._process.stderr_tail)

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self._ended = True  # the first error is the one to tell
        self.close()

    def close(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        try:
            # A reader of tar stops at the end mark; what follows is padding.
            deadline = time.monotonic() + _GRACE
            left = 1 << 20
            while not self._ended and left > 0 and time.monotonic() < deadline:
                left -= len(self.read(min(left, _BLOCK)))
        finally:
            self._process.stop()
            super().close()
