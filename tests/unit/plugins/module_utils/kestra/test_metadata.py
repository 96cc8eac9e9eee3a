# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to `kestra backups`, and how its answers are read."""
from __future__ import annotations

import base64

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError, IntegrityError, RefusedError, ToolError)
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import config, layers, metadata
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.metadata import Key, Request

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(1, 33))).decode()
URI = "kestra:///backups/full/backup-20261126034500.kestra"
CREATED = ["2026-11-26 03:45:00,123 INFO  create io.kestra.ee.backup.BackupService Backup summary: [FLOW: 12, KV_STORE: 0, USER: 4]",
           "2026-11-26 03:45:00,200 INFO  create i.k.ee.backup.BackupService Backup instance created in 77 ms",
           f"Backup created: {URI}"]
RESTORED = [f"Restoring {URI}", "INFO x Restoring FULL backup from Kestra version 1.3.26 created at 2026-11-26T03:45:00Z",
            "INFO x Backup summary: [FLOW: 12, USER: 4]", "INFO x Restore summary: [USER: 4, FLOW: 12]",
            f"Backup restored from URI: {URI}"]


def configuration(text="", override=None, **environment):
    return config.load(layers.Sources(
        files=(layers.Layer("/etc/a.yml", text),), environment=environment,
        overrides=() if override is None else (layers.Layer("/etc/c.yml", override),)))


def refused(error, reason, call, *arguments, **named):
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    assert caught.value.reason == reason
    return caught.value


def test_words_of_create():
    full = Request("FULL", None, True, ("FLOW", "USER"), True, "DEBUG", Key("none"))
    assert metadata.create_words(full) == [
        "backups", "create", "--no-encryption", "--include-data", "--resources=FLOW", "--resources=USER",
        "--internal-log", "--log-level=DEBUG", "FULL"]
    assert metadata.create_words(Request("TENANT", "sales")) == ["backups", "create", "--tenant=sales", "TENANT"]


def test_a_key_is_an_argument_only_when_asked():
    by_environment, by_argument = Key("given", KEY), Key("given", KEY, "argument")
    assert by_environment.environment() == {"KESTRA_ENCRYPTION_SECRET_KEY": KEY} and by_environment.words() == []
    assert by_argument.environment() == {} and by_argument.words() == [f"--encryption-key={KEY}"]
    assert metadata.restore_words(URI, by_argument, "other", ("FLOW",)) == [
        "backups", "restore", f"--encryption-key={KEY}", "--to-tenant=other", "--resources=FLOW", URI]
    assert metadata.restore_words(URI, Key("instance"), None, ()) == ["backups", "restore", URI]
    assert KEY not in repr(by_argument) + repr(by_environment)


@pytest.mark.parametrize("request_, error, reason", [
    (Request("FULL", "sales"), RefusedError, "tenant_with_full"),
    (Request("TENANT"), ConfigError, "tenant_missing"),
    (Request("TENANT", "../x"), ConfigError, "bad_tenant"),
    (Request(internal_log=True, log_level="WARN"), RefusedError, "summary_hidden"),
])
def test_requests_that_cannot_be(request_, error, reason):
    refused(error, reason, metadata.require_request, request_)


def test_requests_that_can_be():
    for request in (Request(), Request("TENANT", "sales"), Request(log_level="WARN"), Request(internal_log=True)):
        metadata.require_request(request)
    assert metadata.resources_of(["flow", " KV_STORE "]) == ("FLOW", "KV_STORE")
    refused(ConfigError, "bad_resource", metadata.resources_of, ["FLOW,--tenant=x"])


# -- keys -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", ["nonsense!", base64.b64encode(b"short").decode(), ""])
def test_keys_kestra_cannot_use_are_refused_without_being_shown(text):
    error = refused(ConfigError, "bad_key", metadata.require_key, text, "The encryption key")
    assert not text or text not in str(error.to_result())


def test_the_instances_key_has_to_exist_where_the_configuration_is_known():
    assert metadata.key_of(None, "environment", True, None).source == "instance"
    own = configuration(f"kestra.encryption.secret-key: {KEY}")
    assert metadata.key_of(None, "environment", True, own) == Key("instance")
    refused(RefusedError, "key_missing", metadata.key_of, None, "environment", True, configuration())
    refused(ConfigError, "bad_key", metadata.key_of, None, "environment", True,
            configuration("kestra.encryption.secret-key: c2hvcnQ="))
    assert metadata.key_of(None, "environment", False, configuration()) == Key("none")
    refused(ConfigError, "bad_key", metadata.key_of, KEY, "environment", False, None)


