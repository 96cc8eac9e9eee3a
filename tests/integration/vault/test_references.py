# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file that a really restored database names, looked up in the storage of the same recovery point.

The rows are those a real Kestra 0.21 wrote, and some like them.
"""
from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import connect, scratch, versions
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import references
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import listing
from ansible_collections.kestra_community.dr.tests.integration.postgresql import kestra_rows
from ansible_collections.kestra_community.dr.tests.integration.vault.points_lab import Lab

RECORDED = Path(__file__).parents[2] / "fixtures" / "kestra-0.21" / "rows.jsonl"
CHECK = "storage: every file that the database names"
BEGAN = (datetime.now(timezone.utc) - timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%S.123Z")
ODD = ["with blank.txt", "100%.txt", "naïve.txt", "日本.txt", "a+b.txt", "line\nbreak.txt"]


def recorded():
    """(table, value) of rows as Kestra wrote them."""
    for line in RECORDED.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["table"] in ("executions", "logs"):
            yield row["table"], row["value"]


def execution(number, names, current="SUCCESS"):
    """(row, paths in the storage) of an execution with files of these names."""
    top = f"company/team/odd/executions/odd{number}/tasks/write/r{number}"
    uris = {name: "kestra:///" + quote(f"{top}/{name}", safe="/+é") for name in names}
    return {"id": f"odd{number}", "namespace": "company.team", "flowId": "odd", "deleted": False, "labels": [],
            "state": {"current": current, "duration": 1.5, "startDate": BEGAN},
            "taskRunList": [{"taskId": "write", "outputs": {"outputFiles": uris}}]}, [f"{top}/{name}" for name in names]


@pytest.fixture(scope="module")
def database():
    """A server with a database of Kestra's layout, and the files its rows need."""
    pytest.importorskip("psycopg", reason="psycopg is not installed in this Python")
    if not versions.find_server_programs():
        pytest.skip("no PostgreSQL server programs are installed on this machine")
    rows, paths = list(recorded()), []
    for _table, value in rows:
        paths += [item.path.decode() for item in references.named("executions", {"value": json.dumps(value)})]
    assert len(paths) >= 8, "the recorded execution names its files"
    for number, names, current in ((1, ODD, "SUCCESS"), (2, ["a.txt", "b.txt"], "SUCCESS"), (3, ["p.txt"], "PAUSED")):
        value, more = execution(number, names, current)
        rows.append(("executions", value))
        paths += more
    purged, _files = execution(4, ["gone.txt"])
    rows.append(("executions", purged))
    with scratch.server() as login:
        with connect.connect(login) as connection:
            connection.execute("CREATE DATABASE kestra")
        with connect.connect(login, "kestra") as connection:
            kestra_rows.create(connection)
            kestra_rows.fill(connection, {"logs": 50, "flows": 2})
            for number, (table, value) in enumerate(rows):
                connection.execute(f"INSERT INTO {table} (key, value) VALUES (%s, %s::jsonb)",
                                   (value.get("id", f"row{number}"), json.dumps(value)))
            # As Kestra 2 keeps results of tasks: ION in bytes.
            connection.execute("CREATE TABLE task_outputs (task_run_id text PRIMARY KEY, tenant_id text, value bytea)")
            connection.execute("INSERT INTO task_outputs VALUES ('r', NULL, %s)", (
                b'{uri:"kestra:///company/team/ion/executions/ion1/tasks/t/r/1.ion",x:"\xff\x00"}',))
        yield login, [*paths, "company/team/ion/executions/ion1/tasks/t/r/1.ion"]


@pytest.fixture
def lab(tmp_path):
    found = Lab(tmp_path / "lab")
    found.restic.init()
    return found


def write(lab, paths):
    for path in paths:
        target = lab.storage / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.encode())


def check(record):
    return next(item for item in record["checks"] if item["name"] == CHECK)


def test_every_file_named_is_there(lab, database):
    login, paths = database
    write(lab, [*paths, "company/team/odd/executions/odd2/tasks/write/r2/orphan.txt", "company/team/_kv/key.ion"])
    lab.take(login)
    record = lab.verify("references")
    assert lab.failing(record) == []
    assert (record["verdict"], record["depth"], lab.verdict()) == ("verified", "references", "verified")
    detail = check(record)["detail"]
    assert detail["opened"] == len(set(paths)) and detail["named"] == detail["opened"] + 1
    assert {kind: n for kind, n in detail["missing"].items() if n} == {"purged": 1, "mentioned": 50}
    assert detail["orphans"] == {"files": 1, "bytes": len("company/team/odd/executions/odd2/tasks/write/r2/orphan.txt")}
    assert detail["rows"] == {"executions": 5, "logs": 50, "task_outputs": 1}
    part = lab.vault.summary(lab.point)
    assert (part["verdict"], part["depth"]) == ("verified", "references")


def test_files_that_are_missing_are_told_by_name(lab, database):
    login, paths = database
    gone = [path for path in paths if path.endswith(("/line\nbreak.txt", "/b.txt", "/p.txt"))]
    assert len(gone) == 3
    write(lab, [path for path in paths if path not in gone])
    lab.take(login)
    record = lab.verify("references")
    assert lab.failing(record) == [CHECK]
    assert (record["verdict"], record["depth"], lab.verdict()) == ("differs", "references", "differs")
    assert check(record)["found"] == {"lost": 3, "first": sorted(
        (listing.shown(path.encode()) for path in gone), key=lambda text: listing.key(text.encode()))}
    detail = check(record)["detail"]
    assert detail["by_flow"] == {"company.team/odd": 4} and detail["by_age"] == {"up to 30 days": 4}
