# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of replication: what ours becomes beside others, which cover Kestra's objects, and what a proof says."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.replication import (
    amazon_arn,
    bucket_of,
    covering,
    described,
    judge,
    with_rule,
    without_rule,
)

ARN, ELSEWHERE = amazon_arn("replica"), amazon_arn("elsewhere")
MINIO_ARN = "arn:minio:replication:us-east-1:ce94525c-67c0-471d-8e3a-4f0153bf7482:replica"
ROLE = "arn:aws:iam::1:role/r"


def rule(name="other", prefix="", priority=1, arn=ARN, status="Enabled", **more):
    return {"ID": name, "Status": status, "Priority": priority, "Filter": {"Prefix": prefix}, "Destination": {"Bucket": arn},
            "DeleteMarkerReplication": {"Status": "Disabled"}, **more}


def config(*rules, role=ROLE):
    return {"Role": role, "Rules": list(rules)}


def ours(before, prefix="kestra/", arn=ARN, **how):
    made = with_rule(before, "kestra-dr", prefix, arn, **how)
    return made, next(each for each in made["Rules"] if each["ID"] == "kestra-dr")


def test_a_bucket_is_the_end_of_its_arn():
    assert bucket_of(ARN) == bucket_of(MINIO_ARN) == bucket_of("replica") == "replica"


def test_the_first_rule():
    made, rule_ = ours({}, role=ROLE)
    assert made["Role"] == ROLE and len(made["Rules"]) == 1
    assert rule_ == {"ID": "kestra-dr", "Priority": 1, "Status": "Enabled", "Filter": {"Prefix": "kestra/"},
                     "DeleteMarkerReplication": {"Status": "Enabled"}, "Destination": {"Bucket": ARN}}
    assert ours({}, role=ROLE, delete_markers=False)[1]["DeleteMarkerReplication"] == {"Status": "Disabled"}


def test_minio_has_no_role_and_parts_of_its_own():
    made, rule_ = ours({}, arn=MINIO_ARN, minio=True)
    assert made["Role"] == "" and rule_["DeleteReplication"] == {"Status": "Disabled"}
    assert rule_["ExistingObjectReplication"] == {"Status": "Enabled"}


def test_amazon_wants_a_role():
    with pytest.raises(ConfigError) as caught:
        ours({})
    assert caught.value.reason == "role_missing"
    assert ours(config(rule()))[0]["Role"] == ROLE


def test_others_stay_as_they_are_and_may_be_refused():
    other = rule(prefix="logs/", DeleteReplication={"Status": "Enabled"})
    made, rule_ = ours(config(other))
    assert made["Rules"] == [other, rule_] and rule_["Priority"] == 2
    with pytest.raises(RefusedError) as caught:
        ours(config(other), others="refuse")
    assert caught.value.reason == "other_rules" and "other" in caught.value.message
    assert without_rule(made, "kestra-dr") == config(other) and without_rule({}, "kestra-dr") == config(role="")


def test_what_somebody_put_into_our_rule_stays():
    mine = rule("kestra-dr", "kestra/", 7, DeleteReplication={"Status": "Disabled"},
                SourceSelectionCriteria={"SseKmsEncryptedObjects": {"Status": "Enabled"}})
    mine["Destination"]["StorageClass"] = "STANDARD_IA"
    rule_ = ours(config(mine))[1]
    assert rule_["Destination"] == {"Bucket": ARN, "StorageClass": "STANDARD_IA"} and rule_["Priority"] == 7
    assert described(rule_)["kms"] and described(rule_)["delete_markers"]


def test_twice_is_once():
    made, _rule = ours(config(rule(prefix="logs/")))
    assert ours(made)[0] == made


@pytest.mark.parametrize(("other", "priority"), [
    (rule(priority=9), 10), (rule(prefix="kestra/main/", priority=9), 10), (rule(prefix="logs/", priority=9), 3),
    (rule(arn=ELSEWHERE, priority=9), 3), (rule(priority=2), 3)])
def test_ours_counts_above_rivals_for_the_same_keys_and_target(other, priority):
    assert ours(config(rule("kestra-dr", "kestra/", 3), other))[1]["Priority"] == priority


def test_what_cannot_stand_beside_others():
    old = {"ID": "old", "Status": "Enabled", "Prefix": "", "Destination": {"Bucket": ARN}}
    for before, how, reason in ((config(old), {}, "old_rules"), (config(rule()), {"role": "another"}, "role_differs"),
                                (config(rule(), role=MINIO_ARN), {"minio": True}, "role_differs")):
        with pytest.raises(RefusedError) as caught:
            ours(before, **how)
        assert caught.value.reason == reason
    # Ours itself becomes one of the newer form.
    assert "Prefix" not in ours(config(dict(old, ID="kestra-dr")))[1]


