# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is removed of a state directory of Kafka Streams, and what is not."""
from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.kafka import streams


@pytest.fixture
def state(tmp_path):
    for name in ("kestra_executor/0_1/rocksdb", "kestra_indexer", "other_app/0_0"):
        (tmp_path / "state" / name).mkdir(parents=True)
    (tmp_path / "state" / "kestra_file").write_text("x", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state" / "kestra_link").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "state"


def test_only_directories_of_kestras_applications_go(state):
    found = streams.applications(str(state), "kestra_")
    assert found == [str(state / "kestra_executor"), str(state / "kestra_indexer")]
    streams.wipe(found)
    assert sorted(path.name for path in state.iterdir()) == ["kestra_file", "kestra_link", "other_app"]
    assert (state / "other_app" / "0_0").exists() and (state.parent / "elsewhere").exists()
    assert streams.applications(str(state), "kestra_") == [] == streams.applications(str(state / "none"), "kestra_")


@pytest.mark.parametrize("directory, prefix", [("/", "kestra_"), ("//", "kestra_"), ("tmp/x", "kestra_"), ("/tmp", "")])
def test_what_cannot_be_a_state_directory(directory, prefix):
    with pytest.raises(ConfigError) as caught:
        streams.applications(directory, prefix)
    assert caught.value.reason == "bad_state_directory"


def test_nothing_goes_while_one_of_them_is_locked(state):
    found = streams.applications(str(state), "kestra_")
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys, time\nlock = open(sys.argv[1], 'w')\nfcntl.lockf(lock, fcntl.LOCK_EX)\n"
         "print('held', flush=True)\ntime.sleep(60)", str(state / "kestra_indexer" / ".lock")],
        stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RefusedError) as caught:
            streams.wipe(found)
        assert caught.value.reason == "kestra_alive" and (state / "kestra_executor").exists()
    finally:
        holder.kill()
        holder.wait()
    streams.wipe(found)
    assert not (state / "kestra_indexer").exists()
