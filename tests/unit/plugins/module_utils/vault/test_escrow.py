# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of the kit, when it has to be written again, and where it may lie."""
from __future__ import annotations

import copy

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import places
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import options as object_options
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import escrow, escrow_place

THEN, NOW = "2026-11-01T00:00:00.000000Z", "2026-11-23T00:00:00.000000Z"
POSTGRESQL = {"engine": "postgresql", "format": "directory", "timezone": "Europe/Paris", "held": "vault",
              "identity": {"database": "kestra", "owner": "kestra", "server_version": "15.18", "system_identifier": "7"},
              "files": [{"path": "toc.dat"}]}
MYSQL = {"engine": "mysql", "format": "sql", "compression": "zstd", "held": "vault",
         "identity": {"database": "kestra", "server_version": "9.7.4", "server_uuid": "u-1"},
         "files": [{"path": "database.sql.zst"}]}
FACTS = {
    "instance": {"name": "prod", "id": "uuid-1"}, "kestra": {"version": "0.21.0", "edition": "OSS"},
    "point": "20261101T000000Z-a1b2c3", "tools": {"restic": "0.14.0"},
    "components": {"database": POSTGRESQL, "storage": {"engine": "local", "held": "vault", "path": "/storage"},
                   "config": {"engine": "bundle", "held": "vault"}},
    "repository": {"location": "s3:https://host/bucket", "id": "r1", "password": "p's \"$x",
                   "environment": {"AWS_SECRET_ACCESS_KEY": "k y"}},
    "hosts": {"h1": {"version": "0.21.0", "plugins": ["a.jar"], "files": ["/etc/kestra/application.yml"],
                     "settings": {"kestra.encryption.secret-key": "c2VjcmV0"}, "environment": {"SECRET_X": "eA=="}}}}


def facts(**change):
    return dict(copy.deepcopy(FACTS), **change)


def test_it_holds_what_is_needed():
    text = escrow.compose(FACTS, THEN)
    for wanted in ("prod, id uuid-1", "0.21.0 OSS", "s3:https://host/bucket, id r1", "server 7", "Written: " + THEN,
                   """export RESTIC_PASSWORD='p'"'"'s "$x'""", "export AWS_SECRET_ACCESS_KEY='k y'",
                   'kestra.encryption.secret-key: "c2VjcmV0"', "environment SECRET_X=eA==", "a.jar",
                   "PGTZ=Europe/Paris pg_restore --exit-on-error --no-owner --role=kestra -d kestra \"$TARGET/database\"",
                   '--tag "kestra-dr,instance=prod,point=$POINT,component=$component"', "manifest config database storage;"):
        assert wanted in text, wanted


@pytest.mark.parametrize("database, wanted", [
    (dict(POSTGRESQL, format="custom", files=[{"path": "kestra.dump"}]), '-d kestra "$TARGET/database/kestra.dump"'),
    (dict(POSTGRESQL, format="plain", files=[{"path": "kestra.sql"}]), "--set=ON_ERROR_STOP=1 -d kestra -f"),
    (MYSQL, 'zstd -dc "$TARGET/database/database.sql.zst" | mysql kestra'),
    (dict(MYSQL, compression="none"), 'cat "$TARGET/database/database.sql.zst" | mysql kestra')])
def test_every_kind_of_dump_has_its_command(database, wanted):
    assert wanted in escrow.compose(facts(components=dict(FACTS["components"], database=database)), THEN)


def test_indices_and_a_queue_that_is_not_held():
    search = {"engine": "elasticsearch", "held": "vault", "snapshot_name": "20261101t000000z-a1b2c3", "path": "/kestra",
              "identity": {"server_version": "8.19.21", "index_prefix": "prod_"}}
    queue = {"engine": "kafka", "held": "external", "strategy": "rebuild"}
    parts = {name: value for name, value in FACTS["components"].items() if name != "database"}
    text = escrow.compose(facts(components=dict(parts, search=search, queue=queue)), THEN)
    for wanted in ("manifest config search storage;", "$TARGET/kestra below path.repo", '"indices": "prod_*"', "sys-ee restore-queue",
                   "_snapshot/restored/20261101t000000z-a1b2c3/_restore", "kafka, held: external"):
        assert wanted in text, wanted


