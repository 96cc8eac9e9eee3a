# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a Schedule trigger fires next."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone

from . import values

try:
    from zoneinfo import ZoneInfo
except ImportError:  # Python 3.9 on a system without it
    ZoneInfo = None

_NAMES = {name: number for number, name in enumerate(
    "jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_NAMES.update({name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())})
_NICKNAMES = {"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
              "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *"}
_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class InvalidSchedule(ValueError):
    """Not a cron expression or interval."""


def _number(text, low, high):
    try:
        number = _NAMES[text.lower()] if text.lower() in _NAMES else int(text)
    except ValueError:
        raise InvalidSchedule("invalid cron field %r" % text) from None
    if not low <= number <= high:
        raise InvalidSchedule("cron value %r out of range" % text)
    return number


def _field(text, low, high):
    found = set()
    for part in text.split(","):
        span, _slash, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        elif "-" in span:
            first, last = (_number(one, low, high) for one in span.split("-", 1))
        else:
            first = _number(span, low, high)
            last = high if step else first
        found.update(range(first, last + 1, _number(step, 1, high) if step else 1))
    return found


class Cron:
    """A cron expression of five fields, or six with seconds first."""

    def __init__(self, text, with_seconds=False):
        fields = _NICKNAMES.get(text.strip(), text).split()
        if len(fields) == (6 if with_seconds else 5):
            fields = fields if with_seconds else ["0"] + fields
        else:
            raise InvalidSchedule("invalid cron expression %r" % text)
        self.any_day, self.any_weekday = fields[3] in ("*", "?"), fields[5] in ("*", "?")
        sets = [_field(field, *bounds) for field, bounds in zip(fields, _RANGES)]
        self.seconds, self.minutes, self.hours, self.days, self.months, weekdays = sets
        self.weekdays = {number % 7 for number in weekdays}

    def _day_fits(self, moment):
        day, weekday = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return day and weekday
        return day or weekday

    def after(self, moment):
        """The first fitting moment later than this one (its time zone is kept), or None within four years."""
        found = moment.replace(microsecond=0) + timedelta(seconds=1)
        limit = moment + timedelta(days=1500)
        while found < limit:
            if found.month not in self.months or not self._day_fits(found):
                found = (found + timedelta(days=1)).replace(hour=0, minute=0, second=0)
            elif found.hour not in self.hours:
                found = found.replace(minute=0, second=0) + timedelta(hours=1)
            elif found.minute not in self.minutes:
                found = found.replace(second=0) + timedelta(minutes=1)
            elif found.second not in self.seconds:
                found += timedelta(seconds=1)
            else:
                return found
        return None


def check(trigger):
    """Raise InvalidSchedule when the trigger has neither a good cron nor a good interval."""
    following(trigger, values.now())


def following(trigger, moment):
    """The next date after the moment, in UTC.

    `cron` (with `withSeconds` and `timezone`) is Kestra's. `every` (a duration) is the stand-in's own: dates lie
    that far apart, counted from the moment.
    """
    if "every" in trigger:
        step = values.duration(trigger["every"])
        if step <= 0:
            raise InvalidSchedule("every must be longer than nothing")
        return moment + timedelta(seconds=step)
    if "cron" not in trigger:
        raise InvalidSchedule("a Schedule needs a cron expression")
    name = trigger.get("timezone")
    try:
        zone = ZoneInfo(name) if name and ZoneInfo else timezone.utc
    except (KeyError, ValueError, OSError):
        raise InvalidSchedule("unknown time zone %r" % name) from None
    found = Cron(trigger["cron"], bool(trigger.get("withSeconds"))).after(moment.astimezone(zone))
    return None if found is None else found.astimezone(timezone.utc)


def missed(trigger, next_date, moment):
    """(first, last) dates from next_date to now that were not fired; (None, None) when none was."""
    first = last = None
    date = next_date
    while isinstance(date, datetime) and date <= moment:
        first = first or date
        last = date
        date = following(trigger, date)
    return first, last
