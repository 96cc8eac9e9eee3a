# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Kestra calls itself healthy: /health of its management port (503 and DOWN, or no answer, until it is up)."""
from __future__ import annotations

from ..core.errors import ConnectError
from .client import Client, Settings, clean_url
from .lifecycle import LOGIN, UP


def judge(answer) -> dict:
    """{"status", "error"} of an Answer. Of the body only the status is read: 2.0 hides details from strangers."""
    if answer.status in (401, 403):
        return {"status": LOGIN, "error": f"HTTP {answer.status}"}
    said = answer.body.get("status") if isinstance(answer.body, dict) else None
    if answer.status == 200 and said == UP:
        return {"status": UP, "error": None}
    return {"status": said if said and said != UP else "DOWN", "error": f"HTTP {answer.status}"}


def probe(params):
    """A callable that asks once and never raises, or None without management_url. Raises ConfigError (bad_url)."""
    url = clean_url(params.get("management_url"), "management_url")
    if url is None:
        return None
    client = Client(Settings(
        management_url=url, management_user=params.get("management_user"),
        management_password=params.get("management_password"), validate_certs=params.get("validate_certs", True),
        ca_path=params.get("ca_path"), timeout=5.0))

    def ask() -> dict:
        try:
            return judge(client.management("/health"))
        except ConnectError as exc:
            return {"status": None, "error": exc.message}

    return ask
