# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is named against what is there: which missing file is a difference, which is counted, and what nobody names."""
from __future__ import annotations

import json
import random

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import listing
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import references
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.references import References

CREATED = "2026-11-23T00:00:00.000000Z"


def place(number, flow="files"):
    return f"main/company/team/{flow}/executions/e{number}"


def entries(*paths, drift=None):
    """A list of the storage with these files and the directories above them."""
    found = {}
    for path in paths:
        path, _sep, kind = path.partition(" is ")
        parts = path.encode().split(b"/")
        for end in range(1, len(parts)):
            above = b"/".join(parts[:end])
            found.setdefault(above, listing.Entry(above, "d", 0, 0o755, 0, 0, 0))
        found[path.encode()] = listing.Entry(path.encode(), "f", 10, 0o644, 0, 0, 0, drift=kind or None)
    return sorted(found.values(), key=lambda entry: listing.key(entry.path))


def execution(number, *paths, state="SUCCESS", start="2026-11-22T12:00:00Z", **more):
    document = {"id": f"e{number}", "tenantId": "main", "namespace": "company.team", "flowId": "files",
                "state": {"current": state, "startDate": start},
                "outputs": {str(n): "kestra:///" + path[len("main/"):] for n, path in enumerate(paths)}}
    return "executions", {"value": json.dumps(dict(document, **more))}


def judge(tmp_path, rows, there, **options):
    asked = References(str(tmp_path), created=CREATED, **options)
    asked.read(rows)
    return asked.judge(iter(there))


def missing(found):
    return {kind: number for kind, number in found["missing"].items() if number}


A, B, C = (f"{place(1)}/tasks/t/r/{name}.ion" for name in "abc")


def test_all_there(tmp_path):
    found = judge(tmp_path, [execution(1, A, B), execution(2, A)], entries(A, B))
    assert (found["named"], found["opened"], missing(found), found["rows"]) == (2, 2, {}, {"executions": 2})
    assert found["orphans"] == {"files": 0, "bytes": 0}
    assert references.summary(found) == "2 of 2 files named are there"


def test_one_missing_among_others_is_lost_and_told_by_name(tmp_path):
    found = judge(tmp_path, [execution(1, A, B)], entries(A, C))
    assert missing(found) == {"lost": 1} and found["first"] == {"lost": [B]}
    assert (found["by_age"], found["by_namespace"], found["by_flow"]) == (
        {"up to a day": 1}, {"company.team": 1}, {"company.team/files": 1})
    assert found["orphans"] == {"files": 1, "bytes": 10}
    assert references.summary(found) == "1 of 2 files named are there; 1 LOST, 1 files no row names"


def test_nothing_left_of_an_execution_that_ended_is_purged(tmp_path):
    other = f"{place(2)}/inputs/x/y.upl"
    found = judge(tmp_path, [execution(1, A, B), execution(2, other)], entries(other))
    assert missing(found) == {"purged": 2} and found["first"]["purged"] == [A, B]


def test_work_that_goes_on_needs_its_files_whatever_became_of_them(tmp_path):
    other = f"{place(2)}/inputs/x/y.upl"
    rows = [execution(1, A, state="PAUSED"), execution(2, other)]
    assert missing(judge(tmp_path, rows, entries(other))) == {"lost": 1}
    # Another execution's files, too: a restart or a parent names them.
    rows = [execution(1, A), execution(2, other), execution(3, A, state="RUNNING")]
    assert missing(judge(tmp_path, rows, entries(other))) == {"lost": 1}


def test_not_one_there_is_another_storage(tmp_path):
    found = judge(tmp_path, [execution(1, A, B)], entries("main/company/team/_files/x"))
    assert missing(found) == {"lost": 2} and found["first"] == {"lost": [A, B]}


def test_what_kestra_says_it_deleted_is_not_lost(tmp_path):
    gone = {"uri": "kestra:///" + B[len("main/"):], "deleted": True}
    found = judge(tmp_path, [execution(1, A, B, inputs=gone)], entries(A))
    assert missing(found) == {"deleted": 1}
    assert missing(judge(tmp_path, [execution(1, A, deleted=True), execution(2, B, deleted=True)], entries(C))) == {
        "deleted": 2}
    # PurgeCurrentExecutionFiles lists what it deleted, the directory included, and a later task may write again.
    found = judge(tmp_path, [execution(1, A, B, place(1), C, state="RUNNING")], entries(C))
    assert missing(found) == {"deleted": 2} and found["named"] == 3


def test_no_file_of_an_execution_may_change_after_it(tmp_path):
    found = judge(tmp_path, [execution(1, A, "main/company/team/_files/x.txt", state="RUNNING")], entries(A))
    assert missing(found) == {"changeable": 1} and found["by_namespace"] == {"none": 1}


