# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata archive, taken and restored by the modules with the stand-in's command line; and every way it fails."""
from __future__ import annotations

import base64
import gzip
import hashlib
import shutil

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest

OTHER_KEY = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
# What a restore has to bring back, as rows.
CONTENT = {
    "flows": "SELECT key, value, source_code FROM flows ORDER BY 1",
    "triggers": "SELECT key, value FROM triggers ORDER BY 1",
    "namespaces": "SELECT key, value FROM namespaces ORDER BY 1",
    "tenants": "SELECT key, value FROM tenants ORDER BY 1",
    "executions": "SELECT key, value FROM executions ORDER BY 1",
    "logs": "SELECT value FROM logs ORDER BY value::text",
}


def content(instance):
    return {name: instance.rows(statement) for name, statement in CONTENT.items()}


def fails(result, reason):
    """The message of a failure with this reason."""
    assert result.get("failed") and result.get("reason") == reason, result["_raw"]
    return result["msg"]


def restorable(result, **more):
    """Options of a restore from the result of a backup."""
    component = result["component"]
    return {"uri": component["uri"], "archive": f"{result['dest']}/{component['files'][0]['path']}",
            "sha256": component["files"][0]["sha256"], "summary": component["summary"], **more}


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """A FULL archive with data, and one of a tenant."""
    directory = tmp_path_factory.mktemp("archives")
    full = source.backup(directory / "full", include_data=True)
    tenant = source.backup(directory / "sales", type="TENANT", tenant="sales")
    assert "component" in full and "component" in tenant, full["_raw"] + tenant["_raw"]
    return full, tenant


# -- what is to be ----------------------------------------------------------------------------------------------------

def test_a_full_archive_is_encrypted_copied_out_and_counted(source, whole):
    result = whole[0]
    assert result["changed"] and not result["reattached"]
    component = result["component"]
    manifest.validate_component("metadata", component, sealed=False)
    file = component["files"][0]
    raw = open(f"{result['dest']}/{file['path']}", "rb").read()
    assert hashlib.sha256(raw).hexdigest() == file["sha256"] and len(raw) == file["size"] == component["bytes"]
    assert component["uri"] == f"kestra:///backups/full/{file['path']}" and file["path"] in source.archives()
    assert component["key"] == "instance" and b"recipe" not in raw and not raw.startswith(b"\x1f\x8b")
    counts = {kind: source.rows(f"SELECT count(*) FROM {kind.lower()}s")[0][0]
              for kind in ("FLOW", "TRIGGER", "EXECUTION", "LOG", "USER", "TENANT", "NAMESPACE")}
    assert {kind: component["summary"][kind] for kind in counts} == counts and counts["LOG"] >= 2
    assert component["summary"]["KV_STORE"] == 2
    assert "15873" in result["plan"]["warnings"][0] and "15873" in str(result["warnings"])


def test_everything_comes_back_in_another_instance(source, whole, instance, tmp_path):
    target = instance()
    options = restorable(whole[0], job_dir=str(tmp_path / "job"))
    result = target.restore(**options)
    assert not result.get("failed"), result["_raw"]
    assert result["put_back"] and result["summary"] == result["restored"] == whole[0]["component"]["summary"]
    assert result["archive"]["type"] == "FULL" and result["notes"] == []
    assert content(target) == content(source) and len(content(target)["executions"]) == 2
    for tenant, color in (("main", '"blue"'), ("sales", '"red"')):
        assert (target.standin.storage / tenant / "company/team/_kv/color.ion").read_text() == color
    again = target.restore(**options)
    assert again["reattached"] and not again["changed"]
    assert content(target) == content(source)


def test_an_archive_of_another_version_is_restored_with_a_note(source, whole, instance):
    target = instance(version="2.0.0")
    result = target.restore(**restorable(whole[0], resources=["flow", "namespace"]))
    assert not result.get("failed"), result["_raw"]
    assert "1.3.15" in result["notes"][0] and "1.3.15" in str(result["warnings"])
    assert set(result["restored"]) == {"FLOW", "NAMESPACE"}
    assert len(target.rows("SELECT 1 FROM flows")) == 3 and not target.rows("SELECT 1 FROM executions")


