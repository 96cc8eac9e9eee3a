# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Kestra's command line is reached, what is started for it, and what its end means."""
from __future__ import annotations

import os
import pwd
import subprocess
import tempfile

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError, RefusedError, ToolError)
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import cli, sources

SECRET = "value 'with\" $HOME\nand a second line"


def options(**given):
    """The option `cli` as a module gets it."""
    found = ArgumentSpecValidator(cli.argument_spec()).validate({"cli": given})
    assert not found.error_messages
    return found.validated_parameters["cli"]


def place(gathered=None, root=False, **given):
    return cli.place(options(**given), gathered, root)


def refused(error, reason, call, *arguments, **named):
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    assert caught.value.reason == reason
    return caught.value


@pytest.fixture
def unit(tmp_path):
    """Gathers a unit with this start command and more lines."""
    def gather(start, *lines, **more):
        path = tmp_path / "kestra.service"
        path.write_text("\n".join(["[Service]", f"ExecStart={start}", *lines, ""]), encoding="utf-8")
        return sources.gather(unit=str(path), **more)
    return gather


# -- the place --------------------------------------------------------------------------------------------------------

def test_a_unit_gives_executable_files_environment_directory_and_user(unit, tmp_path):
    (tmp_path / "a.yml").write_text("kestra: {}\n", encoding="utf-8")
    (tmp_path / "own.yml").write_text("kestra: {}\n", encoding="utf-8")
    gathered = unit(f"/bin/sh /opt/kestra-1.3.26 server standalone --config {tmp_path}/own.yml -p /opt/plugins",
                    f"Environment=MICRONAUT_CONFIG_FILES={tmp_path}/a.yml JAVA_OPTS=-Xmx2g SECRET_X=eA==",
                    "User=daemon", "WorkingDirectory=/srv")
    at = place(gathered, root=True)
    assert (at.executable, at.config_file, at.plugins) == ("/opt/kestra-1.3.26", f"{tmp_path}/own.yml", "/opt/plugins")
    assert (at.user, at.cwd, at.own) == ("daemon", "/srv", True)
    assert at.environment["MICRONAUT_CONFIG_FILES"] == f"{tmp_path}/a.yml"
    assert at.environment["SECRET_X"] == "eA==" and at.environment["JAVA_OPTS"] == "-Xmx2g"
    assert at.environment["HOME"] not in ("", "/root")
    assert place(gathered, root=False).user is None
    other = place(gathered, root=True, user="root", executable="/opt/other", java_options="-Xmx512m",
                  config_file="/etc/mine.yml", environment={"SECRET_X": 1})
    assert (other.user, other.own, other.config_file) == ("root", False, "/etc/mine.yml")
    assert other.environment["JAVA_OPTS"] == "-Xmx512m" and other.environment["SECRET_X"] == "1"


def test_explicit_files_come_after_the_discovered_ones(unit, tmp_path):
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text("kestra: {}\n", encoding="utf-8")
    gathered = unit("/opt/kestra server standalone", f"Environment=MICRONAUT_CONFIG_FILES={tmp_path}/a.yml",
                    files=[f"{tmp_path}/b.yml"])
    assert cli.handed_on(gathered)["MICRONAUT_CONFIG_FILES"] == f"{tmp_path}/a.yml,{tmp_path}/b.yml"


def test_files_kestras_launcher_would_not_read_beside_a_text_are_refused(tmp_path):
    (tmp_path / "b.yml").write_text("kestra: {}\n", encoding="utf-8")
    alone = sources.gather(text="kestra: {}")
    assert cli.handed_on(alone)["KESTRA_CONFIGURATION"] == "kestra: {}"
    assert "MICRONAUT_CONFIG_FILES" not in cli.handed_on(alone)
    error = refused(ConfigError, "cli_options", cli.handed_on,
                    sources.gather(text="kestra: {}", files=[str(tmp_path / "b.yml")]))
    assert "b.yml" in error.message and "cli.config_file" in error.hint


@pytest.mark.parametrize("start", ["/usr/bin/java -jar /opt/kestra.jar server standalone", "/opt/start-kestra.sh"])
def test_a_start_command_that_is_not_the_executable_is_never_run(unit, start):
    gathered = unit(start)
    refused(ConfigError, "cli_options", place, gathered)
    assert not place(gathered, executable="/opt/start-kestra.sh").own


@pytest.mark.parametrize("given", [
    {"method": "container"}, {"method": "container", "container": "k", "image": "i"},
    {"method": "container", "container": "k", "run_options": ["--network=x"]},
    {"method": "kubernetes"}, {"method": "kubernetes", "pod": "p", "user": "kestra"},
    {"method": "kubernetes", "pod": "p", "workload": "deployment/k"}, {"method": "kubernetes", "workload": "k"},
    {"method": "kubernetes", "workload": "pod/k"}, {"method": "kubernetes", "workload": "deployment/-k"},
    {"method": "kubernetes", "pod": "p", "pod_labels": {"a": "b"}},
    {"container": "k"}, {"pod": "p"}, {"workload": "deployment/k"}, {"run_options": ["--network=x"]}])
