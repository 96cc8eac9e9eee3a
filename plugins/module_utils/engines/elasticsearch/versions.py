# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshot may go to which cluster. Pure."""
from __future__ import annotations

import re

from ...core.errors import RefusedError, ToolError
from . import clients

# OpenSearch sets this bit in the numbers of its versions.
_OPENSEARCH_BIT = 0x08000000


def parse(text) -> tuple:
    """(major, minor, patch) of "8.19.21", "9.0.0-SNAPSHOT" or "8.11.0-8.12.2" (its first). Raises ToolError."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text or "")
    if not found:
        raise ToolError(f"No version can be read from {str(text)[:80]!r}.", reason="version_unreadable")
    return int(found.group(1)), int(found.group(2)), int(found.group(3) or 0)


def product_of(snapshot) -> str:
    """The product that took a snapshot, by what the repository says of it."""
    return clients.OPENSEARCH if int(snapshot.get("version_id") or 0) & _OPENSEARCH_BIT else clients.ELASTICSEARCH


def require_product(product, identity) -> None:
    """Refuses what the other product has taken. identity: of the cluster."""
    took, title = clients.TITLES[product], clients.TITLES[identity["product"]]
    if took != title:
        raise RefusedError(f"The snapshot was taken by {took}, and the cluster is {title} {identity['server_version']}.",
                           reason="other_product",
                           hint=f"Restore into {took}. What goes from one to the other is copied by their own tools.")


def require_restorable(snapshot, identity) -> None:
    """Refuses a snapshot of the other product, of a newer version, or of one before the previous major.

    snapshot: of catalog.found(). identity: of the cluster.
    """
    product, taken, cluster = product_of(snapshot), snapshot["version"], identity["server_version"]
    require_product(product, identity)
    took, detail = clients.TITLES[product], {"snapshot": taken, "cluster": cluster}
    there, here = parse(taken), parse(cluster)
    if there > here:
        raise RefusedError(f"The snapshot was taken by {took} {taken}, and the cluster is {cluster}: a snapshot never goes to "
                           "an older version.", reason="newer_version", hint=f"Restore into a cluster of {taken} or newer.",
                           detail=detail)
    if there[0] < here[0] - 1:
        raise RefusedError(f"The snapshot was taken by {took} {taken}, and {cluster} reads those of {here[0] - 1}.0 and newer.",
                           reason="too_old", hint=f"Restore into a cluster of {there[0] + 1}.x first, and upgrade that.",
                           detail=detail)
