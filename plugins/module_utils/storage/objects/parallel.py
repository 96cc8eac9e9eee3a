# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on many objects at once, in the order they came in, holding few of them."""
from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

# Tasks that wait for each thread: enough that one large object does not stop the others.
_AHEAD = 16


def in_turn(items, work, threads: int):
    """Yields work(item) for each item in order. The first failure ends it; what has begun is waited for, nothing else begun."""
    waiting: deque = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="objects")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
