# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of scripts/drill."""
from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts" / "lib"))

from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import env_file  # noqa: E402
from drill import (  # noqa: E402
    DrillError, api, command, console, control, database, disaster, environment, flow, health, inventory, labdir,
    leftovers, ledger, playbooks, processes, report, target,
)

TEMPLATE = ROOT / "roles" / "report" / "templates" / "report.html.j2"


# -- console

@pytest.mark.parametrize("seconds, text", [
    (0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (125.4, "2 min 5 s"), (3780, "1 h 3 min"),
])
def test_span(seconds, text):
    assert console.span(seconds) == text


@pytest.mark.parametrize("count, text", [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3.0 TiB"),
])
def test_size(count, text):
    assert console.size(count) == text


def test_a_step_has_the_time_since_the_start_and_progress_is_for_terminals_only():
    stream = io.StringIO()
    shown = console.Console(stream, started=time.monotonic() - 65)
    shown.working("something")
    shown.step("done")
    assert stream.getvalue() == "[ 1:05] done\n"


# -- API

@pytest.mark.parametrize("version, tenant", [
    ("0.19.3", None), ("0.22.15", None), ("0.23.0", "main"), ("1.0.0", "main"), ("2.0.0-SNAPSHOT", "main"),
    (None, "main"),
])
def test_the_tenant_is_in_the_path_since_0_23(version, tenant):
    assert api.tenant_of(version) == tenant


def test_paths_are_quoted():
    found = api.Api("http://k:1/base/")
    assert found._path("namespaces", "a.b", "files", path="/x y") == "/api/v1/namespaces/a.b/files?path=%2Fx+y"
    found.tenant = "main"
    assert found._path("executions", "a/b") == "/api/v1/main/executions/a%2Fb"
    assert found.url == "http://k:1/base"


def test_multipart_names_a_file_by_its_input():
    kind, body = api.multipart({"text": "ä"}, [("files", "payload", b"\x00\xff")])
    boundary = kind.partition("boundary=")[2]
    assert body.count(boundary.encode()) == 3 and body.endswith(b"--" + boundary.encode() + b"--\r\n")
    assert b'name="files"; filename="payload"' in body and b"\r\n\r\n\x00\xff\r\n" in body and "ä".encode() in body


def test_an_api_error_never_shows_the_credentials():
    with pytest.raises(api.ApiError) as error:
        api.Api("http://127.0.0.1:9", "u", "s3cret!", timeout=2).request("GET", "/api/v1/configs")
    assert "s3cret" not in str(error.value) and error.value.status == 0


# -- health

def test_downtime_runs_from_the_last_good_answer_to_the_first_good_one():
    samples = [(0, True), (1, True), (2, False), (3, False), (4, True), (5, True), (6, False), (7, True)]
    assert health.intervals_down(samples, 0, 10) == [(1, 4), (5, 7)]
    assert health.downtime(samples, 0, 10) == 5
    assert health.downtime(samples, 4, 5.5) == 0
    assert health.intervals_down(samples, 0, 3.5) == [(1, 3.5)]
    assert health.intervals_down([(2, False)], 0, 3) == [(0, 3)]


def test_up_since_is_the_beginning_of_the_present_time_up():
    assert health.up_since([(0, True), (1, False), (2, True), (3, True)]) == 2
    assert health.up_since([(0, True), (1, False)]) is None
    assert health.up_since([]) is None


def test_health_of_nothing_is_down():
    assert health.is_up("http://127.0.0.1:9/health", timeout=1) is False


# -- ledger

def written(kind, asked, acked, name="n"):
    return ledger.Write(kind, name, asked, acked)


def test_the_pin_divides_the_ledger():
    before = written("execution", 1, 2)
    across = written("execution", 9, 11)
    copied = written("value", 12, 13)
    after_pin = written("execution", 12, 13)
    late = written("file", 21, 22)
    found = ledger.divide([before, across, copied, after_pin, late], pinned=10, storage_finished=20)
    assert found.present == [before]
    assert found.either == [across, copied]
    assert found.absent == [after_pin, late]


class FakeApi:
    """Answers from dictionaries."""

    def __init__(self, executions=(), values=(), files=()):
        self._executions, self._values, self._files = dict(executions), dict(values), dict(files)

    def execution(self, name):
        return self._executions.get(name)

    def execution_file(self, name, uri):
        return self._files.get(uri)

    def value(self, _namespace, key):
        return self._values.get(key)

    def file(self, _namespace, path):
        return self._files.get(path)


def test_compare_finds_what_is_missing_changed_and_too_much():
    kestra = FakeApi(
        executions={"e1": {"id": "e1"}, "e2": {"id": "e2", "inputs": {"payload": "kestra:///p"}}, "e9": {"id": "e9"}},
        values={"v1": "other"}, files={"kestra:///p": b"torn"})
    expectation = ledger.Expectation(
        present=[written("execution", 0, 0, "e1"), ledger.Write("execution", "e2", 0, 0, b"whole"),
                 ledger.Write("value", "v1", 0, 0, "mine"), ledger.Write("file", "/f", 0, 0, b"x")],
        absent=[written("execution", 0, 0, "e9"), ledger.Write("value", "v9", 0, 0, "x")])
    found = ledger.compare(kestra, "ns", expectation)
    assert [one.name for one in found["present"]] == ["e1"]
    assert [one.name for one in found["changed"]] == ["e2", "v1"]
    assert [one.name for one in found["missing"]] == ["/f"]
    assert [one.name for one in found["surplus"]] == ["e9"]
    assert [one.name for one in found["absent"]] == ["v9"]


def test_a_file_lost_from_the_storage_is_a_change_of_its_execution():
    kestra = FakeApi(executions={"e": {"id": "e", "inputs": {"payload": "kestra:///gone"}}})
    assert ledger.look(kestra, "ns", ledger.Write("execution", "e", 0, 0, b"x")) == "changed"


def test_phrase():
    assert ledger.phrase([written("execution", 0, 0), written("file", 0, 0)]) == "1 execution, 0 KV values, 1 file"


# -- inventory, playbooks

def test_the_inventory_is_one_local_host_with_everything_in_the_lab(tmp_path):
    lab = labdir.LabDir(tmp_path)
    structure = inventory.build(
        python="/v/bin/python", lab=lab, config_files=["/k.yml"], environment_files=[],
        scripts={"start": "/s/start", "stop": "/s/stop", "status": "/s/status"}, extra={"kestra_dr_unit": "x"})
    inventory.write(tmp_path / "i.yml", structure)
    found = yaml.safe_load((tmp_path / "i.yml").read_text("utf-8"))
    (name, host), = found["kestra"]["hosts"].items()
    assert name == inventory.HOST and host["ansible_connection"] == "local"
    assert host["kestra_dr_manager"] == "command" and host["kestra_dr_stop_command"] == "/s/stop"
    assert host["kestra_dr_config_files"] == ["/k.yml"] and "kestra_dr_config_environment_files" not in host
    assert host["kestra_dr_unit"] == "x"
    for variable in ("vault", "repository", "repository_password_file", "state_dir", "runtime_dir"):
        assert host[f"kestra_dr_{variable}"].startswith(str(tmp_path)), variable
    assert (tmp_path / "i.yml").stat().st_mode & 0o777 == 0o600


def test_every_variable_of_the_inventory_is_a_public_one():
    """A misspelt variable would be ignored without a word."""
    public = set()
    for spec in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(spec.read_text("utf-8"))["argument_specs"].values():
            public |= set(entry.get("options") or {})
    structure = inventory.build(
        python="p", lab=labdir.LabDir("/lab"), config_files=["c"], environment_files=["e"],
        scripts={"start": "a", "stop": "b", "status": "c"})
    used = {name for name in structure["kestra"]["hosts"][inventory.HOST] if name.startswith("kestra_dr_")}
    assert used <= public


def test_ansible_gets_nothing_of_the_callers_settings(tmp_path):
    lab = labdir.LabDir(tmp_path)
    env = playbooks.environment(
        {"PATH": "/bin", "ANSIBLE_CONFIG": "/mine", "ANSIBLE_STDOUT_CALLBACK": "json", "KDR_CACHE": "/c"},
        collections="/col", lab=lab)
    assert env["ANSIBLE_CONFIG"] == str(lab.work / "ansible.cfg")
    assert "ANSIBLE_STDOUT_CALLBACK" not in env and "KDR_CACHE" not in env
    assert env[processes.MARK] == str(tmp_path) and env["PATH"] == "/bin"


def test_the_failure_is_the_message_of_the_last_failed_task():
    lines = ["TASK [x] ***", 'fatal: [drill]: FAILED! => {"changed": false, "msg": "first"}',
             'fatal: [drill -> other]: FAILED! => {"changed": false, "msg": "the reason"}', "PLAY RECAP"]
    assert playbooks.failure_text(lines) == "the reason"
    assert playbooks.failure_text(["all well"]) == ""


def test_only_a_report_that_is_new_counts(tmp_path):
    (tmp_path / "old.json").write_text('{"kind": "old"}', "utf-8")
    assert playbooks.newest_report(tmp_path, {"old.json"}) == ({}, None)
    (tmp_path / "new.json").write_text('{"kind": "new"}', "utf-8")
    assert playbooks.newest_report(tmp_path, {"old.json"})[0] == {"kind": "new"}
    assert playbooks.newest_report(tmp_path / "missing", set()) == ({}, None)


# -- the user's own Kestra

def test_only_variables_that_the_configuration_needs_are_taken():
    text = "datasources.postgres.password: ${DB_PASSWORD}\nkestra.url: ${ URL:http://${HOST_NAME} }\n"
    found = target.relevant_environment(
        {"DB_PASSWORD": "p", "HOST_NAME": "h", "AWS_SECRET": "no", "SECRET_MAIL": "s", "ENV_STAGE": "e", "PATH": "/bin",
         "KESTRA_URL": "file wins", "KESTRA_STORAGE_TYPE": "local"},
        text, ["datasources.postgres.password", "kestra.url"])
    assert found == {
        "DB_PASSWORD": "p", "HOST_NAME": "h", "SECRET_MAIL": "s", "ENV_STAGE": "e", "KESTRA_STORAGE_TYPE": "local"}


def test_variables_survive_the_environment_file():
    variables = {"A": "p@ss \"w\\%rd:'ü $HOME `x`", "KESTRA_CONFIGURATION": "kestra:\n  url: x\n", "EMPTY": ""}
    assert env_file.parse(target.environment_text(variables)) == variables


def test_the_callers_environment_comes_through_the_shell(monkeypatch):
    given = {"PATH": os.environ["PATH"], "ODD": "a=b\nc\"'ü"}
    done = subprocess.run(["bash", "-c", "env -0 | base64 -w0"], env=given, capture_output=True, check=True)
    found = environment.decode(done.stdout.decode())
    assert found["ODD"] == given["ODD"] and found["PATH"] == given["PATH"]
    monkeypatch.setenv(environment.VARIABLE, base64.b64encode(b"X=1\0Y=2\0").decode())
    assert environment.take() == {"X": "1", "Y": "2"}
    assert environment.VARIABLE not in os.environ


def test_an_aside_name_fits_an_identifier():
    assert database.aside_name("kestra", "20261123T001500Z-a1b2c3") == "kestra_drill_20261123t001500z_a1b2c3"
    for name in ("k" * 63, "ü" * 31):
        found = database.aside_name(name, "20261123T001500Z-a1b2c3")
        assert len(found.encode()) <= 63 and found.endswith("a1b2c3")


def test_storage_that_cannot_be_renamed_is_refused(tmp_path):
    (tmp_path / "storage").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "storage")
    assert disaster.why_not_movable(tmp_path / "storage") is None
    assert "link" in disaster.why_not_movable(tmp_path / "link")
    assert "mount point" in disaster.why_not_movable("/proc")
    assert "not a directory" in disaster.why_not_movable(tmp_path / "none")


