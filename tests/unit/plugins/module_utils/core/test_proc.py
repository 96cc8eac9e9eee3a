# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs: output, limits, blame in a chain, no orphans, no secrets in errors."""
from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import proc
from ansible_collections.kestra_community.dr.plugins.module_utils.core.clock import (
    boot_id,
    descendants,
    process_alive,
    process_start,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ToolError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import HashingWriter
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor


def sh(script):
    return ["sh", "-c", script]


def nobody_left():
    """Descendants that still run, after giving the dead a moment to be reaped."""
    deadline = time.monotonic() + 5
    while descendants(os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return descendants(os.getpid())


def test_output_error_output_and_exit_code():
    done = proc.run(sh("echo out; echo err >&2; exit 3"), ok=(0, 3))
    assert (done.rc, done.stdout, done.stderr_tail) == (3, "out\n", "err")


def test_a_failure_names_program_code_last_words_and_command():
    with pytest.raises(ToolError) as caught:
        proc.run(sh("echo first >&2; echo 'the reason' >&2; exit 4"))
    assert "sh failed with exit code 4: the reason" in caught.value.message
    assert caught.value.detail["rc"] == 4
    assert caught.value.detail["stderr_tail"] == "first\nthe reason"
    assert caught.value.detail["command"][0] == "sh"


def test_a_signal_is_named():
    with pytest.raises(ToolError) as caught:
        proc.run(sh("kill -9 $$"))
    assert "SIGKILL" in caught.value.message and caught.value.detail["rc"] == -9


def test_secrets_in_error_output_are_masked_everywhere():
    with pytest.raises(ToolError) as caught:
        proc.run(sh("echo login with hunter22 failed >&2; exit 1"), redactor=Redactor("hunter22"))
    assert "hunter22" not in str(caught.value.to_result())


def test_a_missing_program_has_its_own_reason():
    with pytest.raises(ToolError) as caught:
        proc.run(["kestra-dr-no-such-program"])
    assert caught.value.reason == "tool_missing"


def test_a_missing_directory_is_not_a_missing_program(tmp_path):
    with pytest.raises(ToolError) as caught:
        proc.run(["true"], cwd=str(tmp_path / "none"))
    assert caught.value.reason == "not_found"


def test_a_file_that_may_not_run(tmp_path):
    (tmp_path / "program").write_text("x")
    with pytest.raises(ToolError) as caught:
        proc.run([tmp_path / "program"])
    assert caught.value.reason == "tool_not_executable"


def test_stdin_is_empty_or_what_was_given():
    assert proc.run(["cat"]).stdout == ""
    text = "zäh\n" * 100000
    assert proc.run(["cat"], input=text).stdout == text
    assert proc.run(["true"], input=text).rc == 0  # a program that does not read is no error


def test_the_environment_is_merged_in_the_c_locale(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("GONE", "x")
    assert (
        proc.run(sh('echo "$LC_ALL/$MORE/$GONE/${PATH:+path}"'), env={"MORE": 1, "GONE": None}).stdout == "C/1//path\n"
    )


def test_too_much_output_is_a_failure_not_half_an_answer():
    with pytest.raises(ToolError) as caught:
        proc.run(["yes"], max_stdout=100000)
    assert caught.value.reason == "output_too_large"
    assert nobody_left() == []


def test_error_output_is_bounded_to_its_end():
    done = proc.run(sh("yes word | head -c 1000000 >&2; echo last >&2"))
    assert len(done.stderr_tail) <= proc.STDERR_TAIL and done.stderr_tail.endswith("last")


def test_a_time_limit_ends_the_whole_tree_and_only_that():
    started = time.monotonic()
    with pytest.raises(ToolError) as caught:
        proc.run(sh("trap '' TERM; sleep 60 & wait; sleep 60"), timeout=0.5)
    assert caught.value.reason == "tool_timeout" and "0.5 s" in caught.value.message
    assert time.monotonic() - started < 15
    assert nobody_left() == []


def test_a_daemon_that_keeps_the_pipe_open_is_not_waited_for():
    started = time.monotonic()
    done = proc.run(sh("sleep 20 & echo $!"))
    assert time.monotonic() - started < 10
    os.kill(int(done.stdout), signal.SIGKILL)


def test_lines_arrive_whole_one_by_one_while_the_program_runs():
    seen = []
    proc.lines(sh("printf 'a\\nb'; sleep 0.3; printf 'c\\n\\nd'"), lambda line: seen.append((line, time.monotonic())))
    assert [line for line, _at in seen] == ["a", "bc", "", "d"]
    assert seen[1][1] - seen[0][1] > 0.2


def test_lines_that_go_silent_are_ended():
    with pytest.raises(ToolError) as caught:
        proc.lines(sh("echo a; sleep 60"), lambda line: None, idle_timeout=0.5)
    assert caught.value.reason == "tool_timeout" and "no sign of life" in caught.value.message
    assert nobody_left() == []


def test_error_output_is_a_sign_of_life():
    proc.lines(sh("for i in 1 2 3 4; do sleep 0.3; echo . >&2; done"), lambda line: None, idle_timeout=0.9)


def test_an_error_of_the_reader_ends_the_program():
    def fail(line):
        raise ValueError(line)
    with pytest.raises(ValueError):
        proc.lines(["yes"], fail)
    assert nobody_left() == []


def test_a_chain_moves_every_byte():
    data = random.Random(1).randbytes(3_000_001)
    sink, seen = HashingWriter(), []
    results = proc.pipeline([proc.Stage(["cat"]), proc.Stage(["cat"], name="second")], sink=sink, on_bytes=seen.append,
                            source=iter([data[:7], data[7:2_000_000], data[2_000_000:]]))
    assert sink.sha256 == hashlib.sha256(data).hexdigest()
    assert sum(seen) == len(data)
    assert [(item.name, item.rc) for item in results] == [("cat", 0), ("second", 0)]


def test_a_chain_reads_a_file_and_needs_no_sink(tmp_path):
    (tmp_path / "in").write_bytes(b"abc")
    with open(tmp_path / "in", "rb") as source:
        proc.pipeline([proc.Stage(sh(f"cat > {tmp_path}/out"))], source=source)
    assert (tmp_path / "out").read_bytes() == b"abc"


@pytest.mark.parametrize("scripts, blamed", [
    (["exit 3", "cat", "cat"], "exit 3"),
    (["echo x", "exit 4", "cat"], "exit 4"),
    (["echo x", "cat", "cat >/dev/null; exit 5"], "exit 5"),
    (["exit 3", "cat; exit 4", "cat"], "exit 3"),
])
def test_every_exit_code_counts_and_the_first_is_blamed(scripts, blamed):
    with pytest.raises(ToolError) as caught:
        proc.pipeline([proc.Stage(sh(script)) for script in scripts], sink=io.BytesIO())
    assert blamed in caught.value.detail["command"][2]
    assert len(caught.value.detail["stages"]) == 3


def test_a_writer_whose_reader_died_is_not_to_blame():
    with pytest.raises(ToolError) as caught:
        proc.pipeline([proc.Stage(["yes"]), proc.Stage(sh("echo full >&2; exit 6"))], sink=io.BytesIO())
    assert caught.value.detail["rc"] == 6 and "full" in caught.value.message


def test_a_reader_that_stops_early_makes_the_writer_fail():
    """head ends with 0, yes by SIGPIPE: data was lost on the way, so the chain did not succeed."""
    with pytest.raises(ToolError) as caught:
        proc.pipeline([proc.Stage(["yes"]), proc.Stage(["head", "-1"])], sink=io.BytesIO())
    assert caught.value.detail["rc"] == -signal.SIGPIPE


def test_blame_for_random_codes():
    """The blamed stage failed, and every failed stage before it only saw its reader go."""
    chance = random.Random(5)
    pipes = (-signal.SIGPIPE, 128 + signal.SIGPIPE)
    for _round in range(500):
        codes = [chance.choice([0, 0, 1, 2, -9, *pipes]) for _n in range(chance.randint(1, 5))]
        index = proc.culprit(codes, [(0,)] * len(codes))
        if index is None:
            assert set(codes) == {0}
            continue
        assert codes[index] != 0
        assert all(code == 0 or code in pipes for code in codes[:index])
        if codes[index] in pipes:
            assert all(code == 0 or code in pipes for code in codes)


def test_a_full_sink_ends_the_chain_with_its_own_error():
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")
    with pytest.raises(OSError) as caught:
        proc.pipeline([proc.Stage(["yes"]), proc.Stage(["cat"])], sink=Full())
    assert caught.value.errno == 28
    assert nobody_left() == []


def test_a_failing_source_is_not_a_short_success():
    def source():
        yield b"abc"
        raise OSError(5, "Input/output error")
    with pytest.raises(OSError) as caught:
        proc.pipeline([proc.Stage(["cat"])], source=source(), sink=io.BytesIO())
    assert caught.value.errno == 5


def test_a_silent_chain_is_ended():
    with pytest.raises(ToolError) as caught:
        proc.pipeline([proc.Stage(["sleep", "60"]), proc.Stage(["cat"])], sink=io.BytesIO(), idle_timeout=0.5)
    assert caught.value.reason == "tool_timeout"
    assert nobody_left() == []


def test_a_missing_second_program_leaves_no_first():
    with pytest.raises(ToolError) as caught:
        proc.pipeline([proc.Stage(["yes"]), proc.Stage(["kestra-dr-no-such-program"])], sink=io.BytesIO())
    assert caught.value.reason == "tool_missing"
    assert nobody_left() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_a_stage_may_run_as_another_user():
    sink = io.BytesIO()
    proc.pipeline([proc.Stage(["id", "-un"], user="nobody")], sink=sink)
    assert sink.getvalue() == b"nobody\n"
    assert proc.run(["id", "-un"], user="nobody").stdout == "nobody\n"
    with pytest.raises(ToolError) as caught:
        proc.run(["true"], user="kestra-dr-no-such-user")
    assert caught.value.reason == "user_missing"


ORPHANS = """
import os, sys
sys.path[:0] = {path!r}
from ansible_collections.kestra_community.dr.plugins.module_utils.core import proc
proc.run(["sleep", "60"], user={user!r})
"""


@pytest.mark.parametrize("user", [None, pytest.param("nobody", marks=pytest.mark.skipif(
    os.geteuid() != 0, reason="changing the user needs root"))])
def test_no_child_outlives_a_killed_parent(user):
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS.format(path=sys.path, user=user)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        below = descendants(parent.pid)
        if below and os.readlink(f"/proc/{below[0]}/exe").endswith("sleep"):
            break
        time.sleep(0.05)
    child = descendants(parent.pid)[0]
    started = process_start(child)
    assert process_alive(child, started, boot_id())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while process_alive(child, started, boot_id()):
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.05)