def test_what_is_only_mentioned_is_no_file_needed(tmp_path):
    log = "logs", {"value": json.dumps({"tenantId": "main", "message": "wrote kestra:///" + B[len("main/"):]})}
    found = judge(tmp_path, [log, execution(1, A)], entries(A))
    assert missing(found) == {"mentioned": 1} and (found["named"], found["by_age"]) == (1, {})
    # It counts as named all the same.
    assert judge(tmp_path, [log], entries(B))["orphans"]["files"] == 0
    assert missing(judge(tmp_path, [log, execution(1, A, B)], entries(A))) == {"lost": 1}


def test_what_went_or_came_after_the_pin(tmp_path):
    found = judge(tmp_path, [execution(1, A, B)], entries(A, f"{B} is deleted", f"{C} is added"))
    assert missing(found) == {"lost": 1} and found["gone_since_pin"] == 1 and found["orphans"]["files"] == 0
    other = f"{place(2)}/inputs/x/y.upl"
    found = judge(tmp_path, [execution(1, A), execution(2, other)], entries(f"{A} is deleted", f"{other} is changed"))
    assert missing(found) == {"purged": 1} and found["gone_since_pin"] == 1


def test_side_files_and_other_files_are_no_orphans(tmp_path):
    found = judge(tmp_path, [execution(1, A)], entries(A, A + ".metadata", "main/company/team/_kv/k.ion", "main/x"))
    assert found["orphans"]["files"] == 0


@pytest.mark.parametrize("date, words", [
    ("2026-11-22T12:00:00Z", "up to a day"), ("2026-11-20T00:00:00.123456789Z", "up to a week"),
    ("2026-11-01T00:00:00.5+02:00", "up to 30 days"), ("2026-01-01T00:00:00", "up to a year"),
    ("2020-01-01T00:00:00Z", "older"), ("2026-11-23T00:00:01Z", "up to a day"), ("", "unknown"), ("soon", "unknown")])
def test_ages(date, words):
    assert references.age(date, CREATED) == words


def test_of_several_dates_the_first_counts(tmp_path):
    other = f"{place(2)}/inputs/x/y.upl"
    rows = [execution(1, A), execution(2, A, start="2026-11-10T00:00:00Z"), execution(3, A, start=None), execution(4, other)]
    assert judge(tmp_path, rows, entries(other))["by_age"] == {"up to 30 days": 1}


def test_a_sample_is_the_same_for_a_seed_and_knows_no_orphans(tmp_path):
    paths = [f"{place(n)}/tasks/t/r/{n}.ion" for n in range(400)]
    rows = [execution(n, path) for n, path in enumerate(paths)]
    found = [judge(tmp_path, rows, entries(*paths), percent=25, seed=seed) for seed in ("a", "a", "b")]
    assert found[0] == found[1] != found[2]
    assert all(60 < item["named"] == item["opened"] < 140 and item["orphans"] is None for item in found)
    assert references.summary(found[0]).endswith("of a sample of 25 % (seed a)")
    # What Kestra says of a whole execution is known in every sample.
    rows = [execution(n, path, place(n)) for n, path in enumerate(paths)]
    assert missing(judge(tmp_path, rows, [], percent=25, seed="a")) == {"deleted": found[0]["named"]}


def test_against_a_plain_model_with_any_names(tmp_path):
    chance = random.Random(20261126)
    letters = ["a", "b", " ", "\n", "%", "é", "+", "\u2028", "日", ".x", "-"]
    for number in range(40):
        paths = sorted({f"{place(chance.randrange(4), chance.choice(['f', 'f.g', 'f-g']))}/tasks/t/r/"
                        + "".join(chance.choices(letters, k=chance.randint(1, 5))) for _n in range(40)} - {"."})
        there = {path for path in paths if chance.random() < 0.6}
        needed = {path for path in paths if chance.random() < 0.6}
        rows = [execution(n, *[quoted(path) for path in needed if chance.random() < 0.7 or n == 0]) for n in range(3)]
        work = tmp_path / str(number)
        work.mkdir()
        found = judge(work, rows, entries(*there))
        alive = {path.split("/tasks/")[0] for path in there}
        lost = {path for path in needed - there if path.split("/tasks/")[0] in alive}
        if not needed & there:
            continue
        assert missing(found) == {kind: n for kind, n in (
            ("lost", len(lost)), ("purged", len(needed - there - lost))) if n}
        assert found["opened"] == len(needed & there) and found["orphans"]["files"] == len(there - needed)


def quoted(path):
    """As Kestra writes it in a URI."""
    return path.replace("%", "%25").replace(" ", "%20").replace("\n", "%0A").replace("\u2028", "%E2%80%A8")
