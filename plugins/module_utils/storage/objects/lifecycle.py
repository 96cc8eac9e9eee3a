# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of a bucket's lifecycle that would take a recovery point apart. Pure."""
from __future__ import annotations

# Storage classes whose objects are not readable at once.
_FROZEN = ("GLACIER", "DEEP_ARCHIVE")


def problems(rules, prefix: str, retention_days: int | None) -> list:
    """What the rules would do to objects below the prefix: [{"rule", "what", "days", "message"}].

    rules: as the S3 API gives them. retention_days: how long versions have to stay; None: they do not matter.
    what: "expires" (objects go), "versions_expire" (earlier versions go too soon), "freezes" (objects move to where they
    cannot be read at once).
    """
    found = []
    for number, rule in enumerate(rules, 1):
        if rule.get("Status") != "Enabled" or not meets(prefix_of(rule), prefix):
            continue
        name = rule.get("ID") or f"rule {number}"
        found += _expiry(name, rule) + _versions(name, rule, retention_days) + _freezing(name, rule)
    return found


def prefix_of(rule) -> str:
    """What the keys begin with that a rule is for, a rule of replication as well."""
    place = rule.get("Filter") or {}
    return (place.get("And") or {}).get("Prefix") or place.get("Prefix") or rule.get("Prefix") or ""


def meets(one: str, other: str) -> bool:
    """Whether there can be keys that begin with both."""
    return one.startswith(other) or other.startswith(one)


def _problem(rule, what, days, message) -> dict:
    return {"rule": rule, "what": what, "days": days, "message": message}


def _expiry(name, rule) -> list:
    expiry = rule.get("Expiration") or {}
    if expiry.get("Days") is None and not expiry.get("Date"):
        return []
    when = f"on {expiry['Date']}" if expiry.get("Date") else f"after {expiry['Days']} days"
    return [_problem(name, "expires", expiry.get("Days"),
                     f"The lifecycle rule {name} deletes Kestra's objects {when}, whether Kestra still names them or not.")]


def _versions(name, rule, retention_days) -> list:
    days = (rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays")
    if days is None or retention_days is None or days >= retention_days:
        return []
    return [_problem(name, "versions_expire", days,
                     f"The lifecycle rule {name} deletes earlier versions after {days} days; recovery points that are kept "
                     f"for {retention_days} days need them.")]


def _freezing(name, rule) -> list:
    moves = [(move, move.get("Days")) for move in rule.get("Transitions") or ()]
    moves += [(move, move.get("NoncurrentDays")) for move in rule.get("NoncurrentVersionTransitions") or ()]
    return [_problem(name, "freezes", days,
                     f"The lifecycle rule {name} moves objects to {move['StorageClass']}, from where they cannot be read "
                     "at once.") for move, days in moves if move.get("StorageClass") in _FROZEN]
