# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rows name: values that are URIs, URIs in texts, tenants, odd names, and what says that a file was deleted."""
from __future__ import annotations

import json

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.references import (
    DELETED,
    REFERENCE,
    UNFINISHED,
    execution_of,
    named,
    owner_of,
    path_of,
)

E1 = "company/team/files/executions/1udPT1Z59p52Rj6zVRMlYr"
INPUT = f"{E1}/inputs/payload/payload_5154344944240833650.upl"
OUTPUT = f"{E1}/tasks/split/7PMtAcxQ0h6eWpju2uSpjQ/4919153418335757709.upl"


def execution(current="SUCCESS", **more):
    """As a real Kestra 0.21 writes it."""
    return dict({
        "id": "1udPT1Z59p52Rj6zVRMlYr", "flowId": "files", "namespace": "company.team", "deleted": False,
        "state": {"current": current, "startDate": "2026-11-22T12:03:25.609Z",
                  "histories": [{"date": "2026-11-22T12:03:25.609Z", "state": "CREATED"}]},
        "inputs": {"payload": f"kestra:///{INPUT}"},
        "taskRunList": [{"taskId": "split", "outputs": {"uris": [f"kestra:///{OUTPUT}"]}}]}, **more)


def flags(table, document, **columns):
    return {item.path.decode(): item.flags for item in named(table, dict(columns, value=json.dumps(document)))}


def test_an_execution_names_its_inputs_and_the_results_of_its_tasks():
    found = list(named("executions", {"key": "1udPT1Z59p52Rj6zVRMlYr", "value": json.dumps(execution())}))
    assert {(item.path.decode(), item.flags, item.date, item.owner) for item in found} == {
        (INPUT, REFERENCE, "2026-11-22T12:03:25.609Z", "company.team/files"),
        (OUTPUT, REFERENCE, "2026-11-22T12:03:25.609Z", "company.team/files")}


@pytest.mark.parametrize("change, expected", [
    ({}, REFERENCE), ({"current": "FAILED"}, REFERENCE), ({"current": "RUNNING"}, REFERENCE | UNFINISHED),
    ({"current": "PAUSED"}, REFERENCE | UNFINISHED), ({"current": "QUEUED"}, REFERENCE | UNFINISHED),
    ({"deleted": True}, REFERENCE | DELETED)])
def test_whether_it_goes_on_is_told_by_its_state(change, expected):
    assert set(flags("executions", execution(**change)).values()) == {expected}


def test_a_tenant_is_a_directory():
    found = list(named("executions", {"value": json.dumps(execution(tenantId="main"))}))
    assert {item.path.decode() for item in found} == {f"main/{INPUT}", f"main/{OUTPUT}"}
    assert {item.owner for item in found} == {"company.team/files"}
    inner = {"taskRun": {"tenantId": "a", "outputs": {"uri": "kestra:///x/y/executions/1/tasks/t/2/f"}}}
    assert set(flags("worker_job_running", inner)) == {"a/x/y/executions/1/tasks/t/2/f"}
    # What a user calls so is no tenant.
    assert INPUT in flags("executions", execution(outputs={"tenantId": "mine"}))


def test_work_that_waits_needs_its_files_and_messages_only_mention_them():
    queued = {"execution": execution("CREATED"), "date": "2026-11-22T12:03:25.609Z"}
    assert set(flags("execution_queued", queued).values()) == {REFERENCE | UNFINISHED}
    for table in ("queues", "logs", "flows", "dashboards", "some_table_of_tomorrow"):
        assert set(flags(table, execution("RUNNING")).values()) == {0}


def test_in_a_text_a_uri_is_mentioned():
    log = {"message": f"Read kestra:///{INPUT}, then (kestra:///{OUTPUT}).\nkestra:///a/ is none, nor is kestra:///",
           "timestamp": "2026-11-22T12:03:04.844Z"}
    assert flags("logs", log) == {INPUT: 0, OUTPUT: 0}
    value = f"see kestra:///{INPUT}"
    assert flags("executions", {"outputs": {"value": value}, "state": {"current": "RUNNING"}}) == {INPUT: 0}
    source = f'id: f\ntasks:\n  - from: "kestra:///{INPUT}"\n    to: "kestra:///{{{{ outputs.x.uri }}}}"\n'
    assert {item.path.decode(): item.flags for item in named("flows", {"source_code": source})} == {INPUT: 0}