def test_options_that_do_not_fit_are_refused(given):
    refused(ConfigError, "cli_options", place, **given)


def test_a_workload_is_the_servers_own_program():
    at = place(method="kubernetes", workload="statefulset/kestra.main", pod_labels={"tier": 1})
    assert at.own and at.shown()["in"] == "statefulset/kestra.main" and at.pod_labels == {"tier": "1"}


# -- calls ------------------------------------------------------------------------------------------------------------

def test_a_configuration_file_and_plugins_follow_the_words():
    at = cli.Place(executable="/k", config_file="/c.yml", plugins="/p")
    assert cli.command(at, ["backups", "create", "FULL"])[3:] == [
        "/k", "backups", "create", "FULL", "--config", "/c.yml", "--plugins", "/p"]


@pytest.mark.parametrize("given, argv", [
    ({"method": "container", "container": "k1", "engine": "podman", "user": "kestra"},
     ["podman", "exec", "--user", "kestra", "--env", "KEY", "k1", "x", "y"]),
    ({"method": "container", "image": "kestra-ee:1", "run_options": ["--network=n"]},
     ["docker", "run", "--rm", "--env", "KEY", "--network=n", "--entrypoint", "x", "kestra-ee:1", "y"]),
    ({"method": "kubernetes", "namespace": "ns", "pod": "deployment/k", "pod_container": "kestra",
      "kubeconfig": "/kc", "kube_context": "c"},
     ["kubectl", "--kubeconfig", "/kc", "--context", "c", "--namespace", "ns", "exec", "--stdin", "deployment/k",
      "--container", "kestra", "--", "sh", "-s", "--", "x", "y"]),
])
def test_values_of_variables_never_become_arguments(given, argv):
    made = cli.call(place(**given), ["x", "y"], {"KEY": SECRET})
    assert made.argv == argv
    assert SECRET not in " ".join(made.argv) and SECRET not in repr(made)


def test_a_variable_taken_away_in_a_container_and_on_a_host():
    made = cli.call(place(method="container", container="k"), ["x"], without=("A", "B"))
    assert made.argv == ["docker", "exec", "k", "env", "-u", "A", "-u", "B", "x"]
    made = cli.call(place(method="container", image="i"), ["x", "y"], without=("A",))
    assert made.argv == ["docker", "run", "--rm", "--entrypoint", "env", "i", "-u", "A", "x", "y"]
    assert cli.call(place(), ["x"], {"A": "1"}, without=("A",)).environment == {"A": None}


def test_data_goes_to_stdin_and_never_meets_the_variables():
    at = place(method="kubernetes", pod="p")
    assert cli.call(at, ["tee", "/f"], feed=True).argv == ["kubectl", "exec", "--stdin", "p", "--", "tee", "/f"]
    assert cli.call(place(method="container", container="k"), ["tee", "/f"], feed=True).argv == [
        "docker", "exec", "--interactive", "k", "tee", "/f"]
    with pytest.raises(ValueError):
        cli.call(at, ["tee"], {"A": "1"}, feed=True)


def test_the_script_for_kubernetes_hands_on_variables_and_arguments_unchanged():
    made = cli.call(place(method="kubernetes", pod="p"),
                    ["/bin/sh", "-c", 'printf "%s|%s|%s" "$KEY" "${GONE-unset}" "$1"', "name", "a 'b'"],
                    {"KEY": SECRET}, without=("GONE",))
    inner = made.argv[made.argv.index("--") + 1:]
    done = subprocess.run(inner, input=made.script, capture_output=True, text=True, check=True,
                          env={**os.environ, "GONE": "x"})
    assert done.stdout == f"{SECRET}|unset|a 'b'"


# -- answers ----------------------------------------------------------------------------------------------------------

def test_versions():
    assert cli.version_of("12:00:00 INFO x\n1.3.26\nmore") == "1.3.26"
    assert cli.version_of("Usage: x 1.2.3") is None
    own, other = cli.Place(own=True), cli.Place()
    cli.require_version(other, "1.3.15", "v1.3.15-ee")
    cli.require_version(own, "1.3.15", None)
    refused(RefusedError, "version_differs", cli.require_version, own, "1.3.16", "1.3.15")
    refused(RefusedError, "version_differs", cli.require_version, other, "1.3.15", "1.3.15-SNAPSHOT")
    refused(RefusedError, "version_unproven", cli.require_version, other, "1.3.15", None)


HELP = """2026-11-26 03:00:00 INFO Flyway
Usage: kestra backups create [-hVv] [--include-data] [--internal-log]
                             [--no-encryption] [-c=<config>]
      --tenant=<tenant>   Tenant, for TENANT only
"""


