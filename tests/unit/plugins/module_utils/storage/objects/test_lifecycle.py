# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that would take a recovery point apart."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.lifecycle import problems


def rule(prefix="", status="Enabled", **what):
    return {"ID": "r", "Status": status, "Filter": {"Prefix": prefix}, **what}


VERSIONS = {"NoncurrentVersionExpiration": {"NoncurrentDays": 7}}


def whats(rules, prefix="", days=30):
    return [(found["what"], found["days"]) for found in problems(rules, prefix, days)]


def test_versions_that_go_before_the_retention_ends():
    assert whats([rule(**VERSIONS)]) == [("versions_expire", 7)]
    assert whats([rule(**VERSIONS)], days=7) == []
    assert whats([rule(**VERSIONS)], days=None) == []
    assert "7 days" in problems([rule(**VERSIONS)], "", 30)[0]["message"]


def test_objects_that_go():
    assert whats([rule(Expiration={"Days": 90})]) == [("expires", 90)]
    assert whats([rule(Expiration={"Date": "2027-01-01"})]) == [("expires", None)]
    assert whats([rule(Expiration={"ExpiredObjectDeleteMarker": True})]) == []


def test_objects_that_cannot_be_read_at_once():
    moves = rule(Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER"}],
                 NoncurrentVersionTransitions=[{"NoncurrentDays": 3, "StorageClass": "DEEP_ARCHIVE"}])
    assert whats([moves]) == [("freezes", 60), ("freezes", 3)]


def test_rules_that_do_nothing_to_us():
    assert whats([rule(status="Disabled", **VERSIONS), rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})]) == []


@pytest.mark.parametrize(("place", "ours", "meets"), [
    ("", "kestra/", True), ("kestra/", "kestra/", True), ("kestra/main/", "kestra/", True), ("kes", "kestra/", True),
    ("other/", "kestra/", False), ("other/", "", True)])
def test_a_rule_counts_where_its_prefix_meets_ours(place, ours, meets):
    assert bool(whats([rule(place, **VERSIONS)], ours)) is meets


def test_the_places_a_prefix_stands_in():
    def at(**where):
        return bool(problems([{"Status": "Enabled", **where, **VERSIONS}], "kestra/", 30))

    assert not at(Filter={"And": {"Prefix": "x/", "Tags": []}}) and not at(Prefix="x/")
    assert at(Filter={"And": {"Prefix": "kestra/", "Tags": []}}) and at(Filter={}) and at()


def test_a_rule_without_a_name_is_told_by_its_number():
    assert problems([{"Status": "Disabled"}, {"Status": "Enabled", **VERSIONS}], "", 30)[0]["rule"] == "rule 2"
