# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's `backups` commands are what Kestra's documentation and issues show of them.

KESTRA_DR_TEST_ENTERPRISE names a real executable that is held to the same, with KESTRA_DR_TEST_ENTERPRISE_CONFIG for the
configuration of an instance that may be written over.
"""
from __future__ import annotations

import base64
import gzip
import os
import re
import subprocess

import pytest

# The names of a log line differ between Kestra's versions; what it says does not.
LINE = r"\d{4}-\d\d-\d\d .* INFO .*io\.kestra\.ee\.backup\.BackupService "
SUMMARY = r"\[[A-Z_]+: \d+(?:, [A-Z_]+: \d+)*\]"


def last(pattern, text):
    """The one line that matches as a whole."""
    found = [line for line in text.splitlines() if re.fullmatch(pattern, line)]
    assert len(found) == 1, text
    return found[0]


def kinds(line):
    return re.findall(r"([A-Z_]+): (\d+)", line)


@pytest.fixture(params=["the stand-in", "a real one"])
def command(request):
    """Runs the command line of the one or the other."""
    if request.param == "the stand-in":
        return request.getfixturevalue("source").command
    executable, config = (os.environ.get("KESTRA_DR_TEST_ENTERPRISE" + name) for name in ("", "_CONFIG"))
    if not (executable and config):
        pytest.skip("no Enterprise executable is given (KESTRA_DR_TEST_ENTERPRISE and KESTRA_DR_TEST_ENTERPRISE_CONFIG)")

    def run(*words):
        return subprocess.run([executable, *words, "--config", config], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, timeout=300)
    return run


def test_what_is_read_of_the_commands_is_what_they_say(command):
    helped = command("backups", "create", "--help")
    assert helped.returncode == 0 and {"--tenant", "--encryption-key", "--no-encryption", "--resources"} <= set(
        re.findall(r"--[a-z-]+", helped.stdout))
    made = command("backups", "create", "FULL", "--no-encryption", "--resources=FLOW", "--resources=NAMESPACE")
    assert made.returncode == 0, made.stderr
    before = kinds(last(".*Backup summary: " + SUMMARY, made.stdout))
    uri = re.search(r"^Backup created: (kestra:///backups/full/backup-\d{14}\.kestra)$", made.stdout, re.M).group(1)
    put = command("backups", "restore", uri)
    assert put.returncode == 0 and f"Backup restored from URI: {uri}" in put.stdout.splitlines(), put.stderr
    last(r".*Restoring FULL backup from Kestra version \S+ created at \S+", put.stdout)
    for name in ("Backup", "Restore"):
        assert sorted(kinds(last(f".*{name} summary: " + SUMMARY, put.stdout))) == sorted(before) != []
    assert command("backups", "restore", "kestra:///backups/full/none.kestra").returncode == 1
    assert command("backups", "create", "HALF").returncode == 2


def test_create_and_restore_say_what_is_documented(source):
    made = source.command("backups", "create", "FULL", "--include-data")
    assert made.returncode == 0, made.stderr
    before = last(LINE + "Backup summary: " + SUMMARY, made.stdout)
    last(LINE + r"Backup instance created in \d+ ms", made.stdout)
    uri = re.fullmatch(r"Backup created: (kestra:///backups/full/backup-\d{14}\.kestra)",
                       made.stdout.splitlines()[-1]).group(1)
    raw = (source.standin.storage / uri[len("kestra:///"):]).read_bytes()

    ciphers = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
    plain = gzip.decompress(ciphers.AESGCM(base64.b64decode(source.key)).decrypt(raw[:12], raw[12:], None))
    assert b"secret recipe of quick" in plain

    logs = source.rows("SELECT count(*) FROM logs")[0][0]
    rest = source.rows("SELECT count(*) FROM flows"), source.rows("SELECT count(*) FROM executions")
    put = source.command("backups", "restore", uri)
    assert put.returncode == 0, put.stderr
    lines = put.stdout.splitlines()
    assert f"Restoring {uri}" in lines and lines[-1] == f"Backup restored from URI: {uri}"
    last(LINE + r"Restoring FULL backup from Kestra version 1\.3\.15 created at \S+", put.stdout)
    again, after = (last(LINE + name + " summary: " + SUMMARY, put.stdout) for name in ("Backup", "Restore"))
    assert kinds(again) == kinds(before) != kinds(after) and sorted(kinds(after)) == sorted(kinds(before))
    # Everything is written over, but logs are added.
    assert (source.rows("SELECT count(*) FROM flows"), source.rows("SELECT count(*) FROM executions")) == rest
    assert source.rows("SELECT count(*) FROM logs") == [(2 * logs,)]


def test_what_belongs_to_the_instance_is_not_in_an_archive_of_a_tenant(source):
    made = source.command("backups", "create", "--tenant=sales", "TENANT", "--no-encryption")
    assert made.stdout.splitlines()[-1].startswith("Backup created: kestra:///backups/tenants/sales/backup-")
    found = dict(kinds(last(LINE + "Backup summary: " + SUMMARY, made.stdout)))
    assert found["TENANT"] == found["FLOW"] == "1" and not {"USER", "SETTING", "EXECUTION", "LOG"} & set(found)


@pytest.mark.parametrize("version, flag, there", [
    ("0.21.0", "--include-data", False), ("0.22.0", "--include-data", True), ("0.19.0", "--no-encryption", True)])
def test_help_shows_what_the_version_has(instance, version, flag, there):
    found = instance(version=version).command("backups", "create", "--help")
    assert found.returncode == 0 and "Usage: kestra backups create" in found.stdout
    assert (flag in found.stdout) is there
    # Migrations come before the help.
    assert found.stdout.index("Migrating schema") < found.stdout.index("Usage:")


@pytest.mark.parametrize("version, edition", [("1.3.15", "OSS"), ("0.18.0", "EE")])
def test_without_the_command(instance, version, edition):
    one = instance(version=version, edition=edition)
    helped = one.command("backups", "create", "--help")
    assert helped.returncode == 0 and helped.stdout.startswith("Usage: kestra [-hV] [COMMAND]")
    called = one.command("backups", "create", "FULL")
    assert called.returncode == 1 and "UnmatchedArgumentException" in called.stderr


def test_failures_end_with_one_and_bad_usage_with_two(instance):
    one = instance(key=None)
    assert one.command("backups", "create", "FULL").returncode == 1
    assert one.command("backups", "create", "FULL", "--encryption-key=c2hvcnQ=").returncode == 1
    assert one.command("backups", "create").returncode == 2
    assert one.command("backups", "create", "HALF").returncode == 2
    assert one.command("backups", "restore", "kestra:///backups/full/none.kestra").returncode == 1
    assert one.archives() == []