def test_a_storage_made_in_the_place_of_another_is_told_apart(tmp_path):
    storage = tmp_path / "storage"
    storage.mkdir()
    before = disaster.storage_trace(storage)
    assert before & disaster.storage_trace(storage)
    (tmp_path / "other").mkdir()
    storage.rename(tmp_path / "gone")
    assert disaster.storage_trace(storage) == set()
    (tmp_path / "other").rename(storage)
    assert not before & disaster.storage_trace(storage)


# -- lab directory, processes

def test_two_drills_do_not_share_a_lab(tmp_path):
    first, second = labdir.LabDir(tmp_path), labdir.LabDir(tmp_path)
    first.lock()
    with pytest.raises(DrillError, match=f"process {os.getpid()}"):
        second.lock()


def test_what_an_aborted_drill_left_is_ended_and_removed(tmp_path):
    lab = labdir.LabDir(tmp_path)
    lab.lock()
    lab.prepare()
    (lab.work / "left").mkdir()
    (lab.reports / "r").mkdir()
    lab.write_state({"serial": "x"})
    child = subprocess.Popen(
        ["sleep", "300"], env=dict(os.environ, **{processes.MARK: str(tmp_path)}), start_new_session=True)
    other = subprocess.Popen(["sleep", "300"], env=dict(os.environ, **{processes.MARK: str(tmp_path) + "2"}))
    try:
        # A process shows its environment a moment after Popen returns.
        end = time.monotonic() + 10
        while not processes.marked(str(tmp_path)) and time.monotonic() < end:
            time.sleep(0.01)
        lines = leftovers.clean(lab, lambda: None)
        assert child.wait(5) != 0
        assert other.poll() is None
    finally:
        for one in (child, other):
            one.kill()
            one.wait()
    assert "ended 1 process" in lines[0] and len(lines) == 2
    assert not lab.work.exists() and (lab.reports / "r").exists() and lab.read_state() == {}
    assert leftovers.clean(lab, lambda: None) == []