@pytest.mark.parametrize(("each", "covers"), [
    (rule(), True), (rule(prefix="kestra/"), True), (rule(prefix="kes"), True), (rule(prefix="kestra/main/"), False),
    (rule(status="Disabled"), False), (rule(arn=ELSEWHERE), False), (rule(arn=MINIO_ARN), True),
    (rule(Filter={"Tag": {"Key": "a", "Value": "b"}}), False), (rule(Filter={"And": {"Prefix": "", "Tags": [{"Key": "a"}]}}), False),
    ({"Status": "Enabled", "Prefix": "kestra/", "Destination": {"Bucket": ARN}}, True)])
def test_which_rules_copy_all_of_kestras_objects(each, covers):
    assert bool(covering([described(each)], "kestra/", "replica")) is covers


def test_a_rule_of_the_first_form_replicates_deletions():
    assert described({"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": ARN}})["delete_markers"]
    assert not described(rule())["delete_markers"]


# what a proof says

def side(bucket, **more):
    return {"bucket": bucket, "prefix": "kestra/", "versioning": "enabled", "encryption": None, "server": "MinIO",
            "lifecycle": {"known": True, "problems": []}, **more}


def found(each=None, **more):
    rules = [described(each or rule(DeleteMarkerReplication={"Status": "Enabled"}))]
    return {"source": side("kestra"), "target": side("replica"), "target_error": None, "target_bucket": "replica", "own": "", "rules": rules,
            "covering": covering(rules, "kestra/", "replica"), "lag": {"seconds": 1.0, "limit": 60.0, "replica": True}, "probing": True, "probe_left": None,
            "objects": {"compared": 5, "missing": 0, "never_tried": 0, "differs": 0, "unexpected": 0},
            "status": {"asked": 5, "failed": 0, "late": 0}, **more}


def whats(what):
    return [[item["what"] for item in part] for part in judge(what)]


def test_nothing_speaks_against_it():
    assert whats(found()) == [[], []]


@pytest.mark.parametrize(("change", "problem"), [
    ({"source": side("kestra", versioning="suspended")}, "versioning"), ({"rules": None, "covering": []}, "rules_unknown"),
    ({"rules": [], "covering": []}, "not_configured"), ({"covering": []}, "not_covered"),
    ({"target": None, "target_error": "down"}, "target_unusable"), ({"lag": {"seconds": None, "limit": 60.0, "replica": None}}, "lag"),
    ({"lag": {"seconds": 1.0, "limit": 60.0, "replica": False}}, "no_replica"),
    ({"lag": None, "probing": False}, "lag_unknown"), ({"status": {"asked": 5, "failed": 1, "late": 0}}, "failed"),
    ({"status": {"asked": 5, "failed": 0, "late": 1}}, "pending"),
    ({"objects": {"compared": 5, "missing": 2, "never_tried": 1, "differs": 0}}, "missing"),
    ({"objects": {"compared": 5, "missing": 0, "never_tried": 0, "differs": 1}}, "differs"),
    ({"source": side("kestra", encryption="aws:kms"), "target": side("replica", encryption="aws:kms")}, "encrypted_left_out")])
def test_problems(change, problem):
    assert whats(found(**change)) == [[problem], []]


def test_what_a_provider_replicates_by_itself():
    """No rules are told: a replica that came by itself is the proof."""
    own = {"own": "its management tells", "rules": None, "covering": []}
    assert whats(found(**own)) == [[], []]
    assert whats(found(**own, lag={"seconds": 1.0, "limit": 60.0, "replica": None})) == [["rules_unknown"], []]
    assert whats(found(**own, lag={"seconds": None, "limit": 60.0, "replica": None})) == [["rules_unknown", "lag"], []]
    assert whats(found(**own, lag=None, probing=False)) == [["rules_unknown", "lag_unknown"], []]


def test_minio_replicates_what_it_encrypts():
    kms = {name: side(name, encryption="aws:kms") for name in ("source", "target")}
    assert whats(found(rule(arn=MINIO_ARN), **kms)) == [[], []]


def test_an_object_too_many_is_no_problem():
    assert whats(found(objects={"compared": 5, "missing": 0, "never_tried": 0, "differs": 0, "unexpected": 3})) == [[], []]


def test_risks():
    suspended = side("replica", versioning="suspended")
    assert whats(found(target=suspended)) == [["versioning"], ["deletes_unprotected"]]
    assert whats(found(rule(), target=suspended)) == [["versioning"], []]
    assert whats(found(rule(DeleteReplication={"Status": "Enabled"}))) == [[], ["deletes_unprotected"]]
    assert whats(found(source=side("kestra", encryption="AES256"))) == [[], ["encryption"]]
    assert whats(found(probe_left="no")) == [[], ["probe_left"]]
    eaten = {"known": True, "problems": [{"rule": "r", "what": "versions_expire", "days": 3, "message": "too soon"}]}
    assert whats(found(target=side("replica", lifecycle=eaten))) == [[], ["lifecycle"]]


def test_what_is_not_covered_is_told_with_the_rules():
    each = rule("half", "kestra/main/")
    message = judge(found(each))[0][0]["message"]
    assert "kestra/kestra/ into replica" in message and "half: enabled, prefix kestra/main/, into replica" in message
