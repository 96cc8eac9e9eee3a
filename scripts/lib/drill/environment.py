# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The caller's own environment, as it was before the set-up of scripts/drill changed PATH, HOME and locale."""
from __future__ import annotations

import base64
import os

VARIABLE = "KDR_CALLER_ENVIRONMENT"


def decode(text) -> dict:
    """The output of `env -0 | base64 -w0` as a dictionary."""
    pairs = (entry.partition("=") for entry in base64.b64decode(text).decode("utf-8", "surrogateescape").split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def take() -> dict:
    """The caller's environment; it is removed from ours, so that no child inherits it."""
    text = os.environ.pop(VARIABLE, None)
    return decode(text) if text else dict(os.environ)
