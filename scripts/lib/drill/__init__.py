# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill: let Kestra work, back it up, lose it, restore it, prove it. scripts/drill starts it."""
from __future__ import annotations


class DrillError(Exception):
    """The drill could not go on. message: what happened; hint: what to do next (may be several lines)."""

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.message = message
        self.hint = hint
