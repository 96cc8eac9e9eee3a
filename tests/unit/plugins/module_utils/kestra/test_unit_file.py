# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit files and start commands mean here what they mean to systemd."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import unit_file

KNOWN = unit_file.specifiers("kestra@blue.service", "h1.example.org", "kestra", "/home/kestra")


def parse(*texts):
    return unit_file.parse("kestra@blue.service", [(f"/u{number}", text) for number, text in enumerate(texts)], KNOWN)


@pytest.mark.parametrize("text, expected", [
    ("", []), ("a b", ["a", "b"]), ("  a\tb  ", ["a", "b"]), ("'a b' \"c d\"", ["a b", "c d"]),
    ("A='x y'z", ["A=x yz"]),
    ("''", [""]), (r"a\x20b\n\t\\\"\s", ["a b\n\t\\\" "]), (r"\101\u00e4", ["A\u00e4"]), ('"it\'s"', ["it's"]),
    ("a;b #c", ["a;b", "#c"]),
])
def test_words(text, expected):
    assert unit_file.words(text) == expected


@pytest.mark.parametrize("text", ["'a", 'a "b', r"a\d", r"a\xZZ"])
def test_what_systemd_refuses(text):
    with pytest.raises(unit_file.BadQuoting):
        unit_file.words(text)


def test_environment_lines_add_up_override_and_reset():
    unit = parse("[Service]\nEnvironment=A=1 \"B=two words\" 'C=it\"s'\nEnvironment=A=2\n",
                 "[Service]\nEnvironment=D=3\nEnvironment=\nEnvironment=E=p%%40ss F=%i-%n-%H-%h\nUnsetEnvironment=E\n")
    assert unit.environment == {"F": "blue-kestra@blue.service-h1.example.org-/home/kestra"}
    kept = parse("[Service]\nEnvironment=A=1 \"B=two words\" 'C=it\"s' D=a=b=c E=p%%40ss NOTHING\n")
    assert kept.environment == {"A": "1", "B": "two words", "C": 'it"s', "D": "a=b=c", "E": "p%40ss"}


def test_an_unknown_specifier_leaves_the_line_out_with_a_warning():
    unit = parse("[Service]\nEnvironment=A=p%40ss\nEnvironment=B='x\nUser=kestra\n")
    assert unit.environment == {} and unit.user == "kestra"
    assert "%%" in unit.warnings[0] and "unclosed" in unit.warnings[1]
    assert "p%40ss" not in "".join(unit.warnings)


def test_continued_lines_comments_and_other_sections():
    unit = parse("[Unit]\nEnvironment=X=1\n[Service]\n# Environment=Y=1\n"
                 "ExecStart=/opt/kestra server \\\n  # in between\n  standalone \\\n  --config /c.yml\n"
                 "; EnvironmentFile=/no\nEnvironmentFile=-/etc/%p.env\nEnvironmentFile=/b\n"
                 "WorkingDirectory=-/srv/kestra\nGroup=g\nRestart=always\n[Install]\nUser=x\n")
    assert unit.environment == {}
    assert unit.exec_start == ["/opt/kestra", "server", "standalone", "--config", "/c.yml"]
    assert unit.environment_files == [("/etc/kestra.env", True), ("/b", False)]
    assert (unit.working_directory, unit.user, unit.group) == ("/srv/kestra", None, "g")


def test_a_drop_in_replaces_the_start_command():
    unit = parse("[Service]\nExecStart=/old server local\nEnvironmentFile=/a\n",
                 "[Service]\nExecStart=\nExecStart=-@/new argv0 server standalone\nEnvironmentFile=\n")
    assert unit.exec_start == ["/new", "server", "standalone"] and unit.environment_files == []


def test_variables_in_a_start_command():
    environment = {"OPTS": "--port 9  --x", "DIR": "/etc/my kestra"}
    argv = ["/k", "server", "$OPTS", "--config=${DIR}/a.yml", "$$HOME", "${NONE}"]
    assert unit_file.substitute(argv, environment) == ["/k", "server", "--port", "9", "--x",
                                                       "--config=/etc/my kestra/a.yml", "$HOME", ""]


@pytest.mark.parametrize("argv, executable, words, config", [
    (["/opt/kestra", "server", "standalone"], "/opt/kestra", ["server", "standalone"], None),
    (["/bin/sh", "/opt/kestra-0.21", "server", "standalone", "-c", "/c.yml"], "/opt/kestra-0.21",
     ["server", "standalone", "-c", "/c.yml"], "/c.yml"),
    (["/k", "server", "webserver", "--config", "/c.yml"], "/k",
     ["server", "webserver", "--config", "/c.yml"], "/c.yml"),
    (["/k", "server", "worker", "--config=/c d.yml"], "/k", ["server", "worker", "--config=/c d.yml"], "/c d.yml"),
    (["/k", "server", "worker", "-c/c.yml"], "/k", ["server", "worker", "-c/c.yml"], "/c.yml"),
    (["/bin/bash", "-lc", "cd /srv && exec ./kestra server standalone --config 'my c.yml'"], "./kestra",
     ["server", "standalone", "--config", "my c.yml"], "my c.yml"),
    (["/usr/bin/env", "A=1", "/k", "server", "local"], "/k", ["server", "local"], None),
    (["/usr/bin/java", "-Dx.y=z", "-jar", "/k.jar", "server", "standalone"], "/k.jar", ["server", "standalone"], None),
])
def test_start_commands(argv, executable, words, config):
    command = unit_file.server_command(argv)
    assert (command.executable, command.words, command.config) == (executable, words, config)
    assert not command.warnings


def test_what_surrounds_a_start_command():
    command = unit_file.server_command(["/usr/bin/env", "A=1", "B=x=y", "java", "-Dmicronaut.server.port=9",
                                        "-jar", "k", "server", "worker", "--plugins", "/p"])
    assert command.environment == {"A": "1", "B": "x=y"} and command.java and command.plugins == "/p"
    assert command.system_properties == {"micronaut.server.port": "9"}


def test_a_wrapper_script_is_said_to_hide_things():
    command = unit_file.server_command(["/usr/local/bin/start-kestra.sh"])
    assert command.executable == "/usr/local/bin/start-kestra.sh" and command.words == []
    assert "start-kestra.sh" in command.warnings[0] and "config.files" in command.warnings[0]
    assert unit_file.server_command([]).executable is None


def test_java_properties():
    assert unit_file.java_properties("-Xmx1g -Da.b=c=d -Dflag") == {"a.b": "c=d", "flag": ""}
