# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of an S3 server, through Amazon's SDK."""
from __future__ import annotations

import contextlib
import email.utils
from datetime import datetime, timezone

from ...core.clock import utc_text
from ...core.errors import ConfigError, DrError, ToolError
from ...core.files import CHUNK
from ...core.secrets import memory_file
from . import failures
from .bucket import Bucket, Patience, trusted
from .listing import Entry
from .moments import Version

# What comes with an object beside its user metadata, by the SDK's names.
HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires",
           "WebsiteRedirectLocation")
_DELETED_AT_ONCE = 1000


def driver():
    """The boto3 module. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        import boto3
    except ImportError:
        raise ToolError("The Python library boto3 is missing on this host.", reason="boto3_missing",
                        hint="Install python3-boto3 and set ansible_python_interpreter to the Python that has it.") from None
    return boto3


@contextlib.contextmanager
def opened(place):
    """An S3Bucket for an options.Place."""
    boto3 = driver()
    import botocore.config
    with contextlib.ExitStack() as files:
        settings = {
            "signature_version": "s3v4", "s3": {"addressing_style": place.addressing},
            "retries": {"mode": "standard", "total_max_attempts": 3}, "max_pool_connections": place.parallel + 2,
            "connect_timeout": 10, "read_timeout": 60, "tcp_keepalive": True}
        if place.client_pem:
            settings["client_cert"] = files.enter_context(memory_file(place.client_pem))
        if hasattr(botocore.config.Config(), "request_checksum_calculation"):
            # Since boto3 1.36 checksums are sent that only Amazon's own servers are sure to know; Content-MD5 all know.
            settings.update(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        try:
            session = boto3.session.Session(
                aws_access_key_id=place.access_key, aws_secret_access_key=place.secret_key,
                aws_session_token=place.session_token, region_name=place.region)
            client = session.client("s3", endpoint_url=place.endpoint, verify=trusted(place, files),
                                    config=botocore.config.Config(**settings))
        except ValueError:
            raise ConfigError(f"{place.shown} is no endpoint.", reason="bad_endpoint",
                              hint="Give it as https://host:port.") from None
        _take_any_metadata(client)
        _know_minio(client)
        try:
            yield S3Bucket(client, place)
        finally:
            client.close()


def _know_minio(client) -> None:
    """Replication rules keep a part that only MinIO has: whether deletions of versions are replicated."""
    rule = client.meta.service_model.shape_for("ReplicationRule")._shape_model["members"]
    rule["DeleteReplication"] = rule["DeleteMarkerReplication"]


def _take_any_metadata(client) -> None:
    """Metadata that is no ASCII goes out as it came in, which the SDK would refuse."""
    from botocore.handlers import validate_ascii_metadata

    def as_utf8(request, **_rest):
        for name, value in list(request.headers.items()):
            if isinstance(value, str) and not value.isascii():
                del request.headers[name]
                request.headers[name] = value.encode("utf-8")

    for operation in ("PutObject", "CreateMultipartUpload"):
        client.meta.events.unregister(f"before-parameter-build.s3.{operation}", validate_ascii_metadata)
    client.meta.events.register("before-send.s3", as_utf8)


class S3Bucket(Bucket):
    """As Bucket; this is where what all have is described."""

    parts_from = 256 << 20

    def __init__(self, client, place):
        from botocore.exceptions import BotoCoreError, ClientError
        super().__init__(client, place)
        self._errors = (BotoCoreError, ClientError)

    # requests

    def _call(self, operation, body=None, **params):
        method = getattr(self._client, _snake(operation))
        waited = Patience(self.place.patience)
        while True:
            if body is not None:
                body.seek(0)
                params["Body"] = body
            try:
                return method(Bucket=self.place.bucket, **params)
            except self._errors as exc:
                self._wait(exc, f"s3:{operation}", waited)

    @staticmethod
    def _answer(exc):
        return answer(exc)

    # the bucket itself

    def facts(self) -> dict:
        """{server: what it calls itself, versioning: "Enabled"|"Suspended"|None, encryption: the default one, server_time,
        provider: what only this kind of store has, or None}."""
        answer = self._call("GetBucketVersioning")
        said = answer["ResponseMetadata"]["HTTPHeaders"]
        moment = _date(said.get("date")) or datetime.now(timezone.utc)
        return {"server": said.get("server"), "versioning": answer.get("Status") or None, "encryption": self._encryption(),
                "server_time": utc_text(moment), "provider": None}

    def _encryption(self):
        answer = self._asked("GetBucketEncryption", "ServerSideEncryptionConfigurationNotFoundError") or {}
        rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
        return next((rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules
                     if rule.get("ApplyServerSideEncryptionByDefault")), None)

    def lifecycle_rules(self):
        """The rules, or None when the server has none of this or does not tell us."""
        answer = self._asked("GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration")
        return None if answer is None else answer.get("Rules", [])

    def keep_versions(self) -> None:
        """Switches versioning on."""
        self._call("PutBucketVersioning", VersioningConfiguration={"Status": "Enabled"})

    def replication(self):
        """{"Role", "Rules"}, {} when there are no rules, None when the server does not tell us."""
        answer = self._asked("GetBucketReplication", "ReplicationConfigurationNotFoundError")
        return answer and answer.get("ReplicationConfiguration", {})

    def set_replication(self, wanted) -> None:
        """Puts rules as replication() gives them in the place of those that are there; without any removes them."""
        if wanted["Rules"]:
            self._call("PutBucketReplication", ReplicationConfiguration=wanted)
        else:
            self._call("DeleteBucketReplication")

    def _asked(self, operation, nothing):
        """The answer, {} for the code that says that there is nothing, None when the server does not tell."""
        try:
            return self._call(operation)
        except DrError as exc:
            code = exc.detail.get("code")
            if code == nothing:
                return {}
            if code in failures.NOT_TOLD:
                return None
            raise

    def unfinished_uploads(self, key=""):
        """Yields (key, upload id) of uploads in parts that were never finished, of keys that begin with key."""
        markers: dict = {}
        while True:
            answer = self._call("ListMultipartUploads", Prefix=self.place.prefix + key, **markers)
            for upload in answer.get("Uploads", ()):
                yield self._below(upload["Key"]), upload["UploadId"]
            if not answer.get("IsTruncated") or not answer.get("NextKeyMarker"):
                return
            markers = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer.get("NextUploadIdMarker") or ""}

    # lists

    def objects(self, below=""):
        """Yields the objects that are there now and begin with below, in the order of the server."""
        more: dict = {}
        while True:
            answer = self._call("ListObjectsV2", Prefix=self.place.prefix + below, **more)
            for item in answer.get("Contents", ()):
                yield self._entry(item, None)
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def directories(self, above, start="", most=1000):
        """Yields the directories in one, which is empty or ends with a slash, whose names begin with start.

        most: how many are asked for at once; 1 is that one.
        """
        more: dict = {}
        while True:
            answer = self._call("ListObjectsV2", Prefix=self.place.prefix + above + start, Delimiter="/", MaxKeys=most, **more)
            for item in answer.get("CommonPrefixes", ()):
                yield self._below(item["Prefix"])
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def version_pages(self, below=""):
        """Yields pages of all versions of what begins with below as moments.pick takes them."""
        markers: dict = {}
        while True:
            answer = self._call("ListObjectVersions", Prefix=self.place.prefix + below, **markers)
            found = [Version(self._below(item["Key"]), utc_text(item["LastModified"]), item["IsLatest"],
                             self._entry(item, item["VersionId"])) for item in answer.get("Versions", ())]
            found += [Version(self._below(item["Key"]), utc_text(item["LastModified"]), item["IsLatest"], None)
                      for item in answer.get("DeleteMarkers", ())]
            if not answer.get("IsTruncated"):
                yield found, None
                return
            markers = {"KeyMarker": answer["NextKeyMarker"]}
            if answer.get("NextVersionIdMarker"):
                markers["VersionIdMarker"] = answer["NextVersionIdMarker"]
            yield found, self._below(answer["NextKeyMarker"])

    def _entry(self, item, version) -> Entry:
        return Entry(self._below(item["Key"]), item["Size"], item["ETag"].strip('"'), utc_text(item["LastModified"]), version)

    # objects

    def read(self, entry: Entry, sink, *, same=True) -> Entry:
        """Reads an object into sink(bytes) and returns it with what the server says of it.

        same: exactly the one that was listed; else whichever is there now. A connection that breaks is taken up where it
        broke. Raises DrError with the reasons failures.GONE and failures.CHANGED.
        """
        params: dict = {"Key": self.place.prefix + entry.key}
        if same:
            params["IfMatch"] = f'"{entry.etag}"'
            if entry.version:
                params["VersionId"] = entry.version
        position, found = 0, None
        waited = Patience(self.place.patience)
        while True:
            if position:
                params["Range"] = f"bytes={position}-"
            answer = self._call("GetObject", **params)
            if found is None:
                found = self._described(entry, answer)
                params["IfMatch"] = f'"{found.etag}"'
                if found.version:
                    params["VersionId"] = found.version
            try:
                with contextlib.closing(answer["Body"]) as body:
                    for block in iter(lambda body=body: body.read(CHUNK), b""):
                        sink(block)
                        position += len(block)
                        waited.rested()
                if position >= found.size:
                    return found
                raise ConnectionResetError("the answer is short")
            except (*self._errors, *_stream_errors()) as exc:
                self._wait(exc, "s3:GetObject", waited)

    def head(self, entry: Entry, version=None) -> Entry:
        """An object as it is there now, or one version of it, without its content."""
        which = {} if version is None else {"VersionId": version}
        return self._described(entry, self._call("HeadObject", Key=self.place.prefix + entry.key, **which))

    def replicated(self, entry: Entry):
        """What the server says of the replication of the object that was listed: COMPLETED, PENDING, FAILED, REPLICA, or None.

        Raises DrError with the reasons failures.GONE and failures.CHANGED when it is not the present one any more.
        """
        return self._call("HeadObject", Key=self.place.prefix + entry.key, IfMatch=f'"{entry.etag}"').get("ReplicationStatus")

    def _described(self, entry, answer) -> Entry:
        headers = {name: answer[name] for name in HEADERS if answer.get(name) and name != "Expires"}
        expires = answer["ResponseMetadata"]["HTTPHeaders"].get("expires")
        if expires and _date(expires):
            headers["Expires"] = expires
        return entry._replace(
            size=answer["ContentLength"], etag=answer["ETag"].strip('"'), modified=utc_text(answer["LastModified"]),
            version=entry.version and (answer.get("VersionId") or entry.version),
            headers={name: _text(text) for name, text in headers.items()},
            metadata={name: _text(text) for name, text in answer["Metadata"].items()})

    def write(self, entry: Entry, body, md5: str) -> dict:
        """Writes an object in one request, with its headers and metadata; md5 (base64) is checked by the server.

        body: a file opened for reading, None for an object without content. Returns {etag, version}.
        """
        how = self._described_for_writing(entry)
        answer = self._call("PutObject", body=body, ContentMD5=md5, ContentLength=entry.size, **how)
        return {"etag": answer["ETag"].strip('"'), "version": answer.get("VersionId")}

    def _described_for_writing(self, entry) -> dict:
        how = {"Key": self.place.prefix + entry.key, "Metadata": entry.metadata or {}, **(entry.headers or {})}
        if "Expires" in how:
            how["Expires"] = _date(how["Expires"])
        return how

    def copy_version(self, entry: Entry) -> None:
        """Makes the version that an entry names the one that is there, with its headers and metadata; nothing is moved."""
        self._call("CopyObject", Key=self.place.prefix + entry.key, CopySource=self._source(entry))

    def copy_part(self, entry: Entry, upload: str, number: int, offset: int, length: int) -> dict:
        """Makes a part of a range of the version that an entry names; what end_parts wants of it."""
        answer = self._call("UploadPartCopy", Key=self.place.prefix + entry.key, UploadId=upload, PartNumber=number,
                            CopySource=self._source(entry), CopySourceRange=f"bytes={offset}-{offset + length - 1}")
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    def _source(self, entry) -> dict:
        return {"Bucket": self.place.bucket, "Key": self.place.prefix + entry.key, "VersionId": entry.version}

    def begin_parts(self, entry: Entry) -> str:
        """Begins an upload in parts and returns its id; earlier ones of this key are given up."""
        for key, upload in list(self.unfinished_uploads(entry.key)):
            if key == entry.key:
                self.abort_parts(entry, upload)
        return self._call("CreateMultipartUpload", **self._described_for_writing(entry))["UploadId"]

    def write_part(self, entry: Entry, upload: str, number: int, body, md5: str) -> dict:
        """Writes a part; what end_parts wants of it."""
        answer = self._call("UploadPart", body=body, Key=self.place.prefix + entry.key, UploadId=upload, PartNumber=number,
                            ContentMD5=md5)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def end_parts(self, entry: Entry, upload: str, parts: list) -> dict:
        """Makes an object of the parts. Returns {etag, version}."""
        answer = self._call("CompleteMultipartUpload", Key=self.place.prefix + entry.key, UploadId=upload,
                            MultipartUpload={"Parts": parts})
        return {"etag": answer["ETag"].strip('"'), "version": answer.get("VersionId")}

    def abort_parts(self, entry: Entry, upload: str) -> None:
        """Gives an upload in parts up."""
        try:
            self._call("AbortMultipartUpload", Key=self.place.prefix + entry.key, UploadId=upload)
        except DrError as exc:
            if exc.detail.get("code") != "NoSuchUpload":
                raise

    def delete(self, keys) -> int:
        """Deletes objects (in a versioned bucket: marks them as deleted) and returns how many."""
        count, batch = 0, []
        for key in keys:
            batch.append({"Key": self.place.prefix + key})
            if len(batch) == _DELETED_AT_ONCE:
                count += self._delete(batch)
                batch = []
        return count + (self._delete(batch) if batch else 0)

    def delete_versions(self, before=None) -> int:
        """Deletes what is below the prefix for good, versions and marks of deletion; before: only what was written until then.

        Returns how many there were.
        """
        count = 0
        markers: dict = {}
        while True:
            answer = self._call("ListObjectVersions", Prefix=self.place.prefix, **markers)
            batch = [{"Key": item["Key"], "VersionId": item["VersionId"]}
                     for kind in ("Versions", "DeleteMarkers") for item in answer.get(kind, ())
                     if before is None or utc_text(item["LastModified"]) < before]
            count += self._delete(batch) if batch else 0
            if not answer.get("IsTruncated"):
                return count
            markers = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer.get("NextVersionIdMarker") or ""}

    def _delete(self, batch) -> int:
        answer = self._call("DeleteObjects", Delete={"Objects": batch, "Quiet": True})
        for failed in answer.get("Errors", ()):
            code = failed.get("Code") or ""
            raise failures.of(None, (code, 0), operation="s3:DeleteObject", bucket=self.place.bucket, endpoint=self.place.shown)[0]
        return len(batch)


def answer(exc):
    """(code, status) of an answer that refuses, None when there was none. Pure."""
    response = getattr(exc, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return None
    return str(response["Error"].get("Code") or ""), response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0


def _stream_errors() -> tuple:
    import urllib3.exceptions
    return (urllib3.exceptions.HTTPError, ConnectionError)


def _snake(operation: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in operation.replace("V2", "_v2"))[1:]


def _text(value: str) -> str:
    """A header's text: the SDK reads UTF-8 as if it were Latin-1."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _date(text):
    try:
        return email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
