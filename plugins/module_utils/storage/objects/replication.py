# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules by which a server copies the objects of a bucket into another one. Pure: rules are as the S3 API gives them."""
from __future__ import annotations

from ...core.errors import ConfigError, RefusedError
from .lifecycle import meets, prefix_of

MINIO = "MinIO"


def bucket_of(arn: str) -> str:
    """The bucket at the end of an ARN, Amazon's or MinIO's."""
    return arn.rpartition(":")[2]


def amazon_arn(bucket: str) -> str:
    """How rules name a bucket at Amazon."""
    return f"arn:aws:s3:::{bucket}"


def described(rule) -> dict:
    """What matters of a rule: {id, enabled, priority, prefix, tagged, destination, delete_markers, version_deletes, existing}."""
    place = rule.get("Filter") or {}
    return {"id": rule.get("ID"), "enabled": rule.get("Status") == "Enabled", "priority": rule.get("Priority"),
            "prefix": prefix_of(rule), "tagged": bool(place.get("Tag") or (place.get("And") or {}).get("Tags")),
            "destination": rule["Destination"]["Bucket"],
            # A rule of the first form, without a filter, replicates marks of deletion without saying so.
            "delete_markers": _on(rule, "DeleteMarkerReplication") or ("Filter" not in rule and "DeleteMarkerReplication" not in rule),
            "version_deletes": _on(rule, "DeleteReplication"), "existing": _on(rule, "ExistingObjectReplication"),
            "kms": (rule.get("SourceSelectionCriteria") or {}).get("SseKmsEncryptedObjects", {}).get("Status") == "Enabled"}


def _on(rule, part) -> bool:
    return (rule.get(part) or {}).get("Status") == "Enabled"


def minios(arn: str) -> bool:
    """Whether an ARN is one that a MinIO server gave out."""
    return arn.startswith("arn:minio:")


# setting up

def with_rule(config, name, prefix, arn, *, role=None, minio=False, delete_markers=True, others="keep") -> dict:
    """The configuration with a rule of ours in it; what else somebody has put into that rule stays. Raises DrError.

    config: bucket.Bucket.replication(). others: what other rules may do, "keep" or "refuse".
    """
    rules = list(config.get("Rules") or ())
    foreign = [rule for rule in rules if rule.get("ID") != name]
    _require_room(config, foreign, role, minio, others)
    role = "" if minio else role or config.get("Role")
    if not minio and not role:
        raise ConfigError("Nothing names the role that the server replicates with.", reason="role_missing",
                          hint="Give the ARN of an IAM role that may read the source and replicate into the target with role; for a MinIO "
                               "server behind a proxy that hides its name, target_arn.")
    mine = next((rule for rule in rules if rule.get("ID") == name), {})
    ours = dict(mine, ID=name, Priority=_priority(mine, foreign, prefix, arn), Status="Enabled", Filter={"Prefix": prefix},
                DeleteMarkerReplication=_status(delete_markers), Destination=dict(mine.get("Destination") or {}, Bucket=arn))
    ours.pop("Prefix", None)
    if minio:
        # Objects that are there already; elsewhere the server has no such rule.
        ours.update(DeleteReplication=_status(False), ExistingObjectReplication=_status(True))
    if mine:
        rules[rules.index(mine)] = ours
    else:
        rules.append(ours)
    return {"Role": role, "Rules": rules}


def without_rule(config, name) -> dict:
    """The configuration without our rule."""
    return {"Role": config.get("Role") or "", "Rules": [rule for rule in config.get("Rules") or () if rule.get("ID") != name]}


def _status(on: bool) -> dict:
    return {"Status": "Enabled" if on else "Disabled"}


def _require_room(config, foreign, role, minio, others) -> None:
    names = ", ".join(str(rule.get("ID") or "without a name") for rule in foreign)
    if foreign and others == "refuse":
        raise RefusedError(f"The bucket has other rules of replication: {names}.", reason="other_rules",
                           hint="Remove them, or keep them with others=keep.")
    if any("Filter" not in rule for rule in foreign):
        raise RefusedError(f"The bucket has rules of the first form, without a filter ({names}), which ours cannot stand beside.",
                           reason="old_rules", hint="Give them a filter, or remove them.")
    before = config.get("Role") or ""
    if foreign and before and (minio or (role and role != before)):
        raise RefusedError(f"The bucket's other rules ({names}) replicate with {before}, and there is one for all rules.",
                           reason="role_differs", hint="Give that one, or move those rules to yours first.")


def _priority(mine, foreign, prefix, arn) -> int:
    """Of rules for the same keys and target the highest counts: ours stays what it is, or gets above all."""
    rivals = [rule.get("Priority") or 0 for rule in foreign
              if meets(prefix_of(rule), prefix) and rule["Destination"]["Bucket"] == arn]
    here = mine.get("Priority")
    if here is not None and all(here > other for other in rivals):
        return here
    return max((rule.get("Priority") or 0 for rule in [*foreign, mine]), default=0) + 1


