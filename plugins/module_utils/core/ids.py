# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ids of recovery points: the UTC second they were opened in, and six hex digits against two in one second."""
from __future__ import annotations

import re
import secrets
from datetime import datetime, timezone

# The last group is text from our own alphabet only, so an id is always safe as a file name and a restic tag.
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


def new_id(now=None, random=None) -> str:
    """A new id, e.g. 20261123T001500Z-a1b2c3. now: aware datetime; random: callable(bytes) -> hex text."""
    now = now or datetime.now(timezone.utc)
    random = random or secrets.token_hex
    return now.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ-") + random(3)


def is_id(text) -> bool:
    """Whether text is an id (and therefore safe in a path)."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None
