# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downtime seen from outside: the health endpoint asked several times a second."""
from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request


def is_up(url, timeout=2.0, headers=None) -> bool:
    """Whether the health endpoint says UP (its top-level status; the details may be hidden in newer versions)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout) as answer:
            return json.load(answer).get("status") == "UP"
    except (OSError, ValueError, AttributeError, urllib.error.URLError, http.client.HTTPException):
        return False


def intervals_down(samples, begin, end) -> list:
    """[(from, to)] within [begin, end] during which Kestra was not up, from (time, up) samples in order.

    An interval runs from the last good answer before it to the first good one after it: the worst a caller could meet.
    """
    found, last_good, down = [], begin, False
    for moment, up in samples:
        if moment < begin:
            continue
        if moment > end:
            break
        if up:
            if down:
                found.append((last_good, moment))
            last_good, down = moment, False
        else:
            down = True
    if down:
        found.append((last_good, end))
    return found


def downtime(samples, begin, end) -> float:
    """Seconds down within [begin, end]."""
    return sum(to - since for since, to in intervals_down(samples, begin, end))


def up_since(samples):
    """When the present unbroken time up began: the first good answer after the last bad one, or None while down."""
    since = None
    for moment, up in samples:
        if not up:
            since = None
        elif since is None:
            since = moment
    return since


class Poller(threading.Thread):
    """Asks until it is stopped. samples: (monotonic seconds at the answer, up)."""

    def __init__(self, url, period=0.2, headers=None):
        super().__init__(name="health", daemon=True)
        self._url, self._period, self._headers = url, period, headers
        self._halt = threading.Event()
        self._samples = []

    def run(self):
        while not self._halt.is_set():
            up = is_up(self._url, headers=self._headers)
            self._samples.append((time.monotonic(), up))
            self._halt.wait(self._period)

    def samples(self) -> list:
        """A copy of what was seen so far."""
        return list(self._samples)

    def stop(self) -> None:
        """Ends the thread."""
        self._halt.set()
        self.join(timeout=5)


def wait_up(url, seconds, *, headers=None, still=None):
    """Waits until the endpoint says UP. Returns True, or False after that many seconds or when still() says no."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_up(url, headers=headers):
            return True
        if still is not None and not still():
            return False
        time.sleep(0.2)
    return False
