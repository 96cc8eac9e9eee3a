# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container of Azure Blob Storage, through Microsoft's SDK.

Content-MD5 is kept with every blob that is written, so that a listing tells what is in it: entity tags there are times.
"""
from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import urllib.parse
import uuid

from ...core.clock import utc_text
from ...core.errors import ConfigError, DrError, IntegrityError, RefusedError, ToolError
from ..listing import shown
from . import azure_answers, failures
from .bucket import PROPERTIES, Bucket, Patience, md5_text, trusted
from .listing import PROBES, Entry
from .moments import Version
from .parallel import in_turn

# The first SDK that gives what is stored as it is stored, whatever its Content-Encoding.
_OLDEST_SDK = (12, 28)
_MIB = 1 << 20
# A blob is read by ranges and written in blocks of this size, which are held in memory; a smaller one is written in one request.
_PIECE = 8 * _MIB
_MOST_BLOCKS = 50_000
# Blobs that are looked at to see whether versions are kept.
_LOOKED_AT = 1000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What XML cannot say, and so no listing.
_UNLISTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_FOLDER = "hdi_isfolder"

_LIST, _GET, _HEAD = "azure:List Blobs (permission l)", "azure:Get Blob (permission r)", "azure:Get Blob Properties (permission r)"
_PUT, _COPY = "azure:Put Blob (permission w)", "azure:Copy Blob (permissions r and w)"
_DELETE, _DELETE_VERSION = "azure:Delete Blob (permission d)", "azure:Delete Blob (permission x)"


def driver():
    """The azure.storage.blob module. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        import azure.storage.blob as sdk
    except ImportError:
        raise ToolError("The Python library azure-storage-blob is missing on this host.", reason="azure_sdk_missing",
                        hint="Install azure-storage-blob 12.28 or newer for the Python of ansible_python_interpreter.") from None
    if tuple(int(number) for number in re.findall(r"\d+", sdk.__version__)[:2]) < _OLDEST_SDK:
        raise ToolError(f"The Python library azure-storage-blob is too old on this host ({sdk.__version__}).",
                        reason="azure_sdk_too_old", hint="Install azure-storage-blob 12.28 or newer; distributions carry older ones.")
    return sdk


@contextlib.contextmanager
def opened(place):
    """An AzureBucket for an options.Place."""
    sdk = driver()
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    url, credential = account(place)
    with contextlib.ExitStack() as files:
        session = files.enter_context(requests.Session())
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=place.parallel + 2))
        how = {"connection_timeout": 10, "read_timeout": 60, "connection_verify": trusted(place, files)}
        try:
            # How often to try again is decided here alone.
            service = sdk.BlobServiceClient(url, credential=credential, retry_total=0, max_single_get_size=_PIECE,
                                            max_single_put_size=_PIECE, transport=RequestsTransport(session=session, **how), **how)
        except ValueError:
            raise ConfigError(f"{place.shown} is no endpoint.", reason="bad_endpoint",
                              hint="Give it as https://account.blob.core.windows.net.") from None
        with service:
            yield AzureBucket(_Account(service, place), place)


def account(place):
    """(URL, the SDK's credential) of a place's account. Raises ConfigError. Pure, but for the class of the credential."""
    url = place.endpoint
    if url is None:
        raise ConfigError("Nothing names the account of the storage.", reason="config_missing",
                          hint="Give endpoint, or credentials that name the account.")
    if place.secret_key:
        return url, {"account_name": place.access_key or account_of(url), "account_key": place.secret_key}
    if place.session_token:
        from azure.core.credentials import AzureSasCredential
        return url, AzureSasCredential(place.session_token.lstrip("?"))
    raise ConfigError(f"There are no credentials for {place.shown}; identities of machines and applications are not covered.",
                      reason="credentials_missing",
                      hint="Give a connection string, the account's key or a shared access signature with credentials_file.")


def account_of(url: str) -> str:
    """The account that a URL is of: the first name of its host, or of its path where the host is an address or none."""
    parts = urllib.parse.urlsplit(url)
    path = parts.path.strip("/")
    return path.partition("/")[0] if path else (parts.hostname or "").partition(".")[0]