def test_another_backend_and_another_version_take_it(source, whole, instance, tmp_path):
    target = instance(backend="mysql", version="2.0.0")
    result = target.restore(**restorable(whole[0], accept_duplicates=True))
    assert result.get("restored") == whole[0]["component"]["summary"] and "1.3.15" in result["notes"][0], result["_raw"]
    asked = "SELECT tenant_id, namespace, id, revision, source_code FROM flows ORDER BY 1, 2, 3"
    assert target.rows(asked) == source.rows(asked) and len(target.rows(asked)) == 3
    asked = "SELECT tenant_id, namespace, flow_id, trigger_id FROM triggers ORDER BY 1, 2, 3"
    assert target.rows(asked) == source.rows(asked)
    assert {name for (name,) in source.rows("SELECT key FROM users")} < {name for (name,) in target.rows("SELECT `key` FROM users")}
    made, back = target.backup(tmp_path / "made", type="TENANT", tenant="sales"), instance()
    assert back.restore(**restorable(made)).get("restored") == whole[1]["component"]["summary"], made["_raw"]
    assert back.rows("SELECT key, value, source_code FROM flows") == source.rows("SELECT key, value, source_code FROM flows WHERE tenant_id = 'sales'")


def test_a_tenant_is_restored_under_another_name(source, whole, instance):
    component = whole[1]["component"]
    assert component["uri"].startswith("kestra:///backups/tenants/sales/") and "USER" not in component["summary"]
    assert component["summary"]["FLOW"] == 1
    target = instance()
    result = target.restore(**restorable(whole[1], to_tenant="copy"))
    assert not result.get("failed"), result["_raw"]
    assert target.rows("SELECT key, tenant_id FROM flows") == [("copy_company.team_quick_1", "copy")]
    assert (target.standin.storage / "copy/company/team/_kv/color.ion").read_text() == '"red"'


def test_an_archive_in_the_storage_needs_no_copy(source, instance, tmp_path):
    target = instance()
    made = target.backup(tmp_path / "made", encrypt=False)
    assert made["component"]["key"] == "none", made["_raw"]
    raw = open(f"{made['dest']}/{made['component']['files'][0]['path']}", "rb").read()
    assert b"admin" in gzip.decompress(raw)
    user = target.rows("SELECT key, value FROM users")
    target.rows("DELETE FROM users RETURNING key")
    result = target.restore(made["component"]["uri"])
    assert not result.get("failed") and not result["put_back"], result["_raw"]
    assert user[0] in target.rows("SELECT key, value FROM users")


def test_check_mode_asks_and_changes_nothing(source, whole, instance, tmp_path):
    before = source.archives()
    plan = source.backup(tmp_path / "none", check=True)
    assert plan["changed"] and plan["plan"]["kestra_version"] == "1.3.15" and plan["plan"]["key"] == "instance"
    assert source.archives() == before and not (tmp_path / "none").exists()
    target = instance()
    plan = target.restore(check=True, **restorable(whole[0], job_dir=str(tmp_path / "job")))
    assert plan["plan"]["put_back"] and target.archives() == []


def test_a_finished_job_is_not_done_again(source, tmp_path):
    options = {"job_dir": str(tmp_path / "job"), "resources": ["FLOW"]}
    (tmp_path / "made.part").mkdir()  # of a run that was killed
    (tmp_path / "made.part" / "backup-20260101000000.kestra.part").write_bytes(b"half")
    first = source.backup(tmp_path / "made", **options)
    assert not (tmp_path / "made.part").exists() and len(list((tmp_path / "made").iterdir())) == 1
    before = source.archives()
    second = source.backup(tmp_path / "made", **options)
    assert second["reattached"] and not second["changed"] and second["component"] == first["component"]
    assert source.archives() == before
    assert "already exists" in fails(source.backup(tmp_path / "made", resources=["FLOW"]), "dest_exists")


