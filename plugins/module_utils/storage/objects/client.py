# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of any provider, through the provider's official SDK."""
from __future__ import annotations

from . import azure, gcs, s3

# options.KINDS -> the module with opened(place), a context manager that yields a bucket.Bucket
_PROVIDERS = {
    "s3": s3,
    "gcs": gcs,
    "azure": azure,
}


def opened(place):
    """A bucket.Bucket for an options.Place, as a context manager."""
    return _PROVIDERS[place.kind].opened(place)
