# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump proved by a restore into a scratch server, private or named."""

from __future__ import annotations

import json
import os

import pytest
from mysql_harness import BIN

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import scratch, search
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.references import NEEDLE
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import listing
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.references import References
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.verify_mysql import Mysql
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_in_a_private_server(server, small, take, base, compression):
    dumped, component = take(server.admin(), small, compression=compression)
    tester = Mysql(base=str(base), bin_dir=BIN)
    assert tester.audit(dumped, component) == component["counts"]
    done = tester.restore(dumped, component, Steps())
    assert (done["differences"], done["private"], done["rows"]) == ([], True, sum(component["counts"].values()))
    assert len(done["warnings"]) == 1 and "belonged to `kestra`@`%`." in done["warnings"][0]
    assert [name for name in os.listdir(base) if name.startswith(scratch.PREFIX)] == []


def test_on_a_server_that_is_named(server, second_server, small, take):
    dumped, component = take(server.admin(), small)
    done = Mysql(login=second_server.admin()).restore(dumped, component, Steps())
    assert done["differences"] == [] and not done["private"]
    assert not [row for row in second_server.sql("SHOW DATABASES") if row[0].startswith("kestra_dr_verify")]
    with pytest.raises(RefusedError) as refused:
        Mysql(login=server.admin()).restore(dumped, component, Steps())
    assert refused.value.reason == "scratch_is_source"


def test_a_difference_and_a_cut(server, second_server, small, take):
    dumped, component = take(server.admin(), small)
    wrong = dict(component, counts=dict(component["counts"], **{f"{small}.logs": 1}))
    done = Mysql(login=second_server.admin()).restore(dumped, wrong, Steps())
    assert [item["name"] for item in done["differences"]] == [f"{small}.logs"]
    path = os.path.join(dumped, "database.sql")
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(IntegrityError):
        Mysql().audit(dumped, component)


def test_the_files_its_rows_name_are_looked_up_before_it_is_dropped(server, second_server, kestra, take, tmp_path):
    top = "company/team/files/executions/e1/tasks/t/r/"
    value = {"id": "e1", "namespace": "company.team", "flowId": "files", "deleted": False,
             "state": {"current": "SUCCESS", "duration": 1.5, "startDate": "2026-11-22T12:03:25.609000Z"},
             "outputs": {name: f"kestra:///{top}{uri}" for name, uri in (
                 ("a", "a.ion"), ("b", "with%20blank%25.ion"), ("c", "日本.ion"), ("d", "lost.ion"))}}
    server.sql("INSERT INTO executions (`key`, value) VALUES ('e1', %s)", arguments=(json.dumps(value),), database=kestra)
    server.sql("INSERT INTO task_outputs (`key`, execution_id, value) VALUES ('r', 'e1', %s)",
               arguments=(f'{{uri:"kestra:///{top}ion.ion",x:"'.encode() + b'\xff\x00"}',), database=kestra)
    dumped, component = take(server.admin(), kestra)
    asked = References(str(tmp_path), created="2026-11-23T00:00:00Z")
    done = Mysql(login=second_server.admin()).restore(
        dumped, component, Steps(), look=lambda find: asked.read(find(NEEDLE)))
    assert done["differences"] == []
    there = sorted((top + name for name in ("a.ion", "with blank%.ion", "日本.ion", "ion.ion", "orphan.ion")),
                   key=lambda path: listing.key(path.encode()))
    found = asked.judge(listing.Entry(path.encode(), "f", 7, 0o644, 0, 0, 0) for path in there)
    assert (found["named"], found["opened"], found["missing"]["lost"]) == (5, 4, 1)
    assert found["first"]["lost"] == [top + "lost.ion"] and found["orphans"] == {"files": 1, "bytes": 7}
    assert found["rows"] == {"executions": 1, "logs": 400, "task_outputs": 1} and found["missing"]["mentioned"] == 400


def test_rows_are_found_by_a_text_in_any_column(server, kestra):
    odd = "per % cent"
    server.sql(f"CREATE TABLE `{odd}` (`a %s` TEXT, n INT)", database=kestra)
    server.sql(f"INSERT INTO `{odd}` VALUES ('x kestra:///y', 1), ('kestra://', 2), (NULL, 3)", database=kestra)
    found = [(table, row) for table, row in search.search(server.admin(), kestra, NEEDLE) if table != "logs"]
    assert found == [(odd, {"a %s": "x kestra:///y"})]
