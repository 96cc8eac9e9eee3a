# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the record beside a kit tells, and that it tells nothing without the vault's key."""
from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.places import Local, Sftp
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import escrow_record
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog

THEN, NOW = "2026-11-01T00:00:00.000000Z", "2026-11-23T00:00:00.000000Z"
KEY, KIT = b"k" * 32, b"-----BEGIN PGP MESSAGE-----"
FACTS = {
    "instance": {"name": "prod", "id": "uuid-1", "hosts": []},
    "repository": {"location": "/srv/x", "id": "r1", "password": "guess me", "environment": {}},
    "hosts": {"h1": {"version": "0.21.0", "plugins": ["b.jar", "a.jar"], "settings": {"kestra.encryption.secret-key": "c2Vj"},
                     "environment": {"SECRET_X": "eA=="}, "files": []}}}


def changed(*path, value):
    found = copy.deepcopy(FACTS)
    place = found
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return escrow_record.digests(KEY, found)


RECORD = escrow_record.compose(KIT, THEN, escrow_record.digests(KEY, FACTS))


def judged(fresh=None, kit=KIT, record=RECORD, limit=30):
    found = escrow_record.judge(kit, record, fresh or escrow_record.digests(KEY, FACTS), limit, NOW)
    return found["state"], found["why"]


def test_it_is_current_for_as_long_as_nothing_changes():
    assert escrow_record.judge(KIT, RECORD, escrow_record.digests(KEY, FACTS), 30, NOW) == {
        "written": THEN, "age_days": 22.0, "state": "current", "why": None}
    assert judged(changed("hosts", "h1", "plugins", value=["a.jar", "b.jar"])) == ("current", None)
    assert judged(limit=21) == ("stale", "it is older than 21 days")


@pytest.mark.parametrize("path, value, why", [
    (("instance", "id"), "uuid-2", "another instance"),
    (("repository", "password"), "other", "another repository, or another password or account of it"),
    (("repository", "id"), "r2", "another repository, or another password or account of it"),
    (("hosts", "h1", "settings"), {}, "other keys, passwords or settings of Kestra"),
    (("hosts", "h1", "environment", "SECRET_X"), "eQ==", "other keys, passwords or settings of Kestra"),
    (("hosts", "h1", "version"), "1.0.0", "another version or other plugins of Kestra")])
def test_what_it_was_made_for_is_told(path, value, why):
    assert judged(changed(*path, value=value)) == ("stale", f"it was made for {why}")


def test_what_is_not_known_today_is_not_compared():
    unknown = escrow_record.digests(KEY, {"instance": {"name": "prod", "id": None}, "repository": FACTS["repository"], "hosts": None})
    assert [group for group, digest in unknown.items() if digest is None] == ["instance", "keys", "kestra"]
    assert judged(unknown) == ("current", None)


def test_no_kit_and_no_record_of_it():
    assert judged(kit=None)[0] == "missing"
    other = json.loads(RECORD)
    for record in (None, b"", b"[]", b"{}", json.dumps(dict(other, schema=9)).encode(), json.dumps(dict(other, written="then")).encode()):
        assert judged(record=record) == ("stale", "nothing beside it tells what it was made for"), record
    assert judged(kit=b"another") == ("stale", "what lies beside it tells of another one")
    assert judged(record=json.dumps(dict(other, digests={})).encode())[0] == "stale"
    assert escrow_record.judge(KIT, RECORD, None, 30, NOW)["why"] == "it was not written from this vault"


def test_it_tells_nothing_by_itself():
    for value in ("prod", "uuid-1", "/srv/x", "guess me", "c2Vj", "eA==", "0.21.0", "a.jar"):
        assert value not in RECORD.decode()
    # Nothing of one vault says anything to another, nor one group of another.
    digests = escrow_record.digests(KEY, FACTS)
    other = escrow_record.digests(b"o" * 32, FACTS)
    assert len({*digests.values(), *other.values()}) == 8


def test_the_key_stays_in_the_vault(tmp_path):
    vault = Catalog(tmp_path, "prod")
    (tmp_path / "prod").mkdir()
    assert escrow_record.key(vault) is None
    made = escrow_record.key(vault, make=True)
    assert len(made) == 32 and escrow_record.key(vault) == escrow_record.key(vault, make=True) == made
    (path,) = (tmp_path / "prod").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_where_it_lies():
    assert escrow_record.place_of(Local("/a/kit.asc")).path == "/a/kit.asc.json"
    far = escrow_record.place_of(Sftp("/a/kit.asc", host="h", user="u", key_file="k", known_hosts="n", port=23))
    assert (far.path, far.host, far.port) == ("/a/kit.asc.json", "h", 23)