def test_a_result_of_delete_says_that_the_file_is_gone():
    runs = [{"taskId": "split", "outputs": {"uris": [f"kestra:///{OUTPUT}"]}},
            {"taskId": "delete", "outputs": {"uri": f"kestra:///{OUTPUT}", "deleted": True}}]
    found = flags("executions", execution(taskRunList=runs))
    assert found == {INPUT: REFERENCE, OUTPUT: REFERENCE | DELETED}
    runs[1]["outputs"]["deleted"] = False
    assert flags("executions", execution(taskRunList=runs))[OUTPUT] == REFERENCE


def test_results_in_tables_of_their_own():
    """Kestra 2: ION in bytes, or the URI of a file that holds it."""
    value = f'{{uris:["kestra:///{OUTPUT}"],value:"kestra:///{INPUT} was read",n:1}}'
    row = {"task_run_id": "7PMtAcxQ0h6eWpju2uSpjQ", "tenant_id": "main", "value": value}
    assert {item.path.decode(): item.flags for item in named("task_outputs", row)} == {
        f"main/{OUTPUT}": REFERENCE, f"main/{INPUT}": 0}
    row = {"tenant_id": "main", "uri": f"kestra:///{E1}/output-1.ion"}
    assert [(item.path.decode(), item.flags) for item in named("execution_outputs", row)] == [
        (f"main/{E1}/output-1.ion", REFERENCE)]
    row["value"] = f'{{uri:"kestra:///{OUTPUT}",deleted:true}}'
    assert REFERENCE | DELETED in [item.flags for item in named("task_outputs", row)]


@pytest.mark.parametrize("uri, tenant, path", [
    ("kestra:///a/b", None, b"a/b"), ("kestra:///a/b", "main", b"main/a/b"), ("kestra:////a//./b/", None, b"a/b"),
    ("kestra:///a/with%20blank", None, b"a/with blank"), ("kestra:///a/with+plus", None, b"a/with+plus"),
    ("kestra:///a/na\u00efve", None, "a/naïve".encode()), ("kestra:///a/na%C3%AFve", None, "a/naïve".encode()),
    ("kestra:///a/100%25", None, b"a/100%"), ("kestra:///a/line%0Abreak", None, b"a/line\nbreak"),
    ("kestra:///a/%FF", None, b"a/\xff"), ("kestra:///a/b?x=1#y", None, b"a/b"),
    ("kestra:///a/../b", None, None), ("kestra:///a/%2E%2E/b", None, None), ("kestra:///a..b", None, None),
    ("kestra:///", None, None), ("kestra:///?", "main", None)])
def test_the_path_that_is_opened(uri, tenant, path):
    assert path_of(uri, tenant) == path


@pytest.mark.parametrize("path, directory, owner", [
    (INPUT, E1, "company.team/files"), (OUTPUT, E1, "company.team/files"), (E1, E1, "company.team/files"),
    (f"{E1}/trigger/t/1.ion", E1, "company.team/files"), (f"{E1}/output-1.ion", E1, "company.team/files"),
    ("a/executions/f/executions/1x/tasks/executions/2/y", "a/executions/f/executions/1x", "a.executions/f"),
    ("a/executions/_files/x.txt", None, ""), ("a/f/states/s/1", None, ""), ("a/_kv/key.ion", None, ""),
    ("a/f/1/cache/cache.zip", None, "")])
def test_the_execution_a_file_belongs_to(path, directory, owner):
    assert execution_of(path.encode()) == (directory and directory.encode())
    assert owner_of(path.encode()) == owner
    assert owner_of(b"main/" + path.encode(), "main") == owner


@pytest.mark.parametrize("value", [
    "[]", '"text"', "{broken", "", "null", '{"state": null, "deleted": 1}', '{"taskRun": []}'])
def test_whatever_a_column_holds_is_no_error(value):
    assert list(named("executions", {"value": value})) == []