def test_flags_come_from_the_help_of_exactly_this_command():
    flags = cli.flags_of(("backups", "create"), HELP)
    assert flags == {"--include-data", "--internal-log", "--no-encryption", "--tenant"}
    cli.require_flags(["backups", "create", "--tenant=a", "TENANT"], flags, "0.22.0")
    error = refused(RefusedError, "flag_unsupported", cli.require_flags, ["backups", "create", "--resources=FLOW"],
                    flags, "0.22.0")
    assert "--resources" in error.message and "FLOW" not in error.message
    top = "Usage: kestra [-hV] [COMMAND]\n\nCommands:\n  plugins\n  server    Starts one,\n            of several\n"
    assert cli.flags_of(("backups", "create"), top) is None
    assert cli.commands_of(top) == ("plugins", "server") and cli.commands_of(HELP) == ()


def test_the_line_that_tells_why():
    java = ["Picked up JAVA_TOOL_OPTIONS: -Xmx1g", "java.lang.IllegalStateException: no key", "\tat io.kestra.App",
            "\t... 3 more"]
    assert cli.telling_line(java, ["something"]) == "java.lang.IllegalStateException: no key"
    assert cli.telling_line(["command terminated with exit code 1"], ["a", "it broke", ""]) == "it broke"
    assert cli.telling_line([], []) == "it said nothing"


# -- running it -------------------------------------------------------------------------------------------------------

@pytest.fixture
def program(tmp_path):
    """A program like Kestra's executable: a script without a #! line."""
    def make(text):
        path = tmp_path / "kestra"
        path.write_text("\n: <<END\nnot for this shell\nEND\n" + text, encoding="utf-8")
        path.chmod(0o755)
        return str(path)
    return make


def test_an_executable_without_an_interpreter_line_is_started(program):
    path = program('echo "1.3.26"\n')
    with pytest.raises(OSError):
        subprocess.run([path], check=False)
    assert cli.Cli(place(executable=path)).version() == "1.3.26"


def test_the_version_is_asked_without_any_configuration(program):
    path = program('[ -z "$KESTRA_CONFIGURATION$MICRONAUT_CONFIG_FILES$JAVA_OPTS$DATASOURCES_POSTGRES_URL" ] || exit 3\n'
                   '[ "$FLYWAY_DATASOURCES_POSTGRES_ENABLED$KESTRA_MIGRATION_AUTO" = falsefalse ] || exit 4\n'
                   'echo "$*" | grep -q config && exit 5\necho 1.3.26\n')
    at = place(executable=path, config_file="/c.yml", java_options="-Dmicronaut.config.files=/x", environment={
        "KESTRA_CONFIGURATION": "x", "MICRONAUT_CONFIG_FILES": "x", "DATASOURCES_POSTGRES_URL": "x"})
    assert cli.Cli(at).version() == "1.3.26"


def test_a_failure_tells_why_with_the_end_of_both_outputs_and_no_secret(program):
    path = program('echo "log line"\necho "bad key $KEY" >&2\nexit 1\n')
    line = cli.Cli(place(executable=path), Redactor("s3cr3t!"))
    error = refused(ToolError, "cli_failed", line.run, ["backups", "create"], what="backups create",
                    environment={"KEY": "s3cr3t!"})
    assert "exit code 1: bad key ********" in error.message
    assert error.detail["output_tail"] == "log line" and "s3cr3t!" not in str(error.to_result())


def test_a_missing_program_and_one_that_never_ends(program):
    refused(ToolError, "cli_missing", cli.Cli(place(executable="/nowhere/kestra")).version)
    refused(ToolError, "cli_missing", cli.Cli(place(executable="no-such-kestra")).version)
    line = cli.Cli(place(executable=program("echo started\nexec sleep 60\n")), timeout=1.0)
    error = refused(ToolError, "cli_timeout", line.run, ["x"], what="x")
    assert error.detail["output_tail"] == "started"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_it_runs_as_the_units_user_and_so_do_the_programs_that_touch_the_storage():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        program = os.path.join(directory, "kestra")
        with open(program, "w", encoding="utf-8") as handle:
            handle.write('\n[ "$1" = --version ] && echo 1.3.26 || echo "$(id -un) $HOME $(pwd) $(umask)"\n')
        os.chmod(program, 0o755)
        unit = os.path.join(directory, "kestra.service")
        with open(unit, "w", encoding="utf-8") as handle:
            handle.write(f"[Service]\nExecStart={program} server standalone\nUser=nobody\nWorkingDirectory={directory}\n")
        line = cli.Cli(place(sources.gather(unit=unit), root=True))
        said: list = []
        line.run([], what="x", on_line=said.append)
        assert said[0].split()[:3] == ["nobody", pwd.getpwnam("nobody").pw_dir, directory]
        with open(program, "rb") as source:
            line.write(["tee", os.path.join(directory, "put")], source)
        assert os.stat(os.path.join(directory, "put")).st_uid == pwd.getpwnam("nobody").pw_uid
        assert line.version() == "1.3.26"


def test_lines_to_keep_come_from_both_outputs(program):
    path = program("echo Backup one\necho other\necho Backup two >&2\n")
    done = cli.Cli(place(executable=path)).run([], what="x", keep=cli.re.compile("Backup"))
    assert done.kept == ["Backup one", "Backup two"]
