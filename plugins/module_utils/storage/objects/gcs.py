# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of Google Cloud Storage, through Google's SDK.

Every object has a generation, also where the bucket keeps no earlier ones: it is the version of an entry, and what is read is
what was listed or nothing. A listing tells headers and metadata, so that reading an object takes one request.
"""
from __future__ import annotations

import base64
import contextlib
import email.utils
import functools
import io
import itertools
import json
from datetime import datetime, timedelta, timezone

from ...core.clock import utc_text
from ...core.errors import ConfigError, DrError, RefusedError, ToolError
from ..listing import shown
from . import failures
from .bucket import PROPERTIES, Bucket, Patience, trusted
from .listing import Entry
from .moments import Version
from .parallel import in_turn

SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"
# What an object without a content type is served as.
_NO_TYPE = "application/octet-stream"
_FIELDS = ("items(name,size,md5Hash,generation,timeCreated,timeDeleted,metadata,cacheControl,contentDisposition,contentEncoding,"
           "contentLanguage,contentType),prefixes,nextPageToken")
# As Google's documentation has it; of True the SDK would make another word, which not every server takes.
_ALL = "true"
_TIMEOUT = (10, 60)
# What is sent at once of an upload that can be taken up again.
_CHUNK = 16 << 20
# A version that another one followed within this was overwritten, not deleted: their times come from different clocks.
_OVERWRITTEN = timedelta(seconds=1)


def driver():
    """The google.cloud.storage module. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        from google.cloud import storage
    except ImportError:
        raise ToolError("The Python library google-cloud-storage is missing on this host.", reason="google_cloud_storage_missing",
                        hint="Install it with pip into the Python that ansible_python_interpreter names.") from None
    return storage


@contextlib.contextmanager
def opened(place):
    """A GcsBucket for an options.Place."""
    storage = driver()
    import google.auth.transport.requests
    import requests.adapters
    with contextlib.ExitStack() as files:
        session = files.enter_context(contextlib.closing(google.auth.transport.requests.AuthorizedSession(_credentials(place))))
        verify = trusted(place, files)

        class Adapter(requests.adapters.HTTPAdapter):
            """What a place says of certificates goes before what the environment says."""

            def send(self, request, **how):
                return super().send(request, **(how if verify is True else {**how, "verify": verify}))

        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter(pool_maxsize=place.parallel + 2))
        client = storage.Client(project=None, _http=session, credentials=session.credentials,
                                client_options={"api_endpoint": place.endpoint} if place.endpoint else None)
        yield GcsBucket(client, place)


def _credentials(place):
    import google.auth
    import google.auth.credentials
    import google.auth.exceptions
    import google.oauth2.service_account
    if place.endpoint and place.endpoint.startswith("http://"):
        # A token would be there for everybody on the way.
        return google.auth.credentials.AnonymousCredentials()
    try:
        if place.service_account:
            return google.oauth2.service_account.Credentials.from_service_account_info(json.loads(place.service_account), scopes=[SCOPE])
        return google.auth.default(scopes=[SCOPE])[0]
    except google.auth.exceptions.DefaultCredentialsError as exc:
        raise failures.of(exc, None, operation="storage.buckets.get", bucket=place.bucket, endpoint=place.shown)[0] from None
    except (ValueError, TypeError, AttributeError, google.auth.exceptions.GoogleAuthError):
        raise ConfigError("The service account's JSON text is damaged, or lacks its private key.", reason="credentials_missing",
                          hint="Make a new key of the service account (JSON).") from None