# the proof

def covering(rules, prefix: str, bucket: str) -> list:
    """Of described rules those that copy all of Kestra's objects into the bucket."""
    return [rule for rule in rules if rule["enabled"] and not rule["tagged"] and prefix.startswith(rule["prefix"])
            and bucket_of(rule["destination"]) == bucket]


def judge(found: dict) -> tuple[list, list]:
    """(problems, risks) of what a proof found, each {"what", "message"}. found: as proof.prove() collects it.

    A problem says that Kestra's objects are not all in the target, or that nobody can tell; a risk, that they might not
    come back from there.
    """
    problems = [*_setup(found), *_behind(found)]
    return problems, list(_unprotected(found))


def _item(what, message) -> dict:
    return {"what": what, "message": message}


def _setup(found):
    source, target = found["source"], found["target"]
    if found["target_error"]:
        yield _item("target_unusable", f"The target cannot be looked at: {found['target_error']}")
    if found["own"]:
        # A replica that came by itself needs no rule to be seen.
        if found["lag"] and found["lag"]["replica"]:
            return
        yield _item("rules_unknown", f"What copies the objects of {source['bucket']} into {found['target_bucket']} cannot be told: "
                                     f"{found['own']}.")
        return
    for side, about in (("source", source), ("target", target)):
        if about and about["versioning"] != "enabled":
            yield _item("versioning", f"The {side} {about['bucket']} does not keep versions (versioning is {about['versioning']}), "
                                      "without which nothing is replicated.")
    if found["rules"] is None:
        yield _item("rules_unknown", f"The server of {source['bucket']} does not tell its rules of replication.")
    elif not found["covering"]:
        yield _not_covered(found)
    if source["encryption"] == "aws:kms" and found["covering"] and not any(
            rule["kms"] or minios(rule["destination"]) for rule in found["covering"]):
        yield _item("encrypted_left_out", f"The source {source['bucket']} encrypts with keys of a key service, and no rule "
                                          "selects such objects (SseKmsEncryptedObjects): they are not replicated.")


def _not_covered(found) -> dict:
    wanted = f"all of {found['source']['bucket']}/{found['source']['prefix']} into {found['target_bucket']}"
    if not found["rules"]:
        return _item("not_configured", f"There is no rule that replicates {wanted}: the bucket has none at all.")
    told = "; ".join(f"{rule['id']}: {'enabled' if rule['enabled'] else 'disabled'}, prefix {rule['prefix'] or '(all)'}"
                     f"{', only some tags' if rule['tagged'] else ''}, into {bucket_of(rule['destination'])}"
                     for rule in found["rules"])
    return _item("not_covered", f"No enabled rule replicates {wanted} ({told}).")


def _behind(found):
    lag, objects, status = found["lag"], found["objects"], found["status"]
    if lag and lag["seconds"] is None:
        yield _item("lag", f"An object that was written into the source did not reach the target within {lag['limit']:g} s.")
    if lag and lag["replica"] is False:
        yield _item("no_replica", "The object that was written into the source is in the target, but not by replication: the target is the "
                                  "source itself, or something else copies objects.")
    if not found["probing"]:
        yield _item("lag_unknown", "How long an object takes was not measured, because nothing is written in check mode.")
    if objects and objects["missing"]:
        never = objects["never_tried"]
        yield _item("missing", f"{objects['missing']} of {objects['compared']} objects are not in the target"
                    + (f"; {never} of them were never to be replicated (written before the rule was made)." if never else "."))
    if objects and objects["differs"]:
        yield _item("differs", f"{objects['differs']} of {objects['compared']} objects are others in the target.")
    if status["failed"]:
        yield _item("failed", f"The replication of {status['failed']} of {status['asked']} objects asked for has failed.")
    if status["late"]:
        yield _item("pending", f"{status['late']} of {status['asked']} objects asked for have waited longer than they may.")


def _unprotected(found):
    target = found["target"]
    deletes = any(rule["delete_markers"] for rule in found["covering"])
    if deletes and target and target["versioning"] != "enabled":
        yield _item("deletes_unprotected", f"Deletions are replicated, and the target {target['bucket']} keeps no versions to go "
                                           "back to: what is deleted in the source is lost in both.")
    if any(rule["version_deletes"] for rule in found["covering"]):
        yield _item("deletes_unprotected", "Deletions of versions are replicated (DeleteReplication): what is purged in the source is lost "
                                           "in both.")
    for side, about in (("source", found["source"]), ("target", target)):
        for problem in about["lifecycle"]["problems"] if about else ():
            yield _item("lifecycle", f"In the {side} {about['bucket']}: {problem['message']}")
    if target and found["source"]["encryption"] and not target["encryption"]:
        yield _item("encryption", f"The source encrypts by default ({found['source']['encryption']}), the target {target['bucket']} does not.")
    if found["probe_left"]:
        yield _item("probe_left", f"The object the lag was measured with could not be removed: {found['probe_left']}")