def test_a_given_key_that_would_not_be_used_is_refused():
    plain = configuration(f"kestra.encryption.secret-key: {OTHER}", KESTRA_ENCRYPTION_SECRET_KEY=OTHER)
    assert metadata.key_of(KEY, "environment", True, plain).value == KEY
    above = configuration(override=f"kestra.encryption.secretKey: {OTHER}")
    error = refused(RefusedError, "key_overridden", metadata.key_of, KEY, "environment", True, above)
    assert KEY not in str(error.to_result()) and OTHER not in str(error.to_result())
    assert metadata.key_of(KEY, "argument", True, above).by == "argument"
    assert metadata.key_of(KEY, "environment", True, configuration(override=f"kestra.encryption.secret-key: {KEY}"))
    refused(RefusedError, "key_overridden", metadata.restore_key_of, KEY, "environment", above)
    assert metadata.restore_key_of(None, "environment", configuration()) == Key("instance")


# -- addresses --------------------------------------------------------------------------------------------------------

def test_addresses():
    full = metadata.location(URI)
    assert (full.type, full.tenant, full.name) == ("FULL", None, "backup-20261126034500.kestra")
    tenant = metadata.location("kestra:///backups/tenants/sales/b.kestra")
    assert (tenant.type, tenant.tenant, tenant.path) == ("TENANT", "sales", "/backups/tenants/sales/b.kestra")
    assert metadata.location("kestra:///elsewhere/b.kestra").type is None


@pytest.mark.parametrize("uri", ["", "/backups/full/x", "kestra:///", "kestra:///backups/../x", "kestra:///a//b",
                                 "kestra:///backups/full/a b", "file:///x"])
def test_what_is_no_address(uri):
    refused(ConfigError, "bad_uri", metadata.location, uri)


def test_only_an_archive_of_a_tenant_goes_into_another():
    metadata.require_to_tenant("copy", metadata.location("kestra:///backups/tenants/sales/b.kestra"))
    metadata.require_to_tenant(None, metadata.location(URI))
    refused(RefusedError, "to_tenant_with_full", metadata.require_to_tenant, "copy", metadata.location(URI))
    refused(ConfigError, "bad_tenant", metadata.require_to_tenant, "a/b", metadata.location(URI))


# -- answers ----------------------------------------------------------------------------------------------------------

def test_the_answer_of_create():
    made = metadata.created(CREATED, Request())
    assert made.location.uri == URI and made.summary == {"FLOW": 12, "KV_STORE": 0, "USER": 4}


def test_answers_of_create_that_prove_nothing():
    refused(ToolError, "no_uri", metadata.created, CREATED[:-1], Request())
    refused(ToolError, "no_summary", metadata.created, CREATED[1:], Request())
    refused(IntegrityError, "wrong_archive", metadata.created, CREATED, Request("TENANT", "sales"))
    other = [*CREATED[:-1], "Backup created: kestra:///backups/tenants/other/b.kestra"]
    refused(IntegrityError, "wrong_archive", metadata.created, other, Request("TENANT", "sales"))
    for text in ("[]", "[FLOW: 0]"):
        refused(IntegrityError, "empty_archive", metadata.created,
                [f"Backup summary: {text}", CREATED[-1]], Request())


@pytest.mark.parametrize("text", ["FLOW 12", "FLOW: x", "FLOW: 1, FLOW: 2", "flow: 1", "FLOW: -1"])
def test_summaries_that_are_not_understood(text):
    refused(IntegrityError, "malformed_summary", metadata.summary, text)


def test_the_answer_of_restore():
    said = metadata.restored(RESTORED, URI)
    assert (said.type, said.version, said.created) == ("FULL", "1.3.26", "2026-11-26T03:45:00Z")
    assert said.summary == said.restored == {"FLOW": 12, "USER": 4}


