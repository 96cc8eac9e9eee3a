# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's server command line: where it is, how it is called, and what its end means.

Every command, also --help, boots Kestra with its configuration and migrates the database to the command line's own
version (Kestra's App.java). So the version is asked first, without any configuration, and compared with the server's.

The executable is a jar with a shell script in front and no #! line: only a shell can start it.
"""
from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
from collections import deque
from dataclasses import dataclass, field, replace

from ..core import jobs, proc
from ..core.errors import ConfigError, DrError, RefusedError, ToolError
from . import cli_pod
from .launch import LAUNCH, UNCONFIGURED, VERSION_SECONDS, WITHOUT, version_of

METHODS = ("host", "container", "kubernetes")
ENGINES = ("docker", "podman")
_IMAGE_EXECUTABLE = "/app/kestra"  # of Kestra's own images
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_TAIL = 60
_COMMANDS = 6  # more than a module runs one after the other: asking, doing, looking


def argument_spec() -> dict:
    """The option of modules that call Kestra's CLI. Must be kept in sync with plugins/doc_fragments/kestra_cli.py."""
    return {"cli": {"type": "dict", "apply_defaults": True, "options": {
        "method": {"type": "str", "choices": list(METHODS), "default": "host"},
        "executable": {"type": "str"},
        "config_file": {"type": "str"},
        "java_options": {"type": "str"},
        "environment": {"type": "dict", "no_log": True},
        "user": {"type": "str"},
        "server_version": {"type": "str"},
        "timeout": {"type": "float", "default": 3600.0},
        "engine": {"type": "str", "choices": list(ENGINES), "default": "docker"},
        "container": {"type": "str"},
        "image": {"type": "str"},
        "run_options": {"type": "list", "elements": "str", "default": []},
        "namespace": {"type": "str"},
        "pod": {"type": "str"},
        "workload": {"type": "str"},
        "pod_container": {"type": "str"},
        "pod_labels": {"type": "dict", "default": {}},
        "pod_timeout": {"type": "float", "default": 300.0},
        "kubeconfig": {"type": "path"},
        "kube_context": {"type": "str"},
    }}}


# -- where it is ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Place:
    """How one CLI is reached. own: it is the running server's own program, so its version needs no proof."""

    method: str = "host"
    executable: str = "kestra"
    config_file: str | None = None
    plugins: str | None = None
    environment: dict = field(default_factory=dict, repr=False)
    user: str | None = None
    cwd: str | None = None
    engine: str = "docker"
    container: str | None = None
    image: str | None = None
    run_options: tuple = ()
    namespace: str | None = None
    pod: str | None = None
    workload: str | None = None
    pod_container: str | None = None
    pod_labels: dict = field(default_factory=dict)
    pod_timeout: float = 300.0
    kubeconfig: str | None = None
    kube_context: str | None = None
    own: bool = False

    def shown(self) -> dict:
        """What a plan says about it."""
        where = {"host": None, "container": self.container or self.image, "kubernetes": self.pod or self.workload}[self.method]
        return {"method": self.method, "in": where, "executable": self.executable, "config_file": self.config_file,
                "user": self.user}


@dataclass(frozen=True)
class Call:
    """A program to start. environment: for it or for what hands it on; None takes a variable away. script: for its
    stdin."""

    argv: list
    environment: dict = field(default_factory=dict, repr=False)
    script: str | None = field(default=None, repr=False)
    user: str | None = None
    cwd: str | None = None


def _bad(why, hint=None) -> ConfigError:
    return ConfigError(f"How Kestra's command line is reached is not clear: {why}.", reason="cli_options", hint=hint)


def place(params, gathered=None, root=False) -> Place:
    """The Place of the option `cli`. Only looks at the host's users and links.

    params: the option's value. gathered: sources.Gathered of the option `config`, or None. root: whether the module
    may become another user. Raises ConfigError (cli_options).
    """
    method = params["method"]
    if method == "host":
        return _host(params, gathered, root)
    common = {"method": method, "executable": params["executable"] or _IMAGE_EXECUTABLE,
              "config_file": params["config_file"], "environment": _environment(params, {})}
    if method == "kubernetes":
        return _in_kubernetes(params, common)
    if bool(params["container"]) is bool(params["image"]):
        raise _bad("cli.method is container and needs one of cli.container and cli.image",
                   "container: the running container Kestra is in. image: for a container of its own while it is "
                   "stopped.")
    if params["run_options"] and not params["image"]:
        raise _bad("cli.run_options belong to cli.image", "Leave them out.")
    return Place(**common, engine=params["engine"], container=params["container"], image=params["image"],
                 run_options=tuple(params["run_options"]), user=params["user"], own=bool(params["container"]))


def _in_kubernetes(params, common) -> Place:
    if bool(params["pod"]) is bool(params["workload"]):
        raise _bad("cli.method is kubernetes and needs one of cli.pod and cli.workload",
                   "pod: the running pod Kestra is in, or deployment/NAME as kubectl exec takes it. workload: for a pod of "
                   "its own while it is stopped.")
    if params["user"]:
        raise _bad("kubectl exec cannot change the user", "Leave cli.user out.")
    if params["workload"] and not re.fullmatch(f"({'|'.join(cli_pod.KINDS)})/{cli_pod.NAME}", params["workload"]):
        raise _bad(f"cli.workload is {params['workload']!r}", "Give deployment/NAME or statefulset/NAME.")
    if params["pod_labels"] and not params["workload"]:
        raise _bad("cli.pod_labels belong to cli.workload", "Leave them out.")
    return Place(**common, namespace=params["namespace"], pod=params["pod"], workload=params["workload"], own=True,
                 pod_container=params["pod_container"], pod_timeout=params["pod_timeout"],
                 pod_labels={str(name): str(value) for name, value in params["pod_labels"].items()},
                 kubeconfig=params["kubeconfig"], kube_context=params["kube_context"])


def _environment(params, base) -> dict:
    environment = dict(base)
    environment.update({str(name): "" if value is None else str(value)
                        for name, value in (params["environment"] or {}).items()})
    if params["java_options"] is not None:
        environment["JAVA_OPTS"] = params["java_options"]
    return environment


def _host(params, gathered, root) -> Place:
    for name in ("container", "image", "pod", "workload", "pod_labels", "run_options"):
        if params[name]:
            raise _bad(f"cli.{name} is given, but cli.method is host", "Set cli.method.")
    if gathered is None:
        return Place(executable=params["executable"] or "kestra", config_file=params["config_file"],
                     environment=_environment(params, {}), user=params["user"])
    command = gathered.command
    executable = params["executable"]
    if not executable and command.executable and (command.java or not command.words):
        how = "by java -jar" if command.java else "by a script of its own"
        raise _bad(f"the unit starts Kestra {how}", "Name the command line's executable with cli.executable.")
    user = params["user"] or ((gathered.unit.user or "root") if gathered.unit and root else None)
    environment = handed_on(gathered)
    if user:
        environment.setdefault("HOME", _home(user))
    overrides = gathered.sources.overrides
    return Place(
        executable=executable or command.executable or "kestra",
        config_file=params["config_file"] or (overrides[0].name if overrides else None), plugins=command.plugins,
        environment=_environment(params, environment), user=user, cwd=gathered.sources.working_directory,
        own=bool(command.words) and _same_file(executable or command.executable, command.executable))


def _home(user) -> str:
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        raise ConfigError(f"There is no user {user!r} on this host.", reason="user_missing") from None


def _same_file(one, other) -> bool:
    return bool(one and other) and os.path.realpath(one) == os.path.realpath(other)


def handed_on(gathered) -> dict:
    """The environment in which the CLI finds the configuration the option `config` names. Raises ConfigError. Pure."""
    environment = dict(gathered.sources.environment)
    files = [layer.name for layer in gathered.sources.files]
    if "KESTRA_CONFIGURATION" in files:  # Kestra's launcher then lets nothing else count
        after = files[files.index("KESTRA_CONFIGURATION") + 1:]
        if after:
            raise _bad(f"Kestra reads KESTRA_CONFIGURATION and would not read {after[0]} beside it",
                       "Give the file as cli.config_file.")
        return environment
    if files:
        environment["MICRONAUT_CONFIG_FILES"] = ",".join(files)
    return environment


# -- calls ------------------------------------------------------------------------------------------------------------

def call(at, argv, environment=None, *, without=(), feed=False) -> Call:
    """What to start so that argv runs where the CLI is. Pure.

    environment: variables for argv, whose values never become arguments. without: variables it must not have. feed:
    argv reads its stdin (then without variables in Kubernetes, whose way for them is stdin).
    """
    environment = dict(environment or {})
    if at.method == "host":
        return Call(list(argv), {**environment, **{name: None for name in without}}, user=at.user, cwd=at.cwd)
    if at.method == "kubernetes":
        return _kubernetes(at, argv, environment, without, feed)
    inner = (["env"] + [word for name in without for word in ("-u", name)] + list(argv)) if without else list(argv)
    words = [at.engine, "run" if at.image else "exec"] + (["--rm"] if at.image else [])
    words += ["--interactive"] if feed else []
    words += ["--user", at.user] if at.user else []
    # A name without a value: docker and podman take the value from their own environment.
    words += [word for name in sorted(environment) for word in ("--env", name)]
    if at.image:
        words += list(at.run_options) + ["--entrypoint", inner[0], at.image] + inner[1:]
    else:
        words += [at.container] + inner
    return Call(words, environment)


def _kubernetes(at, argv, environment, without, feed) -> Call:
    words = cli_pod.kubectl(at, "exec", *(["--stdin"] if feed or environment or without else []), at.pod)
    words += ["--container", at.pod_container] if at.pod_container else []
    if not environment and not without:
        return Call(words + ["--"] + list(argv))
    if feed:
        raise ValueError("stdin carries either variables or data")
    # kubectl exec has no way for variables, and its arguments are in the API server's audit log: a script on stdin.
    lines = [f"unset {name}" for name in without]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    return Call(words + ["--", "sh", "-s", "--"] + list(argv),
                script="\n".join(lines + ['exec "$@" < /dev/null', ""]))


def command(at, words) -> list:
    """The argv of one of Kestra's commands, with its configuration file and plugins. Pure."""
    options = (["--config", at.config_file] if at.config_file else []) + (["--plugins", at.plugins] if at.plugins else [])
    return [*LAUNCH, at.executable, *words, *options]


# -- what it says -----------------------------------------------------------------------------------------------------

def bare_version(text) -> str:
    """A version without what only names the edition: v1.3.15-ee and 1.3.15 are the same. Pure."""
    return re.sub(r"-(oss|ee)$", "", str(text).strip().lstrip("v"), flags=re.IGNORECASE)


def require_version(at, found, server_version) -> None:
    """Refuses a CLI of another version than the server's: it would migrate the database. Pure."""
    if server_version:
        if bare_version(found) != bare_version(server_version):
            raise RefusedError(
                f"The command line is of version {found}, the server of {server_version}.", reason="version_differs",
                hint="It would migrate the database to its own version. Use the server's own executable or image.",
                detail={"cli": found, "server": server_version})
    elif not at.own:
        raise RefusedError(
            f"The command line is of version {found}, and nothing tells the server's.", reason="version_unproven",
            hint="One of another version would migrate the database. Give cli.server_version (the version that "
                 "kestra_info returns), or use the executable config.unit starts.", detail={"cli": found})


def flags_of(words, text):
    """The flags of a command, from its --help; None when there is no such command.

    picocli answers an unknown command with --help by the help of what it does know. Pure.
    """
    if re.search(r"(?im)^usage:.*\b" + r"\s+".join(map(re.escape, words)) + r"\b", text):
        return frozenset(_FLAG.findall(text))
    return None


def commands_of(text) -> tuple:
    """The names of the commands a --help lists. Pure."""
    _before, _unused, listed = text.partition("\nCommands:\n")
    return tuple(re.findall(r"(?m)^  ([a-z][a-z0-9-]*)(?:\s|$)", listed))


def require_flags(words, flags, version) -> None:
    """Refuses a call with flags this version does not have. Pure."""
    missing = sorted({word.partition("=")[0] for word in words if word.startswith("--")} - flags)
    if missing:
        raise RefusedError(f"`{' '.join(words[:2])}` of Kestra {version} has no {missing[0]}.",
                           reason="flag_unsupported", hint="Leave the option out that needs it, or upgrade Kestra.",
                           detail={"missing": missing, "flags": sorted(flags)})


# Stack frames, and what JVM and kubectl say beside the matter.
_BESIDE = re.compile(r"\s|at |\.\.\. \d+ more|Picked up |WARNING: |command terminated with exit code")


def telling_line(stderr, stdout) -> str:
    """The line that says best why it failed: the last one that is no part of a stack trace, stderr first. Pure."""
    for lines in (stderr, stdout):
        told = [line.strip() for line in lines if line.strip() and not _BESIDE.match(line)]
        if told:
            return told[-1]
    return "it said nothing"


def hint_for(code, text):
    """What to do about a failure, where it is known. Pure."""
    if code in (126, 127):
        return "Check cli.executable; the program needs Java as well."
    if re.search(r"Tag mismatch|AEADBadTag", text):
        return "The key is not the one the archive was encrypted with, or the archive is damaged: compare its sha256."
    return None


@dataclass
class Output:
    """What a command left behind. kept: its lines that were asked for, from stdout and the end of stderr."""

    kept: list
    seconds: float


class Cli:
    """One command line of Kestra. Raises ToolError for a program that fails.

    Used by `with`, at whose end a pod of its own is deleted; it is made for the first call. warn: takes a sentence.
    """

    def __init__(self, at, redactor=None, timeout=3600.0, warn=None):
        self.at = at
        self._redactor = redactor
        self._timeout = timeout
        self._warn = warn
        self._stack = contextlib.ExitStack()
        self._one_off: cli_pod.OneOff | None = None

    def __enter__(self):
        if self.at.workload:
            self._stack.enter_context(jobs.terminable())
        return self

    def __exit__(self, kind, _exc, _trace):
        with self._stack:
            self._leave(wait=kind is None)

    def _leave(self, wait):
        one, self._one_off = self._one_off, None
        if one is None:
            return
        try:
            one.end(wait)
        except DrError as exc:  # what was done, or went wrong, matters more
            if self._warn:
                self._warn(f"The Job for Kestra's command line was not seen to be deleted: {exc.message} Kubernetes ends it "
                           "by itself later.")

    def _to_start(self, argv, environment=None, **how) -> Call:
        """call(), where a pod of its own is there."""
        if not self.at.workload:
            return call(self.at, argv, environment, **how)
        if self._one_off is None:
            self._one_off = cli_pod.OneOff(self.at, VERSION_SECONDS + _COMMANDS * self._timeout, self._redactor)
        pod = self._one_off.start()
        return call(replace(self.at, pod=pod, pod_container=self._one_off.container), argv, environment, **how)

    def version(self) -> str:
        """Asks --version without any configuration."""
        environment = {name: value for name, value in self.at.environment.items()
                       if name not in WITHOUT and not name.startswith("DATASOURCES_")}
        stdout: deque = deque(maxlen=_TAIL)
        started = self._to_start([*LAUNCH, self.at.executable, "--version"], {**environment, **UNCONFIGURED},
                                 without=WITHOUT)
        self._call(started, "--version", stdout.append, stdout, VERSION_SECONDS)
        found = version_of("\n".join(stdout))
        if found is None:
            raise ToolError(f"{self.at.executable} --version printed no version.", reason="no_version",
                            hint="Is it Kestra's executable?", detail={"output_tail": "\n".join(stdout)})
        return found

    def help(self, words) -> str:
        """What the command words says with --help; nothing where it does not know it."""
        lines: list = []
        try:
            self.run([*words, "--help"], what=" ".join(words), on_line=lines.append)
        except ToolError as exc:
            if "Unmatched argument" not in exc.detail.get("stderr_tail", "") + exc.detail.get("output_tail", ""):
                raise
            lines = []
        return "\n".join(lines)

    def run(self, words, *, what, environment=None, keep=None, on_line=None) -> Output:
        """Runs one of Kestra's commands to its end.

        words: subcommands and options. what: its name in messages. environment: more variables, e.g. secrets. keep:
        pattern of the lines to return.
        """
        kept: list = []
        stdout: deque = deque(maxlen=_TAIL)

        def each(line):
            stdout.append(line)
            if keep is not None and keep.search(line):
                kept.append(line)
            if on_line:
                on_line(line)

        started = self._to_start(command(self.at, words), {**self.at.environment, **(environment or {})})
        done = self._call(started, what, each, stdout, self._timeout)
        if keep is not None:  # Kestra's loggers may write to either
            kept += [line for line in done.stderr_tail.splitlines() if keep.search(line)]
        return Output(kept, done.seconds)

    def _call(self, started, what, on_line, stdout, timeout):
        scrub = self._redactor.scrub if self._redactor else (lambda value: value)
        if self.at.method == "host" and os.path.isabs(self.at.executable) and not os.path.exists(self.at.executable):
            raise self._missing(f"there is no {self.at.executable} on this host")
        try:
            done = proc.lines(started.argv, on_line, env=started.environment, cwd=started.cwd, ok=range(256),
                              input=started.script, timeout=timeout, user=started.user, redactor=self._redactor)
        except ToolError as exc:
            if exc.reason != "tool_timeout":
                raise
            raise ToolError(f"Kestra's `{what}` did not end within {timeout:g} s.", reason="cli_timeout",
                            hint=None if self.at.method == "host" or self.at.workload
                            else "It may go on inside the container.",
                            detail=dict(exc.detail, output_tail=scrub("\n".join(stdout)))) from None
        if done.rc == 0:
            return done
        stderr = done.stderr_tail.splitlines()
        detail = {"argv0": started.argv[0], "rc": done.rc, "stderr_tail": done.stderr_tail,
                  "output_tail": scrub("\n".join(stdout)), "command": scrub(list(started.argv))}
        said = scrub(telling_line(stderr, list(stdout)))
        if done.rc in (126, 127):
            raise self._missing(said, detail)
        ended = self._one_off.ended() if self._one_off else None
        said += f" (its pod: {ended})" if ended else ""
        raise ToolError(f"Kestra's `{what}` failed with exit code {done.rc}: {said}", reason="cli_failed",
                        hint=hint_for(done.rc, "\n".join([*stderr, *stdout])), detail=detail)

    def _missing(self, why, detail=None) -> ToolError:
        return ToolError(f"Kestra's command line {self.at.executable} cannot be started: {why}.", reason="cli_missing",
                         hint=hint_for(127, ""), detail=detail)

    # -- files where it runs --------------------------------------------------

    def program(self, argv, ok=(0,)) -> proc.Completed:
        """Runs a small program where the CLI runs, as the same user."""
        started = self._to_start(argv)
        return proc.run(started.argv, env=started.environment, user=started.user, timeout=self._timeout, ok=ok,
                        redactor=self._redactor)

    def read(self, argv, sink, on_bytes=None) -> None:
        """Streams what a program prints to sink (an object with write)."""
        started = self._to_start(argv)
        proc.pipeline([proc.Stage(started.argv, started.environment, user=started.user)], sink=sink, on_bytes=on_bytes,
                      timeout=self._timeout, redactor=self._redactor)

    def write(self, argv, source) -> None:
        """Streams a binary file to a program's stdin."""
        started = self._to_start(argv, feed=True)
        proc.pipeline([proc.Stage(started.argv, started.environment, user=started.user)], source=source,
                      timeout=self._timeout, redactor=self._redactor)
