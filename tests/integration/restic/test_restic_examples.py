# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the restic modules, run as a user runs them with the restic of this machine."""
from __future__ import annotations

from ansible_collections.kestra_community.dr.plugins.module_utils.storage import local
from ansible_collections.kestra_community.dr.tests.integration.example_runs import Cases, Machine

MODULES = ("restic_backup", "restic_check", "restic_forget", "restic_repository", "restic_restore", "restic_snapshot_info")
BUCKET = "Prove before a restore that the repository is there and opens"
CASES = Cases(MODULES, {BUCKET: "a repository in a bucket is what test_bucket.py of the vault opens, on a real S3 server"})
PASSWORD = "password-of-the-examples"
MADE, STORAGE, LISTED = "Make sure that the repository exists", "Back up Kestra's storage", "Back up what a list names"
CHECKED, READ = "Check the structure", "Read a seventh of the data each day of the week"
FOUND, RESTORED = "List what belongs to one recovery point", "Restore Kestra's storage beside the live one"
REMOVED = "Remove what an aborted recovery point left in the repository"
SNAPSHOT = "5df0cc2c0c5d1e4ea5e8b3a2d1c8a7c6b5a4938271605f4e3d2c1b0a99887766"
POINT = "/var/lib/kestra-dr/vault/kestra/points/20261123T001500Z-a1b2c3"
OPEN = "/var/lib/kestra-dr/vault/kestra/open/20261123T001500Z-a1b2c3"


def test_every_example_has_a_case_or_a_reason():
    CASES.require_all()


@CASES.case(MADE, STORAGE, LISTED, CHECKED, READ, FOUND, RESTORED, REMOVED)
def test_from_the_repository_to_the_restore(installed, tmp_path):
    machine = Machine(CASES, tmp_path, ("/srv/backup", "/etc/kestra-dr", "/app", "/run/kestra-dr", "/var/lib/kestra-dr"), PASSWORD)
    machine.here("/etc/kestra-dr/restic").write_text(PASSWORD + "\n")
    machine.here("/etc/kestra-dr/restic").chmod(0o600)
    storage = machine.here("/app/storage")
    (storage / "main").mkdir(parents=True)
    (storage / "main" / "file.txt").write_text("of a flow")
    machine.here("/run/kestra-dr/files").write_text(f"{storage}/main/file.txt\n")
    for path in (POINT, OPEN + "/jobs", "/var/lib/kestra-dr/jobs"):
        machine.here(path).mkdir(parents=True)

    made, stored, listed = machine.play(MADE, STORAGE, LISTED)
    assert made["changed"] and stored["files_total"] == listed["files_total"] == 1
    checked, read, found = machine.play(CHECKED, READ, FOUND)
    assert not checked["changed"] and not read["changed"] and [one["id"] for one in found["snapshots"]] == [stored["snapshot"]]

    machine.places[SNAPSHOT] = stored["snapshot"]
    local.take(str(storage), str(machine.here(POINT + "/storage.jsonl.gz")), digests=True)
    machine.play(RESTORED)
    assert (machine.here("/app/storage.restored") / "main" / "file.txt").read_text() == "of a flow"
    # What is sealed would be refused.
    machine.here(POINT + "/storage.jsonl.gz").unlink()
    machine.here(POINT).rmdir()
    machine.play(REMOVED)
    assert machine.play(FOUND)[0]["snapshots"] == []
