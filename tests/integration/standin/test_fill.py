# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra-standin-fill: the same again for the same seed, of the promised shape, and nothing a server would touch."""
from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

STANDIN = Path(__file__).resolve().parents[3] / "roles" / "lab" / "files" / "standin"
BOTH = pytest.mark.parametrize("standin", ["postgresql", "mysql"], indirect=True)


def fill(standin, *options, check=True):
    path = standin.directory / "fill.yml"
    path.write_text(yaml.safe_dump(standin.configuration()), encoding="utf-8")
    found = subprocess.run(
        [str(STANDIN / "kestra-standin-fill"), "--config", str(path), "--quiet", *options], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=300,
        env=dict(os.environ, KESTRA_STANDIN_PYTHON=sys.executable, STANDIN_TEST_PASSWORD="p@ss w%rd:'ü", TZ="UTC"))
    assert not check or found.returncode == 0, found.stderr
    return json.loads(found.stdout) if check else found


def digest(standin):
    """Of all rows but those of queues, and of all files."""
    found = hashlib.sha256()
    for table in ("dashboards", "executions", "flows", "logs", "metrics"):
        columns = '"key", ' + standin.server.text + (", source_code" if table in ("dashboards", "flows") else "")
        found.update(repr(standin.rows('SELECT %s FROM %s ORDER BY "key"' % (columns, table))).encode())
    for path in sorted(standin.storage.rglob("*")):
        found.update(os.fsencode(path.relative_to(standin.storage)))
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


@BOTH
def test_the_same_seed_gives_the_same(standin, tmp_path):
    fill(standin, "--rows", "1500", "--files", "60", "--seed", "7", "--shape", "mixed", "--jobs", "2")
    first = digest(standin)
    other = type(standin)(standin.server, tmp_path / "other")
    other.directory.mkdir()
    try:
        fill(other, "--rows", "1500", "--files", "60", "--seed", "7", "--shape", "mixed", "--jobs", "1")
        assert digest(other) == first
        # Another seed adds to it.
        fill(other, "--rows", "500", "--files", "10", "--seed", "8")
        assert digest(other) != first
        assert other.rows("SELECT count(*) FROM logs")[0][0] == 750 + 435
    finally:
        other.server.drop(other.database)


@BOTH
@pytest.mark.parametrize("shape, shares", [
    ("kestra", {"logs": (82, 95)}), ("mixed", {"logs": (55, 75), "queues": (17, 30)})])
def test_shapes(standin, shape, shares):
    rows = 24000  # the tables of InnoDB grow by up to 4 MB at once
    found = fill(standin, "--rows", str(rows), "--shape", shape)
    total = sum(one["bytes"] for one in found["tables"].values())
    for table, (least, most) in shares.items():
        # MySQL does not tell how large its full-text indexes are, and those of logs are the largest.
        least -= 10 if standin.server.engine == "mysql" and table == "logs" else 0
        assert least <= 100 * found["tables"][table]["bytes"] / total <= most, found["tables"]
    assert abs(sum(found["tables"][table]["rows"] for table in ("logs", "metrics", "executions", "queues")) - rows) < 5


@BOTH
def test_a_server_finds_it_all_and_changes_nothing(standin, waiting):
    fill(standin, "--rows", "1000", "--files", "80")
    standin.start()
    before = digest(standin)
    assert set(standin.states()) <= {"SUCCESS", "FAILED", "WARNING", "KILLED"}
    total = sum(standin.states().values())
    assert standin.get("executions/search?size=1")["total"] == total
    found = standin.get("executions/search?size=100")["results"]
    uris = [(one["id"], uri) for one in found for run in one["taskRunList"] for uri in run["outputs"].get("uris", ())]
    uris += [(one["id"], one["inputs"]["payload"]) for one in found if "payload" in one["inputs"]]
    assert len(uris) == 60, "three quarters of the files belong to executions"
    for execution, uri in uris:
        status, body = standin.call("GET", "/api/v1/executions/%s/file?path=%s" % (execution, uri))
        assert status == 200 and body
    assert any("+" in path.name for path in standin.storage.rglob("_files/*/*"))
    assert list(standin.storage.rglob("_kv/*.ion.metadata"))
    assert digest(standin) == before
    assert standin.rows("SELECT count(*) FROM queues WHERE NOT (%s)" % standin.server.everyone) == [(0,)]


def test_bad_usage_is_refused(standin):
    assert fill(standin, "--rows", "-1", check=False).returncode == 2
    assert fill(standin, "--rows", "10", "--seed", "../x", check=False).returncode == 2
    assert fill(standin, "--rows", "10", "--shape", "round", check=False).returncode == 2
