# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""External programs: one, one read line by line, or a chain. Never a shell, never a secret in argv.

AnsibleModule.run_command is not used: it keeps all output in memory at quadratic cost, and cannot build a chain.

Children stay in our process group, so that the end of an Ansible async task (killpg) reaches them, and ask the kernel
for SIGKILL when we die, so that no orphan keeps writing to what a later run sweeps and starts again.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import selectors
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from .clock import descendants
from .errors import ToolError
from .files import CHUNK

STDERR_TAIL = 16 << 10
_POLL = 0.2
# Seconds for readers after the program has ended: a daemon it left behind may hold the pipe open for ever.
_DRAIN = 2.0
_SIGPIPE = -signal.SIGPIPE
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)  # resolved before any fork


@dataclass
class Completed:
    """What a program left behind. seconds: wall time."""

    rc: int
    stdout: str
    stderr_tail: str
    seconds: float


@dataclass
class Stage:
    """One member of a pipeline. user: name to run as (needs root)."""

    argv: list
    env: dict | None = None
    name: str | None = None
    user: str | None = None
    cwd: str | None = None
    ok: tuple = (0,)


@dataclass
class StageResult:
    """How one member of a pipeline ended."""

    name: str
    argv0: str
    rc: int
    stderr_tail: str
    seconds: float


def _die_with(parent: int):
    def before_exec():
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and here
            os._exit(1)
    return before_exec


def _identity(user) -> dict:
    if user is None:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ToolError(f"There is no user {user!r} on this host.", reason="user_missing") from None
    if entry.pw_uid == os.geteuid():
        return {}
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


def _environment(extra) -> dict:
    env = dict(os.environ, LC_ALL="C")
    for key, value in (extra or {}).items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = str(value)
    return env


def start(argv, *, env, cwd, stdin, stdout, user) -> subprocess.Popen:
    """Starts a child that ends with us, its stderr a pipe (see Tail). Raises ToolError."""
    argv = [os.fspath(item) if not isinstance(item, (str, bytes)) else item for item in argv]
    try:
        return subprocess.Popen(argv, env=_environment(env), cwd=cwd, stdin=stdin, stdout=stdout,
                                stderr=subprocess.PIPE, preexec_fn=_die_with(os.getpid()), **_identity(user))
    except (FileNotFoundError, NotADirectoryError):
        if cwd is not None and not os.path.isdir(cwd):
            raise ToolError(f"The working directory {cwd} does not exist.", reason="not_found") from None
        raise ToolError(f"The program {argv[0]} is not installed (or not in PATH).", reason="tool_missing",
                        hint="Run the prepare role for the worker host, or give the path of the program.",
                        detail={"argv0": str(argv[0])}) from None
    except PermissionError:
        raise ToolError(f"The program {argv[0]} may not be executed.", reason="tool_not_executable",
                        detail={"argv0": str(argv[0])}) from None


def kill_tree(process: subprocess.Popen, grace=5.0) -> None:
    """Ends a child and everything below it: SIGTERM, then after grace seconds SIGKILL. Not our own group."""
    below = descendants(process.pid)
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    below += [pid for pid in descendants(process.pid) if pid not in below]
    if process.poll() is None:
        process.kill()
    for pid in below:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


