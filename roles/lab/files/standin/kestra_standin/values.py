# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON, times, durations and ids the way Kestra writes them."""
from __future__ import annotations

import json
import random
import re
import secrets
from datetime import datetime, timedelta, timezone
from decimal import Decimal

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NUMBER = re.compile(r'"\\u0000(-?[0-9.]+)"')


def _decimal(value):
    if isinstance(value, Decimal):
        # NUL cannot occur in a jsonb string, so this mark collides with nothing.
        return "\x00" + format(value, "f")
    raise TypeError("cannot write %s as JSON" % type(value).__name__)


def dumps(value):
    """JSON text; Decimals keep their digits (Kestra writes durations as 123.901000000)."""
    return _NUMBER.sub(r"\1", json.dumps(value, ensure_ascii=False, default=_decimal))


def loads(text):
    """The reverse of dumps: numbers with a fraction become Decimal, so that rewriting a row keeps their digits."""
    return json.loads(text, parse_float=Decimal)


def new_id(rng=None):
    """A base62 id of a random 128-bit number: 20 to 22 characters, like Kestra's."""
    number = rng.getrandbits(128) if isinstance(rng, random.Random) else secrets.randbits(128)
    digits = []
    while number:
        number, rest = divmod(number, 62)
        digits.append(BASE62[rest])
    return "".join(reversed(digits)) or "0"


def file_number(rng=None):
    """The positive 64-bit number in a temporary file's name."""
    return (rng or secrets.SystemRandom()).randrange(10 ** 16, 2 ** 63)


def now():
    """The present in UTC, to the millisecond."""
    moment = datetime.now(timezone.utc)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def iso(moment):
    """2026-11-22T12:03:25.609Z."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (moment.microsecond // 1000)


def iso_short(moment):
    """Like iso, without a fraction of zero: how Java prints a date and time, hence how expressions see them."""
    return iso(moment).replace(".000Z", "Z")


def parse_iso(text):
    """An aware datetime from an ISO-8601 text."""
    text = text.strip()
    if text.endswith("Z"):
        text = text[:-1] + "+00:00"
    match = re.match(r"^(.*T\d\d:\d\d:\d\d)\.(\d+)(.*)$", text)
    if match:
        text = "%s.%s%s" % (match.group(1), (match.group(2) + "000000")[:6], match.group(3))
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def seconds(delta):
    """A timedelta (or seconds) as Kestra's JSON duration: a number with nine decimals."""
    if isinstance(delta, timedelta):
        delta = Decimal(delta // timedelta(microseconds=1)) / Decimal(1000000)
    return Decimal(str(delta)).quantize(Decimal("0.000000001"))


_ISO_DURATION = re.compile(
    r"^P(?:(?P<d>[\d.]+)D)?(?:T(?:(?P<h>[\d.]+)H)?(?:(?P<m>[\d.]+)M)?(?:(?P<s>[\d.]+)S)?)?$", re.I)
_PLAIN_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$", re.I)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text):
    """Seconds (float) from PT1M30S, 90s, 1m, 500ms or a number; ValueError otherwise."""
    text = str(text).strip()
    match = _PLAIN_DURATION.match(text)
    if match:
        return float(match.group(1)) * _UNITS[(match.group(2) or "s").lower()]
    match = _ISO_DURATION.match(text)
    if match and any(match.groupdict().values()):
        parts = {key: float(value or 0) for key, value in match.groupdict().items()}
        return parts["d"] * 86400 + parts["h"] * 3600 + parts["m"] * 60 + parts["s"]
    raise ValueError("not a duration: %r" % text)
