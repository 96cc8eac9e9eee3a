# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small judgements about single values of Kestra's configuration. Pure."""
from __future__ import annotations

import base64
import binascii
import re

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_END = re.compile(
    r"(^|-)(pass|password|passwd|passphrase|pwd|secret|secrets|token|tokens|credential|credentials|sasl-jaas-config|"
    r"connection-string|service-account|private-key|key|keys|fingerprint|salt)(\[\d+\])?$")
_ISO_DURATION = re.compile(r"P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?", re.I)
_SHORT_DURATION = re.compile(r"(?P<n>\d+)\s*(?P<u>ns|us|ms|s|m|h|d)?", re.IGNORECASE)
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def normalise_key(key) -> str:
    """camelCase, snake_case and kebab-case of a dotted key become kebab-case, as in Micronaut's NameUtils.hyphenate."""
    return _HUMP.sub("-", str(key)).replace("_", "-").lower()


def env_name(name) -> str:
    """The form in which a key and an environment variable meet: upper case, every run of other signs one underscore."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).upper().strip("_")


def is_secret_key(key) -> bool:
    """Whether the value of this (normalised) key is to be kept secret, judged by its last three segments."""
    segments = normalise_key(key).replace("[", ".[").split(".")
    segments = [part for part in segments if not part.startswith("[")]
    return bool(_SECRET_END.search("-".join(segments[-3:])))


def parse_duration(value):
    """Seconds of PT5M, 5m, 300s or 300000ms; None when it is no duration. A bare number is taken as seconds."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value).strip()
    found = _SHORT_DURATION.fullmatch(text)
    if found:
        return int(found["n"]) * _UNIT_SECONDS[(found["u"] or "s").lower()]
    found = _ISO_DURATION.fullmatch(text)
    if not found or not any(found.groupdict().values()):
        return None
    parts = {name: float(number or 0) for name, number in found.groupdict().items()}
    return parts["d"] * 86400 + parts["h"] * 3600 + parts["m"] * 60 + parts["s"]


def as_text(value) -> str:
    """A YAML scalar as the string Java would make of it."""
    if value is True or value is False:
        return str(value).lower()
    return "" if value is None else str(value)


def boolean(value):
    if isinstance(value, bool) or value is None:
        return value
    return {"true": True, "yes": True, "on": True, "y": True, "1": True,
            "false": False, "no": False, "off": False, "n": False, "0": False}.get(str(value).strip().lower())


def integer(value):
    try:
        return int(str(value).strip())
    except ValueError:
        return None


def shown_url(url):
    """A URL without user information, query and fragment; None stays None.

    What stands before the last @ goes, even where a strict reader would see a path: a password may hold a slash.
    """
    if url is None:
        return None
    scheme, separator, rest = str(url).partition("://")
    if not separator:
        scheme, rest = "", str(url)
    return scheme + separator + re.split(r"[?#]", rest.rpartition("@")[2])[0]


def strings(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def decode_base64(value):
    """The text of a base64 value (SECRET_* of the open-source edition), or None."""
    try:
        return base64.b64decode(value, validate=True).decode("utf-8") or None
    except (binascii.Error, ValueError):
        return None
