# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode for a while only: left as it was found, also when nobody is there any more to leave it."""
from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import RefusedError, StateError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_arming as arming
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_dead_man as dead_man
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import lifecycle_way_out as way_out
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.client import Client, Settings
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.lifecycle import UP, Lifecycle, Run
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.lifecycle_maintenance import (
    MaintenanceManager,
    WayOut,
)
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.maintenance import Maintenance
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.fake_kestra import FakeKestra
from ansible_collections.kestra_community.dr.tests.unit.plugins.module_utils.kestra.test_lifecycle import FakeManager

RUN, OTHER = Run("r1", "backup"), Run("r2", "backup", take_over="r1")
VERSIONS = ["0.22.0", "0.23.1", "0.23.cluster", "0.24.0", "1.3.15", "2.0.0"]


@pytest.fixture(params=VERSIONS)
def kestra(request):
    with FakeKestra(request.param, "EE", token="s3cret-token") as running:
        yield running


@pytest.fixture
def recent():
    with FakeKestra("2.0.0", "EE", token="s3cret-token") as running:
        yield running


def mode_of(kestra):
    found = Maintenance(Client(Settings(api_url=kestra.api, token="s3cret-token", timeout=5)))
    found.check()
    return found


def life(kestra, tmp_path, manager=None):
    """A Lifecycle whose dead-man is a real process."""
    directory, mode = str(tmp_path / "kestra"), mode_of(kestra)
    keeper = WayOut(arming.ProcessDeadMan(directory, "kestra"), directory, mode._client, mode.paths)
    return Lifecycle(manager or MaintenanceManager(mode, directory, interval=0.05), str(tmp_path), "kestra", keeper=keeper,
                     health=lambda: {"status": UP, "error": None})


def left(tmp_path):
    """Names of the files on the host."""
    return {path.name for path in (tmp_path / "kestra").iterdir()}


def access(kestra, tmp_path, **other):
    path = tmp_path / "access.json"
    path.write_text(json.dumps({"url": kestra.api, "prefixes": mode_of(kestra).paths, "authorization": "Bearer s3cret-token",
                                "local": True, **other}))
    return str(path)


def test_the_way_out_in_every_version(kestra, tmp_path):
    path = access(kestra, tmp_path)
    assert way_out.main(["", path, "status"]) == 0
    kestra.maintenance = True
    assert way_out.main(["", path, "status"]) == way_out.IN
    assert way_out.main(["", path, "leave"]) == 0 and kestra.maintenance is False
    assert way_out.main(["", path, "status"]) == 0


def test_a_way_out_that_is_shut_says_so(recent, tmp_path, capsys):
    recent.maintenance = True
    path = access(recent, tmp_path, authorization="Bearer wrong")
    assert way_out.main(["", path, "leave"]) == way_out.UNKNOWN == way_out.main(["", path, "status"])
    assert "HTTP 401" in capsys.readouterr().out
    path = access(recent, tmp_path, url="http://127.0.0.1:9")
    assert way_out.main(["", path, "status"]) == way_out.UNKNOWN
    assert "s3cret" not in capsys.readouterr().out
    assert way_out.main(["", path]) == 2


def test_entered_and_left(kestra, tmp_path):
    one = life(kestra, tmp_path)
    entered = one.stopped(RUN, timeout=5, dead_man_seconds=60)
    assert kestra.maintenance and entered["found"]["active"] and entered["record"]["manager"] == "maintenance"
    record = (tmp_path / "kestra" / dead_man.RECORD).read_text()
    secret = tmp_path / "kestra" / way_out.ACCESS
    assert "s3cret-token" not in record and "s3cret-token" in secret.read_text() and secret.stat().st_mode & 0o777 == 0o600
    done = one.started(RUN, timeout=5)
    assert not kestra.maintenance and done["disturbed"] is None and done["started"]
    assert not left(tmp_path) & {dead_man.RECORD, way_out.ACCESS, way_out.PROGRAM}


def test_an_instance_that_was_in_it_stays_in_it(recent, tmp_path):
    recent.maintenance = True
    one = life(recent, tmp_path)
    assert one.stopped(RUN, timeout=5, dead_man_seconds=60)["found"]["active"] is False
    one.started(RUN, timeout=5)
    assert recent.maintenance and not [path for method, path, *_rest in recent.seen if method == "POST"]


def test_a_service_that_does_not_acknowledge_is_named_and_the_mode_left(recent, tmp_path):
    recent.lag = 10**6
    one = life(recent, tmp_path)
    with pytest.raises(StateError) as caught:
        one.stopped(RUN, timeout=0.3, dead_man_seconds=60)
    assert "WORKER" in caught.value.message and recent.maintenance
    assert one.started(RUN, timeout=5)["started"] and not recent.maintenance


def test_the_dead_man_leaves_it_when_nobody_does(kestra, tmp_path):
    one = life(kestra, tmp_path)
    one.stopped(RUN, timeout=5, dead_man_seconds=1)
    end, place, record = time.monotonic() + 60, tmp_path / "kestra", {}
    while record.get("dead_man_fired", {}).get("outcome") in (None, "starting"):
        assert time.monotonic() < end, (place / dead_man.LOG).read_text()
        time.sleep(0.1)
        # What it has written is whole when it gives its lock back.
        with dead_man.locked(str(place / dead_man.STATE_LOCK)):
            record = json.loads((place / dead_man.RECORD).read_text())
    assert record["dead_man_fired"]["outcome"] == "started" and not kestra.maintenance
    assert way_out.ACCESS not in left(tmp_path), "the login is of no use any more"
    # Whoever comes now is free to do it in another way.
    assert life(kestra, tmp_path, FakeManager()).query(stop_timeout=5, grace_period=5, run=OTHER)["locked"] is None
    planned = life(kestra, tmp_path, FakeManager())
    planned._check = True
    assert planned.stopped(OTHER, timeout=5, dead_man_seconds=60)["changed"]
    # The run that comes back late is told, and leaves nothing.
    done = one.started(RUN, timeout=5)
    assert "dead-man" in done["disturbed"] and dead_man.RECORD not in left(tmp_path)


def test_somebody_else_who_leaves_it_disturbs(recent, tmp_path):
    one = life(recent, tmp_path)
    one.stopped(RUN, timeout=5, dead_man_seconds=60)
    recent.maintenance = False
    assert "out of maintenance mode" in one.started(RUN, timeout=5)["disturbed"]


def test_a_dead_run_is_taken_over_in_the_same_way_only(recent, tmp_path):
    life(recent, tmp_path).stopped(RUN, timeout=5, dead_man_seconds=60)
    with pytest.raises(RefusedError) as caught:
        life(recent, tmp_path, FakeManager()).stopped(OTHER, timeout=5, dead_man_seconds=60)
    assert caught.value.reason == "other_manager" and "maintenance" in caught.value.message
    asked = life(recent, tmp_path, FakeManager()).query(stop_timeout=5, grace_period=5, run=OTHER)
    assert asked["locked"] is None and asked["record"]["manager"] == "maintenance", "the role refuses it by name"
    life(recent, tmp_path).stopped(OTHER, timeout=5, dead_man_seconds=60)
    assert life(recent, tmp_path).started(Run("r2"), timeout=5)["started"] and not recent.maintenance


def test_its_program_needs_nothing_but_the_standard_library():
    text = Path(way_out.__file__).read_text()
    assert "from ." not in text and "import ansible" not in text
