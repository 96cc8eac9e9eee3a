# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buckets of all providers have in common."""
from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import math
import time

from ...core.secrets import memory_file
from . import failures

# The headers that every provider keeps: as listing.Entry names them, and as the SDKs of Google and Azure do.
PROPERTIES = {"CacheControl": "cache_control", "ContentDisposition": "content_disposition", "ContentEncoding": "content_encoding",
              "ContentLanguage": "content_language", "ContentType": "content_type"}
_PAUSE, _LONGEST_PAUSE = 1.0, 20.0


class Bucket:
    """One bucket, below one prefix: one method per request, every failure a DrError, patient with servers that are busy.

    Nothing is decided here. Keys are given and returned below the place's prefix. Of each provider's own are facts,
    lifecycle_rules, keep_versions, objects, directories, version_pages, read, head, write, copy_version, delete and
    delete_versions, described in s3.py; what is answered here is what a provider does not have.
    """

    # Above this size an object is written in parts (begin_parts, write_part, copy_part, end_parts, abort_parts).
    parts_from: float = math.inf
    # How the provider replicates, where it does not go by rules as S3 has them.
    own_replication = ""
    # Whether it says of objects that they were replicated, or are replicas.
    marks_replicas = True
    # Whether an entity tag tells what is in an object; else it tells when it was written, and a listing tells the MD5 beside it.
    tags_tell = True
    # Whether an object of before versions were kept gets a version's name when it is overwritten.
    named_later = False

    def __init__(self, client, place):
        self._client = client
        self.place = place

    def below(self, prefix):
        """The same bucket below a further prefix."""
        return type(self)(self._client, dataclasses.replace(self.place, prefix=self.place.prefix + prefix))

    def put(self, entry, data: bytes = b"") -> dict:
        """Writes an object of what is in memory, as write does."""
        body = io.BytesIO(data) if data else None
        return self.write(entry._replace(size=len(data)), body, md5_text(hashlib.md5(data, usedforsecurity=False).digest()))

    def _below(self, key: str) -> str:
        return key[len(self.place.prefix):]

    @staticmethod
    def _answer(exc):
        """(code as in failures.of, status) of an exception of the SDK, None when there was no answer."""
        raise NotImplementedError

    def _failure(self, exc, operation) -> tuple:
        """(the DrError that an exception stands for, whether another attempt may help)."""
        return failures.of(exc, self._answer(exc), operation=operation, bucket=self.place.bucket, endpoint=self.place.shown)

    def _wait(self, exc, operation, waited) -> None:
        error, again = self._failure(exc, operation)
        if not again or not waited.pause():
            raise error from None

    def require_possible(self, entry) -> None:
        """Raises RefusedError for an object that this provider cannot hold as it is. Nothing is asked."""

    def keeps_versions(self) -> bool:
        """Whether versions really are kept where facts() says so; some providers show it by a write only. To be asked before one."""
        return True

    def replication(self):
        """Rules of replication as in s3.py; None where the provider has none of the kind."""
        return None

    def replicated(self, entry):
        """What the server says of the replication of one object; None where it says nothing of one."""
        return None

    def unfinished_uploads(self, key=""):
        """(key, upload id) of uploads in parts that were never finished; None where the provider does not tell and ends them itself."""
        return None


def md5_text(digest: bytes) -> str:
    """An MD5 as it is sent along."""
    return base64.b64encode(digest).decode("ascii")


class Patience:
    """How long failures in a row are put up with, in seconds, with growing pauses between the attempts."""

    def __init__(self, seconds):
        self._seconds = seconds
        self.rested()

    def rested(self) -> None:
        """It goes on: patience is whole again."""
        self._until = None
        self._pause = _PAUSE

    def pause(self) -> bool:
        """Waits for the next attempt; False when patience is at its end."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        if now >= self._until:
            return False
        time.sleep(min(self._pause, self._until - now))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return True


def trusted(place, files):
    """What the SDK checks a place's certificate with. files: an ExitStack that keeps them there."""
    ca = place.ca_path or (files.enter_context(memory_file(place.ca_pem)) if place.ca_pem else None)
    return place.validate_certs and (ca or True)
