# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets the replication of a bucket up, or ends it: everything is looked at and refused before anything is changed."""
from __future__ import annotations

from ...core.errors import RefusedError
from . import minio_targets, replication

# Stands for the name that a MinIO server gives to a target which it does not have yet.
_TO_BE_MADE = "(the server names it when it is made)"


def present(source, target, name, *, arn=None, role=None, delete_markers=True, others="keep", check_mode=False) -> dict:
    """{changed, rule, versions_switched_on: names of the buckets, target_made, before, after}. source, target: bucket.Bucket.

    arn: of the target as the source's server knows it; else Amazon's, or at MinIO that of a target which is there or is made.
    """
    config = _rules(source)
    facts = source.facts()
    minio = facts["server"] == replication.MINIO or replication.minios(arn or "")
    unversioned = [bucket for bucket, about in ((source, facts), (target, target.facts())) if about["versioning"] != "Enabled"]
    targets = minio_targets.Targets(source.place) if minio and not arn else None
    known = minio_targets.find(targets.all(), target.place) if targets else None
    stale = bool(targets) and (not known or target.place.access_key not in (None, known["credentials"]["accessKey"]))
    if targets:
        new = minio_targets.wanted(source.place.bucket, target.place)
        if stale:
            minio_targets.require_credentials(new)
        arn = (known or {}).get("arn") or _TO_BE_MADE

    def with_ours(arn):
        return replication.with_rule(config, name, source.place.prefix, arn, role=role, minio=minio,
                                     delete_markers=delete_markers, others=others)

    wanted = with_ours(arn or replication.amazon_arn(target.place.bucket))
    differs = _told(config) != _told(wanted)
    if not check_mode:
        for bucket in unversioned:
            bucket.keep_versions()
        if stale:
            wanted = with_ours(targets.put(new, known))
        if differs:
            source.set_replication(wanted)
    return {"changed": bool(unversioned or stale or differs), "target_made": stale and not known,
            "versions_switched_on": [bucket.place.bucket for bucket in unversioned],
            "rule": next(rule for rule in _told(wanted)["rules"] if rule["id"] == name), **_sides(config, wanted)}


def absent(source, name, *, check_mode=False) -> dict:
    """As present(): our rule goes, versions and objects stay."""
    config = _rules(source)
    wanted = replication.without_rule(config, name)
    differs = _told(config) != _told(wanted)
    if differs and not check_mode:
        source.set_replication(wanted)
    return {"changed": differs, "target_made": False, "versions_switched_on": [], "rule": None, **_sides(config, wanted)}


def _rules(source) -> dict:
    if source.own_replication:
        raise RefusedError(f"{source.place.shown} has no rules of replication that could be set here: {source.own_replication}.",
                           reason="replication_unsupported", hint="Set it up with the provider's own means.")
    config = source.replication()
    if config is None:
        raise RefusedError(f"The server of the bucket {source.place.bucket} has no replication, or does not tell its rules to these "
                           "credentials.", reason="rules_unknown", hint="Give credentials with s3:GetReplicationConfiguration.")
    return config


def _told(config) -> dict:
    return {"role": config.get("Role") or "", "rules": [replication.described(rule) for rule in config.get("Rules") or ()]}


def _sides(config, wanted) -> dict:
    return {"before": _told(config), "after": _told(wanted)}