def test_what_carries_the_mark_in_a_container_is_not_ours(tmp_path):
    begun = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False)
    if begun.returncode:
        pytest.skip("this account makes no process name space")
    marked = {**os.environ, processes.MARK: str(tmp_path)}
    inside = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo; exec sleep 300"], env=marked, stdout=subprocess.PIPE)
    beside = subprocess.Popen(["sh", "-c", "echo; exec sleep 300"], env=marked, stdout=subprocess.PIPE)
    try:
        inside.stdout.readline()
        beside.stdout.readline()
        # unshare itself is still one of ours.
        assert {one["pid"] for one in processes.marked(str(tmp_path))} == {inside.pid, beside.pid}
    finally:
        for one in (inside, beside):
            one.kill()
            one.wait()
            one.stdout.close()


def test_data_that_is_still_aside_stops_the_next_drill(tmp_path):
    lab = labdir.LabDir(tmp_path)
    lab.lock()
    lab.prepare()
    lab.write_state({"aside": disaster.plan_aside("kestra", "/srv/storage", "s1")})
    with pytest.raises(DrillError) as error:
        leftovers.clean(lab, lambda: None)
    assert "kestra_drill_s1" in error.value.message and str(lab.put_back) in error.value.hint
    assert lab.work.exists()


def test_a_reused_pid_is_not_ours():
    known = processes.identity(os.getpid())
    assert processes.alive(known)
    assert not processes.alive(dict(known, start=known["start"] - 1))
    assert not processes.alive(dict(known, boot="other"))
    assert not processes.alive({})