def test_old_archives_go_only_when_asked(instance, tmp_path):
    target = instance()
    place = target.standin.storage / "backups" / "full"
    place.mkdir(parents=True)
    names = [f"backup-2020010100000{number}.kestra" for number in range(3)]
    for name in [*names, "note.txt"]:
        (place / name).write_bytes(b"x")
    assert target.backup(tmp_path / "one")["removed"] == []
    assert set(names) < set(target.archives())
    result = target.backup(tmp_path / "two", keep=3)
    assert result["removed"] == [str(place / name) for name in names[:2]]
    left = target.archives()
    assert len(left) == 4 and {names[2], "note.txt", result["component"]["files"][0]["path"]} < set(left)


# -- keys -------------------------------------------------------------------------------------------------------------

def test_a_key_of_its_own_is_on_no_command_line_and_in_no_result(source, instance, wrapped, tmp_path):
    (tmp_path / "key").write_text(OTHER_KEY + "\n", encoding="utf-8")
    said = tmp_path / "said"
    program = wrapped(before=f"printf '%s\\n' \"$*\" >> '{said}'")
    key = {"encryption_key_file": str(tmp_path / "key"), "resources": ["FLOW"], "job_dir": str(tmp_path / "job"),
           "cli": {"executable": program}}
    made = source.backup(tmp_path / "made", **key)
    assert made["component"]["key"] == "given", made["_raw"]
    written = said.read_bytes() + made["_raw"].encode() + (tmp_path / "job" / "state.json").read_bytes()
    assert b"backups create" in written and OTHER_KEY.encode() not in written
    target = instance()
    options = restorable(made)
    msg = fails(target.restore(**options), "cli_failed")
    assert "Tag mismatch" in msg and "The key is not the one" in msg
    assert target.rows("SELECT count(*) FROM flows") == [(0,)]
    result = target.restore(encryption_key=OTHER_KEY, **options)
    assert result["restored"] == made["component"]["summary"] and OTHER_KEY not in result["_raw"]


def test_a_key_above_the_variable_is_refused_or_given_as_an_argument(source, instance, tmp_path):
    target = instance()
    above = {"config_file": str(target.config)}
    options = {"encryption_key": OTHER_KEY, "cli": above, "resources": ["USER"]}
    msg = fails(target.backup(tmp_path / "made", **options), "key_overridden")
    assert OTHER_KEY not in msg and target.archives() == []
    made = target.backup(tmp_path / "made", encryption_key_by="argument", **options)
    assert made["component"]["key"] == "given" and OTHER_KEY not in made["_raw"], made["_raw"]
    uri = made["component"]["uri"]
    assert "Tag mismatch" in fails(target.restore(uri, cli=above), "cli_failed")
    assert target.restore(uri, encryption_key=OTHER_KEY, encryption_key_by="argument", cli=above)["restored"]


def test_a_lost_key(source, whole, instance, tmp_path):
    target = instance(key=None)
    assert "no key to encrypt with" in fails(target.backup(tmp_path / "made"), "key_missing")
    assert target.archives() == []
    assert "encryption key" in fails(target.restore(**restorable(whole[1])), "cli_failed")
    assert target.rows("SELECT count(*) FROM flows") == [(0,)]


# -- archives ---------------------------------------------------------------------------------------------------------

def test_an_archive_that_is_nowhere(source, whole, instance):
    target = instance()
    options = restorable(whole[1])
    assert "option archive" in fails(target.restore(options["uri"]), "archive_missing")
    assert fails(target.restore(options["uri"], archive="/nowhere/x.kestra"), "archive_missing")