def test_indices_that_are_not_in_the_vault():
    search = {"engine": "elasticsearch", "held": "external", "snapshot_name": "20261101t000000z-a1b2c3", "system": "the repository kestra (fs) of X",
              "repository": {"name": "kestra", "type": "fs", "settings": {"location": "/mnt/it's"}},
              "identity": {"server_version": "8.19.21", "index_prefix": "prod_"}}
    parts = {name: value for name, value in FACTS["components"].items() if name != "database"}
    text = escrow.compose(facts(components=dict(parts, search=search)), THEN)
    for wanted in ("manifest config storage;", "not in the vault but in the repository kestra (fs) of X",
                   """'{"type": "fs", "settings": {"location": "/mnt/it'"'"'s", "readonly": "true"}}'""",
                   "_snapshot/restored/20261101t000000z-a1b2c3/_restore", "elasticsearch, held: external"):
        assert wanted in text, wanted


def test_what_the_api_did_not_tell_the_configuration_may():
    assert "Kestra      0.21.0\n" in escrow.compose(facts(kestra={"facts": "not_run"}), THEN)


def test_it_is_written_again_when_it_is_no_longer_true():
    kit = escrow.compose(FACTS, THEN)
    # Another recovery point of the same instance changes nothing.
    later = escrow.compose(facts(point="20261122T000000Z-ffffff"), NOW)
    assert escrow.judge(kit, later, 30, NOW) == {"written": THEN, "age_days": 22.0, "state": "current", "why": None}
    for change in ({"kestra": {"version": "0.22.0"}}, {"repository": dict(FACTS["repository"], password="new")}):
        found = escrow.judge(kit, escrow.compose(facts(**change), NOW), 30, NOW)
        assert (found["state"], found["why"]) == ("stale", "its content is no longer true")


@pytest.mark.parametrize("limit, state", [(22, "current"), (21, "stale")])
def test_it_is_written_again_when_it_is_old(limit, state):
    kit = escrow.compose(FACTS, THEN)
    assert escrow.judge(kit, kit, limit, NOW)["state"] == state


def test_none_and_what_is_no_kit():
    fresh = escrow.compose(FACTS, NOW)
    assert escrow.judge(None, fresh, 30, NOW)["state"] == "missing"
    for text in ("", "something else\n", fresh.replace(NOW, "yesterday")):
        assert escrow.judge(text, fresh, 30, NOW)["state"] == "stale"


def test_a_place_that_would_be_lost_with_the_data(tmp_path):
    for name in ("vault/kit.asc", "repository/x/kit.asc", "link/kit.asc"):
        (tmp_path / "vault").mkdir(exist_ok=True)
        if name.startswith("link"):
            (tmp_path / "link").symlink_to(tmp_path / "vault")
        with pytest.raises(RefusedError) as caught:
            escrow_place.require_apart(
                places.Local(str(tmp_path / name)), str(tmp_path / "vault"), str(tmp_path / "repository"))
        assert caught.value.reason == "not_apart"
    vault, repository = str(tmp_path / "vault"), str(tmp_path / "repository")
    escrow_place.require_apart(places.Local(str(tmp_path / "repository2/kit.asc")), vault, repository)
    escrow_place.require_apart(places.Local(str(tmp_path / "kit.asc")), vault, "sftp:host:/x")
    far = places.Sftp(str(tmp_path / "vault/kit.asc"), host="h", user="u", key_file="k", known_hosts="n")
    escrow_place.require_apart(far, vault, "/repository")


@pytest.mark.parametrize("repository, refused", [
    ("s3:https://host/escrow/kestra", True), ("s3:host/escrow", True), ("s3:https://host/escrow-2/kestra", False), ("/escrow/x", False)])
def test_a_bucket_that_would_be_lost_with_the_data(repository, refused):
    place = escrow_place.InBucket("kit.asc", object_options.Place(bucket="escrow"))
    if refused:
        with pytest.raises(RefusedError) as caught:
            escrow_place.require_apart(place, "/vault", repository)
        assert caught.value.reason == "not_apart"
    else:
        escrow_place.require_apart(place, "/vault", repository)


def test_what_was_kept_beside_a_storage_is_put_back_by_hand():
    storage = dict(FACTS["components"]["storage"], kept={"file": "storage-kept.tar"})
    text = escrow.compose(facts(components=dict(FACTS["components"], storage=storage)), THEN)
    assert 'tar -xpf "$TARGET/$POINT/storage-kept.tar" -C "$TARGET/storage"' in text
    assert "storage-kept" not in escrow.compose(FACTS, THEN)


def test_a_file_on_this_host(tmp_path):
    place = places.Local(str(tmp_path / "kit.asc"))
    assert place.read() is None
    place.write(b"one")
    place.write(b"two")
    assert place.read() == b"two" and (tmp_path / "kit.asc").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["kit.asc"]
    for path, reason in ((tmp_path / "no" / "kit.asc", "not_found"), (tmp_path, "os_error")):
        with pytest.raises(DrError) as caught:
            places.Local(str(path)).write(b"x")
        assert caught.value.reason == reason