class GcsBucket(Bucket):
    """As Bucket."""

    own_replication = "what it replicates is said by the location of the bucket (multi-region, dual-region, turbo replication)"
    marks_replicas = False

    def __init__(self, client, place):
        import google.api_core.exceptions
        import google.auth.exceptions
        import requests
        import urllib3.exceptions
        from google.cloud.storage import exceptions
        super().__init__(client, place)
        self._bucket = client.bucket(place.bucket)
        self._errors = (google.api_core.exceptions.GoogleAPIError, google.auth.exceptions.GoogleAuthError, requests.RequestException,
                        urllib3.exceptions.HTTPError, ConnectionError, exceptions.InvalidResponse, exceptions.DataCorruption)

    # requests

    def _call(self, operation, request, **how):
        """What request() returns. operation: the right that it takes."""
        waited = Patience(self.place.patience)
        while True:
            try:
                return request(**{"timeout": _TIMEOUT, "retry": None, **how})
            except self._errors as exc:
                self._wait(exc, operation, waited)

    @staticmethod
    def _answer(exc):
        return answer(exc)

    def _failure(self, exc, operation):
        # What the SDK gave up for, where it has waited already.
        last = getattr(exc, "cause", None)
        error, again = super()._failure(last or exc, operation)
        return error, again and last is None

    def _error(self, code, operation):
        return failures.of(None, (code, 0), operation=operation, bucket=self.place.bucket, endpoint=self.place.shown)[0]

    # the bucket itself

    def _looked_at(self):
        """The server's headers, when the bucket was asked for."""
        answers: list = []
        hooks = self._client._http.hooks["response"]

        def note(response, *_args, **_how):
            answers.append(response.headers)

        hooks.append(note)
        try:
            self._call("storage.buckets.get", self._bucket.reload)
        finally:
            hooks.remove(note)
        return answers[-1]

    def facts(self) -> dict:
        said, bucket = self._looked_at(), self._bucket
        moment = email.utils.parsedate_to_datetime(said["date"]) if said.get("date") else datetime.now(timezone.utc)
        kept = bucket.soft_delete_policy.retention_duration_seconds
        return {"server": said.get("server"), "versioning": "Enabled" if bucket.versioning_enabled else None,
                "encryption": bucket.default_kms_key_name or "Google's own keys", "server_time": utc_text(moment),
                "provider": {"location": bucket.location, "location_type": bucket.location_type,
                             "turbo_replication": bucket.rpo == "ASYNC_TURBO",
                             "soft_delete_seconds": kept and int(kept), "retention_seconds": bucket.retention_period}}

    def lifecycle_rules(self):
        self._looked_at()
        return [one for rule in self._bucket.lifecycle_rules for one in s3_rules(rule)]

    def keep_versions(self) -> None:
        self._bucket.versioning_enabled = True
        self._call("storage.buckets.update", self._bucket.patch)

    # lists

    def _pages(self, below, **what):
        """Yields the pages of a listing."""
        token = None
        while True:
            def page(token=token, **how):
                listed = self._client.list_blobs(self._bucket, prefix=self.place.prefix + below, page_token=token, fields=_FIELDS,
                                                 **what, **how)
                return next(listed.pages), listed.next_page_token

            found, token = self._call("storage.objects.list", page)
            yield found
            if not token:
                return

    def objects(self, below=""):
        for page in self._pages(below):
            for blob in page:
                yield self._entry(blob)

    def directories(self, above, start="", most=1000):
        for page in self._pages(above + start, delimiter="/", page_size=most):
            for prefix in page.prefixes:
                yield self._below(prefix)

    def version_pages(self, below=""):
        blobs = (blob for page in self._pages(below, versions=_ALL) for blob in page)
        for name, found in itertools.groupby(blobs, key=lambda blob: blob.name):
            yield versions(self._below(name), [(blob.time_created, blob.time_deleted, self._entry(blob)) for blob in found]), None

    def _entry(self, blob) -> Entry:
        headers = {header: getattr(blob, name) for header, name in PROPERTIES.items() if getattr(blob, name)}
        headers.setdefault("ContentType", _NO_TYPE)
        # What was composed of other objects has no MD5, and nothing else that surely says what is in it.
        tag = base64.b64decode(blob.md5_hash).hex() if blob.md5_hash else f"generation-{blob.generation}"
        return Entry(self._below(blob.name), blob.size, tag, utc_text(blob.time_created), str(blob.generation), headers=headers,
                     metadata=dict(blob.metadata or {}))

    # objects

    def _blob(self, key, version=None):
        return self._bucket.blob(self.place.prefix + key, generation=version and int(version))

    def read(self, entry, sink, *, same=True) -> Entry:
        target = _Sink(sink)
        while True:
            try:
                # Of what was listed everything is known.
                found = entry if same and entry.headers else self.head(entry, entry.version if same else None)
                self._read(found, target)
                return found._replace(metadata=found.metadata or {})
            except DrError as exc:
                if exc.reason != failures.GONE or not self._replaced(entry):
                    raise
                # Whichever is there is read, as long as nothing of another one was.
                if same or target.position:
                    raise self._error("PreconditionFailed", "storage.objects.get") from None

    def _read(self, found, target) -> None:
        blob = self._blob(found.key, found.version)
        waited = Patience(self.place.patience)
        while True:
            before = target.position
            try:
                # As it is stored, also where that is compressed.
                blob.download_to_file(target, start=before or None, raw_download=True, checksum=None, timeout=_TIMEOUT, retry=None)
                if target.position >= found.size:
                    return
                raise ConnectionResetError("the answer is short")
            except self._errors as exc:
                if target.position > before:
                    waited.rested()
                self._wait(exc, "storage.objects.get", waited)

    def _replaced(self, entry) -> bool:
        """Whether something else is there in the place of what is gone."""
        try:
            self.head(entry)
        except DrError as exc:
            if exc.reason != failures.GONE:
                raise
            return False
        return True

    def head(self, entry, version=None) -> Entry:
        blob = self._blob(entry.key, version)
        self._call("storage.objects.get", blob.reload)
        return self._entry(blob)

    def write(self, entry, body, md5: str) -> dict:
        import google.api_core.retry
        operation = "storage.objects.create"
        blob = self._described(self._blob(entry.key), entry)
        blob.md5_hash = md5
        # What is large goes in pieces, each with our patience; the server says where to go on.
        blob.chunk_size = _CHUNK
        patient = google.api_core.retry.Retry(predicate=lambda exc: not upload_gone(exc) and self._failure(exc, operation)[1],
                                              timeout=self.place.patience)

        def send(**how):
            blob.upload_from_file(body or io.BytesIO(), rewind=True, size=entry.size, checksum=None, **how)

        self._call(operation, send, retry=patient)
        if blob.md5_hash != md5:
            raise self._error("BadDigest", operation)
        return {"etag": self._entry(blob).etag, "version": str(blob.generation)}

    def _described(self, blob, entry):
        """A blob with the headers and metadata of an entry."""
        for header, text in (entry.headers or {}).items():
            setattr(blob, PROPERTIES[header], text)
        blob.metadata = entry.metadata or {}
        return blob

    def require_possible(self, entry) -> None:
        foreign = [header for header in entry.headers or {} if header not in PROPERTIES]
        if foreign or "\n" in entry.key or "\r" in entry.key:
            why = f"the header {foreign[0]}" if foreign else "a line break in a key"
            raise RefusedError(f"{self.place.shown} has no place for {why}: {shown(entry.path)}.", reason="storage_not_portable",
                               hint="Restore into a bucket of the kind that it came from.")

    def copy_version(self, entry) -> None:
        source = self._blob(entry.key, entry.version)
        target = self._described(self._blob(entry.key), entry if entry.headers else self.head(entry, entry.version))
        token = None
        while True:
            token, _done, _size = self._call("storage.objects.create", functools.partial(target.rewrite, source, token=token))
            if not token:
                return

    def delete(self, keys) -> int:
        return sum(1 for _gone in in_turn(keys, self._delete, self.place.parallel))

    def delete_versions(self, before=None) -> int:
        blobs = [blob for page in self._pages("", versions=_ALL) for blob in page
                 if before is None or utc_text(blob.time_created) < before]
        for blob in blobs:
            self._delete(self._below(blob.name), blob.generation)
        return len(blobs)

    def _delete(self, key, version=None) -> None:
        try:
            self._call("storage.objects.delete", self._blob(key, version).delete)
        except DrError as exc:
            if exc.reason != failures.GONE:
                raise