@pytest.mark.parametrize("harm", [lambda raw: raw[:-20], lambda raw: raw[:40] + bytes([raw[40] ^ 1]) + raw[41:]])
def test_a_damaged_archive(source, whole, instance, tmp_path, harm):
    options = restorable(whole[1])
    raw = open(options["archive"], "rb").read()
    options["archive"] = str(tmp_path / "damaged.kestra")
    (tmp_path / "damaged.kestra").write_bytes(harm(raw))
    target = instance()
    fails(target.restore(**options), "digest_differs")
    assert target.archives() == []  # not even put back
    del options["sha256"], options["summary"]
    assert "archive is damaged" in fails(target.restore(**options), "cli_failed")
    # In the storage it is found by the digest too, and is never written over.
    digest = whole[1]["component"]["files"][0]["sha256"]
    fails(target.restore(options["uri"], sha256=digest), "digest_differs")
    fails(target.restore(**restorable(whole[1])), "archive_differs")
    assert target.rows("SELECT count(*) FROM flows") == [(0,)]


def test_an_archive_kestra_names_but_did_not_keep(source, wrapped, tmp_path):
    program = wrapped(each="s/Backup created: .*/Backup created: kestra:\\/\\/\\/backups\\/full\\/gone.kestra/")
    assert "storage_path" in fails(source.backup(tmp_path / "made", cli={"executable": program}), "archive_missing")
    assert not (tmp_path / "made").exists()


# -- refusals ---------------------------------------------------------------------------------------------------------

def test_a_full_archive_into_another_tenant_is_refused_before_any_call(source, whole):
    options = restorable(whole[0], to_tenant="copy", cli={"executable": "/nowhere/kestra"})
    assert "FULL" in fails(source.restore(**options), "to_tenant_with_full")


def test_a_tenant_there_is_not(source, tmp_path):
    result = source.backup(tmp_path / "made", type="TENANT", tenant="ghost")
    assert "'ghost' does not exist" in fails(result, "cli_failed") and not (tmp_path / "made").exists()


@pytest.mark.parametrize("executable", ["/nowhere/kestra", "kestra-that-is-not-there"])
def test_no_command_line(source, tmp_path, executable):
    assert "cli.executable" in fails(source.backup(tmp_path / "made", cli={"executable": executable}), "cli_missing")


@pytest.mark.parametrize("line, reason", [("Backup created", "no_uri"), ("Backup summary", "no_summary")])
def test_a_command_that_ends_well_and_proves_nothing(source, wrapped, tmp_path, line, reason):
    result = source.backup(tmp_path / "made", cli={"executable": wrapped(each=f"/{line}/d")})
    fails(result, reason)
    assert not (tmp_path / "made").exists()


def test_a_restore_that_brings_less_than_there_is(source, whole, instance, wrapped):
    program = wrapped(each="s/\\(Restore summary.*FLOW: \\)[0-9]*/\\10/")
    target = instance()
    msg = fails(target.restore(**restorable(whole[1]), cli={"executable": program}), "summary_differs")
    assert "0 of FLOW where 1" in msg
    options = restorable(whole[1])
    options["summary"] = {**options["summary"], "FLOW": 7}
    assert "1 of FLOW where 7" in fails(target.restore(**options), "summary_differs")


def test_the_open_source_edition(instance, tmp_path):
    target = instance(edition="OSS")
    for result in (target.backup(tmp_path / "made"), target.restore("kestra:///backups/full/x.kestra", check=True)):
        msg = fails(result, "enterprise_only")
        assert "open-source" in msg and "kestra_community.dr.backup" in msg
    found = target.command("backups", "create", "FULL")
    assert found.returncode == 1 and "Unmatched argument" in found.stderr


def test_a_command_line_of_another_version_migrates_nothing(instance, tmp_path):
    target = instance(version="0.21.0")
    assert target.command("sys", "database", "migrate").returncode == 0
    history = target.rows("SELECT version FROM flyway_schema_history ORDER BY installed_rank")
    target.version = "0.22.3"
    for version, reason in (("0.21.0", "version_differs"), (None, "version_unproven")):
        result = target.backup(tmp_path / "made", cli={"server_version": version})
        assert "migrate" in fails(result, reason)
        fails(target.restore("kestra:///backups/full/x.kestra", cli={"server_version": version}), reason)
    assert target.rows("SELECT version FROM flyway_schema_history ORDER BY installed_rank") == history
    # The control: its mere help does.
    assert target.command("backups", "create", "--help").returncode == 0
    assert target.rows("SELECT version FROM flyway_schema_history ORDER BY installed_rank") != history


