# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping secrets out of everything that is shown, and handing them to programs as 0600 files."""
from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import tempfile
from urllib.parse import quote, quote_plus

MASK = "********"

# A shorter secret cannot be told apart from ordinary text: masking "1" would turn every count into nonsense.
SHORTEST = 4


def variants(secret) -> set:
    """Every form in which a secret may show up in a log: plain, url-quoted, base64, shell-quoted, JSON-escaped."""
    text = secret.decode("utf-8", "surrogateescape") if isinstance(secret, bytes) else str(secret)
    if not text:
        return set()
    raw = text.encode("utf-8", "surrogateescape")
    forms = {text, shlex.quote(text), repr(text)[1:-1], text.replace("'", "''")}
    forms.update(json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    for safe in ("", "/"):
        forms.add(quote(raw, safe=safe))
        forms.add(quote_plus(raw, safe=safe))
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    forms |= encoded | {form.rstrip("=") for form in encoded}
    return {form for form in forms if form}


class Redactor:
    """Replaces known secrets, in all their variants, by a mask."""

    def __init__(self, *secrets):
        self._forms: set = set()
        self._ordered: list = []
        self.add(*secrets)

    def add(self, *secrets) -> None:
        """Learns secrets (str, bytes or None). Shorter ones than SHORTEST characters are not masked."""
        for secret in secrets:
            if secret is not None and len(secret) >= SHORTEST:
                self._forms |= variants(secret)
        # Longest first, so that a secret that contains another is masked whole.
        self._ordered = sorted(self._forms, key=len, reverse=True)

    def scrub(self, value):
        """A copy of value (text, bytes, or nested dicts, lists, tuples of them) without the secrets."""
        if isinstance(value, str):
            for form in self._ordered:
                if form in value:
                    value = value.replace(form, MASK)
            return value
        if isinstance(value, bytes):
            return self.scrub(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if isinstance(value, dict):
            return {self.scrub(key): self.scrub(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.scrub(item) for item in value]
        return value


@contextlib.contextmanager
def secret_file(directory, content):
    """A 0600 file below directory with content (str or bytes); removed at the end, also after an error.

    Yields its path. directory must exist and should be private (a module's tmpdir).
    """
    raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    fd, path = tempfile.mkstemp(prefix=".kestra-dr-", dir=directory)  # mkstemp creates with 0600 and O_EXCL
    try:
        with os.fdopen(fd, "wb") as handle:
            handle.write(raw)
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


@contextlib.contextmanager
def memory_file(content):
    """The path of a 0600 file in memory; it ends with this process, also after a kill."""
    if not hasattr(os, "memfd_create"):
        with secret_file(None, content) as path:
            yield path
        return
    fd = os.memfd_create("kestra-dr", os.MFD_CLOEXEC)
    try:
        os.fchmod(fd, 0o600)  # programs ignore a password file others may read
        os.write(fd, content.encode("utf-8", "surrogateescape"))
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)