class Tail(threading.Thread):
    """Drains a stderr and keeps its end."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self._stream = stream
        self._data = b""
        self.last = time.monotonic()
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError):
            while True:
                block = self._stream.read1(65536)
                if not block:
                    return
                self.last = time.monotonic()
                self._data = (self._data + block)[-STDERR_TAIL:]

    def text(self) -> str:
        self.join(_DRAIN)
        return self._data.decode("utf-8", "replace").strip()


class _Feeder(threading.Thread):
    """Writes input to a stdin and closes it. error: an exception of the source, if any (a broken pipe is none)."""

    def __init__(self, stream, chunks, on_bytes=None):
        super().__init__(daemon=True)
        self._stream, self._chunks, self._on_bytes = stream, chunks, on_bytes
        self.error = None
        self.last = time.monotonic()
        self.start()

    def run(self):
        try:
            for chunk in self._chunks:
                try:
                    self._stream.write(chunk)
                    self._stream.flush()
                except BrokenPipeError:
                    return  # the program's exit code tells the story
                self.last = time.monotonic()
                if self._on_bytes:
                    self._on_bytes(len(chunk))
        except Exception as exc:  # handed to the caller's thread
            self.error = exc
        finally:
            with contextlib.suppress(OSError):
                self._stream.close()


@dataclass
class _Watch:
    """The two time limits. since(): the latest sign of life, monotonic seconds."""

    timeout: float | None
    idle_timeout: float | None
    started: float = field(default_factory=time.monotonic)

    def broken(self, last: float):
        now = time.monotonic()
        if self.timeout is not None and now - self.started > self.timeout:
            return f"did not end within {self.timeout:g} s"
        if self.idle_timeout is not None and now - last > self.idle_timeout:
            return f"gave no sign of life for {self.idle_timeout:g} s"
        return None


def _read(process, stream, watch, tails, feeders, on_block):
    """Reads stream to its end, or until the process has ended and the stream stays silent. None or the broken limit."""
    selector = selectors.DefaultSelector()
    selector.register(stream, selectors.EVENT_READ)
    last, ended = time.monotonic(), None
    try:
        while True:
            if selector.select(_POLL):
                block = stream.read1(CHUNK)
                if not block:
                    return None
                last = time.monotonic()
                on_block(block)
            elif process.poll() is not None:
                ended = ended or time.monotonic()
                if time.monotonic() - max(ended, last) > _DRAIN:
                    return None
            broken = watch.broken(max([last] + [item.last for item in tails + feeders]))
            if broken:
                return broken
    finally:
        selector.close()


def _wait(processes, watch, signs):
    """Waits for all processes. None or the broken limit."""
    for process in processes:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL)
                break
            broken = watch.broken(max([watch.started] + [item.last for item in signs]))
            if broken:
                return broken
    return None


def _failure(argv, rc, stderr_tail, redactor, *, why=None, reason=None, extra=None) -> ToolError:
    scrub = redactor.scrub if redactor else (lambda value: value)
    name = os.path.basename(str(argv[0]))
    if why is None:
        why = f"was ended by signal {-rc} ({_signal_name(-rc)})" if rc < 0 else f"failed with exit code {rc}"
    last = scrub(stderr_tail).strip().splitlines()
    message = f"{name} {why}" + (f": {last[-1].strip()}" if last else ".")
    detail = {"argv0": str(argv[0]), "rc": rc, "stderr_tail": scrub(stderr_tail),
              "command": scrub([str(item) for item in argv])}
    detail.update(extra or {})
    return ToolError(message, reason=reason, detail=detail)


def _signal_name(number) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def lines(argv, on_line, *, env=None, cwd=None, ok=(0,), input=None, idle_timeout=None, timeout=None, redactor=None,
          user=None) -> Completed:
    """Runs a program and hands each line of its output (without the newline) to on_line. stdout of the result is empty.

    Raises ToolError as run() does; an exception of on_line ends the program and is passed on.
    """
    rest = bytearray()

    def on_block(block):
        rest.extend(block)
        *whole, tail = bytes(rest).split(b"\n")
        rest[:] = tail
        for line in whole:
            on_line(line.decode("utf-8", "surrogateescape"))

    done = _single(argv, on_block, env=env, cwd=cwd, ok=ok, input=input, timeout=timeout, idle_timeout=idle_timeout,
                   redactor=redactor, user=user)
    if rest:
        on_line(bytes(rest).decode("utf-8", "surrogateescape"))
    return done


def run(argv, *, env=None, cwd=None, input=None, timeout=None, ok=(0,), redactor=None, max_stdout=4 << 20,
        user=None) -> Completed:
    """Runs a program to its end and returns its output.

    env: merged over os.environ with LC_ALL=C; a value of None removes the variable. input: str or bytes for stdin,
    which is closed otherwise. ok: exit codes that are no failure. timeout: seconds. max_stdout: bytes; more is a
    failure, because half an answer must not be parsed. Raises ToolError (reasons tool_failed, tool_missing,
    tool_timeout, output_too_large).
    """
    output = bytearray()

    def on_block(block):
        output.extend(block)
        if len(output) > max_stdout:
            raise _failure(argv, None, "", redactor, why=f"wrote more than {max_stdout} bytes to its output",
                           reason="output_too_large")

    done = _single(argv, on_block, env=env, cwd=cwd, ok=ok, input=input, timeout=timeout, idle_timeout=None,
                   redactor=redactor, user=user)
    done.stdout = output.decode("utf-8", "surrogateescape")
    return done


def _single(argv, on_block, *, env, cwd, ok, input, timeout, idle_timeout, redactor, user) -> Completed:
    watch = _Watch(timeout, idle_timeout)
    process = start(argv, env=env, cwd=cwd, stdout=subprocess.PIPE, user=user,
                    stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
    tail = Tail(process.stderr)
    try:
        feeders = []
        if input is not None:
            raw = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
            feeders.append(_Feeder(process.stdin, [raw]))
        broken = _read(process, process.stdout, watch, [tail], feeders, on_block)
        broken = broken or _wait([process], watch, [tail] + feeders)
    except BaseException:
        kill_tree(process)
        raise
    finally:
        process.stdout.close()
    if broken:
        kill_tree(process)
        raise _failure(argv, process.returncode, tail.text(), redactor, why=broken, reason="tool_timeout")
    done = Completed(process.returncode, "", tail.text(), time.monotonic() - watch.started)
    if redactor:
        done.stderr_tail = redactor.scrub(done.stderr_tail)
    if done.rc not in ok:
        raise _failure(argv, done.rc, done.stderr_tail, redactor)
    return done


def culprit(codes, oks):
    """Index of the stage to blame in a finished chain, or None. codes: return codes, negative for signals.

    The first failure by order; but a stage that died of SIGPIPE only saw its reader go, so the reader is asked first.
    """
    blamed = None
    for index, code in enumerate(codes):
        if code in oks[index]:
            continue
        if blamed is None or codes[blamed] in (_SIGPIPE, 128 + signal.SIGPIPE):
            blamed = index
    return blamed


def pipeline(stages, *, source=None, sink=None, on_bytes=None, timeout=None, idle_timeout=None,
             redactor=None) -> list:
    """Runs a chain of programs, each one's stdout into the next one's stdin; returns a StageResult for each.

    source: None, a binary file with a descriptor, or an iterable of bytes for the first stage.
    sink: object with write(bytes) for the last stage's output (None: thrown away).
    on_bytes(n): called for each block that reaches the sink, or that leaves an iterable source when there is no sink.
    Raises ToolError for the stage to blame (detail["stages"] lists all); an exception of source or sink (a full disk)
    ends the chain and is passed on.
    """
    watch = _Watch(timeout, idle_timeout)
    processes: list[Any] = []
    tails: list[Any] = []
    feeders: list[Any] = []
    try:
        direct = source is not None and hasattr(source, "fileno")
        previous = source if direct else (subprocess.DEVNULL if source is None else subprocess.PIPE)
        for index, stage in enumerate(stages):
            last = index == len(stages) - 1
            process = start(stage.argv, env=stage.env, cwd=stage.cwd, stdin=previous, user=stage.user,
                            stdout=subprocess.DEVNULL if last and sink is None else subprocess.PIPE)
            if index:
                previous.close()  # our copy; else the writer never sees SIGPIPE
            previous = process.stdout
            processes.append(process)
        tails.extend(Tail(process.stderr) for process in processes)
        if source is not None and not direct:
            feeders.append(_Feeder(processes[0].stdin, source, on_bytes if sink is None else None))
        broken = None
        if sink is not None:
            broken = _read(processes[-1], processes[-1].stdout, watch, tails, feeders,
                           lambda block: _deliver(block, sink, on_bytes))
        broken = broken or _wait(processes, watch, tails + feeders)
    except BaseException:
        for process in processes:
            kill_tree(process)
        raise
    finally:
        for process in processes:
            if process.stdout is not None:
                process.stdout.close()
    if broken:
        for process in processes:
            kill_tree(process)
    for feeder in feeders:
        feeder.join(_DRAIN)
        if feeder.error:
            raise feeder.error
    return _verdict(stages, processes, tails, watch, broken, redactor)


def _deliver(block, sink, on_bytes):
    sink.write(block)
    if on_bytes:
        on_bytes(len(block))


def _verdict(stages, processes, tails, watch, broken, redactor) -> list:
    scrub = redactor.scrub if redactor else (lambda value: value)
    seconds = time.monotonic() - watch.started
    results = [StageResult(stage.name or os.path.basename(str(stage.argv[0])), str(stage.argv[0]),
                           process.returncode, scrub(tail.text()), seconds)
               for stage, process, tail in zip(stages, processes, tails)]
    blamed = culprit([result.rc for result in results], [stage.ok for stage in stages])
    if broken is None and blamed is None:
        return results
    index = blamed if broken is None else len(stages) - 1
    summary = [{"name": item.name, "rc": item.rc, "stderr_tail": item.stderr_tail} for item in results]
    raise _failure(stages[index].argv, results[index].rc, results[index].stderr_tail, redactor, why=broken,
                   reason="tool_timeout" if broken else None, extra={"stages": summary})