def test_an_option_this_version_does_not_have(instance, tmp_path):
    target = instance(version="0.21.0")
    assert "--include-data" in fails(target.backup(tmp_path / "made", include_data=True), "flag_unsupported")
    assert target.archives() == []
    fails(target.backup(tmp_path / "made", type="TENANT", tenant="default"), "empty_archive")
    values = target.standin.storage / "company" / "_kv"
    values.mkdir(parents=True)
    (values / "color.ion").write_text('"blue"', encoding="utf-8")
    made = target.backup(tmp_path / "made", type="TENANT", tenant="default")
    assert made["component"]["uri"].startswith("kestra:///backups/tenants/default/"), made["_raw"]


def between(*values):
    """A version that is neither the oldest nor the newest."""
    return pytest.param(*values, marks=pytest.mark.full("metadata archives of the versions between the oldest and the newest"))


@pytest.mark.parametrize("version, has_data", [
    ("0.19.0", False), between("0.21.0", False), between("0.22.0", True), between("0.24.0", True), between("1.3.26", True), ("2.0.0", True)])
def test_every_version_makes_and_takes_an_archive_with_the_flags_it_has(instance, tmp_path, version, has_data):
    one = instance(version=version)
    assert one.command("sys", "database", "migrate").returncode == 0
    made = one.backup(tmp_path / "made")
    assert made["component"]["kestra_version"] == version and made["component"]["summary"]["USER"] == 1, made["_raw"]
    assert ("TENANT" in made["component"]["summary"]) is (version >= "0.23.0")
    data = one.backup(tmp_path / "data", include_data=True)
    if has_data:
        assert data["component"]["include_data"] and data["component"]["summary"] == made["component"]["summary"]
    else:
        fails(data, "flag_unsupported")
    readable = one.backup(tmp_path / "readable", encrypt=False)
    assert readable["component"]["key"] == "none" and readable["component"]["summary"] == made["component"]["summary"], readable["_raw"]
    user = one.rows("SELECT key, value FROM users")
    for archive, key in ((made, one.key), (readable, None)):
        other = instance(version=version, key=key)
        result = other.restore(**restorable(archive))
        assert result["restored"] == made["component"]["summary"] and result["notes"] == [], result["_raw"]
        assert user[0] in other.rows("SELECT key, value FROM users")


# -- a second time ----------------------------------------------------------------------------------------------------

def test_logs_do_not_come_twice_unless_that_is_accepted(source, whole, instance, wrapped, tmp_path):
    target = instance()
    options = restorable(whole[0])
    logs = whole[0]["component"]["summary"]["LOG"]
    assert "job_dir" in fails(target.restore(**options), "duplicates")
    options["job_dir"] = str(tmp_path / "job")
    # It fails before it has read the archive: it may be tried again.
    target.configure(OTHER_KEY)
    fails(target.restore(**options), "cli_failed")
    target.configure(source.key)
    # It fails afterwards: it may not.
    fails(target.restore(**options, cli={"executable": wrapped(rc=1)}), "cli_failed")
    assert target.rows("SELECT count(*) FROM logs") == [(logs,)]
    msg = fails(target.restore(**options), "duplicates")
    assert "ended in the middle" in msg and target.rows("SELECT count(*) FROM logs") == [(logs,)]
    assert target.restore(**{**options, "resources": ["FLOW"]})["restored"] == {"FLOW": 3}
    # The control: Kestra does add them again.
    shutil.rmtree(tmp_path / "job")
    assert target.restore(**options, accept_duplicates=True)["restored"]["LOG"] == logs
    assert target.rows("SELECT count(*) FROM logs") == [(2 * logs,)]
