# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database half of an undo point on a real MySQL server: there, back, refused, killed, finished."""

from __future__ import annotations

import signal

import kestra_mysql_rows
import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import connect, inventory, swap
from ansible_collections.kestra_community.dr.plugins.module_utils.swap import undo_point
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.databases import MysqlStore, undo_name
from ansible_collections.kestra_community.dr.plugins.module_utils.swap.position import Names

ID = "20261123T001500Z-a1b2c3"
LIVE = "Kestra `prod`"
REPLACEMENT = "kestra_dr_20261123t001500z_a1b2c3"
UNDO = undo_name(LIVE, ID)


class Place:
    """Two databases that know whether they are the old or the new one."""

    def __init__(self, server, directory):
        self.server, self.directory = server, str(directory)
        for name, which in ((LIVE, "old"), (REPLACEMENT, "new")):
            quoted = "`" + name.replace("`", "``") + "`"
            server.sql(f"DROP DATABASE IF EXISTS {quoted}")
            server.sql(f"CREATE DATABASE {quoted}")
            with connect.connect(server.admin(), name) as session:
                kestra_mysql_rows.create(session)
                session.rows("INSERT INTO settings (`key`, value) VALUES ('which', JSON_QUOTE(%s))", (which,))
        server.sql(f"DROP DATABASE IF EXISTS `{UNDO.replace('`', '``')}`")

    def ensure(self, state, **how):
        names = {"database": Names(LIVE, REPLACEMENT, UNDO)}
        store = how.pop("store", None) or MysqlStore(self.server.admin())
        return undo_point.ensure(state, self.directory, ID, names, {"database": store}, {"instance": "kestra"}, **how)

    def which(self, name=LIVE):
        return self.server.sql("SELECT value ->> '$' FROM settings WHERE `key` = 'which'", name)[0][0]

    def databases(self):
        return {row[0] for row in self.server.sql("SHOW DATABASES")} & {LIVE, REPLACEMENT, UNDO}


@pytest.fixture
def place(server, tmp_path):
    return Place(server, tmp_path / "undo")


def test_there_back_and_gone(place):
    assert not place.ensure("possible")["changed"]
    assert place.ensure("swapped", check_mode=True)["changed"] and place.which() == "old"
    assert place.server.sql("SHOW TABLES LIKE 'kestra_dr%%'", LIVE) == [], "check mode has left something"
    result = place.ensure("swapped")
    assert (
        result["changed"]
        and result["database"]["kept"] == UNDO
        and place.which() == "new"
        and place.which(UNDO) == "old"
    )
    assert not place.ensure("swapped")["changed"]
    assert place.ensure("reverted")["changed"] and place.which() == "old" and place.databases() == {LIVE, REPLACEMENT}
    assert place.ensure("swapped")["changed"] and place.which() == "new"
    # Kestra works on it, a migration included, and it is still the same.
    place.server.sql("ALTER TABLE settings ADD COLUMN x INT, ALGORITHM=COPY", LIVE)
    place.server.sql("ALTER TABLE logs FORCE", LIVE)
    assert not place.ensure("swapped")["changed"]
    with pytest.raises(RefusedError):
        place.ensure("absent", confirm="something else")
    assert place.ensure("absent", confirm=ID)["removed"]["database"] == UNDO
    assert place.databases() == {LIVE} and place.which() == "new"
    assert not place.ensure("absent", confirm=ID)["changed"]


def test_what_tells_them_apart_is_in_no_inventory_and_no_dump(place, take):
    place.ensure("swapped")
    assert place.server.sql("SHOW TABLES LIKE 'kestra_dr%%'", LIVE) == [(swap.names.IDENTITY,)]
    found = inventory.read(place.server.admin(), LIVE, with_counts=True, with_objects=True)
    dumped, component = take(place.server.admin(), LIVE)
    assert swap.names.IDENTITY not in str(found) + str(component)
    with open(dumped + "/database.sql", encoding="utf-8") as handle:
        assert swap.names.IDENTITY not in handle.read()


def test_the_module(place, module, tmp_path):
    """Named by its option, or by Kestra's configuration."""
    login = {"login_unix_socket": place.server.socket, "login_user": "root"}
    options = {"id": ID, "vault": str(tmp_path / "vault"), "instance": "kestra", "engine": "mysql", **login}
    pair = {"database_pair": {"live": LIVE, "replacement": REPLACEMENT}}
    assert not module("undo_point", state="possible", **options, **pair)["changed"]
    assert module("undo_point", state="swapped", **options, **pair)["database"]["kept"] == UNDO
    assert place.which() == "new"
    configuration = tmp_path / "application.yml"
    configuration.write_text(
        "datasources: {mysql: {url: 'jdbc:mysql://h/d', username: u, password: sesame}}\n"
        "kestra: {repository: {type: mysql}, queue: {type: mysql}}\n"
    )
    options.pop("engine")
    assert module("undo_point", state="reverted", config={"files": [str(configuration)]}, **options)["changed"]
    assert place.which() == "old"


def test_a_session_on_either_database_refuses_before_anything(place):
    for name in (LIVE, REPLACEMENT):
        with connect.connect(place.server.admin(), name, application="mysql of alice"):
            with pytest.raises(RefusedError) as refused:
                place.ensure("swapped")
            assert refused.value.reason == "database_in_use" and "mysql of alice" in refused.value.message
    assert place.which() == "old"


def test_a_lost_database_is_put_in_place(place):
    """Also where an empty one has been made in its stead."""
    place.server.sql("DROP DATABASE `Kestra ``prod```")
    place.server.sql("CREATE DATABASE `Kestra ``prod```")
    result = place.ensure("swapped")
    assert place.which() == "new" and result["database"]["kept"] is None and place.databases() == {LIVE}


def test_somebody_else_made_one_meanwhile(place):
    place.ensure("swapped")
    place.server.sql("DROP DATABASE `" + UNDO.replace("`", "``") + "`")
    place.server.sql("CREATE DATABASE `" + UNDO.replace("`", "``") + "`")
    place.server.sql("CREATE TABLE other (a INT)", UNDO)
    with pytest.raises(DrError) as refused:
        place.ensure("reverted")
    assert refused.value.reason == "swap_state" and place.which() == "new"


@pytest.mark.parametrize("after", [False, True])
def test_a_server_that_goes_away_in_the_middle_is_told_and_a_rerun_finishes(own_server, tmp_path, monkeypatch, after):
    place = Place(own_server(), tmp_path / "undo")
    real = swap.rename_statement if not after else swap._complete

    def killed(*given):
        place.server.stop(signal.SIGKILL)
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(swap, real.__name__, killed)
        with pytest.raises(DrError) as lost:
            place.ensure("swapped")
    assert lost.value.reason in ("half_swapped", "connection_lost", "unreachable"), lost.value.message
    place.server.start()
    assert place.which() == ("new" if after else "old")
    place.ensure("swapped")
    assert place.which() == "new" and place.which(UNDO) == "old"
    assert place.ensure("reverted")["changed"] and place.which() == "old" and place.which(REPLACEMENT) == "new"