@pytest.mark.parametrize("gone", [1, 2, 3, 4])
def test_a_restore_that_does_not_say_everything_is_not_believed(gone):
    refused(ToolError, "restore_unproven", metadata.restored, RESTORED[:gone] + RESTORED[gone + 1:], URI)


def test_summaries_are_compared_by_kind():
    assert metadata.differences({"A": 1, "B": 2, "C": 0}, {"B": 2, "A": 1}) == []
    assert metadata.differences({"A": 1, "B": 2}, {"B": 3}) == [
        {"name": "A", "expected": 1, "found": None}, {"name": "B", "expected": 2, "found": 3}]
    assert metadata.differences({"A": 1, "B": 2}, {"B": 2}, ("B",)) == []
    error = refused(IntegrityError, "summary_differs", metadata.require_equal, {"FLOW": 12}, {"FLOW": 11}, (), "What")
    assert error.message == "What: 11 of FLOW where 12 are expected."
    assert metadata.recorded({"FLOW": "12"}) == {"FLOW": 12}
    refused(ConfigError, "bad_summary", metadata.recorded, {"FLOW": "many"})


# -- a second time ----------------------------------------------------------------------------------------------------

def job(outcome, begun=URI, alive=False):
    phases = {"preflight": {"facts": {}}, **({"restoring": {"facts": {"uri": begun}}} if begun else {})}
    return {"state": {"outcome": outcome, "phases": phases, "started": "x"}, "alive": alive, "finished": True}


NOTHING = {"state": None, "alive": False, "finished": False}


@pytest.mark.parametrize("attempt, expected, resources", [
    (None, {"LOG": 5}, ()), (job("failed"), {"METRIC": 1}, ()), (job(None), {"LOG": 5}, ()), (job("failed"), None, ()),
    (job("failed"), None, ("LOG",))])
def test_what_would_come_twice_is_refused(attempt, expected, resources):
    refused(RefusedError, "duplicates", metadata.require_no_duplicates, attempt, URI, expected, resources)


@pytest.mark.parametrize("attempt, expected, resources", [
    (None, None, ()), (None, {"FLOW": 5, "LOG": 0}, ()), (None, {"LOG": 5}, ("FLOW",)), (NOTHING, {"LOG": 5}, ()),
    (job("failed", begun=None), {"LOG": 5}, ()), (job("failed", begun="kestra:///other"), {"LOG": 5}, ()),
    (job("ok"), {"LOG": 5}, ()), (job(None, alive=True), {"LOG": 5}, ()), (job("failed"), {"FLOW": 5}, ()),
    (job("failed"), None, ("FLOW",))])
def test_what_cannot_come_twice_is_let_through(attempt, expected, resources):
    metadata.require_no_duplicates(attempt, URI, expected, resources)


# -- what is seen from outside ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("raw, form", [
    (b"", metadata.CUT), (bytes(range(128, 156)), metadata.CUT), (bytes(range(128, 157)), metadata.ENCRYPTED),
    (b"{" + bytes(range(128, 160)), metadata.ENCRYPTED), (b"\x1f\x8b\x08" + bytes(40), metadata.READABLE),
    (b"PK\x03\x04" + bytes(40), metadata.READABLE), (b'{"type": "FULL",\r\n "version": "1.3"}', metadata.READABLE)])
def test_what_an_archive_looks_like(raw, form):
    assert metadata.form(raw[:metadata.HEADER], len(raw)) == form


# -- versions ---------------------------------------------------------------------------------------------------------

def test_releases_known_to_leave_something_out():
    assert "leaves namespaces out" in metadata.known_defects("1.3.15")[0]
    assert metadata.known_defects("0.19.0") and metadata.known_defects("1.0.40")
    assert "may leave" in metadata.known_defects("1.3.20")[0]
    assert metadata.known_defects("1.3.26") == metadata.known_defects("2.0.0") == []


def test_another_version_is_told():
    assert metadata.version_note("1.3.15", "1.3.15") is None
    assert "1.0.0" in metadata.version_note("1.0.0", "1.3.15")


def test_without_the_command():
    assert "open-source" in metadata.no_command(metadata.CREATE, "1.3.0").message
    assert "older than 0.19" in metadata.no_command(metadata.CREATE, "0.18.2").message
    assert "open-source" in metadata.no_command(metadata.CREATE, "unknown").message
