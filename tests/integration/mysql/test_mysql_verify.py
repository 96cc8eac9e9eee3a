# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump proved by a restore into a scratch server, private or named."""

from __future__ import annotations

import os

import pytest
from mysql_harness import BIN, Steps

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import scratch
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.verify_mysql import Mysql


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