def test_control_without_a_server(tmp_path):
    control.write(tmp_path, argv=["/bin/true"], cwd="/", environment={}, log=tmp_path / "log", mark="m", command=["x"])
    found = control.Control(tmp_path / "kestra.json")
    assert found.status() == 3 and found.stop() == 0
    assert (tmp_path / "kestra.json").stat().st_mode & 0o777 == 0o600


# -- report

def drilled(**more):
    point = flow.Point("pinned", "20261123T001500Z-a1b2c3", "uuid", 0.0, 0.0, 3.25, 3.0,
                       {"components": {"database": {"counts": {"public.flows": 3}}}})
    result = flow.Result(
        points=[point], chosen=point, lost="database kestra <b>", back=[written("execution", 0, 0)],
        checks=[report.check("one", True, "1", "1")], verdict="verified (counts)", rto=41.5, rpo=12.0, restored=True)
    for name, value in more.items():
        setattr(result, name, value)
    return result


def test_verified_needs_restore_checks_and_counts():
    assert drilled().verified
    assert not drilled(restored=False).verified
    assert not drilled(verdict="unverified (structure passed)").verified
    assert not drilled(checks=[report.check("one", False, "1", "2")]).verified
    assert drilled(checks=[report.check("one", None, "1", "")]).verified


def test_the_page_is_the_report_roles_and_escapes(tmp_path):
    cmd = command.Command.__new__(command.Command)
    cmd.began, cmd.serial = time.monotonic() - 60, "s1"
    cmd.timeline = report.Timeline(cmd.began, time.time() - 60)
    cmd.timeline.add("backup, pinned", cmd.began + 1, cmd.began + 5)
    cmd.options = SimpleNamespace(kestra=None, size="small")
    cmd.kestra = SimpleNamespace(target=SimpleNamespace(title="stand-in"))
    cmd.drill = SimpleNamespace(api=SimpleNamespace(version="0.21.0"))
    content = cmd._content(drilled(), None)
    data, page = report.write(tmp_path, "drill", content, TEMPLATE.read_text("utf-8"))
    assert json.loads(data.read_text("utf-8"))["outcome"] == "ok"
    html = page.read_text("utf-8")
    for text in ("41.5 s", "RTO achieved", "downtime, pinned", "3.2 s", "verified (counts)", "backup, pinned",
                 "not Kestra itself"):
        assert text in html, text
    assert "kestra &lt;b&gt;" in html and "<b>" not in html.partition("Particulars")[2]
    assert page.stat().st_mode & 0o777 == 0o600


def test_the_summary_names_what_differs():
    lines = command.summary(drilled(checks=[report.check("flows", False, "3", "2")]), None, [])
    assert "RESTORED, BUT DIFFERS" in lines
    assert any("flows: expected 3, found 2" in line for line in lines)
    assert command.summary(drilled(), None, ["/r.html"])[1] == "VERIFIED"
    assert "RESTORED, BUT NOT VERIFIED" in command.summary(drilled(), DrillError("verify did not run"), [])
