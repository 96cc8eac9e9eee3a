# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshot may go to which cluster. Pure."""
from __future__ import annotations

import re

from ...core.errors import RefusedError, ToolError


def parse(text) -> tuple:
    """(major, minor, patch) of "8.19.21", "9.0.0-SNAPSHOT" or "8.11.0-8.12.2" (its first). Raises ToolError."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text or "")
    if not found:
        raise ToolError(f"No Elasticsearch version can be read from {str(text)[:80]!r}.", reason="version_unreadable")
    return int(found.group(1)), int(found.group(2)), int(found.group(3) or 0)


def require_restorable(taken, cluster) -> None:
    """Refuses a snapshot of a newer version, or of one before the previous major. Both are texts."""
    there, here = parse(taken), parse(cluster)
    if there > here:
        raise RefusedError(f"The snapshot was taken by Elasticsearch {taken}, and the cluster is {cluster}: a snapshot never goes to "
                           "an older version.", reason="newer_version", hint=f"Restore into a cluster of {taken} or newer.",
                           detail={"snapshot": taken, "cluster": cluster})
    if there[0] < here[0] - 1:
        raise RefusedError(f"The snapshot was taken by Elasticsearch {taken}, and {cluster} reads those of {here[0] - 1}.0 and newer.",
                           reason="too_old", hint=f"Restore into a cluster of {there[0] + 1}.x first, and upgrade that.",
                           detail={"snapshot": taken, "cluster": cluster})
