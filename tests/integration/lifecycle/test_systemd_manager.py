# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra_service with the manager "systemd", on a host that really boots systemd: a container of the molecule image."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import ansible
import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import env_file
from lifecycle_harness import PACKAGE, ROOT, SERVER, ModuleFailed, parse, until

PYTHON = "/usr/bin/python3"
STATE = "/var/lib/kestra-dr/kestra"
DEAD_MAN = "kestra-dr-dead-man-kestra.service"
full = pytest.mark.full("a dead-man that is killed, and that of the command manager under systemd (here one over a reboot)")
UNIT = """[Service]
ExecStart=/usr/bin/python3 /opt/kestra/server.py /run/kestra.pid 8081 {start} {stop}
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec={limit}
SuccessExitStatus=143
[Install]
WantedBy=multi-user.target
"""


def podman(*args, check=True, text=None):
    return subprocess.run(["podman", *args], check=check, capture_output=True, text=True, input=text, timeout=120)


def image() -> str:
    """An image that boots systemd: named by the environment, or the one that scripts/test builds. Skips without."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    if os.geteuid() != 0:
        pytest.skip("containers with systemd need root")
    if os.environ.get("KESTRA_DR_SYSTEMD_IMAGE"):
        return os.environ["KESTRA_DR_SYSTEMD_IMAGE"]
    found = podman("images", "--format", "{{.Repository}}:{{.Tag}}", check=False).stdout.split()
    hosts = sorted(name for name in found if name.startswith("localhost/kestra-dr-host:"))
    if not hosts:
        pytest.skip("there is no image that boots systemd (scripts/test molecule builds one; KESTRA_DR_SYSTEMD_IMAGE names one)")
    return hosts[-1]


class Host:
    """One container."""

    def __init__(self, name):
        self.name = name

    def sh(self, script, check=True) -> str:
        done = podman("exec", self.name, "sh", "-c", script, check=False)
        assert done.returncode == 0 or not check, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ok(self, script) -> bool:
        return podman("exec", self.name, "sh", "-c", script, check=False).returncode == 0

    def put(self, path, text):
        podman("exec", "-i", self.name, "sh", "-c", f"mkdir -p $(dirname {path}); cat >{path}", text=text)

    def booted(self):
        until(lambda: self.sh("systemctl is-system-running", check=False) in ("running", "degraded"), 60, "the boot")

    def reboot(self):
        podman("restart", "-t", "20", self.name)
        self.booted()

    def kestra(self, start=0.3, stop=0.3, limit=360, enabled=True, running=True, server=SERVER):
        self.put("/opt/kestra/server.py", server)
        self.put("/etc/systemd/system/kestra.service", UNIT.format(start=start, stop=stop, limit=limit))
        self.sh("systemctl daemon-reload; systemctl reset-failed; systemctl %s kestra" % ("enable" if enabled else "disable"))
        self.sh("systemctl %s kestra" % ("restart" if running else "stop"))

    def active(self) -> bool:
        return self.ok("systemctl is-active --quiet kestra")

    def record(self) -> dict:
        return json.loads(self.sh(f"cat {STATE}/lifecycle.json"))

    def call(self, state, **more) -> dict:
        args = {"instance": "kestra", "state": state, "run_id": "r1", "flow": "backup", "owner": "me@here", "timeout": 30,
                "management_url": "http://127.0.0.1:8081"}
        args.update(more)
        done = podman("exec", "-i", "-e", "PYTHONPATH=/collections:/ansible", "-e", "PYTHONDONTWRITEBYTECODE=1", self.name, PYTHON,
                      "-m", f"{PACKAGE}.kestra_service", check=False, text=json.dumps({"ANSIBLE_MODULE_ARGS": args}))
        return parse(done.stdout, done.stderr)


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    if not os.environ.get("CONTAINERS_CONF"):
        settings = tmp_path_factory.mktemp("podman") / "containers.conf"
        settings.write_text('[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n'
                            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
        os.environ["CONTAINERS_CONF"] = str(settings)
    name = f"kestra-dr-lifecycle-{os.getpid()}"
    base = Path(ansible.__file__).parent
    done = podman("run", "-d", "--name", name, "--systemd=always", "--network=none",
                  "-v", f"{ROOT}:/collections/ansible_collections/kestra_community/dr:ro", "-v", f"{base}:/ansible/ansible:ro", image(),
                  check=False)
    if done.returncode != 0:
        podman("rm", "-f", name, check=False)
        pytest.skip(f"podman cannot start a container with systemd here: {done.stderr.strip().splitlines()[-1:]}")
    host = Host(name)
    try:
        host.booted()
        yield host
    finally:
        podman("rm", "-f", "-t", "5", name, check=False)


@pytest.fixture
def host(container):
    container.kestra()
    yield container
    container.sh(f"rm -rf {STATE}/lifecycle.json {STATE}/HELD /etc/systemd/system/kestra.service.d; systemctl daemon-reload")
    container.sh(f"systemctl disable --now {DEAD_MAN}; rm -f /etc/systemd/system/{DEAD_MAN}; systemctl daemon-reload", check=False)


def test_stop_and_start(host):
    result = host.call("stopped")
    assert result["changed"] and not host.active()
    assert result["found"]["active"] is True and result["found"]["enabled"] is True
    assert result["dead_man"] == {"how": "unit", "armed": True, "fired": None}
    assert host.sh(f"systemctl is-active {DEAD_MAN}; systemctl is-enabled {DEAD_MAN}").split() == ["active", "enabled"]
    assert not host.call("stopped")["changed"]
    result = host.call("started")
    assert result["started"] and result["health"]["status"] == "UP" and host.active()
    assert not host.ok(f"test -e /etc/systemd/system/{DEAD_MAN}") and not host.ok(f"test -e {STATE}/lifecycle.json")
    assert host.sh("systemctl --failed --no-legend") == ""
    assert not host.call("started")["changed"]


@full
def test_the_dead_man_is_killed_and_still_starts_kestra(host):
    host.call("stopped", dead_man_seconds=20)
    host.sh(f"systemctl kill -s KILL {DEAD_MAN}")
    until(lambda: host.sh(f"systemctl show -p NRestarts --value {DEAD_MAN}") == "1", 10, "its restart")
    assert not host.active()
    until(host.active, 60, "the start by the dead-man")
    until(lambda: host.record()["dead_man_fired"]["outcome"] == "started", 10)
    with pytest.raises(ModuleFailed) as caught:
        host.call("held", hold_reason="swap")
    assert caught.value.result["reason"] == "dead_man_fired"
    result = host.call("started")
    assert result["dead_man_fired"]["action"] == "start" and not result["started"]
    assert not host.ok(f"test -e /etc/systemd/system/{DEAD_MAN}")


@pytest.mark.long
def test_the_dead_man_survives_a_reboot(host):
    host.kestra(enabled=False)  # so that systemd does not start it at boot
    host.call("stopped", dead_man_seconds=40)
    host.reboot()
    assert not host.active() and host.ok(f"systemctl is-active --quiet {DEAD_MAN}")
    until(host.active, 80, "the start by the dead-man after the reboot")
    until(lambda: host.record()["dead_man_fired"]["outcome"] == "started", 10)


def test_a_held_kestra_is_started_by_nobody_not_even_a_reboot(host):
    host.call("stopped")
    result = host.call("held", hold_reason="swapped, not verified")
    assert result["changed"] and not host.call("held", hold_reason="swapped, not verified")["changed"]
    assert "ssert" in host.sh("systemctl start kestra 2>&1", check=False) and not host.active()
    host.call("renewed", dead_man_seconds=2)
    until(lambda: "dead_man_fired" in host.record(), 20, "the deadline")
    assert host.record()["dead_man_fired"]["outcome"] == "held" and not host.active()
    host.reboot()
    time.sleep(2)
    assert not host.active() and "swapped, not verified" in host.sh(f"cat {STATE}/HELD")
    with pytest.raises(ModuleFailed) as caught:
        host.call("started", always=True)
    assert caught.value.result["reason"] == "held"
    assert host.call("released")["changed"]
    assert not host.ok("test -e /etc/systemd/system/kestra.service.d")
    assert host.call("started")["started"] and host.active()


def test_a_kestra_found_down_is_left_down(host):
    host.kestra(running=False)
    assert host.call("stopped")["dead_man"]["armed"] is False
    assert host.call("started")["started"] is False and not host.active()


def test_a_unit_between_two_restarts_counts_as_running(host):
    host.kestra(server="import sys; sys.exit('no license')")
    until(lambda: host.sh("systemctl is-active kestra", check=False) == "activating", 10)
    assert host.call("stopped")["found"]["active"] is True
    assert host.sh("systemctl is-active kestra", check=False) in ("inactive", "failed")
    with pytest.raises(ModuleFailed) as caught:
        host.call("started", timeout=4)
    assert caught.value.result["reason"] in ("start_timeout", "start_failed")
    assert any("no license" in line for line in caught.value.result["detail"]["log"])
    host.kestra()
    assert host.call("started")["health"]["status"] == "UP"


def test_a_unit_that_gives_up_is_not_waited_for(host):
    host.call("stopped")
    host.put("/opt/kestra/server.py", "import sys; sys.exit('no license')")
    host.put("/etc/systemd/system/kestra.service.d/norestart.conf", "[Service]\nRestart=no\n")
    host.sh("systemctl daemon-reload")
    begun = time.monotonic()
    with pytest.raises(ModuleFailed) as caught:
        host.call("started", timeout=60)
    assert caught.value.result["reason"] == "start_failed" and time.monotonic() - begun < 30
    assert "no license" in json.dumps(caught.value.result["detail"]["log"])


def test_a_kill_at_the_end_of_timeoutstopsec_is_told(host):
    host.kestra(stop=60, limit=2)
    result = host.call("stopped")
    assert any("killed" in str(text) for text in result["warnings"]) and not host.active()
    host.kestra()
    assert host.call("started")["status"]["running"]


def test_a_stop_over_its_time_leaves_a_way_back(host):
    host.kestra(stop=6, limit=60)
    with pytest.raises(ModuleFailed) as caught:
        host.call("stopped", timeout=2)
    assert caught.value.result["reason"] == "stop_timeout"
    assert host.record()["phase"] == "stopping" and host.ok(f"systemctl is-active --quiet {DEAD_MAN}")
    result = host.call("started", timeout=60)
    assert result["health"]["status"] == "UP" and host.active()


def test_query_warns_of_a_short_timeout_and_names_a_missing_unit(host):
    host.kestra(limit=150)
    result = host.call("query")
    assert result["problems"] == [] and any("150 s" in str(text) for text in result["warnings"])
    result = host.call("query", unit="kestrel")
    assert result["status"] is None and "kestrel.service does not exist" in result["problems"][0]


@full
def test_the_command_manager_gets_the_persistent_dead_man_too(host):
    host.kestra(enabled=False, running=False)
    # A daemon that a command leaves in the background: it must outlive the dead-man's unit, in whose cgroup it was born.
    commands = {"start": "sh -c '/usr/bin/python3 /opt/kestra/server.py /run/toy.pid 8081 0 0 & sleep 0.5'",
                "stop": "sh -c 'kill $(cat /run/toy.pid)'", "status": "sh -c 'kill -0 $(cat /run/toy.pid) || exit 3'"}
    host.sh(commands["start"].replace("&", ">/dev/null 2>&1 &"))
    result = host.call("stopped", manager="command", commands=commands, dead_man_seconds=15)
    assert result["dead_man"]["how"] == "unit" and not host.ok(commands["status"])
    until(lambda: host.ok(commands["status"]), 60, "the start by the dead-man")
    until(lambda: not host.ok(f"systemctl is-active --quiet {DEAD_MAN}"), 20, "the end of the dead-man")
    assert host.call("started", manager="command", commands=commands)["dead_man_fired"]["outcome"] == "started"
    assert not host.ok(f"test -e /etc/systemd/system/{DEAD_MAN}") and host.ok(commands["status"])
    assert host.call("stopped", manager="command", commands=commands)["dead_man"]["armed"]
    assert host.call("started", manager="command", commands=commands)["started"]
    host.sh(commands["stop"])


def test_environment_files_mean_what_they_mean_to_systemd(container):
    text = 'A=it\'s fine\nB="a\\"b\\$c\\d"\nC=\' x \'y  \nD=a\\\nb\n#E=1\n'
    container.put("/opt/kestra/env", text)
    seen = json.loads(container.sh("systemd-run --pipe --wait --quiet --property=EnvironmentFile=/opt/kestra/env "
                                   f"{PYTHON} -c 'import os, json; print(json.dumps(dict(os.environ)))'"))
    assert {name: seen.get(name) for name in "ABCD"} == env_file.parse(text) and "E" not in seen
