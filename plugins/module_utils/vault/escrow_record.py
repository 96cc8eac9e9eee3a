# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record beside an escrow kit: when it was written and what for, so that whoever cannot open the kit knows whether it is stale.

It lies open, so it tells nothing: what the kit was made for is in it as HMACs under a random key, which never leaves the vault.
"""
from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import secrets

from ..core import clock
from ..core.errors import ConfigError, StateError
from ..core.files import atomic_write, read_json

SCHEMA = 1
# What a kit is made for, and what is said of one that was made for something else.
GROUPS = {"instance": "another instance", "repository": "another repository, or another password or account of it",
          "keys": "other keys, passwords or settings of Kestra", "kestra": "another version or other plugins of Kestra"}


def place_of(place):
    """Where the record of a kit lies."""
    return dataclasses.replace(place, path=place.path + ".json")


def key(catalog, make=False):
    """The vault's key, or None when it has none. make: then it gets one."""
    path = catalog.below("escrow-key.json")
    if not os.path.exists(path):
        if not make:
            return None
        atomic_write(path, json.dumps({"schema": SCHEMA, "key": secrets.token_hex(32)}) + "\n")
    return bytes.fromhex(read_json(path)["key"])


def digests(secret: bytes, facts) -> dict:
    """{group: HMAC} of what a kit is made for. Pure. facts: as of escrow.gather(); what it lacks is None."""
    instance, hosts = facts.get("instance") or {}, facts.get("hosts")
    of = {"instance": [instance["name"], instance["id"]] if instance.get("id") else None, "repository": facts["repository"],
          "keys": hosts and {name: [host["settings"], host["environment"]] for name, host in hosts.items()},
          "kestra": hosts and {name: [host["version"], sorted(host["plugins"])] for name, host in hosts.items()}}
    return {group: value and _digest(secret, group, value) for group, value in of.items()}


def _digest(secret, group, value) -> str:
    text = json.dumps([group, value], sort_keys=True)
    return hmac.new(secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def compose(kit: bytes, written, found) -> bytes:
    """The record of a kit. written: UTC text. found: of digests(). Pure."""
    record = {"schema": SCHEMA, "written": written, "kit_sha256": hashlib.sha256(kit).hexdigest(), "digests": found}
    return (json.dumps(record, sort_keys=True, indent=2) + "\n").encode("ascii")


def judge(kit, record, fresh, max_age_days, now) -> dict:
    """What a kit is worth to whoever cannot open it: as escrow.judge(). Pure.

    kit, record: their bytes, or None. fresh: digests() of today, None where this vault has no key; a group that is None is
    not known today. now: UTC text.
    """
    if kit is None:
        return {"written": None, "age_days": None, "state": "missing", "why": "there is none"}
    try:
        known = _read(record)
        age = (clock.parse_utc(now) - clock.parse_utc(known["written"])).total_seconds() / 86400
    except (StateError, ConfigError):
        return _stale("nothing beside it tells what it was made for")
    if known["kit_sha256"] != hashlib.sha256(kit).hexdigest():
        return _stale("what lies beside it tells of another one")
    if fresh is None:
        return _stale("it was not written from this vault")
    why = next((f"it was made for {GROUPS[group]}" for group in GROUPS
                if fresh[group] is not None and not hmac.compare_digest(fresh[group], str(known["digests"].get(group)))), None)
    if why is None and age > max_age_days:
        why = f"it is older than {max_age_days} days"
    return {"written": known["written"], "age_days": round(age, 3), "state": "stale" if why else "current", "why": why}


def _read(record) -> dict:
    try:
        known = json.loads(record)
        if known["schema"] == SCHEMA and isinstance(known["digests"], dict):
            return {name: known[name] for name in ("written", "kit_sha256", "digests")}
    except (ValueError, KeyError, TypeError):
        pass
    raise StateError("That is no record of a kit.", reason="record_malformed")


def _stale(why) -> dict:
    return {"written": None, "age_days": None, "state": "stale", "why": why}