class _Sink:
    """What the SDK writes into; knows how much that was."""

    def __init__(self, sink):
        self._sink = sink
        self.position = 0

    def write(self, block) -> None:
        self._sink(block)
        self.position += len(block)


def versions(key: str, found) -> list:
    """What moments.pick takes of one key. found: (when written, when it ceased to be the present one or None, entry). Pure."""
    result, after = [], None
    for created, ceased, entry in sorted(found, key=lambda one: (one[0], int(one[2].version)), reverse=True):
        if ceased is not None and (after is None or after - ceased > _OVERWRITTEN):
            result.append(Version(key, utc_text(ceased), after is None, None))
        result.append(Version(key, utc_text(created), ceased is None, entry))
        after = created
    return result


# of a rule: what shows that it is for earlier versions only
_EARLIER = ("numNewerVersions", "daysSinceNoncurrentTime", "noncurrentTimeBefore")


def s3_rules(rule) -> list:
    """A rule of Google's lifecycle as rules of the S3 API that do no less. Pure.

    A condition on storage classes or on the ends of keys is taken as met: a rule that is not one of the S3 API must not look
    harmless. All of Google's classes are readable at once.
    """
    condition = rule.get("condition") or {}
    # Kestra gives its objects no time of its own.
    if (rule.get("action") or {}).get("type") != "Delete" or "daysSinceCustomTime" in condition or "customTimeBefore" in condition:
        return []
    known: dict = {"Status": "Enabled"}
    earlier = condition.get("isLive") is False or any(condition.get(name) for name in _EARLIER)
    if not earlier:
        known["Expiration"] = {"Date": condition["createdBefore"]} if condition.get("createdBefore") else {"Days": condition.get("age", 0)}
    if condition.get("isLive") is not True:
        known["NoncurrentVersionExpiration"] = {"NoncurrentDays": condition.get("daysSinceNoncurrentTime", 0)}
    return [dict(known, Filter={"Prefix": prefix}) for prefix in condition.get("matchesPrefix") or [""]]