class _Account:
    """What all that is opened below an account shares. known: what it said of itself."""

    def __init__(self, service, place):
        self.container = service.get_container_client(place.bucket)
        self.service = service
        self.signature = None if place.secret_key else place.session_token.lstrip("?")
        self.known: dict = {}


class AzureBucket(Bucket):
    """As Bucket. An object is written in blocks and copied inside the store as a whole, whatever its size."""

    named_later = True
    tags_tell = False
    own_replication = "policies of object replication are a setting of the account, which only its management tells"

    def __init__(self, client, place):
        super().__init__(client, place)
        from azure.core.exceptions import AzureError
        from requests.exceptions import RequestException
        self._errors = (AzureError, RequestException)

    # requests

    def _call(self, operation, request):
        waited = Patience(self.place.patience)
        while True:
            try:
                return request()
            except self._errors as exc:
                self._wait(exc, operation, waited)

    def _failure(self, exc, operation):
        # What broke the connection says more than that it broke.
        cause = getattr(exc, "inner_exception", None) or exc
        return failures.of(cause, azure_answers.answer(exc), operation=operation, bucket=self.place.bucket, endpoint=self.place.shown)

    def _blob(self, key):
        return self._client.container.get_blob_client(self.place.prefix + key)

    # the container itself

    def facts(self) -> dict:
        """As S3Bucket.facts. Versioning is a setting of the account that only its management tells; here it is what the newest
        of the first blobs shows, which only keeps_versions() proves. provider: {soft_delete_days, hierarchical}."""
        said: dict = {}

        def hear(answer):
            said.update({name.lower(): value for name, value in answer.http_response.headers.items()})

        page = self._first_page(results_per_page=_LOOKED_AT, raw_response_hook=hear)
        told = self._setting("Get Container Properties", self._client.container.get_container_properties)
        policy = self._setting("Get Blob Service Properties", self._client.service.get_service_properties).get("delete_retention_policy")
        return {"server": said.get("server"), "versioning": "Enabled" if told.get("immutable_storage_with_versioning_enabled") else _kept(page),
                "encryption": getattr(told.get("encryption_scope"), "default_encryption_scope", None),
                "server_time": azure_answers.time_of(said),
                "provider": {"soft_delete_days": policy and ((policy.enabled and policy.days) or 0), "hierarchical": self._hierarchical}}

    def _first_page(self, **how):
        """The first blobs, with their versions where there can be any."""
        if not self._hierarchical:
            try:
                return self._page("list_blobs", self.place.prefix, None, include=["versions"], **how)[0]
            except DrError as exc:
                if exc.detail.get("code") != "NotImplemented":
                    raise
                # These credentials were not told, and now it shows.
                self._client.known["hierarchical"] = True
        return self._page("list_blobs", self.place.prefix, None, **how)[0]

    def _setting(self, operation, request):
        """What the account or the container says of itself, nothing where these credentials may not ask: a signature for the
        container may not, and is refused like a wrong one. What is wrong with the credentials shows elsewhere."""
        try:
            return self._call(f"azure:{operation}", request)
        except DrError as exc:
            if exc.detail.get("code") not in (*failures.NOT_TOLD, "SignatureDoesNotMatch"):
                raise
            return {}

    @property
    def _hierarchical(self):
        """Whether the account has a hierarchical namespace, None where that is not told."""
        known = self._client.known
        if "hierarchical" not in known:
            told = self._setting("Get Account Information", self._client.service.get_account_information)
            known["hierarchical"] = told.get("is_hns_enabled")
        return known["hierarchical"]

    def keeps_versions(self) -> bool:
        """As Bucket.keeps_versions: writes an object, sees whether it is a version, and removes it for good."""
        probe = self.below(f"{PROBES}{uuid.uuid4().hex}")
        written = probe.put(Entry("", 0, "", ""))
        probe.delete_versions()
        return bool(written["version"])

    def lifecycle_rules(self):
        """Only the account's management tells them."""
        return None

    def keep_versions(self) -> None:
        """Only the account's management switches it on."""
        raise RefusedError(f"Whether the container {self.place.bucket} keeps versions is a setting of its account.",
                           reason="versioning_off", hint="az storage account blob-service-properties update --account-name "
                           f"{account_of(self.place.endpoint)} --enable-versioning true")

    # lists

    def _page(self, method, prefix, token, **how):
        """(items of one page, what asks for the next one or None)."""
        if self._hierarchical:
            how["include"] = [*how.get("include", ()), "metadata"]

        def ask():
            pages = getattr(self._client.container, method)(name_starts_with=prefix or None, **how).by_page(continuation_token=token)
            return list(next(pages, ())), pages.continuation_token or None

        page, more = self._call(_LIST, ask)
        return [item for item in page if not self._directory(item)], more

    def _directory(self, item) -> bool:
        """Whether it is a directory of a hierarchical namespace: such come with what is in them."""
        metadata = getattr(item, "metadata", None) or {}
        return bool(self._hierarchical) and any(name.lower() == _FOLDER for name in metadata)

    def _items(self, method, prefix, **how):
        token = None
        while True:
            page, token = self._page(method, prefix, token, **how)
            yield from page
            if token is None:
                return

    def objects(self, below=""):
        """As S3Bucket.objects."""
        return (self._entry(item, None) for item in self._items("list_blobs", self.place.prefix + below))

    def directories(self, above, start="", most=1000):
        """As S3Bucket.directories."""
        prefix = self.place.prefix + above + start
        for item in self._items("walk_blobs", prefix, delimiter="/", results_per_page=most):
            # Only what begins with a name has one.
            if not hasattr(item, "blob_type"):
                yield self._below(item.name)

    def version_pages(self, below=""):
        """As S3Bucket.version_pages. A deletion leaves no mark, so nobody can tell when it was: only that it was later than
        the newest version."""
        held: list = []
        for item in self._items("list_blobs", self.place.prefix + below, include=["versions"]):
            if held and held[0].name != item.name:
                yield self._versions(held), None
                held = []
            held.append(item)
        yield self._versions(held), None

    def _versions(self, items) -> list:
        """The versions of one blob, newest first."""
        found = [Version(self._below(item.name), _written(item), _current(item), self._entry(item, item.version_id or "null"))
                 for item in items]
        found.sort(key=lambda version: (version.latest, version.modified), reverse=True)
        if found and not found[0].latest:
            found.insert(0, found[0]._replace(latest=True, entry=None, told=False))
        return found

    def _entry(self, item, version) -> Entry:
        return Entry(self._below(item.name), item.size, item.etag.strip('"'), utc_text(item.last_modified), version,
                     md5=_hex(item.content_settings.content_md5))

    # objects

    def read(self, entry: Entry, sink, *, same=True) -> Entry:
        """As S3Bucket.read."""
        which = _which(entry) if same else {}
        if same and not entry.size:
            return self._asked(entry, which)
        position, found = 0, None
        while found is None or position < found.size:
            try:
                properties, piece = self._call(_GET, lambda start=position: self._piece(entry.key, start, which))
            except DrError as exc:
                # Of nothing there is no first part.
                if position or exc.detail.get("code") != "InvalidRange":
                    raise
                return self._asked(entry, which)
            if found is None:
                found = self._described(entry, properties)
                which = _which(found)
            sink(piece)
            position += len(piece)
        return found

    def _piece(self, key, start, which):
        answer = self._blob(key).download_blob(offset=start, length=_PIECE, decompress=False, **which)
        return answer.properties, answer.readall()

    def _asked(self, entry, which):
        return self._described(entry, self._call(_HEAD, lambda: self._blob(entry.key).get_blob_properties(**which)))

    def head(self, entry: Entry, version=None) -> Entry:
        """As S3Bucket.head."""
        return self._asked(entry, _of_version(version))

    def replicated(self, entry: Entry):
        """As S3Bucket.replicated; nothing is said of an object that waits to be replicated, nor of one that never will be."""
        found = self._call(_HEAD, lambda: self._blob(entry.key).get_blob_properties(**_tagged(entry.etag)))
        return azure_answers.replication(found)

    def _described(self, entry, found) -> Entry:
        settings = found.content_settings
        headers = {name: getattr(settings, mine) for name, mine in PROPERTIES.items() if getattr(settings, mine, None)}
        return entry._replace(
            size=_whole_size(found), etag=found.etag.strip('"'), modified=utc_text(found.last_modified),
            version=entry.version and (found.version_id or entry.version), md5=_hex(settings.content_md5), headers=headers,
            metadata=dict(found.metadata or {}))

    def require_possible(self, entry: Entry) -> None:
        """As Bucket.require_possible."""
        key = self.place.prefix + entry.key
        why = unspeakable(key) or unkeepable(entry.headers or {}, entry.metadata or {})
        if why:
            raise RefusedError(f"Azure cannot hold the object {shown(entry.path)}: {why}.", reason="storage_not_portable",
                               hint="Restore into a bucket of the provider that it came from.")

    def write(self, entry: Entry, body, md5: str) -> dict:
        """As S3Bucket.write; one that is larger than a block is written in blocks, and is there when all of them are."""
        self.require_possible(entry)
        from azure.storage.blob import ContentSettings
        settings = {mine: (entry.headers or {}).get(name) for name, mine in PROPERTIES.items()}
        how = {"metadata": entry.metadata or {},
               "content_settings": ContentSettings(**settings, content_md5=bytearray(base64.b64decode(md5)))}
        if entry.size > _PIECE:
            answer = self._write_blocks(entry, body, md5, how)
        else:
            data = body.read() if body is not None else b""
            self._require_same(md5, hashlib.md5(data, usedforsecurity=False))
            answer = self._call(_PUT, lambda: self._blob(entry.key).upload_blob(
                data, length=len(data), overwrite=True, headers={"Content-MD5": md5}, **how))
        return {"etag": answer["etag"].strip('"'), "version": answer.get("version_id")}

    def _write_blocks(self, entry, body, md5, how):
        """Blocks of an upload that is cut are never seen; the next one of the object drops them, or the store a week later."""
        from azure.storage.blob import BlobBlock
        step = max(_PIECE, -(-entry.size // _MOST_BLOCKS // _MIB) * _MIB)
        blob, digest, blocks = self._blob(entry.key), hashlib.md5(usedforsecurity=False), []
        body.seek(0)
        while data := body.read(step):
            digest.update(data)
            name = base64.b64encode(b"kestra-dr-%06d" % len(blocks)).decode()
            self._stage(blob, entry, name, data)
            blocks.append(BlobBlock(name))
        self._require_same(md5, digest)
        return self._call(_PUT, lambda: blob.commit_block_list(blocks, **how))

    def _stage(self, blob, entry, name, data) -> None:
        md5 = md5_text(hashlib.md5(data, usedforsecurity=False).digest())

        def send():
            blob.stage_block(name, data, length=len(data), headers={"Content-MD5": md5})

        try:
            self._call(_PUT, send)
        except DrError as exc:
            # Another program was cut while it wrote this object: names of blocks of another length are in the way of ours.
            if exc.detail.get("code") != "InvalidBlobOrBlock":
                raise
            self._call(_PUT, lambda: blob.commit_block_list([]))
            self._call(_PUT, send)

    def _require_same(self, md5, digest) -> None:
        if digest.digest() != base64.b64decode(md5):
            raise IntegrityError(f"What was to be sent to {self.place.shown} is not what its list says.", reason="torn",
                                 hint="Check the copy, then run again.")

    def copy_version(self, entry: Entry) -> None:
        """As S3Bucket.copy_version."""
        source = self._blob(entry.key).url + "?" + urllib.parse.urlencode({"versionid": self._version(entry)})
        if self._client.signature:
            source += "&" + self._client.signature
        blob = self._blob(entry.key)
        answer = self._call(_COPY, lambda: blob.start_copy_from_url(source))
        status, moved, waited = answer["copy_status"], None, Patience(self.place.patience)
        while status == "pending" and waited.pause():
            found = self._call(_HEAD, blob.get_blob_properties).copy
            status = found.status if found.id == answer["copy_id"] else "overwritten"
            if found.progress != moved:
                moved = found.progress
                waited.rested()
        if status != "success":
            raise DrError(f"A version of an object in the container {self.place.bucket} could not be copied ({status}).",
                          reason="storage_error", detail={"bucket": self.place.bucket, "endpoint": self.place.shown})

    def _version(self, entry):
        """The version that an entry names. One that is of before versions were kept gets its name when it is overwritten."""
        if entry.version != "null":
            return entry.version
        for page, _next in self.version_pages(entry.key):
            for version in page:
                if version.key == entry.key and version.entry and version.entry.etag == entry.etag and version.entry.version != "null":
                    return version.entry.version
        raise failures.of(None, ("NoSuchVersion", 404), operation=_COPY, bucket=self.place.bucket, endpoint=self.place.shown)[0]

    def delete(self, keys) -> int:
        """As S3Bucket.delete."""
        return sum(1 for _done in in_turn(keys, self._delete, self.place.parallel))

    def _delete(self, key, version=None) -> None:
        which = _of_version(version)
        try:
            self._call(_DELETE_VERSION if which else _DELETE, lambda: self._blob(key).delete_blob(**which))
        except DrError as exc:
            if exc.reason != failures.GONE:
                raise

    def delete_versions(self, before=None) -> int:
        """As S3Bucket.delete_versions."""
        count = 0
        for page, _next in self.version_pages():
            for version in page:
                if version.entry is None or (before is not None and version.modified >= before):
                    continue
                # The present one cannot be deleted as a version: it has to be an earlier one first.
                if version.latest:
                    self._delete(version.key)
                if version.entry.version != "null":
                    self._delete(version.key, version.entry.version)
                count += 1
        return count


def unspeakable(key: str):
    """Why no blob can have a name, or None. Pure."""
    if _UNLISTED.search(key):
        return "its name holds a character that no listing can tell"
    if "\\" in key:
        return "a backslash in a name means a slash there"
    if any(part in (".", "..") for part in key.split("/")):
        return "a part of its name is . or .., which an address cannot hold"
    if len(key) > 1024:
        return "its name has more than 1,024 characters"
    return None


def unkeepable(headers: dict, metadata: dict):
    """Why headers or metadata cannot be kept with a blob, or None. Pure."""
    for name in headers:
        if name not in PROPERTIES:
            return f"there is no header {name}"
    for name, value in metadata.items():
        if not _NAME.fullmatch(name):
            return f"{name} is no name for metadata there (letters, digits and underscores)"
        if not value.isascii() or not value.isprintable():
            return f"the metadata {name} is no plain text"
    names = [name.lower() for name in metadata]
    return None if len(set(names)) == len(names) else "names of its metadata differ by nothing but their case"


def _kept(page):
    """Whether versions are kept, as S3 calls it, by what a page of blobs shows: the newest one was written last."""
    newest = max((item for item in page if _current(item)), key=lambda item: item.last_modified, default=None)
    if newest is None or not any(item.version_id for item in page):
        return None
    return "Enabled" if newest.version_id else "Suspended"


def _current(item) -> bool:
    """Whether an item of a listing with versions is the blob as it is now."""
    return bool(item.is_current_version) or not item.version_id


def _written(item) -> str:
    """When a version was written: its id is the time. Its properties may have been set later."""
    return _id_time(item.version_id) if item.version_id else utc_text(item.last_modified)


def _id_time(version: str) -> str:
    """The time that a version id is, as UTC text (microseconds)."""
    whole, _point, fraction = version.rstrip("Z").partition(".")
    return f"{whole}.{fraction[:6]:0<6}Z"


def _whole_size(found) -> int:
    """The size of a blob: of one that was read in part it stands behind the range."""
    return int(found.content_range.rpartition("/")[2]) if found.content_range else found.size


def _which(entry) -> dict:
    """Conditions under which a blob is the one of an entry, for the SDK."""
    return {**_tagged(entry.etag), **_of_version(entry.version)}


def _tagged(etag) -> dict:
    from azure.core import MatchConditions
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def _of_version(version) -> dict:
    return {"version_id": version} if version not in (None, "null") else {}


def _hex(md5):
    return bytes(md5).hex() if md5 else None
