# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of many files belong to a sample. Pure."""
from __future__ import annotations

import hashlib


def sampled(path: bytes, percent: int, seed: str) -> bool:
    """Whether a path belongs to the sample: the same answer for the same seed. Pure."""
    if percent >= 100:
        return True
    digest = hashlib.sha256(seed.encode("utf-8", "surrogateescape") + b"\0" + path).digest()
    return int.from_bytes(digest[:8], "big") % 10000 < percent * 100