def answer(exc):
    """(code of the S3 API, status) of an answer that refuses, None when there was none. Pure."""
    names = [kind.__name__ for kind in type(exc).__mro__]
    if "DataCorruption" in names:
        return "BadDigest", 0
    if "RefreshError" in names:
        # Google's words for a signature of another time than its own.
        return "RequestTimeTooSkewed" if "reasonable timeframe" in str(exc) else "Unauthorized", 0
    status = getattr(exc, "code", None) or getattr(getattr(exc, "response", None), "status_code", None)
    if status is None:
        return None
    if upload_gone(exc):
        # Nothing is missing but the upload: it can only be begun anew.
        return "RequestTimeout", int(status)
    reasons = [error.get("reason") for error in getattr(exc, "errors", None) or ()]
    return _code(int(status), reasons, str(exc)), int(status)


def upload_gone(exc) -> bool:
    """Whether an answer says that an upload in pieces does not go on: it has expired, or was ended by a piece whose answer was lost. Pure."""
    response = getattr(exc, "response", None)
    return getattr(response, "status_code", None) in (404, 410) and "upload_id=" in (getattr(response, "url", None) or "")


def _code(status, reasons, text) -> str:
    if status == 400 and "md5" in text.lower():
        return "BadDigest"
    if status == 401:
        return "Unauthorized"
    if status == 403 and any(reason in ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded") for reason in reasons):
        return "SlowDown"
    if status == 403 and any(reason in ("retentionPolicyNotMet", "objectUnderActiveHold") for reason in reasons):
        return "ObjectLocked"
    if status == 404:
        # The text begins with what was asked for.
        return "NoSuchKey" if "/o/" in text and "bucket does not exist" not in text else "NoSuchBucket"
    return {403: "AccessDenied", 408: "RequestTimeout", 412: "PreconditionFailed"}.get(status, str(status))
